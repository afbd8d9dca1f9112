"""HTTP authentication schemes (RFC 9110 section 11): which carry a password or its proof, and which are known not to.

Names are compared in lower case. deploy/guides/password-routes.md names the source of each. Pure.
"""

import re
from typing import Final

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
#: Anywhere in a scheme's name: `SCRAM-SHA-256`, `X-Basic`, `SSPI_NTLM`, `Passport1.4`, `Digest-MD5`.
_WORDS = re.compile(
    r"basic|digest|ntlm|negotiate|nego2|kerberos|scram|cram-|sasl|wsse|usernametoken|ldap|passport|nlauth|passw|pwd"
)
_WHOLE_NAMES = re.compile(r"(?:x[-_]?)?(mutual|plain|login|srp)(?:(?<=srp)[^a-z].*)?")
_OTHERS: Final = frozenset(
    (
        "bearer", "token", "dpop", "hoba", "vapid", "webpush", "gnap", "concealed", "oauth", "jwt", "mac", "hawk", "aws", "ssws",
        "sharedkeylite", "macaroon", "lsat", "l402", "splunk",
    )
)  # fmt: skip
_OTHER_STARTS: Final = ("aws4-", "goog4-", "hmac")
_OTHER_ENDS: Final = ("token", "key", "bearer", "jwt", "oauth", "oauth2", "signature")


def password_scheme(name: str) -> str | None:
    """The name in logs of a scheme that carries a password or its proof; None for any other."""
    lowered = name.lower()
    if (word := _WORDS.search(lowered)) is not None:
        return word[0].rstrip("-")
    whole = _WHOLE_NAMES.fullmatch(lowered)
    return None if whole is None else whole[1]


def is_known_otherwise(name: str) -> bool:
    """Whether a scheme carries a token, key or signature, by its whole name or by the end of it, as `PVEAPIToken`."""
    lowered = name.lower()
    return password_scheme(lowered) is None and (
        lowered in _OTHERS or lowered.startswith(_OTHER_STARTS) or lowered.endswith(_OTHER_ENDS)
    )


def parse_scheme(text: str) -> str:
    """The name of a scheme that an app may get, in lower case. Raises ValueError for one that carries a password."""
    lowered = text.lower()
    if not _TOKEN.fullmatch(lowered):
        raise ValueError("is not an authentication scheme; allowed: the first word of an Authorization field, as FMID")
    # SECURITY: no setting makes a closed password route accept a password under another scheme (C-78).
    if password_scheme(lowered) is not None:
        raise ValueError("carries a password, or the proof of one; allowed: schemes of tokens, keys and signatures")
    return lowered
