"""A scripted browser over plain sockets: cookies, redirects one at a time, forms, Sec-Fetch-*, Origin and Referer as Chromium sends them.

It never runs scripts. Names are resolved by the test: `Browser({"portal.localhost:4180": port})` reaches `http://portal.localhost:4180/` on
127.0.0.1; an https origin in that table is spoken to in plain text, as behind a proxy that ends TLS, unless `tls` is given. Names below `localhost` and 127.0.0.1
need no entry.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from tests.fakes.cookie_jar import CookieJar, is_trustworthy

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 20


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """One response, and how it was asked for."""

    url: str
    method: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes
    sent: str

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str:
        """Where it redirects to, absolute; "" when it does not."""
        target = self.header("Location") if self.status in REDIRECTS else None
        return urljoin(self.url, target) if target is not None else ""

    @property
    def document(self) -> "Document":
        return Document.of(self.text)


class Document(HTMLParser):
    """What a person can click and fill in."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.words = ""
        self._inside: list[str] = []

    @classmethod
    def of(cls, text: str) -> "Document":
        document = cls()
        document.feed(text)
        return document

    def link(self, label: str) -> str:
        """The address behind a link, found by its words."""
        return next(href for href, words in self.links if words.strip() == label)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag in ("input", "button", "select") and self.forms and given.get("name"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))
        elif tag == "a" and "href" in given:
            self.links.append((given["href"], ""))
        if tag not in ("input", "img", "meta", "link", "br", "hr"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while tag in self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._inside or "script" in self._inside:
            return
        if "title" in self._inside:
            self.title += data
            return
        self.words += data
        if "a" in self._inside and self.links:
            href, words = self.links[-1]
            self.links[-1] = (href, words + data)


class FormActionRefused(Exception):
    """The page's Content-Security-Policy does not let its form go there; browsers ask this of each redirect, too."""


class Browser:
    """`page` is the last answer, `history` all of them in order."""

    def __init__(self, resolve: Mapping[str, int] | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.resolve = dict(resolve or {})
        self.jar = CookieJar()
        self.history: list[Answer] = []
        self.user_agent = ""
        self._chain: _Chain | None = None

    @property
    def page(self) -> Answer:
        return self.history[-1]

    async def open(self, url: str, *, follow: bool = True, headers: Mapping[str, str] | None = None) -> Answer:
        """Type an address, or open a bookmark."""
        return await self._start(_Chain(initiator=None), "GET", url, headers=headers, follow=follow)

    async def click(self, href: str, *, follow: bool = True) -> Answer:
        """Follow a link of the page."""
        chain = _Chain(initiator=self.page.url, policy=self._policy())
        return await self._start(chain, "GET", urljoin(self.page.url, href), follow=follow)

    async def submit(self, form: int = 0, *, follow: bool = True, **fields: str) -> Answer:
        """Fill in a form of the page and send it."""
        filled = self.page.document.forms[form]
        values = urlencode({**filled.fields, **fields})
        target = urljoin(self.page.url, filled.action)
        chain = _Chain(initiator=self.page.url, policy=self._policy(), form_page=self.page)
        if filled.method == "post":
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return await self._start(chain, "POST", target, body=values.encode(), headers=kind, follow=follow)
        return await self._start(chain, "GET", f"{target.partition('?')[0]}?{values}", follow=follow)

    async def post_from(
        self, initiator: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A form on some page `initiator` is sent to `url`."""
        kind = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return await self._start(_Chain(initiator=initiator), "POST", url, body=body, headers=kind, follow=False)

    async def load(self, initiator: str, url: str, *, destination: str = "image", mode: str = "no-cors") -> Answer:
        """A page `initiator` loads `url` as an image, script, frame (`destination="iframe", mode="navigate"`)..."""
        chain = _Chain(initiator=initiator, destination=destination, mode=mode)
        return await self._start(chain, "GET", url, follow=False)

    async def fetch(
        self, url: str, *, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A script of the page calls fetch(); redirects are not followed."""
        chain = _Chain(initiator=self.page.url, destination="empty", mode="cors", policy=self._policy())
        return await self._start(chain, method, urljoin(self.page.url, url), body=body, headers=headers, follow=False)

    async def send(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """A request with these header fields instead of the browser's own; an empty value takes a field away."""
        return await self._start(_Chain(initiator=None), method, url, headers=headers, follow=False)

    async def follow(self) -> Answer:
        """One redirect."""
        last = self.page
        assert last.location, f"{last.url} answered {last.status} and redirects nowhere"
        assert self._chain is not None
        keeps = last.status in (307, 308) or last.method in ("GET", "HEAD")
        chain, method = self._chain, last.method if keeps else "GET"
        body, headers = chain.sent if method == "POST" else (b"", None)
        return await self._ask(chain, method, last.location, body, headers)

    async def follow_all(self) -> Answer:
        for _ in range(MOST_REDIRECTS):
            if not self.page.location:
                return self.page
            await self.follow()
        raise AssertionError("ERR_TOO_MANY_REDIRECTS: " + " -> ".join(a.url for a in self.history[-MOST_REDIRECTS:]))

    # --- one request ---

    async def _start(
        self,
        chain: "_Chain",
        method: str,
        url: str,
        *,
        follow: bool,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        self._chain = chain
        await self._ask(chain, method, url, body, headers)
        return await self.follow_all() if follow else self.page

    async def _ask(
        self, chain: "_Chain", method: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Answer:
        url = url.partition("#")[0]
        where = urlsplit(url)
        chain.sent = body, headers
        if chain.form_page is not None and not form_may_go(chain.form_page, url):
            raise FormActionRefused(url)
        fields = {
            "Host": where.netloc,
            "Accept": chain.accept,
            "User-Agent": self.user_agent,
            **chain.fetch_metadata(url, method),
        }
        cookies = self.jar.header(
            url,
            same_site=chain.initiator is None or site_of(chain.initiator) == site_of(url),
            navigation=chain.mode == "navigate" and chain.destination == "document",
            safe=method in ("GET", "HEAD"),
        )
        fields |= {"Cookie": cookies} if cookies else {}
        fields |= {"Content-Length": str(len(body))} if body or method == "POST" else {}
        fields |= {**(headers or {}), "Connection": "close"}
        fields = {name: value for name, value in fields.items() if value}
        target = (where.path or "/") + ("?" + where.query if where.query else "")
        sent = (
            f"{method} {target} HTTP/1.1\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            + "\r\n"
        )
        raw = await self._exchange(where, sent.encode("latin-1") + body)
        answer = read_answer(raw, url, method, sent)
        for value in answer.all("Set-Cookie"):
            self.jar.store(url, value)
        chain.urls.append(url)
        self.history.append(answer)
        return answer

    async def _exchange(self, where: SplitResult, request: bytes) -> bytes:
        tls = self.tls if where.scheme == "https" else None
        name = where.hostname if tls is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port(where), ssl=tls, server_hostname=name)
        try:
            writer.write(request)
            async with asyncio.timeout(60):
                return await reader.read(-1)
        finally:
            writer.close()

    def _port(self, where: SplitResult) -> int:
        for name in (f"{where.scheme}://{where.netloc}", where.netloc, where.hostname or ""):
            if name in self.resolve:
                return self.resolve[name]
        assert is_trustworthy(where), f"the test does not say where {where.netloc} is"
        assert where.scheme == "http", f"the test does not say where {where.netloc} is"
        return where.port or 80

    def _policy(self) -> str:
        return self.page.header("Referrer-Policy") or "strict-origin-when-cross-origin"


@dataclass
class _Chain:
    """One navigation or load, with the redirects that belong to it."""

    initiator: str | None
    destination: str = "document"
    mode: str = "navigate"
    policy: str = "strict-origin-when-cross-origin"
    form_page: Answer | None = None
    urls: list[str] = field(default_factory=list)
    sent: tuple[bytes, Mapping[str, str] | None] = (b"", None)

    @property
    def accept(self) -> str:
        pages = self.mode == "navigate"
        return "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" if pages else "*/*"

    def fetch_metadata(self, url: str, method: str) -> dict[str, str]:
        fields = {}
        if is_trustworthy(urlsplit(url)):
            fields = {
                "Sec-Fetch-Site": self._relation(url),
                "Sec-Fetch-Mode": self.mode,
                "Sec-Fetch-Dest": self.destination,
            }
        if self.initiator is not None and (method not in ("GET", "HEAD")):
            same = origin_of(self.initiator) == origin_of(url)
            hidden = self.policy == "no-referrer" or (self.policy == "same-origin" and not same)
            fields["Origin"] = "null" if hidden and self.mode != "cors" else origin_of(self.initiator)
        if self.initiator is not None and self.policy != "no-referrer":
            same = origin_of(self.initiator) == origin_of(url)
            if same or self.policy != "same-origin":
                fields["Referer"] = self.initiator if same else origin_of(self.initiator) + "/"
        return fields

    def _relation(self, url: str) -> str:
        """Sec-Fetch-Site speaks of every URL on the way."""
        if self.initiator is None:
            return "none"
        way = [*self.urls, url]
        if all(origin_of(step) == origin_of(self.initiator) for step in way):
            return "same-origin"
        return "same-site" if all(site_of(step) == site_of(self.initiator) for step in way) else "cross-site"


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def site_of(url: str) -> str:
    """Scheme and registrable domain; every top-level domain counts as one label."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host if host.startswith('127.') else '.'.join(host.split('.')[-2:])}"


def form_may_go(page: Answer, url: str) -> bool:
    """Content-Security-Policy's form-action."""
    for policy in page.all("Content-Security-Policy"):
        for directive in policy.split(";"):
            name, *sources = directive.split()
            if name.lower() != "form-action":
                continue
            here, there = origin_of(page.url), origin_of(url)
            if not any(
                s == "*" or (s == "'self'" and here == there) or there in (s, s + "//") or there.startswith(s + "//")
                for s in sources
            ):
                return False
    return True


def read_answer(raw: bytes, url: str, method: str, sent: str) -> Answer:
    """A whole response from a connection that was closed after it."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    while status_line.startswith("HTTP/1.1 1"):
        head, _, body = body.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
    assert status_line.startswith("HTTP/1.1 "), f"no HTTP response: {raw[:200]!r}"
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if any(name.lower() == "transfer-encoding" and "chunked" in value for name, value in headers):
        body = _unchunked(body)
    return Answer(url, method, int(status_line.split(" ")[1]), headers, body, raw, sent)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
