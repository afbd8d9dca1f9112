"""Draws the samples' pages: jinja2 templates of this package, a strict content policy, no external resources."""

from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.demo.told import Told, explained
from gateway.demo.visitor import TOLD

ASSETS = Path(__file__).with_name("assets")

_HEADERS = {
    "Cache-Control": "no-store",
    # No form-action: a browser applies it to the redirects after a form too, and signing out ends at the provider.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_NOTHING_SENT = Told(identity={}, groups=(), claims={}, request={}, extra={}, cookies=())

_environment = Environment(
    loader=PackageLoader("gateway.demo"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["explained"] = explained


def render(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """One page; every template may use `told`, `path` and what the caller gives."""
    values.setdefault("visitor", None)
    html = _environment.get_template(template).render(
        told=request.get(TOLD, _NOTHING_SENT), path=request.path, **values
    )
    return web.Response(text=html, content_type="text/html", status=status, headers=_HEADERS)


async def favicon(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(ASSETS / "favicon.svg", headers={"Content-Type": "image/svg+xml"})
