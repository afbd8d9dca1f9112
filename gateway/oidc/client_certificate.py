"""TLS towards one provider: the authorities that are believed, and the client certificate that is presented (RFC 8705).

The invariant: a handshake uses the certificate and key that are in the files at that moment, or the last pair that could be used.
"""

import logging
import os
import ssl
from pathlib import Path
from typing import Any

_log = logging.getLogger("doorward.oidc")
_Stamp = tuple[int, int, int] | None


class ClientTlsContext(ssl.SSLContext):
    """A context for clients that presents the certificate in `files`, and reads it again before a handshake when they have changed."""

    files: tuple[Path, Path]
    seen: tuple[_Stamp, ...]

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake; called by the event loop for each connection."""
        self._read_again()
        return super().wrap_bio(*args, **options)

    def _read_again(self) -> None:
        now = _stamps(self.files)
        if now == self.seen:
            return
        self.seen = now
        try:
            # Loaded into a context of its own first: a half-written pair must not reach the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*self.files, password=_no_passphrase)
            self.load_cert_chain(*self.files, password=_no_passphrase)
            _log.info("the client certificate %s was read again", self.files[0])
        except (OSError, ssl.SSLError, ValueError) as error:
            _log.error("the client certificate %s cannot be used, the old one stays: %s", self.files[0], error)


def client_tls(ca: Path | None, files: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    """The context for `ca` in place of the system's authorities, and `files`, certificate and key; None: the defaults will do.

    Raises OSError or ssl.SSLError when a file cannot be used.
    """
    if files is None:
        return ssl.create_default_context(cafile=str(ca)) if ca else None
    context = ClientTlsContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        context.load_verify_locations(cafile=str(ca))
    else:
        context.load_default_certs()
    context.files, context.seen = files, _stamps(files)
    context.load_cert_chain(*files, password=_no_passphrase)
    return context


def _stamps(files: tuple[Path, Path]) -> tuple[_Stamp, ...]:
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _no_passphrase() -> bytes:
    """In place of a question on the terminal."""
    return b""
