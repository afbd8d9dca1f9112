"""What may be opened by break-glass, from where and for how long."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from gateway.policy.break_glass import (
    Opening,
    decode,
    encode,
    left_of,
    parse_lasting,
    parse_range,
    parse_reason,
    refusals,
    still_closed,
)
from tests.unit.config.made import config_with
from tests.unit.policy.made import app

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def opening(*ranges: str, minutes: int = 30) -> Opening:
    return Opening(
        id="x", app="portal", networks=tuple(map(parse_range, ranges or ("203.0.113.0/24",))), opened_at=NOW,
        ends_at=NOW + timedelta(minutes=minutes), reason="the provider is down", by="ana@ops",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32", "::ffff:0.0.0.0/96"])  # fmt: skip
def test_a_range_that_holds_everybody_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"too wide; allowed: /16 to /32 of IPv4, /48 to /128 of IPv6"):
        parse_range(text)


@pytest.mark.parametrize("text", ["", "office", "203.0.113.7/24", "203.0.113.0/33", "203.0.113.0-9", "*"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address range; allowed: a CIDR without host bits"):
        parse_range(text)


def test_an_ipv4_mapped_range_is_its_ipv4_form() -> None:
    """C-34."""
    assert parse_range("::ffff:203.0.113.0/120") == ip_network("203.0.113.0/24")
    assert opening("::ffff:203.0.113.7").holds(ip_address("203.0.113.7"))
    assert not opening("203.0.113.0/24").holds(ip_address("2001:db8::1"))


@pytest.mark.parametrize("lasting", [timedelta(seconds=59), timedelta(0), timedelta(hours=8, seconds=1), timedelta(days=7), "30m"])  # fmt: skip
def test_it_is_open_for_a_minute_to_eight_hours(lasting: object) -> None:
    with pytest.raises(ValueError, match="allowed: 1m to 8h"):
        parse_lasting(lasting)


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 201, "a\x1b[31mb"])
def test_it_needs_a_reason_that_can_stand_in_a_log(reason: str) -> None:
    with pytest.raises(ValueError, match="allowed: 1 to 200 characters"):
        parse_reason(reason)


def said(*ranges: str, forwarders: tuple[str, ...] = (), despite: str = "", **changes: Any) -> str:
    config = config_with({"trusted_proxies": ["10.0.0.5/32"], **changes})
    return "\n".join(refusals(config, [parse_range(each) for each in ranges], forwarders, frozenset({despite})))


def test_a_range_without_proxies_in_it_may_be_opened() -> None:
    assert said("203.0.113.0/24", "2001:db8::/48", forwarders=("198.51.100.1", "2001:db9::1")) == ""


def test_a_range_that_contains_a_forwarding_peer_nobody_trusts_is_refused() -> None:
    """C-34: it would match everybody behind that peer."""
    told = said("203.0.113.0/24", forwarders=("203.0.113.9", "198.51.100.1"))
    assert told.startswith("203.0.113.9 forwards other people's requests")
    assert "allowed: a range without it, or with it in trusted_proxies" in told
    assert said("203.0.113.0/24", forwarders=("203.0.113.9",), despite="203.0.113.9") == ""
    assert said("203.0.113.0/24", forwarders=("203.0.113.9",), despite="203.0.113.8") != ""


def test_a_range_that_overlaps_trusted_proxies_is_refused() -> None:
    """C-34: what a proxy forwards without an address seems to come from the proxy."""
    assert "10.0.0.0/24 overlaps 10.0.0.5/32 of trusted_proxies" in said("10.0.0.0/24")


def test_nothing_is_opened_while_everybody_has_the_balancers_address() -> None:
    """C-34: TLS ends at something that is not trusted."""
    assert "trusted_proxies is empty although something in front ends TLS" in said("203.0.113.0/24", trusted_proxies=[])
    assert "every client on a unix socket" in said("127.0.0.1/32", listen="unix:/run/doorward.sock")


def test_rules_that_ask_by_themselves_are_named() -> None:
    rules: list[dict[str, Any]] = [
        {"match": ["* /admin/**"], "require": {"groups": ["staff"]}},
        {"match": ["* /open/**"], "public": True},
        {"match": ["* /money/**"], "max_age": "5m"},
    ]
    assert still_closed(app(rules=rules)) == ["rules[0] (* /admin/**)", "rules[2] (* /money/**)"]


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode(encode(opening("203.0.113.0/24", "2001:db8::/48"))) == opening("203.0.113.0/24", "2001:db8::/48")


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2}, {"networks": ["0.0.0.0/0"]}, {"networks": "x"}, {"ends_at": NOW.timestamp() + 9 * 3600}, {"ends_at": NOW.timestamp()},
        {"ends_at": 1e300}, {"opened_at": None}, {"ends_at": "soon"},
    ],
)  # fmt: skip
def test_a_record_that_no_operator_could_have_asked_for_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        decode(json.dumps(json.loads(encode(opening())) | changes).encode())


@pytest.mark.parametrize(
    ("ttl", "later", "left"),
    [
        (timedelta(minutes=30), timedelta(0), timedelta(minutes=30)),
        (timedelta(minutes=5), timedelta(0), timedelta(minutes=5)),
        (timedelta(hours=5), timedelta(minutes=10), timedelta(minutes=20)),
        (timedelta(hours=5), timedelta(hours=-3), timedelta(minutes=30)),
        (timedelta(hours=5), timedelta(hours=1), timedelta(minutes=-30)),
    ],
    ids=["as opened", "Redis says less", "Redis says more", "the clock was set back", "it is over"],
)
def test_no_clock_and_no_ttl_prolongs_it(ttl: timedelta, later: timedelta, left: timedelta) -> None:
    """C-46."""
    assert left_of(opening(), ttl, NOW + later) == left
