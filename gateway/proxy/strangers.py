"""Fields by which a stranger could claim to be somebody, to come from somewhere, or to ask for something else than the request does.

Who somebody is, only this gateway says: those fields end here, whoever sends them (an app's `headers` may set one anew, and its
`client_headers` lets a client's own through). Where somebody comes from, and with which certificate, a trusted proxy may say as well.

Pure. The names, and where they are known from: gateway/config/field_names.py. docs/threats.md C-01, C-30, C-31, C-34.
"""

from gateway.config.field_names import Says, told_by


def ends_here(lower: bytes) -> bool:
    """Whether the field never travels, whoever sends it. Names are in lower case, of letters, digits and hyphens."""
    return told_by(lower.decode()) in (Says.PERSON, Says.CGI, Says.PATH)


def is_vouched(lower: bytes) -> bool:
    """Whether the field travels on a trusted proxy's word only."""
    return told_by(lower.decode()) in (Says.PLACE, Says.HOST)
