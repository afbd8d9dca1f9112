"""Queries, forms and JSON, read in the one way they can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.bodies import BodyKind, Unreadable, body_kind, has_body, name_of, names_field, read_body, read_query
from tests.unit.policy.made import FORM, JSON, head, patient


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (FORM, "form"),
        (b"Application/X-WWW-Form-URLencoded; charset=UTF-8", "form"),
        (b'application/x-www-form-urlencoded;charset="utf-8";', "form"),
        (JSON, "json"),
        (b"application/json;odata=verbose;charset=utf-8", "json"),
        (b"text/json", "json"),
        (b"application/vnd.api+json", "json"),
    ],
)
def test_a_body_is_a_form_or_json(content_type: bytes, kind: str) -> None:
    assert body_kind(head("POST", "/", body=b"x", content_type=content_type)) == kind


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            b"multipart/form-data; boundary=x",
            b"text/plain",
            b"application/xml",
            b"",
            b"json",
            b"application/jsonx",
            b"application/x-www-form-urlencoded,x",
        ),
        *(
            FORM + b"; charset=utf-16",
            FORM + b"; charset=utf-7",
            FORM + b"; charset=iso-8859-1",
            JSON + b"; charset=utf-16le",
        ),
        *(
            FORM + b"; charset=utf-8; charset=utf-16",
            FORM + b"; charset*=utf-8",
            FORM + b"; charset = utf-16",
            FORM + b";charset",
            JSON + b", text/plain",
        ),
        *(FORM + b'; x="a;charset=utf-16"', b"application/x+json+xml", b"application/json\xff"),
    ],
)
def test_a_body_of_another_kind_or_charset_is_unreadable(content_type: bytes) -> None:
    """C-12."""
    with pytest.raises(Unreadable):
        body_kind(head("POST", "/", body=b"x", content_type=content_type))


@pytest.mark.parametrize(
    "fields", [[], [(b"Content-Type", FORM)] * 2, [(b"Content-Type", FORM), (b"CONTENT-TYPE", JSON)]]
)
def test_a_body_with_no_type_or_with_two_is_unreadable(fields: list[tuple[bytes, bytes]]) -> None:
    """C-12."""
    with pytest.raises(Unreadable):
        body_kind(head("POST", "/", *fields))


@pytest.mark.parametrize("coding", [b"gzip", b"identity", b"br", b""])
def test_a_body_with_a_content_encoding_is_unreadable(coding: bytes) -> None:
    """C-12."""
    with pytest.raises(Unreadable):
        body_kind(head("POST", "/", (b"content-encoding", coding), body=b"x"))


def test_a_form_is_read_by_names_without_case_and_separators() -> None:
    fields = read_body(
        "form", b"Grant_Type=password&Coworker.Password=a%26b+c&coworker%5Bemail%5D=x&empty=&flag&&caf%C3%A9=1"
    )
    assert fields == [
        ("grant_type", "password"),
        ("coworker_password", "a&b c"),
        ("coworker_email", "x"),
        ("empty", ""),
        ("flag", ""),
        ("cafe", "1"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"a=1;grant_type=password",
            b"a=%",
            b"a=%zz",
            b"a=%u0070",
            b"%ff=1",
            b"a=%c0%af",
            b"a=\xff",
            b'{"a":1}',
            b' [{"a":1}]',
            b"<a/>",
        ),
        *(
            b"\xef\xbb\xbfgrant_type=password",
            b"grant%255ftype=password",
            b"grant%00type=password",
            b"g%0Art=1",
            b"%25u0067rant_type=x",
        ),
    ],
)
def test_a_form_that_can_be_read_in_two_ways_is_unreadable(body: bytes) -> None:
    """C-12."""
    with pytest.raises(Unreadable):
        read_body("form", body)


def test_json_is_read_with_the_path_of_every_value() -> None:
    fields = read_body(
        "json", b'{"Id":7,"User":{"NewPassword":"x","Roles":[{"Name":"a"},{"Name":null}]},"Ok":true,"None":null,"L":[]}'
    )
    assert sorted(fields) == sorted(
        [
            ("id", "7"),
            ("user", '{"NewPassword": "x", "Roles": [{"Name": "a"}, {"Name": null}]}'),
            ("user_newpassword", "x"),
            ("user_roles", '[{"Name": "a"}, {"Name": null}]'),
            ("user_roles", '{"Name": "a"}'),
            ("user_roles", '{"Name": null}'),
            ("user_roles_name", "a"),
            ("user_roles_name", ""),
            ("ok", "true"),
            ("none", ""),
            ("l", ""),
        ]
    )


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[]",
            b'"x"',
            b"7",
            b"null",
            b'[{"NewPassword":"x"}]',
            b"{'NewPassword':'x'}",
            b'{"a":1,}',
            b'{"a":1}//',
            b'{"a":1} {"b":1}',
        ),
        *(
            b'{"NewPassword":"","NewPassword":"x"}',
            b'{"newpassword":"","NewPassword":"x"}',
            b'{"x":{"a":1,"A":2}}',
            b'{"a":1,"\\u0061":2}',
        ),
        *(
            b'{"a":NaN}',
            b'{"a":Infinity}',
            b'{"a":-Infinity}',
            b'\xef\xbb\xbf{"a":1}',
            '{"a":1}'.encode("utf-16"),
            b'{"a":"\xff"}',
            b"NewPassword=x",
        ),
        *(
            b'{"a":' * 40 + b"1" + b"}" * 40,
            b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
            b'{"a":' + b"9" * 5_000 + b"}",
        ),
    ],
)
def test_json_that_readers_disagree_about_is_unreadable(body: bytes) -> None:
    """C-12: not an object, not strict, a key twice in any case, NaN, a BOM, another charset, too deep."""
    with pytest.raises(Unreadable):
        read_body("json", body)


def test_json_keys_that_differ_by_a_separator_are_two_keys() -> None:
    assert len(read_body("json", b'{"_id":1,"id":2,"$id":3}')) == 3


@pytest.mark.parametrize(
    "query",
    [
        b"t=abc",
        b"T=abc",
        b"a=1&t=abc",
        b"a=1;t=abc",
        b"%74=abc",
        b"%2574=abc",
        b"t[]=abc",
        b" t=abc",
        b"+t=abc",
        b"t%20=abc",
        b"\xef\xbd\x94=abc",
        b"t==abc",
    ],
)
def test_every_reading_of_a_query_is_read(query: bytes) -> None:
    """C-12."""
    assert any(name == "t" and value.strip("=") == "abc" for name, value in read_query(query))


def test_a_request_has_a_body_when_its_framing_says_so() -> None:
    assert not has_body(head("POST", "/"), None)
    assert not has_body(head("POST", "/", body=b""), None)
    assert has_body(head("POST", "/", body=b"x"), None)
    assert has_body(head("GET", "/", (b"Transfer-Encoding", b"chunked")), None)
    assert not has_body(head("GET", "/", (b"Transfer-Encoding", b"chunked")), b"")


def test_names_are_compared_without_case_separators_and_width() -> None:
    """C-12."""
    for name in (
        "NewPassword",
        "NEWPASSWORD",
        "\uff2eewPassword",
        "newpassword[]",
        "new\u00adpassword",
        " newpassword ",
        "newpass\u0301word",
    ):
        assert name_of(name) == "newpassword"
    assert names_field(name_of("User.NewPassword"), "newpassword")
    assert not names_field(name_of("RenewPassword"), "newpassword")


@patient
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_unreadable_and_nothing_else(body: bytes) -> None:
    read_query(body)
    kinds: tuple[BodyKind, ...] = ("form", "json")
    for kind in kinds:
        try:
            read_body(kind, body)
        except Unreadable:
            continue
