"""Renders pages for people, from one template, and problem documents for programs (RFC 9457).

The invariant: a page escapes all values from outside, loads nothing, runs no script, and is neither framed nor stored; a
refusal's `detail` stays in the log. The style is inline and allowed by its hash, the logo is a data URI.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from gateway.config import schema
from gateway.errors.bearer import TokenRefused
from gateway.errors.refusal import Refusal
from gateway.languages.catalogue import load_catalogues
from gateway.languages.message import Message
from gateway.pages.links import Link, PageContext, links_of
from gateway.pages.theme import Theme, theme_of

_TONES: Final = {
    400: "problem", 401: "locked", 403: "locked", 404: "problem",
    408: "offline", 502: "offline", 503: "offline", 504: "offline",
}  # fmt: skip
_PROBLEM_FACTS: Final = (
    "sign_in_url",
    "switch_url",
    "retry_url",
    "kind",
    "reason",
    "account",
    "max_age",
    "acr_values",
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPage:
    """A complete response. `headers` has no Content-Length: the writer adds it where the body is sent."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def plus(self, *headers: tuple[str, str]) -> "RenderedPage":
        """The same response with more header fields."""
        return replace(self, headers=[*self.headers, *headers])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry of a page's list. With a `form_label` it has a form of its own, which goes to the page's `form_action`."""

    title: Message | str
    mark: Message | None = None
    facts: tuple[tuple[Message, str], ...] = ()
    form_label: Message | None = None
    form_fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of one page.

    `form_other`: name, value and label of a second button of its form.
    `form_targets`: origins besides ours that its form may redirect to; `form_fields`: its hidden fields, which the browser encodes in
    `form_charset`. `target`: the path that a form of the application was for. `rows`: a list. `refresh`: as `2;url=/path`.
    """

    status: int = 200
    code: str
    tone: str
    title: Message
    message: Message
    reason: str = ""
    cause: Message | None = None
    account: str = ""
    note: Message | None = None
    target: str = ""
    rows: tuple[Row, ...] = ()
    links: tuple[Link, ...] = ()
    form_action: str = ""
    form_label: Message | None = None
    form_other: tuple[str, str, Message] | None = None
    form_targets: tuple[str, ...] = ()
    form_fields: tuple[tuple[str, str], ...] = ()
    form_charset: str = "UTF-8"
    refresh: str = ""


class Pages:
    """Renders all pages. `own` are the settings of single apps. The constructor raises ValueError as `theme_of`."""

    def __init__(self, common: schema.PageSettings, own: Mapping[str, schema.PageSettings] | None = None) -> None:
        catalogues = load_catalogues()
        self._theme = theme_of(catalogues, common)
        self._themes = {name: theme_of(catalogues, common, settings) for name, settings in (own or {}).items()}
        self._template = _page_template()

    def render(self, refusal: Refusal, context: PageContext, *, html: bool) -> RenderedPage:
        """The response to a refused request: a page for a person (`html`), else a problem document in English."""
        page = self.show(content_of(refusal, context), context) if html else _problem(refusal, _shown_id(context))
        extra = [*refusal.fields]
        if refusal.retry_after is not None:
            extra.append(("Retry-After", str(refusal.retry_after)))
        if refusal.status == 401 or isinstance(refusal, TokenRefused):
            extra.append(("WWW-Authenticate", _challenge(refusal)))
        return page.plus(*extra)

    def show(self, content: Content, context: PageContext) -> RenderedPage:
        """The response with a page, in the reader's language."""
        theme = self._themes.get(context.site.route.name, self._theme) if context.site is not None else self._theme
        catalogue = theme.catalogue(context.languages)
        page = self._template.render(
            page=content,
            language=catalogue,
            Message=Message,
            brand=theme.title or context.host_name,
            logo=theme.logo,
            support=theme.support,
            # The style is our own text and must not be escaped, or its hash would not match.
            style=Markup(theme.style),  # noqa: S704
            request_id=_shown_id(context),
        )
        # A form on a page with no-referrer sends `Origin: null`.
        referrer = "same-origin" if content.form_action else "no-referrer"
        policy = _policy(theme, content.form_targets if content.form_action else None)
        return RenderedPage(
            status=content.status,
            headers=[
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Language", catalogue.tag),
                ("Vary", "Accept-Language"),
                ("Content-Security-Policy", policy),
                ("X-Frame-Options", "DENY"),
                *_personal(referrer),
            ],
            body=page.encode(),
        )


