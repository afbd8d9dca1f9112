"""The same thousand requests straight to an upstream and through the door: what arrives and what comes back is equal.

D-04. Both sides are read by `tests.fakes.strict`, which forgives nothing. What may differ is the data below, each with its reason; whatever
else differs is a defect. Requests and replies are made from a seed, so a failure comes again: its number is in the message.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from gateway.policy.paths import parse_target
from tests.fakes.house import House
from tests.fakes.strict import Answer, Fields, Reply, Seen, StrictClient, StrictUpstream
from tests.flows.conftest import OpenHouse

CASES = 1000
AT_ONCE = 8

#: Request fields that end at the gateway.
REQUEST_ENDS = {
    "connection": "hop-by-hop (RFC 9110 7.6.1)",
    "keep-alive": "hop-by-hop",
    "proxy-connection": "hop-by-hop, never a standard",
    "proxy-authorization": "meant for a proxy: for nobody behind it",
    "te": "hop-by-hop; trailers are not forwarded",
    "trailer": "announces trailers, which are read, bounded and dropped (B-15)",
    "upgrade": "only WebSocket is passed on (B-41)",
    "http2-settings": "belongs to an upgrade that is not honoured",
    "x-forwarded-user": "identity: ours alone (C-30)",
    "x_forwarded_email": "an alias of identity to CGI-like servers (C-30)",
    "x-original-url": "would name another path than the one that was judged (C-01)",
    "proxy": "httpoxy: CGI programs take it for their own proxy",
    "remote-user": "who somebody is, only the gateway says (C-30)",
    "x-webauth-user": "the same",
    "true-client-ip": "where somebody comes from, only a trusted proxy says (C-34)",
    "x-client-cert": "the same",
    "script_name": "a variable of CGI-like servers (C-60)",
    "x!#$%&'*+.^_`|~9": "any name with more than letters, digits and hyphens (C-60)",
}
#: Request fields that the gateway says, whatever the client said.
REQUEST_OURS = {
    "host": "the canonical host of the site that was judged (C-13)",
    "x-forwarded-for": "the peer, for a peer that is not trusted (C-34)",
    "x-forwarded-proto": "from the configuration (C-16)",
    "x-forwarded-host": "from the configuration (C-17)",
    "x-forwarded-port": "from the configuration (C-17)",
    "x-real-ip": "the peer (C-34)",
    "cookie": "without ours; compared cookie by cookie (C-35)",
    "forwarded": "dropped in favour of X-Forwarded-*",
    "x-forwarded-user": "identity",
    "x-forwarded-email": "identity",
    "x-forwarded-name": "identity",
    "x-doorward-jwt-assertion": "identity, signed",
    "x-request-id": "one for each request; the client's when it is sound",
}
#: Request fields that travel unchanged, behind all others.
REQUEST_MOVED = (
    "via",
    "authorization",
    "content-encoding",
    "x-http-method-override",
    "content-length",
    "transfer-encoding",
    "expect",
)
#: Response fields that end at the gateway.
RESPONSE_ENDS = {
    "connection": "hop-by-hop; the gateway says its own",
    "keep-alive": "hop-by-hop",
    "proxy-connection": "hop-by-hop",
    "proxy-authenticate": "from a proxy to its own client",
    "te": "hop-by-hop",
    "trailer": "trailers are dropped",
    "upgrade": "an offer of a protocol that is not passed on",
    "transfer-encoding": "framing is the gateway's (see FRAMING)",
}
#: Response fields that travel unchanged, behind all others.
RESPONSE_MOVED = ("content-length",)
#: (the upstream's framing, the client's version) -> the framing that the client gets. A length stays a length, nothing stays nothing.
FRAMING = {
    ("sized", "1.1"): "sized",
    ("sized", "1.0"): "sized",
    ("none", "1.1"): "none",
    ("none", "1.0"): "none",
    ("chunked", "1.1"): "chunked",
    ("chunked", "1.0"): "close",  # HTTP/1.0 knows no chunks
    ("close", "1.1"): "chunked",  # the client's connection is kept although the upstream's was not
    ("close", "1.0"): "close",
}
#: Interim responses that do not reach the client.
INTERIM_ENDS = {100: "nobody asked for it"}


@dataclass
class Case:
    """One request, and what the upstream says to it."""

    number: int
    method: str
    target: bytes
    version: str
    fields: list[tuple[bytes, bytes]]
    framing: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    reply: Reply
    keeps: bool  # the client wants to go on
    breaks: bool  # the upstream's answer breaks off

    def head(self, host: bytes, cookie: bytes) -> bytes:
        target = self.target.replace(b"{host}", host)
        fields = [
            (b"Host", host),
            (b"X-Case", b"%d" % self.number),
            *self.fields,
            (b"Cookie", b'a=1; %b;b="2"' % cookie),
            *self.framing,
        ]
        lines = b"".join(b"%b:%b\r\n" % entry if entry[1][:1] in b" \t" else b"%b: %b\r\n" % entry for entry in fields)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.method.encode(), target, self.version.encode(), lines)


class Maker:
    """Makes cases from a seed."""

    METHODS = (
        *("GET",) * 9, *("POST",) * 6, *("HEAD",) * 3, "PUT", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "PROPPATCH", "QUERY", "REPORT", "M-SEARCH", "PURGE",
        "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "MKCALENDAR", "ACL", "LINK", "NOTIFY", "SUBSCRIBE", "CHECKOUT",
    )  # fmt: skip
    SEGMENTS = (b"a", b"bookings", b"2024-01-01", b"caf%C3%A9", b"a%20b", b"~x.y_z-", b"a;v=1", b"(x)", b"a+b", b"@me", b"a,b'c!$&*=:", b"%40", b"\xc3\xa9", b"%7e", b"%c3%a9", b"<b>")  # fmt: skip
    QUERIES = (
        b"",
        b"a=1&b=2",
        b"q=%zz%",
        b'"<>{}|^`\\',
        b"x=/../y",
        b"a=%2F%00",
        b"\xe9=\xff",
        b"a?b?c",
        b"[]=1&[]=2",
        b"q=" + b"x" * 3000,
    )
    NAMES = (b"Accept", b"accept", b"User-Agent", b"X-Thing", b"x-THING", b"If-None-Match", b"Range", b"Referer", b"Accept-Encoding", b"DNT", b"X-9", b"Origin", b"Via", b"Content-Type", b"Upgrade-Insecure-Requests", b"Sec-Fetch-Mode", b"Sec-WebSocket-Thing", b"X-Csrf-Token")  # fmt: skip
    VALUES = (b"", b"*/*", b"text/html; q=0.5, */*", b"caf\xe9", b"\x85x\xa0", b"caf\xc3\xa9", b'"a\tb"', b"a, b,, c", b" padded \t", b"x" * 4000, b"W/\"1\"", b"{}[]()<>@,;:\\\"/?=", b"\xff\xfe")  # fmt: skip
    HOPS = (
        (b"Keep-Alive", b"timeout=5"), (b"TE", b"trailers"), (b"Proxy-Connection", b"keep-alive"), (b"Proxy-Authorization", b"Basic x"), (b"Trailer", b"X-T"),
        (b"X-Forwarded-User", b"admin"), (b"X_Forwarded_Email", b"admin@x"), (b"X-Original-URL", b"/admin"), (b"SCRIPT_NAME", b"/admin"), (b"X!#$%&'*+.^_`|~9", b"x"), (b"HTTP2-Settings", b"AA"),
        (b"X-Forwarded-For", b"10.0.0.1"), (b"X-Forwarded-Proto", b"gopher"), (b"X-Forwarded-Host", b"evil"), (b"Forwarded", b"for=1.1.1.1"), (b"X-Real-IP", b"1.1.1.1"),
        (b"Proxy", b"http://evil"), (b"Remote-User", b"admin"), (b"X-WebAuth-User", b"admin"), (b"True-Client-IP", b"10.0.0.1"), (b"X-Client-Cert", b"x"),
        (b"Authorization", b"Bearer a.b.c"), (b"X-HTTP-Method-Override", b"PUT"), (b"Cookie", b"c=3;d=4"), (b"Upgrade", b"h2c"),
    )  # fmt: skip
    STATUSES = (
        200,
        200,
        200,
        201,
        202,
        203,
        204,
        205,
        206,
        301,
        302,
        304,
        307,
        400,
        401,
        404,
        409,
        410,
        418,
        429,
        451,
        500,
        502,
        503,
        504,
        599,
        799,
    )
    REASONS = (b"OK", b"", b"Not At All  OK", b"caf\xe9", b"\xc3\xa9", b"x" * 200)
    RESPONSE_NAMES = (b"Content-Type", b"ETag", b"etag", b"Server", b"X-Powered-By", b"Set-Cookie", b"Set-Cookie", b"set-cookie", b"WWW-Authenticate", b"Vary", b"Link", b"Location", b"Cache-Control", b"Date", b"X-Thing", b"Content-Encoding", b"Content-Disposition", b"Alt-Svc")  # fmt: skip
    RESPONSE_VALUES = (b"", b"text/html; charset=utf-8", b"a=1; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT", b'attachment; filename="\xe9.txt"', b"/\xc3\xa9", b"gzip", b"a, b", b"\x85x\xa0", b"x" * 5000, b'"1"')  # fmt: skip
    RESPONSE_HOPS = (
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Trailer", b"X-T"),
        (b"Upgrade", b"h2c"),
        (b"Proxy-Connection", b"x"),
        (b"TE", b"trailers"),
    )

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def cases(self, number: int) -> Iterator[Case]:
        for each in range(number):
            yield self.case(each)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, pool: tuple[bytes, ...], least: int, most: int) -> list[bytes]:
        return self.random.choices(pool, k=self.random.randint(least, most))

    def payload(self, most: int) -> bytes:
        size = self.random.choice((0, 1, 2, 100, 5000, 70_000, 200_000))
        return self.random.randbytes(min(size, most))

    def case(self, number: int) -> Case:
        pick = self.random.choice
        method = pick(self.METHODS)
        version = "1.0" if self.chance(0.1) else "1.1"
        fields = [(name, pick(self.VALUES)) for name in self.some(self.NAMES, 0, 12)]
        if self.chance(0.03):  # as many fields as are allowed, nearly
            fields = [(b"X-%d" % place, pick((b"", b"a", b"b c"))) for place in range(170)]
        fields += self.random.sample(self.HOPS, k=self.random.randint(0, 3))
        options = self._options(fields)
        self.random.shuffle(fields)
        body = b"" if method == "HEAD" or (method == "GET" and not self.chance(0.1)) else self.payload(200_000)
        framing, pieces = self._framed(body, version)
        if body and version == "1.1" and self.chance(0.1):
            framing.append((b"Expect", b"100-continue"))
        keeps = version == "1.1" and b"close" not in options
        target, (reply, breaks) = self._target(), self._reply(method)
        return Case(number, method, target, version, fields, framing, pieces, reply, keeps, breaks)

    def _options(self, fields: list[tuple[bytes, bytes]]) -> set[bytes]:
        """A Connection field, perhaps, that names fields among `fields`."""
        options: set[bytes] = set()
        if self.chance(0.2):
            options.add(self.random.choice((b"close", b"keep-alive")))
        if self.chance(0.1):
            options.add(b"X-Named")
            fields += [(b"X-Named", b"1"), (b"x-named", b"2")]
        if any(name == b"Upgrade" for name, _ in fields) and self.chance(0.5):
            options.add(b"HTTP2-Settings")
        if options:
            fields.append((b"Connection", b", ".join(sorted(options))))
        return options

    def _target(self) -> bytes:
        path = b"/" + b"/".join(self.some(self.SEGMENTS, 0, 5))
        if self.chance(0.1):
            path = path.replace(b"/", b"//", 1) + b"/./x/../" if self.chance(0.5) else path + b"/"
        target = path + (b"?" + self.random.choice(self.QUERIES) if self.chance(0.5) else b"")
        return b"http://{host}" + target if self.chance(0.05) else target

    def _framed(self, body: bytes, version: str) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        if version == "1.0" or self.chance(0.5):
            sized = bool(body) or self.chance(0.3)
            return ([(b"Content-Length", b"%d" % len(body))] if sized else []), self._cut(body)
        if not body and self.chance(0.8):
            return [], []
        return [(b"Transfer-Encoding", b"chunked")], self._cut(self._chunked(body))

    def _chunked(self, body: bytes) -> bytes:
        wire = b""
        while body:
            size = self.random.choice((1, 7, 1000, 66_000))
            extension = b';a=1;b="c"' if self.chance(0.1) else b""
            wire += (
                (b"%x" if self.chance(0.5) else b"0%X") % len(body[:size]) + extension + b"\r\n" + body[:size] + b"\r\n"
            )
            if len(body) > 10_000:
                size = min(size, len(body))
            body = body[size:]
            if len(wire) > 300_000:
                break
            if size < 1000 and len(body) > 20_000:  # a few tiny chunks, then large ones
                wire += b"%x\r\n%b\r\n" % (len(body), body)
                body = b""
        return wire + b"0\r\n" + (b"X-Trailer: 1\r\nContent-Length: 9\r\n" if self.chance(0.2) else b"") + b"\r\n"

    def _cut(self, wire: bytes) -> list[bytes]:
        if not wire or self.chance(0.5):
            return [wire] if wire else []
        cuts = sorted({0, len(wire), *(self.random.randrange(len(wire)) for _ in range(3))})
        return [wire[start:end] for start, end in pairwise(cuts)]

    def _reply(self, method: str) -> tuple[Reply, bool]:
        """What the upstream says, and whether it breaks off."""
        status = self.random.choice(self.STATUSES)
        fields = [(name, self.random.choice(self.RESPONSE_VALUES)) for name in self.some(self.RESPONSE_NAMES, 0, 10)]
        if self.chance(0.03):
            fields = [(b"X-%d" % place, b"x" * place) for place in range(300)]
        fields += self.random.sample(self.RESPONSE_HOPS, k=self.random.randint(0, 2))
        if self.chance(0.1):
            fields += [(b"Connection", b"X-Hop"), (b"X-Hop", b"1")]
        version = b"1.0" if self.chance(0.1) else b"1.1"
        body, bare = self.payload(200_000), method == "HEAD" or status in (204, 304)
        kind = self.random.choice(("sized", "chunked", "close") if version == b"1.1" else ("sized", "close"))
        close = kind == "close" or version == b"1.0" or self.chance(0.1)
        if close and (bare or kind != "close" or self.chance(0.5)):
            fields.append((b"Connection", b"close"))
        wire = b"" if bare else self._chunked(body) if kind == "chunked" else body
        if kind == "sized":
            fields.append((b"Content-Length", b"%d" % len(body)))
        elif kind == "chunked" and status != 204:
            fields.append((b"Transfer-Encoding", b"chunked"))
        breaks = not bare and kind != "close" and len(wire) > 10 and self.chance(0.05)
        if breaks:
            wire, close = wire[: len(wire) // 2], True
        self.random.shuffle(fields)
        lines = b"".join(b"%b: %b\r\n" % entry for entry in fields)
        head = b"HTTP/%b %d %b\r\n%b\r\n" % (version, status, self.random.choice(self.REASONS), lines)
        return Reply([*self._interims(), *self._cut(head + wire)], close=close), breaks

    def _interims(self) -> list[bytes]:
        if not self.chance(0.1):
            return []
        offered = (
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: <b>\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        )
        return self.some(offered, 1, 3)


# --- what must be equal -----------------------------------------------------------------------------------------------


def apart(fields: Fields, moved: tuple[str, ...]) -> tuple[Fields, dict[str, list[bytes]]]:
    """Fields in their order, and those that may have moved, by name."""
    stayed = [entry for entry in fields if entry[0].decode().lower() not in moved]
    return stayed, {name: [value for found, value in fields if found.decode().lower() == name] for name in moved}


def named_in_connection(fields: Fields) -> set[str]:
    return {
        option.strip().decode().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }


def expected_at_the_upstream(direct: Seen) -> Fields:
    """What the direct request's fields become, the gateway's own left aside."""
    gone = {*REQUEST_ENDS, *REQUEST_OURS, *named_in_connection(direct.fields)}
    return [(name, value) for name, value in direct.fields if name.decode().lower() not in gone]


def crumbs(fields: Fields) -> list[bytes]:
    """The cookies one by one. Several Cookie fields become one; blanks between cookies are nobody's."""
    return [crumb.strip() for name, value in fields if name.lower() == b"cookie" for crumb in value.split(b";")]


