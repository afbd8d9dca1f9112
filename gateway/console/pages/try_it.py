"""Try it: a login test, as a customer or as an admin, and its story. The page of `doorward login-test`."""

from typing import Any, Final
from urllib.parse import urlencode

from gateway.config.console import ACT
from gateway.config.providers import offered
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.operations.login_test import LoginTestLink, begin_login_test, read_login_story
from gateway.sessions.login_tests import LoginTests

TRY_IT: Final = "/console/try-it"
BEGIN: Final = f"{ACT}/try-it"
_FIELDS: Final = ("app", "provider", "page")


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    """The story of the test that the address names, for the operator who began it."""
    test_id = request.query.one("id") or ""
    test = await _tests(parts).find_by_id(test_id) if test_id else None
    # SECURITY: an operator reads the claims of a test that they began, and of no other (C-85).
    if test is None or test.owner != _owner(request):
        return View(data={"id": "", "gone": bool(test_id), "test": None, "story": None})
    story = await read_login_story(parts.config, _tests(parts), LoginTestLink(url="", id=test_id, test=test))
    return View(
        data={
            "id": test_id,
            "gone": False,
            "test": {"app": test.app, "provider": test.provider, "page": test.page},
            "story": None if story is None else story.to_json(),
        }
    )


async def _form(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return View(data=_wanted(parts, {"page": "/"}))


async def _begin(request: ConsoleRequest, parts: ConsoleParts) -> View:
    given = {name: (request.form.one(name) or "").strip() for name in _FIELDS}
    try:
        link = await begin_login_test(
            parts.config, _tests(parts), app=given["app"], owner=_owner(request), provider=given["provider"] or None,
            page=given["page"] or "/",
        )  # fmt: skip
    except ValueError as error:
        return View(status=400, data=_wanted(parts, given, [str(error)]))
    return View(
        template="try_it_begun.html",
        data={**_wanted(parts, given), "url": link.url, "story": f"{TRY_IT}?{urlencode({'id': link.id})}"},
    )


def _wanted(parts: ConsoleParts, given: dict[str, str], problems: Any = ()) -> dict[str, Any]:
    return {
        "wish": {name: given.get(name, "") for name in _FIELDS},
        "apps": [
            {"name": name, "surface": app.surface, "providers": list(offered(parts.config, app))}
            for name, app in parts.config.apps.items()
        ],
        "problems": list(problems),
    }


def _owner(request: ConsoleRequest) -> str:
    who = request.operator.identity
    return f"{who.issuer} {who.subject}"


def _tests(parts: ConsoleParts) -> LoginTests:
    return LoginTests(parts.redis, parts.config.redis.key_prefix, parts.ring)


PAGES: Final = (
    Page(path=TRY_IT, title="Try it", template="try_it.html", show=_show, menu="Try it", live=2.0),
    Page(path=BEGIN, title="Try a sign-in", template="try_it_form.html", show=_form, change=_begin, section=TRY_IT),
)
