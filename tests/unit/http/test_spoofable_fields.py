"""Fields of other gateways and balancers, which a stranger must not be able to send."""

import re

import pytest

from gateway.config.field_names import TABLE, TRAVEL, FieldFamily, FieldMeaning
from gateway.http.header_policy import FieldKinds, Kind


@pytest.mark.parametrize(
    "name",
    [b"Proxy", b"PROXY", b"Remote-User", b"remote_user", b"X-Remote-User", b"X-WEBAUTH-USER", b"X_WebAuth_Email", b"OIDC_CLAIM_sub", b"Cf-Access-Jwt-Assertion",
     b"X-Authentik-Username", b"X-Goog-IAP-JWT-Assertion", b"X-MS-CLIENT-PRINCIPAL-ID", b"X-Consumer-Username", b"X-Forwarded-Access-Token", b"X-Remote-Extra-Scopes", b"iv-user", b"Shib-Session-ID", b"X-Userinfo", b"X-Scope-OrgID", b"X-Forwarded-Login", b"X-Original-URL", b"X-Rewrite-URL",
     b"Script-Name", b"Path-Info", b"SM-User", b"Impersonate-User", b"X-Tenant-Id"],
)  # fmt: skip
def test_nobody_but_us_says_who_somebody_is(name: bytes) -> None:
    """C-30."""
    assert FieldKinds(frozenset()).of(name) is Kind.DROP


@pytest.mark.parametrize(
    "name", [b"True-Client-IP", b"CF-Connecting-IP", b"X-Client-IP", b"X-Host", b"X-SSL-Client-Verify", b"X-Client-Cert", b"Client-Cert", b"X-Envoy-Internal", b"WL-Proxy-Client-Cert", b"X-Amzn-Mtls-Clientcert", b"X-ARR-LOG-ID"]
)  # fmt: skip
def test_where_somebody_comes_from_is_a_trusted_proxys_to_say_if_it_is_named(name: bytes) -> None:
    """C-34."""
    assert FieldKinds(frozenset()).of(name) is Kind.PLACE
    assert FieldKinds(frozenset(), vouched=frozenset((name.lower(),))).of(name) is Kind.VOUCHED
    assert FieldKinds(frozenset()).of(name.replace(b"-", b"_")) is Kind.DROP


@pytest.mark.parametrize(
    "name",
    [
        b"User-Agent",
        b"X-User-Id",
        b"Proxy-Status",
        b"X-Auth-Token",
        b"Remote",
        b"Host-Thing",
        b"X-Proxy",
        b"Cf-Ray",
        b"X-Goog-Channel-Id",
        b"Kbn-Xsrf",
        b"X-Grafana-Org-Id",
        b"X-User-Agent",
        b"X-Vault-Token",
    ],
)
def test_fields_that_only_look_alike_travel(name: bytes) -> None:
    assert FieldKinds(frozenset()).of(name) is Kind.FORWARD


def test_the_names_of_the_table_are_names_and_stand_there_once() -> None:
    names = [name.lower() for row in TABLE for name in row.names]
    assert [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9-]+\*?", name)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.source)
def test_no_row_of_the_table_travels_from_a_stranger(row: FieldFamily) -> None:
    """C-63: whatever the ending of a `*` is."""
    for name in row.names:
        kind = FieldKinds(frozenset()).of(name.replace("*", "x-Thing").encode())
        assert kind is not Kind.FORWARD, name
        assert (kind is Kind.PLACE) == (row.meaning in (FieldMeaning.PLACE, FieldMeaning.HOST)), name


@pytest.mark.parametrize("name", sorted(TRAVEL))
def test_credentials_travel_although_a_beginning_would_take_them(name: str) -> None:
    assert FieldKinds(frozenset()).of(name.encode()) is Kind.FORWARD


def test_a_name_that_some_app_lets_clients_send_is_told_apart_and_no_other_spelling_of_it() -> None:
    """C-63."""
    kinds = FieldKinds(frozenset(), frozenset((b"x-scope-orgid", b"my_field")))
    assert [kinds.of(name) for name in (b"X-Scope-OrgID", b"MY_field")] == [Kind.CLIENTS, Kind.CLIENTS]
    assert [kinds.of(name) for name in (b"X_Scope_OrgID", b"my.field")] == [Kind.DROP, Kind.DROP]
    assert kinds.of(b"my-field") is Kind.FORWARD
