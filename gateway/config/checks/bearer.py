"""What contradicts itself in an app's `bearer` and in the rules for programs. Pure."""

from collections.abc import Iterator

from gateway.config.providers import offered, providers_of
from gateway.config.reading.problems import Finding
from gateway.config.schema import App, Config


def findings(config: Config) -> Iterator[Finding]:
    """Of all apps."""
    for name, app in config.apps.items():
        key = f"apps.{name}"
        yield from _rules(key, app)
        if app.bearer is not None:
            yield from _bearer(key, config, app)


def warnings(config: Config) -> Iterator[str]:
    """Rules that let programs in by an e-mail address alone, one line each."""
    for name, app in config.apps.items():
        for index, rule in enumerate(app.rules if app.bearer is not None else ()):
            require = (rule.require, app.require)
            by_address = any(each.emails or each.email_domains for each in require)
            if (
                rule.programs in ("also", "only")
                and by_address
                and not rule.scopes
                and not any(e.groups for e in require)
            ):
                yield (
                    f"apps.{name}.rules[{index}].programs: lets programs in by an e-mail address alone, which many access tokens do not "
                    "have, or have without email_verified; groups or scopes say more"
                )


def _rules(key: str, app: App) -> Iterator[Finding]:
    for index, rule in enumerate(app.rules):
        place = f"{key}.rules[{index}]"
        if "scopes" in rule.model_fields_set and not rule.scopes:
            # SECURITY: an empty list reads as no access and would be applied as no restriction (C-21).
            yield Finding(key=f"{place}.scopes", what="is empty", allowed="allowed: at least one scope, or no such key")
        if app.bearer is not None:
            continue
        for name, given in (("programs", rule.programs is not None), ("scopes", bool(rule.scopes))):
            if given:
                what, allowed = "is about programs, and the app has no bearer", "allowed: with bearer"
                yield Finding(key=f"{place}.{name}", what=what, allowed=allowed, reads=(f"{key}.bearer",))


def _bearer(key: str, config: Config, app: App) -> Iterator[Finding]:
    place, bearer = f"{key}.bearer", app.bearer
    assert bearer is not None
    if not config.openid.enabled:
        what = "is given, but openid.enabled is off and no token can be verified"
        yield Finding(key=place, what=what, allowed="allowed: with openid.enabled", reads=("openid.enabled",))
    if not bearer.audiences:
        # SECURITY: without an audience a token of any other application of the provider would be good here (D-32).
        allowed = "allowed: at least one, as the provider writes it into aud, as [https://portal.example.com]"
        yield Finding(key=f"{place}.audiences", what="is missing", allowed=allowed)
    known = providers_of(config)
    clients = {known[name].client_id for name in offered(config, app) if name in known}
    if bearer.profile == "jwt":
        for index, audience in enumerate(bearer.audiences):
            if audience in clients:
                # SECURITY: an ID Token has this audience, and one of a refresh bears no other mark (D-33).
                what = "is our client_id, which is the audience of ID Tokens"
                allowed = "allowed: the audience of the API; or profile: rfc9068 or id_token"
                reads = (f"{place}.profile", "openid.client_id", "providers")
                yield Finding(key=f"{place}.audiences[{index}]", what=what, allowed=allowed, reads=reads)
    if app.hand_off is not None:
        what = "stands beside hand_off, whose upstream session belongs to a browser's session"
        allowed = "allowed: bearer in an app without hand_off; another host may lead to the same upstream"
        yield Finding(key=place, what=what, allowed=allowed, reads=(f"{key}.hand_off",))
