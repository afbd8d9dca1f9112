"""The requests of strangers, as bytes. Pure: each function gives what is sent; `cases` sends it and asks the application what arrived."""

from collections.abc import Iterator

from gateway.operations.probe.spellings import Spelling, spellings

MARK = "evil7531"
FORM = b"application/x-www-form-urlencoded"
PASSWORD = b"grant_type=password&username=a%40b.example&password=" + MARK.encode()

# Each is what some server, gateway or framework takes for the path, the host, the method or the person (C-10 to C-24, C-30, B-35).
_FIELDS_THAT_NAME = (
    "SCRIPT_NAME", "Script_Name", "script_name", "PATH_INFO", "Path_Info", "PATH_TRANSLATED", "REQUEST_URI", "REQUEST_METHOD", "DOCUMENT_ROOT", "SCRIPT_FILENAME", "DOCUMENT_URI", "QUERY_STRING",
    "REMOTE_USER", "Remote_User", "Remote-User", "AUTH_TYPE", "REMOTE_ADDR", "REMOTE_IDENT", "AUTH_USER", "SERVER_NAME", "HTTP_HOST", "UWSGI_SCHEME", "wsgi.url_scheme", "REDIRECT_URL",
    "X_Forwarded_User", "X-Forwarded_User", "X_Forwarded-User", "x_forwarded_email", "X.Forwarded.User", "X_Forwarded_Groups", "X_Doorward_Jwt_Assertion", "X-Forwarded-User", "X-Forwarded-Groups",
    "X-Forwarded-Email", "SM_USER", "SM-User", "iv-user", "iv_user", "iv-groups", "OIDC_CLAIM_email", "Shib-Identity-Provider", "X-Userinfo", "X-Scope-OrgID", "WL-Proxy-Client-Cert",
    "WL-Proxy-Client-IP", "X-Forwarded-Login", "X-WEBAUTH-USER", "X-Remote-User", "X_Remote_User", "X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "X_Rewrite_URL", "X-Forwarded-Uri",
    "X-Forwarded-Prefix", "X_Forwarded_Prefix", "Proxy", "X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-Method-Override", "X-HTTP-Method", "SSL_CLIENT_S_DN", "X-Forwarded-Client-Cert",
)  # fmt: skip
# Their names are within the grammar of those that pass, or in no table: they may arrive, and must do nothing.
_FIELDS_LIKE_THEM = ("SCRIPT-NAME", "Script-Name", "PATH-INFO", "HTTPS", "X-Original-URI", "X-Forwarded-Path", "X-Envoy-Original-Path", "X-Script-Name")  # fmt: skip
# What a path becomes when its beginning is called the application's mount point, or a field is believed to be the path.
_MOUNTED = (
    ("/assets/admin/users", "/assets"),
    ("/assets/login", "/assets"),
    ("/assets/x", "/admin/users"),
    ("/assets/x", "/login"),
)
_SMUGGLED = b"GET /admin/smuggled HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"


def request(
    host: str, target: str | bytes, method: str = "GET", fields: bytes = b"", body: bytes = b"", *, close: bool = True
) -> bytes:
    """`fields` are whole lines with their line ends. A body gets a Content-Length."""
    wire = target.encode() if isinstance(target, str) else target
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    end = b"Connection: close\r\n" if close else b""
    head = method.encode() + b" " + wire + b" HTTP/1.1\r\nHost: " + host.encode() + b"\r\n"
    return head + fields + length + end + b"\r\n" + body


def fields_that_name(host: str) -> Iterator[bytes]:
    """GET and POST with one such field; among them every spelling of SCRIPT_NAME with each path that it would open (C-10, C-30)."""
    for name in (*_FIELDS_THAT_NAME, *_FIELDS_LIKE_THEM):
        for target, value in _MOUNTED:
            yield request(host, target, fields=f"{name}: {value}\r\n".encode())
        if name in _FIELDS_THAT_NAME:
            yield request(host, "/assets/x", fields=f"{name}: {MARK}\r\n".encode())
        login = b"Content-Type: " + FORM + b"\r\n" + f"{name}: /assets\r\n".encode()
        yield request(host, "/assets/login", "POST", login, b"email=a%40b.example&password=x")


def twins(host: str) -> Iterator[bytes]:
    """A field beside the one that a server which writes `-` as `_` takes for the same (C-30)."""
    for name, value in (
        ("Content_Type", MARK), ("Content_Length", "5"), ("Transfer_Encoding", "chunked"), ("X_Forwarded_For", MARK), ("X_Forwarded_Proto", MARK), ("X_Forwarded_Host", MARK), ("User_Agent", MARK),
    ):  # fmt: skip
        hyphens = name.replace("_", "-")
        body = b"a=b" if name.startswith("Content") else b""
        for lines in (
            f"{name}: {value}\r\n",
            f"{hyphens}: x\r\n{name}: {value}\r\n",
            f"{name}: {value}\r\n{hyphens}: x\r\n",
        ):
            if hyphens in ("Content-Length", "Transfer-Encoding") and hyphens in lines:
                continue
            yield request(host, "/assets/x", "POST" if body else "GET", lines.encode(), body)


