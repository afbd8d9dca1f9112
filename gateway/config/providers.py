"""The providers by name, which of them an app offers, and the checks of both.

`openid` describes the only provider, or one beside the named ones of `providers`. Pure.
"""

from collections.abc import Iterator, Mapping

from gateway.config.addresses import TENANT
from gateway.config.reading.problems import Finding
from gateway.config.schema import App, Config, Console
from gateway.config.sections.openid import DEFAULT_PROVIDER, ProviderKeys


def providers_of(config: Config) -> dict[str, ProviderKeys]:
    """By name, in the order of the file. `openid` is one of them, unless only `providers` has addresses and clients."""
    openid = config.openid
    alone = not config.providers or openid.authority_url or openid.client_id or openid.client_secret
    return ({DEFAULT_PROVIDER: openid} if alone else {}) | dict(config.providers)


def offered(config: Config, app: App | Console) -> tuple[str, ...]:
    """The names of the providers that an app offers. Empty: the file names none, and there are several."""
    if app.provider is not None or app.providers:
        return app.providers or (app.provider or "",)
    known = tuple(providers_of(config))
    return (DEFAULT_PROVIDER,) if DEFAULT_PROVIDER in known else known if len(known) == 1 else ()


def offered_by_app(config: Config) -> Mapping[str, tuple[str, ...]]:
    """The names of the offered providers, by app."""
    return {name: offered(config, app) for name, app in config.apps.items()}


def key_of(name: str) -> str:
    """The key of a provider in the file."""
    return name if name == DEFAULT_PROVIDER else f"providers.{name}"


def title_of(name: str, settings: ProviderKeys) -> str:
    """The name of a provider on the page where people choose one."""
    return settings.title or name


def findings(config: Config) -> Iterator[Finding]:
    """Everything that contradicts itself in a provider, and between providers and apps."""
    known = providers_of(config)
    for name, settings in known.items():
        yield from _provider(key_of(name), settings)
    for name, app in config.apps.items() if config.openid.enabled else ():
        yield from provider_choice(f"apps.{name}", config, app)


def _provider(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    reads = ("openid.enabled", f"{place}.client_authentication")
    for name, example in (("authority_url", "the provider's https URL"), ("client_id", "the id that it gave you")):
        if not getattr(settings, name):
            yield Finding(key=f"{place}.{name}", what="is missing", allowed=f"allowed: {example}", reads=reads)
    for_tenants = TENANT in (settings.issuer or "")
    if for_tenants != bool(settings.allowed_tenants):
        # SECURITY: without a list, the people of every tenant could sign in, and anyone can open a tenant.
        fault = "is missing" if for_tenants else f"is used only with {TENANT} in issuer"
        ids = "allowed: the ids of the tenants whose people may sign in" if for_tenants else "allowed: nothing"
        yield Finding(key=f"{place}.allowed_tenants", what=fault, allowed=ids, reads=(f"{place}.issuer",))
    if "openid" not in settings.scopes:
        allowed = "allowed: [openid, email, profile]"
        yield Finding(key=f"{place}.scopes", what="does not contain openid", allowed=allowed)
    if len(set(settings.scopes)) != len(settings.scopes):
        yield Finding(key=f"{place}.scopes", what="names a scope twice", allowed="allowed: each once")


def provider_choice(place: str, config: Config, app: App | Console) -> Iterator[Finding]:
    """Everything that contradicts itself in the providers that an app, or the console, offers. `place`: its key."""
    known = providers_of(config)
    names, reads = f"allowed: {', '.join(known)}", ("providers", "openid")
    if app.provider is not None and app.providers:
        what = "is given twice, here and in providers"
        yield Finding(key=f"{place}.provider", what=what, allowed="allowed: provider, or providers")
        return
    chosen = {f"{place}.provider": app.provider} if app.provider is not None else {}
    chosen |= {f"{place}.providers[{index}]": name for index, name in enumerate(app.providers)}
    for key, name in chosen.items():
        if name not in known:
            yield Finding(key=key, what="is no provider of this file", allowed=names, reads=reads)
    if len(set(app.providers)) != len(app.providers):
        yield Finding(key=f"{place}.providers", what="names a provider twice", allowed="allowed: each once")
    if not offered(config, app):
        # SECURITY: which of several providers an app trusts must be configured, never guessed (C-21).
        yield Finding(key=f"{place}.provider", what="is missing where there are several", allowed=names, reads=reads)


def dependency_of(provider: str) -> str:
    """The name of a provider among the dependencies of /ready and the metrics."""
    return "provider" if provider == DEFAULT_PROVIDER else f"provider:{provider}"
