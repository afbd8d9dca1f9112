"""A browser, the certified provider, and doors to stand before. Screenshots go to `build/e2e/`."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.needs import program
from tests.e2e.processes import free_port
from tests.e2e.stack import NAMES, OUTPUT, CertifiedProvider, Door, origin

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
]

Snap = Callable[[Page, str], None]
OpenDoor = Callable[..., Door]
#: `stand(openid, **more of CertifiedProvider)`; with `provider`, a door before that one; with `tls`, over https.
Stand = Callable[..., Door]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser comes last: its driver keeps an event loop running, under which no other test can have one."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = program("chromium")
    assert chromium is not None, "run `make e2e`: it installs the browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile without any cookie."""
    context = browser.new_context(viewport={"width": 1100, "height": 760})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab; where the test fails, what it shows is kept as `failed-….png`."""
    page = context.new_page()
    failed_before = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed_before:
        _snap(page, f"failed-{request.node.name}")


@pytest.fixture
def snap() -> Snap:
    """`snap(page, "name")` keeps what the page shows as `build/e2e/name.png`."""
    return _snap


def _snap(page: Page, name: str) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png", full_page=True)


@pytest.fixture(scope="session")
def door_port() -> int:
    """Where every door of a run listens, one after the other: the provider knows the redirect URIs from the start."""
    return free_port()


@pytest.fixture(scope="session")
def provider(door_port: int) -> Iterator[CertifiedProvider]:
    provider = CertifiedProvider([origin(name, door_port) for name in NAMES])
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def open_door(
    door_port: int, provider: CertifiedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenDoor]:
    """`open_door(name, openid settings, **more of Door)` starts a door and closes the one before it."""
    standing: list[Door] = []

    def open_door(name: str, openid: Mapping[str, Any], **more: Any) -> Door:
        while standing:
            standing.pop().stop()
        folder: Path = tmp_path_factory.mktemp(name)
        standing.append(Door(door_port, provider, openid, folder, **more))
        return standing[-1]

    yield open_door
    for door in standing:
        door.stop()


@pytest.fixture(scope="module")
def door(open_door: OpenDoor) -> Door:
    """The door as the demo has it: every toggle on, unregistered people are created."""
    return open_door("door", {})


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A provider of the test's own, and a door before it."""
    port, own, standing_now = free_port(), ExitStack(), list[Door]()

    def standing(
        openid: Mapping[str, Any],
        provider: CertifiedProvider | None = None,
        tls: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Door:
        scheme = "http" if tls is None else "https"
        if provider is None:
            provider = CertifiedProvider([origin(name, port, scheme) for name in NAMES], **more)
            own.callback(provider.stop)
        folder = tmp_path / f"{tmp_path.name}-{len(list(tmp_path.glob('*-*')))}"
        folder.mkdir()
        while standing_now:
            standing_now.pop().stop()
        sections = {} if tls is None else {"tls": dict(tls), "external_url_scheme": scheme}
        standing_now.append(Door(port, provider, openid, folder, sections=sections))
        return standing_now[-1]

    with own:
        yield standing
        for door in standing_now:
            door.stop()
