"""Files that a configuration names: certificates, keys, the logo and the folder of the embedded store must exist and be readable.

Reads files. `sources` reads the files of secrets, `packs` those of rule packs.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.config.providers import key_of, providers_of
from gateway.config.reading.packs import pack_names
from gateway.config.reading.problems import Finding
from gateway.config.schema import Config

_LOGOS: Final = frozenset({".svg", ".png", ".jpg", ".jpeg", ".webp", ".gif"})
_LARGEST_LOGO: Final = 256 * 1024


def findings(config: Config) -> Iterator[Finding]:
    """Everything that is missing, or not what it should be."""
    yield from _pair("tls", config.tls.certificate, config.tls.key)
    yield from _pair("redis.tls", config.redis.tls.certificate, config.redis.tls.key)
    for name, provider in providers_of(config).items():
        yield from _pair(f"{key_of(name)}.client_tls", provider.client_tls.certificate, provider.client_tls.key)
    authorities = {"redis.tls.ca": config.redis.tls.ca}
    authorities |= {f"{key_of(name)}.ca": provider.ca for name, provider in providers_of(config).items()}
    authorities |= {f"apps.{name}.upstream_tls.ca": app.upstream_tls.ca for name, app in config.apps.items()}
    if config.directory.kind != "none":
        authorities["directory.ca"] = config.directory.ca
    for key, path in authorities.items():
        yield from _authority(key, path)
    yield from _logo("pages.logo", config.pages.logo)
    for name, app in config.apps.items():
        yield from _logo(f"apps.{name}.pages.logo", app.pages.logo)
    folder = config.redis.data_dir
    if folder is not None and not (folder.is_dir() or (not folder.exists() and folder.parent.is_dir())):
        allowed = "allowed: a folder, or a new name in one that exists"
        yield Finding(key="redis.data_dir", what="is not a folder", allowed=allowed)
    yield from _packs(config)


def _packs(config: Config) -> Iterator[Finding]:
    known = pack_names()
    for name, app in config.apps.items():
        for index, entry in enumerate(app.password_routes):
            if isinstance(entry, str) and entry not in known:
                # SECURITY: a misspelt pack would leave every password route open (C-21).
                allowed = f"allowed: {', '.join(known)}, a file as ./doors.yaml, or rules of your own"
                key = f"apps.{name}.password_routes[{index}]"
                yield Finding(key=key, what="names a rule pack that does not exist", allowed=allowed)


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"cannot be read: {(error.strerror or 'unknown').lower()}"
    return None


def _pair(key: str, certificate: Path | None, private: Path | None) -> Iterator[Finding]:
    """A certificate and its key."""
    bad = False
    for name, path in (("certificate", certificate), ("key", private)):
        what = None if path is None else _unreadable(path)
        if what is not None:
            bad = True
            yield Finding(key=f"{key}.{name}", what=what, allowed="allowed: a readable PEM file")
    if bad or certificate is None or private is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private, password=lambda: b"")
    except (ssl.SSLError, ValueError, OSError):
        what = "has a certificate and a key that cannot be used together"
        yield Finding(key=key, what=what, allowed="allowed: a PEM chain and its key without a passphrase")


def _authority(key: str, path: Path | None) -> Iterator[Finding]:
    if path is None:
        return
    what = _unreadable(path)
    if what is None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (ssl.SSLError, OSError):
            what = "holds no certificate"
    if what is not None:
        yield Finding(key=key, what=what, allowed="allowed: a PEM file with the CA's certificates")


def _logo(key: str, path: Path | None) -> Iterator[Finding]:
    if path is None:
        return
    what = _unreadable(path)
    if what is None and (path.suffix.lower() not in _LOGOS or path.stat().st_size > _LARGEST_LOGO):
        what = "is not a small picture"
    if what is not None:
        allowed = f"allowed: one of {' '.join(sorted(_LOGOS))}, at most 256KiB"
        yield Finding(key=key, what=what, allowed=allowed)
