"""Doorward itself, as `doorward run` starts it, with everything that a deployment has on: see `settings`."""

import base64
import re
import secrets
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.bench import cores
from tests.bench.children import Child, free_port
from tests.bench.load import NAVIGATION, Load, ask_once
from tests.bench.parties import CLIENT_ID, CLIENT_SECRET, HOST, ORIGIN


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """What all Doorwards of a run share, so that one sign-in counts at each of them."""

    redis: str
    key: str
    issuer: str
    upstream: int


def settings(house: Household, port: int, admin: int, **sections: Any) -> dict[str, Any]:
    """Identity headers, signed assertion and X-Forwarded-* are always on; so are the metrics."""
    return {
        "listen": f"127.0.0.1:{port}",
        "admin_listen": f"127.0.0.1:{admin}",
        "external_url_scheme": "http",
        "workers": 1,
        "redis": {"url": house.redis},
        "keys": [house.key],
        "openid": {
            "authority_url": house.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "client_authentication": "client_secret_post",
            "create_users": True,
            "prevent_password_login": True,
            "prevent_dashboard_password_login": True,
            "unregistered_when_sso_only": "create",
        },
        "apps": {
            "portal": {
                "hosts": [HOST],
                "upstream": f"http://127.0.0.1:{house.upstream}",
                "public": ["GET /assets/**", "GET /favicon.ico"],
                "require": {"groups": ["members", "staff"]},
                "rules": [
                    {"match": ["* /admin/**"], "require": {"groups": ["staff"]}, "max_age": "1h"},
                    {"match": ["GET /status"], "public": True},
                ],
                "password_routes": ["nexudus"],
                "bearer": {"audiences": [ORIGIN], "default": "also"},
                "headers": {"X-Portal-User": "{email}"},
            }
        },
        "log": {"access": False},
        **sections,
    }


class Doorward:
    """One gateway: the parent, and its workers on the cores `on`."""

    def __init__(
        self, name: str, house: Household, folder: Path, *, on: set[int] = cores.MEASURED, **sections: Any
    ) -> None:
        self.port, self._admin = free_port(), free_port()
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings(house, self.port, self._admin, **sections)))
        self.child = Child(name, [sys.executable, "-m", "gateway.cli.main", "run", file], folder, on)

    def wait_ready(self) -> "Doorward":
        """Until it serves, and knows its provider if that is to be had."""
        self.child.wait_until(lambda: "ready on " in self.child.errors.read_text())
        return self

    def wait_provider(self) -> "Doorward":
        view = Load(signed_in=False, fields=NAVIGATION)
        self.child.wait_until(lambda: ask_once(view, self.port, "")[0] == 302)
        return self

    def workers(self) -> list[int]:
        return [pid for pid in self.child.family() if "gateway.runtime.worker" in cores.command(pid)]

    def metric(self, name: str) -> float:
        """The sum of one family's samples, over all their labels."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self._ask("/metrics").decode(), re.M)
        return sum(float(value) for value in found)

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body

    def stop(self) -> None:
        self.child.stop()
