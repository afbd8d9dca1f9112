"""The methods that a body asks for."""

import pytest

from gateway.http.message import RequestHead
from gateway.policy.bodies import Unreadable
from gateway.policy.forms import kind_of, methods_in_body

FORM, JSON, PARTS = (
    b"application/x-www-form-urlencoded",
    b"application/json; charset=utf-8",
    b"multipart/form-data; boundary=b",
)


def head(*types: bytes, **more: bytes) -> RequestHead:
    fields = [(b"Content-Type", value) for value in types] + [
        (name.encode().replace(b"_", b"-"), value) for name, value in more.items()
    ]
    return RequestHead("POST", b"/", b"a", fields)


def part(disposition: bytes, content: bytes = b"DELETE") -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "asked"),
    [
        (FORM, b"a=1&_method=DELETE", {"DELETE"}), (FORM, b"_METHOD=delete&b=2", {"DELETE"}), (FORM, b"%5Fmethod=%50UT", {"PUT"}),
        (FORM, b"a=1;_method=patch", {"PATCH"}), (FORM, b"X-HTTP-Method-Override=PUT&_method=DELETE", {"PUT", "DELETE"}), (FORM, b"_method=", set()),
        (FORM, b"_method=card", set()), (FORM, b"a=1", set()), (FORM, b"name=method&value=DELETE", set()),
        (JSON, b'{"_method": "DELETE"}', {"DELETE"}), (JSON, b'{"\\u005fmethod": "put"}', {"PUT"}), (JSON, b'{"method": "card"}', set()),
        (JSON, b'{"payment": {"method": "DELETE"}}', set()), (JSON, b'[{"a": 1}]', set()), (b"application/vnd.api+json", b'{"_method": "DELETE"}', {"DELETE"}),
        (PARTS, part(b'form-data; name="title"'), set()), (PARTS, part(b'form-data; name="f"; filename="a b.txt"', b"_method"), set()),
        (b"application/octet-stream", b"_method=DELETE", set()), (b"text/plain", b"_method=DELETE", set()),
    ],
)  # fmt: skip
def test_a_body_asks_for_a_method_where_a_framework_would_say_so(kind: bytes, body: bytes, asked: set[str]) -> None:
    """B-35."""
    assert methods_in_body(head(kind), body) == asked


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="_method"', b"form-data; name=_method", b'form-data;\r\n name="_method"', b'form-data; name="_\\method"', b'form-data; NAME="_METHOD"',
        b"form-data; name*=utf-8''%5fmethod", b'form-data; name="=?utf-8?q?=5Fmethod?="', b"form-data; name*=utf-8''%5fmeth%6fd",
        b'form-data; name="=?utf-8?b?X21ldGhvZA==?="', b"form-data; name*0=_meth; name*1=od", b'form-data; name="x"; ' + b"a" * 2000 + b'; name="_method"',
    ],
)  # fmt: skip
def test_a_part_that_may_be_the_field_is_not_guessed_at(disposition: bytes) -> None:
    """B-35."""
    with pytest.raises(Unreadable):
        methods_in_body(head(PARTS), part(disposition))


def test_what_can_be_read_in_two_ways_is_not_read() -> None:
    """B-35."""
    with pytest.raises(Unreadable):
        methods_in_body(head(FORM, content_encoding=b"gzip"), b"a=1")
    with pytest.raises(Unreadable):
        kind_of(head(FORM, JSON))
    with pytest.raises(Unreadable):
        kind_of(head(b"multipart/form-data; boundary=json"))
    with pytest.raises(Unreadable):
        methods_in_body(head(JSON), b'{"_method": "GET", "_method": "DELETE"}')
    with pytest.raises(Unreadable):
        methods_in_body(head(FORM), b"a&" * 2000)
