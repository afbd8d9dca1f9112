"""The stub behaves as the API it imitates, its doors really open, and its counters say so."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.demo.nexudus_stub import SERVICE, Fault, NexudusStub

PERSON = ("ana@tenant.example", "ana-password")
COWORKERS = "/api/spaces/coworkers"
WHOLE: dict[str, Any] = {
    "FullName": "Ben Ito",
    "Email": "ben@tenant.example",
    "CountryId": 1113,
    "SimpleTimeZoneId": 2029,
    "CoworkerType": 1,
    "Gender": 1,
    "TaxRateType": 1,
    **{f"{day}Attendance": 5 for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")},
    "Businesses": [501],
    "InvoicingBusinessId": 501,
    "CreateUser": False,
}


class Caller:
    """A client of the stub that looks at status and JSON."""

    def __init__(self, stub: NexudusStub, http: aiohttp.ClientSession) -> None:
        self.stub = stub
        self.http = http
        self.token = ""

    async def ask(self, method: str, path: str, **parts: Any) -> tuple[int, Any]:
        parts.setdefault("headers", {"Authorization": f"Bearer {self.token}"} if self.token else {})
        async with self.http.request(method, self.stub.url + path, allow_redirects=False, **parts) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()

    async def log_in(self, who: tuple[str, str] = SERVICE, **headers: str) -> dict[str, Any]:
        form = {"grant_type": "password", "username": who[0], "password": who[1]}
        status, value = await self.ask("POST", "/api/token", data=form, headers=headers)
        assert status == 200
        self.token = value["access_token"]
        return dict(value)


@pytest.fixture
async def stub() -> AsyncIterator[NexudusStub]:
    async with NexudusStub(users=[{"email": PERSON[0], "password": PERSON[1]}]) as running:
        running.world.add_coworker(PERSON[0], "Ana Ruiz", UserId=running.world.last_id)
        yield running


@pytest.fixture
async def caller(stub: NexudusStub) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(stub, http)


async def test_a_refresh_token_works_once_and_only_with_the_client_id_it_was_made_for(caller: Caller) -> None:
    first = await caller.log_in(client_id="one")
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    assert (await caller.ask("POST", "/api/token", data=form, headers={"client_id": "two"}))[0] == 400
    assert (await caller.ask("POST", "/api/token", data=form, headers={"client_id": "one"}))[0] == 200
    assert (await caller.ask("POST", "/api/token", data=form, headers={"client_id": "one"}))[0] == 400


async def test_a_token_request_fails_with_the_vendors_four_words(caller: Caller, stub: NexudusStub) -> None:
    stub.world.add_user("totp@tenant.example", "x", TotpSecret="123456")
    stub.world.add_user("reset@tenant.example", "x", MustResetPassword=True)

    async def word(**form: str) -> str:
        status, value = await caller.ask("POST", "/api/token", data={"grant_type": "password", **form})
        assert status == 400
        return str(value["error"])

    assert await word(username="nobody@tenant.example", password="x") == "invalid_grant"
    assert await word(username="totp@tenant.example", password="x") == "two_factor_auth_check"
    assert await word(username="reset@tenant.example", password="x") == "must_reset_password"
    assert await word(grant_type="client_credentials") == "unsupported_grant_type"
    status, value = await caller.ask("POST", "/api/token", json={"grant_type": "password"})
    assert (status, value["error"]) == (400, "unsupported_grant_type")


async def test_the_api_answers_401_without_with_a_dead_and_with_a_weak_credential(
    caller: Caller, stub: NexudusStub
) -> None:
    assert (await caller.ask("GET", COWORKERS))[0] == 401
    caller.token = "made-up"
    assert (await caller.ask("GET", COWORKERS))[0] == 401
    await caller.log_in(PERSON)
    assert (await caller.ask("GET", COWORKERS))[0] == 401
    await caller.log_in()
    assert (await caller.ask("GET", COWORKERS))[0] == 200
    stub.world.access[caller.token].until = 0
    assert (await caller.ask("GET", COWORKERS))[0] == 401


async def test_basic_credentials_work_and_are_counted(caller: Caller, stub: NexudusStub) -> None:
    value = base64.b64encode(":".join(PERSON).encode()).decode()
    status, me = await caller.ask("GET", "/api/auth/me", headers={"Authorization": f"Basic {value}"})
    assert (status, me["Email"]) == (200, PERSON[0])
    assert "Password" not in me
    assert stub.counters["signed_in"] == 1


async def test_lists_page_filter_without_case_and_ignore_what_they_do_not_know(
    caller: Caller, stub: NexudusStub
) -> None:
    for number in range(30):
        stub.world.add_coworker(f"p{number}@tenant.example", f"Person {number}")
    await caller.log_in()
    _, page = await caller.ask("GET", COWORKERS, params={"page": "2", "size": "25", "PageNumber": "1"})
    assert (page["CurrentPage"], page["TotalItems"], len(page["Records"]), page["HasNextPage"]) == (2, 31, 6, False)
    assert "Businesses" not in page["Records"][0]
    _, page = await caller.ask("GET", COWORKERS, params={"coworker_email": "P7@TENANT.example"})
    assert [row["FullName"] for row in page["Records"]] == ["Person 7"]
    _, page = await caller.ask("GET", COWORKERS, params={"Coworker_Emial": "p7@tenant.example"})
    assert page["TotalItems"] == 31
    _, page = await caller.ask("GET", COWORKERS, params={"Coworker_User": "notnull"})
    assert [row["Email"] for row in page["Records"]] == [PERSON[0]]


@pytest.mark.parametrize("status", [404, 401])
async def test_a_missing_record_is_a_bare_text_with_the_chosen_status(
    caller: Caller, stub: NexudusStub, status: int
) -> None:
    stub.switches.missing_status = status
    await caller.log_in()
    assert await caller.ask("GET", f"{COWORKERS}/1") == (status, "Not found")


async def test_creation_names_every_missing_field_and_answers_200_with_an_id(caller: Caller, stub: NexudusStub) -> None:
    await caller.log_in()
    status, value = await caller.ask("POST", COWORKERS, json={})
    assert (status, value["WasSuccessful"], len(value["Errors"])) == (400, False, 14)
    assert value["Message"] == "FullName: is a required field"
    status, value = await caller.ask("POST", COWORKERS, json=WHOLE)
    assert (status, value["WasSuccessful"]) == (200, True)
    _, record = await caller.ask("GET", f"{COWORKERS}/{value['Value']['Id']}")
    assert (record["Email"], record["UserId"], record["Businesses"]) == ("ben@tenant.example", None, [501])
    assert (await caller.ask("POST", COWORKERS, json=WHOLE))[0] == 200  # duplicates are possible
    assert stub.counters["coworkers.created"] == 2


async def test_creation_in_a_foreign_business_is_401_access_denied(caller: Caller) -> None:
    await caller.log_in()
    assert await caller.ask("POST", COWORKERS, json=WHOLE | {"Businesses": [999]}) == (401, "Access Denied.")


async def test_create_user_makes_a_login_and_mails_its_password_once(caller: Caller, stub: NexudusStub) -> None:
    await caller.log_in()
    for _ in range(2):
        await caller.ask("POST", COWORKERS, json=WHOLE | {"CreateUser": True})
    _, outbox = await caller.ask("GET", "/__stub/outbox")
    assert [mail["kind"] for mail in outbox] == ["welcome"]
    assert len({row["UserId"] for row in stub.coworkers if row["Email"] == "ben@tenant.example"}) == 1


async def test_a_new_record_is_hidden_from_lists_while_they_lag_and_a_deleted_one_stays(
    caller: Caller, stub: NexudusStub
) -> None:
    now = [0.0]
    stub.world.clock = lambda: now[0]
    stub.world.list_lag = 5
    await caller.log_in()
    _, made = await caller.ask("POST", COWORKERS, json=WHOLE)
    query = {"Coworker_Email": "ben@tenant.example"}
    assert (await caller.ask("GET", COWORKERS, params=query))[1]["TotalItems"] == 0
    assert (await caller.ask("GET", f"{COWORKERS}/{made['Value']['Id']}"))[0] == 200
    now[0] = 6.0
    assert (await caller.ask("GET", COWORKERS, params=query))[1]["TotalItems"] == 1
    service = stub.world.user_by_email(SERVICE[0])
    assert service is not None
    service["IsAdmin"] = True
    command = {"Key": "COWORKER_DELETE", "Ids": [made["Value"]["Id"]]}
    assert (await caller.ask("POST", f"{COWORKERS}/runcommand", json=command))[1]["WasSuccessful"] is True
    assert (await caller.ask("GET", COWORKERS, params=query))[1]["TotalItems"] == 1
    assert (await caller.ask("GET", f"{COWORKERS}/{made['Value']['Id']}"))[0] == 404
    assert (await caller.ask("POST", f"{COWORKERS}/runcommand", json=command))[1]["WasSuccessful"] is False


async def test_update_wants_the_whole_record_and_delete_is_refused(caller: Caller, stub: NexudusStub) -> None:
    stub.world.add_user("admin@ops.example", "x", admin=True)
    await caller.log_in(("admin@ops.example", "x"))
    number = stub.coworkers[0]["Id"]
    assert (await caller.ask("PUT", COWORKERS, json={"Id": number, "FullName": "Ana"}))[0] == 400
    assert (await caller.ask("PUT", COWORKERS, json=WHOLE | {"Id": number, "Active": False}))[0] == 200
    assert stub.coworkers[0]["Active"] is False
    assert (await caller.ask("DELETE", f"{COWORKERS}/{number}"))[0] == 405


async def test_logins_locations_and_roles_can_be_read_and_logins_made(caller: Caller, stub: NexudusStub) -> None:
    stub.world.add_user("admin@ops.example", "x", admin=True)
    await caller.log_in(("admin@ops.example", "x"))
    for path, least in (("/api/sys/businesses", 2), ("/api/sys/countries", 2), ("/api/security/roles", 30)):
        assert (await caller.ask("GET", path))[1]["TotalItems"] >= least
    fields = {"FullName": "Sam", "Email": "sam@ops.example", "PasswordSalt": "", "LastHelpVisited": 0}
    assert (await caller.ask("POST", "/api/sys/users", json=fields))[0] == 400
    status, made = await caller.ask("POST", "/api/sys/users", json=fields | {"InvalidLoginAttempts": 0})
    assert status == 200
    assert (await caller.ask("GET", f"/api/sys/users/{made['Value']['Id']}"))[1]["Email"] == "sam@ops.example"
    group = {"Name": "Desk", "BusinessId": 501, "Roles": [1], "Users": [made["Value"]["Id"]]}
    assert (await caller.ask("POST", "/api/security/userroles", json=group))[0] == 200
    assert stub.world.role_names(stub.world.users[made["Value"]["Id"]]) == {"Coworker-List"}


PASSWORD_DOORS = [
    ("POST", "/login", {"data": {"Email": PERSON[0], "Password": PERSON[1]}}),
    ("POST", "/en/Login/", {"json": {"email": PERSON[0], "password": PERSON[1]}}),
    ("POST", "/signin?Email=ana%40tenant.example&Password=ana-password", {}),
    ("POST", "/api/token", {"data": {"grant_type": "password", "username": PERSON[0], "password": PERSON[1]}}),
    ("POST", "//API/sys/Users/token", {"json": {"email": PERSON[0], "password": PERSON[1]}}),
    ("POST", "/api/sys/users/validate", {"json": {"Email": PERSON[0], "Password": PERSON[1]}}),
    ("POST", "/en/signup", {"data": {"Coworker.Email": "new@x.example", "Coworker.FullName": "N", "Coworker.Password": "p"}}),
    ("POST", "/api/public/signup", {"json": {"Coworker": {"FullName": "N", "Email": "new@x.example", "Password": "p"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "parts"), PASSWORD_DOORS)
async def test_every_password_door_lets_somebody_in_and_counts_it(
    caller: Caller, stub: NexudusStub, method: str, path: str, parts: dict[str, Any]
) -> None:
    status, _ = await caller.ask(method, path, **parts)
    assert status in (200, 302)
    assert stub.counters["signed_in"] == 1


async def test_a_one_time_link_signs_in_once_and_its_cookie_shows_who(caller: Caller, stub: NexudusStub) -> None:
    await caller.ask("GET", "/api/sys/users/sendOtp", params={"email": PERSON[0]})
    await caller.ask("GET", "/api/sys/users/sendOtp", params={"email": "nobody@tenant.example"})
    token = stub.outbox[0]["token"]
    assert len(stub.outbox) == 1
    caller.http.cookie_jar.clear()
    answer = await caller.http.get(
        f"{stub.url}/en/user/login?t={token}&redirectUrl=//evil.example", allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (302, "/en/profile")
    cookie = {"nexudus_session": answer.cookies["nexudus_session"].value}
    assert PERSON[0] in (await caller.ask("GET", "/en/profile", cookies=cookie))[1]
    assert (await caller.ask("GET", f"/en/user/login?t={token}"))[0] == 400
    assert stub.counters["door.link.opened"] == 1


async def test_a_password_reset_sets_the_password_and_answers_alike_for_strangers(
    caller: Caller, stub: NexudusStub
) -> None:
    known = await caller.ask("POST", "/api/sys/users/startPasswordReset", json={"email": PERSON[0]})
    stranger = await caller.ask("POST", "/api/sys/users/startPasswordReset", json={"email": "nobody@x.example"})
    assert known == stranger
    fields = {"Token": stub.outbox[0]["token"], "Password": "new"}
    status, value = await caller.ask("POST", "/api/sys/users/completePasswordReset", json=fields)
    assert status == 200
    assert (await caller.ask("POST", "/api/sys/users/exchange", params={"token": value["Value"]}))[0] == 200
    assert stub.counters["passwords_set"] == 1
    assert stub.counters["signed_in"] == 2


async def test_an_address_can_be_probed_and_pages_are_html(caller: Caller, stub: NexudusStub) -> None:
    assert await caller.ask("GET", "/en/user/exists", params={"email": PERSON[0]}) == (200, True)
    for path in ("/login?continue_to=%2F", "/signup/plans", "/Login/ResetPassword", "/forgot-password", "/en/login"):
        status, text = await caller.ask("GET", path)
        assert status == 200
        assert "<form" in text
    assert stub.counters["signed_in"] == 0


async def test_a_service_account_with_user_edit_can_hand_out_a_token_for_anybody(
    caller: Caller, stub: NexudusStub
) -> None:
    number = stub.coworkers[0]["UserId"]
    await caller.log_in()
    assert (await caller.ask("GET", f"/api/sys/users/{number}/token/refresh"))[0] == 401
    stub.world.add_user("admin@ops.example", "x", admin=True)
    await caller.log_in(("admin@ops.example", "x"))
    for method in ("GET", "POST"):
        assert (await caller.ask(method, f"/api/sys/users/{number}/token/refresh"))[1]["WasSuccessful"] is True


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(kind="throttle", retry_after="1"), 409),
        (Fault(kind="throttle", status=429, body="Wait 3 seconds"), 429),
        (Fault(kind="error"), 500),
        (Fault(kind="html"), 403),
        (Fault(kind="redirect"), 302),
        (Fault(kind="unsuccessful", body="no"), 200),
        (Fault(kind="answer", status=200, body="[]"), 200),
    ],
)
async def test_a_fault_answers_the_next_request_that_matches_and_no_more(
    caller: Caller, stub: NexudusStub, fault: Fault, status: int
) -> None:
    fault.match = "GET /en/user/exists"
    fault.times = 1
    stub.faults.add(fault)
    assert (await caller.ask("GET", "/login"))[0] == 200
    assert (await caller.ask("GET", "/en/user/exists"))[0] == status
    assert (await caller.ask("GET", "/en/user/exists")) == (200, False)


async def test_a_fault_may_come_after_the_request_took_effect(caller: Caller, stub: NexudusStub) -> None:
    await caller.log_in()
    stub.faults.add(Fault(kind="cut", match=f"POST {COWORKERS}", after=True))
    with pytest.raises(aiohttp.ClientError):
        await caller.ask("POST", COWORKERS, json=WHOLE)
    assert stub.counters["coworkers.created"] == 1
