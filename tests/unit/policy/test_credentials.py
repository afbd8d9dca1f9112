"""Which Authorization fields carry a password or its proof. The closed apps that refuse them have their tests in tests/attacks."""

import pytest

from gateway.config.schemes import is_known_otherwise, parse_scheme, password_scheme
from gateway.policy.credentials import password_in
from gateway.policy.passwords import Blocked, PasswordRoutes
from tests.unit.policy.made import app, head

#: The name in logs, and credentials as they are sent.
PASSWORDS = [
    ("basic", "Basic YTpi"),
    ("basic", "X-Basic YTpi"),
    ("digest", 'Digest username="a", realm="r", nonce="n", uri="/", response="x"'),
    ("ntlm", "NTLM TlRMTVNTUAABAAAA"),
    ("ntlm", "SSPI_NTLM TlRMTVNTUAABAAAA"),
    ("negotiate", "Negotiate YIIJ"),
    ("nego2", "Nego2 YIIJ"),
    ("kerberos", "Kerberos YIIJ"),
    ("scram", "SCRAM-SHA-1 realm=r, data=biws"),
    ("scram", "SCRAM-SHA-256 realm=r, data=biws"),
    ("scram", "SCRAM-SHA-512-PLUS data=biws"),
    ("cram", "CRAM-MD5 x"),
    ("sasl", 'SASL c2s="eA==", mech="PLAIN"'),
    ("mutual", 'Mutual user="a", kc1="x"'),
    ("wsse", 'WSSE profile="UsernameToken"'),
    ("usernametoken", 'UsernameToken Username="a", PasswordDigest="x"'),
    ("ldap", "ldap YTpi"),
    ("passport", "Passport1.4 OrgVerb=GET,sign-in=a,pwd=b"),
    ("nlauth", "NLAuth nlauth_email=a, nlauth_signature=b"),
    ("login", "Login a:b"),
    ("plain", "PLAIN AGEAYg=="),
    ("srp", "SRP-6a I=a, A=1"),
    ("passw", "Password b"),
]
OTHERS = [
    "Bearer eyJhbGciOiJFUzI1NiJ9.e30.x",
    "bearer YTpi",
    "Token 0123abcd",
    'Token token="abc", nonce="def"',
    "DPoP eyJ.e30.x",
    'HOBA result="a.b.c.d"',
    "vapid t=eyJ.e30.x, k=BA1H",
    "GNAP x",
    "PrivateToken token=abc",
    "Concealed k=abc, a=def, s=1, v=x, p=y",
    'OAuth realm="r", oauth_token="x", oauth_signature_method="HMAC-SHA1", oauth_signature="y%3D"',
    "AWS4-HMAC-SHA256 Credential=A/20260101/eu/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=fe5f",
    "AWS AKID:frJIUN8DYpKDtOLCwo=",
    "ApiKey aWQ6a2V5",
    "JWT eyJ.e30.x",
    "PVEAPIToken=root@pam!monitoring=aaaaaaaa-bbb-cccc-dddd-ef0123456789",
    'Signature keyId="a",algorithm="rsa-sha256",headers="(request-target) digest",signature="x=="',
    'Hawk id="a", ts="1", nonce="b", mac="x="',
    "0123456789abcdef",
    "eyJhbGciOiJFUzI1NiJ9.e30.x_-",
    "dXNlcg==",
    "",
    "Bearer a,b",
]


def found(value: str | bytes, *allowed: str, name: bytes = b"authorization") -> tuple[str, str] | None:
    raw = value if isinstance(value, bytes) else value.encode()
    return password_in([(name, raw)], frozenset(allowed))


@pytest.mark.parametrize(("name", "value"), PASSWORDS)
def test_a_scheme_that_carries_a_password_or_its_proof_is_found_in_any_case_spacing_and_place(
    name: str, value: str
) -> None:
    """C-78, C-12."""
    scheme, _, rest = value.partition(" ")
    spellings = (
        value, value.upper(), value.lower(), value.swapcase(), f"\t {value}", f"{scheme}\t{rest}", f"{scheme}    {rest}", scheme,
        f"Bearer x, {value}", f"Bearer x,{value}", f"Bearer x,,\t,{value}", f", {value}", f'Bearer x, "{scheme}" {rest}', f'"{scheme}" {rest}',
        f"'{value}", f';{value}', f'Bearer "x, {value}',
    )  # fmt: skip
    for spelling in spellings:
        hit = found(spelling)
        assert hit is not None, spelling
        assert hit[0] == name, spelling
    bearer = (b"authorization", b"Bearer x")
    assert password_in([bearer, (b"authorization", value.encode())], frozenset()) is not None
    assert password_in([(b"authorization", value.encode()), bearer], frozenset()) is not None
    assert found(value, name=b"x-authorization") is not None


