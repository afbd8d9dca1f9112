"""Claims become an Identity or fail; an Identity becomes header lines that hold exactly what they should."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet
from msgspec.structs import replace

from gateway.config.placeholders import IN_HEADERS
from gateway.config.schema import ClaimNames
from gateway.errors.signing_in import EmailNotVerified, SignInFailed
from gateway.identity.assertion import AssertionSigner
from gateway.identity.claims import Claims, Identity
from gateway.identity.headers import IdentityHeaders, is_identity_name, normalise_name
from tests.fakes.claims import claim_names, identified

NAMES = ClaimNames()
BOB = Identity(issuer="https://login.example.com", subject="bob")


def claims(**values: Any) -> Claims:
    return Claims(issuer="https://login.example.com", subject="bob", values={"sub": "bob", **values})


def identity(required: Any = "when_present", names: ClaimNames = NAMES, **values: Any) -> Identity:
    return identified(claims(**values), names, required)


@pytest.mark.parametrize(
    "template", ["a\r\nX-Forwarded-User: admin", "a\nb", "a\rb", "caf\u00e9 {email}", "a\x00", "\t", "a\x7f", "\u2028"]
)
def test_a_template_that_would_be_more_than_one_line_is_never_written(template: str) -> None:
    """C-33: though the configuration would have refused it before."""
    with pytest.raises(ValueError):
        IdentityHeaders({"X-Customer": template}).render(BOB)


def headers(person: Identity, **extra: str) -> dict[str, str]:
    raw = IdentityHeaders(extra).render(person)
    assert raw.endswith(b"\r\n")
    lines = raw[:-2].split(b"\r\n")
    pairs = [line.decode("ascii").split(": ", 1) for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: value for name, value in pairs}  # noqa: C416 - pairs are lists


def test_mapped_claims_become_the_identity() -> None:
    person = identity(
        email="Bob.Builder@Example.COM", name="Bob", groups=["staff", "staff", "it"], preferred_username="bob"
    )
    assert person == Identity(
        issuer="https://login.example.com",
        subject="bob",
        email="Bob.Builder@example.com",
        name="Bob",
        groups=("staff", "it"),
        preferred_username="bob",
    )


def test_other_claims_can_be_mapped_and_the_subject_stays_the_providers() -> None:
    names = claim_names(subject="oid", email="upn", groups="roles")
    person = identity(names=names, oid="0c1f", upn="bob@example.com", roles="admin", email="other@example.com")
    assert (person.subject, person.user) == ("bob", "0c1f")
    assert (person.email, person.groups) == ("bob@example.com", ("admin",))
    assert headers(person)["X-Forwarded-User"] == "0c1f"


@pytest.mark.parametrize("verified", [False, "false", "False", 0, 1, None, "", [], {}, "yes"])
@pytest.mark.parametrize("required", ["when_present", "always"])
def test_an_address_that_is_not_verified_signs_nobody_in(required: str, verified: object) -> None:
    """A-58: the text "false" is not true."""
    with pytest.raises(EmailNotVerified):
        identity(required, email="bob@example.com", email_verified=verified)


def test_what_the_operator_asks_for_decides_when_verification_is_not_mentioned() -> None:
    """A-58."""
    assert identity("when_present", email="bob@example.com").email
    assert identity("never", email="bob@example.com", email_verified=False).email
    assert identity("always", email="bob@example.com", email_verified=True).email
    assert identity("always", email="bob@example.com", email_verified="true").email
    for values in ({"email": "bob@example.com"}, {}, {"email_verified": True}):
        with pytest.raises(EmailNotVerified):
            identity("always", **values)


@pytest.mark.parametrize(
    "email",
    [
        "attacker@evil.com@company.com",
        "a@company.com\n",
        "\na@company.com",
        "a@company.com\r\nX-Admin: 1",
        "a@cömpany.com",
        "a@\u212aompany.com",  # the Kelvin sign, which lower-cases to k
        "a@company.com.",
        "a@company..com",
        "a@.company.com",
        "a@-company.com",
        "a@",
        "@company.com",
        "company.com",
        "a b@company.com",
        "a@company.com ",
        '"a@b"@company.com',
        "a,b@company.com",
        "a\u0000@company.com",
        "a\u0085@company.com",
        "a\ud800@company.com",
        ["a@company.com"],
        {"a@company.com": 1},
        42,
        True,
        "a" * 1024 * 1024 + "@company.com",
        "a@" + "b" * 1024 * 1024,
        "a@" + "b." * 60_000 + "com",
    ],
)
def test_what_is_not_exactly_one_address_is_no_address(email: object) -> None:
    """A-59."""
    with pytest.raises(SignInFailed) as refused:
        identity(email=email)
    assert refused.value.reason == "claim_invalid"


@pytest.mark.parametrize(
    "email", ["a@company.com.evil", "a@COMPANY.com", "ö@company.com", "a+b@company.com", "a@localhost"]
)
def test_an_address_keeps_its_own_domain_in_lower_case(email: str) -> None:
    """A-59."""
    local, _, domain = email.partition("@")
    assert identity(email=email).email == f"{local}@{domain.lower()}"


NASTY = [
    "bob\r\nX-Admin: 1",
    "bob\nX-Admin: 1",
    "bob\x00",
    "bob\x7f",
    "bob\x85",
    "bob\ud800",
    "b" * 20 * 1024,
    {"nested": {"object": []}},
    ["a", "list"],
    7.5,
    1 << 64,
    True,
]


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("name", ["sub", "name", "preferred_username"])
def test_a_mapped_claim_without_its_shape_fails_the_sign_in(name: str, value: object) -> None:
    """A-60."""
    values: dict[str, Any] = {name: value}
    with pytest.raises(SignInFailed):
        identity(**values)


@pytest.mark.parametrize(
    "value",
    [*(n for n in NASTY if not isinstance(n, list | dict)), {"a\n": {}}, [["a"]], ["a", {}], ["a\r\nb"], ["a"] * 1001],
)
def test_groups_are_a_list_of_texts_or_fail_the_sign_in(value: object) -> None:
    """A-60."""
    with pytest.raises(SignInFailed):
        identity(groups=value)


@pytest.mark.parametrize(
    ("claim", "document", "expected"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["staff", 7]}}, ("staff", "7")),
        ("realm_access.roles", {"realm_access.roles": ["whole"], "realm_access": {"roles": ["inner"]}}, ("whole",)),
        ("realm_access.roles", {"realm_access": ["roles"]}, ()),
        (["https://example.com/groups"], {"https://example.com/groups": ["staff"]}, ("staff",)),
        ("https://example.com/groups", {"https://example.com/groups": ["staff"]}, ("staff",)),
        (["a.b", "c"], {"a.b": {"c": "staff"}, "a": {"b": {"c": "other"}}}, ("staff",)),
        ("urn:zitadel:roles", {"urn:zitadel:roles": {"admin": {"1": "x"}, "staff": {}}}, ("admin", "staff")),
        ({"claim": "roles", "separator": " "}, {"roles": " admin  staff "}, ("admin", "staff")),
        ({"claim": "roles", "separator": ","}, {"roles": ["a,b"]}, ("a,b",)),
        ("roles", {"roles": "admin staff"}, ("admin staff",)),
    ],
)
def test_groups_are_found_where_the_provider_has_them(claim: object, document: Any, expected: object) -> None:
    assert identity(names=claim_names(groups=claim), **document).groups == expected


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"groups": []}, "is no claim"),
        ({"groups": ["a", 7]}, "is no claim"),
        ({"groups": [" "]}, "blanks"),
        ({"groups": {"claim": "roles"}}, "separator"),
        ({"groups": {"claim": "roles", "separator": ""}}, "separator"),
        ({"email": {"claim": "mail", "separator": " "}}, "is no claim"),
        ({"name": 7}, "is no claim"),
    ],
)
def test_a_claim_that_is_none_is_refused(wrong: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        claim_names(**wrong)


def test_a_number_is_a_text() -> None:
    assert identity(names=claim_names(subject="uid"), uid=1001).user == "1001"


def test_of_several_addresses_the_first_that_is_vouched_for_counts() -> None:
    """A-81: and where none is, the first one, which is verified by nobody."""
    names = claim_names(email="emails")
    several = claims(emails=["a@home.example", "b@company.com", "c@company.com"])
    vouched = identified(several, names, "when_present", ["company.com"])
    assert (vouched.email, vouched.email_verified) == ("b@company.com", True)
    first = identified(several, names, "when_present", ["other.example"])
    assert (first.email, first.email_verified) == ("a@home.example", False)
    assert identified(claims(emails=[]), names, "when_present").email is None


def test_a_name_is_made_of_its_parts_where_the_claim_is_missing() -> None:
    assert identity(given_name="Ana", family_name="Ruiz").name == "Ana Ruiz"
    assert identity(family_name="Ruiz").name == "Ruiz"
    assert identity(name="Ana R.", given_name="Ana").name == "Ana R."
    assert identity(names=claim_names(name="display"), given_name="Ana").name is None


def test_five_hundred_groups_are_fine_and_megabytes_of_them_are_not() -> None:
    """A-60."""
    assert len(identity(groups=[f"group-{n}" for n in range(500)]).groups) == 500
    with pytest.raises(SignInFailed):
        identity(groups=[f"{n}" * 200 for n in range(200, 400)])


GUIDS = [f"{n:08x}-aaaa-4bbb-8ccc-0123456789ab" for n in range(200)]


def test_a_filter_keeps_groups_by_name_and_by_glob_whatever_their_number() -> None:
    """A person in thousands of groups can sign in where the filter keeps a few."""
    groups = [*GUIDS * 10, "staff", "team-a", "my-team-b", "team-", "Staff", "staff\n", ""]
    kept = identified(claims(groups=groups), groups_filter=["staff", "team-*"]).groups
    assert kept == ("staff", "team-a", "team-")
    values: list[Any] = [{"staff": {}, "other": {}}, "staff"]
    for value in values:
        assert identified(claims(groups=value), groups_filter=["staff"]).groups == ("staff",)
    text = claim_names(groups={"claim": "groups", "separator": ","})
    assert identified(claims(groups="a, staff ,b"), text, groups_filter=["st*"]).groups == ("staff",)
    assert identified(claims(groups=["[x]", "x"]), groups_filter=["[x]"]).groups == ("[x]",)


def test_too_many_groups_are_called_so_and_the_log_names_the_filter() -> None:
    """A-60."""
    with pytest.raises(SignInFailed) as refused:
        identity(groups=[str(n) for n in range(1001)])
    assert refused.value.reason == "too_many_groups"
    assert "groups_filter" in refused.value.detail


def test_two_hundred_groups_leave_the_header_and_the_assertion_which_say_so() -> None:
    """Each as a whole: a part of the groups would look like all of them."""
    person = identity(email="bob@example.com", name="Bob", groups=GUIDS)
    assert headers(person) == {
        "X-Forwarded-User": "bob",
        "X-Forwarded-Email": "bob@example.com",
        "X-Forwarded-Name": "Bob",
        "X-Doorward-Omitted": "X-Forwarded-Groups",
    }
    token, omitted = AssertionSigner(RING).sign(person, issuer="i", audience="a", sid="s", now=NOW)
    stated = json.loads(urlsafe_b64decode(token.split(b".")[1] + b"=="))
    assert omitted == ("groups",)
    assert stated["omitted"] == ["groups"]
    assert "groups" not in stated
    assert stated["email"] == "bob@example.com"


def test_a_hundred_groups_of_entra_have_room_in_the_headers_and_sixty_in_the_assertion() -> None:
    """As deploy/guides/groups.md says, for a person with the other claims of Entra ID."""
    person = Identity(
        issuer="https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
        subject="a" * 43,
        email="mia.lindqvist@example.com",
        name="Mia Lindqvist",
        preferred_username="mia.lindqvist@example.com",
        groups=tuple(GUIDS[:100]),
    )
    assert len(headers(person)["X-Forwarded-Groups"].split(",")) == 100
    signer = AssertionSigner(RING)
    for groups, omitted in ((60, ()), (100, ("groups",))):
        some = replace(person, groups=person.groups[:groups])
        signed = signer.sign(some, issuer="https://portal.example.com", audience="portal", sid="s" * 22, now=NOW)
        assert signed.omitted == omitted


def test_an_assertion_has_no_groups_where_the_app_wants_none() -> None:
    token, omitted = AssertionSigner(RING).sign(
        identity(groups=["a"]), issuer="i", audience="a", sid="s", now=NOW, groups=False
    )
    assert json.loads(urlsafe_b64decode(token.split(b".")[1] + b"==")).keys().isdisjoint({"groups", "omitted"})
    assert omitted == ()


def test_what_is_too_long_is_left_out_by_a_fixed_order() -> None:
    """Groups, wherever they stand; then name and preferred username, then the app's own."""
    person = identity(email="bob@example.com", name="\u4e2d" * 90, preferred_username="\u4e2d" * 90, groups=["a" * 300])
    extra = {"X-Teams": "in {groups}", "X-Mail": "{email}"}
    left = [
        IdentityHeaders(extra, limit=limit)
        .render(person)
        .partition(b"X-Doorward-Omitted: ")[2]
        .rstrip()
        .decode()
        .split(", ")
        for limit in (4096, 2000, 1100, 120)
    ]
    assert left == [
        [""],
        ["X-Forwarded-Groups", "X-Teams"],
        ["X-Forwarded-Groups", "X-Teams", "X-Forwarded-Name"],
        ["X-Forwarded-Groups", "X-Teams", "X-Forwarded-Name", "X-Forwarded-Preferred-Username", "X-Mail"],
    ]


