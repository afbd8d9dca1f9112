"""A person's facts in a request of ours: encoded for where they stand, or refused."""

import json

import pytest

from gateway.config.sections.hand_off import Redemption
from gateway.errors.hand_off import HandOffFailed, NoUpstreamLogin
from gateway.hand_off.templates import at_pointer, facts_of, outgoing
from gateway.identity.claims import Identity

ODD = 'a&b=c/../#"\r\nX: y%00ü'


def made(**fields: object) -> Redemption:
    return Redemption.model_validate({"path": "/sso", **fields})


@pytest.mark.parametrize("path", ["/sso/{name}", "/sso?name={name}"])
def test_a_fact_in_a_path_adds_no_segment_and_no_parameter(path: str) -> None:
    asked = outgoing(made(path=path), path, {"name": ODD})
    assert asked.target.startswith(path.replace("{name}", ""))
    value = asked.target.removeprefix(path.replace("{name}", ""))
    assert value == "a%26b%3Dc%2F..%2F%23%22%0D%0AX%3A%20y%2500%C3%BC"


def test_a_fact_in_a_form_or_json_stays_one_value() -> None:
    form = outgoing(made(method="POST", form={"who": "{name}!"}), "/sso", {"name": ODD})
    assert form.body == b"who=a%26b%3Dc%2F..%2F%23%22%0D%0AX%3A+y%2500%C3%BC%21"
    assert dict(form.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    shape = {"who": ["{name}", 7, None, {"deep": "{name}"}]}
    document = outgoing(made(method="POST", json=shape), "/sso", {"name": ODD})
    assert json.loads(document.body) == {"who": [ODD, 7, None, {"deep": ODD}]}


def test_a_fact_in_a_header_must_be_one_line() -> None:
    """C-38."""
    call = made(headers={"X-Who": "{name}"})
    assert outgoing(call, "/sso", {"name": "Mia L."}).headers == (("X-Who", "Mia L."),)
    for name in ("a\r\nX-Admin: 1", "a\nb", "\x00", "ü"):
        with pytest.raises(HandOffFailed):
            outgoing(call, "/sso", {"name": name})


def test_a_fact_that_is_not_known_is_no_empty_text() -> None:
    with pytest.raises(NoUpstreamLogin):
        outgoing(made(path="/sso?u={directory.user_id}"), "/sso?u={directory.user_id}", {})


def test_a_request_does_not_show_what_it_holds() -> None:
    """C-48."""
    asked = outgoing(made(headers={"Authorization": "Bearer s3cret"}), "/sso?t={token}", {"token": "t0ken"})
    assert "s3cret" not in repr(asked)
    assert "t0ken" not in repr(asked)


def test_facts_are_those_that_are_known() -> None:
    identity = Identity(issuer="https://p", subject="s", email="a@b.c", directory={"user_id": "7"})
    facts = facts_of(identity, token="t")
    assert facts == {
        "issuer": "https://p",
        "subject": "s",
        "user": "s",
        "email": "a@b.c",
        "directory.user_id": "7",
        "token": "t",
    }


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a/b", 1),
        ("/list/1", "y"),
        ("/x~1y", 2),
        ("/~0", 3),
        ("/a/c", None),
        ("/list/9", None),
        ("/list/x", None),
        ("/a/b/c", None),
    ],
)
def test_a_json_pointer_finds_a_member_or_nothing(pointer: str, found: object) -> None:
    assert at_pointer({"a": {"b": 1}, "list": ["x", "y"], "x/y": 2, "~": 3}, pointer) == found
