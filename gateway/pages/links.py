"""The ways on from a page: its links, which keep the page that the person asked for.

A refusal says which ways help (`Refusal.ways_on`); a URL among its `facts` comes before the one that is made here. Pure.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.errors.refusal import Refusal, WayOn
from gateway.gate.site import Site, start_url
from gateway.languages.message import Message
from gateway.languages.negotiation import NO_PREFERENCE, PreferredLanguages

HOME: Final = "/"
_LONGEST: Final = 2000  # of a local URL in a link: `/oauth2/start` takes no longer one


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of a page. A label that is no message is a name, as that of a provider."""

    label: Message | str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """The request that a page answers.

    `site` is None where no app answers. `return_to` is the local URL of the page that was asked for, or that sent the form; None: it is
    not known. `retry_url` repeats the request; "" where no link can. `provider` is the one that the sign-in was at. `languages` are the
    reader's.
    """

    request_id: str
    site: Site | None = None
    return_to: str | None = None
    retry_url: str = ""
    provider: str | None = None
    languages: PreferredLanguages = NO_PREFERENCE

    @property
    def host_name(self) -> str:
        """The name of the app's host, without a port; "" where no app answers."""
        return (urlsplit(self.site.route.origin).hostname or "") if self.site is not None else ""

    @property
    def several_providers(self) -> bool:
        return self.site is not None and len(self.site.providers) > 1

    def start_url(self, prompt: str | None = None, *, same_provider: bool = False) -> str:
        """The URL of a sign-in that ends on the page that was asked for."""
        provider = self.provider if same_provider and self.several_providers else None
        there = self.return_to if self.return_to is not None and len(self.return_to) <= _LONGEST else HOME
        return start_url(there, prompt, provider=provider, ui_locales=self.languages.ui_locales)


#: The fact that holds the URL of a way on, where the refusal has one of its own; and the link's words.
_WAYS: Final[dict[WayOn, tuple[str, Message]]] = {
    "continue": ("continue_url", Message("page.continue", "Continue")),
    "sign_in": ("sign_in_url", Message("page.sign_in", "Sign in")),
    "retry": ("retry_url", Message("page.try_again", "Try again")),
    "another_account": ("switch_url", Message("page.another_account", "Use another account")),
    "another_provider": ("choose_url", Message("page.another_provider", "Sign in another way")),
    "home": ("home_url", Message("page.home", "Go to the home page")),
    "sign_out": ("sign_out_url", Message("page.sign_out", "Sign out")),
}


def links_of(refusal: Refusal, context: PageContext) -> tuple[Link, ...]:
    """The links of a refusal's page, the most helpful first; no two lead to the same URL."""
    found: dict[str, Link] = {}
    for way in refusal.ways_on:
        fact, label = _WAYS[way]
        href = refusal.facts.get(fact) or _default(way, context)
        if way == "retry" and href == context.return_to != context.retry_url:
            label = Message("page.back", "Go back")
        if isinstance(href, str) and is_href(href):
            found.setdefault(href, Link(label=label, href=href))
    return tuple(found.values()) or (Link(label=Message("page.try_again", "Try again"), href=HOME),)


def _default(way: WayOn, context: PageContext) -> str | None:
    """The URL of a way on; None where it does not help here."""
    if way in ("continue", "sign_in"):
        return context.start_url()
    if way == "retry":
        return context.retry_url or context.return_to
    if way == "another_account":
        return context.start_url("select_account", same_provider=True)
    if way == "another_provider":
        return context.start_url() if context.several_providers else None
    if way == "sign_out":
        return "/oauth2/sign_out"
    return None if context.return_to == HOME else HOME


def is_href(value: object) -> bool:
    """Whether a page may link to it: a path of this site or an http(s) URL, never `javascript:` or `//elsewhere`."""
    return isinstance(value, str) and re.fullmatch(r"(?:https?://|/(?![/\\]))[!#-;=?-~]*", value) is not None