SIGNER = AssertionSigner((b"k" * 32,))


@given(
    name=st.text(max_size=512),
    groups=st.lists(st.text(min_size=1, max_size=120), max_size=60),
    user=st.text(st.characters(codec="ascii"), min_size=1, max_size=255),
)
def test_lines_and_assertion_of_any_person_are_within_their_limits(name: str, groups: list[str], user: str) -> None:
    person = Identity(
        issuer="https://login.example.com", subject=user, email=f"{'a' * 64}@{'b' * 60}.example", name=name,
        preferred_username=name, groups=tuple(groups),
    )  # fmt: skip
    assert len(IdentityHeaders({"X-All": "{groups}"}).render(person)) <= 4096
    assert len(SIGNER.sign(person, issuer="https://a.example", audience="a", sid="s", now=NOW).token) <= 4096


def test_a_missing_subject_fails_the_sign_in() -> None:
    with pytest.raises(SignInFailed) as refused:
        identified(claims(), claim_names(subject="oid"), "never")
    assert refused.value.reason == "claim_missing"


def test_a_group_with_the_separator_cannot_forge_another_group() -> None:
    """A-60: the header has one group with an encoded comma, never two."""
    person = identity(groups=["a,b", "c", " d ", "50%", "ü"])
    assert headers(person)["X-Forwarded-Groups"] == "a%2Cb,c,%20d%20,50%25,%C3%BC"