def trailers(host: str) -> Iterator[bytes]:
    """The same at the end of a chunked body (B-15)."""
    for name, value in (("SCRIPT_NAME", "/assets"), ("Script-Name", "/assets"), ("X_Forwarded_User", MARK), ("X-Forwarded-User", MARK), ("REMOTE_USER", MARK), ("Content_Length", "0")):  # fmt: skip
        fields = b"Transfer-Encoding: chunked\r\nTrailer: " + name.encode() + b"\r\nContent-Type: " + FORM + b"\r\n"
        last = f"{name}: {value}\r\n".encode()
        yield request(host, "/assets/admin/users", "POST", fields) + b"3\r\na=b\r\n0\r\n" + last + b"\r\n"


def options(host: str) -> Iterator[bytes]:
    """OPTIONS with what a password request has (C-12, C-18)."""
    form = b"Content-Type: " + FORM + b"\r\n"
    origin = b"Origin: https://a.example\r\n"
    asking = b"Access-Control-Request-Method: POST\r\n"
    for target, body in (
        ("/api/token", PASSWORD),
        ("/login", b"email=a&password=" + MARK.encode()),
        ("/signin", b"password=x"),
    ):
        for extra in (
            b"",
            origin,
            asking,
            origin + asking,
            b"X-HTTP-Method-Override: POST\r\n",
            origin + asking + b"X-HTTP-Method-Override: POST\r\n",
        ):
            yield request(host, target, "OPTIONS", extra + form, body)
            chunk = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
            yield request(host, target, "OPTIONS", extra + form + b"Transfer-Encoding: chunked\r\n") + chunk
            if extra != origin + asking:  # that would be a preflight, which runs nothing
                yield request(host, target + "?" + body.decode(), "OPTIONS", extra)
            yield request(host, target + "?_method=POST", "OPTIONS", extra + form, body)


def closed_spellings(host: str, every: int) -> Iterator[bytes]:
    """What is closed for strangers in other spellings, one of `every` of those that are known, and those of front controllers (C-10 to C-12)."""
    for path, method, body in (("/login", "POST", b"password=x"), ("/api/token", "POST", PASSWORD), ("/admin/users", "GET", b"")):  # fmt: skip
        for place, spelling in enumerate(spellings(path, method=method)):
            if place % every == 0 or place < 10:
                yield _spelled(host, spelling, method, body)
    for target in _front_controllers("/admin/users"):
        yield request(host, target)
    for target in _front_controllers("/login"):
        yield request(host, target, "POST", b"Content-Type: " + FORM + b"\r\n", b"email=a&password=x")
    for target in _front_controllers("/api/token"):
        yield request(host, target, "POST", b"Content-Type: " + FORM + b"\r\n", PASSWORD)


def _front_controllers(path: str) -> Iterator[str]:
    """Scripts before and after a path, suffixes of formats, and what stands behind an action's name."""
    for script in ("index.php", "INDEX.PHP", "app.php", "app_dev.php", "index.cgi", "index.html", "index.php5", "index", "index.php;x", "index.php/.", "index.php%2f", "index%2ephp", "./index.php", "x/../index.php"):  # fmt: skip
        yield f"/{script}{path}"
        yield f"/{script}{path.upper()}"
        yield f"/{script}/x/..{path}"
        yield f"/{script}/{path}"
        yield f"/assets/../{script}{path}"
    yield f"/index.php?{path}"
    yield f"/index.php?q={path}"
    for suffix in (".1", ".php", ".php/x", ".php/", ".PHP/x", ".json", ".pdf", ".xml", "/index", "/index/1", "/index.php", ".en", ".html.en", ";x=1", ".php%00.css", "%00.css", "%0a", "/%2e", "//", "/x.css/..", ".%6ason", ".json.", "%20.1"):  # fmt: skip
        yield path + suffix


