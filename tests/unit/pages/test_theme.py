"""How the pages of an app look: its own settings before the common ones, in colours that can be read."""

import base64
import hashlib
import re

import pytest

from gateway.config.schema import PageSettings
from gateway.errors.signing_in import NotRegistered
from gateway.pages.color import READABLE, contrast, palette, parse
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages, RenderedPage
from tests.fakes.browser import Document
from tests.unit.web.made import DASHBOARD, PORTAL, made_sites

SITES = made_sites()
LIGHT, DARK = "#ffffff", "#19212b"
TITLE, MESSAGE = "not_registered.title", "not_registered.message"


def page_of(pages: Pages, host: str = PORTAL) -> RenderedPage:
    return pages.render(NotRegistered("x"), PageContext(request_id="r", site=SITES[host]), html=True)


def document_of(pages: Pages, host: str = PORTAL) -> Document:
    return Document.of(page_of(pages, host).body.decode())


@pytest.mark.parametrize("ground", [LIGHT, DARK])
@pytest.mark.parametrize(
    "color", ["#2156c9", "#ffffff", "#000000", "#ffff00", "#777777", "#19212b", "#ff0000", "#00ff00", "#8a3b12"]
)
def test_every_text_in_an_operators_colour_can_be_read(color: str, ground: str) -> None:
    """A button's text, under the pointer too; a link on the card, and on the tinted ground under the pointer."""
    found = palette(color, ground)
    pairs = [
        *((found.on_accent, found.accent), (found.on_accent, found.deep)),
        *((found.accent, ground), (found.accent, found.tint)),
    ]
    assert [pair for pair in pairs if contrast(parse(pair[0]), parse(pair[1])) < READABLE] == []


def test_a_colour_that_can_be_read_is_taken_as_it_is() -> None:
    assert palette("#2156c9", LIGHT).accent == "#2156c9"
    assert (contrast(parse("#000000"), parse("#ffffff")), contrast(parse("#777777"), parse("#777777"))) == (21, 1)


def test_the_style_with_a_colour_is_the_one_that_the_policy_allows() -> None:
    page = page_of(Pages(PageSettings(color="#8A3B12")))
    style = re.search(r"<style>(.*?)</style>", page.body.decode(), re.DOTALL)
    assert style is not None
    assert "--accent: #8a3b12;" in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert any(f"style-src 'sha256-{digest}'" in value for _, value in page.headers)


def test_without_a_title_the_name_of_the_host_stands_there() -> None:
    assert document_of(Pages(PageSettings())).title.endswith(f" · {PORTAL}")
    assert document_of(Pages(PageSettings(title="Harbour"))).title.endswith(" · Harbour")
    unknown = Pages(PageSettings()).render(NotRegistered("x"), PageContext(request_id="r"), html=True)
    assert Document.of(unknown.body.decode()).title == str(NotRegistered.title)


def test_an_apps_own_settings_come_before_the_common_ones_one_by_one() -> None:
    texts = {TITLE: "No member yet", MESSAGE: "Ask at the desk."}
    common = PageSettings(title="Harbour", support="mailto:help@example.com", texts={"en": texts})
    own = PageSettings(support="tel:+351210000000", texts={"en": {MESSAGE: "Ask upstairs."}})
    pages = Pages(common, {"dashboard": own})
    portal, dashboard = document_of(pages), document_of(pages, DASHBOARD)
    assert (portal.link("Get help"), dashboard.link("Get help")) == ("mailto:help@example.com", "tel:+351210000000")
    assert portal.title == dashboard.title == "No member yet · Harbour"
    assert ("Ask at the desk." in portal.words, "Ask upstairs." in dashboard.words) == (True, True)


def test_an_operators_text_takes_the_place_of_ours_and_is_text() -> None:
    """A-76."""
    page = page_of(Pages(PageSettings(texts={"en": {TITLE: "No <b>member</b> yet"}}))).body.decode()
    assert "No &lt;b&gt;member&lt;/b&gt; yet" in page
    assert str(NotRegistered.title) not in page
    assert str(NotRegistered.message) in page