def test_header_values_are_printable_ascii_and_nothing_is_lost() -> None:
    """A-60."""
    person = identity(name="Zoë O'Neil, 100% ", email="zoe@example.com", preferred_username="zoé")
    assert headers(person) == {
        "X-Forwarded-User": "bob",
        "X-Forwarded-Email": "zoe@example.com",
        "X-Forwarded-Preferred-Username": "zo%C3%A9",
        "X-Forwarded-Name": "Zo%C3%AB O'Neil, 100%25%20",
    }


def test_a_fact_that_is_missing_gives_no_header() -> None:
    """C-31: the client's own is stripped anyway, and nothing takes its place."""
    assert headers(BOB) == {"X-Forwarded-User": "bob"}
    assert headers(BOB, **{"X-Customer": "{directory.id}", "X-Mail": "<{email}>"}) == {"X-Forwarded-User": "bob"}


def test_templates_are_filled_once_with_encoded_facts() -> None:
    person = Identity(issuer="https://a", subject="{email}", email="b@c.de").with_directory({"id": "876 \n"})
    extra = {"X-Customer": "nx-{directory.id}", "X-Who": "{subject} at {issuer}"}
    assert headers(person, **extra)["X-Customer"] == "nx-876 %0A"
    assert headers(person, **extra)["X-Who"] == "{email} at https://a"


