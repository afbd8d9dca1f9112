"""A connection that an upstream has taken for a person's is nobody else's: NTLM, Negotiate and what tells of them."""

import asyncio
import socket

import pytest

from gateway.operations.check import advise
from gateway.proxy.subrequest import Credentials, FilledRequest, UpstreamClient
from tests.attacks.test_leftovers import all_closed, answered, ask, connections, nobody_after_it, only_idle
from tests.fakes.authenticating import Authenticating
from tests.fakes.house import House
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

OPEN = {"portal": {"public": ["* /open/**"]}}
SCHEMES = pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "negotiate", "Kerberos", "Nego2", "CredSSP"])


async def shake_hands(house: House, wire: Wire, cookie: str | None, name: str, scheme: str = "NTLM") -> bytes:
    """The three legs of NTLM, on one client connection; the last answer's body."""
    for leg, status in (("", 401), (f"{scheme} hello", 401), (f"{scheme} i-am-{name}", 200)):
        fields = [f"Authorization: {leg}"] if leg else []
        await wire.send(ask(house, "GET /mine", cookie, *fields))
        found, body = await answered(wire)
        assert found == status
    return body


@pytest.fixture
async def upstream(house: House) -> Authenticating:
    answer = Authenticating()
    house.upstream.answer = answer
    return answer


@SCHEMES
async def test_whoever_is_authenticated_goes_on_over_their_connection_and_nobody_else_does(
    house: House, upstream: Authenticating, scheme: str
) -> None:
    """B-61: two persons take turns, each on a connection of their own; neither is ever the other, and the pool has none of them."""
    upstream.scheme = scheme
    eve, ada = await house.session(subject="eve"), await house.session(subject="ada")
    hers, other = await Wire.open(house.port), await Wire.open(house.port)
    assert await shake_hands(house, hers, ada, "ada", scheme) == b"/mine for ada"
    for number in range(3):
        await other.send(ask(house, f"GET /{number}", eve))
        assert (await answered(other))[0] == 401
        await hers.send(ask(house, f"GET /{number}", ada))
        assert await answered(hers) == (200, b"/%d for ada" % number)
        assert house.worker.context.pools["portal"].idle == []
    assert (await house.ask("/mine", cookie=ada)).status == 401  # nor is it hers on another client connection
    await hers.close()
    await other.close()
    await all_closed(house)


async def test_without_a_session_a_client_s_own_connection_is_its_own_too(open_house: OpenHouse) -> None:
    """B-61: on paths that everybody may see, NTLM works as it does without a door; signing in changes who it is."""
    house = await open_house(apps=OPEN)
    house.upstream.answer = answer = Authenticating()
    wire, other = await Wire.open(house.port), await Wire.open(house.port)
    for leg, status in (("NTLM hello", 401), ("NTLM i-am-ada", 200)):
        await wire.send(ask(house, "GET /open/a", None, f"Authorization: {leg}"))
        assert (await answered(wire))[0] == status
    await wire.send(ask(house, "GET /open/b"))
    assert await answered(wire) == (200, b"/open/b for ada")
    await other.send(ask(house, "GET /open/b"))
    assert await answered(other) == (200, b"/open/b for nobody")
    await wire.send(ask(house, "GET /open/c", await house.session(subject="eve")))
    assert await answered(wire) == (200, b"/open/c for nobody")
    await wire.send(ask(house, "GET /open/d"))
    assert await answered(wire) == (200, b"/open/d for nobody")
    assert answer.people == {1: b"ada"}
    for each in (wire, other):
        await each.close()
    await only_idle(house)


