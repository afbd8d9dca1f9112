"""What to knock with: for each rule, the requests that it is about, written in every way that somebody may try.

Pure. A knock is a whole request in bytes but for what differs from door to door (host and request id). Each carries a password request that
some upstream would understand, so a shut door answers every one of them with a refusal of its own.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.config.schema import PasswordRule, PasswordWhen
from gateway.config.values import METHODS
from gateway.operations.probe.spellings import spellings

FORM: Final = b"application/x-www-form-urlencoded"
JSON: Final = b"application/json"
_USUAL: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_UNREGISTERED: Final = "FROBNICATE"
_BODYLESS: Final = ("GET", "HEAD")
_LANGUAGES: Final = ("/en", "/pt-br")
_ANY: Final = "x"  # the value where a rule takes any
_NUMBER: Final = "77"  # the name where a path takes any
_BASIC: Final = b"YTpi"  # a:b
#: Credentials of other schemes that carry a password or its proof.
_PROOFS: Final = (
    b'Digest username="a", realm="r", nonce="n", uri="/", response="x"', b"NTLM TlRMTVNTUAABAAAA", b"Negotiate YIIJ", b"SCRAM-SHA-256 data=biws",
    b"SCRAM-SHA-1 data=biws", b'Mutual user="a", kc1="x"', b'WSSE profile="UsernameToken"', b"LDAP YTpi",
)  # fmt: skip
_LONG: Final = 96 * 1024  # more than a door reads

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request that a rule is about, plainly written."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    kind: bytes = FORM
    fields: Fields = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One request. `rule` is whose it is, `group` the kind of trick, `how` the trick.

    `{host}` in `host` and `target` stands for the door's own; no `host`: no Host field. `framed`: Content-Length is added.
    """

    rule: str
    group: str
    how: str
    method: str
    target: bytes
    fields: Fields = ()
    body: bytes = b""
    host: str | None = "{host}"
    version: bytes = b"1.1"
    framed: bool = True

    def written(self, host: str, request_id: str) -> bytes:
        """The bytes to send."""
        lines = [b"%b %b HTTP/%b" % (self.method.encode(), self.target.replace(b"{host}", host.encode()), self.version)]
        if self.host is not None:
            name, colon, port = host.partition(":")
            said = self.host.format(host=host, upper=host.upper(), dotted=f"{name}.{colon}{port}")
            lines.append(b"Host: " + said.encode("latin-1"))
        lines += [name + b": " + value for name, value in self.fields]
        lines += [b"Accept: application/json", b"X-Request-Id: " + request_id.encode()]
        if self.framed and (self.body or self.method not in _BODYLESS):
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def asks(rule: PasswordRule) -> Iterator[Ask]:
    """The requests that a rule is about: for a path that takes any name, one of them; for `X/**`, `X` and what is below."""
    methods, glob = rule.match.split()
    method = "POST" if methods == "*" else methods.split(",")[0]
    when = rule.when or PasswordWhen()
    body, kind = b"", FORM
    if when.form:
        body = "&".join(f"{name}={_value(value)}" for name, value in when.form.items()).encode()
    elif when.json_:
        body, kind = json.dumps({name: _value(value) for name, value in when.json_.items()}).encode(), JSON
    query = "&".join(f"{name}={_value(value)}" for name, value in when.query.items())
    fields = tuple((name.encode(), _value(value).encode()) for name, value in when.header.items())
    for path in _paths(glob):
        yield Ask(method=method, path=path, query=query, body=body, kind=kind, fields=fields)


