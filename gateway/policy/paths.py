"""A request target: its canonical form, which is judged and forwarded, and the forms in which a lenient upstream could read it.

The invariants: `parse_target` is idempotent; a target that two servers could read in two ways raises AmbiguousTarget and is never repaired; a
rule that restricts holds for every reading, so a spelling can only restrict more.
RFC 3986 (sections 5.2.4 and 6.2.2), RFC 9112 section 3.2.1 (origin-form), docs/threats.md C-03, C-04, C-10 to C-12, C-14. Pure.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.errors.requests import AmbiguousTarget, BadRequest

_WORD: Final = rb"A-Za-z0-9_~!$&'*+,=:@-"
#: Nothing to decode, to resolve or to strip: what nearly every request looks like.
_PLAIN = re.compile(rb"/(?:[.%b]*[%b](?:/[.%b]*[%b])*/?)?" % (_WORD, _WORD, _WORD, _WORD))
# SECURITY: an encoded slash or backslash, a control, `%u002f`, an escape that is none, a raw fragment, blank or backslash are read
# differently by nearly every pair of servers (C-04, C-10, C-12, C-14).
_UNREADABLE = re.compile(rb"[\x00-\x20\x7f\\#]|%(?![0-9A-Fa-f]{2})|%2[Ff]|%5[Cc]|%[01][0-9A-Fa-f]|%7[Ff]")
_ESCAPE_OR_UNSAFE = re.compile(rb"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_BAD_QUERY = re.compile(rb"[\x00-\x20\x7f#]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HIDDEN = re.compile(r"[/\\]|%(?:[0-9a-f]{2}|u[0-9a-f]{4})")
#: ASP.NET's cookieless session, `/(S(abc))/`: taken out of the path before an application sees it.
_COOKIELESS = re.compile(r"\((?:[afs]\([^()]*\))+\)")
_LONGEST_UNUSUAL: Final = 8192  # a path that must be rewritten, which costs time
_BLANKS: Final = " \u1680\u2028\u2029"  # what compatibility decomposition leaves of the blanks
_FILLERS: Final = frozenset("\u115f\u1160")  # letters by category, invisible by nature


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`path` is canonical ASCII, `query` the bytes after `?` (None without one).

    `folded` is the path as the most lenient upstream reads it: decoded once, without case, marks, path parameters, blanks and dots
    at the end of a segment, empty segments and the last slash. `readings` are that and the other readings that it may have to any server at all;
    what servers of some kind make of them is in `gateway.policy.readings`.
    """

    path: str
    query: bytes | None
    folded: str
    readings: tuple[str, ...]

    def wire(self) -> bytes:
        """What goes on the request line."""
        path = self.path.encode("ascii")
        return path if self.query is None else path + b"?" + self.query


def parse_target(raw: bytes) -> Target:
    """An origin-form request-target to its Target. Raises AmbiguousTarget, and BadRequest for another form."""
    if not raw.startswith(b"/"):
        raise BadRequest("the target is not in origin-form")
    path, mark, query = raw.partition(b"?")
    # SECURITY: the path is split from the query once, here; no rule ever sees a query as path (C-03).
    sent = _read_query(query) if mark else None
    if _PLAIN.fullmatch(path):
        text = path.decode("ascii")
        folded = text.lower().rstrip("/") or "/"
        return Target(path=text, query=sent, folded=folded, readings=(folded,))
    return _read_path(path, sent)


def casefold(text: str) -> str:
    """Text without case, compatibility forms, combining marks and invisible characters."""
    if text.isascii():
        return text.lower()
    # SECURITY: full-width letters, ligatures, a dotless i and marks are what some upstreams compare as plain letters (C-12).
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).upper().casefold())
    # One question for each character that occurs, not for each time it does.
    dropped = [ord(c) for c in set(plain) if unicodedata.category(c)[0] in "MC" or c in _FILLERS]
    return plain.translate(dict.fromkeys(dropped)) if dropped else plain


