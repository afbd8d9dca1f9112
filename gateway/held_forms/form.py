"""A form that a browser sent, so that a page with hidden fields makes a browser send the same bytes again. Pure.

WHATWG URL, application/x-www-form-urlencoded; WHATWG HTML, "constructing the entry list" and "form submission". The encoding of a form's page is
not in its body: a body that is not UTF-8 is read as windows-1252, which has a character for each byte, and so comes back byte for byte.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

from gateway.policy.bodies import name_of, names_field

Charset = Literal["UTF-8", "windows-1252"]
#: Why a form is not kept, for the event; the page explains some of them.
Loss = Literal[
    "no_session", "unknown_person", "cross_site", "upload", "password", "too_large", "not_repeatable", "another_form", "no_room",
]  # fmt: skip
Fields = tuple[tuple[str, str], ...]

LARGEST: Final = 64 * 1024  # bytes of a body
_LONGEST_TARGET: Final = 2000
_MOST_FIELDS: Final = 1000
_BROKEN_LINE: Final = re.compile(r"\r(?!\n)|(?<!\r)\n")
# Words for a password in the languages that sites are written in, as they stand in names of fields, without separators.
_PASSWORDS: Final = (
    "password", "passwd", "passwort", "passphrase", "passcode", "pwd", "kennwort", "motdepasse", "contraseña", "contrasena", "senha",
    "palavrapasse", "wachtwoord", "hasło", "haslo", "parolachiave", "пароль", "パスワード", "密码", "密碼", "كلمةالمرور",
)  # fmt: skip
_SECRETS: Final = ("pass", "pin", "mdp", "clave", "parola", "secret", "otp", "totp", "cvc", "cvv", "csc")


class NotKept(Exception):
    """The form is not kept. `loss` is a stable word."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self.loss: Final = loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`target` is the canonical local URL that the form was for; `body` is ASCII. What a person typed stays out of `repr` (C-48)."""

    target: str
    body: bytes = field(repr=False)

    @property
    def charset(self) -> Charset:
        return _charset_of(_parts(self.body))

    @property
    def fields(self) -> Fields:
        """Names and values in the order of the form, in the characters of `charset`."""
        parts, charset = _parts(self.body), self.charset
        return tuple((_decode(name, charset), _decode(value, charset)) for name, value in parts)


def form_of(target: str, body: bytes) -> Form:
    """The form, if it can be sent again byte for byte. Raises NotKept."""
    if len(body) > LARGEST or len(target) > _LONGEST_TARGET or body.count(b"&") >= _MOST_FIELDS:
        raise NotKept("too_large")
    form = Form(target=target, body=body)
    fields = form.fields
    # SECURITY: a password must be typed anew: a kept one could be sent by the next person at the browser (C-81).
    if any(_is_secret(name) for name, _ in fields):
        raise NotKept("password")
    if _sent_again(fields, form.charset) != body or not all(
        _survives(name, value, form.charset) for name, value in fields
    ):
        raise NotKept("not_repeatable")
    return form


def _is_secret(name: str) -> bool:
    folded = name_of(name)
    joined = _letters(folded)
    return any(word in joined for word in _PASSWORD_LETTERS) or any(names_field(folded, word) for word in _SECRETS)


def _letters(folded: str) -> str:
    return re.sub(r"[\W_]", "", folded)


_PASSWORD_LETTERS: Final = tuple(_letters(name_of(word)) for word in _PASSWORDS)


def _survives(name: str, value: str, charset: Charset) -> bool:
    """Whether a hidden field with this name and value arrives as it is: through the parser of HTML, and through the form's submission."""
    text = name + value
    if not name or "\x00" in text or _BROKEN_LINE.search(name) or _BROKEN_LINE.search(value):
        return False
    return name.lower() != "_charset_" or value == charset


def _sent_again(fields: Fields, charset: Charset) -> bytes:
    """What a browser makes of the fields."""
    return "&".join(f"{_escape(name, charset)}={_escape(value, charset)}" for name, value in fields).encode("ascii")


def _escape(text: str, charset: Charset) -> str:
    return quote(_encode(text, charset), safe=" *-._").replace("~", "%7E").replace(" ", "+")


def _parts(body: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (part.partition(b"=") for part in body.split(b"&")) if body else ()
    return [(_unescape(name), _unescape(value)) for name, _, value in pairs]


def _unescape(data: bytes) -> bytes:
    return unquote_to_bytes(data.replace(b"+", b" "))


def _charset_of(parts: Sequence[tuple[bytes, bytes]]) -> Charset:
    try:
        for name, value in parts:
            name.decode()
            value.decode()
    except UnicodeDecodeError:
        return "windows-1252"
    return "UTF-8"


def _character(byte: int) -> str:
    """The character of a byte in windows-1252 (WHATWG Encoding): five have that of ISO 8859-1, which Python leaves out."""
    try:
        return bytes((byte,)).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


_WINDOWS_1252: Final = {byte: _character(byte) for byte in range(256)}
_BYTES: Final = {ord(character): byte for byte, character in _WINDOWS_1252.items()}


def _decode(data: bytes, charset: Charset) -> str:
    return data.decode() if charset == "UTF-8" else data.decode("latin-1").translate(_WINDOWS_1252)


def _encode(text: str, charset: Charset) -> bytes:
    return text.encode() if charset == "UTF-8" else text.translate(_BYTES).encode("latin-1")