@pytest.mark.parametrize("value", OTHERS)
def test_tokens_keys_and_signatures_are_none(value: str) -> None:
    assert found(value) is None
    assert found(f"  {value}") is None


@pytest.mark.parametrize(
    "value",
    ["FMID abc", "Custom a:b", "a:b", "user:pass@x", '{"user":"a"}', "Bearer x, Custom y", "Custom=a:b", "=", '"', "Basically x", "\\Bearer x"],
)  # fmt: skip
def test_a_scheme_that_nobody_vouches_for_may_carry_a_password(value: str) -> None:
    """C-78."""
    hit = found(value)
    assert hit is not None
    assert hit[0] in ("unknown", "basic")


@pytest.mark.parametrize(
    "value", [b"\xa0Basic YTpi", b"\xc2\xa0Basic YTpi", b"Ba\xc5\xbfic YTpi", b"Bearer x\xff", b"NT\xe2\x84\xaaM x", b"Bearer \x7f"]
)  # fmt: skip
def test_what_is_not_ascii_could_be_read_as_something_else(value: bytes) -> None:
    """C-78: str.strip() takes a no-break space away, and str.upper() makes an S of a long one."""
    assert found(value) is not None


@pytest.mark.parametrize("value", ["Bearer Basic YTpi", "Bearer x Basic YTpi", 'Token t="Basic YTpi"', "Bearer x;basic\tYTpi", "Bearer x|Basic YTpi"])  # fmt: skip
def test_basic_is_found_by_those_who_look_for_it_anywhere(value: str) -> None:
    """C-78: an expression without an anchor."""
    assert found(value) == ("basic", "HTTP Basic authentication carries a password")


def test_any_x_wsse_is_the_proof_of_a_password() -> None:
    """C-78."""
    assert found('UsernameToken Username="a", PasswordDigest="x"', name=b"x-wsse") is not None
    assert found("", name=b"x-wsse") is not None


def test_an_app_may_have_schemes_of_its_own_and_no_passwords_by_them() -> None:
    """C-78."""
    doors = PasswordRoutes(app(authorization_schemes=["FMID"]), closed=True)
    assert doors.basic(head("GET", "/", (b"Authorization", b"fmid abc"))) is None
    assert isinstance(doors.basic(head("GET", "/", (b"Authorization", b"FMID2 abc"))), Blocked)
    assert isinstance(doors.basic(head("GET", "/", (b"Authorization", b"fmid abc, Basic YTpi"))), Blocked)
    for name in ("Basic", "x-digest", "NTLM", "Login", "", "a b", "a:"):
        with pytest.raises(ValueError, match="allowed:"):
            parse_scheme(name)


@pytest.mark.parametrize("piece", [b'\\"', b'"', b",", b'",', b"a ", b'"\\'])
def test_a_field_of_the_longest_kind_is_read(piece: bytes) -> None:
    """C-78: each of these is 64 KiB, and a quoted string of it was read to its end once for every quote by a careless expression."""
    value = b"Bearer " + piece * (65536 // len(piece))
    assert password_in([(b"authorization", value)], frozenset()) is None


def test_a_quoted_string_that_nothing_ends_is_read_to_the_end_and_not_again() -> None:
    """C-78: also with a lone backslash at its end, where an expression that gives up begins anew at each of the quotes in it."""
    for end in (b"", b"\\", b"\\\\", b'\\"'):
        assert (
            password_in([(b"authorization", b'Bearer a="b' + b'\\"' * 1000 + b", madeup c" + end)], frozenset()) is None
        )
        assert password_in([(b"authorization", b'Bearer a="b", madeup c' + end)], frozenset()) is not None


def test_no_name_is_both() -> None:
    for name in ("UsernameToken", "PasswordKey", "BasicToken", "ldap-token", "Digest-Signature"):
        assert password_scheme(name) is not None
        assert not is_known_otherwise(name)
    assert password_scheme("srpski-token") is None
