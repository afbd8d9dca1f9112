"""Who takes part: one person, one client of the provider, one host name that every server is asked for."""

import time
from typing import Final

from joserfc.jwk import RSAKey

from tests.bench.children import BenchFailed
from tests.fakes.browser import Browser
from tests.fakes.forge import sign

HOST: Final = "portal.localhost"
ORIGIN: Final = f"http://{HOST}"
CLIENT_ID: Final = "bench"
CLIENT_SECRET: Final = "not a secret"
SUBJECT: Final = "hd-1001"
EMAIL: Final = "mia@example.com"
PERSON: Final = {
    "sub": SUBJECT,
    "email": EMAIL,
    "email_verified": True,
    "name": "Mia Lindqvist",
    "preferred_username": "mia",
    "groups": ["members", "berths"],
}
REDIRECT_URIS: Final = (f"{ORIGIN}/oauth2/callback", f"{ORIGIN}/callback")


def access_token(issuer: str, key: RSAKey, number: int) -> str:
    """One of the person's access tokens (RFC 9068), good for an hour."""
    now = int(time.time())
    times = {"iat": now, "exp": now + 3600}
    claims = {
        **PERSON,
        "iss": issuer,
        "aud": ORIGIN,
        "client_id": CLIENT_ID,
        "jti": str(number),
        "scope": "read",
        **times,
    }
    return sign(claims, key, typ="at+jwt")


async def sign_in(port: int, issuer: str) -> str:
    """Sign in through the server on `port` as a browser would; the Cookie field's value from then on."""
    browser = Browser({ORIGIN: port})
    page = await browser.open(f"{ORIGIN}/whoami")
    if not page.url.startswith(issuer):
        raise BenchFailed(f"not sent to the provider but to {page.url}: {page.status} {page.text[:500]}")
    page = await browser.submit(0, person=SUBJECT)
    if page.status != 200 or page.url != f"{ORIGIN}/whoami":
        raise BenchFailed(f"the sign-in ends at {page.url}: {page.status} {page.text[:500]}")
    given = browser.jar.header(f"{ORIGIN}/", same_site=True, navigation=True, safe=True)
    # What only belongs to the sign-in is gone minutes later: Doorward's marks of attempts, and Envoy's, which it has taken back.
    passing = tuple(cookie for cookie in given.split("; ") if "_login_" in cookie or cookie.endswith("=deleted"))
    return "; ".join(cookie for cookie in given.split("; ") if cookie not in passing)
