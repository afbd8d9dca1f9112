"""deploy/guides/quick-start.md runs as written, in a fresh checkout on a machine of its own.

The machine is this one, with folders of its own where the guide writes (a mount namespace): nothing is left behind. The commands are the guide's,
in one shell, as a person types them. Changed are the names that the guide tells to change, and the ports, because others may be in use.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.demo.provider import DemoClient
from tests.e2e import service_manager
from tests.fakes.house import free_port
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "deploy" / "guides" / "quick-start.md"
PORTS = ("4180", "4181", "8001", "8002")
#: A place of its own for each folder that the commands write to. /etc and /usr/local/bin begin as they are.
MACHINE = """
mount --make-rprivate /
for folder in /opt /run /var/lib; do mount -t tmpfs none $folder; done
for folder in /etc /usr/local/bin; do
  mkdir -p /opt/.own$folder && cp -a $folder/. /opt/.own$folder/ && mount --bind /opt/.own$folder $folder
done
rm -f /usr/local/bin/doorward && mkdir -p /etc/nginx/tls /etc/systemd/system /var/lib/nginx
printf '#!/bin/sh\\nexec {python} {manager} "$@"\\n' > /usr/local/bin/systemctl && chmod 0755 /usr/local/bin/systemctl
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=portal.example.com -keyout /etc/nginx/tls/privkey.pem -out /etc/nginx/tls/fullchain.pem 2>/dev/null
trap 'systemctl stop doorward; systemctl stop doorward.socket; cat /run/doorward.log >&2' EXIT
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


@dataclass
class World:
    """What the guide's names stand for here."""

    names: dict[str, str]

    def told(self, text: str) -> str:
        """The text with the reader's own names."""
        return re.sub("|".join(map(re.escape, self.names)), lambda match: self.names[match[0]], text)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    provider, stub = MisbehavingProvider(), NexudusStub()
    await provider.start()
    await stub.start()
    provider.register(DemoClient(client_id="doorward", redirect_uris=(), client_secret="the client secret"))
    upstreams = [RecordingUpstream() for _ in range(2)]
    for upstream in upstreams:
        await upstream.start()
    listen, admin = free_port(), free_port()
    ports = [listen, admin, *(upstream.url.rpartition(":")[2] for upstream in upstreams)]
    names = {
        "listen: 127.0.0.1:4180": f"listen: 127.0.0.1:{listen}\nadmin_listen: 127.0.0.1:{admin}",
        "https://login.example.com/": provider.issuer,
        "https://spaces.nexudus.com": stub.url,
        "sso@ops.example": SERVICE[0],
        "the password of the directory login": SERVICE[1],
        **{f"127.0.0.1:{port}": f"127.0.0.1:{mine}" for port, mine in zip(PORTS, ports, strict=True)},
    }
    yield World(names)
    await provider.close()
    await stub.close()
    for upstream in upstreams:
        await upstream.close()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.M | re.S)
    assert found is not None, title
    return found[1]


def fresh_checkout(folder: Path) -> None:
    """The files of the repository as they are now, without what was made here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


async def test_the_commands_for_a_machine_with_systemd_run_as_written(world: World, tmp_path: Path) -> None:
    checkout = tmp_path / "doorward"
    fresh_checkout(checkout)
    socket_unit = checkout / "deploy" / "doorward.socket"
    socket_unit.write_text(world.told(socket_unit.read_text()))  # its address is that of `listen`
    (config,) = examples(section("On a machine, with systemd"), "yaml")
    install, secrets, start, with_socket, ask, nginx = examples(section("On a machine, with systemd"), "sh")
    check_new, switch = examples(section("Upgrade"), "sh")
    ready = f"curl -s http://127.0.0.1:4181/ready > {tmp_path}/ready"
    visit = f"curl -s -o /dev/null -D {tmp_path}/visit -H 'Host: portal.example.com' -H 'Accept: text/html' http://127.0.0.1:4180/"
    settled = f"until {ready} && grep -q '\"ready\"' {tmp_path}/ready; do sleep 0.2; done"
    written = f"cat > /etc/doorward/doorward.yaml <<'END'\n{config}END"
    steps = (
        install,
        secrets,
        written,
        start,
        settled,
        with_socket,
        settled,
        ask,
        nginx,
        visit,
        check_new,
        switch,
        settled,
    )
    script = "\n".join((*steps, "systemctl reload doorward"))
    machine = MACHINE.format(python=sys.executable, manager=service_manager.__file__)
    done = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "/bin/bash", "-e", "-c", machine + world.told(script), cwd=checkout,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    output = (await asyncio.wait_for(done.communicate(), 900))[0].decode()
    assert done.returncode == 0, output
    assert "no problems" in output
    assert "provider client authentication: ok" in output
    assert "test is successful" in output  # nginx's
    assert json.loads((tmp_path / "ready").read_text())["status"] == "ready"
    assert (tmp_path / "visit").read_text().startswith("HTTP/1.1 302")
    assert not Path("/opt/doorward").exists()


def examples(text: str, language: str) -> list[str]:
    """The examples of one language in a part of the guide, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.M | re.S)
    return [re.sub(rf"^{indent}", "", body, flags=re.M) for indent, body in found]
