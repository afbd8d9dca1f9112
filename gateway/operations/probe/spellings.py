"""Every spelling of a path that some upstream has been seen to read as that path (docs/threats.md C-10 to C-12, B-35).

`spellings(path)` gives request-targets as raw bytes, with the header fields and the method that belong to them. A gateway must
refuse each of them or treat it as `path`, and must not forward one as another path. No two have the same bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

_TRAILERS = (
    b"/", b"//", b"/.", b"/./", b".", b"..", b"...", b"%2e", b"%2E%2e", b"%20", b"%20%20", b"%20.", b".%20", b"%09",
    b"%00", b"%0a", b"%0d%0a", b"%7f", b";", b";x=1", b";jsessionid=1A", b";x=1;y=2", b"%3b", b"%3Bx=1", b"/;x",
    b"/%20", b"/.%20", b"%c2%a0", b"%e3%80%80", b"%e2%80%8b", b"%ef%bb%bf", b"%c2%ad", b"%cc%81", b"%ef%bc%9bx",
    b"%e2%80%a4", b"%c2%85", b"#", b"#x", b"%23", b"%23x", b"%3f", b"%3Fx=1", b"%3f/public/", b"\\", b"%5c", b"%5C.",
    b"%2f", b"%2F", b"%2f%2e", b"%252f", b"%c0%af", b"%e0%80%af", b"%c0%80", b"%u002f", b"%u0000", b"%", b"%2",
    b"%zz", b"/(S(x))", b"(S(x))", b" ", b"\t",
)  # fmt: skip
_EXTENSIONS = (
    b".json",
    b".JSON",
    b".j%73on",
    b"%2ejson",
    b".json/",
    b".json;x",
    b".json.",
    b".xml",
    b".html",
    b".php",
    b".aspx",
    b".do",
    b".action",
)
_PREFIXES = (
    b"/", b"//", b"/.", b"/./.", b"/%2e", b"/%2E/", b"/;", b"/;x", b"/;x=1/", b"/%20", b"/x/..", b"/x/%2e%2e",
    b"/x/.%2e", b"/x/%2E.", b"/x/y/../..", b"/x/./..", b"/x/..;", b"/x/..;y=1", b"/x/..%3b", b"/x/..%20", b"/x/..%00",
    b"/x/..%09", b"/x\\..", b"/x/..%2f.", b"/x/..%5c.", b"/%2e%2e", b"/..", b"/x/../..", b"/%252e%252e",
    b"/x/%252e%252e", b"/x/%ef%bc%8e%ef%bc%8e", b"/x/%e2%80%a5", b"/%2f", b"/%5c", b"\\", b"/\\", b"/%c0%af",
    b"/%u002e", b"/(S(x))", b"/(A(x)F(y))", b"/(s(x))/.",
)  # fmt: skip
_OVERRIDE_FIELDS = (
    b"X-HTTP-Method-Override",
    b"x-http-method-override",
    b"X-HTTP-Method",
    b"X-Method-Override",
    b"X_HTTP_Method_Override",
)
_OVERRIDE_QUERIES = (
    b"_method=%b",
    b"_METHOD=%b",
    b"%%5Fmethod=%b",
    b"x=1&_method=%b",
    b"x=1;_method=%b",
    b"X-HTTP-Method-Override=%b",
)
_LOOKALIKES = {"i": ("ı", "İ", "ⁱ"), "s": ("ſ",), "k": ("\u212a",), "a": ("ª",), "o": ("º",), "l": ("ℓ", "ⅼ")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One way to write a request. `method`: sent instead of the route's own, with `fields` that take it back."""

    how: str
    target: bytes
    method: str | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()


def spellings(path: str, query: str = "", *, method: str = "POST", languages: Iterable[str] = ()) -> Iterator[Spelling]:
    """All spellings of `path`, each with `query`; below each of `languages` too. The first is the path itself."""
    seen: set[tuple[bytes, tuple[tuple[bytes, bytes], ...], str | None]] = set()
    tail = b"?" + query.encode() if query else b""
    for how, target in _paths(path, languages):
        spelling = Spelling(how=how, target=target + tail)
        if (key := (spelling.target, (), None)) not in seen:
            seen.add(key)
            yield spelling
    yield from _overrides(path.encode(), query.encode(), method)


