"""What must stand together in a `hand_off`, and with the rest of the file.

Pure. Findings only, as in `consistency`.
"""

from collections.abc import Iterator
from urllib.parse import parse_qsl

from gateway.config.addresses import is_insecure
from gateway.config.hand_off import Call, HandOff, Redemption
from gateway.config.problems import Finding
from gateway.config.schema import App, Config, Directory, HttpApi, Nexudus


def hand_off_findings(config: Config) -> Iterator[Finding]:
    for name, app in config.apps.items():
        place = f"apps.{name}.hand_off"
        if app.hand_off is None:
            continue
        if not config.openid.enabled:
            what = "is given, but openid.enabled is off and nobody can be handed off"
            yield Finding(key=place, what=what, allowed="allowed: with openid.enabled", reads=("openid.enabled",))
        yield from _session(place, app, app.hand_off)
        yield from _requests(place, app.hand_off)
        yield from _token(place, config, app.hand_off)


def _session(place: str, app: App, given: HandOff) -> Iterator[Finding]:
    if given.via != "bearer" and not given.session_cookies:
        what = f"is empty, and via is {given.via}"
        allowed = "allowed: the names of the cookies that hold the upstream's session, as [ASP.NET_SessionId]"
        yield Finding(key=f"{place}.session_cookies", what=what, allowed=allowed, reads=(f"{place}.via",))
    both = sorted({*given.session_cookies} & {*app.responses.drop_cookies})
    if both:
        what = f"names {both[0]}, which responses.drop_cookies takes away"
        reads = (f"apps.{place.split('.')[1]}.responses.drop_cookies",)
        yield Finding(key=f"{place}.session_cookies", what=what, allowed="allowed: in one of them", reads=reads)
    if given.kind == "http" and given.via != "bearer" and not given.login_pages and not given.on_401:
        what = "is empty, and on_401 is off: nothing says that the upstream's session has ended"
        allowed = "allowed: the paths of its login page, as [/login]"
        yield Finding(key=f"{place}.login_pages", what=what, allowed=allowed, reads=(f"{place}.on_401",))


def _requests(place: str, given: HandOff) -> Iterator[Finding]:
    calls: dict[str, Call | None] = {"token": given.token, "redeem": given.redeem}
    for name, call in calls.items():
        if call is not None and call.form is not None and call.json_ is not None:
            yield Finding(key=f"{place}.{name}", what="has form and json", allowed="allowed: one of them")
        if call is not None and call.method == "GET" and (call.form is not None or call.json_ is not None):
            yield Finding(key=f"{place}.{name}.method", what="is GET, with a body", allowed="allowed: POST or PUT")
    if given.redeem is None:
        if given.kind == "http":
            allowed = "allowed: the request that opens the upstream's session, as {path: '/sso?ticket={token}'}"
            yield Finding(key=f"{place}.redeem", what="is missing for http", allowed=allowed, reads=(f"{place}.kind",))
        return
    if given.via == "browser":
        query = given.redeem.path.partition("?")[2]
        if given.redeem.method != "GET" or [value for _, value in parse_qsl(query)].count("{token}") != 1:
            what = "is no link that a browser can be sent through"
            allowed = "allowed: GET, and one parameter of the query that is {token}"
            yield Finding(key=f"{place}.redeem", what=what, allowed=allowed, reads=(f"{place}.via",))


def _token(place: str, config: Config, given: HandOff) -> Iterator[Finding]:
    if given.token is None:
        wanted = given.kind == "nexudus" or (given.redeem is not None and _mentions_token(given.redeem))
        if wanted and not _gives_tokens(config.directory):
            what = f"is missing, and directory.kind {config.directory.kind} gives no one-time tokens"
            what = what if config.directory.kind != "none" else "is missing, and directory.kind is none"
            allowed = "allowed: the request that gets a one-time token"
            yield Finding(key=f"{place}.token", what=what, allowed=allowed, reads=("directory.kind",))
    elif is_insecure(given.token.url) and not config.allow_insecure_http:
        what = "is http to another machine: whoever reads it can sign in as anybody"
        allowed = "allowed: https, a loopback name, or allow_insecure_http: true"
        yield Finding(key=f"{place}.token.url", what=what, allowed=allowed, reads=("allow_insecure_http",))


def _mentions_token(call: Redemption) -> bool:
    headers = "".join(value.get_secret_value() for value in call.headers.values())
    return "{token}" in f"{call.path} {headers} {call.form} {call.json_}"


def _gives_tokens(directory: Directory) -> bool:
    if isinstance(directory, HttpApi):
        return directory.requests.sign_in_token is not None
    return isinstance(directory, Nexudus)