def out_of_the_public(host: str) -> Iterator[bytes]:
    """From what is open for everybody into what is not: an entry of `public` holds for the plain reading only (C-10, C-11)."""
    for up in ("..", "%2e%2e", ".%2e", "%2E.", "..;", "..;x=1", "%2e%2e;", "..%2f", "..%5c", "..\\", "..%00", "..%20", "..%09", "x/../..", "x/%2e%2e/..", "%252e%252e", "..%252f", "..%c0%af", "%c0%ae%c0%ae", "%u002e%u002e", "..%ef%bc%8f", "..."):  # fmt: skip
        for path in ("admin/users", "login", "LOGIN", "admin"):
            for join in ("/", "//", "%2f", "\\", "/./", "/;/"):
                yield request(host, f"/assets/{up}{join}{path}")
            yield request(host, f"/assets/{up}/{path}", "POST", b"Content-Type: " + FORM + b"\r\n", b"password=x")
    for target in ("//admin/users", "/assets//../admin/users", "/assets;/../admin/users", "/assets%2f..%2fadmin/users", "/assets/%2e%2e%2fadmin/users", "/./assets/../admin/users", "http://{host}/assets/../admin/users", "http://{host}/admin/users", "/assets/#/../../admin/users", "/assets?/../admin/users", "/assets/%3f/../../admin/users"):  # fmt: skip
        yield request(host, target.replace("{host}", host))


def method_overrides(host: str) -> Iterator[bytes]:
    """Who may POST to records asks to be taken for a DELETE (C-01, B-35)."""
    form, target = b"Content-Type: " + FORM + b"\r\n", "/records/1"
    for method in ("DELETE", "delete", "PUT", "Patch"):
        for name in ("X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-HTTP_Method-Override", "X-HTTP-Method", "X-Method-Override", "x-http-method-override"):  # fmt: skip
            for sent in ("POST", "GET"):
                yield request(host, target, sent, f"{name}: {method}\r\n".encode())
            yield request(host, target, "POST", form + f"{name}: {method}\r\n".encode(), b"a=b")
        for query in ("_method={}", "_METHOD={}", "%5Fmethod={}", "a=b&_method={}", "a=b;_method={}", "_method%00x={}", "_method[]={}", "_method={}&_method=POST", "_method=POST&_method={}", "%u005fmethod={}", ".method={}", "+_method={}", "%20_method={}"):  # fmt: skip
            asked = query.format(method).encode()
            yield request(host, f"{target}?{asked.decode()}", "POST", form, b"a=b")
            yield request(host, f"{target}?{asked.decode()}", "POST")
            for kind in (form, b"", b"Content-Type: application/x-www-form-urlencoded; charset=utf-16\r\n", b"Content-Type: application/x-www-form-urlencoded; charset=ibm037\r\n", b"Content-Type: application/x-www-form-urlencoded;x\r\n", b"Content-Type: APPLICATION/x-www-form-urlencoded\r\n", b"Content-Type: text/plain\r\n"):  # fmt: skip
                yield request(host, target, "POST", kind, asked)
        part = f'--x\r\nContent-Disposition: form-data; name="_method"\r\n\r\n{method}\r\n--x--\r\n'.encode()
        yield request(host, target, "POST", b"Content-Type: multipart/form-data; boundary=x\r\n", part)
        yield request(host, target, "POST", b"Content-Type: application/json\r\n", f'{{"_method":"{method}"}}'.encode())


