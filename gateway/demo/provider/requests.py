"""Which authorization request is answered, and after which question (OpenID Connect Core 1.0 section 3.1.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.demo.provider.clients import Clients, DemoClient

#: What can be asked for, from weak to strong. Nothing is really proved here, as the page shows.
ACR_VALUES = ("password", "mfa")

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(slots=True)
class BrowserSession:
    """A person who signed in here, in one browser. `clients` are the ids of the clients that got a token."""

    subject: str
    sid: str
    auth_time: datetime
    acr: str
    clients: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    client: DemoClient
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    code_challenge: str
    prompts: frozenset[str]
    max_age: timedelta | None
    acr: str | None
    login_hint: str

    def satisfied_by(self, session: BrowserSession | None, now: datetime) -> bool:
        """Whether this session needs no new question."""
        if session is None or self.prompts & {"login", "select_account"}:
            return False
        if self.max_age is not None and now - session.auth_time > self.max_age:
            return False
        return self.acr is None or ACR_VALUES.index(session.acr) >= ACR_VALUES.index(self.acr)


class RequestRefused(Exception):
    """Not to be redirected: the client or its redirect_uri is not known. The text is for the person."""


class RequestDenied(Exception):
    """To be told to the client: an error of OpenID Connect Core 1.0 section 3.1.2.6."""

    def __init__(self, redirect_uri: str, error: str, description: str, state: str | None) -> None:
        super().__init__(error)
        self.redirect_uri = redirect_uri
        self.error = error
        self.description = description
        self.state = state


def parse_request(parameters: Mapping[str, str], clients: Clients) -> AuthorizationRequest:
    """Raises RequestRefused, RequestDenied."""
    client = clients.get(parameters.get("client_id", ""))
    if client is None:
        raise RequestRefused("The application that sent you here is not registered.")
    redirect_uri = parameters.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise RequestRefused(f"{client.title} asked to be answered at an address that it did not register.")
    problem = _problem(parameters)
    if problem is not None:
        raise RequestDenied(redirect_uri, *problem, parameters.get("state"))
    max_age = parameters.get("max_age")
    wanted = [value for value in parameters.get("acr_values", "").split() if value in ACR_VALUES]
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        scopes=tuple(dict.fromkeys(parameters["scope"].split())),
        state=parameters.get("state"),
        nonce=parameters.get("nonce"),
        code_challenge=parameters["code_challenge"],
        prompts=frozenset(parameters.get("prompt", "").split()),
        max_age=timedelta(seconds=int(max_age)) if max_age is not None else None,
        acr=wanted[0] if wanted else None,
        login_hint=parameters.get("login_hint", "")[:254],
    )


def _problem(parameters: Mapping[str, str]) -> tuple[str, str] | None:
    if "request" in parameters or "request_uri" in parameters:
        name = "request" if "request" in parameters else "request_uri"
        return f"{name}_not_supported", "Send plain parameters."
    if parameters.get("response_type") != "code" or parameters.get("response_mode", "query") != "query":
        return "unsupported_response_type", "Only response_type code, with response_mode query, is supported."
    if "openid" not in parameters.get("scope", "").split():
        return "invalid_scope", "The scope openid is missing."
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(
        parameters.get("code_challenge", "")
    ):
        return "invalid_request", "PKCE with S256 is required."
    max_age = parameters.get("max_age", "0")
    if not (max_age.isascii() and max_age.isdecimal() and len(max_age) <= 9):
        return "invalid_request", "max_age is a number of seconds."
    prompts = parameters.get("prompt", "").split()
    if not set(prompts) <= {"none", "login", "consent", "select_account"} or ("none" in prompts and len(prompts) > 1):
        return "invalid_request", "This prompt is not supported."
    return None
