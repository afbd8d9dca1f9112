"""Facts that only a proxy in front may state: scheme, client certificate, address, in any spelling."""

import pytest

from tests.flows.conftest import OpenHouse

FACTS = (
    "X-Forwarded-Client-Cert: Subject=admin",
    "X-Forwarded-Tls-Client-Cert: MIIadmin",
    "X-Forwarded-Ssl: admin",
    "X-Forwarded-Scheme: admin",
)


@pytest.mark.parametrize("fact", FACTS)
async def test_a_client_cannot_state_what_a_proxy_in_front_states(open_house: OpenHouse, fact: str) -> None:
    """C-34, C-16: to Envoy's, Traefik's and Rack's upstreams these are a certificate that was checked, or the scheme."""
    house = await open_house()
    await house.ask("/", cookie=await house.session(), fields=fact + "\r\n")
    assert b"admin" not in house.upstream.requests[0].head
    behind = await open_house(trusted_proxies=["127.0.0.0/8"])
    await behind.ask("/", cookie=await behind.session(), fields=fact + "\r\n")
    assert fact.encode() in behind.upstream.requests[0].head
    await behind.ask("/", cookie=await behind.session(), fields=fact.replace("-", "_") + "\r\n")
    assert b"admin" not in behind.upstream.requests[1].head


@pytest.mark.parametrize("mark", ["_", ".", "~", "!", "*", "'"])
async def test_a_spelling_that_cgi_reads_as_a_managed_name_is_dropped(open_house: OpenHouse, mark: str) -> None:
    """C-30, C-01: some servers turn every mark in a field name into the same letter."""
    house = await open_house()
    names = ("X-Original-URL", "X-Forwarded-For", "X-HTTP-Method-Override", "Content-Length", "Transfer-Encoding")
    for fields in (
        "".join(f"{name.replace('-', mark)}: 7\r\n" for name in names),
        "".join(f"X{mark}{name[2:]}: 7\r\n" for name in names),
    ):
        assert (await house.ask("/", cookie=await house.session(), fields=fields)).status == 200
        head = house.upstream.requests[-1].head.lower()
        for name in names:
            assert name.replace("-", mark).lower().encode() + b": 7" not in head
            assert f"x{mark}{name[2:]}: 7".lower().encode() not in head
