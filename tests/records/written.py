"""What a file of `tests.records` holds, as the objects of today's code: the same for every release."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Final

from gateway.identity.claims import Identity
from gateway.oidc.authorization import LoginAttempt
from gateway.policy.break_glass import Opening
from gateway.sessions.session import Session

KEYS: Final = (
    "9W0mY3pVvT1cQk7XJb2sRz8dLhNfUoAe4iGxKqCw5tE",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
)  # the ring: the first one sealed
PREFIX: Final = "doorward-of-a-release:"
HOST, APP, ORIGIN = "portal.example.com", "portal", "https://portal.example.com"
ISSUER: Final = "https://login.example.com/"
NOW: Final = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)  # when everything was written
REALM: Final = "nexudus:1"
HEADERS: Final = {"X-Customer": "{directory.id}"}

FULL: Final = Session(
    key_host=HOST, app=APP, sid="sid-of-the-full-one", provider_sid="provider-sid-1", acr="urn:example:gold",
    identity=Identity(
        issuer=ISSUER, subject="sub-1", email="zoe@members.example", name="Zoë Ñandú", groups=("staff", "a,b 100%"),
        preferred_username="zoe", user="E-1", directory={"id": "87654321", "user_id": "11"},
    ),
    auth_time=NOW - timedelta(minutes=3), created_at=NOW - timedelta(minutes=2, microseconds=1),
    idle=timedelta(hours=8), lifetime=timedelta(days=7),
    id_token="eyJ.id.token", access_token="access-token", refresh_token="refresh-token",
    access_expires_at=NOW + timedelta(minutes=5), access_lifetime=timedelta(minutes=5),
    address="192.0.2.7", provider="partners",
)  # fmt: skip
BARE: Final = Session(
    key_host=HOST, app=APP, sid="sid-of-the-bare-one", provider_sid=None, acr=None,
    identity=Identity(issuer=ISSUER, subject="sub-2"),
    auth_time=None, created_at=NOW - timedelta(hours=1), idle=timedelta(hours=8), lifetime=timedelta(days=7),
)  # fmt: skip
ATTEMPT: Final = LoginAttempt(
    state="s" * 43, nonce="n" * 43, verifier="v" * 43, app=APP, host=HOST, return_to="/pages?a=b", started_at=NOW,
    max_age=300, acr=("urn:example:gold",), step_up_for="POST /pay", provider="partners",
)  # fmt: skip
OPENING: Final = Opening(
    id="opening-one1", app=APP, networks=(ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")), opened_at=NOW,
    ends_at=NOW + timedelta(hours=4), reason="the provider is down", by="ana@office",
)  # fmt: skip
