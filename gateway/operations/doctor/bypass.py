"""Whether an upstream can be reached around the door. The door connects from this machine, so an answer here proves little; each line says what.

unix:/path          only users of this machine whom the socket's mode lets in
a loopback address  only programs of this machine; but an application that listens on every address answers at this machine's others too,
                    and that is tried
a private address   every machine of that network that no firewall keeps out: cannot be told from here
a public address    every machine of the internet that no firewall keeps out
"""

import asyncio
import contextlib
import ipaddress
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.schema import Config
from gateway.errors.network import network_reason
from gateway.operations.doctor.line import Line, ok, unknown, warning
from gateway.proxy.endpoint import resolve

_SECONDS: Final = 3.0
_FIREWALL: Final = (
    "let the application listen on loopback or a unix socket only, or its firewall admit nothing but this machine"
)


async def bypass_lines(config: Config, own_addresses: Callable[[], Sequence[str]]) -> list[Line]:
    """A line for each address of each app. `own_addresses` gives this machine's addresses that are not loopback."""
    own = own_addresses()
    work = [
        _line(f"apps.{name} around the door", url, own) for name, app in config.apps.items() for url in app.upstream
    ]
    return list(await asyncio.gather(*work))


async def _line(called: str, url: str, own: Sequence[str]) -> Line:
    if url.startswith("unix:"):
        return _socket(called, Path(url.removeprefix("unix:")))
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = [str(record[4][0]) for record in await resolve(host, port)]
    except (OSError, UnicodeError) as error:
        return unknown(called, f"{host}: {network_reason(error)}", "mend the address first")
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    if all(address.is_loopback for address in found):
        return await _loopback(called, url, port, own)
    public = next((str(address) for address in found if address.is_global), None)
    if public is None:
        means = f"{url} is in a private network: every machine there that no firewall keeps out reaches the application without the door"
        return unknown(called, means, f"from another machine of that network: curl {url}/ must fail; else {_FIREWALL}")
    if not await _answers(public, port):
        return ok(called, f"{url} is a public address, and does not answer this machine either")
    means = f"{url} is a public address and answers this machine: if no firewall keeps others out, every machine gets in without the door"
    return warning(called, means, f"from a network of others: curl {url}/ must fail; else {_FIREWALL}")


async def _loopback(called: str, url: str, port: int, own: Sequence[str]) -> Line:
    open_at = [address for address in own if await _answers(address, port)]
    if open_at:
        shown = " and ".join(f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in open_at)
        means = f"{url} is loopback, but the same port answers at {shown} too: machines that no firewall keeps out get in without the door"
        return warning(called, means, _FIREWALL)
    if not own:
        return ok(called, f"{url} is loopback: only programs of this machine reach it")
    return ok(called, f"{url} is loopback, and its port does not answer at {' or '.join(own)}")


def _socket(called: str, path: Path) -> Line:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return unknown(called, f"{path}: {network_reason(error)}", "start the application first")
    if mode & stat.S_IWOTH:
        means = f"every user of this machine who reaches {path} may connect to it, without the door"
        return warning(called, means, "let the application make it with mode 0660, and its group be Doorward's")
    return ok(called, f"{path} lets in its owner and group only (mode {stat.S_IMODE(mode):04o})")


async def _answers(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.transport.abort()
    return True


def own_addresses() -> list[str]:
    """The addresses from which this machine reaches others, one of each family. Nothing is sent: a UDP socket only chooses its route."""
    found = []
    # Documentation addresses (RFC 5737, RFC 3849): any would do.
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))
            address = ipaddress.ip_address(sock.getsockname()[0])
            if not address.is_loopback and not address.is_unspecified:
                found.append(str(address))
    return found
