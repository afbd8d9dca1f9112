"""One request to one of Doorward's own paths, as its handler reads it.

The data plane has parsed and checked the head and found the host; no forwarding header is trusted here (C-16, C-17). The name of
this origin comes from the configuration only.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.errors.requests import BadRequest, UnknownHost
from gateway.gate.request import Request
from gateway.gate.site import AppRoute, Site
from gateway.http.message import RequestHead, is_navigation, is_prefetch
from gateway.http.request_head import parse_host
from gateway.languages.negotiation import PreferredLanguages, read_ui_locales
from gateway.pages.links import PageContext

_MOST_PARAMETERS: Final = 40


class Parameters:
    """Decoded parameters, in order, with repetitions."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def one(self, name: str) -> str | None:
        """The one value; None when it is missing or repeated."""
        found = [value for key, value in self.pairs if key == name]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRequest:
    """`params` are decoded, in order, with repetitions. `cookies` are the values of all `Cookie` fields.

    `earlier_session` is the key of the browser's session, where it is known without its cookie.
    """

    site: Site
    head: RequestHead
    request_id: str
    path: str
    params: tuple[tuple[str, str], ...]
    cookies: Sequence[bytes]
    body: bytes
    earlier_session: str | None = None

    @property
    def route(self) -> AppRoute:
        return self.site.route

    def to_gate_request(self) -> Request[RequestHead]:
        """The request as the gate and the filters take it, with all cookies."""
        return Request(self.site, self.head, None, None, request_id=self.request_id, cookies=self.cookies)

    def page_context(
        self,
        return_to: str | None = None,
        *,
        provider: str | None = None,
        retry_url: str = "",
        ui_locales: tuple[str, ...] = (),
    ) -> PageContext:
        """What a page that answers this request refers to. `ui_locales` are those of the sign-in that it belongs to, if they are known."""
        languages = self.languages
        return PageContext(
            request_id=self.request_id,
            site=self.site,
            return_to=return_to,
            provider=provider,
            retry_url=retry_url,
            languages=replace(languages, ui_locales=ui_locales or languages.ui_locales),
        )

    @property
    def languages(self) -> PreferredLanguages:
        """The languages that the person prefers: the parameter `ui_locales`, and the header field."""
        named = read_ui_locales(self.parameters.one("ui_locales"))
        return PreferredLanguages(self.head.values(b"accept-language"), named)

    @property
    def parameters(self) -> Parameters:
        """Those of the query, and of the form of a POST; a body that is no form has none."""
        pairs = [*self.params]
        if self.head.method == "POST" and self.body:
            with contextlib.suppress(BadRequest):
                pairs += parse_form(self.body.decode("ascii", "replace"))
        return Parameters(pairs)

    @property
    def html(self) -> bool:
        """Whether a person reads the response."""
        return is_navigation(self.head)

    def param(self, name: str) -> str | None:
        """The one value of a query parameter; None when it is missing or repeated."""
        return Parameters(self.params).one(name)

    def field(self, name: bytes) -> str | None:
        """The first value of a header field, as text."""
        value = self.head.first(name)
        return None if value is None else value.decode("latin-1")

    @property
    def client(self) -> str | None:
        """The client's address, as the data plane wrote it after removing the client's own field."""
        return self.field(b"x-real-ip")

    @property
    def redirect(self) -> str | None:
        """Where a trusted proxy says that the person goes afterwards: `X-Auth-Request-Redirect`, once. No other client's gets here."""
        values = self.head.values(b"x-auth-request-redirect")
        return values[0].decode("latin-1") if len(values) == 1 else None

    @property
    def token(self) -> str | None:
        """The session token of this browser; None when it is missing or repeated."""
        return self.site.cookie.find(self.cookies)

    @property
    def prefetching(self) -> bool:
        """Whether the browser prefetches, and no person has clicked (C-49)."""
        return is_prefetch(self.head)


def read_request(request: web.Request, body: bytes, sites: Mapping[str, Site]) -> WebRequest:
    """The request for a handler.

    Raises UnknownHost or MalformedRequest, and BadRequest for a query that is not UTF-8 or has too many parameters.
    """
    fields = list(request.raw_headers)
    head = RequestHead(request.method, request.raw_path.encode("latin-1", "replace"), b"", fields)
    path, _, query = request.raw_path.partition("?")
    host = head.first(b"host") or b""
    return WebRequest(
        site=_site(host, sites),
        head=head,
        request_id=(head.first(b"x-request-id") or b"-").decode("latin-1"),
        path=path,
        params=parse_form(query),
        cookies=head.values(b"cookie"),
        body=body,
    )


def parse_form(text: str) -> tuple[tuple[str, str], ...]:
    """`application/x-www-form-urlencoded` to pairs, in order. Raises BadRequest."""
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS))
    except (ValueError, UnicodeError) as error:
        raise BadRequest("the parameters are not UTF-8, or too many") from error


def _site(host: bytes, sites: Mapping[str, Site]) -> Site:
    name, port = parse_host(host)
    site = sites.get(f"{name}:{port}" if port else name)
    if site is None and port:
        site = sites.get(name)
        site = site if site is not None and port == ("443" if site.route.secure else "80") else None
    # SECURITY: an unknown host gets no default site (C-13).
    if site is None:
        raise UnknownHost(host.decode("latin-1"))
    return site