@pytest.mark.parametrize("name", IN_HEADERS)
def test_every_placeholder_that_the_configuration_allows_can_be_rendered(name: str) -> None:
    identity = Identity(
        issuer="i",
        subject="s",
        email="ana@example.com",
        name="Ana",
        groups=("g",),
        preferred_username="ana",
        user="u",
        directory={"NAME": "n"},
    )
    assert IdentityHeaders({"X-Own": f"<{{{name}}}>"}).render(identity).splitlines()[-1].startswith(b"X-Own: <")


def test_a_fact_that_was_cut_in_the_middle_of_a_letter_can_be_stored_and_told() -> None:
    """Directories that count in UTF-16 leave half a letter at the end."""
    person = BOB.with_directory({"nick": "Anna \ud83d", "id": "é"})
    assert person.directory == {"nick": "Anna ?", "id": "é"}
    assert headers(person, **{"X-Nick": "{directory.nick}"})["X-Nick"] == "Anna ?"


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("X-A", "bob\r\nX-Admin: 1"),
        ("X-A", "\x00{subject}"),
        ("X-A", "é"),
        ("X-A\r\nX-Admin", "1"),
        ("X-A:", "1"),
        ("", "1"),
        ("X-A", "{password}"),
        ("X-A", "{}"),
        ("X-A", "{subject.__class__}"),
    ],
)
def test_a_template_that_would_add_a_header_or_an_unknown_fact_is_refused(name: str, template: str) -> None:
    """C-33."""
    with pytest.raises(ValueError):
        IdentityHeaders({name: template})


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=5), st.text(max_size=40))
def test_no_fact_whatever_it_holds_adds_or_splits_a_header(name: str, groups: list[str], customer: str) -> None:
    """C-33, A-60."""
    person = Identity(issuer="https://a", subject="bob", name=name, groups=tuple(groups), directory={"id": customer})
    raw = IdentityHeaders({"X-Customer": "{directory.id}"}).render(person)
    lines = raw.split(b"\r\n")
    assert lines[-1] == b""
    for line in lines[:-1]:
        field, value = line.split(b": ", 1)
        assert field in (b"X-Forwarded-User", b"X-Forwarded-Groups", b"X-Forwarded-Name", b"X-Customer")
        assert all(0x20 <= byte <= 0x7E for byte in value)
        assert value == value.strip()
    sent = [line for line in lines if line.startswith(b"X-Forwarded-Groups")]
    assert (len(sent[0].split(b",")) if sent else 0) == len([group for group in groups if group])


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-User",
        b"X_Forwarded_User",
        b"X-Forwarded_User",
        b"x-FORWARDED-user",
        b"X.Forwarded.User",
        b"X~Forwarded!User",
        b"X-Forwarded-Email",
        b"x_forwarded_groups",
        b"X-Forwarded-Preferred-Username",
        b"X-Forwarded-Preferred_Username",
        b"X-Forwarded-Name",
        b"X-Doorward-Jwt-Assertion",
        b"X_DOORWARD_anything",
        b"X-Auth-Request-User",
        b"x.auth.request.email",
        b"X-Portal_Customer",
    ],
)
def test_every_spelling_of_an_identity_header_is_ours(name: bytes) -> None:
    """C-30."""
    assert is_identity_name(name, frozenset({normalise_name(b"X-Portal-Customer")}))


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"X-Forwarded-Users", b"Accept", b"X-Doorwarden", b"Cookie", b""])
def test_other_headers_are_not_ours(name: bytes) -> None:
    assert not is_identity_name(name)


