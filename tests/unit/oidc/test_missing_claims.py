"""Which mapped claims the log says are missing or malformed, and what is kept of each."""

import logging

import pytest

from gateway.oidc.missing_claims import MappedClaimLog
from tests.fakes.claims import claim_names


async def test_a_mapped_claim_that_is_absent_is_named_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    log = MappedClaimLog("openid", claim_names(groups="realm_access.roles", name="name"), lambda: clock[0])
    with caplog.at_level(logging.WARNING):
        await log.log({"realm_access": {"roles": []}, "name": "Ana"})
        assert caplog.messages == []
        for clock[0] in (1.0, 3600.0):
            await log.log({"name": "Ana"})
        assert caplog.messages == ["claims.groups: realm_access.roles is neither in the ID Token nor in userinfo"]
        clock[0] = 3601.0
        await log.log({"name": "Ana"})
    assert len(caplog.messages) == 2


async def test_a_claim_of_a_wrong_shape_is_named_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    log = MappedClaimLog("openid", claim_names(groups="roles"), lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await log.log_malformed("roles")
    assert caplog.messages == ["claims.groups: roles is of a shape that cannot be used; sign-ins with it are refused"]


async def test_a_claim_that_nothing_maps_may_be_absent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await MappedClaimLog("openid", claim_names(), lambda: 0.0).log({})
    assert caplog.messages == []


@pytest.mark.parametrize("sign", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}, {"hasgroups": "true"}])
async def test_groups_that_are_too_many_for_a_token_are_called_so(
    sign: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await MappedClaimLog("openid", claim_names(groups="groups"), lambda: 0.0).log(sign)
        await MappedClaimLog("openid", claim_names(), lambda: 0.0).log({**sign, "groups": ["a"]})
    (line,) = caplog.messages
    assert line.startswith("groups: the person is in too many for a token")
