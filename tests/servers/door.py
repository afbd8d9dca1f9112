"""One server, one Doorward process before it, and a provider to sign in at: what the attacks and the honest client are let loose on."""

import asyncio
import base64
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.demo.people import ADMIN
from gateway.demo.provider import DemoClient, DemoProvider
from tests.e2e.backstage import Backstage
from tests.e2e.processes import Program, free_port, listens
from tests.e2e.stack import start_gateway
from tests.fakes.browser import Browser

PAY = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nEVIL!!"
LARGE = 8 << 20
STAFF = {"groups": ["staff"]}
RULES = [
    {"match": ["* /admin/**"], "require": STAFF},
    {"match": ["PUT,PATCH,DELETE /records/**"], "require": STAFF},
]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a server is started, and what is known of it. `start(folder, port)` returns when it listens.

    `reads_chunked`: a chunked body ends there where it ends, whether or not the application reads it. `direct`: names of attacks that reach the application when nobody stands before it, so that each is known to mean something.
    """

    name: str
    start: Callable[[Path, int], list[Program]]
    websockets: bool = False
    methods: bool = True  # the application hears of POST, bodies and overridden methods (nginx' does not)
    reads_chunked: bool = True
    direct: frozenset[str] = frozenset()
    pack: str = "nexudus"


@dataclass
class Place:
    """`closed` is the host where strangers have /assets/ and /api/ only; at `open` they may go where no rule says otherwise; at `sockets`
    they have one WebSocket, and no page."""

    kind: Kind
    folder: Path
    port: int
    upstream: int
    closed: str
    open: str
    sockets: str
    staff: str = ""
    _known: int = field(default=0)

    def reached(self) -> list[str]:
        """What got to a closed part of the application since this was asked last."""
        lines = (self.folder / "reached").read_text(errors="replace").splitlines()
        new, self._known = lines[self._known :], len(lines)
        return new


def listening(
    command: Sequence[str | Path], folder: Path, port: int, environ: Mapping[str, str] | None = None
) -> list[Program]:
    """The application's server, which listens. `environ`: more than what the application reads itself."""
    own = {"VISITED_FILES": str(folder / "files"), "VISITED_REACHED": str(folder / "reached")}
    running = Program(command, folder / "server.log", environ={**own, **(environ or {})})
    running.wait_until(lambda: listens(port), seconds=90)
    return [running]


def make_files(folder: Path) -> None:
    """The stored files, and the large one once more beside them. Other users may read them, and say what they reached."""
    files = folder / "files"
    files.mkdir(parents=True)
    (files / "pay").write_bytes(PAY)
    large = secrets.token_bytes(LARGE)
    (files / "large").write_bytes(large)
    (folder / "large").write_bytes(large)
    (folder / "reached").touch()
    (folder / "reached").chmod(0o666)
    folder.chmod(0o777)


@contextmanager
def standing(kind: Kind, **settings: Any) -> Iterator[Place]:
    """The server with its door, in a folder that any user may enter. `settings`: further keys of the configuration."""
    with tempfile.TemporaryDirectory(prefix="doorward-server-") as name:
        yield from _standing(kind, Path(name), settings)


def _standing(kind: Kind, folder: Path, settings: Mapping[str, Any]) -> Iterator[Place]:
    make_files(folder)
    port, upstream = free_port(), free_port()
    closed, at_will, sockets = (f"{name}.localhost:{port}" for name in ("closed", "open", "sockets"))
    place = Place(kind, folder, port, upstream, closed, at_will, sockets)
    backstage = Backstage()
    client = DemoClient(
        client_id="doorward",
        client_secret=secrets.token_urlsafe(24),
        redirect_uris=(f"http://{place.closed}/oauth2/callback", f"http://{place.open}/oauth2/callback"),
    )
    people = {
        "sub": ADMIN.subject,
        "email": ADMIN.email,
        "email_verified": True,
        "name": ADMIN.name,
        "groups": ["staff"],
    }
    provider = DemoProvider([client], [people])
    programs: list[Program] = []
    try:
        backstage.run(provider.start())
        programs += kind.start(folder, upstream)
        programs.append(start_gateway(_settings(place, provider.issuer, client, **settings), folder))
        place.staff = asyncio.run(_sign_in(place.closed))
        yield place
    finally:
        for program in reversed(programs):
            program.stop()
        backstage.run(provider.close())
        backstage.close()


def _settings(
    place: Place, issuer: str, client: DemoClient, *, openid: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    both = {
        "upstream": f"http://127.0.0.1:{place.upstream}",
        "surface": "portal",
        "password_routes": place.kind.pack,
        "rules": RULES,
    }
    return {
        "listen": f"127.0.0.1:{place.port}",
        "admin_listen": f"127.0.0.1:{free_port()}",
        "external_url_scheme": "http",
        "workers": 1,
        "keys": [base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()],
        "log": {"access": False},
        "openid": {
            "authority_url": issuer,
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "prevent_password_login": True,
            **(openid or {}),
        },
        "apps": {
            "closed": {**both, "hosts": [place.closed], "public": ["* /assets/**", "* /api/**"]},
            "open": {**both, "hosts": [place.open], "unauthenticated": "pass"},
            "sockets": {**both, "hosts": [place.sockets], "public": ["WEBSOCKET /assets/ws"]},
        },
        **more,
    }


async def _sign_in(host: str) -> str:
    """Somebody of the group staff at this host; the value of their Cookie field."""
    browser = Browser()
    await browser.open(f"http://{host}/profile/staff")
    await browser.submit(0, person=ADMIN.subject)
    cookies = browser.jar.header(f"http://{host}/", same_site=True, navigation=True, safe=True)
    assert "doorward_session=" in cookies, browser.page.text
    return cookies