@given(st.from_regex(rb"\A[A-Za-z0-9_.-]{1,40}\Z"))
def test_what_a_cgi_upstream_would_read_as_ours_is_ours(name: bytes) -> None:
    """C-30: WSGI, CGI and Rack make one variable of all that differs only in case and punctuation."""
    variable = name.upper().replace(b"-", b"_").replace(b".", b"_")
    assert is_identity_name(name) == is_identity_name(variable)


NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
RING = (b"k" * 32, b"o" * 32)


def assertion(signer: AssertionSigner) -> bytes:
    person = identity(email="bob@example.com", groups=["staff"])
    return signer.sign(person, issuer="https://portal.example.com", audience="portal", sid="handle", now=NOW).token


def test_the_assertion_says_who_for_whom_and_for_five_minutes() -> None:
    signer = AssertionSigner(RING)
    token = jwt.decode(assertion(signer), KeySet.import_key_set(signer.jwks()), algorithms=["ES256"])  # type: ignore[arg-type]
    assert token.claims == {
        "iss": "https://portal.example.com",
        "aud": "portal",
        "sub": "bob",
        "provider": "https://login.example.com",
        "email": "bob@example.com",
        "groups": ["staff"],
        "sid": "handle",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 300,
    }


def test_every_worker_derives_the_same_keys_and_old_ring_keys_still_verify() -> None:
    old, new = AssertionSigner(RING[1:]), AssertionSigner(RING)
    assert AssertionSigner(RING).jwks() == new.jwks()
    assert old.jwks()["keys"][0] in new.jwks()["keys"]
    header = json.loads(urlsafe_b64decode(assertion(new).split(b".")[0] + b"=="))
    assert header["kid"] == new.jwks()["keys"][0]["kid"]
    assert header["alg"] == "ES256"


def test_the_published_keys_have_no_private_half() -> None:
    assert all(
        key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in AssertionSigner(RING).jwks()["keys"]
    )
