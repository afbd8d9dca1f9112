"""`GET /oauth2/userinfo`: the identity and the session; `GET /.well-known/doorward/jwks.json`: the public keys of the assertion.

The response has the identity and the facts of the session, never a token (C-23). The request does not count as a use of the session.
"""

import json
from typing import Any

from gateway.errors.access import LoginRequired
from gateway.gate.site import START
from gateway.identity.assertion import AssertionSigner
from gateway.pages.renderer import RenderedPage, as_json
from gateway.sessions.session import Session
from gateway.web.browser_session import BrowserSessions
from gateway.web.request import WebRequest


class UserInfo:
    """`GET /oauth2/userinfo`. Raises LoginRequired without a session, StoreUnavailable."""

    def __init__(self, sessions: BrowserSessions) -> None:
        self._sessions = sessions

    async def __call__(self, request: WebRequest) -> RenderedPage:
        session = await self._sessions.find(request)
        if session is None:
            raise LoginRequired("userinfo", sign_in_url=request.route.origin + START)
        return as_json(200, describe(session.session))


def describe(session: Session) -> dict[str, Any]:
    """The document. Fields are named one by one, so that a field added to Session later is not disclosed by accident (C-23)."""
    who = session.identity
    return {
        "issuer": who.issuer,
        "subject": who.subject,
        "user": who.user or who.subject,
        "email": who.email,
        "email_verified": None if who.email is None else who.email_verified,
        "name": who.name,
        "preferred_username": who.preferred_username,
        "groups": list(who.groups),
        "directory": dict(who.directory),
        "session": {
            "sid": session.sid,
            "app": session.app,
            "provider": session.provider,
            "created_at": session.created_at.isoformat(timespec="seconds"),
            "expires_at": session.expires_at.isoformat(timespec="seconds"),
            "idle_seconds": int(session.idle.total_seconds()),
            "auth_time": None if session.auth_time is None else session.auth_time.isoformat(timespec="seconds"),
            "acr": session.acr,
        },
    }


class AssertionKeys:
    """The public JWK Set (RFC 7517)."""

    def __init__(self, signer: AssertionSigner) -> None:
        self._body = json.dumps(signer.jwks()).encode()

    async def __call__(self, request: WebRequest) -> RenderedPage:
        headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "public, max-age=300"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return RenderedPage(status=200, headers=headers, body=self._body)