def knocks(name: str, rule: PasswordRule) -> Iterator[Knock]:
    """Everything to try against one rule; the first of each path is the request as it is."""
    for ask in asks(rule):
        plain = Knock(
            rule=name, group="as it is", how=f"{ask.method} {ask.path}", method=ask.method, target=_target(ask),
            fields=_typed(ask), body=ask.body,
        )  # fmt: skip
        yield plain
        for spelling in spellings(ask.path, ask.query, method=ask.method, languages=_LANGUAGES):
            group = "path" if spelling.method is None else "method override"
            yield replace(
                plain, group=group, how=spelling.how, target=spelling.target, method=spelling.method or ask.method,
                fields=(*plain.fields, *spelling.fields),
            )  # fmt: skip
        yield from _methods(plain, rule)
        yield from _options(plain, ask)
        yield from _hosts(plain)
        yield from _forms_of_the_line(plain)
        yield from _bodies(plain, ask)


def basic_knocks() -> Iterator[Knock]:
    """HTTP Basic, which carries a password with any request, and other schemes that carry one or its proof."""
    plain = Knock(rule="basic", group="Basic", how="", method="GET", target=b"/")
    for path in (b"/", b"/api/x", b"/assets/x.css", b"/a/b/c?d=e"):
        for scheme in (b"Basic", b"basic", b"BASIC", b"BaSiC", b"\tBasic", b"Basic "):
            yield replace(plain, how=f"{scheme!r}", target=path, fields=((b"Authorization", scheme + b" " + _BASIC),))
        for name, field in (
            ("in another case", (b"aUTHORIZATION", b"Basic " + _BASIC)),
            ("after another", (b"Authorization", b"Bearer x, Basic " + _BASIC)),
            ("in X-Authorization", (b"X-Authorization", b"Basic " + _BASIC)),
            ("in X-WSSE", (b"X-WSSE", b'UsernameToken Username="a", PasswordDigest="x"')),
        ):
            yield replace(plain, how=name, target=path, fields=(field,))
        two = ((b"Authorization", b"Bearer x"), (b"Authorization", b"Basic " + _BASIC))
        yield replace(plain, how="in a second field", target=path, fields=two)
        for credentials in _PROOFS:
            scheme = credentials.partition(b" ")[0]
            for how, value in (
                (f"{scheme.decode()}", credentials),
                (f"{scheme.decode()} after another", b"Bearer x, " + credentials),
            ):
                yield replace(plain, group="other schemes", how=how, target=path, fields=((b"Authorization", value),))


def _value(expected: str) -> str:
    return _ANY if expected == "*" else expected


def _paths(glob: str) -> Iterator[str]:
    """Examples of a glob: `**` in front is nothing, or a folder."""
    starts = [glob.removeprefix("/**"), "/folder" + glob.removeprefix("/**")] if glob.startswith("/**/") else [glob]
    for start in starts:
        if start == "/**":
            yield from ("/", "/anything")
        elif start.endswith("/**"):
            yield from (
                start.removesuffix("/**").replace("*", _NUMBER),
                start.replace("/**", "/more").replace("*", _NUMBER),
            )
        else:
            yield start.replace("*", _NUMBER)


def _target(ask: Ask) -> bytes:
    return (ask.path + ("?" + ask.query if ask.query else "")).encode()


def _typed(ask: Ask) -> Fields:
    return (((b"Content-Type", ask.kind),) if ask.body else ()) + ask.fields


def _methods(plain: Knock, rule: PasswordRule) -> Iterator[Knock]:
    """Every other method that the rule names; where it names none, every method that is registered, and one that is not, with a body."""
    named, _ = rule.match.split()
    methods: Sequence[str] = _USUAL if named == "*" else (*named.split(","),)
    if "GET" in methods and "HEAD" not in methods:
        methods = (*methods, "HEAD")
    for method in methods:
        if method != plain.method and (not plain.body or method not in _BODYLESS):
            yield replace(plain, group="method", how=method, method=method)
    if named == "*":
        for method in (*sorted(METHODS - {"OPTIONS", plain.method}), _UNREGISTERED):
            yield replace(_with_a_body(plain), group="any method", how=f"{method} with a body", method=method)


