"""Which sessions an operator means: every kind that is given must match, and a doubtful one does not."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from gateway.sessions.scan import SessionFilter
from tests.unit.sessions.made import ISSUER, a_person, a_session

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SESSION = a_session(
    "ana", created_at=NOON - timedelta(hours=2), address="192.0.2.7", provider_sid="ps-1", sid="handle",
    identity=a_person("ana", email="Ana@example.com"),
)  # fmt: skip


@pytest.mark.parametrize(
    "selection",
    [
        SessionFilter(),
        SessionFilter(sids=frozenset({"handle", "other"})),
        SessionFilter(emails=frozenset({"ana@example.com"})),
        SessionFilter(issuer=ISSUER, subject="ana"),
        SessionFilter(apps=frozenset({"portal"})),
        SessionFilter(networks=(ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))),
        SessionFilter(provider_sid="ps-1"),
        SessionFilter(older_than=timedelta(hours=1), newer_than=timedelta(hours=3)),
    ],
)
def test_a_session_that_fits_is_meant(selection: SessionFilter) -> None:
    assert selection.matches(SESSION, NOON)


@pytest.mark.parametrize(
    "selection",
    [
        SessionFilter(sids=frozenset({"other"})),
        SessionFilter(emails=frozenset({"ana@example.org"})),
        SessionFilter(issuer="https://other.example", subject="ana"),
        SessionFilter(issuer=ISSUER, subject="Ana"),
        SessionFilter(apps=frozenset({"dashboard"})),
        SessionFilter(networks=(ip_network("192.0.3.0/24"), ip_network("2001:db8::/32"))),
        SessionFilter(provider_sid="ps-2"),
        SessionFilter(older_than=timedelta(hours=2)),
        SessionFilter(newer_than=timedelta(hours=2)),
        SessionFilter(emails=frozenset({"ana@example.com"}), apps=frozenset({"dashboard"})),
    ],
)
def test_a_session_that_misses_one_kind_is_not(selection: SessionFilter) -> None:
    assert not selection.matches(SESSION, NOON)
    assert not selection.everything


def test_a_session_that_does_not_say_it_is_not_meant() -> None:
    """No address, no e-mail address, nothing that could be read as one."""
    silent = a_session("ana", address=None, provider_sid=None, identity=a_person("ana", email=None))
    odd = a_session("ana", address="unix:")
    for selection in (
        SessionFilter(networks=(ip_network("0.0.0.0/0"), ip_network("::/0"))),
        SessionFilter(emails=frozenset({"ana@example.com"})),
        SessionFilter(provider_sid="ps-1"),
    ):
        assert not selection.matches(silent, NOON)
        assert not selection.matches(odd, NOON)
