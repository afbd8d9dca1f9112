"""Writes what this release stores: `python -m tests.records NAME > tests/records/release-NAME.json`, in a checkout of that release."""

import asyncio
import base64
import json
import secrets
import sys
from datetime import timedelta
from typing import Any, cast

from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.break_glass.store import Openings
from gateway.config import schema
from gateway.config.loader import build
from gateway.directory.account_links import AccountLinks
from gateway.gate.site import Site, app_routes
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.records import Bearer, HandOffRecord, HandOffRecords
from gateway.identity.assertion import AssertionSigner
from gateway.oidc.authorization import ATTEMPT_LIFETIME
from gateway.proxy.identity_fields import IdentityLines
from gateway.redis_client.client import connect
from gateway.redis_client.once import Once
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import live_from
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.long_links import LongLinks
from gateway.sessions.pending_sign_in import PendingSignIn, PendingSignIns
from gateway.sessions.records import Stored
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.shared_headers import SharedHeaders
from gateway.sessions.store import SessionStore
from gateway.sign_in.login_attempts import LoginAttempts
from gateway.web.sign_out import AfterSignOut
from tests.fakes.redis_commands import stored
from tests.fakes.valkey import running_valkey
from tests.records.written import APP, ATTEMPT, BARE, FULL, HEADERS, HOST, ISSUER, KEYS, NOW, OPENING, PREFIX, REALM

HOUR = timedelta(hours=1)


class Left:
    """Takes what is put beside a record, as a RecordReader does."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def write(self, name: bytes, value: bytes, milliseconds: int) -> None:
        self.values[name] = value


def the_site() -> Site:
    app = {"hosts": [HOST], "upstream": "http://127.0.0.1:9", "headers": dict(HEADERS)}
    config = build(
        {"keys": list(KEYS), "openid": {"enabled": False}, "external_url_scheme": "https", "apps": {APP: app}}
    )
    return Site(app_routes(config)[0], config)


async def sessions(redis: Redis, ring: KeyRing) -> dict[str, str]:
    store = SessionStore(redis, ring, PREFIX, lambda: NOW)
    tokens = {"full": await store.issue(FULL), "bare": await store.issue(BARE)}
    old = SessionStore(redis, KeyRing(KEYS[1:]), PREFIX, lambda: NOW)  # before the keys were changed
    tokens["old_key"] = await old.issue(FULL)
    places = SessionLimit(redis, ring, PREFIX, lambda: NOW)
    assert await places.take(store.key_of(tokens["full"]), FULL, 5, refuse=False) == []
    assert await store.consume(f"login:{ATTEMPT.id}", HOUR)
    return tokens


async def others(redis: Redis, ring: KeyRing, tokens: dict[str, str]) -> None:
    marks = Once(redis, PREFIX)
    await marks.begin("begun", HOUR)
    await marks.begin("done", HOUR)
    await marks.finish("done", HOUR)
    await Openings(redis, ring, PREFIX).write(OPENING, NOW)
    await Openings(redis, ring, PREFIX).write_forwarders(["192.0.2.99"], NOW)
    pending = PendingSignIn(
        session=FULL, claims={"sub": "sub-1", "iat": 1}, issued_at=int(NOW.timestamp()), return_to="/pages", began=NOW
    )
    tokens["pending"] = await PendingSignIns(redis, PREFIX, ring).keep(pending)
    await AccountLinks(redis, PREFIX, ring, REALM).claim(f"{ISSUER}|sub-1", "87654321", shared=False)
    live = live_from(SessionStore.key_of(tokens["full"]), Stored(FULL, HOUR, HOUR), 0.0)
    bearer = Bearer(token="bearer-token", until=NOW.timestamp() + 3600)
    handed = HandOffRecord(
        began=(NOW.timestamp(),), ended=NOW.timestamp(), bearer=bearer, links=("0" * 64,), paths={"upstream": "/app"}
    )
    await HandOffRecords(redis, ring, PREFIX, lambda: NOW).write(live, handed)


async def endings(redis: Redis, ring: KeyRing) -> None:
    notes: Any = LogoutMarkers(redis, ring, PREFIX)
    await notes.write(ISSUER, sid="ended-sid", sub="ended-sub", issued_at=NOW)
    await notes.write(ISSUER, sid=None, sub="ended-person", issued_at=NOW)


async def lines(redis: Redis, ring: KeyRing, token: str) -> None:
    """What a worker leaves of the full session's identity."""
    left: Any = Left()
    record = await stored(redis, f"{PREFIX}s:{SessionStore.key_of(token)}")
    beginning = len("DW1") + 2 + len(HOST) + 2 + len(APP)
    session = Stored(FULL, HOUR, HOUR, record_id=record[beginning : beginning + 16])
    written = IdentityLines(AssertionSigner(ring.raw), lambda: 0.0, lambda: NOW, SharedHeaders(ring, PREFIX, left))
    written.renew(live_from(SessionStore.key_of(token), session, 0.0), the_site())
    for name, value in left.values.items():
        await redis.set(name, value, px=HOUR)


def in_the_browser(ring: KeyRing, links: LongLinks, tokens: dict[str, str]) -> dict[str, Any]:
    site = the_site()
    attempts = LoginAttempts(ring, links, secrets.token_bytes)
    attempt, (kept, *_) = attempts.begin(ATTEMPT, [], site.route)
    cookie = kept.partition(";")[0]
    finished, *_ = attempts.finish(attempt, [cookie.encode()], site.route, NOW)
    return {
        "tokens": tokens,
        "session": SessionCookie(secure=True).set_header(tokens["full"]).partition(";")[0],
        "state": attempt.state,
        "attempt": cookie,
        "finished": finished.partition(";")[0],
        "after_sign_out": AfterSignOut(ring).seal("https://portal.example.com/bye", HOST),
        "sealed_cookie": Seals(ring, APP, ["upstream"]).seal(FULL.sid, b"upstream", b"value").decode(),
    }


async def in_redis(redis: Redis) -> dict[str, Any]:
    """By name: what it holds, and for how many milliseconds."""
    found: dict[str, Any] = {}
    async for name in redis.scan_iter(match=PREFIX + "*", count=1000):
        left = await redis.pttl(name)
        if await redis.type(name) == b"zset":
            scores = cast(list[tuple[bytes, float]], await redis.zrange(name, 0, -1, withscores=True))
            members = {member.decode(): score for member, score in scores}
            found[name.decode()] = {"sorted_set": members, "milliseconds": left}
        else:
            value = base64.b64encode(await stored(redis, name)).decode()
            found[name.decode()] = {"text": value, "milliseconds": left}
    return dict(sorted(found.items()))


async def main(release: str) -> None:
    ring = KeyRing(KEYS)
    with running_valkey() as server:
        redis = connect(schema.Redis(url=SecretStr(server.url)))
        tokens = await sessions(redis, ring)
        await others(redis, ring, tokens)
        await endings(redis, ring)
        await lines(redis, ring, tokens["full"])
        document = {
            "release": release,
            "written_at": NOW.isoformat(),
            "keys": KEYS,
            "prefix": PREFIX,
            "signing_keys": AssertionSigner(ring.raw).kids,
            "browser": in_the_browser(ring, LongLinks(redis, PREFIX, ring, ATTEMPT_LIFETIME, lambda: 0.0), tokens),
            "redis": await in_redis(redis),
        }
        await redis.aclose()
    print(json.dumps(document, indent=1))


asyncio.run(main(sys.argv[1]))
