"""What the events of a sign-in say."""

from gateway.config.claim_path import ClaimPath
from gateway.identity.claims import Claims
from gateway.web.sign_in_facts import SignInFacts


def test_the_address_of_an_event_is_the_claim_that_the_configuration_names() -> None:
    claims = Claims(issuer="https://login.example.com", subject="bob", values={"contact": {"email": "bob@example.com"}})
    facts = SignInFacts()
    facts.verified(claims, ClaimPath("contact.email"))
    assert (facts.subject, facts.email) == ("bob", "bob@example.com")
    facts.verified(claims, ClaimPath("email"))
    assert facts.email is None
