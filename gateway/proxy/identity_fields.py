"""The fields that name the signed-in person to an upstream, a signed assertion among them; kept with the session for four minutes.

Written once for all workers that share them (`sessions.shared_headers`).
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from msgspec import ValidationError, convert
from msgspec.structs import fields, replace

from gateway import __version__
from gateway.gate.site import Site
from gateway.identity.assertion import ASSERTION_LIFETIME, LONGEST, Assertion, AssertionSigner
from gateway.identity.claims import Identity
from gateway.identity.headers import OMITTED, IdentityHeaders
from gateway.sessions.live import LiveSession
from gateway.sessions.shared_headers import SharedHeaders

_log = logging.getLogger("doorward.proxy")

_SPARE: Final = timedelta(minutes=1)  # the upstream always gets an assertion that is valid for at least this long
_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
_MOMENT_BYTES: Final = 8
_OMITTED: Final = b"\r\n%b: " % OMITTED.encode()
_HOUR: Final = 3600.0


class IdentityLines:
    """`clock` is monotonic seconds, `now` aware wall time. `proof` begins the assertion's line, for every session."""

    def __init__(
        self,
        signer: AssertionSigner,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        shared: SharedHeaders | None,
        release: str = __version__,
    ) -> None:
        self.proof = b"X-Doorward-Jwt-Assertion: %b." % signer.header
        self._signer = signer
        self._clock = clock
        self._now = now
        self._shared = shared
        self._release = release
        self._forms: dict[Site, _Form] = {}
        self._warned: dict[str, float] = {}

    def renew(self, session: LiveSession, site: Site) -> None:
        """Set the session's lines behind `proof`, and until when they are valid."""
        form = self._forms.get(site)
        if form is None:
            form = self._forms[site] = self._form(site)
        if session.shared and self._shared is not None and self._read_shared(session, form.label, self._shared):
            return
        record, now = session.session, self._now()
        assertion, omitted = self._sign(record.identity, site, record.sid, now)
        lines = form.headers.render(record.identity)
        session.assertion = b"%b\r\n%b" % (assertion[len(self._signer.header) + 1 :], lines)
        if omitted or _OMITTED in lines:
            self._log_omitted(site, omitted, lines)
        good_for = ASSERTION_LIFETIME - _SPARE
        session.assertion_until = self._clock() + good_for.total_seconds()
        if self._shared is not None:
            until = int((now + good_for).timestamp()).to_bytes(_MOMENT_BYTES, "big")
            self._shared.write(session, form.label, until + session.assertion, good_for)

    def _read_shared(self, session: LiveSession, label: bytes, shared: SharedHeaders) -> bool:
        lines = shared.take(session, label)
        if lines is None:
            return False
        left = int.from_bytes(lines[:_MOMENT_BYTES], "big") - self._now().timestamp()
        # Clocks differ: nothing is taken to be valid for longer than its writer could make it.
        if not 0 < left <= (ASSERTION_LIFETIME - _SPARE).total_seconds():
            return False
        session.assertion, session.record_id = lines[_MOMENT_BYTES:], b""
        session.assertion_until = self._clock() + left
        return True

    def _form(self, site: Site) -> "_Form":
        headers = IdentityHeaders(site.app.headers, site.app.header_names, site.app.identity_headers_limit)
        # SECURITY: lines of a release that writes a person in another way would be taken for this one's (C-71).
        facts = [self._release, self.proof.decode(), site.route.origin, site.route.name, list(site.app.headers.items())]
        facts += [str(site.app.identity_headers_limit), str(site.app.assertion)]
        known = specimen()
        for person in (known, replace(known, email_verified=True), Identity(issuer="i", subject="s")):
            signed, _, _ = self._sign(person, site, "sid", _LONG_AGO).token.rpartition(
                b"."
            )  # signatures differ each time
            facts += [signed.decode(), headers.render(person).decode()]
        return _Form(hashlib.sha256(json.dumps(facts).encode()).digest(), headers)

    def _log_omitted(self, site: Site, claims: Sequence[str], lines: bytes) -> None:
        """A warning for each app, once an hour."""
        moment = self._clock()
        if moment - self._warned.get(site.route.name, -_HOUR) < _HOUR:
            return
        self._warned[site.route.name] = moment
        fields = lines.partition(_OMITTED)[2].partition(b"\r\n")[0].decode()
        what = [f"the identity headers without {fields} (identity_headers_limit)"] if fields else []
        what += [f"the assertion without {', '.join(claims)} (its limit is {LONGEST} bytes)"] if claims else []
        _log.warning(
            "apps.%s: what names a person is too long, so it gets %s: guides/groups.md",
            site.route.name,
            " and ".join(what),
        )

    def _sign(self, person: Identity, site: Site, sid: str, now: datetime) -> Assertion:
        settings = site.app.assertion
        kept = settings.kept(person.groups)
        return self._signer.sign(
            person if kept == person.groups else replace(person, groups=kept),
            issuer=site.route.origin,
            audience=site.route.name,
            sid=sid,
            now=now,
            groups=settings.groups,
        )


class _Form(NamedTuple):
    """How the lines for a site are written. `label` is a hash of all that they depend on besides the session: the release, the templates, and
    the lines of a person with every claim and of one with none. Another configuration or release finds nothing under it."""

    label: bytes
    headers: IdentityHeaders


def specimen() -> Identity:
    """A person with every claim: each field of the Identity differs from its default."""
    known: dict[str, object] = {"issuer": "https://i.example/\u00e4", "subject": "s %,\u00eb"}
    for field in fields(Identity):
        for value in (f"{field.name} %,\u00eb", True, False, 1, [f"{field.name} %", ",\u00eb"], {"id": "%,\u00eb"}):
            if type(value) is type(field.default) and value == field.default:
                continue
            with contextlib.suppress(ValidationError):
                convert({**known, field.name: value}, Identity)
                known.setdefault(field.name, value)
                break
    return convert(known, Identity)
