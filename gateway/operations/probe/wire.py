"""The probe's sockets: one connection for each request, so that no answer can belong to another one, and bytes as they are given."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.operations.probe.verdicts import ProbeResponse

_HEAD: Final = 64 * 1024
_BODY: Final = 64 * 1024
_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """A gateway: `host` for the Host field, the address to connect to, and TLS or None."""

    url: str
    host: str
    address: str
    port: int
    tls: ssl.SSLContext | None
    name: str  # the host without its port: what the certificate must be for

    def under(self, host: str) -> "GatewayAddress":
        """The same gateway with another of its hosts."""
        return GatewayAddress(
            url=f"{'https' if self.tls else 'http'}://{host}",
            host=host,
            address=self.address,
            port=self.port,
            tls=self.tls,
            name=_name(host),
        )


def parse_gateway_address(url: str, connect: str | None = None, ca: Path | None = None) -> GatewayAddress:
    """Parse a URL as browsers use it. Raises ValueError with what is allowed."""
    allowed = "allowed: http(s)://HOST[:PORT] without a path"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r} is not the address of a gateway; {allowed}")
    if "@" in parts.netloc:
        raise ValueError(f"the address has a user in it; {allowed}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = parts.hostname
    # RFC 6761 section 6.3: these names are loopback, not what the resolver returns.
    if address == "localhost" or address.endswith(".localhost"):
        address = "127.0.0.1"
    if connect is not None:
        address, port = _connect(connect)
    tls = ssl.create_default_context(cafile=str(ca) if ca else None) if parts.scheme == "https" else None
    return GatewayAddress(
        url=f"{parts.scheme}://{parts.netloc}",
        host=parts.netloc,
        address=address,
        port=port,
        tls=tls,
        name=parts.hostname,
    )


def _connect(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address to connect to; allowed: HOST:PORT")
    return host.strip("[]"), int(port)


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or host


async def send(gateway: GatewayAddress, data: bytes, *, head_only: bool = False) -> ProbeResponse | None:
    """Send `data` on a new connection; None when it ends without a response. Raises OSError when it cannot connect."""
    async with asyncio.timeout(_SECONDS):  # TimeoutError is an OSError
        reader, writer = await asyncio.open_connection(
            gateway.address,
            gateway.port,
            ssl=gateway.tls,
            server_hostname=gateway.name if gateway.tls else None,
            limit=_HEAD,
        )
    try:
        async with asyncio.timeout(_SECONDS):
            return await _exchange(reader, writer, data, head_only)
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return None
    finally:
        writer.transport.abort()  # a reset, so that thousands of connections leave nothing behind


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, head_only: bool
) -> ProbeResponse | None:
    writer.write(data)
    # The gateway may respond and close before it has read all; its response is still to be read.
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("not a response")
        status = int(rest[:3])
        if status >= 200 or status == 101:
            break
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    response = ProbeResponse(status=status, fields=fields, body=b"")
    if head_only or status in (101, 204, 304):
        return response
    length = response.value("content-length")
    if not length and status >= 400 and response.value("connection").lower() == "close":
        # The refusal of a server that closes at once, which ends with the connection.
        return ProbeResponse(status=status, fields=fields, body=await _until_closed(reader))
    if not length.isdigit() or int(length) > _BODY:
        return response  # no refusal of a Doorward is of this kind
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        return ProbeResponse(status=status, fields=fields, body=error.partial, complete=False)
    return ProbeResponse(status=status, fields=fields, body=body)


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, for a second at most."""
    body = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1.0):
            while len(body) < _BODY and (piece := await reader.read(_BODY)):
                body += piece
    return body
