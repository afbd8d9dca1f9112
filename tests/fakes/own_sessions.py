"""An upstream that keeps sessions of its own: a login page, tickets that open a session once, a page that says whose it is, a way out.

It is a `RecordingUpstream` with this as its `answer`: every request is noted, and what it does can be changed at any time.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qs

from tests.fakes.recorder import Recorded

COOKIE = "PORTALSESSION"
_REASONS = {200: "OK", 302: "Found", 303: "See Other", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@dataclass
class OwnSessions:
    """`sessions` and `bearers` are credential to e-mail address, `tickets` ticket to address."""

    sessions: dict[str, str] = field(default_factory=dict)
    bearers: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    #: What the upstream believes of everybody, instead of what the ticket says.
    mixes_up_with: str | None = None
    #: Where the redemption leads; and whether the session comes only there.
    lands_on: str = "/"
    late: bool = False
    #: Whether each answer writes a new session cookie.
    rotates: bool = False
    #: Pages that nobody may open: they lead to the login page, session or not.
    closed: tuple[str, ...] = ()
    unauthorized: int = 302
    #: Asked about a ticket that was not made here: whose it is.
    redeem: Callable[[str], tuple[str, int] | None] = lambda ticket: None
    #: What `/me` says of an address besides.
    more: dict[str, dict[str, object]] = field(default_factory=dict)
    forms: int = 0
    logged_out: list[str] = field(default_factory=list)
    pages: list[tuple[str, str]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def ticket_for(self, email: str) -> str:
        ticket = f"ticket-{next(self._numbers)}-{email.partition('@')[0]}-0123456789abcdef"
        self.tickets[ticket] = email
        return ticket

    def about(self, email: str) -> dict[str, object]:
        return {"Email": email, **self.more.get(email, {})}

    def open_session(self, email: str) -> str:
        value = f"session-{next(self._numbers)}-0123456789abcdef"
        self.sessions[value] = email
        return value

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, headers, body = self._answer(request)
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *headers, f"Content-Length: {len(body)}"]
        head_only = request.line.startswith(b"HEAD ")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head_only else body))

    def _answer(self, request: Recorded) -> tuple[int, list[str], bytes]:
        path, _, query = request.target.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if path in ("/sso", "/en/user/login"):
            return self._redeem(asked.get("ticket") or asked.get("t", ""))
        if path in ("/api/exchange", "/api/sys/users/exchange"):
            return self._exchange(asked.get("token", ""))
        if path == "/login":
            self.forms += 1
            return 200, ["Content-Type: text/html"], b"<form><input type=password></form>"
        who = self._who(request)
        if path == "/logout":
            self.logged_out.append(who or "nobody")
            for value in self._cookies(request):
                self.sessions.pop(value, None)
            return 302, ["Location: /login", f"Set-Cookie: {COOKIE}=; Max-Age=0; Path=/"], b""
        if path in ("/me", "/en/user/me"):
            status = 200 if who else 401
            return status, ["Content-Type: application/json"], json.dumps(self.about(who) if who else {}).encode()
        if who is None or path in self.closed:
            if path == "/begin" and self.late:
                return self._begun(request)
            if self.unauthorized == 401:
                return 401, [], b"who are you?"
            return 302, [f"Location: /login?ReturnUrl={path}"], b""
        self.pages.append((path, who))
        return 200, ["Content-Type: text/plain", *self._renewed(request, who)], f"{path} of {who}".encode()

    def _redeem(self, ticket: str) -> tuple[int, list[str], bytes]:
        email = self._whose(ticket)
        if email is None:
            return 302, ["Location: /login?used"], b""
        if self.late:
            self.tickets["late"] = email
            return 302, ["Location: /begin", "Set-Cookie: step=1; Path=/"], b""
        return 302, [f"Location: {self.lands_on}", *self._set(self.mixes_up_with or email)], b""

    def _whose(self, ticket: str) -> str | None:
        made_elsewhere = None if ticket in self.tickets else self.redeem(ticket)
        if made_elsewhere is not None:
            email, number = made_elsewhere
            self.more.setdefault(email, {"Id": number})
            return email
        return self.tickets.pop(ticket, None)

    def _begun(self, request: Recorded) -> tuple[int, list[str], bytes]:
        assert b"step=1" in b"".join(request.values("Cookie"))
        return 302, ["Location: /", *self._set(self.tickets.pop("late"))], b""

    def _exchange(self, token: str) -> tuple[int, list[str], bytes]:
        email = self._whose(token)
        if email is None:
            return 400, [], b"no such token"
        bearer = f"bearer-{next(self._numbers)}-0123456789abcdef"
        self.bearers[bearer] = self.mixes_up_with or email
        answer = {"access_token": bearer, "token_type": "bearer", "expires_in": 86400}
        return 200, ["Content-Type: application/json"], json.dumps(answer).encode()

    def _set(self, email: str) -> list[str]:
        session = f"Set-Cookie: {COOKIE}={self.open_session(email)}; Path=/; HttpOnly; Domain=upstream.example"
        return [session, "Set-Cookie: language=en; Path=/"]

    def _renewed(self, request: Recorded, who: str) -> list[str]:
        if not self.rotates:
            return []
        for value in self._cookies(request):
            self.sessions.pop(value, None)
        return self._set(who)[:1]

    def _who(self, request: Recorded) -> str | None:
        for value in request.values("Authorization"):
            scheme, _, token = value.decode().partition(" ")
            if scheme == "Bearer":
                return self.bearers.get(token)
        found = [self.sessions[value] for value in self._cookies(request) if value in self.sessions]
        return found[0] if len(found) == 1 else None

    @staticmethod
    def _cookies(request: Recorded) -> list[str]:
        pairs = [pair.strip() for value in request.values("Cookie") for pair in value.decode().split(";")]
        return [pair.partition("=")[2] for pair in pairs if pair.partition("=")[0] == COOKIE]


@dataclass
class TicketOffice:
    """A stranger's API that makes tickets for `upstream`, for whoever knows `secret`: the `answer` of a `RecordingUpstream`."""

    upstream: OwnSessions
    secret: str
    status: int = 200
    #: Set while it answers.
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.gate.wait()
        known = request.values("Authorization") == [self.secret.encode()]
        status = self.status if known else 401
        answer = {}
        if status == 200:
            self.made.append(self.upstream.ticket_for(json.loads(request.body)["email"]))
            answer = {"data": {"ticket": self.made[-1]}}
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