@pytest.mark.parametrize("line", ["Via: 1.1 elsewhere", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1"])
async def test_strangers_of_a_proxy_that_nobody_declared_are_not_taken_for_one(
    open_house: OpenHouse, line: str
) -> None:
    """B-61."""
    house = await open_house(apps=OPEN)
    house.upstream.answer = Authenticating()
    wire = await Wire.open(house.port)
    await wire.send(ask(house, "GET /open/a", None, line, "Authorization: NTLM hello"))
    assert (await answered(wire))[0] == 401
    await wire.send(ask(house, "GET /open/a", None, line))
    assert await answered(wire) == (200, b"/open/a for nobody")
    assert connections(house) == [1, 2]
    await wire.close()


SPOKEN = {
    "asked": (b"", "Authorization: Negotiate i-am-ada"), "asked among others": (b"", "Authorization: Basic x, NTLM i-am-ada"),
    "asked twice": (b"", "Authorization: Bearer x\r\nAuthorization: NTLM i-am-ada"),
    "asked by another name": (b"", "X-Authorization: NTLM i-am-ada"),
    "a token": (b"WWW-Authenticate: Negotiate oRQwEqADCgEAoQsGCSqGSIb3EgECAg==\r\n", ""),
    "offered": (b"WWW-Authenticate: NTLM\r\n", ""), "offered in capitals": (b"www-authenticate: NEGOTIATE\r\n", ""),
    "offered among others": (b'WWW-Authenticate: Basic realm="a, b", NTLM,Digest x="y"\r\n', ""),
    "offered last": (b"WWW-Authenticate: Basic\r\nWWW-Authenticate: NTLM\r\n", ""),
    "persistent": (b"Persistent-Auth: true\r\n", ""), "persistent or not": (b"Persistent-Auth: false\r\n", ""),
    "proxied": (b"Proxy-Support: Session-Based-Authentication\r\n", ""),
    "named away": (b"Persistent-Auth: true\r\nConnection: persistent-auth\r\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", SPOKEN)
async def test_whatever_tells_of_it_keeps_the_connection_from_others(house: House, kind: str, chunked: bool) -> None:
    """B-61: a request with such credentials, or an answer that speaks of them, be it one that came whole, and as the one before did."""
    lines, credentials = SPOKEN[kind]

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = lines if request.target == "/speaks" else b""
        framed = (
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" if chunked else b"Content-Length: 2\r\n\r\nok"
        )
        writer.write(b"HTTP/1.1 200 OK\r\n" + said + framed)

    house.upstream.answer = answer
    eve, ada = await house.session(subject="eve"), await house.session(subject="ada")
    for _ in range(3):
        assert (await house.ask("/usual", cookie=eve)).body
    wire = await Wire.open(house.port)
    for _ in range(3):
        await wire.send(ask(house, "GET /speaks", ada, *([credentials] if credentials else [])))
        response = await wire.response()
        assert response.status == 200
        sent = lines.partition(b"\r\nConnection")[0].strip().decode().splitlines() if kind != "named away" else []
        found = [
            line for line in response.head.decode().splitlines() if line.lower().startswith(("www-", "pers", "proxy-s"))
        ]
        assert found == sent
        assert house.worker.context.pools["portal"].idle == []
        assert (await house.ask("/usual", cookie=eve)).body
        await wire.send(ask(house, "GET /usual", ada))
        assert (await wire.response()).status == 200
        assert connections(house)[-1] == connections(house)[-3] != connections(house)[-2]
        await only_one_idle(house)
        house.worker.context.pools["portal"].idle[0].abort()
        await eventually(lambda: house.worker.context.pools["portal"].idle == [])
    await wire.close()
    await all_closed(house)


async def only_one_idle(house: House) -> None:
    await eventually(lambda: len(house.worker.context.pools["portal"].idle) == 1)


@SCHEMES
async def test_behind_a_trusted_proxy_each_such_answer_ends_its_connection(open_house: OpenHouse, scheme: str) -> None:
    """B-61: its connection carries many people, so nobody can be authenticated by one; not even by asking twice."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"], apps=OPEN)
    house.upstream.answer = answer = Authenticating(scheme)
    answer.challenged.update(range(1, 100))  # as if the upstream forgot to ask
    ada = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    for cookie in (ada, None):
        for _ in range(2):
            await wire.send(ask(house, "GET /open/a", cookie, f"Authorization: {scheme} i-am-ada"))
            assert await answered(wire) == (200, b"/open/a for ada")
            await wire.send(ask(house, "GET /open/b", cookie))
            assert await answered(wire) == (200, b"/open/b for nobody")
    nobody_after_it(house)
    assert len(answer.people) == 4
    await wire.close()
    await only_idle(house)


async def test_another_session_on_the_same_client_connection_does_not_become_the_person_before(
    house: House, upstream: Authenticating
) -> None:
    """B-61: and when the first one comes back, the upstream has to know them anew."""
    eve, ada = await house.session(subject="eve"), await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await shake_hands(house, wire, ada, "ada")
    for cookie in (eve, ada):
        await wire.send(ask(house, "GET /mine", cookie))
        assert (await answered(wire))[0] == 401
    await wire.close()
    await all_closed(house)


async def test_it_ends_with_a_session_that_was_only_ever_on_public_pages(open_house: OpenHouse) -> None:
    """B-61, C-44: nothing of it needed the session, and the worker knows it all the same."""
    house = await open_house(apps=OPEN)
    house.upstream.answer = Authenticating()
    ada = await house.session(subject="ada")
    key = house.worker.store.key_of(ada.partition("=")[2])
    await house.worker.cache.load(key, house.host(), "portal")
    wire = await Wire.open(house.port)
    for leg, status in (("NTLM hello", 401), ("NTLM i-am-ada", 200)):
        await wire.send(ask(house, "GET /open/a", ada, f"Authorization: {leg}"))
        assert (await answered(wire))[0] == status
    await house.worker.store.revoke(key)
    await all_closed(house)
    assert len(house.worker.context.connections) == 1
    await wire.close()


@pytest.mark.parametrize("last", ["/mine", "/open/x"])
async def test_it_ends_with_the_session_although_nothing_is_asked(open_house: OpenHouse, last: str) -> None:
    """B-61, C-44: the client's connection stays, the upstream's goes."""
    house = await open_house(apps=OPEN)
    house.upstream.answer = Authenticating()
    ada = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await shake_hands(house, wire, ada, "ada")
    await wire.send(ask(house, f"GET {last}", ada))
    assert (await answered(wire))[1].endswith(b"for ada")
    await house.worker.store.revoke(house.worker.store.key_of(ada.partition("=")[2]))
    await all_closed(house)
    assert len(house.worker.context.connections) == 1
    await wire.send(ask(house, "GET /open/y", ada))
    assert await answered(wire) == (200, b"/open/y for nobody")
    await wire.close()


async def test_it_waits_as_long_as_the_client_does_and_over_answers_of_ours(
    house: House, upstream: Authenticating
) -> None:
    """B-61: other kept connections are given back to the upstream after a moment; this one is the person's."""
    ada = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await shake_hands(house, wire, ada, "ada")
    (connection,) = house.worker.context.connections
    connection.sweep(house.worker.context.clock() + 10)
    await wire.send(ask(house, "GET /x", None))
    assert (await answered(wire))[0] == 401
    await wire.send(ask(house, "GET /oauth2/auth", ada))
    assert (await answered(wire))[0] in (401, 403, 404)
    await wire.send(ask(house, "POST /mine", ada, "Content-Length: 0"))
    assert await answered(wire) == (200, b"/mine for ada")
    assert len(set(connections(house))) == 1
    await wire.close()
    await all_closed(house)


async def test_head_ends_it_all_the_same(house: House, upstream: Authenticating) -> None:
    """B-61, B-60."""
    ada = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await shake_hands(house, wire, ada, "ada")
    await wire.send(ask(house, "HEAD /mine", ada))
    assert (await answered(wire, head_only=True))[0] == 200
    await all_closed(house)
    await wire.send(ask(house, "GET /mine", ada))
    assert (await answered(wire))[0] == 401
    await wire.close()


async def test_when_it_dies_the_request_goes_on_over_another_one_as_nobody(
    house: House, upstream: Authenticating
) -> None:
    """B-61, B-18."""
    ada = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await shake_hands(house, wire, ada, "ada")
    usual = house.upstream.answer

    async def die(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        house.upstream.answer = usual
        writer.transport.abort()

    house.upstream.answer = die
    await wire.send(ask(house, "GET /mine", ada))
    assert (await answered(wire))[0] == 401
    assert [request.connection for request in house.upstream.requests[-2:]] == [1, 2]
    await wire.close()
    await all_closed(house)


@pytest.mark.parametrize(
    ("sent", "said"), [("NTLM x", b""), ("Bearer x", b"Persistent-Auth: true\r\n"), ("Bearer x", b"")]
)
async def test_a_request_of_our_own_leaves_no_authenticated_connection(house: House, sent: str, said: bytes) -> None:
    """B-61."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + said + b"Content-Length: 2\r\n\r\nok")

    house.upstream.answer = answer
    pool = house.worker.context.pools["portal"]
    asked = FilledRequest(method="GET", target="/sso", headers=(("Authorization", sent),))
    reply = await UpstreamClient(pool, house.host(), (), 5.0).send(asked, Credentials())
    assert reply.body == b"ok"
    plain = sent.startswith("Bearer") and not said
    assert len(pool.idle) == int(plain)
    await only_idle(house)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
async def test_check_online_says_that_it_cannot_work_behind_a_proxy(open_house: OpenHouse, scheme: str) -> None:
    """B-61: where nobody is trusted, it works, and nothing is said; nor of schemes that are for a request."""
    for trusted in ([], ["127.0.0.0/8"]):
        for offered in (scheme, "Basic"):
            house = await open_house(trusted_proxies=trusted)
            house.upstream.answer = Authenticating(offered)
            warned = [line for line in await advise(house.worker.config) if "apps.portal.upstream" in line]
            assert bool(warned) == bool(trusted and offered == scheme)
            assert all("trusted_proxies" in line for line in warned)


async def test_check_online_says_nothing_of_an_upstream_that_does_not_answer(open_house: OpenHouse) -> None:
    """B-61: `check_all` does."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        house = await open_house(trusted_proxies=["127.0.0.0/8"], upstreams={"portal": url})
        assert [line for line in await advise(house.worker.config) if "apps." in line] == []
