"""Facts that only a proxy in front may state: scheme, client certificate, address, in any spelling."""

import pytest

from tests.flows.conftest import OpenHouse

FACTS = (
    "X-Forwarded-Client-Cert: Subject=admin",
    "X-Forwarded-Tls-Client-Cert: MIIadmin",
    "X-Forwarded-Ssl: admin",
    "X-Forwarded-Scheme: admin",
    "Remote-User: admin",
    "X-SSL-Client-S-DN: CN=admin",
    "True-Client-IP: admin",
    "X-Host: admin",
)


@pytest.mark.parametrize("fact", FACTS)
async def test_what_a_proxy_in_front_states_is_believed_from_it_alone_and_where_it_is_named(
    open_house: OpenHouse, fact: str
) -> None:
    """C-34, C-16, C-63: to Envoy's, Traefik's and Rack's upstreams these are a certificate that was checked, a person, or the scheme."""
    name = fact.partition(":")[0]
    for trusted, named, arrives in (
        ([], [], False), (["127.0.0.0/8"], [], False), (["10.0.0.0/8"], [name], False), (["127.0.0.0/8"], [name.lower()], True),
        (["127.0.0.0/8"], ["X-Other"], False),
    ):  # fmt: skip
        house = await open_house(trusted_proxies=trusted, trusted_headers=named)
        await house.ask("/", cookie=await house.session(), fields=fact + "\r\n")
        assert (fact.encode() in house.upstream.requests[0].head) == arrives
        assert (b"admin" in house.upstream.requests[0].head) == arrives
        await house.ask("/", cookie=await house.session(), fields=fact.replace("-", "_") + "\r\n")
        assert b"admin" not in house.upstream.requests[1].head
        await house.close()


async def test_a_field_of_ones_own_is_a_trusted_proxys_alone_once_it_is_named(open_house: OpenHouse) -> None:
    """C-63: an application that reads it must not get a client's."""
    for trusted, arrives in ((["10.0.0.0/8"], []), (["127.0.0.0/8"], [b"me"])):
        house = await open_house(trusted_proxies=trusted, trusted_headers=["X-Our-Customer"])
        await house.ask("/", cookie=await house.session(), fields="x-our-customer: me\r\n")
        assert house.upstream.requests[0].values("X-Our-Customer") == arrives


async def test_forward_auth_passes_the_persons_that_a_trusted_proxy_may_name(open_house: OpenHouse) -> None:
    """C-62: the proxy that asks forwards by itself; what is not named there makes it a request that is refused."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"], trusted_headers=["Remote-User"])
    described = "X-Original-Method: GET\r\nX-Original-URI: /\r\n"
    for name, status in (("Remote-User", 202), ("Remote-Groups", 403), ("X-SSL-Client-Verify", 202)):
        answer = await house.ask("/oauth2/auth", cookie=await house.session(), fields=f"{described}{name}: x\r\n")
        assert answer.status == status, name


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
