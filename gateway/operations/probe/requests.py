"""The requests of a probe: for each rule, its password requests in every form that an attacker may try.

Pure. A ProbeRequest is a whole request in bytes, except for host and request ID. Each is a request that some upstream would understand as
the rule's: a gateway with closed password routes refuses all of a password rule, and lets no stranger through with those of an access rule.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.config.schema import PasswordRule, PasswordWhen, Rule
from gateway.config.values import METHODS
from gateway.operations.probe.row_spellings import row_spellings, spelled_names
from gateway.operations.probe.spellings import spellings
from gateway.policy.readings import EVERY, Model
from gateway.policy.routes import parse_match

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
_LONG: Final = 96 * 1024  # more than a gateway reads

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRequest:
    """A request that a rule blocks, in its plain form."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    kind: bytes = FORM
    fields: Fields = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One request. `rule` is the name of its rule, `group` the kind of variation, `how` the variation.

    `{host}` in `host` and `target` stands for the gateway's own; no `host`: no Host field. `framed`: Content-Length is added.
    `restricting`: the rule is an access rule, for which a sign-in is a refusal.
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
    restricting: bool = False

    def to_bytes(self, host: str, request_id: str) -> bytes:
        """The bytes to send."""
        lines = [b"%b %b HTTP/%b" % (self.method.encode(), self.target.replace(b"{host}", host.encode()), self.version)]
        if self.host is not None:
            name, colon, port = host.partition(":")
            value = self.host.format(host=host, upper=host.upper(), dotted=f"{name}.{colon}{port}")
            lines.append(b"Host: " + value.encode("latin-1"))
        lines += [name + b": " + value for name, value in self.fields]
        lines += [b"Accept: application/json", b"X-Request-Id: " + request_id.encode()]
        if self.framed and (self.body or self.method not in _BODYLESS):
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def password_requests(rule: PasswordRule) -> Iterator[PasswordRequest]:
    """The requests that a rule blocks: for a path with any name, one example; for `X/**`, `X` and a path below it."""
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
        yield PasswordRequest(method=method, path=path, query=query, body=body, kind=kind, fields=fields)


def access_requests(name: str, rule: Rule, model: Model = EVERY) -> Iterator[ProbeRequest]:
    """All requests for one access rule. Handshakes of WebSockets are not among them."""
    for text in rule.match:
        named, glob = text.split()
        methods = ",".join(method for method in named.split(",") if method != "WEBSOCKET")
        if methods:
            route = PasswordRule.model_validate({"match": f"{methods} {glob}"})
            for request in probe_requests(f"{name}: {text}", route, model, languages=()):
                # The gateway takes these fields out, and a rule for other methods leaves OPTIONS alone.
                by_field = request.group == "method override" and request.fields
                if not by_field and (methods == "*" or request.method != "OPTIONS"):
                    yield replace(request, restricting=True)


def probe_requests(
    name: str, rule: PasswordRule, model: Model = EVERY, *, languages: Sequence[str] = _LANGUAGES
) -> Iterator[ProbeRequest]:
    """All requests for one rule; the first of each path is the plain one. `model`: the rows whose spellings are tried."""
    for wanted in password_requests(rule):
        plain = ProbeRequest(
            rule=name, group="as it is", how=f"{wanted.method} {wanted.path}", method=wanted.method, target=_target(wanted),
            fields=_typed(wanted), body=wanted.body,
        )  # fmt: skip
        yield plain
        sent = {plain.target}
        for spelling in spellings(wanted.path, wanted.query, method=wanted.method, languages=languages):
            sent.add(spelling.target)
            group = "path" if spelling.method is None else "method override"
            yield replace(
                plain, group=group, how=spelling.how, target=spelling.target, method=spelling.method or wanted.method,
                fields=(*plain.fields, *spelling.fields),
            )  # fmt: skip
        for request in _readings(plain, wanted, rule, model):
            if request.target not in sent or request.method != plain.method or request.body != plain.body:
                yield request
        yield from _overrides_by_name(plain, wanted, rule, model)
        yield from _methods(plain, rule)
        yield from _options(plain, wanted)
        yield from _hosts(plain)
        yield from _forms_of_the_line(plain)
        yield from _bodies(plain, wanted)
        yield from _field_names(plain, wanted, model)