def smuggled(host: str) -> Iterator[bytes]:
    """A request in a body whose end could be read in two ways (B-10 to B-18, C-30)."""
    inner = _SMUGGLED.replace(b"HOST", host.encode())
    size, chunked = b"%x" % len(inner), b"Transfer-Encoding: chunked\r\n"
    cut = b"0\r\n\r\n" + inner

    def post(fields: bytes, body: bytes, target: str = "/assets/x") -> bytes:
        return request(host, target, "POST", fields, close=False) + body

    both = b"Content-Length: %d\r\n" % len(cut)
    for coding in (b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding: ,chunked", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer_Encoding: chunked", b"Transfer-Encoding:\r\n chunked", b"X: y\r\n\tTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\x0b", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding", b"Transfer-Encoding: chunked;x=1"):  # fmt: skip
        yield post(coding + b"\r\n" + both, cut)
        yield post(both + coding + b"\r\n", cut)
        yield post(coding + b"\r\n", cut)
    for length in (b"Content-Length: 0\r\nContent-Length: %d\r\n", b"Content-Length: %d\r\nContent-Length: 0\r\n", b"Content-Length: +%d\r\n", b"Content-Length: 0, %d\r\n", b"Content_Length: %d\r\n", b"Content-Length: 0\r\nContent_Length: %d\r\n", b"Content-Length: %d\r\nContent_Length: 0\r\n", b"Content-Length : %d\r\n", b"Content-Length: \r\n %d\r\n", b"Content-Length:\x0b%d\r\n"):  # fmt: skip
        yield post(length % len(inner), inner)
    for first in (b"%s;\n", b"%s;a\n", b"%s\n", b"%s \r\n", b"0x%s\r\n", b"+%s\r\n", b"%s;a=\"\r\n", b"%s;\r\r\n", b"%s\r\r\n", b"00000000000000000%s\r\n", b"%s;a=b\xff\r\n", b"1_%s\r\n", b"%s; a = b\r\n", b";%s\r\n", b"\r\n%s\r\n"):  # fmt: skip
        yield post(chunked, first % size + inner + b"\r\n0\r\n\r\n")
        yield post(chunked, first % b"0" + b"\r\n" + inner)
    yield post(chunked, b"1\r\naXX0\r\n\r\n" + inner)
    yield post(chunked, b"1;" + b"a" * 70000 + b"\r\na\r\n" + cut)
    yield post(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(inner), inner)
    yield post(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", inner)
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        yield request(host, "/assets/x", method, b"Content-Length: %d\r\n" % len(inner), close=False) + inner
        yield request(host, "/assets/x", method, chunked, close=False) + size + b"\r\n" + inner + b"\r\n0\r\n\r\n"


def unread(host: str) -> Iterator[bytes]:
    """A request in a body that the application does not read: the server may take it for the next one (B-02, B-18).

    By then its end is told in one way only, so nothing is odd about it.
    """
    inner = _SMUGGLED.replace(b"HOST", host.encode())
    for target in ("/assets/pay", "/assets/cached", "/assets/empty", "/assets/kept", "/assets/large"):
        for method in ("POST", "GET", "PUT", "HEAD"):
            for kind in (b"", b"Content-Type: " + FORM + b"\r\n"):
                for body in (inner, inner * 40, b"x" * 70000 + inner):
                    length = b"Content-Length: %d\r\n" % len(body)
                    yield request(host, target, method, kind + length, close=False) + body
                    chunk = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
                    yield request(host, target, method, kind + b"Transfer-Encoding: chunked\r\n", close=False) + chunk


def schemes(host: str) -> Iterator[bytes]:
    """An Authorization that carries a password, or its proof (C-12)."""
    for scheme in (f"Basic {MARK}", f'Digest username="{MARK}", realm="x", nonce="x", uri="/", response="x"', f"NTLM {MARK}", f"SCRAM-SHA-256 data={MARK}", f"scram-sha-1 data={MARK}", f"dIgEsT username={MARK}", f"Bearer x, Basic {MARK}", f"\tBasic {MARK}", f"NTLM  {MARK}"):  # fmt: skip
        yield request(host, "/assets/own/1", fields=f"Authorization: {scheme}\r\n".encode())
        yield request(
            host,
            "/api/token",
            "POST",
            f"Authorization: {scheme}\r\n".encode(),
            b"grant_type=refresh_token&refresh_token=x",
        )


def handshake(host: str, target: str, extra: str = "") -> bytes:
    """A WebSocket, as RFC 6455 has it."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version: 13", f"Origin: http://{host}"]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()


def handshakes(host: str) -> Iterator[bytes]:
    """Where an entry of `public` opens pages, not sockets; and where rules close the page (C-19)."""
    for target in (
        "/admin/ws",
        "/login",
        "/assets/../admin/ws",
        "/ADMIN/ws",
        "/profile/ws",
        "/assets/ws",
        "/assets/admin/ws",
    ):
        yield handshake(host, target)
        yield handshake(host, target, "SCRIPT_NAME: /assets\r\n")


def destinations(host: str) -> Iterator[bytes]:
    """COPY and MOVE of a stranger's own file to what is closed (RFC 4918, section 10.3)."""
    for method in ("COPY", "MOVE"):
        for target in ("/admin/planted", "/assets/../admin/planted", "/%61dmin/planted", "/assets/%2e%2e/admin/planted", "//admin/planted", "/admin/./planted", "/ADMIN/../admin/planted"):  # fmt: skip
            for before in ("", f"http://{host}", f"https://{host}", f"HTTP://{host.upper()}"):
                for name in ("Destination", "destination"):
                    fields = f"{name}: {before}{target}\r\nOverwrite: T\r\n".encode()
                    yield request(host, "/assets/mine", method, fields)


def destinations_out_of(host: str) -> Iterator[bytes]:
    """From what is closed to where a stranger may read."""
    for method in ("COPY", "MOVE"):
        for target in ("/admin/users", "/assets/../admin/users", "/%61dmin/users", "/ADMIN/users"):
            yield request(host, target, method, f"Destination: http://{host}/assets/taken\r\n".encode())


def _spelled(host: str, spelling: Spelling, method: str, body: bytes) -> bytes:
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in spelling.fields)
    used = spelling.method or method
    sent = b"" if used == "GET" else body
    return request(host, spelling.target, used, (b"Content-Type: " + FORM + b"\r\n" if sent else b"") + fields, sent)
