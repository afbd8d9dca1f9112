"""`redis.url`: one server, a unix socket, a Sentinel set or a cluster, with the credentials.

The URL may hold a password, so no error repeats any of it. Pure.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Kind = Literal["embedded", "server", "socket", "sentinel", "cluster"]

_ALLOWED: Final = (
    "allowed: embedded, redis://[user:password@]host[:port][/database], rediss://..., unix:///path?db=0, "
    "redis+sentinel://host[:port],host/name[/database], redis+cluster://host[:port],host "
    "(rediss+sentinel:// and rediss+cluster:// with TLS)"
)
_SCHEMES: Final[dict[str, tuple[Kind, bool, int]]] = {
    "redis": ("server", False, 6379),
    "rediss": ("server", True, 6379),
    "redis+sentinel": ("sentinel", False, 26379),
    "rediss+sentinel": ("sentinel", True, 26379),
    "redis+cluster": ("cluster", False, 6379),
    "rediss+cluster": ("cluster", True, 6379),
}
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """A parsed URL. `hosts`: the server, or the sentinels, or nodes of the cluster. `name`: that of the Sentinel set."""

    kind: Kind
    hosts: tuple[Endpoint, ...] = ()
    path: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    name: str = ""


def parse_redis_url(text: str) -> RedisUrl:
    """Raises ValueError."""
    if text == "embedded":
        return RedisUrl(kind="embedded")
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if text.startswith("unix://"):
        return _socket(parts)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"is not a Redis URL; {_ALLOWED}")
    kind, tls, port = _SCHEMES[parts.scheme]
    user, hosts = _authority(parts.netloc, port)
    if kind == "server" and len(hosts) > 1:
        raise ValueError(f"names several hosts, which only redis+sentinel:// and redis+cluster:// have; {_ALLOWED}")
    if parts.query or parts.fragment:
        raise ValueError(
            f"has options or a fragment after the host (in a password ? is %3F, # is %23 and / is %2F); {_ALLOWED}"
        )
    name, database = _path(kind, parts.path)
    return RedisUrl(kind=kind, hosts=hosts, tls=tls, username=user[0], password=user[1], database=database, name=name)


def _socket(parts: SplitResult) -> RedisUrl:
    user, at, host = parts.netloc.rpartition("@")
    if host or not parts.path.startswith("/") or parts.path == "/" or parts.fragment:
        raise ValueError(f"is not a Redis URL; {_ALLOWED}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    # SECURITY: options of the library would come before ours: ssl_cert_reqs=none switches verification off unnamed (C-21).
    if options.keys() - {"db"} or not re.fullmatch(r"[0-9]{1,4}", options.get("db", "0")):
        raise ValueError(f"has another option than db=NUMBER; {_ALLOWED}")
    username, password = _credentials(user) if at else (None, None)
    database = int(options.get("db", "0"))
    return RedisUrl(kind="socket", path=unquote(parts.path), username=username, password=password, database=database)


def _authority(netloc: str, port: int) -> tuple[tuple[str | None, str | None], tuple[Endpoint, ...]]:
    user, at, text = netloc.rpartition("@")
    hosts = []
    for one in text.split(","):
        match = _HOST.fullmatch(one)
        number = int(match[3] or port) if match is not None else 0
        if match is None or not 0 < number < 65536:
            raise ValueError(f"is not a Redis URL: it has a host that is none; {_ALLOWED}")
        hosts.append((match[1] or match[2], number))
    if len(set(hosts)) != len(hosts):
        raise ValueError(f"names a host twice; {_ALLOWED}")
    return (_credentials(user) if at else (None, None)), tuple(hosts)


def _credentials(text: str) -> tuple[str | None, str | None]:
    """`user:password`, `:password` or `user`, each percent-decoded."""
    username, colon, password = text.partition(":")
    if (colon and not password) or (not colon and not username):
        # SECURITY: an empty password fails, or admits every client: an unset variable must stop the start (C-21).
        raise ValueError(f"has an empty password; {_ALLOWED}")
    return unquote(username) or None, unquote(password) or None


def _path(kind: Kind, path: str) -> tuple[str, int]:
    """(name of the set, database)."""
    name, rest = "", path
    if kind == "sentinel":
        name, slash, database = path.removeprefix("/").partition("/")
        rest = slash + database
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name):
            raise ValueError(f"has no name of a Sentinel set after the hosts; {_ALLOWED}")
    if kind == "cluster" and rest not in ("", "/", "/0"):
        raise ValueError(f"names a database, and a cluster has none but 0; {_ALLOWED}")
    if not re.fullmatch(r"/?|/[0-9]{1,4}", rest):
        raise ValueError(f"has more than a database number after the host; {_ALLOWED}")
    return name, int(rest.removeprefix("/") or "0")
