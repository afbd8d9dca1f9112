"""How userinfo joins the ID Token."""

import pytest

from gateway.errors.signing_in import SignInFailed
from gateway.oidc.userinfo import merge_claims, validate_userinfo, without_removed_claims, words_in_both
from tests.fakes.claims import claim_names

NAMES = claim_names()


def test_the_id_token_overrules_userinfo() -> None:
    assert merge_claims({"sub": "a", "email": "a@x"}, {"sub": "a", "email": "b@x", "name": "B"}, NAMES) == {
        "sub": "a",
        "email": "a@x",
        "name": "B",
    }


def test_an_address_is_not_verified_by_what_was_said_of_another_one() -> None:
    """A-58: userinfo verified b@x, the ID Token says a@x."""
    said = {"email": "b@x", "email_verified": True}
    assert "email_verified" not in merge_claims({"email": "a@x"}, said, NAMES)
    assert merge_claims({"email": "b@x"}, said, NAMES)["email_verified"] is True
    assert merge_claims({"email": "a@x", "email_verified": False}, said, NAMES)["email_verified"] is False
    assert "email_verified" not in merge_claims(
        {"upn": "a@x"}, {"upn": "b@x", "email_verified": True}, claim_names(email="upn")
    )
    assert merge_claims({}, said, NAMES) == said


def test_a_claim_in_an_object_of_userinfo_stays_beside_the_id_tokens_object() -> None:
    """A-82: and what the first document has is not added to, or a group that was taken away would come back."""
    names = claim_names(groups="access.roles")
    id_token = {"access": {"scope": "x"}}
    assert merge_claims(id_token, {"access": {"roles": ["a"]}}, names)["access"] == {"scope": "x", "roles": ["a"]}
    assert merge_claims({"access": {"roles": ["a"]}}, {"access": {"roles": ["a", "b"]}}, names)["access"] == {
        "roles": ["a"]
    }
    words = words_in_both({"access": {"roles": ["a"]}}, {"access": {"roles": ["a"]}}, names)
    assert words == "groups"
    assert without_removed_claims({"access": {"roles": ["a"]}, "sub": "x"}, {}, names, words) == {
        "access": {},
        "sub": "x",
    }


@pytest.mark.parametrize("subject", ["ada", None, "", "Bob", ["bob"]])
def test_another_subject_is_refused(subject: object) -> None:
    """A-11."""
    with pytest.raises(SignInFailed):
        validate_userinfo({"sub": subject}, "bob")