def _read_query(query: bytes) -> bytes:
    if _BAD_QUERY.search(query):
        raise AmbiguousTarget("a fragment, blank or control character in the query")
    return query if query.isascii() else _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], query)


def _read_path(raw: bytes, query: bytes | None) -> Target:
    if len(raw) > _LONGEST_UNUSUAL:
        raise BadRequest("the path is longer than any upstream takes")
    if (unreadable := _UNREADABLE.search(raw)) is not None:
        raise AmbiguousTarget(f"{unreadable[0]!r} in the path")
    segments = _ESCAPE_OR_UNSAFE.sub(_canonical_escape, raw).decode("ascii").split("/")[1:]
    kept: list[str] = []
    lowered: list[str] = []
    folded: list[str] = []
    for segment in segments:
        if segment == "..":
            if not kept:
                raise AmbiguousTarget("the path climbs above the root")
            del kept[-1], lowered[-1], folded[-1]
        elif segment not in ("", "."):
            # Segments that a later `..` removes are judged too: what is ambiguous is not repaired.
            low, fold = _fold_segment(segment)
            kept.append(segment)
            lowered.append(low)
            folded.append(fold)
    slash = "/" if kept and segments[-1] in ("", ".", "..") else ""
    readings = _readings(folded, lowered)
    return Target(path="/" + "/".join(kept) + slash, query=query, folded=readings[0], readings=readings)


def _canonical_escape(match: re.Match[bytes]) -> bytes:
    found = match[0]
    if len(found) == 1:
        return b"%%%02X" % found[0]
    byte = int(found[1:], 16)
    return bytes((byte,)) if byte in _UNRESERVED else found.upper()


def _fold_segment(segment: str) -> tuple[str, str]:
    """A canonical segment without case, and as the most lenient upstream reads it."""
    low = segment.lower() if "%" not in segment else casefold(_decode_segment(segment))
    # SECURITY: decoded or normalised a second time this would hold another slash, backslash or escape (C-10, C-12).
    if _HIDDEN.search(low):
        raise AmbiguousTarget("an escape within an escape, or a character that stands for a slash")
    fold = low.partition(";")[0].strip(_BLANKS)
    bare = fold.rstrip("." + _BLANKS)
    # SECURITY: `..;x`, `..%20` and full-width dots are a dot segment to some upstreams and a name to others (C-10).
    if fold and not bare:
        raise AmbiguousTarget("a dot segment in disguise")
    if "(" not in low:
        return low, bare
    if _COOKIELESS.fullmatch(bare):
        return low, ""
    # SECURITY: ASP.NET joins what stands around it: `/b/(S(x))in` is `/bin` to the application (C-12).
    if _COOKIELESS.search(low):
        raise AmbiguousTarget("a cookieless session within a segment")
    return low, bare


def _decode_segment(segment: str) -> str:
    try:
        # SECURITY: overlong forms and stray bytes (`%c0%af`) are not UTF-8, and some decoders take them for a slash (C-12).
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise AmbiguousTarget("the path is not UTF-8") from error
    if _CONTROL.search(text):
        raise AmbiguousTarget("a control character in the path")
    return text


def _readings(folded: list[str], lowered: list[str]) -> tuple[str, ...]:
    whole, raw = "/" + "/".join(segment for segment in folded if segment), "/" + "/".join(lowered)
    found = {whole: None, raw: None}
    # SECURITY: `/admin%3f/public/` is `/admin` to an upstream that decodes before it splits (C-03, C-04), and so is `/admin;/public/` to one
    # that takes a semicolon for the beginning of the query (Fastify up to version 4, C-65).
    for text, marks in ((whole, r"[?#]"), (raw, r"[?#;]")):
        cut = re.split(marks, text, maxsplit=1)[0]
        if cut != text:
            found["/" + cut.rstrip("./" + _BLANKS).lstrip("/")] = None
    return tuple(found)