def compare_requests(case: Case, direct: Seen, through: Seen, cookie: bytes) -> None:
    assert through.method == direct.method
    assert through.version == "1.1"
    sent = direct.target.partition(b"://")[2] if b"://" in direct.target.partition(b"?")[0] else direct.target
    origin_form = sent if sent.startswith(b"/") else b"/" + sent.partition(b"/")[2]
    assert through.target == parse_target(origin_form).wire()  # the form that was judged (C-10)
    assert through.body == direct.body
    assert through.chunked == direct.chunked
    arrived = [entry for entry in through.fields if entry[0].decode().lower() not in REQUEST_OURS]
    ours = [(name, value) for name, value in arrived if name == b"Via" and value[4:].startswith(b"doorward-")]
    assert len(ours) == 1  # by which a loop is noticed (B-68)
    arrived.remove(ours[0])
    assert apart(arrived, REQUEST_MOVED) == apart(expected_at_the_upstream(direct), REQUEST_MOVED)
    for name in REQUEST_OURS:
        assert len(through.values(name)) == (0 if name == "forwarded" else 1), name
    assert crumbs(through.fields) == [crumb for crumb in crumbs(direct.fields) if crumb != cookie]
    assert len(through.values("cookie")) == 1


def compare_answers(case: Case, direct: Answer, through: Answer) -> None:
    assert (through.version, through.status, through.reason) == ("1.1", direct.status, direct.reason)
    assert through.complete == direct.complete
    assert through.framing == FRAMING[direct.framing, case.version]
    if direct.complete:
        assert through.body == direct.body
    else:
        common = min(len(direct.body), len(through.body))
        assert direct.body[:common] == through.body[:common]
    gone = {*RESPONSE_ENDS, *named_in_connection(direct.fields)}
    kept = [entry for entry in direct.fields if entry[0].decode().lower() not in gone]
    if direct.status == 204:  # RFC 9110 8.6: no length on a response that cannot have a body
        kept = [entry for entry in kept if entry[0].lower() != b"content-length"]
    ours = [entry for entry in through.fields if entry[0].decode().lower() not in ("connection", "transfer-encoding")]
    assert apart(ours, RESPONSE_MOVED) == apart(kept, RESPONSE_MOVED)
    asked = any(name == b"Expect" for name, _ in case.framing)
    interims = [entry for entry in direct.interims if case.version == "1.1" and (asked or entry[0] not in INTERIM_ENDS)]
    assert through.interims == interims


