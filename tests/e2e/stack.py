"""The whole product on this machine: provider, sample applications, directory, and `doorward run` in front of them."""

import base64
import http.client
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gateway.demo.dashboard import SampleDashboard
from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.demo.people import PEOPLE, Person
from gateway.demo.portal import SamplePortal
from tests.e2e.backstage import Backstage
from tests.e2e.http_client import Answer, ask
from tests.e2e.processes import Program, free_port, is_free
from tests.fakes.directories import UNLIMITED

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "e2e"
NAMES = ("portal", "dashboard", "open")


def origin(name: str, port: int, scheme: str = "http") -> str:
    return f"{scheme}://{name}.localhost:{port}"


@contextmanager
def running_demo(name: str) -> Iterator[int]:
    """`doorward demo` until it is ready, by its first port: it takes the next and the tenth too. `name` is that of its log."""
    port = next(port for port in iter(free_port, 0) if port < 60_000 and is_free(port + 1) and is_free(port + 10))
    log = OUTPUT / "logs" / f"{name}.log"
    demo = Program([sys.executable, "-m", "gateway.cli.main", "demo", "--port", str(port)], log)
    try:
        demo.wait_until(lambda: "Ctrl-C ends" in log.read_text(), 90)  # its last line, when all answer
        yield port
    finally:
        status = demo.stop()
    assert status == 0


class CertifiedProvider:
    """`oidc-provider` from npm, which knows the people of the demo and one client that lives at `origins`.

    `client` are further metadata of the client (None leaves one out), `more` further settings of `provider.mjs`.
    """

    def __init__(self, origins: Sequence[str], *, client: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.client_id = "doorward"
        self.client_secret = secrets.token_urlsafe(24)
        metadata = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uris": [f"{each}/oauth2/callback" for each in origins],
            "post_logout_redirect_uris": [f"{each}/oauth2/signed_out" for each in origins],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"],
            **(client or {}),
        }
        registered = {name: value for name, value in metadata.items() if value is not None}
        people = {person.subject: claims(person) for person in PEOPLE}
        given = json.dumps({"port": self.port, "clients": [registered], "people": people, **more})
        self._program = Program(
            ["node", HERE / "provider.mjs"], OUTPUT / "logs" / f"provider-{self.port}.log", given=given
        )
        self._program.wait_until(lambda: f"ready {self.issuer}" in self._program.log.read_text())

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._program.log.read_text(errors="replace")

    def stop(self) -> None:
        self._program.stop()


def claims(person: Person) -> dict[str, Any]:
    return {
        "email": person.email,
        "email_verified": True,
        "name": person.name,
        "preferred_username": person.preferred_username,
        "groups": list(person.groups),
    }


class Behind:
    """What stands behind the door, fresh for each one: the stub of the directory remembers whom it created.

    `keeps_sessions`: the portal believes no header, and takes the sign-in tokens that the directory makes.
    """

    def __init__(self, *, keeps_sessions: bool = False) -> None:
        registered = [{"email": person.email, "full_name": person.name} for person in PEOPLE if person.registered]
        self.directory = NexudusStub(coworkers=registered)
        self.portal = SamplePortal(keeps_sessions=keeps_sessions, redeem=self.directory.redeem)
        self.dashboard = SampleDashboard(self.portal.bookings, self.portal.guests)
        if keeps_sessions:
            self._give_logins()

    def _give_logins(self) -> None:
        world = self.directory.world
        for account in self.directory.coworkers:
            account["UserId"] = world.add_user(account["Email"], secrets.token_urlsafe(9))["Id"]
        service = world.user_by_email(SERVICE[0])
        assert service is not None
        service["IsAdmin"] = True

    def accounts(self, email: str) -> int:
        """How many accounts the directory has for this address."""
        return sum(account["Email"] == email for account in self.directory.coworkers)

    async def start(self) -> None:
        for each in (self.portal, self.dashboard, self.directory):
            await each.start("127.0.0.1", 0)

    async def close(self) -> None:
        for each in (self.portal, self.dashboard, self.directory):
            await each.close()


