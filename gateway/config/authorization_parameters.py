"""Parameters that an operator adds to the authorization request: which names and values are allowed. Pure.

Every other parameter of the request is Doorward's own (`gateway.oidc.authorization`), and no configured one replaces it.
"""

import re
from collections.abc import Mapping
from typing import Final

#: By where they belong; all of them are refused.
_OURS: Final = {
    "the authorization request": (
        "response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
        "prompt", "login_hint", "id_token_hint", "max_age", "acr_values", "ui_locales",
    ),
    "pushed requests and request objects": (
        "request", "request_uri", "registration", "client_secret", "client_assertion", "client_assertion_type",
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti",
    ),
    "DPoP": ("dpop_jkt",),
}  # fmt: skip
_NAMES: Final = frozenset(name for names in _OURS.values() for name in names)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_LONGEST_VALUE: Final = 500
_MOST: Final = 20
_LONGEST: Final = 2000  # characters of all together: they stand in a URL, beside a `state` of 1.5 KiB


def parse_parameter_name(text: str) -> str:
    """The name of a parameter. Raises ValueError for one of ours, in any case."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "is not a parameter's name; allowed: 1 to 64 letters, digits and . _ : -, as kc_idp_hint or domain_hint"
        )
    # SECURITY: a second state, redirect_uri or scope would take the place of the one that protects the sign-in.
    if text.lower() in _NAMES:
        ours = "; ".join(f"{', '.join(names)} ({where})" for where, names in _OURS.items())
        raise ValueError(f"is a parameter of Doorward's own; allowed: any other than {ours}")
    return text


def parse_parameter_value(text: str) -> str:
    """The value of a parameter. Raises ValueError."""
    if not text or len(text) > _LONGEST_VALUE or not text.isprintable():
        raise ValueError(f"is not a parameter's value; allowed: 1 to {_LONGEST_VALUE} printable characters")
    return text


def parse_parameters(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """All of them together. Raises ValueError."""
    if len(parameters) > _MOST or sum(len(name) + len(value) for name, value in parameters.items()) > _LONGEST:
        raise ValueError(f"is too large; allowed: at most {_MOST} parameters, of {_LONGEST} characters together")
    return parameters
