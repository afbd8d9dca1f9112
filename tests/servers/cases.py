"""What is tried at every server, and what must hold. A test module inherits `ServerCases`, with `place` for its servers and how much is asked.

Whether an attack got through is said by the application itself: by the file `reached`, and by what it was given.
"""

import asyncio
from collections.abc import Iterable, Iterator

from tests.servers import attacks
from tests.servers.attacks import FORM, MARK, handshake, request
from tests.servers.crowd import crowd
from tests.servers.door import LARGE, Place
from tests.servers.wire import Line, Reply, ask, each, send

CLOSED = ("admin", "login", "token", "records")
ETAG = b'If-None-Match: "1"\r\n'


def tried(place: Place, requests: Iterable[bytes], *, mark: bool = True) -> list[tuple[bytes, Reply | None]]:
    """Sends all; what got to a closed part of the application fails here. `mark`: so does a field or a body with the mark in it."""
    answered = asyncio.run(each(place.port, requests, ask))
    assert answered
    reached = place.reached()
    through = [
        sent
        for sent, reply in answered
        if reply is not None and (reply.told("route") in CLOSED or (mark and MARK in reply.seen()))
    ]
    assert (through, reached) == ([], [])
    return answered


def read_by(place: Place, requests: Iterable[bytes]) -> Iterator[bytes]:
    """Those whose bodies the server reads, or leaves unread without taking them for a request."""
    return (each for each in requests if place.kind.reads_chunked or b"transfer-encoding" not in each.lower())


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
                    reply = await line.ask(request(place.open, path, "HEAD", close=False), head_only=True)
                    assert (reply.status, reply.body) == (200, b"")
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

    def test_a_stored_file_comes_whole_and_its_head_alone(self, place: Place) -> None:
        large = (place.folder / "large").read_bytes()

        async def visit() -> None:
            async with Line(place.port) as line:
                reply = await line.ask(request(place.closed, "/assets/large", close=False))
                assert (reply.status, reply.body == large) == (200, True)
                head = await line.ask(request(place.closed, "/assets/large", "HEAD", close=False), head_only=True)
                assert head.status == 200
                assert head.field("content-length") in (str(LARGE), None)
                assert (await line.ask(request(place.closed, "/assets/cached", close=False))).body == b"cached"
                known = await line.ask(request(place.closed, "/assets/cached", fields=ETAG, close=False))
                assert (known.status, known.body) in ((304, b""), (200, b"cached"))

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
        async def visit(host: str, fields: str) -> None:
            async with Line(place.port) as line:
                opened = await line.ask(handshake(host, "/assets/ws", fields))
                assert (opened.status == 101) == place.kind.websockets
                for text in (b"ahoy", b"and again") if place.kind.websockets else ():
                    assert await line.frame(text) == text

        for host, fields in ((place.closed, f"Cookie: {place.staff}\r\n"), (place.open, ""), (place.sockets, "")):
            asyncio.run(visit(host, fields))

    # --- requests that become others --------------------------------------------------------------------------------------

    def test_no_field_names_a_path_or_a_person(self, place: Place) -> None:
        """B-15, C-10 to C-24, C-30, C-60, C-61, C-63."""
        for host in (place.closed, place.open):
            tried(place, attacks.fields_that_name(host))
            tried(place, attacks.twins(host))
            tried(place, attacks.trailers(host) if host == place.closed else attacks.schemes(host))

    def test_without_the_door_the_field_does_name_the_path(self, place: Place) -> None:
        """So that the test above means something; gunicorn is one of those that believe it."""
        asyncio.run(each(place.upstream, attacks.fields_that_name("localhost"), ask))
        assert ("path" in place.kind.direct) <= bool(place.reached())

    def test_options_takes_no_password_along(self, place: Place) -> None:
        """C-12, C-18, C-77."""
        for host in (place.closed, place.open):
            tried(place, attacks.options(host))

    def test_no_spelling_reaches_what_is_closed(self, place: Place) -> None:
        """C-10, C-11, C-12, C-65, D-02."""
        tried(place, attacks.closed_spellings(place.open, self.every), mark=False)

    def test_nothing_leads_out_of_what_is_public(self, place: Place) -> None:
        """C-10, C-11, C-12, C-65."""
        for host in (place.closed, place.open):
            tried(place, attacks.out_of_the_public(host))

    def test_without_the_door_many_spellings_reach_it(self, place: Place) -> None:
        asyncio.run(each(place.upstream, attacks.closed_spellings("localhost", self.every), ask))
        assert len(place.reached()) >= 3

    def test_no_method_is_taken_for_another(self, place: Place) -> None:
        """B-35, C-67."""
        tried(place, attacks.method_overrides(place.open))

    def test_no_body_is_a_request(self, place: Place) -> None:
        """B-10 to B-18, B-65, B-66, C-30."""
        for host in (place.closed, place.open):
            asyncio.run(each(place.port, read_by(place, attacks.smuggled(host)), send, at_once=60))
            assert place.reached() == []

    def test_no_body_that_nobody_reads_is_a_request(self, place: Place) -> None:
        """B-02, B-18."""
        asyncio.run(each(place.port, read_by(place, attacks.unread(place.closed)), send, at_once=60))
        assert place.reached() == []

    def test_no_scheme_carries_a_password(self, place: Place) -> None:
        """C-12, C-78."""
        tried(place, attacks.schemes(place.closed))

    def test_a_public_page_is_no_public_websocket(self, place: Place) -> None:
        """C-19."""
        answered = tried(place, attacks.handshakes(place.closed))
        assert [sent for sent, reply in answered if reply is not None and reply.status == 101] == []
        page = asyncio.run(ask(place.port, request(place.sockets, "/assets/ws")))
        assert page is not None
        assert page.status in (302, 303, 401)

    # --- one person's bytes at another ------------------------------------------------------------------------------------

    def test_bytes_after_a_head_are_nobodys_answer(self, place: Place) -> None:
        """B-02, B-18, B-44, B-54, B-60: strangers ask for what the server sends bytes after; the others get their own answer all the same."""
        judged = asyncio.run(crowd(place.port, place.closed, self.asked))
        assert judged.asked >= self.asked
        assert (judged.wrong[:3], len(judged.wrong)) == ([], 0)
        assert judged.failed == []