def _options(plain: Knock, ask: Ask) -> Iterator[Knock]:
    """OPTIONS, with everything that a preflight may have, and more than one has. What is only a preflight may pass, so it says nothing."""
    asked = replace(plain, group="OPTIONS", method="OPTIONS")
    bare = replace(asked, fields=ask.fields, body=b"")
    full = _with_a_body(asked)
    preflight = ((b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", plain.method.encode()))
    yield replace(bare, how="bare")
    yield replace(full, how="with a body")
    yield replace(full, how="a preflight with a body", fields=(*full.fields, *preflight))
    some = replace(bare, group="any method")
    chunked = (b"Transfer-Encoding", b"chunked")
    yield replace(some, how="with Origin alone", fields=(*bare.fields, preflight[0]))
    yield replace(
        some,
        how="a preflight with no chunks",
        fields=(*bare.fields, *preflight, chunked),
        body=b"0\r\n\r\n",
        framed=False,
    )
    override = (b"X-HTTP-Method-Override", plain.method.encode())
    yield replace(some, how="a preflight taken for another method", fields=(*bare.fields, *preflight, override))
    mark = b"&" if ask.query else b"?"
    yield replace(
        some,
        how="a preflight with _method",
        fields=(*bare.fields, *preflight),
        target=plain.target + mark + b"_method=" + override[1],
    )


def _with_a_body(plain: Knock) -> Knock:
    return plain if plain.body else replace(plain, body=b"x=1", fields=((b"Content-Type", FORM), *plain.fields))


def _hosts(plain: Knock) -> Iterator[Knock]:
    """The same host, otherwise written."""
    for how, host in (
        ("upper case", "{upper}"), ("a dot behind", "{dotted}"), ("spaces around", "  {host}  "), ("another host", "other.invalid"),
        ("none", None), ("an address", "127.0.0.1"), ("a name before an @", "x@{host}"), ("two", "{host}, {host}"),
    ):  # fmt: skip
        yield replace(plain, group="host", how=how, host=host)
    twice = replace(plain, group="host", how="two fields", fields=(*plain.fields, (b"Host", b"other.invalid")))
    yield twice
    for name in (b"X-Forwarded-Host", b"X-Host", b"Forwarded"):
        yield replace(
            plain, group="host", how=f"{name.decode()} besides", fields=(*plain.fields, (name, b"other.invalid"))
        )


def _forms_of_the_line(plain: Knock) -> Iterator[Knock]:
    for how, start in (
        ("http", b"http://{host}"), ("HTTP", b"HTTP://{host}"), ("https", b"https://{host}"), ("another host", b"http://other.invalid"),
        ("user information", b"http://x@{host}"), ("another scheme", b"ftp://{host}"),
    ):  # fmt: skip
        yield replace(plain, group="absolute-form", how=how, target=start + plain.target)
    yield replace(plain, group="HTTP/1.0", how="with Host", version=b"1.0")
    yield replace(plain, group="HTTP/1.0", how="without Host", version=b"1.0", host=None)
    for version in (b"0.9", b"1.2", b"2.0"):
        yield replace(plain, group="HTTP/1.0", how=f"as HTTP/{version.decode()}", version=version)
    for name in (b"X-Original-URL", b"X-Rewrite-URL", b"X-Forwarded-Uri", b"X-Original-URI"):
        fields = (*plain.fields, (name, b"/"))
        yield replace(plain, group="header", how=f"{name.decode()}: /", fields=fields)


def _bodies(plain: Knock, ask: Ask) -> Iterator[Knock]:
    """The same body, labelled or packed otherwise; only where a rule reads it."""
    if not ask.body:
        return
    made = replace(plain, group="body")
    yield from _labels(made, ask)
    yield from (replace(made, how=how, body=body) for how, body in _contents(ask))
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ask.body), ask.body)
    yield replace(
        made, how="chunked", body=chunked, framed=False, fields=(*made.fields, (b"Transfer-Encoding", b"chunked"))
    )
    one = b"".join(b"1\r\n%c\r\n" % byte for byte in ask.body) + b"0\r\n\r\n"
    yield replace(
        made,
        how="chunked byte by byte",
        body=one,
        framed=False,
        fields=(*made.fields, (b"Transfer-Encoding", b"chunked")),
    )
    query = ask.body.decode() if ask.kind == FORM else "&".join(f"{k}={v}" for k, v in json.loads(ask.body).items())
    yield replace(
        made, how="in the query", target=plain.target + (b"&" if ask.query else b"?") + query.encode(), body=b"x=1"
    )


