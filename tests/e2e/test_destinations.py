"""nginx as a WebDAV server behind the door: a file goes where its mover may go, and nowhere else (C-64)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.attacks import request
from tests.servers.door import Place, standing
from tests.servers.small import KINDS
from tests.servers.wire import ask

DAV = next(kind for kind in KINDS if kind.name == "nginx WebDAV")
#: HOST stands for the host that the request is sent to.
CLOSED = (
    "/admin/x", "http://HOST/admin/x", "/ADMIN/x", "/%61dmin/x", "/assets/../admin/x", "/assets/%2e%2e/admin/x", "/assets/%2e%2e%2fadmin/x", "//admin/x", "/./admin/x",
    "/assets/..;/admin/x", "http://HOST/assets/../admin/x", "http://HOST//admin/x", "https://HOST/admin/x", "http://HOST.evil.example/admin/x", "HTTP://HOST/admin/x",
    "/admin/x?y", "/admin/x#y", "admin/x", "http://HOST@evil.example/admin/x", "/assets/a%00/../../admin/x", "/assets/\\..\\..\\admin/x",
)  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with standing(DAV) as place:
        yield place


def status(port: int, host: str, target: str, method: str, fields: str = "", body: bytes = b"") -> int:
    reply = asyncio.run(ask(port, request(host, target, method, fields.encode("latin-1"), body)))
    assert reply is not None
    return reply.status


def stored(place: Place) -> Path:
    """A file that a stranger put where strangers may."""
    assert status(place.port, place.closed, "/assets/mine", "PUT", body=b"EVIL") in (201, 204)
    return place.folder / "files"


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_a_stranger_puts_no_file_where_strangers_may_not(place: Place, method: str) -> None:
    for host in (place.closed, place.open):
        for destination in CLOSED:
            files = stored(place)
            fields = f"Destination: {destination.replace('HOST', host)}\r\n"
            assert status(place.port, host, "/assets/mine", method, fields) in (400, 401, 403), destination
            assert list((files / "admin").iterdir()) == []
            assert (files / "assets" / "mine").read_bytes() == b"EVIL"


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_an_honest_client_moves_its_file_by_either_form(place: Place, method: str) -> None:
    for destination in ("/assets/yours", f"http://{place.closed}/assets/yours", "/assets/x/../%79ours"):
        files = stored(place)
        (files / "assets" / "yours").unlink(missing_ok=True)
        fields = f"Destination: {destination}\r\nOverwrite: T\r\n"
        assert status(place.port, place.closed, "/assets/mine", method, fields) in (201, 204), destination
        assert (files / "assets" / "yours").read_bytes() == b"EVIL"
        assert (files / "assets" / "mine").exists() == (method == "COPY")


def test_whoever_may_write_there_does(place: Place) -> None:
    files = stored(place)
    fields = f"Cookie: {place.staff}\r\nDestination: /admin/x\r\n"
    assert status(place.port, place.closed, "/assets/mine", "COPY", fields) in (201, 204)
    (files / "admin" / "x").unlink()


def test_without_the_door_the_file_gets_there(place: Place) -> None:
    """So that the tests above mean something."""
    files = stored(place)
    assert status(place.upstream, "localhost", "/assets/mine", "COPY", "Destination: /admin/x\r\n") in (201, 204)
    (files / "admin" / "x").unlink()
