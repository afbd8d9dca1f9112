"""What people see at the provider: one template family, light and dark, nothing from elsewhere."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

_environment = Environment(
    loader=PackageLoader("gateway.demo.provider"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


_environment.filters["initials"] = _initials

_STYLE = _environment.get_template("style.css").render().strip()
_environment.globals["style"] = _STYLE
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_HEADERS = {
    "Cache-Control": "no-store",
    # No form-action: browsers apply it to the redirect after the form too, and that goes to the application.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page(template: str, *, title: str, status: int = 200, **values: Any) -> web.Response:
    html = _environment.get_template(template).render(title=title, **values)
    return web.Response(text=html, content_type="text/html", status=status, headers=_HEADERS)


def redirect(location: str) -> web.Response:
    """303: a browser that posted a form comes with GET, and takes nothing of the form along."""
    return web.Response(status=303, headers={"Location": location, **_HEADERS})


def answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(dict(body), status=status, headers={"Cache-Control": "no-store", **(headers or {})})


def oauth_error(
    error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
) -> web.Response:
    return answer({"error": error, "error_description": description}, status, headers)