@cache
def _page_template() -> Template:
    """The template of all pages, compiled once by a process."""
    environment = Environment(loader=PackageLoader("gateway.pages"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html")


def _policy(theme: Theme, form_targets: Sequence[str] | None) -> str:
    forms = "'none'" if form_targets is None else " ".join(("'self'", *form_targets))
    return (
        f"default-src 'none'; style-src 'sha256-{theme.style_hash}'; img-src data:; "
        f"form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )


def _shown_id(context: PageContext) -> str:
    return context.request_id if _REQUEST_ID.fullmatch(context.request_id) else "-"


def redirect(status: int, location: str, *headers: tuple[str, str]) -> RenderedPage:
    """A redirect that is never stored (C-39) and sends no referrer. Raises ValueError for a Location that is not printable ASCII."""
    # SECURITY: a Location with a control byte would be two header fields (C-38).
    if not re.fullmatch(r"[\x21-\x7e]+", location):
        raise ValueError("not a URL that can stand in a header")
    return RenderedPage(status=status, headers=[("Location", location), *_personal(), *headers])


def _personal(referrer: str = "no-referrer") -> list[tuple[str, str]]:
    """The header fields of every response about one person (C-39, RFC 9700 4.2)."""
    return [
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", referrer),
        ("X-Content-Type-Options", "nosniff"),
    ]


def as_json(status: int, document: dict[str, Any], content_type: str = "application/json") -> RenderedPage:
    """A JSON response about one person, never stored."""
    return RenderedPage(
        status=status, headers=[("Content-Type", content_type), *_personal()], body=json.dumps(document).encode()
    )


def _problem(refusal: Refusal, request_id: str) -> RenderedPage:
    document: dict[str, Any] = {
        "type": f"urn:doorward:problem:{refusal.code}",
        "title": str(refusal.title),
        "status": refusal.status,
        "code": refusal.code,
        "detail": str(refusal.message),
        "request_id": request_id,
    }
    facts = {name: refusal.facts[name] for name in _PROBLEM_FACTS if refusal.facts.get(name) not in (None, "", ())}
    return as_json(refusal.status, document | facts, "application/problem+json")


def _challenge(refusal: Refusal) -> str:
    """The challenge that a 401 needs (RFC 9110 15.5.2), with the required sign-in (RFC 9470). Browsers show no dialog for Bearer."""
    parts = ['realm="doorward"']
    if refusal.code == "insufficient_user_authentication":
        parts.append(f'error="{refusal.code}", error_description="{_quotable(refusal.message)}"')
        parts += [
            f'{name}="{_quotable(value)}"' for name in ("max_age", "acr_values") if (value := refusal.facts.get(name))
        ]
    if isinstance(refusal, TokenRefused):
        names = ("error", "error_description", "scope")
        parts += [f'{name}="{_quotable(value)}"' for name in names if (value := refusal.facts.get(name))]
    return "Bearer " + ", ".join(parts)


def _quotable(value: object) -> str:
    return re.sub(r'[^\x20-\x7e]|["\\]', "", str(value))


def content_of(refusal: Refusal, context: PageContext) -> Content:
    """The page of a refusal, with the links that lead on."""
    fact = refusal.facts.get
    return Content(
        status=refusal.status,
        code=refusal.code,
        tone=_TONES.get(refusal.status, "problem"),
        title=refusal.title,
        message=refusal.message,
        reason=str(fact("reason") or ""),
        cause=fact("cause"),
        account=str(fact("account") or ""),
        note=fact("note"),
        target=str(fact("target") or ""),
        links=links_of(refusal, context),
    )
