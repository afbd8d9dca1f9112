"""`doorward login-test`: a real sign-in that issues no session, and then the whole story.

Exit status: 0 the sign-in succeeds and the page is served; 1 it does not, or the configuration has problems; 2 a wrong call; 3 Redis does not
answer; 4 no browser came back within ten minutes.
"""

import asyncio
import json
import secrets
import webbrowser
from typing import Annotated, Final

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out, show_steps
from gateway.cli.session_tables import plain
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.operations.login_test import LoginStory, begin_login_test, wait_for_story
from gateway.redis_client.client import connected
from gateway.sessions.keyring import KeyRing
from gateway.sessions.login_tests import LoginTests

FAILED: Final = 1
WRONG_CALL: Final = 2
NO_STORE: Final = 3
NO_BROWSER: Final = 4


def login_test(
    config: ConfigPath,
    app: Annotated[str, typer.Option(metavar="NAME", help="The app to sign in to.")],
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the app's providers; default: its first.")
    ] = None,
    page: Annotated[str, typer.Option(metavar="PATH", help="The page whose decision is shown.")] = "/",
    open_: Annotated[bool, typer.Option("--open", help="Open the address in this machine's browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The story as one JSON document.")] = False,
) -> None:
    """Sign in for a test: no session is issued and nothing is created. Prints an address to open, and then the whole story."""
    valid = loaded(config)
    try:
        story = asyncio.run(_run(valid, app, provider, page, open_=open_))
    except ValueError as error:
        err.print(str(error))
        raise typer.Exit(WRONG_CALL) from error
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error
    if story is None:
        err.print("no browser came back within ten minutes; the address is void now")
        raise typer.Exit(NO_BROWSER)
    if as_json:
        out.print(json.dumps(story.to_json(), indent=2))
    else:
        _show(story)
    raise typer.Exit(0 if story.passed else FAILED)


async def _run(config: Config, app: str, provider: str | None, page: str, *, open_: bool) -> LoginStory | None:
    async with connected(config.redis) as redis:
        tests = LoginTests(redis, config.redis.key_prefix, KeyRing(config.keys))
        owner = f"command {secrets.token_urlsafe(16)}"
        link = await begin_login_test(config, tests, app=app, owner=owner, provider=provider, page=page)
        err.print("open this address in a browser, once, within ten minutes:")
        err.print(link.url)
        if open_:
            await asyncio.to_thread(webbrowser.open, link.url)
        return await wait_for_story(config, tests, link)


def _show(story: LoginStory) -> None:
    steps: list[tuple[str, str]] = []
    if story.authorization_request is not None:
        steps.append(("authorization request", story.authorization_request["url"]))
        steps += [("", f"{name}={value}") for name, value in story.authorization_request["parameters"].items()]
    for name, value in (story.authorization_response or {}).items():
        steps.append(("authorization response", f"{name}={value}"))
    for call in story.calls:
        steps.append(("call", f"{call['method']} {call['url']}: {call['status']}"))
    if story.token_response is not None:
        steps.append(("token response", json.dumps(story.token_response["received"], ensure_ascii=False)))
    steps += [(f"check {each.outcome}", f"{each.step}: {each.name}") for each in story.checks]
    for heading, facts in (("claim", story.claims), ("identity", story.identity), ("sign-in", story.sign_in)):
        steps += [(heading, f"{name}: {json.dumps(value, ensure_ascii=False)}") for name, value in facts.items()]
    steps += [(f"directory: {name}", text) for name, text in story.provisioning]
    steps += [(f"page: {name}", text) for name, text in story.decision]
    # What the provider says must not move the terminal's cursor.
    show_steps([(name, plain(text)) for name, text in steps])
    if story.advice is not None:
        out.print(plain(f"failed at {story.advice.step}: {story.advice.means}"))
        if story.advice.provider_says:
            out.print(plain(f"the provider says: {story.advice.provider_says}"))
        out.print(plain(f"to do: look at {story.advice.setting}"))
    else:
        out.print("the sign-in succeeds, and the page is served")