def basic_requests() -> Iterator[ProbeRequest]:
    """HTTP Basic, which carries a password with any request, and other schemes that carry one or its proof."""
    plain = ProbeRequest(rule="basic", group="Basic", how="", method="GET", target=b"/")
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


def _target(wanted: PasswordRequest) -> bytes:
    return (wanted.path + ("?" + wanted.query if wanted.query else "")).encode()


def _typed(wanted: PasswordRequest) -> Fields:
    return (((b"Content-Type", wanted.kind),) if wanted.body else ()) + wanted.fields


def _readings(plain: ProbeRequest, wanted: PasswordRequest, rule: PasswordRule, model: Model) -> Iterator[ProbeRequest]:
    """What the rows read as the path; the first spelling of each trait by every method that is registered, and by OPTIONS, with bodies."""
    named, _ = rule.match.split()
    for spelling in row_spellings(wanted.path, parse_match(rule.match, model), model):
        mark = b"&" if b"?" in spelling.target else b"?"
        target = spelling.target + (mark + wanted.query.encode() if wanted.query else b"")
        made = replace(plain, group="reading", how=spelling.how, target=target)
        if spelling.form:
            form = b"&".join(filter(None, (spelling.form, _as_query(wanted))))
            made = replace(made, method="POST", body=form, fields=((b"Content-Type", FORM), *wanted.fields))
        yield made
        if spelling.first:
            full = _with_a_body(made)
            for method in sorted(METHODS - {"OPTIONS", plain.method}) if named == "*" else ():
                yield replace(full, how=f"{spelling.how}, {method} with a body", method=method)
            preflight = (*full.fields, *_preflight(plain))
            yield replace(full, how=f"{spelling.how}, OPTIONS with a body", method="OPTIONS")
            yield replace(full, how=f"{spelling.how}, a preflight with a body", method="OPTIONS", fields=preflight)


def _overrides_by_name(
    plain: ProbeRequest, wanted: PasswordRequest, rule: PasswordRule, model: Model
) -> Iterator[ProbeRequest]:
    """A POST that asks for the rule's method by a parameter, in every spelling of its name that a row reads, in the query and in the body."""
    if rule.match.startswith("* ") or plain.method in ("POST", *_BODYLESS):
        return
    made, method = replace(plain, group="method override", method="POST"), plain.method
    mark = "&" if wanted.query else "?"
    parameters = dict.fromkeys(name for row in model.rows for name in sorted(row.override.parameters))
    for parameter in parameters:
        for row, name in (("", parameter), *spelled_names(parameter, model)):
            how, pair = f"{row or 'some row'}: {name} in the", f"{name}={method}"
            yield replace(made, how=f"{how} query", target=plain.target + f"{mark}{pair}".encode())
            if wanted.kind == FORM:
                form = pair.encode() + (b"&" + wanted.body if wanted.body else b"")
                yield replace(made, how=f"{how} form", body=form, fields=((b"Content-Type", FORM), *wanted.fields))


def _field_names(plain: ProbeRequest, wanted: PasswordRequest, model: Model) -> Iterator[ProbeRequest]:
    """The form that a rule reads, with the name of its first field in every spelling that a row reads."""
    if wanted.body and wanted.kind == FORM:
        name, _, rest = wanted.body.decode().partition("=")
        for row, spelled in spelled_names(name, model):
            yield replace(plain, group="body", how=f"{row}: {spelled}", body=f"{spelled}={rest}".encode())


