"""Addresses: listeners, hosts as browsers write them, upstreams, URLs of the provider and the directory.

Each `parse_*` raises ValueError as `what is wrong; allowed: what is allowed`, without the value, since a URL may hold a password. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.config import values
from gateway.config.placeholders import IN_LOG_OUT_URL, listed

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un.sun_path without its NUL
#: Stands in `issuer` for the tenant of a token (Microsoft Entra's metadata of more than one tenant write it so).
TENANT: Final = "{tenantid}"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_EVERYWHERE: Final = frozenset(("0.0.0.0", "::"))  # noqa: S104 - compared with, not bound
#: Special-purpose blocks that no client on the internet comes from (RFC 6890), and the one that every IPv6 client there comes from (RFC 4291).
_NO_CLIENTS: Final = tuple(
    IPv4Network(text)
    for text in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3")
)  # fmt: skip
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_LOCALHOST: Final = ({"localhost", "127.0.0.1"}, {"localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A listening address: a unix socket's `path`, or `host` and `port`."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @property
    def on_loopback(self) -> bool:
        return self.path is not None or is_loopback_name(self.host)

    def overlaps(self, other: "Listen") -> bool:
        """Whether both cannot be bound at once: the same port on the same address, or on all addresses."""
        if self.path is not None or other.path is not None:
            return self.path == other.path
        same = self.host == other.host or self.host in _EVERYWHERE or other.host in _EVERYWHERE
        return self.port != 0 and self.port == other.port and same

    def leads_here(self, upstream: str) -> bool:
        """Whether a parsed upstream is certainly this address. A name may lead to any machine but this one's own."""
        if upstream.startswith("unix:"):
            return self.path == upstream.removeprefix("unix:")
        url = urlsplit(upstream)
        if self.path is not None or (url.port or _DEFAULT_PORTS[url.scheme]) != self.port:
            return False
        host = url.hostname or ""
        if host in _EVERYWHERE:
            host = "localhost"  # where a connection to it goes
        if self.host in _EVERYWHERE:
            return is_loopback_name(host)
        return host == self.host or {host, self.host} in _LOCALHOST


def parse_listen(text: str) -> Listen:
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Raises ValueError."""
    if text.startswith("unix:"):
        return Listen(path=_socket_path(text.removeprefix("unix:")))
    host, port = _split(text.lower())
    if not host or port is None:
        raise ValueError(
            "is not an address to listen on; allowed: 127.0.0.1:4180, [::1]:4180, 0.0.0.0:4180 or unix:/run/door.sock"
        )
    return Listen(host=host, port=port)


def parse_host(text: str) -> str:
    """A host as browsers write it, in lower case: `name` or `name:port`. Raises ValueError."""
    allowed = "allowed: name or name:port without scheme or path, as portal.example.com or portal.localhost:4180"
    if not text.isascii():
        raise ValueError(f"has characters beyond ASCII; write its xn-- form; {allowed}")
    if "*" in text:
        raise ValueError(f"has a wildcard; name each host; {allowed}")
    host, port = _split(text.lower())
    if not host or port == 0:
        raise ValueError(f"is not a host; {allowed}")
    return text.lower()


def canonical_host(host: str, scheme: str) -> str:
    """A parsed host without the default port of `scheme`: two hosts that are equal here are one to a browser."""
    return host.removesuffix(f":{_DEFAULT_PORTS[scheme]}")


def host_name(host: str) -> str:
    """The name of `name:port`, an IPv6 address without its brackets."""
    return _split(host)[0]


def is_loopback_name(name: str) -> bool:
    """Whether a name is always this machine's: localhost, *.localhost (RFC 6761), 127.0.0.0/8, ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def parse_upstream(text: str) -> str:
    """`http(s)://host[:port]`, or `unix:PATH`. Raises ValueError."""
    allowed = "allowed: http://host:port or https://host:port without path, or unix:/path/to.sock"
    if text.startswith("unix:"):
        return "unix:" + _socket_path(text.removeprefix("unix:"))
    parts = _url(text, ("http", "https"), allowed)
    if parts.path not in ("", "/"):
        raise ValueError(f"has a path, which is never added to a request; {allowed}")
    return text.removesuffix("/")


_UPGRADES: Final = "allowed: names as websocket or spdy/3.1, or none: []"


def parse_origin(text: str) -> str:
    """An origin as browsers send it: `scheme://name[:port]`, in lower case, without a default port. Raises ValueError."""
    allowed = "allowed: http:// or https:// and a host without path, as https://app.example.com"
    parts = _url(text.lower(), ("http", "https"), allowed)
    if parts.path not in ("", "/"):
        raise ValueError(f"has a path, which no origin has; {allowed}")
    return f"{parts.scheme}://{canonical_host(parts.netloc, parts.scheme)}"


