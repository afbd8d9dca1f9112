"""Break-glass: for a while, people from an address range use an application's own password login, because single sign-on is broken.

An `Opening` is one such range and time. The invariants: a range is narrow, and no client outside it has an address in it, so no range
may contain a peer that forwards other clients' requests without being trusted (`refusals`). An opening is never extended: it has an absolute
end, and `ActiveOpening` measures the rest of it on a monotonic clock. docs/threats.md C-34. Pure.
"""

import ipaddress
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.config.addresses import parse_listen
from gateway.config.schema import App, Config, Network

SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(hours=8)
MOST_RANGES: Final = 8
_LONGEST_REASON: Final = 200
_NARROWEST: Final = {4: 16, 6: 48}  # the least prefix of a range: more addresses than an office has
_MAPPED: Final = 96
_VERSION: Final = 1
RULE: Final = "break-glass "


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One opening: app, address ranges, beginning and end (aware), reason, and the operator (`by`). `id` names it in logs and events."""

    id: str
    app: str
    networks: tuple[Network, ...]
    opened_at: datetime
    ends_at: datetime
    reason: str
    by: str

    def holds(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether the address is in one of the ranges."""
        return any(address in network for network in self.networks if network.version == address.version)

    def facts(self) -> dict[str, str]:
        """The opening as events, /ready and the command line show it."""
        return {
            "id": self.id,
            "from": ", ".join(map(str, self.networks)),
            "until": self.ends_at.astimezone(UTC).isoformat(timespec="seconds"),
            "reason": self.reason,
            "by": self.by,
        }


@dataclass(slots=True, kw_only=True)
class ActiveOpening:
    """An opening as a worker applies it. `deadline` is on the worker's monotonic clock."""

    opening: Opening
    deadline: float


def rule_of(opening: Opening) -> str:
    """The name of the rule for the access log."""
    return RULE + opening.id


def encode(opening: Opening) -> bytes:
    """The opening as JSON. The store seals it."""
    record = {
        "v": _VERSION,
        "id": opening.id,
        "app": opening.app,
        "networks": [str(network) for network in opening.networks],
        "opened_at": opening.opened_at.timestamp(),
        "ends_at": opening.ends_at.timestamp(),
        "reason": opening.reason,
        "by": opening.by,
    }
    return json.dumps(record).encode()


def decode(data: bytes) -> Opening:
    """The opening of a record. Raises ValueError for any other data, and for an opening that is too long or too wide."""
    try:
        record: dict[str, Any] = json.loads(data)
        if record["v"] != _VERSION:
            raise ValueError("another version")
        opening = Opening(
            id=str(record["id"]),
            app=str(record["app"]),
            networks=tuple(ipaddress.ip_network(text) for text in record["networks"]),
            opened_at=datetime.fromtimestamp(record["opened_at"], UTC),
            ends_at=datetime.fromtimestamp(record["ends_at"], UTC),
            reason=str(record["reason"]),
            by=str(record["by"]),
        )
    except (KeyError, TypeError, OverflowError, OSError) as error:
        raise ValueError("not an opening") from error
    lasting = opening.ends_at - opening.opened_at
    if not timedelta(0) < lasting <= LONGEST or any(map(too_wide, opening.networks)):
        raise ValueError("longer or wider than any opening")
    return opening


def left_of(opening: Opening, ttl: timedelta, now: datetime) -> timedelta:
    """The time that is left: by the record's TTL, by its end, and never more than its whole length."""
    # SECURITY: a clock that was set back, or a TTL that was prolonged in Redis, gives no more time (C-46).
    return min(ttl, opening.ends_at - now, opening.ends_at - opening.opened_at)


# --- which openings are allowed -----------------------------------------------------------------------------------------------


def parse_range(text: str) -> Network:
    """A CIDR or one address; IPv4-mapped IPv6 is its IPv4 form (C-34). Raises ValueError with what is allowed."""
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address range; allowed: a CIDR without host bits, as 203.0.113.0/24, or one address"
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED:
        network = ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))
    if too_wide(network):
        raise ValueError(
            f"{network} is too wide; allowed: {allowed_widths()}: the addresses of the people who need this now"
        )
    return network


def too_wide(network: Network) -> bool:
    """Whether a range has more addresses than an opening may have."""
    return network.prefixlen < _NARROWEST[network.version]


def allowed_widths() -> str:
    """The allowed prefix lengths, in words."""
    return f"/{_NARROWEST[4]} to /32 of IPv4, /{_NARROWEST[6]} to /128 of IPv6"


def parse_lasting(lasting: object) -> timedelta:
    """How long an opening lasts. Raises ValueError with what is allowed."""
    if not isinstance(lasting, timedelta) or not SHORTEST <= lasting <= LONGEST:
        raise ValueError(f"{lasting} is too short or too long for break-glass; allowed: 1m to 8h")
    return lasting


def parse_reason(text: str) -> str:
    """The reason on one line. Raises ValueError with what is allowed."""
    reason = " ".join(text.split())
    if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise ValueError("the reason is empty, too long or not printable; allowed: 1 to 200 characters, for the log")
    return reason


def refusals(
    config: Config, networks: Sequence[Network], forwarders: Iterable[str], despite: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Why these ranges must not be opened: a client outside could have an address in them.

    `forwarders` are untrusted peers that forwarded requests; `despite` are those of them that the operator allows by name.
    """
    tls_ends_elsewhere = config.external_url_scheme == "https" and config.tls.certificate is None
    if tls_ends_elsewhere and not config.trusted_proxies and not config.listen_proxy_protocol:
        # SECURITY: a balancer whose X-Forwarded-For is not believed is the address of every client (C-34).
        yield (
            "trusted_proxies is empty although something in front ends TLS: every client has its address, so a range with it "
            "would admit every client; allowed: with that proxy in trusted_proxies"
        )
    if parse_listen(config.listen).path is not None:
        networks_of_all = [network for network in networks if ipaddress.ip_address("127.0.0.1") in network]
        yield from (
            f"{network} holds 127.0.0.1, the address of every client on a unix socket (listen)"
            for network in networks_of_all
        )
    for network in networks:
        for proxy in config.trusted_proxies:
            if network.version == proxy.version and network.overlaps(proxy):
                yield (
                    f"{network} overlaps {proxy} of trusted_proxies: what a proxy forwards without an address would come from "
                    "there; allowed: a range without proxies in it"
                )
    for peer in sorted(set(forwarders) - despite):
        address = _address(peer)
        if address is not None and any(
            address in network for network in networks if network.version == address.version
        ):
            yield (
                f"{address} forwards other people's requests (X-Forwarded-For, Forwarded or Via) and is not in trusted_proxies: "
                "every client behind it would be admitted; allowed: a range without it, or with it in trusted_proxies"
            )


def still_closed(app: App) -> list[str]:
    """The rules of the app that hold during break-glass too, because they are narrower than the app's `require`."""
    return [
        f"{rule.name or f'rules[{place}]'} ({', '.join(rule.match)})"
        for place, rule in enumerate(app.rules)
        if rule.require.groups
        or rule.require.emails
        or rule.require.email_domains
        or rule.max_age is not None
        or rule.acr
    ]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