def _preflight(plain: ProbeRequest) -> Fields:
    return ((b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", plain.method.encode()))


def _methods(plain: ProbeRequest, rule: PasswordRule) -> Iterator[ProbeRequest]:
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


def _options(plain: ProbeRequest, wanted: PasswordRequest) -> Iterator[ProbeRequest]:
    """OPTIONS in every form of a preflight, and with more than a preflight has. A request that is only a preflight may pass."""
    options = replace(plain, group="OPTIONS", method="OPTIONS")
    bare = replace(options, fields=wanted.fields, body=b"")
    full = _with_a_body(options)
    preflight = _preflight(plain)
    yield replace(bare, how="bare")
    yield replace(full, how="with a body")
    yield replace(full, how="a preflight with a body", fields=(*full.fields, *preflight))
    some = replace(bare, group="any method")
    chunked = (b"Transfer-Encoding", b"chunked")
    yield replace(some, how="with Origin alone", fields=(*bare.fields, preflight[0]))
    yield replace(
        some,
        how="a preflight with a chunk",  # a proxy in front may take out a body without any
        fields=(*bare.fields, *preflight, chunked),
        body=b"1\r\nx\r\n0\r\n\r\n",
        framed=False,
    )
    override = (b"X-HTTP-Method-Override", plain.method.encode())
    yield replace(some, how="a preflight taken for another method", fields=(*bare.fields, *preflight, override))
    mark = b"&" if wanted.query else b"?"
    yield replace(
        some,
        how="a preflight with _method",
        fields=(*bare.fields, *preflight),
        target=plain.target + mark + b"_method=" + override[1],
    )


def _with_a_body(plain: ProbeRequest) -> ProbeRequest:
    return plain if plain.body else replace(plain, body=b"x=1", fields=((b"Content-Type", FORM), *plain.fields))


def _hosts(plain: ProbeRequest) -> Iterator[ProbeRequest]:
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


def _forms_of_the_line(plain: ProbeRequest) -> Iterator[ProbeRequest]:
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


def _bodies(plain: ProbeRequest, wanted: PasswordRequest) -> Iterator[ProbeRequest]:
    """The same body, labelled or packed otherwise; only where a rule reads it."""
    if not wanted.body:
        return
    made = replace(plain, group="body")
    yield from _labels(made, wanted)
    yield from (replace(made, how=how, body=body) for how, body in _contents(wanted))
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(wanted.body), wanted.body)
    yield replace(
        made, how="chunked", body=chunked, framed=False, fields=(*made.fields, (b"Transfer-Encoding", b"chunked"))
    )
    one = b"".join(b"1\r\n%c\r\n" % byte for byte in wanted.body) + b"0\r\n\r\n"
    yield replace(
        made,
        how="chunked byte by byte",
        body=one,
        framed=False,
        fields=(*made.fields, (b"Transfer-Encoding", b"chunked")),
    )
    mark = b"&" if wanted.query else b"?"
    yield replace(made, how="in the query", target=plain.target + mark + _as_query(wanted), body=b"x=1")


def _as_query(wanted: PasswordRequest) -> bytes:
    """The fields of the body as a query or a form."""
    if wanted.kind == FORM or not wanted.body:
        return wanted.body
    return "&".join(f"{name}={value}" for name, value in json.loads(wanted.body).items()).encode()


def _labels(made: ProbeRequest, wanted: PasswordRequest) -> Iterator[ProbeRequest]:
    """Other Content-Types and codings for the same bytes."""
    without = tuple(field for field in made.fields if field[0] != b"Content-Type")
    types = (
        b"text/plain", b"application/octet-stream", wanted.kind.upper(), wanted.kind + b"; charset=utf-8", wanted.kind + b"; charset=utf-16",
        wanted.kind + b";charset=ibm037", wanted.kind + b", text/plain", b"multipart/form-data; boundary=x", b"application/xml", b"",
        JSON if wanted.kind == FORM else FORM,
    )  # fmt: skip
    for label in types:
        yield replace(made, how=f"Content-Type: {label.decode()}", fields=(*without, (b"Content-Type", label)))
    yield replace(made, how="no Content-Type", fields=without)
    yield replace(made, how="two Content-Types", fields=(*made.fields, (b"Content-Type", b"text/plain")))
    for coding in (b"gzip", b"identity", b"br", b"gzip, gzip"):
        body = gzip.compress(wanted.body, mtime=0) if coding == b"gzip" else wanted.body
        how = f"Content-Encoding: {coding.decode()}"
        yield replace(made, how=how, body=body, fields=(*made.fields, (b"Content-Encoding", coding)))


def _contents(wanted: PasswordRequest) -> Iterable[tuple[str, bytes]]:
    return _form_contents(wanted.body) if wanted.kind == FORM else _json_contents(wanted.body)


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