def parse_upgrade(text: str) -> str:
    """A protocol that a connection may be switched to, in lower case. Raises ValueError."""
    name = text.lower()
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:/[!#$%&'*+.^_`|~0-9a-z-]+)?", name):
        raise ValueError(f"is not a protocol; {_UPGRADES}")
    # SECURITY: a protocol that carries further requests would carry them past the rules (B-41).
    if name.partition("/")[0] in ("h2c", "h2", "h3", "http", "https", "tls"):
        raise ValueError(f"would carry requests past the rules; {_UPGRADES}")
    return name


def parse_web_url(text: str) -> str:
    """An http or https URL without credentials, query and fragment. Raises ValueError."""
    allowed = "allowed: a URL as https://login.example.com/, without credentials, query and fragment"
    _url(text, ("http", "https"), allowed)
    return text


def parse_authority(text: str) -> str:
    """The issuer, exactly as the provider's metadata writes it; empty stays empty. Raises ValueError."""
    if not text:
        return text
    if "/.well-known/" in text:
        raise ValueError("is the discovery document's URL; allowed: the part before /.well-known/")
    return parse_web_url(text)


def parse_issuer(text: str) -> str:
    """An issuer that differs from the discovery address; it may hold {tenantid} in its path. Raises ValueError."""
    before, placeholder, after = text.partition(TENANT)
    parts = urlsplit(before)
    if "{" in before + after or (placeholder and not (parts.netloc and parts.path)):
        raise ValueError(f"has a placeholder in its host or another one; allowed: {TENANT} once, in the path")
    parse_web_url(before + after)
    return text


def issuers_of(issuer: str, tenants: Sequence[str]) -> tuple[str, ...]:
    """Each issuer that a parsed issuer means: with {tenantid} one for each tenant, else itself."""
    return tuple(issuer.replace(TENANT, tenant) for tenant in tenants) if TENANT in issuer else (issuer,)


def parse_tenant(text: str) -> str:
    """The id of a tenant, as the claim `tid` has it. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-Za-z._-]{1,64}", text):
        raise ValueError("is not a tenant's id; allowed: 1 to 64 letters, digits and . _ -, as the claim tid has it")
    return text


def parse_log_out_url(text: str) -> str:
    """The provider's log-out URL with its placeholders, which stand after the host. Raises ValueError."""
    allowed = f"allowed: an https URL that may hold {listed(IN_LOG_OUT_URL)} in its path or query"
    values.parse_template(text, IN_LOG_OUT_URL)
    path, _, query = text.partition("?")
    if "{" in urlsplit(path).netloc or "#" in query:
        raise ValueError(f"has a placeholder in its host, or a fragment; {allowed}")
    _url(path, ("http", "https"), allowed)
    return text


def is_insecure(url: str) -> bool:
    """Whether a parsed URL is plain http to another machine: what travels there can be read and replaced."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback_name((parts.hostname or "").lower())


def _socket_path(path: str) -> str:
    if not path.startswith("/") or len(path.encode()) > _SOCKET_PATH_BYTES or not path.isprintable():
        raise ValueError(f"is not a socket's path; allowed: unix:/absolute/path of at most {_SOCKET_PATH_BYTES} bytes")
    return path


def _split(text: str) -> tuple[str, int | None]:
    """(name without brackets, port or None); an empty name: it is neither a host nor host:port."""
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::([0-9]{1,5}))?", text)
    if match is None or (match[3] is not None and int(match[3]) > 65535):
        return "", None
    port = None if match[3] is None else int(match[3])
    if match[1] is not None:
        return (match[1], port) if _is_ipv6(match[1]) else ("", None)
    if not _NAME.fullmatch(match[2]) or (re.fullmatch(r"[0-9.]+", match[2]) and not _is_ipv4(match[2])):
        return "", None
    return match[2], port


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    """Four decimal numbers: 127.1 and 010.0.0.1 are read in several ways."""
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False


def _url(text: str, schemes: tuple[str, ...], allowed: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(f"is not a URL; {allowed}") from None
    if not text.isascii() or not text.isprintable() or re.search(r"[\s\\]", text) or parts.scheme not in schemes:
        raise ValueError(f"is not a URL; {allowed}")
    # SECURITY: `https://login.example.com@evil/` is a URL of evil: credentials in a URL only ever mislead.
    if "@" in parts.netloc:
        raise ValueError(f"has credentials in it; {allowed}")
    bracketed = f"[{host}]" if ":" in host else host
    if not host or port == 0 or not _split(bracketed)[0]:
        raise ValueError(f"has no usable host; {allowed}")
    if "?" in text or "#" in text:
        raise ValueError(f"has a query or a fragment; {allowed}")
    return parts


def covers_every_address(networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether networks together hold every public address of a family, without one of them being 0.0.0.0/0 or ::/0."""
    v4 = [network for network in networks if isinstance(network, IPv4Network)]
    v6 = [network for network in networks if isinstance(network, IPv6Network)]
    if any(network.prefixlen == 0 for network in networks):
        return False
    whole = any(_GLOBAL_UNICAST.subnet_of(network) for network in collapse_addresses(v6))
    return whole or any(network.prefixlen == 0 for network in collapse_addresses((*v4, *_NO_CLIENTS)))
