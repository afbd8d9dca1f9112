"""TLS of the listener: its protocols, and certificates that are renewed while it serves."""

import contextlib
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.x509 import load_pem_x509_certificates

from gateway.config import schema
from gateway.config.providers import key_of, providers_of
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


def certificate_ends(config: schema.Config) -> dict[str, float]:
    """When the certificates of ours end, the first of each chain, in seconds since 1970; by configuration key, where they can be read."""
    ends = {}
    files = {"tls.certificate": config.tls.certificate, "redis.tls.certificate": config.redis.tls.certificate}
    for name, provider in providers_of(config).items():
        files[f"{key_of(name)}.client_tls.certificate"] = provider.client_tls.certificate
    for key, file in files.items():
        with contextlib.suppress(OSError, ValueError):
            if file is not None:
                chain = load_pem_x509_certificates(file.read_bytes())
                ends[key] = min(each.not_valid_after_utc.timestamp() for each in chain)
    return ends


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
