"""How userinfo joins the ID Token."""

import pytest

from gateway.errors.signing_in import SignInFailed
from gateway.oidc.userinfo import merge_claims, validate_userinfo


def test_the_id_token_overrules_userinfo() -> None:
    assert merge_claims({"sub": "a", "email": "a@x"}, {"sub": "a", "email": "b@x", "name": "B"}, "email") == {
        "sub": "a",
        "email": "a@x",
        "name": "B",
    }


def test_an_address_is_not_verified_by_what_was_said_of_another_one() -> None:
    """A-58: userinfo verified b@x, the ID Token says a@x."""
    said = {"email": "b@x", "email_verified": True}
    assert "email_verified" not in merge_claims({"email": "a@x"}, said, "email")
    assert merge_claims({"email": "b@x"}, said, "email")["email_verified"] is True
    assert merge_claims({"email": "a@x", "email_verified": False}, said, "email")["email_verified"] is False
    assert "email_verified" not in merge_claims({"upn": "a@x"}, {"upn": "b@x", "email_verified": True}, "upn")
    assert merge_claims({}, said, "email") == said


@pytest.mark.parametrize("subject", ["ada", None, "", "Bob", ["bob"]])
def test_another_subject_is_refused(subject: object) -> None:
    """A-11."""
    with pytest.raises(SignInFailed):
        validate_userinfo({"sub": subject}, "bob")
