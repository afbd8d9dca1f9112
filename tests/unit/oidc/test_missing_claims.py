"""Which claims the log says are missing."""

import logging

import pytest

from gateway.oidc.missing_claims import MissingClaimLog
from tests.fakes.claims import claim_names


def test_a_mapped_claim_that_is_absent_is_named_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    missing = MissingClaimLog(claim_names(groups="realm_access.roles", name="name"), lambda: clock[0])
    with caplog.at_level(logging.WARNING):
        missing.log({"realm_access": {"roles": []}, "name": "Ana"})
        assert caplog.messages == []
        for clock[0] in (1.0, 3600.0):
            missing.log({"name": "Ana"})
        assert caplog.messages == ["claims.groups: realm_access.roles is neither in the ID Token nor in userinfo"]
        clock[0] = 3601.0
        missing.log({"name": "Ana"})
    assert len(caplog.messages) == 2


def test_a_claim_that_nothing_maps_may_be_absent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        MissingClaimLog(claim_names(), lambda: 0.0).log({})
    assert caplog.messages == []


@pytest.mark.parametrize("sign", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}, {"hasgroups": "true"}])
def test_groups_that_are_too_many_for_a_token_are_called_so(
    sign: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        MissingClaimLog(claim_names(groups="groups"), lambda: 0.0).log(sign)
        MissingClaimLog(claim_names(), lambda: 0.0).log({**sign, "groups": ["a"]})
    (line,) = caplog.messages
    assert line.startswith("groups: the person is in too many for a token")