# --- the test ---------------------------------------------------------------------------------------------------------


def seen_of(upstream: StrictUpstream, case: Case) -> tuple[Seen, Seen]:
    """The request as it came straight, and through the door."""
    both = [seen for seen in upstream.seen if seen.values("x-case") == [b"%d" % case.number]]
    straight, through = sorted(both, key=lambda seen: len(seen.values("x-doorward-jwt-assertion")))
    return straight, through


async def send(client: StrictClient, case: Case, host: bytes, cookie: bytes) -> None:
    client.writer.write(case.head(host, cookie))
    for piece in case.pieces:
        client.writer.write(piece)
        await asyncio.sleep(0)


async def visit(upstream: StrictUpstream, house: House, cookie: bytes, cases: list[Case]) -> None:
    """Each case twice. Connections through the door are kept from case to case, and some cases are sent before the one in front is answered."""
    host = house.host().encode()
    kept: StrictClient | None = None
    sent: set[int] = set()
    for place, case in enumerate(cases):
        straight = await StrictClient.open(upstream.port)
        await send(straight, case, host, cookie)
        direct = await straight.answer(case.method)
        straight.close()
        kept = kept or await StrictClient.open(house.port)
        # Not in front of one that breaks off: the reset that ends it could overtake what was not read yet.
        following = [each for each in cases[place + 1 : place + 2] if not each.breaks]
        for each in (case, *(following if place % 3 == 0 and case.keeps and not case.breaks else [])):
            if each.number not in sent:
                await send(kept, each, host, cookie)
                sent.add(each.number)
        through = await kept.answer(case.method)
        try:
            alone, arrived = seen_of(upstream, case)
            compare_requests(case, alone, arrived, cookie)
            compare_answers(case, direct, through)
            assert (through.values("connection") == [b"close"]) == (not case.keeps)
            if not case.keeps or not through.complete:
                assert await kept.ended()
                kept.close()
                kept = None
        except AssertionError as error:
            raise AssertionError(f"case {case.number}: {case.method} {case.target!r}: {error}") from error
    if kept is not None:
        kept.close()