def settings(
    port: int,
    admin_port: int,
    provider: CertifiedProvider,
    behind: Behind,
    openid: Mapping[str, Any],
    apps: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """A whole configuration; `apps` are further keys of apps. The app `open` is the portal again, for those who still may use a password."""
    more = apps or {}
    portal = {
        "upstream": behind.portal.url,
        "surface": "portal",
        "password_routes": "nexudus",
        "client_headers": ["client_id"],
        "public": ["GET /assets/**"],
    }
    return {
        "listen": f"127.0.0.1:{port}",
        "admin_listen": f"127.0.0.1:{admin_port}",
        "external_url_scheme": "http",
        "workers": 2,
        "redis": {"url": "embedded"},
        "keys": [base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()],
        "openid": {
            "authority_url": provider.issuer,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "create_users": True,
            "prevent_password_login": True,
            "prevent_dashboard_password_login": True,
            "unregistered_when_sso_only": "create",
            **openid,
        },
        "apps": {
            "portal": {**portal, "hosts": [f"portal.localhost:{port}"], **more.get("portal", {})},
            "open": {**portal, "hosts": [f"open.localhost:{port}"], "unauthenticated": "pass", **more.get("open", {})},
            "dashboard": {
                "surface": "dashboard",
                "hosts": [f"dashboard.localhost:{port}"],
                "upstream": behind.dashboard.url,
                "require": {"groups": ["staff"]} if openid.get("enabled", True) else {},
                "password_routes": "nexudus",
                "client_headers": ["client_id"],
            },
        },
        "directory": {
            "kind": "nexudus",
            "budget": UNLIMITED,
            "base_url": behind.directory.url,
            "username": SERVICE[0],
            "password": SERVICE[1],
            "business_ids": [501],
            "country_id": 1113,
            "time_zone_id": 2029,
        },
        "pages": {"title": "Harbour Desk"},
    }


def start_gateway(config: Mapping[str, Any], folder: Path) -> Program:
    """`doorward run` on `config`, started and ready."""
    file = folder / "doorward.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    doorward = Path(sys.executable).with_name("doorward")
    program = Program([doorward, "run", file], OUTPUT / "logs" / f"{folder.name}.log")
    admin_port = int(str(config["admin_listen"]).rpartition(":")[2])
    program.wait_until(lambda: _is_ready(admin_port))
    return program


class Door:
    """The gateway with everything behind it, ready to be visited."""

    def __init__(
        self,
        port: int,
        provider: CertifiedProvider,
        openid: Mapping[str, Any],
        folder: Path,
        *,
        apps: Mapping[str, Mapping[str, Any]] | None = None,
        sections: Mapping[str, Any] | None = None,
        keeps_sessions: bool = False,
    ) -> None:
        self.port = port
        self.provider = provider
        self.behind = Behind(keeps_sessions=keeps_sessions)
        self._backstage = Backstage()
        self._backstage.run(self.behind.start())
        self._admin_port = free_port()
        config = {**settings(port, self._admin_port, provider, self.behind, openid, apps), **(sections or {})}
        self._scheme = str(config["external_url_scheme"])
        self._program = start_gateway(config, folder)

    def origin(self, name: str) -> str:
        return origin(name, self.port, self._scheme)

    @property
    def log(self) -> str:
        """What `doorward run` wrote."""
        return self._program.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """As `Program.wait_until`."""
        self._program.wait_until(condition)

    def ready(self) -> dict[str, Any]:
        """`/ready`."""
        found: dict[str, Any] = json.loads(ask(self._admin_port, "localhost", "/ready").body)
        return found

    def ask(self, name: str, target: str, **request: Any) -> Answer:
        return ask(self.port, f"{name}.localhost:{self.port}", target, **request)

    def stop(self) -> int:
        """The exit status of `doorward run`."""
        status = self._program.stop()
        self._backstage.run(self.behind.close())
        self._backstage.close()
        return status


def _is_ready(admin_port: int) -> bool:
    try:
        answer = ask(admin_port, "localhost", "/ready")
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == 200 and json.loads(answer.body)["status"] == "ready"
