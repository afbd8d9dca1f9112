"""What is tried at every server, and what must hold. A test module inherits `ServerCases`, with `place` for its servers and how much is asked.

Whether an attack got through is said by the application itself: by the file `reached`, and by what it was given.
"""

import asyncio
from collections.abc import Iterable

from tests.servers import attacks
from tests.servers.attacks import FORM, MARK, handshake, request
from tests.servers.door import Place
from tests.servers.wire import Line, Reply, ask, each, send

CLOSED = ("admin", "login", "token", "records")
ETAG = b'If-None-Match: "1"\r\n'


def tried(place: Place, requests: Iterable[bytes], *, mark: bool = True) -> list[tuple[bytes, Reply | None]]:
    """Sends all; what got to a closed part of the application fails here. `mark`: so does a field or a body with the mark in it."""
    answered = asyncio.run(each(place.port, requests, ask))
    assert answered
    through = [
        sent
        for sent, reply in answered
        if reply is not None and (reply.told("route") in CLOSED or (mark and MARK in reply.seen()))
    ]
    assert through == []
    assert place.reached() == []
    return answered


class ServerCases:
    """`every`: one of so many spellings is tried; `asked`: the honest requests of a crowd."""

    every = 1
    asked = 100_000

    # --- an honest client -------------------------------------------------------------------------------------------------

    def test_requests_with_and_without_a_body_arrive_as_they_were_sent(self, place: Place) -> None:
        async def visit() -> None:
            async with Line(place.port) as line:
                for number in range(10):
                    path = f"/assets/own/{number}"
                    reply = await line.ask(request(place.open, path + "?a=b", close=False))
                    assert (reply.status, reply.told("uri"), reply.told("method")) == (200, path, "GET")
                for body in (b"name=value", b"x" * 400) if place.kind.methods else ():
                    sent = request(
                        place.open, "/assets/own/x", "POST", b"Content-Type: " + FORM + b"\r\n", body, close=False
                    )
                    reply = await line.ask(sent)
                    assert (reply.status, reply.told("method")) == (200, "POST")
                    assert bytes.fromhex(reply.told("body")) == body
                    reply = await line.ask(request(place.open, "/records/1", "POST", b"", body, close=False))
                    assert (reply.status, reply.told("route")) == (200, "plain")

        asyncio.run(visit())

    def test_a_refresh_token_still_gets_a_new_one(self, place: Place) -> None:
        if not place.kind.methods:
            return
        body = b"grant_type=refresh_token&refresh_token=x"
        sent = request(place.closed, "/api/token", "POST", b"Content-Type: " + FORM + b"\r\n", body)
        reply = asyncio.run(ask(place.port, sent))
        assert reply is not None
        assert (reply.status, reply.told("route"), bytes.fromhex(reply.told("body"))) == (200, "refresh", body)

    def test_whoever_may_gets_to_what_is_closed_for_others(self, place: Place) -> None:
        cookie = f"Cookie: {place.staff}\r\n".encode()
        reply = asyncio.run(ask(place.port, request(place.closed, "/admin/users", fields=cookie)))
        assert reply is not None
        assert (reply.status, reply.told("route")) == (200, "admin")
        assert len(place.reached()) == 1
        stranger = asyncio.run(ask(place.port, request(place.closed, "/admin/users")))
        assert stranger is not None
        assert stranger.status in (302, 303, 401)
        assert place.reached() == []

    def test_a_websocket_echoes_for_whoever_may_open_it(self, place: Place) -> None:
        async def visit() -> None:
            async with Line(place.port) as line:
                opened = await line.ask(handshake(place.closed, "/assets/ws", f"Cookie: {place.staff}\r\n"))
                if not place.kind.websockets:
                    assert opened.status != 101
                    return
                assert opened.status == 101
                assert await line.frame(b"ahoy") == b"ahoy"
                assert await line.frame(b"and again") == b"and again"

        asyncio.run(visit())
        place.reached()

    # --- requests that become others --------------------------------------------------------------------------------------

    def test_without_the_door_the_field_does_name_the_path(self, place: Place) -> None:
        """So that the test above means something; gunicorn is one of those that believe it."""
        asyncio.run(each(place.upstream, attacks.fields_that_name("localhost"), ask))
        assert ("path" in place.kind.direct) <= bool(place.reached())

    def test_options_takes_no_password_along(self, place: Place) -> None:
        """C-12, C-18."""
        for host in (place.closed, place.open):
            tried(place, attacks.options(host))

    def test_nothing_leads_out_of_what_is_public(self, place: Place) -> None:
        """C-10, C-11, C-12."""
        for host in (place.closed, place.open):
            tried(place, attacks.out_of_the_public(host))

    def test_without_the_door_many_spellings_reach_it(self, place: Place) -> None:
        asyncio.run(each(place.upstream, attacks.closed_spellings("localhost", self.every), ask))
        assert len(place.reached()) >= 3

    def test_no_body_is_a_request(self, place: Place) -> None:
        """B-10 to B-18, C-30."""
        for host in (place.closed, place.open):
            asyncio.run(each(place.port, attacks.smuggled(host), send, at_once=24))
            assert place.reached() == []

    # --- one person's bytes at another ------------------------------------------------------------------------------------
