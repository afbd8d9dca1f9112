"""The key ring: the first key seals, every key opens, so that keys can be changed without ending a session.

A sealed value is bound to a context (the key in Redis, the host, the format): the same bytes in another place do not
open.
AES-256-GCM (NIST SP 800-38D) with random nonces; one key per purpose by HKDF-SHA256 (RFC 5869).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from gateway.sessions import base64url

KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
SEAL_BYTES: Final = _ID_BYTES + _NONCE_BYTES  # key ID and nonce: no two sealed values begin alike


class KeyRing:
    """`keys`: base64url texts of 32 bytes each (`new_key` makes one), or the bytes themselves. Raises ValueError."""

    def __init__(self, keys: Sequence[SecretStr | str | bytes]) -> None:
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self.raw: Final = tuple(_key_bytes(key) for key in keys)
        self._ciphers = tuple((_key_id(raw), AESGCM(raw)) for raw in self.raw)

    def purpose(self, name: str) -> "KeyRing":
        """A ring of keys derived from these: a value that is sealed for one purpose never opens for another."""
        return KeyRing([_derive(raw, name) for raw in self.raw])

    def seal(self, plain: bytes, context: tuple[str, ...]) -> bytes:
        """Key id, nonce and ciphertext; `context` must be given again to open it."""
        return self.seal_in(plain, joined(context))

    def seal_in(self, plain: bytes, context: bytes) -> bytes:
        """The same, the context `joined` already."""
        key_id, cipher = self._ciphers[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return key_id + nonce + cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: tuple[str, ...]) -> bytes:
        """Raises ValueError for a text that no key of this ring sealed in this context."""
        return self.open_in(sealed, joined(context))

    def open_in(self, sealed: bytes, context: bytes) -> bytes:
        """The same, the context `joined` already."""
        if len(sealed) < SEAL_BYTES + _TAG_BYTES:
            raise ValueError("too short to have been sealed")
        for key_id, cipher in self._ciphers:
            if sealed.startswith(key_id):
                try:
                    return cipher.decrypt(sealed[_ID_BYTES:SEAL_BYTES], sealed[SEAL_BYTES:], context)
                except InvalidTag:
                    continue
        raise ValueError("no key opens it")

    def is_first(self, sealed: bytes) -> bool:
        """Whether the first key sealed it, by the key ID that it begins with."""
        return sealed.startswith(self._ciphers[0][0])

    def place_of(self, sealed: bytes) -> int | None:
        """The place in the ring of the key that sealed it, 0 for the first; None when it is none of them."""
        ids = [key_id for key_id, _ in self._ciphers]
        return ids.index(sealed[:_ID_BYTES]) if sealed[:_ID_BYTES] in ids else None

    def marks(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """A keyed hash of `parts` under each key, in their order: to find a value by a name that must not be stored."""
        return tuple(hmac.new(raw, joined(parts), hashlib.sha256).hexdigest() for raw in self.raw)

    def __repr__(self) -> str:
        return f"KeyRing({len(self.raw)} keys)"


def new_key() -> str:
    """A key for the configuration file: 32 random bytes, base64url without padding."""
    return base64url.encode(secrets.token_bytes(KEY_BYTES))


def joined(parts: tuple[str, ...]) -> bytes:
    """The parts as bytes from which they can be told apart."""
    # SECURITY: without the lengths, ("ab", "c") and ("a", "bc") would be one context (C-08).
    return b"".join(len(data).to_bytes(4, "big") + data for data in (part.encode() for part in parts))


def _key_bytes(key: SecretStr | str | bytes) -> bytes:
    if isinstance(key, bytes):
        raw = key
    else:
        text = key.get_secret_value() if isinstance(key, SecretStr) else key
        try:
            raw = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise ValueError("a key is not base64url") from None  # the cause would quote the key
    if len(raw) != KEY_BYTES:
        raise ValueError(f"a key must be {KEY_BYTES} bytes, base64url; this one has {len(raw)}")
    return raw


def _key_id(raw: bytes) -> bytes:
    return hashlib.sha256(b"doorward key id" + raw).digest()[:_ID_BYTES]


def _derive(raw: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"doorward " + purpose.encode()).derive(raw)
