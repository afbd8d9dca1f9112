"""`/oauth2/start`: begins a login on request, and shows the page on which people choose a provider.

The caller chooses the destination, one of the app's providers, whether to choose another account, a login hint, and languages
(`ui_locales`); never scopes or `acr_values`: those come from the configuration, and from the rules of the named page. It is the
client's `initiate_login_uri` as well: the provider's own page, or a third party, begins a login with `iss`, `target_link_uri` and
`login_hint` (OpenID Connect Core 1.0 section 4).
"""

from typing import Final

from gateway.config.providers import title_of
from gateway.errors.access import LoginRequired, SignInDisabled
from gateway.errors.requests import BadRequest
from gateway.errors.signing_in import UnknownIssuer
from gateway.gate.site import Site, start_url
from gateway.http.message import is_visit
from gateway.languages.message import Message
from gateway.pages.links import Link
from gateway.pages.renderer import Content, RenderedPage, redirect
from gateway.policy.step_up import NOTHING, StepUp, step_up_of
from gateway.sign_in.begin import PROMPTS, SignInRequest, SignInStarter, away_status, completed
from gateway.web.request import Parameters, WebRequest

_LONGEST_HINT: Final = 254
_LONGEST_ROUTE: Final = 1024


class Start:
    """`GET, POST /oauth2/start?rd=`, or `?iss=&target_link_uri=&login_hint=` from elsewhere."""

    def __init__(self, sign_in: SignInStarter) -> None:
        self._sign_in = sign_in

    async def __call__(self, request: WebRequest) -> RenderedPage:
        """Raises UnknownIssuer for a login that another provider begins, LoginRequired for a program that a trusted proxy handed over."""
        parameters = request.parameters
        # SECURITY: a third party that begins a login names the provider; only a configured one is used.
        provider = self._named(request, parameters)
        wanted = (
            parameters.one("target_link_uri")
            if parameters.has("iss") and not parameters.has("rd")
            else parameters.one("rd") or request.redirect
        )
        there = self._sign_in.guard.destination(wanted, request.route.host)
        if request.redirect is not None and not request.html:
            # The proxy in front hands over every request without a session, those of programs too.
            raise LoginRequired(sign_in_url=(there.origin or request.route.origin) + start_url(there.path))
        prompt, hint = parameters.one("prompt"), _hint(parameters.one("login_hint"))
        step_up_for = _route(parameters.one("for"))
        if there.origin is not None:
            prompt = prompt if prompt in PROMPTS else None
            # The other app may offer other providers, so its own start endpoint chooses.
            named, tags = parameters.one("provider"), request.languages.ui_locales
            url = there.origin + start_url(there.path, prompt, hint, step_up_for, named, tags)
            return redirect(away_status(request.head.method), url)
        if provider is None and len(request.site.providers) > 1:
            return self._choice(request, there.path, prompt, hint, step_up_for)
        begun = self._sign_in.begin(
            request.route,
            SignInRequest(
                return_to=there.path,
                method=request.head.method,
                step_up=_step_up(request.site, there.path, step_up_for),
                step_up_for=step_up_for,
                prompt=prompt,
                login_hint=hint,
                provider=provider,
                languages=request.languages,
                navigation=is_visit(request.head),
            ),
            cookies=request.cookies,
            request_id=request.request_id,
            client=request.client,
        )
        return await completed(begun)

    def _named(self, request: WebRequest, parameters: Parameters) -> str | None:
        """The provider that the caller names, by name or as an issuer. Raises UnknownIssuer for one that the app does not offer."""
        if not parameters.has("iss") and not parameters.has("provider"):
            return None
        names = request.site.providers
        if parameters.has("iss"):
            clients = [self._sign_in.providers.get(name) for name in names]
            named = [c.name for c in clients if c is not None and parameters.one("iss") in c.settings.issuers]
        else:
            named = [name for name in names if name == parameters.one("provider")]
        if not named:
            raise UnknownIssuer("the app does not offer this provider")
        return named[0]

    def _choice(
        self, request: WebRequest, return_to: str, prompt: str | None, hint: str | None, step_up_for: str | None
    ) -> RenderedPage:
        """A page with one link for each provider. No cookie remembers the choice, because an attacker could plant it."""
        if not request.site.enabled:
            raise SignInDisabled("openid.enabled is off")
        prompt = prompt if prompt in PROMPTS else None
        tags = request.languages.ui_locales
        clients = [
            client for name in request.site.providers if (client := self._sign_in.providers.get(name)) is not None
        ]
        content = Content(
            code="choose_provider",
            tone="locked",
            title=Message("choose_provider.title", "How would you like to sign in?"),
            message=Message("choose_provider.message", "Choose the account that you want to use."),
            links=tuple(
                Link(
                    label=title_of(client.name, client.settings),
                    href=start_url(return_to, prompt, hint, step_up_for, client.name, tags),
                )
                for client in clients
            ),
        )
        return self._sign_in.pages.show(content, request.page_context(return_to))


def _hint(text: str | None) -> str | None:
    """The login hint: a short printable text, or None."""
    return text if text and len(text) <= _LONGEST_HINT and text.isprintable() else None


def _route(text: str | None) -> str | None:
    """ "METHOD /path" of a request that needs a step-up; None for anything else."""
    if text is None or len(text) > _LONGEST_ROUTE or not text.isprintable():
        return None
    method, _, path = text.partition(" ")
    return text if method.isalpha() and method.isascii() and path.startswith("/") else None


def _step_up(site: Site, return_to: str, step_up_for: str | None) -> StepUp:
    """What the rules require of a sign-in that ends on `return_to` and must satisfy `step_up_for`."""
    # SECURITY: the caller names pages; the configuration has what they require, so no caller can lower it.
    required = _step_up_of_rule(site, "GET", return_to)
    if step_up_for is None:
        return required
    method, _, path = step_up_for.partition(" ")
    return required.and_also(_step_up_of_rule(site, method.upper(), path))


def _step_up_of_rule(site: Site, method: str, target: str) -> StepUp:
    try:
        return step_up_of(site.find_route(method, target.partition("#")[0].partition("?")[0].encode(), b"").ruling)
    except BadRequest:
        return NOTHING