async def run(house: House, upstream: StrictUpstream, cases: dict[int, Case]) -> None:
    """All cases, several connections at once. `upstream` is the house's, and replies as the cases say."""
    cookie = (await house.session()).encode()
    await asyncio.gather(
        *(
            visit(upstream, house, cookie, [cases[number] for number in range(start, len(cases), AT_ONCE)])
            for start in range(AT_ONCE)
        )
    )
    assert len(upstream.seen) == 2 * len(cases)
    assert upstream.violations == []


@pytest.mark.parametrize("seed", [20_240])
async def test_a_thousand_requests_arrive_and_are_answered_as_without_the_gateway(
    open_house: OpenHouse, seed: int
) -> None:
    """D-04, B-01, B-16, B-20, B-21, B-22, B-43, B-44, B-45, B-46, B-49."""
    cases = {case.number: case for case in Maker(seed).cases(CASES)}
    upstream = StrictUpstream(reply=lambda seen: cases[int(seen.values("x-case")[0])].reply)
    await upstream.start()
    await run(await open_house(upstreams={"portal": upstream.url}), upstream, cases)
    await upstream.close()


def test_every_exception_of_the_list_is_needed_by_some_request() -> None:
    """D-04: what never occurs would hide a defect."""
    cases = list(Maker(20_240).cases(CASES))
    asked = {name.lower().decode() for case in cases for name, _ in case.fields} | {"host", "cookie"}
    assert set(REQUEST_ENDS) - asked == set()
    said = b"".join(piece for case in cases for piece in case.reply.pieces).lower()
    assert [name for name in RESPONSE_ENDS if b"\r\n%b:" % name.encode() not in said] == []
    assert {case.version for case in cases} == {"1.0", "1.1"}
    assert all(b"http/1.1 %d" % status in said for status in INTERIM_ENDS)
