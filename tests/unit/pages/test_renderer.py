"""What a person reads and what a program reads, for every way to refuse."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import schema
from gateway.errors import access, dependencies, hand_off, requests, signing_in
from gateway.errors.access import Forbidden, LoginRequired, OwnLoginClosed, RouteBlocked, StepUpRequired
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import SignInFailed
from gateway.languages.catalogue import source_messages
from gateway.languages.message import Message
from gateway.languages.negotiation import PreferredLanguages
from gateway.pages.links import PageContext, is_href
from gateway.pages.renderer import Content, Pages, RenderedPage, redirect
from gateway.pages.theme import LOGO_LIMIT, logo_uri
from tests.fakes.browser import Document
from tests.unit.web.made import DASHBOARD, PORTAL, made_sites

PAGES = Pages(schema.PageSettings(title="Harbour members"))
SITES = made_sites()
SITE = SITES[PORTAL]
CONTEXT = PageContext(request_id="r-1", site=SITE, return_to="/rooms?day=2", retry_url="/rooms?day=2")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def every_refusal() -> list[Refusal]:
    """One of each class in gateway/errors."""
    modules = (requests, access, signing_in, hand_off, dependencies)
    named = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    classes = sorted((kind for kind in named if issubclass(kind, Refusal)), key=lambda kind: kind.__name__)
    return [kind("a reason") for kind in classes]


def header(page: RenderedPage, name: str) -> str | None:
    return next((value for key, value in page.headers if key == name), None)


def html(refusal: Refusal, request_id: str = "r-1") -> RenderedPage:
    return PAGES.render(refusal, replace(CONTEXT, request_id=request_id), html=True)


def problem(refusal: Refusal) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PAGES.render(refusal, CONTEXT, html=False).body)
    return found


@pytest.mark.parametrize("refusal", every_refusal(), ids=lambda refusal: type(refusal).__name__)
def test_every_refusal_has_a_page_with_its_title_its_code_and_the_request_id(refusal: Refusal) -> None:
    page = html(refusal, "r-77")
    document = Document.of(page.body.decode())
    assert page.status == refusal.status
    assert str(refusal.title) in document.words
    assert document.title == f"{refusal.title} · Harbour members"
    assert refusal.code in document.words
    assert "r-77" in document.words


@pytest.mark.parametrize("refusal", every_refusal(), ids=lambda refusal: type(refusal).__name__)
def test_every_refusal_has_a_problem_document_with_a_stable_code(refusal: Refusal) -> None:
    page = PAGES.render(refusal, CONTEXT, html=False)
    assert header(page, "Content-Type") == "application/problem+json"
    document = json.loads(page.body)
    assert document["code"] == refusal.code
    assert document["status"] == page.status == refusal.status
    assert document["title"] == str(refusal.title)
    assert document["detail"] == str(refusal.message)
    assert document["request_id"] == "r-1"


def test_what_is_meant_for_the_log_reaches_neither_page_nor_problem() -> None:
    """C-48."""
    refusal = Forbidden("token=s3cret is not in group staff")
    assert b"s3cret" not in html(refusal).body
    assert "s3cret" not in json.dumps(problem(refusal))


@pytest.mark.parametrize("as_html", [True, False])
def test_an_answer_about_a_person_is_never_stored(as_html: bool) -> None:
    """C-39."""
    page = PAGES.render(Forbidden(account="ada@example.com"), CONTEXT, html=as_html)
    assert header(page, "Cache-Control") == "no-store"
    assert header(page, "Referrer-Policy") == "no-referrer"
    assert header(page, "X-Content-Type-Options") == "nosniff"


def test_a_page_runs_nothing_loads_nothing_and_is_not_framed() -> None:
    page = html(Forbidden())
    policy = header(page, "Content-Security-Policy") or ""
    text = page.body.decode()
    for rule in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "img-src data:",
    ):
        assert rule in policy
    assert "unsafe" not in policy
    assert header(page, "X-Frame-Options") == "DENY"
    assert "<script" not in text
    assert not re.search(r"\son\w+=|\sstyle=", text)
    assert not re.search(r'(?:src|href)="(?!/|data:)', text)


def test_the_style_is_allowed_by_its_own_hash() -> None:
    page = html(Forbidden())
    style = re.search(r"<style>(.*?)</style>", page.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in (header(page, "Content-Security-Policy") or "")


def test_a_page_knows_light_and_dark_and_small_screens() -> None:
    text = html(Forbidden()).body.decode()
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text
    assert '<html lang="en" dir="ltr">' in text


@pytest.mark.parametrize("fact", ["account", "cause", "reason"])
def test_text_from_outside_is_escaped(fact: str) -> None:
    """A-76."""
    hostile = "<script>alert(1)</script>\"'&"
    refusal = SignInFailed("x")
    refusal.facts[fact] = Message("x", "{host}").fill(host=hostile) if fact == "cause" else hostile
    text = html(refusal).body.decode()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;" in text


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "//evil.example/", "/\\evil.example", "data:,x", "/a b", '/"x', 7, None]
)
def test_a_link_that_is_neither_a_path_nor_http_is_left_out(href: object) -> None:
    assert not is_href(href)
    if href is not None:
        assert "Use another account" not in html(Forbidden(switch_url=href)).body.decode()


def test_the_page_for_somebody_without_access_names_the_account_and_offers_another() -> None:
    page = html(Forbidden(account="ada@example.com", switch_url="/oauth2/start?prompt=select_account"))
    document = Document.of(page.body.decode())
    assert page.status == 403
    assert "ada@example.com" in document.words
    assert document.link("Use another account") == "/oauth2/start?prompt=select_account"
    assert document.link("Sign out") == "/oauth2/sign_out"


def test_somebody_whose_portal_wants_its_own_login_is_not_sent_in_circles() -> None:
    document = Document.of(html(OwnLoginClosed(account="ada@example.com")).body.decode())
    assert "The application asks for its own login" in document.words
    assert (document.link("Go to the home page"), document.link("Sign out")) == ("/", "/oauth2/sign_out")
    assert not any("/oauth2/start" in href for href, _ in document.links)


def test_a_closed_password_door_says_how_to_sign_in_instead() -> None:
    document = Document.of(
        html(RouteBlocked(kind="password", sign_in_url=f"https://{PORTAL}/oauth2/start")).body.decode()
    )
    assert document.link("Sign in") == f"https://{PORTAL}/oauth2/start"


def test_somebody_who_must_sign_in_finds_the_way() -> None:
    document = Document.of(html(LoginRequired()).body.decode())
    assert document.link("Sign in") == "/oauth2/start?rd=/rooms%3Fday%3D2"


def test_a_program_is_told_where_to_sign_in() -> None:
    assert problem(LoginRequired(sign_in_url="https://portal.example.com/oauth2/start"))["sign_in_url"].endswith(
        "/oauth2/start"
    )


def test_401_carries_a_challenge_that_opens_no_dialogue() -> None:
    assert header(html(LoginRequired()), "WWW-Authenticate") == 'Bearer realm="doorward"'


def test_a_step_up_says_which_sign_in_would_do() -> None:
    page = PAGES.render(StepUpRequired(max_age=300, acr_values='mfa"'), CONTEXT, html=False)
    assert header(page, "WWW-Authenticate") == (
        'Bearer realm="doorward", error="insufficient_user_authentication", '
        'error_description="This page requires a more recent or a stronger sign-in.", max_age="300", acr_values="mfa"'
    )


def test_what_may_be_tried_again_says_when() -> None:
    assert header(html(StoreUnavailable()), "Retry-After") == "2"
    assert header(html(Forbidden()), "Retry-After") is None


@pytest.mark.parametrize("request_id", ["a\r\nX: y", "<b>", "x" * 200, ""])
def test_a_request_id_of_another_shape_is_not_shown(request_id: str) -> None:
    text = html(Forbidden(), request_id).body.decode()
    assert '<dd dir="ltr">-</dd>' in text


@pytest.mark.parametrize("location", ["/x\r\nSet-Cookie: a=b", "/x\nY", "/x\x00", "/caf\u00e9", "/a b", ""])
def test_a_redirect_is_one_line_or_none(location: str) -> None:
    """C-38."""
    with pytest.raises(ValueError):
        redirect(302, location)


def test_a_redirect_is_not_stored() -> None:
    """C-39."""
    page = redirect(303, "/x", ("Set-Cookie", "a=b"))
    assert (page.status, header(page, "Location"), header(page, "Cache-Control")) == (303, "/x", "no-store")


def test_a_page_with_a_form_lets_it_go_where_it_leads_and_sends_its_origin() -> None:
    content = Content(
        code="c",
        tone="leave",
        title=Message("t", "t"),
        message=Message("m", "m"),
        form_action="/x",
        form_label=Message("go", "Go"),
        form_targets=("https://login.example",),
    )
    page = PAGES.show(content, CONTEXT)
    assert "form-action 'self' https://login.example;" in (header(page, "Content-Security-Policy") or "")
    assert header(page, "Referrer-Policy") == "same-origin"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("logo.png", PNG, "image/png"),
        ("logo.txt", b"\xff\xd8\xff\xe0" + bytes(10), "image/jpeg"),
        ("logo.gif", b"GIF89a" + bytes(10), "image/gif"),
        ("logo.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        ("x.svg", b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x --><svg/>', "image/svg+xml"),
    ],
)
def test_a_logo_is_known_by_its_content_and_stands_in_the_page(
    tmp_path: Path, name: str, data: bytes, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    page = Pages(schema.PageSettings(title="Harbour", logo=path)).render(Forbidden(), CONTEXT, html=True)
    uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    assert f'<img src="{uri}" alt="Harbour">'.replace("+", "&#43;") in page.body.decode().replace("+", "&#43;")


@pytest.mark.parametrize(
    ("data", "why"), [(b"<html><svg>", "not an image"), (b"", "not an image"), (PNG + bytes(LOGO_LIMIT), "too large")]
)
def test_a_logo_that_is_none_is_refused_by_name(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=why):
        logo_uri(path)


def test_a_logo_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        logo_uri(tmp_path / "none.png")


def reader(*languages: str) -> PageContext:
    return replace(CONTEXT, languages=PreferredLanguages([language.encode() for language in languages]))


def test_a_page_is_in_the_language_that_the_browser_asks_for_and_says_so() -> None:
    page = PAGES.render(Forbidden(account="ada@example.com"), reader("sv, de-AT;q=0.9, en;q=0.1"), html=True)
    text = page.body.decode()
    assert '<html lang="de" dir="ltr">' in text
    assert "Sie haben keinen Zugriff auf diese Seite" in text
    assert (header(page, "Content-Language"), header(page, "Vary")) == ("de", "Accept-Language")


def test_arabic_is_written_from_right_to_left_and_addresses_in_it_are_not() -> None:
    refusal = SignInFailed("x", cause=Message("sign_in_expired.cookies", "{host}").fill(host="a.example:8443"))
    text = PAGES.render(refusal, reader("ar-EG"), html=True).body.decode()
    assert '<html lang="ar" dir="rtl">' in text
    assert "\u2068a.example:8443\u2069" in text
    assert '<dd dir="ltr">sign_in_failed</dd>' in text


def test_the_style_has_no_left_and_no_right() -> None:
    """Logical properties follow the direction of the language."""
    style = html(Forbidden()).body.decode().partition("<style>")[2].partition("</style>")[0]
    assert not re.search(
        r"(?<![\w-])(?:margin|padding|border|inset)-(?:left|right)\b|(?:text-align|float): *(?:left|right)\b", style
    )


def test_the_configuration_has_the_last_word_on_the_language() -> None:
    pages = Pages(schema.PageSettings(language="ar"), {"dashboard": schema.PageSettings(language="de")})

    def language(*accept: str, host: str = PORTAL) -> str | None:
        context = replace(reader(*accept), site=SITES[host])
        return header(pages.render(Forbidden(), context, html=True), "Content-Language")

    assert (language("en"), language("sv"), language()) == ("en", "ar", "ar")
    assert language(host=DASHBOARD) == "de"


def test_an_operators_text_replaces_ours_in_its_language_and_is_text() -> None:
    """A-76."""
    pages = Pages(schema.PageSettings(texts={"de": {"access_denied.title": "Kein <b>Zutritt</b>"}}))
    assert "Kein &lt;b&gt;Zutritt&lt;/b&gt;" in pages.render(Forbidden(), reader("de"), html=True).body.decode()
    assert "Zutritt" not in pages.render(Forbidden(), reader("en"), html=True).body.decode()


def test_a_program_gets_english_whatever_it_asks_for() -> None:
    pages = Pages(schema.PageSettings(language="de", texts={"en": {"access_denied.title": "Members only"}}))
    page = pages.render(Forbidden(), reader("de"), html=False)
    assert json.loads(page.body)["title"] == str(Forbidden.title)
    assert header(page, "Content-Language") is None


@pytest.mark.parametrize("refusal", every_refusal(), ids=lambda refusal: type(refusal).__name__)
def test_every_word_of_a_page_comes_from_a_catalogue(refusal: Refusal) -> None:
    """In a language in which each text is a mark, nothing but marks is left, and what the page was given."""
    pages = Pages(schema.PageSettings(title="1", texts={"de": dict.fromkeys(source_messages(), "◆")}))
    refusal.facts |= dict.fromkeys(
        ("continue_url", "sign_in_url", "retry_url", "home_url", "switch_url", "sign_out_url", "choose_url"), "/1"
    )
    refusal.facts |= {
        "account": "1",
        "reason": "1",
        "cause": Message("redirect_loop.no_cookie", "x"),
        "note": Message("form_lost.upload", "x"),
        "target": "1",
    }
    words = Document.of(pages.render(refusal, reader("de"), html=True).body.decode()).words
    assert not re.search(r"[^\W\d_]", words.replace(refusal.code, "").replace("r-1", ""))
