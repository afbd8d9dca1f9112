"""Fields of other gateways and balancers, which a stranger must not be able to send."""

import re
from pathlib import Path

import pytest

from gateway.identity_headers import normalise_name
from gateway.proxy import strangers
from gateway.proxy.headers import FieldKinds, Kind

GUIDE = Path(__file__).resolve().parents[3] / "deploy" / "guides" / "http.md"


@pytest.mark.parametrize(
    "name",
    [b"Proxy", b"PROXY", b"Remote-User", b"remote_user", b"X-Remote-User", b"X-WEBAUTH-USER", b"X_WebAuth_Email", b"OIDC_CLAIM_sub", b"Cf-Access-Jwt-Assertion",
     b"X-Authentik-Username", b"X-Goog-IAP-JWT-Assertion", b"X-MS-CLIENT-PRINCIPAL-ID", b"X-Consumer-Username", b"X-Forwarded-Access-Token", b"X-Remote-Extra-Scopes"],
)  # fmt: skip
def test_nobody_but_us_says_who_somebody_is(name: bytes) -> None:
    """C-30."""
    assert FieldKinds(frozenset()).of(name) is Kind.DROP


@pytest.mark.parametrize(
    "name", [b"True-Client-IP", b"CF-Connecting-IP", b"X-Client-IP", b"X-Host", b"X-SSL-Client-Verify", b"X-Client-Cert", b"Client-Cert", b"X-Envoy-Internal"]
)  # fmt: skip
def test_where_somebody_comes_from_is_a_trusted_proxys_to_say(name: bytes) -> None:
    """C-34."""
    assert FieldKinds(frozenset()).of(name) is Kind.VOUCHED
    assert FieldKinds(frozenset()).of(name.replace(b"-", b"_")) is Kind.DROP


@pytest.mark.parametrize(
    "name",
    [b"User-Agent", b"X-User-Id", b"Proxy-Status", b"X-Auth-Token", b"Remote", b"Host-Thing", b"X-Proxy", b"Cf-Ray"],
)
def test_fields_that_only_look_alike_travel(name: bytes) -> None:
    assert FieldKinds(frozenset()).of(name) is Kind.FORWARD


def test_the_guide_lists_every_name() -> None:
    listed = {normalise_name(found.encode()) for found in re.findall(r"`([A-Za-z0-9-]+\*?)`", GUIDE.read_text())}
    names = {*strangers._NEVER, *strangers._PERSONS, *strangers._PLACES}
    prefixes = {prefix + b"-" for prefix in (*strangers._PERSONS_PREFIXES, *strangers._PLACES_PREFIXES)}
    assert (names | prefixes) - listed == set()
