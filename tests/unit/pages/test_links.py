"""No page is a dead end: each has a link that helps, and keeps the page that was asked for."""

from dataclasses import replace

import pytest

from gateway.errors.access import Forbidden
from gateway.errors.refusal import Refusal
from gateway.errors.requests import NotFound, PayloadTooLarge
from gateway.errors.signing_in import (
    AccountAmbiguous,
    AccountLinkedElsewhere,
    AccountSuspended,
    EmailDomainForeign,
    EmailNotVerified,
    NotRegistered,
    TooManySessions,
)
from gateway.pages.links import PageContext, is_href, links_of
from tests.fakes.browser import Document
from tests.unit.pages.test_renderer import PAGES, every_refusal
from tests.unit.web.made import PORTAL, made_config, made_sites

ONE = made_sites()[PORTAL]
PROVIDER = {"authority_url": "https://members.example.net", "client_id": "doorward", "client_secret": "a long secret"}
SEVERAL = made_sites(
    made_config(
        providers={"members": PROVIDER},
        apps={
            "portal": {"hosts": [PORTAL], "upstream": "http://127.0.0.1:9", "providers": ["openid", "members"]},
        },
    )
)[PORTAL]
DEEP = "/rooms?day=2"
KEPT = "rd=/rooms%3Fday%3D2"
#: The request that a page answers: a page, a form, `/` itself, an app without a page that was asked for, and no app at all.
CONTEXTS = {
    "page": PageContext(request_id="r", site=ONE, return_to=DEEP, retry_url=DEEP),
    "form": PageContext(request_id="r", site=ONE, return_to=DEEP),
    "start page": PageContext(request_id="r", site=ONE, return_to="/", retry_url="/"),
    "our own page": PageContext(request_id="r", site=ONE),
    "several providers": PageContext(request_id="r", site=SEVERAL, return_to=DEEP, retry_url=DEEP, provider="members"),
    "no app": PageContext(request_id="r"),
}


def links(refusal: Refusal, context: PageContext) -> dict[str, str]:
    return {str(link.label): link.href for link in links_of(refusal, context)}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("refusal", every_refusal(), ids=lambda refusal: type(refusal).__name__)
def test_every_page_has_a_way_on(refusal: Refusal, context: PageContext) -> None:
    document = Document.of(PAGES.render(refusal, context, html=True).body.decode())
    found = [href for href, _ in document.links]
    assert found
    assert len(set(found)) == len(found)
    assert all(is_href(href) for href in found)


@pytest.mark.parametrize(
    "kind",
    [
        *(EmailDomainForeign, EmailNotVerified, TooManySessions, NotRegistered),
        *(AccountSuspended, AccountAmbiguous, AccountLinkedElsewhere),
    ],
)
def test_who_signed_in_and_is_refused_may_try_another_account_or_provider_and_lands_on_the_page(
    kind: type[Refusal],
) -> None:
    refusal = kind("a reason")
    assert links(refusal, CONTEXTS["page"])["Use another account"] == f"/oauth2/start?{KEPT}&prompt=select_account"
    assert "Sign in another way" not in links(refusal, CONTEXTS["page"])
    several = links(refusal, CONTEXTS["several providers"])
    assert several["Use another account"] == f"/oauth2/start?{KEPT}&prompt=select_account&provider=members"
    assert several["Sign in another way"] == f"/oauth2/start?{KEPT}"


def test_the_same_address_is_not_tried_again_where_it_is_foreign() -> None:
    assert "Try again" not in links(EmailDomainForeign("x"), CONTEXTS["page"])


def test_a_page_is_tried_again_and_a_form_goes_back() -> None:
    assert links(Refusal(), CONTEXTS["page"]) == {"Try again": DEEP, "Go to the home page": "/"}
    assert links(PayloadTooLarge(), CONTEXTS["form"]) == {"Go back": DEEP, "Go to the home page": "/"}


def test_a_url_of_the_refusal_comes_before_the_one_that_is_made() -> None:
    assert links(Forbidden(switch_url="/elsewhere"), CONTEXTS["page"])["Use another account"] == "/elsewhere"


def test_the_start_page_does_not_lead_to_itself_where_another_link_does_better() -> None:
    assert "Go to the home page" not in links(Forbidden(), CONTEXTS["start page"])
    assert links(NotFound(), CONTEXTS["start page"]) == {"Try again": "/"}


def test_a_link_is_not_longer_than_what_a_sign_in_takes() -> None:
    long = replace(CONTEXTS["page"], return_to="/" + "x" * 2001)
    assert links(NotRegistered(), long)["Use another account"] == "/oauth2/start?prompt=select_account"
