"""What is kept of a form is what a browser sends again, byte for byte; what could not be is not kept."""

from html.parser import HTMLParser
from urllib.parse import quote_from_bytes

import pytest

from gateway.config.schema import PageSettings
from gateway.held_forms.form import LARGEST, Form, NotKept, form_of
from gateway.languages.message import Message
from gateway.pages.links import PageContext
from gateway.pages.renderer import Content, Pages

LABEL = Message("m.x", "a label")


class Fields(HTMLParser):
    """The hidden fields of a page, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.charset = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.charset = given["accept-charset"]
        if tag == "input":
            self.found.append((given["name"], given["value"]))


def browser_sends(form: Form) -> bytes:
    """The body that a browser makes of the page (WHATWG HTML, URL, Encoding), written independently of the code under test."""
    content = Content(
        code="form_ready", tone="waiting", title=LABEL, message=LABEL, form_action="/x", form_label=LABEL,
        form_fields=form.fields, form_charset=form.charset,
    )  # fmt: skip
    page = Pages(PageSettings()).show(content, PageContext(request_id="r")).body.decode()
    page = page.replace("\r\n", "\n").replace("\r", "\n")  # the input stream of a parser of HTML
    reader = Fields()
    reader.feed(page)
    parts = []
    for pair in reader.found:
        texts = [text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n") for text in pair]
        if reader.charset == "UTF-8":
            data = [text.encode() for text in texts]
        else:
            data = [
                b"".join(bytes((ord(c),)) if 0x80 <= ord(c) < 0xA0 else c.encode("cp1252") for c in text)
                for text in texts
            ]
        escaped = [quote_from_bytes(each, safe="*-._ ").replace("~", "%7E").replace(" ", "+") for each in data]
        parts.append("=".join(escaped))
    return "&".join(parts).encode()


def kept(body: bytes, target: str = "/rooms/12") -> Form:
    form = form_of(target, body)
    assert browser_sends(form) == body
    return form


def loss(body: bytes, target: str = "/rooms/12") -> str:
    with pytest.raises(NotKept) as refused:
        form_of(target, body)
    return refused.value.loss


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"room=12&note=Two+chairs%2C+please%21",
        b"a=1&a=2&a=&b=%26%3D%2B%25%7E*-._",
        b"note=one%0D%0Atwo%0D%0A%0D%0A++three",
        b"name=Jos%C3%A9&%E5%90%8D=%E3%81%82&emoji=%F0%9F%8E%89",
        b"html=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%26amp%3B%3C%2Fform%3E",
        b"_charset_=UTF-8&x=%C3%A9",
        b"room%5Bday%5D%5B%5D=1&room%5Bday%5D%5B%5D=2",
        b"passenger=3&passport=x&compass=n&spinner=1",
    ],
)
def test_a_utf8_form_comes_back_byte_for_byte(body: bytes) -> None:
    assert kept(body).charset == "UTF-8"


@pytest.mark.parametrize(
    "body",
    [
        b"name=Jos%E9",  # ISO 8859-1
        b"price=%80+5",  # windows-1252: the euro sign
        b"name=%8Bv%96%DA",  # Shift_JIS
        b"all="
        + quote_from_bytes(bytes(sorted(set(range(1, 256)) - {10, 13})), safe="*-._ ")
        .replace("~", "%7E")
        .replace(" ", "+")
        .encode(),
    ],
)
def test_a_form_in_another_charset_comes_back_byte_for_byte_too(body: bytes) -> None:
    assert kept(body).charset == "windows-1252"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "user%5Bpassword%5D",
            "newPassword",
            "Passwort",
            "pwd",
            "pass",
            "login_pass",
            "mot_de_passe",
            "contrase%C3%B1a",
        ),
        *(
            "senha",
            "wachtwoord",
            "has%C5%82o",
            "%E3%83%91%E3%82%B9%E3%83%AF%E3%83%BC%E3%83%89",
            "pin",
            "card_cvc",
            "otp",
            "Passw%6Frd2",
        ),
    ],
)
def test_a_form_with_a_password_is_not_kept(name: str) -> None:
    """C-81."""
    assert loss(f"room=12&{name}=x".encode()) == "password"


@pytest.mark.parametrize(
    "body",
    [
        b"a",  # no browser leaves out the =
        b"=x",
        b"a=%00",
        b"a=one%0Atwo",
        b"a=one%0Dtwo",
        b"a=%c3%a9",
        b"a=x;b=y",
        b"a=/path",
        b"a=%20b",
        b"a=1&&b=2",
        b"_charset_=Shift_JIS&x=%8Bv",
        b'{"a": 1}',
        b"a=caf\xc3\xa9",
    ],
)
def test_a_form_that_no_browser_would_send_again_in_the_same_bytes_is_not_kept(body: bytes) -> None:
    assert loss(body) == "not_repeatable"


def test_a_form_that_is_too_large_is_not_kept() -> None:
    assert len(kept(b"a=" + b"x" * (LARGEST - 2)).body) == LARGEST
    assert loss(b"a=" + b"x" * (LARGEST - 1)) == "too_large"
    assert loss(b"&".join([b"a=1"] * 1001)) == "too_large"
    assert loss(b"a=1", "/" + "x" * 2000) == "too_large"


def test_what_a_person_typed_stays_out_of_logs() -> None:
    """C-48."""
    assert "secret note" not in repr(form_of("/x", b"a=secret+note"))
