"""The providers by name, which of them an app offers, and the checks of both.

`openid` describes the only provider, or one beside the named ones of `providers`. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

from gateway.config.addresses import TENANT
from gateway.config.reading.problems import Finding
from gateway.config.schema import App, Config, Console
from gateway.config.sections.openid import DEFAULT_PROVIDER, ProviderKeys
from gateway.config.values import keeps_group


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
        if settings.response_mode == "form_post" and config.external_url_scheme != "https":
            # SECURITY: the cookie that binds such a sign-in comes from another site's page, and browsers send it over https alone.
            what, allowed = "is form_post, and external_url_scheme is http", "allowed: with https, or query"
            key = f"{key_of(name)}.response_mode"
            yield Finding(key=key, what=what, allowed=allowed, reads=("external_url_scheme",))
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
    if not settings.groups_filter and "groups_filter" in settings.model_fields_set:
        allowed = 'allowed: the groups that sessions keep, as [staff, "team-*"], or no groups_filter'
        yield Finding(key=f"{place}.groups_filter", what="is empty", allowed=allowed)
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
    usable = [name for name in offered(config, app) if name in known]
    for key, groups in _named_groups(place, app):
        yield from dropped_groups(key, groups, usable, known)


def _named_groups(place: str, app: App | Console) -> Iterator[tuple[str, Sequence[str]]]:
    """Each key that names groups, with them."""
    yield f"{place}.require.groups", app.require.groups
    if isinstance(app, App):
        yield from (
            (f"{place}.rules[{index}].require.groups", rule.require.groups) for index, rule in enumerate(app.rules)
        )
    else:
        yield f"{place}.roles.view.groups", app.roles.view.groups
        yield f"{place}.roles.act.groups", app.roles.act.groups
        yield f"{place}.roles.settings.groups", app.roles.settings.groups


def dropped_groups(
    key: str, groups: Sequence[str], names: Sequence[str], known: Mapping[str, ProviderKeys]
) -> Iterator[Finding]:
    """Groups at `key` that the `groups_filter` of each provider of these `names` drops, so that no session has them."""
    for index, group in enumerate(groups):
        # SECURITY: rules must find in a session every group that they name (C-21).
        if names and not any(keeps_group(known[name].groups_filter, group) for name in names):
            filters = tuple(f"{key_of(name)}.groups_filter" for name in names)
            what, allowed = (
                f"names {group}, which {filters[0]} drops",
                "allowed: groups that it keeps; or add this one to it",
            )
            yield Finding(key=f"{key}[{index}]", what=what, allowed=allowed, reads=filters)


def dependency_of(provider: str) -> str:
    """The name of a provider among the dependencies of /ready and the metrics."""
    return "provider" if provider == DEFAULT_PROVIDER else f"provider:{provider}"
