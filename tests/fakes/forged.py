"""What a visitor claims to be: every name of ours and of others by which an application could believe it, each with a value that is easy to find."""

from typing import Final

from gateway.config.field_names import FORWARDING_FIELDS, IDENTITY_FIELDS, TABLE

_VALUE: Final = "forged.example"
_NAMES: Final = (
    *sorted(IDENTITY_FIELDS), "X-Doorward-Jwt-Assertion", "X-Doorward-Omitted", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token",
)  # fmt: skip
_PLACES: Final = ("X-Forwarded-Client-Cert", "X-SSL-Client-Verify", "True-Client-IP", "X-Forwarded-Prefix", "X-Host")
#: As a visitor sends them; by names of others for persons; and spelled as CGI, WSGI and Rack read them.
FORGED: Final = dict.fromkeys((*_NAMES, *sorted(FORWARDING_FIELDS), *_PLACES), _VALUE)
FORGED_BY_OTHERS: Final = dict.fromkeys(
    ("Remote-User", "X-WebAuth-User", "X-Remote-Group", "Cf-Access-Jwt-Assertion"), _VALUE
)
UNDERSCORED: Final = {
    name.replace("-", "_"): _VALUE for name in FORGED if "-" in name and name not in FORWARDING_FIELDS
}
#: Every whole name of the table.
FORGED_TABLE: Final = {name: _VALUE for row in TABLE for name in row.names if not name.endswith("*")}


def is_forged(line: bytes) -> bool:
    """Whether a line of a head has the visitor's word."""
    return _VALUE.encode() in line
