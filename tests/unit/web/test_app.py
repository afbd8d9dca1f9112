"""The paths that are ours: what exists, which methods, and what becomes of everything else."""

import pytest
from aiohttp import web

from gateway.config import schema
from gateway.pages.renderer import Pages, RenderedPage
from gateway.web.app import AiohttpAdapter
from gateway.web.request import WebRequest
from tests.fakes.browser import Browser
from tests.fakes.office import Office
from tests.unit.web.made import PORTAL, PORTAL_ORIGIN, made_sites


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2",
        "/oauth2/",
        "/oauth2/x",
        "/oauth2/start/",
        "/oauth2/START",
        "/oauth2/callback/x",
        "/oauth2/debug",
        "/metrics",
        "/",
    ],
)
async def test_a_path_that_is_not_there_is_404(office: Office, path: str) -> None:
    """C-23: nothing else is served under our prefix."""
    browser = office.browser()
    assert (await browser.open(PORTAL_ORIGIN + path)).status == 404
    answer = await browser.fetch(PORTAL_ORIGIN + path)
    assert (answer.status, '"code": "not_found"' in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/oauth2/start", "PUT", "GET, HEAD, POST"),
        ("/oauth2/sign_out", "DELETE", "GET, HEAD, POST"),
        ("/oauth2/signed_out", "POST", "GET, HEAD"),
        ("/oauth2/userinfo", "POST", "GET, HEAD"),
        ("/oauth2/userinfo", "OPTIONS", "GET, HEAD"),
        ("/oauth2/frontchannel-logout", "POST", "GET"),
        ("/.well-known/doorward/jwks.json", "PUT", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_and_says_which_are_allowed(
    office: Office, path: str, method: str, allow: str
) -> None:
    answer = await office.browser().send(method, PORTAL_ORIGIN + path, {})
    assert (answer.status, answer.header("Allow")) == (405, allow)


async def test_head_has_the_head_of_get_and_no_body(office: Office) -> None:
    browser = office.browser()
    head = await browser.send("HEAD", f"{PORTAL_ORIGIN}/oauth2/signed_out", {"Accept": "text/html"})
    assert (head.status, head.body) == (200, b"")
    assert int(head.header("Content-Length") or 0) > 1000


@pytest.mark.parametrize("host", ["evil.example", f"{PORTAL}.evil.example", f"{PORTAL}:8443", "", "a b"])
async def test_an_unknown_host_is_nobodys_default(office: Office, host: str) -> None:
    """C-13."""
    answer = await office.browser().send("GET", f"{PORTAL_ORIGIN}/oauth2/start", {"Host": host or "-"})
    assert answer.status in (400, 421)
    assert "Set-Cookie" not in dict(answer.headers)


@pytest.mark.parametrize("host", [PORTAL.upper(), f"{PORTAL}.", f"{PORTAL}:443"])
async def test_a_host_in_another_spelling_is_the_same(office: Office, host: str) -> None:
    """C-13: and what is answered names it as the configuration does."""
    answer = await office.browser().send("GET", f"{PORTAL_ORIGIN}/oauth2/start", {"Host": host})
    assert answer.status == 302
    assert "redirect_uri=https%3A%2F%2Fportal.example.com%2Foauth2%2Fcallback" in (answer.header("Location") or "")


@pytest.mark.parametrize("query", ["?rd=%ff%fe", "?" + "&".join(f"a{number}=b" for number in range(100))])
async def test_a_query_that_cannot_be_read_is_400(office: Office, query: str) -> None:
    assert (await office.browser().open(f"{PORTAL_ORIGIN}/oauth2/callback{query}")).status == 400


async def test_the_request_id_of_the_data_plane_is_on_the_page(office: Office) -> None:
    browser = office.browser()
    page = await browser.open(f"{PORTAL_ORIGIN}/oauth2/callback", headers={"X-Request-Id": "run-7f"})
    assert "run-7f" in page.document.words
    assert '"request_id": "run-7f"' in (await browser.fetch("/oauth2/x", headers={"X-Request-Id": "run-7f"})).text


async def test_what_nobody_expected_is_500_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """C-48: what went wrong is for the log."""

    async def broken(asked: WebRequest) -> RenderedPage:
        raise RuntimeError("the secret is hunter2")

    app = web.Application()
    app.router.add_get(
        "/oauth2/broken", AiohttpAdapter(made_sites(), Pages(schema.PageSettings())).handler_for({"GET": broken})
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    browser = Browser({PORTAL_ORIGIN: runner.addresses[0][1]})
    answer = await browser.open(f"{PORTAL_ORIGIN}/oauth2/broken")
    await runner.cleanup()
    assert answer.status == 500
    assert "hunter2" not in answer.text
    assert "Something went wrong" in answer.document.words
    assert "a page failed" in caplog.text
