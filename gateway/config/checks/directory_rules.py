"""Keys of the `directory` section that need, exclude or repeat each other. Pure."""

import itertools
from collections.abc import Iterator

from gateway.config import placeholders, schema
from gateway.config.providers import dropped_groups, key_of, providers_of
from gateway.config.reading.problems import Finding
from gateway.config.sections.directory_http import ABOUT_ACCOUNTS, KNOWN_AT, texts_of

_READS = ("directory.kind",)


def findings(config: schema.Config) -> Iterator[Finding]:
    """Everything that contradicts itself in the `directory` section."""
    directory = config.directory
    if isinstance(directory, schema.NoDirectory):
        return
    yield from _defaults(config, directory)
    yield from _links(config, directory)
    if isinstance(directory, schema.Nexudus):
        yield from _nexudus(directory)
    if isinstance(directory, schema.HttpApi):
        yield from _http(config, directory)
    if directory.update == "at_login" and not directory.fields:
        what, allowed = "is at_login, but no fields are named", 'allowed: with fields, as {name: "{name}"}'
        yield Finding(key="directory.update", what=what, allowed=allowed, reads=("directory.fields",))


def _defaults(config: schema.Config, directory: schema.RemoteDirectory) -> Iterator[Finding]:
    known = providers_of(config) if config.openid.enabled else {}
    for index, entry in enumerate(directory.defaults):
        yield from dropped_groups(f"directory.defaults[{index}].groups", entry.groups, tuple(known), known)
        for name in entry.apps:
            if name not in config.apps:
                what, allowed = f"names the app {name!r}, which is not there", f"allowed: {', '.join(config.apps)}"
                yield Finding(key=f"directory.defaults[{index}].apps", what=what, allowed=allowed, reads=("apps",))


def _links(config: schema.Config, directory: schema.RemoteDirectory) -> Iterator[Finding]:
    """Two people of two providers, who may have the same subject, must not have the same link in an account."""
    http = isinstance(directory, schema.HttpApi)
    if (
        not isinstance(directory, schema.HttpApi)
        and directory.link_field is None
        and "link_value" in directory.model_fields_set
    ):
        what, allowed = "means nothing without link_field", "allowed: together, or neither"
        yield Finding(key="directory.link_value", what=what, allowed=allowed, reads=("directory.link_field",))
        return
    key = "directory.answer.link_value" if http else "directory.link_value"
    text = directory.answer.link_value if isinstance(directory, schema.HttpApi) else directory.link_value
    for name, provider in providers_of(config).items():
        claims = provider.claims
        mapped = {f"claims.{name}" for name in (claims.email, claims.name, claims.groups, claims.preferred_username)}
        if wrong := mapped & placeholders.names_in(text):
            # SECURITY: an address is no key of an account, under whichever claim it comes.
            what = f"holds {{{min(wrong)}}}, which is an address, a name or groups of {name}"
            yield Finding(key=key, what=what, allowed='allowed: "{link}"', reads=(f"{key_of(name)}.claims",))
            return
    names = {
        issuer.removesuffix("/"): name for name, provider in providers_of(config).items() for issuer in provider.issuers
    }
    for one, other in itertools.combinations(names, 2):
        if _may_be_one(text, one, other):
            # SECURITY: a provider that chooses a subject would choose an account of another one's people.
            pair = (one, other) if names[one] == names[other] else (names[one], names[other])
            what = f"cannot tell people of {pair[0]} from people of {pair[1]}"
            allowed = 'allowed: "{link}", or a text with {issuer} and something between it and what follows, as "{issuer}|{claims.oid}"'
            yield Finding(key=key, what=what, allowed=allowed, reads=("openid", "providers"))
            return


def _may_be_one(text: str, one: str, other: str) -> bool:
    """Whether people of two issuers can get the same text, because neither its beginning nor its end differs."""
    starts = [[_fixed(text, issuer + slash) for slash in ("", "/")] for issuer in (one, other)]
    ends = [[_fixed(text, issuer + slash, backwards=True) for slash in ("", "/")] for issuer in (one, other)]
    same_start = any(a.startswith(b) or b.startswith(a) for a, b in itertools.product(*starts))
    same_end = any(a.endswith(b) or b.endswith(a) for a, b in itertools.product(*ends))
    return same_start and same_end


