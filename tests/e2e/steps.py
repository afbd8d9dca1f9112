"""What a person does in the browser."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from gateway.demo.people import Person

PROVIDER_PAGE = "Who are you?"


def choose_person(page: Page, person: Person) -> None:
    """On the provider's login form."""
    expect(page).to_have_title(PROVIDER_PAGE)
    page.get_by_role("button", name=person.name, exact=True).click()


def visit_as(page: Page, url: str, person: Person) -> None:
    """Opens a page that needs a sign-in, and signs in at the provider."""
    page.goto(url)
    choose_person(page, person)


def confirm_sign_out(page: Page) -> None:
    """On the provider's own question."""
    page.get_by_role("button", name="Sign out of the provider").click()


def shows(page: Page, text: str) -> None:
    """Waits until the page shows `text`."""
    expect(page.get_by_text(re.compile(re.escape(text), re.IGNORECASE)).first).to_be_visible()


def cookies_of(context: BrowserContext, url: str) -> str:
    """The Cookie header that the browser would send to `url`."""
    return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in context.cookies(url))
