"""`doorward check --online`: each thing that the gateway depends on, a line each; and what the running gateway shows of the same."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import build
from gateway.config.schema import Config
from gateway.demo.provider import DemoClient
from gateway.operations.check import CheckResult, check_all
from gateway.sessions.keyring import new_key
from tests.fakes.authority import Authority
from tests.fakes.forge import ec_key
from tests.fakes.house import NOBODY, House
from tests.fakes.provider import Fault, MisbehavingProvider, says
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import running
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse


async def problems(config: Config) -> dict[str, str | None]:
    return {result.name: result.problem for result in await check_all(config)}


async def test_everything_that_answers_is_ok(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(provider=provider)
    assert await problems(house.worker.config) == dict.fromkeys(
        (
            "redis",
            "provider discovery",
            "provider keys",
            "provider client authentication",
            "provider claims",
            "apps.portal.upstream",
        )
    )


async def test_what_does_not_answer_is_named_with_its_reason(open_house: OpenHouse) -> None:
    house = await open_house(upstreams={"portal": NOBODY})
    found = await problems(house.worker.config)
    assert found["redis"] is None
    assert found["provider discovery"] == f"{NOBODY}: 127.0.0.1:9: the connection was refused"
    assert found["provider keys"] == found["provider client authentication"] == "not asked: discovery failed"
    assert found["apps.portal.upstream"] == f"cannot connect to portal at {NOBODY}: the connection was refused"


async def test_an_upstream_that_does_not_exist_is_named(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    nowhere, no_socket = "http://no-such-app.invalid:8080", "unix:/run/no-such-app.sock"
    house = await open_house(provider=provider, apps={"a": {}, "b": {}}, upstreams={"a": nowhere, "b": no_socket})
    found = await problems(house.worker.config)
    assert (found["apps.a.upstream"] or "").startswith(f"cannot connect to a at {nowhere}: the name cannot be resolved")
    assert found["apps.b.upstream"] == f"cannot connect to b at {no_socket}: the socket or file does not exist"


async def test_keys_that_cannot_be_had_are_told_apart_from_discovery(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider)
    provider.told.jwks = {"keys": "none"}
    found = await problems(house.worker.config)
    assert found["provider discovery"] is None
    assert (found["provider keys"] or "").startswith("keys")


# --- the client's secret or key ---------------------------------------------------------------------------------------


def _config(provider: MisbehavingProvider, tmp_path: Path, method: str, *, wrong: bool) -> Config:
    """A file with this method, at a provider that knows the client; `wrong`: by another secret or key."""
    pair = Authority(tmp_path).issue("localhost")  # its key serves as ours
    openid: dict[str, Any] = {
        "authority_url": provider.issuer,
        "client_id": "doorward",
        "client_authentication": method,
    }
    if method == "private_key_jwt":
        openid["client_private_key"] = pair.key.read_text() if wrong else json.dumps(ec_key().as_dict(private=True))
    elif method != "none":
        openid["client_secret"] = "another:secret%" if wrong else "the-secret"
    if wrong and method == "none":
        openid["client_id"] = "somebody-else"
    known = "client_secret_basic" if method == "client_secret_basic_raw" else method
    provider.register(
        DemoClient(
            client_id="doorward", redirect_uris=(), client_secret="the-secret", authentication=known,  # type: ignore[arg-type]
            public_jwk=ec_key().as_dict(private=False),
        )
    )  # fmt: skip
    app = {"hosts": ["portal.localhost"], "upstream": NOBODY}
    return build({"keys": [new_key()], "external_url_scheme": "http", "openid": openid, "apps": {"portal": app}})


async def _authentication(config: Config) -> CheckResult:
    (found,) = (result for result in await check_all(config) if result.name == "provider client authentication")
    return found


methods = pytest.mark.parametrize(
    "method", ["client_secret_basic", "client_secret_basic_raw", "client_secret_post", "private_key_jwt", "none"]
)


@methods
async def test_a_right_secret_or_key_is_ok(provider: MisbehavingProvider, tmp_path: Path, method: str) -> None:
    assert (await _authentication(_config(provider, tmp_path, method, wrong=False))).problem is None


@methods
async def test_a_wrong_secret_or_key_is_found(provider: MisbehavingProvider, tmp_path: Path, method: str) -> None:
    found = await _authentication(_config(provider, tmp_path, method, wrong=True))
    assert not found.unknown
    assert found.problem == (
        "sign-ins fail: compare openid.client_id, its secret or key, and openid.client_authentication with the provider's "
        "(status 401, invalid_client: Unknown client)"
    )


def _error(status: int, error: str) -> Fault:
    return says(json.dumps({"error": error, "error_description": "so it is"}), status=status)


@pytest.mark.parametrize(
    ("answer", "refused", "seen"),
    [
        (_error(401, "unauthorized_client"), True, "status 401, unauthorized_client: so it is"),  # Keycloak
        (_error(401, "access_denied"), True, "status 401, access_denied: so it is"),  # Auth0
        (_error(400, "invalid_request"), False, "status 400, invalid_request: so it is"),
        (says("<h1>no</h1>", status=403, content_type="text/html"), False, "status 403, no OAuth error"),
        (says("{}", status=500), False, "status 500, no OAuth error"),
        (_error(400, "invalid_grant"), False, "it answers a made-up code alike with our secret and with a made-up one"),
    ],
)
async def test_what_a_provider_answers_otherwise_is_shown(
    provider: MisbehavingProvider, tmp_path: Path, answer: Fault, refused: bool, seen: str
) -> None:
    provider.faults["token"] = answer
    found = await _authentication(_config(provider, tmp_path, "client_secret_post", wrong=False))
    assert found.unknown is not refused
    assert seen in (found.problem or "")
    assert "the-secret" not in (found.problem or "")


async def test_a_provider_that_does_not_answer_the_trial_is_unknown(
    provider: MisbehavingProvider, tmp_path: Path
) -> None:
    provider.told.metadata["token_endpoint"] = f"{NOBODY}/token"
    found = await _authentication(_config(provider, tmp_path, "client_secret_post", wrong=False))
    assert found == CheckResult(found.name, "token: 127.0.0.1:9: the connection was refused", unknown=True)


async def test_the_secret_is_tried_at_the_start_and_a_reload_and_never_by_ready(
    provider: MisbehavingProvider, tmp_path: Path
) -> None:
    """`/ready` shows the last result, is degraded by a refusal, and stays 200."""
    redirect = {"authority_url": provider.issuer, "client_id": "doorward"}
    provider.register(DemoClient(client_id="doorward", redirect_uris=(), client_secret="right"))
    upstream = RecordingUpstream()
    await upstream.start()
    environ = {"DOORWARD_TEST_KEY": new_key()}
    async with running(tmp_path, upstream.url, environ=environ, openid={**redirect, "client_secret": "wrong"}) as door:

        async def state() -> str | None:
            found: dict[str, Any] = (await door.ready())["dependencies"].get("client_authentication", {})
            return found.get("state")

        async def is_now(wanted: str) -> bool:
            return await state() == wanted

        await eventually(lambda: is_now("degraded"))
        await eventually(lambda: "openid: the client authentication is refused: sign-ins fail" in door.errors)
        assert provider.count("token") == 1
        for _ in range(3):
            answer = await door.admin("/ready")
            assert (answer.status, json.loads(answer.body)["status"]) == (200, "degraded")
        assert b'doorward_dependency_up{dependency="client_authentication"} 0.0' in (await door.admin("/metrics")).body
        assert provider.count("token") == 1
        door.rewrite(openid={**redirect, "client_secret": "right"})
        door.hang_up()
        await eventually(lambda: is_now("ok"), within=60)
        assert provider.count("token") == 2
    await upstream.close()


# --- mapped claims ----------------------------------------------------------------------------------------------------


async def _claims(house: House) -> CheckResult:
    return next(result for result in await check_all(house.worker.config) if result.name == "provider claims")


async def test_a_mapped_claim_is_doubted_by_the_metadata_until_a_sign_in_has_shown_it(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    provider.told.metadata["claims_supported"] = ["sub", "email", "name"]
    house = await open_house(provider=provider, openid={"claims": {"groups": "groups", "name": "name"}})
    found = await _claims(house)
    assert found.unknown
    assert found.problem == (
        "claims.groups: groups is not in claims_supported, which need not be complete, "
        "and no sign-in of the last 7 days has shown it"
    )
    await house.sign_in(house.browser())
    assert await _claims(house) == CheckResult("provider claims", None, unknown=False)


async def test_a_mapped_claim_that_sign_ins_lacked_or_that_was_malformed_is_named_with_the_time(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    provider.told.userinfo["realm_access"] = {"roles": ["members"]}
    house = await open_house(
        provider=provider, openid={"claims": {"groups": "realm_access.roles", "name": "display_name"}}
    )
    await house.sign_in(house.browser())
    found = await _claims(house)
    assert found.unknown
    assert re.fullmatch(
        r"claims\.name: display_name was missing at the sign-in of \d{4}-\d\d-\d\d \d\d:\d\d UTC \(no sign-in of the last 7 days had it\)",
        found.problem or "",
    )
    provider.told.userinfo["realm_access"] = {"roles": [["members"]]}
    assert (await house.sign_in(house.browser())).status == 400
    (malformed, _) = ((await _claims(house)).problem or "").split("; ")
    assert malformed.startswith("claims.groups: a sign-in was refused at ")
    assert malformed.endswith(" UTC, since realm_access.roles has a shape that cannot be used")


# --- the folder of the embedded store ---------------------------------------------------------------------------------


def _with_folder(folder: Path) -> Config:
    app = {"hosts": ["portal.localhost"], "upstream": NOBODY}
    sections = {"redis": {"data_dir": str(folder)}, "openid": {"enabled": False}, "apps": {"portal": app}}
    return build({"keys": [new_key()], "external_url_scheme": "http", **sections})


async def test_a_data_dir_that_can_be_used_is_ok_and_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert (await problems(_with_folder(folder)))["redis"] is None
    assert list(tmp_path.iterdir()) == []


async def test_a_data_dir_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file system that takes no files, for every user: /proc."""
    found = (await problems(_with_folder(Path("/proc/self"))))["redis"]
    assert found == (
        f"redis.data_dir cannot be used: the user with the id {os.geteuid()}, who runs this check, cannot write to /proc/self "
        "(no such file or directory)"
    )


async def test_a_data_dir_with_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    found = (await problems(_with_folder(tmp_path / ("x" * 100))))["redis"]
    assert "is too long a path for a unix socket" in (found or "")