def _fixed(text: str, issuer: str, *, backwards: bool = False) -> str:
    """What a text begins (or ends) with for every person of this issuer."""
    written = ""
    for piece in placeholders.parse(text)[:: -1 if backwards else 1]:
        fixed = piece if isinstance(piece, str) else issuer if piece.names == ("issuer",) else None
        if fixed is None:
            is_link = not isinstance(piece, str) and piece.names == ("link",)
            return written + f"{issuer}|" if is_link and not backwards else written
        written = fixed + written if backwards else written + fixed
    return written


def _nexudus(directory: schema.Nexudus) -> Iterator[Finding]:
    if not directory.business_ids:
        allowed = "allowed: at least one location's number, as [501]"
        yield Finding(key="directory.business_ids", what="is empty", allowed=allowed, reads=_READS)
    if len(set(directory.business_ids)) != len(directory.business_ids):
        yield Finding(key="directory.business_ids", what="names a location twice", allowed="allowed: each once")
    if directory.link_field is not None and directory.link_field in directory.fields:
        what = "is the same property as one of fields"
        yield Finding(key="directory.link_field", what=what, allowed="allowed: a property of its own")


def _http(config: schema.Config, directory: schema.HttpApi) -> Iterator[Finding]:
    requests = directory.requests
    if (directory.username is None) != (directory.password is None):
        yield Finding(key="directory", what="needs both username and password", allowed="allowed: both, or neither")
    if config.openid.create_users and requests.create is None:
        what, allowed = (
            "is missing, but openid.create_users is on",
            "allowed: a request, as {method: POST, path: /users}",
        )
        yield Finding(key="directory.requests.create", what=what, allowed=allowed, reads=("openid.create_users",))
    if directory.update == "at_login":
        yield from _http_update(directory)
    if requests.find_linked is not None and directory.answer.link is None:
        what = "is missing for requests.find_linked: whose an account is must be compared"
        yield Finding(key="directory.answer.link", what=what, allowed="allowed: a JSON Pointer, as /external_id")
    if not requests.find:
        yield Finding(key="directory.requests.find", what="is empty", allowed="allowed: at least one request")
    for name, known in KNOWN_AT.items():
        given = getattr(requests, name)
        for index, request in enumerate(given if isinstance(given, tuple) else (given,)):
            place = f"directory.requests.{name}[{index}]" if isinstance(given, tuple) else f"directory.requests.{name}"
            if request is not None:
                yield from _request(place, request, known, directory)


def _http_update(directory: schema.HttpApi) -> Iterator[Finding]:
    """`update: at_login` needs a request, and a place in the answers for each field, to see whether it changed."""
    if directory.requests.update is None:
        allowed = 'allowed: a request, as {method: PUT, path: "/users/{id}"}'
        yield Finding(key="directory.requests.update", what="is missing for update: at_login", allowed=allowed)
    for name in directory.fields:
        if name not in directory.answer.fields:
            what = f"has no pointer for {name}: whether it changed cannot be seen"
            allowed = f"allowed: a JSON Pointer, as {{{name}: /{name}}}"
            yield Finding(key="directory.answer.fields", what=what, allowed=allowed, reads=("directory.fields",))


def _request(
    key: str, request: schema.HttpRequest, known: tuple[str, ...], directory: schema.HttpApi
) -> Iterator[Finding]:
    if request.json_ is not None and request.form is not None:
        yield Finding(key=key, what="has both json and form", allowed="allowed: one of them")
    if request.method == "GET" and (request.json_ is not None or request.form is not None):
        yield Finding(key=key, what="is a GET with a body", allowed="allowed: query, or another method")
    names = {name for text in texts_of(request) for name in placeholders.names_in(text, ABOUT_ACCOUNTS)}
    for name in sorted(names & set(ABOUT_ACCOUNTS) - set(known)):
        allowed = f"allowed: {', '.join(f'{{{one}}}' for one in known) or 'what a person has'}"
        yield Finding(key=key, what=f"names {{{name}}}, which is not known at this request", allowed=allowed)
    fields = {*directory.fields, *(field for entry in directory.defaults for field in entry.fields)}
    for name in sorted(names):
        if name.startswith("fields.") and name.removeprefix("fields.") not in fields:
            what = f"names {{{name}}}, but there is no such field"
            yield Finding(
                key=key, what=what, allowed="allowed: a name of directory.fields", reads=("directory.fields",)
            )
