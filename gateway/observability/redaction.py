"""E-mail addresses in what is logged, found in any encoding and replaced. Pure.

Texts of providers and directories, paths of calls and paths of requests quote addresses: plainly, percent-encoded (once or again), as character
references, as escapes of JSON and of quoted-printable, in base64 (a JWT's payload) or in hexadecimal digits. A text is divided into tokens; a
token that reads as an address in one of these ways is replaced whole. Every step takes linear time, because strangers write these texts.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "<address>"

_TOKEN = re.compile(r"[^\s\"'`<>(){}|,/?]+")
_PIECE = re.compile(r"[^=&;:]+")
# A version (`package@1.2.3`) and the pixel density in a picture's name (`logo@2x.png`) are no domains.
_ADDRESS = re.compile(r"[^\s@]@(?!\d(?:\.\d)?x\.)(?:\[|(?:[\w-]+\.)*[^\W\d_])")
_ESCAPED = re.compile(r"(?:\\u00|\\x|=)([0-9a-fA-F]{2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_SHORTEST: Final = len("YUBiLmNv")  # a@b.co in base64
_ENCODINGS: Final = 4  # of one text: percent-encoded again and again


def hide_addresses(text: str) -> str:
    """The text with `<address>` for each token that carries an e-mail address."""
    return _TOKEN.sub(_in_token, _BASE64.sub(_in_base64, text))


def _in_token(match: re.Match[str]) -> str:
    token = match[0]
    if not _carries_address(token):
        return token
    # `email=mia@example.com&page=2` keeps its names; `mia&#64;example.com` carries an address only as a whole.
    hidden = _PIECE.sub(lambda piece: HIDDEN if _carries_address(piece[0]) else piece[0], token)
    return HIDDEN if _carries_address(hidden.replace(HIDDEN, "")) or hidden == token else hidden


def _carries_address(text: str) -> bool:
    return any(_ADDRESS.search(reading) for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """The text as it stands, and with its escapes taken away, one layer after the other."""
    for _ in range(_ENCODINGS):
        yield unicodedata.normalize("NFKC", text)
        plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), html.unescape(unquote(text))).replace("+AEA-", "@")
        if plain == text:
            return
        text = plain


def _in_base64(match: re.Match[str]) -> str:
    """Of a run of base64's letters, which slashes may divide into segments of a path."""
    run = match[0]
    if _encodes_address(run):
        return HIDDEN
    return "/".join(HIDDEN if _encodes_address(part) else part for part in run.split("/")) if "/" in run else run


def _encodes_address(text: str) -> bool:
    if len(text) < _SHORTEST:
        return False
    for raw in _decoded(text):
        try:
            plain = raw.decode()
        except UnicodeDecodeError:
            continue
        # Random bytes, as of a request's ID, are not printable.
        if "@" in plain and all(letter.isprintable() or letter in "\r\n\t" for letter in plain):
            return _ADDRESS.search(plain) is not None
    return False


def _decoded(text: str) -> Iterator[bytes]:
    if len(text) % 4 != 1:
        yield base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
    try:
        yield bytes.fromhex(text)
    except ValueError:
        return
