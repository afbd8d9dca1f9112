"""The frame around every page: its style, which the pages that members see share, its header fields; JSON for programs.

The invariant: a page escapes every value, loads nothing from elsewhere, runs no script but ours, and is neither framed nor stored.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.config.providers import offered, providers_of
from gateway.config.schema import Config
from gateway.console.charts import chart
from gateway.console.page import Page, View
from gateway.console.request import ConsoleRequest
from gateway.errors.refusal import Refusal
from gateway.pages.renderer import RenderedPage, as_json, redirect
from gateway.pages.theme import colors_of

STATIC: Final = "/console/static/"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
_PAGE_FIELDS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Language", "en"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept"),
)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A style sheet or script, and a part of its hash, by which a changed one gets another address."""

    content_type: str
    body: bytes

    @property
    def version(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:12]


class ConsoleRenderer:
    """Renders the pages of one configuration. `menu` are the pages in the menu, in their order."""

    def __init__(self, config: Config, menu: Sequence[Page]) -> None:
        self._menu = menu
        self._brand = config.pages.title or ""
        # A search that is sent when the session has ended is redirected to the provider, and browsers apply form-action to that too.
        self._policy = " ".join((_POLICY, *_provider_origins(config)))
        style = colors_of(config.pages.color) + _file("console.css")
        self.static: Final[Mapping[str, StaticFile]] = {
            "console.css": StaticFile("text/css; charset=utf-8", style.encode()),
            "icon.svg": StaticFile("image/svg+xml", _file("icon.svg").encode()),
            "console.js": StaticFile("text/javascript; charset=utf-8", _file("console.js").encode()),
        }
        environment = Environment(loader=PackageLoader("gateway.console"), autoescape=True, undefined=StrictUndefined)
        environment.filters["moment"] = _moment
        environment.filters["span"] = in_words
        environment.filters["chart"] = chart
        environment.globals["versions"] = {name: file.version for name, file in self.static.items()}
        environment.globals["STATIC"] = STATIC
        self._environment = environment

    def show(self, page: Page, view: View, request: ConsoleRequest) -> RenderedPage:
        """The response with a page, or with its data."""
        if view.lines is not None:
            return _file_of_lines(page.path.rpartition("/")[2], view.lines)
        if request.as_json:
            return as_json(view.status, {"csrf": request.csrf, **view.data} if page.change else dict(view.data)).plus(
                ("Vary", "Accept")
            )
        if view.location:
            return redirect(303, view.location)
        return self._render(view.template or page.template, page, request, view.status, view.data)

    def live(self, page: Page, view: View, request: ConsoleRequest) -> str:
        """What changes on a page while it is open: the block `live` of its template."""
        template = self._environment.get_template(page.template)
        context = template.new_context({"data": view.data, "page": page, "request": request})
        return "".join(template.blocks["live"](context))

    def refuse(
        self, refusal: Refusal, request: ConsoleRequest | None, request_id: str, *, json_wanted: bool
    ) -> RenderedPage:
        """The response to a refused request; `request` is None where the operator is not known."""
        facts = {"code": refusal.code, "title": str(refusal.title), "message": str(refusal.message)}
        if json_wanted:
            document = {"type": f"urn:doorward:problem:{refusal.code}", "status": refusal.status, "code": refusal.code}
            document |= {"title": facts["title"], "detail": facts["message"], "request_id": request_id}
            page = as_json(refusal.status, document, "application/problem+json")
        else:
            template = "bare.html" if request is None else "refusal.html"
            page = self._render(template, None, request, refusal.status, {**facts, "request_id": request_id})
        retry = [] if refusal.retry_after is None else [("Retry-After", str(refusal.retry_after))]
        return page.plus(*refusal.fields, *retry)

    def _render(
        self, template: str, page: Page | None, request: ConsoleRequest | None, status: int, data: Mapping[str, Any]
    ) -> RenderedPage:
        body = self._environment.get_template(template).render(
            data=data, page=page, request=request, menu=self._menu, brand=self._brand
        )
        return RenderedPage(
            status=status, headers=[*_PAGE_FIELDS, ("Content-Security-Policy", self._policy)], body=body.encode()
        )


def _provider_origins(config: Config) -> Sequence[str]:
    """The origins at which operators sign in, as far as the configuration says them."""
    known = providers_of(config)
    named = offered(config, config.console) if config.console is not None else ()
    urls = [urlsplit(known[name].authority_url) for name in named if name in known]
    return sorted({f"{url.scheme}://{url.netloc}" for url in urls if url.netloc})


def _file_of_lines(name: str, lines: Sequence[Mapping[str, Any]]) -> RenderedPage:
    fields = [
        ("Content-Type", "application/jsonl"),
        ("Content-Disposition", f'attachment; filename="{name}"'),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    return RenderedPage(status=200, headers=fields, body=body.encode())


def _file(name: str) -> str:
    return resources.files("gateway.console").joinpath("static", name).read_text("utf-8")


def _moment(text: str | None) -> Markup:
    """A moment of the data as an element that the script writes in the reader's time zone; without it, in UTC."""
    if not text:
        return Markup("–")
    moment = datetime.fromisoformat(text)
    return Markup('<time datetime="{}">{} UTC</time>').format(text, moment.strftime("%Y-%m-%d %H:%M:%S"))


def in_words(seconds: float) -> str:
    """`6 d 3 h`, `2 h 5 min`, `40 s`."""
    left = max(0, int(timedelta(seconds=seconds).total_seconds()))
    units = [(left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "min"), (left % 60, "s")]
    while len(units) > 1 and units[0][0] == 0:
        units.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in units[:2] if number or len(units) == 1)
