"""`/oauth2/start`: a login that somebody asks for, and the page where people choose a provider.

The caller chooses where to land, at which of the app's providers, whether to choose another account and whom to suggest, never scopes or
`acr_values`: those come from the configuration, and from the rules of the page that is named. It is the client's `initiate_login_uri` as
well: the provider's own page, or a third party, begins a login with `iss`, `target_link_uri` and `login_hint` (OpenID Connect Core 1.0
section 4).
"""

import contextlib
from typing import Final

from gateway.config.providers import title_of
from gateway.errors.access import SignInDisabled
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest
from gateway.errors.signing_in import UnknownIssuer
from gateway.gate.site import Site
from gateway.pages.renderer import Content, Link, RenderedPage, redirect
from gateway.policy.step_up import NOTHING, StepUp, step_up_of
from gateway.sign_in.begin import PROMPTS, SignInStarter, away_status, start_url
from gateway.web.request import WebRequest, parse_form

_LONGEST_HINT: Final = 254
_LONGEST_ROUTE: Final = 1024


class Start:
    """`GET, POST /oauth2/start?rd=`, or `?iss=&target_link_uri=&login_hint=` from elsewhere."""

    def __init__(self, sign_in: SignInStarter) -> None:
        self._sign_in = sign_in

    async def __call__(self, asked: WebRequest) -> RenderedPage:
        """Raises UnknownIssuer for a login that another provider begins."""
        said = _Said(asked)
        # SECURITY: whoever begins a login elsewhere names the provider; only ours is ever asked.
        provider = self._named(asked, said)
        wanted = said.one("target_link_uri") if said.has("iss") and not said.has("rd") else said.one("rd")
        there = self._sign_in.guard.destination(wanted, asked.route.host)
        prompt, hint = said.one("prompt"), _hint(said.one("login_hint"))
        step_up_for = _route(said.one("for"))
        if there.origin is not None:
            prompt = prompt if prompt in PROMPTS else None
            # The other app may offer other providers: it decides again.
            url = there.origin + start_url(there.path, prompt, hint, step_up_for, said.one("provider"))
            return redirect(away_status(asked.head.method), url)
        if provider is None and len(asked.site.providers) > 1:
            return self._choice(asked, there.path, prompt, hint, step_up_for)
        return self._sign_in.begin(
            asked.route,
            asked.route.host,
            there.path,
            asked.cookies,
            asked.request_id,
            method=asked.head.method,
            step_up=_step_up(asked.site, there.path, step_up_for),
            step_up_for=step_up_for,
            prompt=prompt,
            login_hint=hint,
            provider=provider,
        )

    def _named(self, asked: WebRequest, said: "_Said") -> str | None:
        """The provider that the caller names, by name or as an issuer. Raises UnknownIssuer for one that the app does not offer."""
        if not said.has("iss") and not said.has("provider"):
            return None
        names = asked.site.providers
        if said.has("iss"):
            clients = [self._sign_in.providers.get(name) for name in names]
            named = [c.name for c in clients if c is not None and c.settings.authority_url == said.one("iss")]
        else:
            named = [name for name in names if name == said.one("provider")]
        if not named:
            raise UnknownIssuer("the app does not offer this provider")
        return named[0]

    def _choice(
        self, asked: WebRequest, return_to: str, prompt: str | None, hint: str | None, step_up_for: str | None
    ) -> RenderedPage:
        """One link for each provider. Nothing is remembered: no cookie could be trusted to choose who vouches for somebody."""
        if not asked.site.enabled:
            raise SignInDisabled("openid.enabled is off")
        prompt = prompt if prompt in PROMPTS else None
        clients = [client for name in asked.site.providers if (client := self._sign_in.providers.get(name)) is not None]
        content = Content(
            code="choose_provider",
            tone="locked",
            title="How do you want to sign in?",
            message="Choose the sign-in page that knows you.",
            links=tuple(
                Link(
                    label=title_of(client.name, client.settings),
                    href=start_url(return_to, prompt, hint, step_up_for, client.name),
                )
                for client in clients
            ),
        )
        return self._sign_in.pages.show(content, request_id=asked.request_id)


class _Said:
    """The parameters of the query, and of the form of a POST."""

    def __init__(self, asked: WebRequest) -> None:
        self._params = [*asked.params]
        if asked.head.method == "POST" and asked.body:
            with contextlib.suppress(Refusal):
                self._params += parse_form(asked.body.decode("ascii", "replace"))

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self._params)

    def one(self, name: str) -> str | None:
        """The one value; None when it is missing or repeated."""
        found = [value for key, value in self._params if key == name]
        return found[0] if len(found) == 1 else None


def _hint(text: str | None) -> str | None:
    """Whom to suggest at the provider: a short printable text, or nobody."""
    return text if text and len(text) <= _LONGEST_HINT and text.isprintable() else None


def _route(text: str | None) -> str | None:
    """ "METHOD /path" of a request that wants another sign-in; None for anything else."""
    if text is None or len(text) > _LONGEST_ROUTE or not text.isprintable():
        return None
    method, _, path = text.partition(" ")
    return text if method.isalpha() and method.isascii() and path.startswith("/") else None


def _step_up(site: Site, return_to: str, step_up_for: str | None) -> StepUp:
    """What the rules ask of a sign-in that ends on `return_to` and is to do for `step_up_for`."""
    # SECURITY: the caller names pages; what they ask is the configuration's to say, so nobody can ask for less.
    asked = _of_rule(site, "GET", return_to)
    if step_up_for is None:
        return asked
    method, _, path = step_up_for.partition(" ")
    return asked.and_also(_of_rule(site, method.upper(), path))


def _of_rule(site: Site, method: str, target: str) -> StepUp:
    try:
        return step_up_of(site.find_route(method, target.partition("#")[0].partition("?")[0].encode(), b"").ruling)
    except BadRequest:
        return NOTHING
