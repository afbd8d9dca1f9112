"""The one-time token that opens Nexudus' own session of a person."""

from typing import Any

import pytest

from gateway.demo.nexudus_stub import Fault
from gateway.directory.account import Account
from gateway.errors.signing_in import DirectoryUnavailable
from tests.unit.directory.api import EMAIL, Bench, bench

OFFICER = ("officer@ops.example", "another-password")
AS_OFFICER: dict[str, Any] = {
    "service": OFFICER,
    "users": [{"email": EMAIL, "password": "x"}],
    "coworkers": [{"email": EMAIL, "full_name": "Ana"}],
}
SETTINGS = {"username": OFFICER[0], "password": OFFICER[1]}
TOKEN = "* /api/sys/users/*/token/refresh"


async def ana(at: Bench) -> Account:
    for group in at.stub.world.userroles.values():
        group["Roles"] = [role["Id"] for role in at.stub.world.roles.values()]
    (user,) = [user for user in at.stub.world.users.values() if user["Email"] == EMAIL]
    at.stub.coworkers[0]["UserId"] = user["Id"]
    account = await at.directory.find(EMAIL)
    assert account is not None
    return account


def at_login(at: Bench) -> str:
    return str(at.stub.coworkers[0]["UserId"])


async def test_a_token_for_the_persons_login_is_had_with_the_service_account() -> None:
    async with bench(settings=SETTINGS, **AS_OFFICER) as at:
        token = await at.directory.sign_in_token(await ana(at))
        assert str(at.stub.world.one_time[token].user) == at_login(at)


async def test_an_api_that_wants_post_is_asked_with_post() -> None:
    async with bench(settings=SETTINGS, **AS_OFFICER) as at:
        account = await ana(at)
        at.stub.faults.add(Fault(kind="answer", match=TOKEN.replace("*", "GET", 1), status=405))
        assert await at.directory.sign_in_token(account) in at.stub.world.one_time
        assert at.stub.seen[-1][0] == "POST"


async def test_an_account_without_a_login_gets_no_token() -> None:
    async with bench() as at:
        for user_id in (None, "", "5/../6", "٥"):
            with pytest.raises(DirectoryUnavailable) as caught:
                await at.directory.sign_in_token(Account(id="7", email=EMAIL, user_id=user_id))
            assert caught.value.reason == "no_login"
        assert at.stub.counters["requests"] == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="unsuccessful", match=TOKEN),
        Fault(kind="html", match=TOKEN),
        Fault(kind="answer", match=TOKEN, status=200, body='{"WasSuccessful":true,"Value":""}'),
        Fault(kind="answer", match=TOKEN, status=200, body='{"WasSuccessful":true,"Value":"a\\u000ab"}'),
        Fault(kind="answer", match=TOKEN, status=200, body='{"Value":"secret-token"}'),
        Fault(kind="answer", match=TOKEN, status=401, times=None),
    ],
)
async def test_no_other_answer_is_a_token_and_no_error_holds_one(fault: Fault) -> None:
    """C-48."""
    async with bench(settings=SETTINGS, **AS_OFFICER) as at:
        account = await ana(at)
        at.stub.faults.add(fault)
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.sign_in_token(account)
        assert "secret-token" not in f"{caught.value} {caught.value.detail} {caught.value.facts}"
