"""Renders pages for people, from one template, and problem documents for programs (RFC 9457).

The invariant: a page escapes all values from outside, loads nothing, runs no script, and is neither framed nor stored; a
refusal's `detail` stays in the log. The style is inline and allowed by its hash, the logo is a data URI.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.config import schema
from gateway.errors.access import Forbidden, OwnLoginClosed
from gateway.errors.refusal import Refusal
from gateway.gate.site import AppRoute

LOGO_LIMIT: Final = 256 * 1024
_LOGO_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
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
class Link:
    """A link of a page."""

    label: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of one page. `form_targets`: origins besides ours that its form may redirect to. `refresh`: as `2;url=/path`."""

    status: int = 200
    code: str
    tone: str
    title: str
    message: str
    reason: str = ""
    cause: str = ""
    account: str = ""
    links: tuple[Link, ...] = ()
    form_action: str = ""
    form_label: str = ""
    form_targets: tuple[str, ...] = ()
    refresh: str = ""


class Pages:
    """Renders all pages. The constructor raises ValueError for a logo that is not an image or too large."""

    def __init__(self, config: schema.PageSettings) -> None:
        self._site = config.title
        self._logo = logo_uri(config.logo) if config.logo is not None else ""
        self._style = resources.files("gateway.pages").joinpath("templates/page.css").read_text("utf-8")
        self._style_hash = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        environment = Environment(loader=PackageLoader("gateway.pages"), autoescape=True, undefined=StrictUndefined)
        self._template = environment.get_template("page.html")

    def render(self, refusal: Refusal, *, html: bool, request_id: str, app: AppRoute | None = None) -> RenderedPage:
        """The response to a refused request: a page for a person (`html`), else a problem document."""
        rid = request_id if _REQUEST_ID.fullmatch(request_id) else "-"
        page = self.show(content_of(refusal, app), request_id=rid) if html else _problem(refusal, rid)
        extra = [*refusal.fields]
        if refusal.retry_after is not None:
            extra.append(("Retry-After", str(refusal.retry_after)))
        if refusal.status == 401:
            extra.append(("WWW-Authenticate", _challenge(refusal)))
        return page.plus(*extra)

    def show(self, content: Content, *, request_id: str) -> RenderedPage:
        """The response with a page."""
        rid = request_id if _REQUEST_ID.fullmatch(request_id) else "-"
        # The style is our own file and must not be escaped, or its hash would not match.
        style = Markup(self._style)  # noqa: S704
        text = self._template.render(page=content, site=self._site, logo=self._logo, style=style, request_id=rid)
        # A form on a page with no-referrer sends `Origin: null`.
        referrer = "same-origin" if content.form_action else "no-referrer"
        return RenderedPage(
            status=content.status,
            headers=[
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Security-Policy", self._policy(content.form_targets if content.form_action else None)),
                ("X-Frame-Options", "DENY"),
                *_personal(referrer),
            ],
            body=text.encode(),
        )

    def _policy(self, form_targets: Sequence[str] | None) -> str:
        forms = "'none'" if form_targets is None else " ".join(("'self'", *form_targets))
        return (
            f"default-src 'none'; style-src 'sha256-{self._style_hash}'; img-src data:; "
            f"form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
        )


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
        "title": refusal.title,
        "status": refusal.status,
        "code": refusal.code,
        "detail": refusal.message,
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
    return "Bearer " + ", ".join(parts)


def _quotable(value: object) -> str:
    return re.sub(r'[^\x20-\x7e]|["\\]', "", str(value))


def content_of(refusal: Refusal, app: AppRoute | None) -> Content:
    """The page of a refusal, with the links that lead on."""
    fact = refusal.facts.get
    return Content(
        status=refusal.status,
        code=refusal.code,
        tone=_TONES.get(refusal.status, "problem"),
        title=refusal.title,
        message=refusal.message,
        reason=str(fact("reason") or ""),
        cause=str(fact("cause") or ""),
        account=str(fact("account") or ""),
        links=tuple(_links(refusal, app)),
    )


_LINKS: Final = (
    ("continue_url", "Continue"),
    ("sign_in_url", "Sign in"),
    ("retry_url", "Try again"),
    ("home_url", "Go to the start page"),
    ("switch_url", "Use another account"),
    ("sign_out_url", "Sign out"),
)


def _links(refusal: Refusal, app: AppRoute | None) -> list[Link]:
    facts = dict(refusal.facts)
    if refusal.code == "login_required" and app is not None:
        facts.setdefault("sign_in_url", app.origin + "/oauth2/start")
    if isinstance(refusal, OwnLoginClosed):
        facts.setdefault("home_url", "/")
    if isinstance(refusal, OwnLoginClosed | Forbidden):
        facts.setdefault("sign_out_url", "/oauth2/sign_out")
    return [
        Link(label=label, href=str(facts[name])) for name, label in _LINKS if name in facts and is_href(facts[name])
    ]


def is_href(value: object) -> bool:
    """Whether a page may link to it: a path of this site or an http(s) URL, never `javascript:` or `//elsewhere`."""
    return isinstance(value, str) and re.fullmatch(r"(?:https?://|/(?![/\\]))[!#-;=?-~]*", value) is not None


def logo_uri(path: Path) -> str:
    """The logo as a data URI. Raises ValueError when it is not PNG, JPEG, GIF, WebP or SVG, or over 256 KiB."""
    try:
        with path.open("rb") as file:
            data = file.read(LOGO_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LOGO_LIMIT:
        raise ValueError("is too large; allowed: up to 256 KiB")
    kind = _image_type(data)
    if kind is None:
        raise ValueError("is not an image; allowed: PNG, JPEG, GIF, WebP or SVG")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _image_type(data: bytes) -> str | None:
    """The type by content, not by file name: with a wrong type browsers show a broken picture."""
    for start, kind in _LOGO_STARTS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in data.lower():
        return "image/svg+xml"
    return None
