"""The listener's TLS: which protocols, and certificates that are renewed while the door stands open."""

import asyncio
import logging
import os
import ssl
from typing import Final

_log = logging.getLogger("doorward.tls")
_CERTIFICATE_SECONDS: Final = 1.0


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """The listener's TLS: 1.2 or newer, HTTP/1.1. Raises OSError or ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def _stamps(*paths: str) -> list[float]:
    return [os.stat(path).st_mtime if os.path.exists(path) else 0.0 for path in paths]


async def watch_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """A renewed certificate is used from the next handshake on; a broken pair of files changes nothing."""
    seen = _stamps(certificate, key)
    while True:
        await asyncio.sleep(_CERTIFICATE_SECONDS)
        now = _stamps(certificate, key)
        if now == seen:
            continue
        seen = now
        try:
            # Tried on a context of its own: a half-written pair must not reach the live one.
            server_tls(certificate, key)
            context.load_cert_chain(certificate, key)
            _log.info("the TLS certificate was read again")
        except (OSError, ssl.SSLError) as error:
            _log.error("the TLS certificate cannot be used, the old one stays: %s", error)
