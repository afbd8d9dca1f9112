"""TLS of the listener: its protocols, and certificates that are renewed while it serves."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.config import schema
from gateway.observability.background import repeat

_log = logging.getLogger("doorward.tls")
_CERTIFICATE_SECONDS: Final = 1.0


def server_tls(tls: schema.Tls) -> ssl.SSLContext | None:
    """A context for TLS 1.2 or newer and HTTP/1.1; None where no certificate is configured. Raises OSError or ssl.SSLError."""
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def _stamps(*paths: Path) -> list[float]:
    return [os.stat(path).st_mtime if os.path.exists(path) else 0.0 for path in paths]


async def watch_certificate(context: ssl.SSLContext | None, tls: schema.Tls, on_load: Callable[[], None]) -> None:
    """Until cancelled, load a renewed certificate for the next handshakes; a broken pair of files changes nothing.

    `on_load` is called after one was loaded.
    """
    if context is None or tls.certificate is None or tls.key is None:
        return
    files, seen = (tls.certificate, tls.key), _stamps(tls.certificate, tls.key)

    async def look() -> None:
        nonlocal seen
        now = _stamps(*files)
        if now == seen:
            return
        seen = now
        try:
            # Loaded into a context of its own first: a half-written pair must not reach the one in use.
            server_tls(tls)
            context.load_cert_chain(*files)
            on_load()
            _log.info("the TLS certificate was read again")
        except (OSError, ssl.SSLError) as error:
            _log.error("the TLS certificate cannot be used, the old one stays: %s", error)

    await repeat("certificate", look, _CERTIFICATE_SECONDS)
