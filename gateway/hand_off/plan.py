"""One app's `hand_off`, resolved: with the defaults for nexudus where the file has no value, and with compiled patterns.

Pure. About Nexudus: the one-time token opens the portal's session at `/{lang}/user/login?t=`, or becomes a bearer token at
`/api/sys/users/exchange`; the portal's sign-in pages are those of the password rules.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

from gateway.config.sections.hand_off import HandOff, Redemption, TokenCall, WhoAmI
from gateway.hand_off.records import RedeemingRoute
from gateway.hand_off.redirects import LoginPages

_LINK: Final = Redemption(path="/en/user/login?t={token}&redirectUrl={return_to}")
_EXCHANGE: Final = Redemption(method="POST", path="/api/sys/users/exchange?token={token}&validForInMinutes=1440")
#: By its number where the directory gave it: the address may have changed at the provider since.
_ME: Final = (
    WhoAmI(path="/en/user/me", pointer="/Id", equals="{directory.user_id}"),
    WhoAmI(path="/en/user/me", pointer="/Email"),
)
_LOGIN_PAGES: Final = ("/login", "/login/index", "/signin", "/user/login", "/login/login")
_LOG_OUT: Final = "/login/logout"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffPlan:
    """How an app's hand-offs work.

    `token` None: from the directory, if the redemption needs one. The first of `who_am_i` whose facts are known counts.
    """

    via: Literal["server", "bearer", "browser"]
    needs_token: bool
    token: TokenCall | None
    redeem: Redemption = field(repr=False)
    session_cookies: tuple[str, ...]
    route: RedeemingRoute
    login_pages: LoginPages
    on_401: bool
    who_am_i: tuple[WhoAmI, ...]
    log_out: str | None
    most: int
    within: timedelta
    timeout: timedelta


def resolve(config: HandOff, own_hosts: tuple[str, ...] = ()) -> HandOffPlan:
    """`own_hosts`: hosts that the upstream may write in a Location besides ours. Raises ValueError for kind http without `redeem`."""
    known = config.kind == "nexudus"
    redeem = config.redeem or ((_EXCHANGE if config.via == "bearer" else _LINK) if known else None)
    if redeem is None:
        raise ValueError("redeem is missing; allowed: the request that opens the upstream's session")
    given = config.model_fields_set
    pages = _LOGIN_PAGES if known and "login_pages" not in given else config.login_pages
    return HandOffPlan(
        via=config.via,
        needs_token=_mentions_token(redeem),
        token=config.token,
        redeem=redeem,
        session_cookies=config.session_cookies,
        route=RedeemingRoute(redeem.path),
        login_pages=LoginPages(pages, own_hosts),
        on_401=config.on_401 or config.via == "bearer",
        who_am_i=_ME if known and "who_am_i" not in given else (config.who_am_i,) if config.who_am_i else (),
        log_out=_LOG_OUT if known and "log_out" not in given else config.log_out,
        most=config.most,
        within=config.within,
        timeout=config.timeout,
    )


def _mentions_token(call: Redemption) -> bool:
    headers = "".join(value.get_secret_value() for value in call.headers.values())
    return "{token}" in f"{call.path} {headers} {call.form} {call.json_}"


def upstream_hosts(urls: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts of an app's addresses, as the upstream may write them in a Location."""
    return tuple(urlsplit(url).netloc.lower() for url in urls if not url.startswith("unix:"))