def _labels(made: Knock, ask: Ask) -> Iterator[Knock]:
    """Other Content-Types and codings for the same bytes."""
    without = tuple(field for field in made.fields if field[0] != b"Content-Type")
    types = (
        b"text/plain", b"application/octet-stream", ask.kind.upper(), ask.kind + b"; charset=utf-8", ask.kind + b"; charset=utf-16",
        ask.kind + b";charset=ibm037", ask.kind + b", text/plain", b"multipart/form-data; boundary=x", b"application/xml", b"",
        JSON if ask.kind == FORM else FORM,
    )  # fmt: skip
    for label in types:
        yield replace(made, how=f"Content-Type: {label.decode()}", fields=(*without, (b"Content-Type", label)))
    yield replace(made, how="no Content-Type", fields=without)
    yield replace(made, how="two Content-Types", fields=(*made.fields, (b"Content-Type", b"text/plain")))
    for coding in (b"gzip", b"identity", b"br", b"gzip, gzip"):
        body = gzip.compress(ask.body, mtime=0) if coding == b"gzip" else ask.body
        how = f"Content-Encoding: {coding.decode()}"
        yield replace(made, how=how, body=body, fields=(*made.fields, (b"Content-Encoding", coding)))


def _contents(ask: Ask) -> Iterable[tuple[str, bytes]]:
    return _form_contents(ask.body) if ask.kind == FORM else _json_contents(ask.body)


def _form_contents(body: bytes) -> Iterator[tuple[str, bytes]]:
    name, _, value = body.partition(b"&")[0].partition(b"=")
    rest = body.partition(b"&")[2]
    tail = b"&" + rest if rest else b""
    yield "upper case", body.upper()
    yield "escaped value", name + b"=" + _escaped(value) + tail
    yield "escaped name", _escaped(name) + b"=" + value + tail
    yield "after another field", b"x=1&" + body
    yield "a blank around the value", name + b"=+" + value + b"+" + tail
    yield "twice, harmless first", name + b"=refresh_token&" + body
    yield "twice, harmless last", body + b"&" + name + b"=refresh_token"
    yield "behind a semicolon", b"x=1;" + body
    yield "a byte order mark", b"\xef\xbb\xbf" + body
    yield "as an array", name + b"[]=" + value + tail
    yield "in an object", b"user[" + name + b"]=" + value + tail
    yield "a null byte in the name", name + b"%00=" + value + tail
    yield "longer than is read", body + b"&x=" + b"x" * _LONG
    yield "as JSON in the form", json.dumps({name.decode(): value.decode()}).encode()


def _json_contents(body: bytes) -> Iterator[tuple[str, bytes]]:
    data: Mapping[str, str] = json.loads(body)
    first, value = next(iter(data.items()))
    yield "upper case names", json.dumps({name.upper(): text for name, text in data.items()}).encode()
    yield "escaped names", ("{" + f'"{_unicode(first)}":"{value}"' + "}").encode()
    yield "in an object", json.dumps({"user": data}).encode()
    yield "in a list", json.dumps({"users": [data]}).encode()
    yield "twice, empty last", body[:-1] + f',"{first}":""'.encode() + b"}"
    yield "twice, empty first", f'{{"{first}":"",'.encode() + body[1:]
    yield "with a comment", b"/* x */" + body
    yield "a byte order mark", b"\xef\xbb\xbf" + body
    yield "as UTF-16", body.decode().encode("utf-16")
    yield "two documents", body + body
    yield "a trailing comma", body[:-1] + b",}"
    yield "in an array at the top", b"[" + body + b"]"


def _escaped(text: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in text)


def _unicode(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)
