"""A session's clocks, and the one form in which it is stored."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.sessions.session import MAX_ENCODED, decode, encode
from tests.unit.sessions.made import a_person, a_session

BARE: dict[str, Any] = {"id_token": None, "access_token": None, "refresh_token": None}
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_stored_session_reads_back_as_it_was() -> None:
    full = a_session(created_at=NOON, identity=a_person(name="Zoë Ñandú", directory={"id": "87654321"}))
    bare = a_session(
        provider_sid=None, auth_time=None, acr=None, id_token=None, access_token=None, refresh_token=None,
        identity=a_person(email=None, groups=()),
    )  # fmt: skip
    assert decode(encode(full)) == full
    assert decode(encode(bare)) == bare


def test_a_record_without_the_fields_of_later_releases_is_still_a_session() -> None:
    """A rolling upgrade loses nobody."""
    timed = a_session(
        access_expires_at=NOON,
        access_lifetime=timedelta(minutes=5),
        address="192.0.2.7",
        user_agent="Browser/1",
        dpop_key="a key",
    )
    assert decode(encode(timed)) == timed
    older = json.loads(encode(timed))
    del older["access_expires_at"], older["access_lifetime"], older["address"], older["user_agent"], older["dpop_key"]
    bare = replace(timed, access_expires_at=None, access_lifetime=None, address=None, user_agent=None, dpop_key=None)
    assert decode(json.dumps(older).encode()) == bare


@pytest.mark.parametrize("agent", [7, ["Browser/1"], {"brands": []}, None, True, "x" * 201])
def test_a_user_agent_of_another_form_is_none_and_the_session_stays(agent: Any) -> None:
    assert decode(changed(user_agent=agent)).user_agent is None


def test_a_session_lives_until_its_idle_timeout_or_the_end_of_its_lifetime_whichever_is_first() -> None:
    """C-46."""
    session = a_session(created_at=NOON, idle=timedelta(minutes=15), lifetime=timedelta(hours=12))
    assert session.ttl(NOON) == timedelta(minutes=15)
    assert session.ttl(NOON + timedelta(hours=11, minutes=55)) == timedelta(minutes=5)
    assert session.ttl(NOON + timedelta(hours=13)) < timedelta(0)
    assert session.expires_at == NOON + timedelta(hours=12)


def test_a_clock_that_is_set_back_lends_no_session_more_than_its_lifetime() -> None:
    """C-46."""
    session = a_session(created_at=NOON, idle=timedelta(days=30), lifetime=timedelta(hours=12))
    assert session.remaining(NOON - timedelta(days=2)) == timedelta(hours=12)


def test_a_session_for_memory_has_no_tokens_and_shares_what_others_have_too() -> None:
    """C-48."""
    one, other = (
        decode(encode(a_session(address="192.0.2.7", user_agent="Browser/1", dpop_key="a key")), tokens=False)
        for _ in range(2)
    )
    assert (one.id_token, one.access_token, one.refresh_token, one.dpop_key) == (None, None, None, None)
    kept = a_session(address="192.0.2.7", user_agent="Browser/1", created_at=one.created_at, **BARE)
    assert replace(one, sid="") == replace(kept, sid="")
    for name in ("key_host", "app", "address", "provider", "idle", "user_agent"):
        assert getattr(one, name) is getattr(other, name)
    assert one.identity.issuer is other.identity.issuer
    assert one.identity.groups[0] is other.identity.groups[0]


def test_tokens_are_not_in_what_a_traceback_would_show() -> None:
    """C-48."""
    assert "secret" not in repr(a_session())


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(a_session())), **fields}).encode()


def changed_identity(**fields: Any) -> bytes:
    return changed(identity={**json.loads(encode(a_session()))["identity"], **fields})


def without(field: str) -> bytes:
    document = json.loads(encode(a_session()))
    del document[field]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        pickle.dumps({"v": 1}),
        b"[" * 100_000,
        b'{"v":' * 50_000,
        b'{"v":1e999}',
        changed()[:-1] + b',"unknown":' + b"[" * 100_000,
        changed()[:-1] + b',"unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        changed(v=2),
        changed(v="1"),
        changed(v=True),
        changed(v=1.0),
        changed(host=None),
        changed(sid=7),
        changed(identity=None),
        changed(identity={"issuer": "x"}),
        changed(identity=[]),
        changed_identity(issuer=None),
        changed_identity(subject=1),
        changed_identity(groups="staff"),
        changed_identity(groups=[1]),
        changed_identity(groups=None),
        changed_identity(directory={"id": 1}),
        changed_identity(directory=[]),
        changed_identity(email=[]),
        changed(provider_sid=["a"]),
        changed(created_at="now"),
        changed(created_at=None),
        changed(created_at=-1),
        changed(created_at=True),
        changed(created_at=10**30),
        changed(created_at=1.5),
        changed(idle=-5),
        changed(lifetime=10**40),
        changed(auth_time={}),
        changed(id_token=1),
        changed(lifetime=float("nan")),
        changed(idle=float("inf")),
        without("v"),
        without("lifetime"),
        without("refresh_token"),
        changed(acr="x" * MAX_ENCODED),
        encode(a_session())[:-1],
    ],
)
def test_whatever_was_not_written_as_a_session_is_none(stored: bytes) -> None:
    """C-51: pickle, newer versions, NaN, deep nesting, fields that are missing or of another type."""
    with pytest.raises(ValueError):
        decode(stored)


def test_reading_a_pickle_runs_nothing(tmp_path: Any) -> None:
    """C-51."""
    trace = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return trace.write_text, ("x",)

    with pytest.raises(ValueError):
        decode(pickle.dumps(Harmful()))
    assert not trace.exists()


def test_a_session_that_is_too_large_is_not_stored() -> None:
    with pytest.raises(ValueError, match="too large"):
        encode(a_session(id_token="x" * MAX_ENCODED))