def _paths(path: str, languages: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    yield "as it is", path.encode()
    for language in languages:
        yield f"below {language}", language.encode() + path.encode()
        for how, target in _cases(path):
            yield f"below {language}, {how}", language.upper().encode() + target
        yield f"below {language}, extension", language.encode() + path.encode() + b".json"
    for source in (_cases, _escapes, _unicode, _slashes, _parameters):
        yield from source(path)
    plain = path.encode()
    yield from ((f"then {trailer!r}", plain + trailer) for trailer in (*_TRAILERS, *_EXTENSIONS))
    yield from ((f"after {prefix!r}", prefix + plain) for prefix in _PREFIXES)
    yield from ((f"upper case, then {trailer!r}", path.upper().encode() + trailer) for trailer in _TRAILERS)


def _cases(path: str) -> Iterator[tuple[str, bytes]]:
    yield "upper case", path.upper().encode()
    yield "lower case", path.lower().encode()
    yield "title case", path.title().encode()
    yield "swapped case", path.swapcase().encode()
    yield "alternating case", "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(path)).encode()


def _escapes(path: str) -> Iterator[tuple[str, bytes]]:
    plain = path.encode()
    places = [place for place in range(1, len(plain)) if plain[place : place + 1] != b"/"]
    for place in places:
        byte = plain[place]
        for how, form in (
            ("escaped", b"%%%02X" % byte),
            ("escaped in lower case", b"%%%02x" % byte),
            ("escaped in the other case", b"%%%02X" % ord(chr(byte).swapcase())),
            ("escaped twice", b"%%25%02X" % byte),
            ("escaped in pieces", b"%" + b"".join(b"%%%02X" % digit for digit in b"%02x" % byte)),
            ("escaped three times", b"%%2525%02X" % byte),
            ("escaped as UTF-16", b"%%u00%02x" % byte),
            ("overlong in two bytes", b"%%c%x%%%02x" % (byte >> 6, 0x80 | byte & 0x3F)),
            ("overlong in three bytes", b"%%e0%%%02x%%%02x" % (0x80 | byte >> 6, 0x80 | byte & 0x3F)),
            ("with high bit", b"%%%02X" % (byte | 0x80)),
        ):
            yield f"{chr(byte)} at {place} {how}", plain[:place] + form + plain[place + 1 :]
    yield "everything escaped", b"/" + b"".join(b"/" if c == 0x2F else b"%%%02x" % c for c in plain[1:])
    for place, byte in enumerate(plain):
        if byte == 0x2F:
            for form in (
                b"%2f",
                b"%2F",
                b"%5c",
                b"\\",
                b"%252f",
                b"%c0%af",
                b"%e0%80%af",
                b"%u002f",
                b"%u2215",
                b"%ef%bc%8f",
                b"/%2f",
                b"%2f/",
            ):
                yield f"slash at {place} as {form!r}", plain[:place] + form + plain[place + 1 :]


def _unicode(path: str) -> Iterator[tuple[str, bytes]]:
    for place, character in enumerate(path):
        if not character.isalpha():
            continue
        wide = chr(ord(character) + 0xFEE0)
        forms = [
            wide,
            wide.upper(),
            character + "\u0301",
            character + "\u200b",
            character + "\u00ad",
            character + "\ufe0f",
            *_LOOKALIKES.get(character.lower(), ()),
        ]
        for form in forms:
            raw = form.encode()
            escaped = b"".join(b"%%%02X" % byte for byte in raw)
            for how, piece in (("escaped", escaped), ("raw", raw)):
                yield f"{form!a} at {place}, {how}", path[:place].encode() + piece + path[place + 1 :].encode()


def _slashes(path: str) -> Iterator[tuple[str, bytes]]:
    plain = path.encode()
    for place, byte in enumerate(plain):
        if byte == 0x2F:
            for form in (
                b"//",
                b"///",
                b"/./",
                b"/%2e/",
                b"/x/../",
                b"/x/%2e%2e/",
                b"/;/",
                b"/;x/",
                b"/%20/",
                b"/(S(x))/",
                b"/..;/",
                b"/x/..;/",
            ):
                yield f"{form!r} at {place}", plain[:place] + form + plain[place + 1 :]


def _parameters(path: str) -> Iterator[tuple[str, bytes]]:
    segments = path.encode().split(b"/")[1:]
    for place, segment in enumerate(segments):
        for form in (b";", b";x", b";x=1;y", b"%3bx", b".", b"%20", b"..", b"%00", b"%09", b"(S(x))", b"\xef\xbc\x9bx"):
            yield (
                f"{form!r} after segment {place}",
                b"/" + b"/".join((*segments[:place], segment + form, *segments[place + 1 :])),
            )


def _overrides(path: bytes, query: bytes, method: str) -> Iterator[Spelling]:
    tail = b"?" + query if query else b""
    for sent in ("GET", "POST", "PUT"):
        if sent == method:
            continue
        plain = Spelling(how=f"{sent} taken for {method}", target=path + tail, method=sent)
        for name in _OVERRIDE_FIELDS:
            for value in (method.encode(), method.lower().encode(), b" " + method.encode() + b" "):
                yield replace(plain, how=f"{plain.how} by {name!r}", fields=((name, value),))
        for form in _OVERRIDE_QUERIES:
            mark = b"&" if query else b"?"
            yield replace(plain, how=f"{plain.how} by {form!r}", target=path + tail + mark + form % method.encode())
