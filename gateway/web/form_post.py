"""The parameters of an authorization response: of the query, or of the form that a provider has the browser send (form_post).

The invariant: of a provider's two ways, one counts, and nothing of the other is read. Pure.
OAuth 2.0 Form Post Response Mode; "Sign in with Apple" for the member `user`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.config.schema import ClaimNames
from gateway.errors.requests import BadRequest
from gateway.identity.claims import Claims
from gateway.oidc.strict_json import parse_object
from gateway.web.request import Parameters, WebRequest, parse_form

ResponseParameters = Sequence[tuple[str, str]]

_LONGEST: Final = 32 * 1024  # a code of 4 KiB and a state of 1.5 KiB, and what a provider adds
_LONGEST_USER: Final = 4096
_LONGEST_NAME: Final = 200
_FORM: Final = b"application/x-www-form-urlencoded"
#: The members of Apple's `name`, and the claims that they stand for (OpenID Connect Core 1.0 section 5.1).
_NAMES: Final = {"firstName": "given_name", "lastName": "family_name"}


def response_parameters(request: WebRequest, response_mode: str) -> ResponseParameters:
    """The parameters, decoded, in order, with repetitions; none for a GET where a form is due. Raises BadRequest for what is no such form."""
    if response_mode != "form_post":
        return request.params
    # SECURITY: a link that anyone can write is no answer of this provider, whatever its query says.
    if request.head.method != "POST":
        return ()
    types = request.head.values(b"content-type")
    if len(types) != 1 or types[0].lower() != _FORM:
        raise BadRequest("an authorization response by form_post is application/x-www-form-urlencoded")
    if len(request.body) > _LONGEST:
        raise BadRequest(f"an authorization response has at most {_LONGEST} bytes")
    try:
        return parse_form(request.body.decode("ascii"))
    except UnicodeDecodeError as error:
        raise BadRequest("the form is not urlencoded") from error


def with_names(claims: Claims, response: ResponseParameters, names: ClaimNames) -> Claims:
    """The claims, with the person's names where they have none. Apple sends these once, at the first sign-in, beside the code."""
    known = claims.values
    if names.name != ClaimNames().name or any(claim in known for claim in (names.name, *_NAMES.values())):
        return claims
    return replace(claims, values={**known, **_names_in(Parameters(response).one("user"))})


def _names_in(user: str | None) -> dict[str, str]:
    """`given_name` and `family_name` of a `user`; {} for what is none."""
    # SECURITY: it comes through the browser, unsigned: the person may write anything, so names are all that is read of it, bounded.
    if user is None or len(user) > _LONGEST_USER:
        return {}
    try:
        name = parse_object(user.encode()).get("name")
    except (ValueError, UnicodeError):
        return {}
    told = name if isinstance(name, dict) else {}
    found = {claim: told.get(member) for member, claim in _NAMES.items()}
    return {
        claim: text
        for claim, text in found.items()
        if isinstance(text, str) and 0 < len(text) <= _LONGEST_NAME and text.isprintable()
    }
