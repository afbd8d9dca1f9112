"""`doorward probe` against the sample applications behind a running door: nothing gets through, and a missing rule is found."""

import asyncio
import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gateway.cli import main as cli
from gateway.config.reading.packs import PACKS, pack_names
from gateway.config.schema import PasswordRule
from gateway.config.values import METHODS
from gateway.operations.probe.runner import NotDoorward, Outcome, Probe, plan
from gateway.operations.probe.verdicts import ProbeVerdict
from gateway.operations.probe.wire import parse_gateway_address
from gateway.policy.passwords import load_pack, named_rules
from gateway.policy.readings import model_of
from gateway.policy.rules import restricting_rules
from tests.fakes.authority import Authority
from tests.fakes.house import House
from tests.fakes.recorder import Recorded, RecordingUpstream
from tests.flows.conftest import OpenHouse
from tests.flows.test_password_routes import CLOSED, OpenStreet, open_street

__all__ = ["open_street"]

RULES: list[dict[str, Any]] = yaml.safe_load((PACKS / "nexudus.yaml").read_text())["rules"]
NEXUDUS = [(f"nexudus: {rule.match}", rule) for rule in load_pack("nexudus")]
FAST = 5000


async def fired(house: House, app: str, *, every: int, rules: Sequence[tuple[str, PasswordRule]] = NEXUDUS) -> Outcome:
    return await Probe(FAST).run([(parse_gateway_address(house.origin(app)), plan(rules, every=every))])


@pytest.mark.parametrize("unauthenticated", ["pass", "sign_in"])
async def test_nothing_gets_through_a_shut_door(open_street: OpenStreet, unauthenticated: str) -> None:
    """C-10, C-11, C-12, C-13, B-31, B-35. The samples count who comes in: that is the other half of the proof."""
    street = await open_street(openid=CLOSED, app_keys={"unauthenticated": unauthenticated})
    for app in ("portal", "dashboard", "api"):
        outcome = await fired(street.house, app, every=250)
        assert (outcome.passed, outcome.unanswered, outcome.status) == ([], [], 0)
        assert len(outcome.results) > 200
        assert {result.finding.verdict for result in outcome.results} == {ProbeVerdict.CLOSED, ProbeVerdict.MALFORMED}
    assert (street.logins, street.visits, street.knocks_at_the_api) == (0, 0, {})


async def test_a_door_that_lets_a_method_through_is_found(open_house: OpenHouse) -> None:
    """C-77: by OPTIONS and by every registered method, where a rule is for one method only, or where there is none."""
    house = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass", "password_routes": "nexudus"}})
    fire = Probe(FAST).run
    token = [named for named in NEXUDUS if named[1].match == "* /api/token"]
    plain = [request for request in plan(token) if request.group in ("method", "OPTIONS", "any method")]
    outcome = await fire([(parse_gateway_address(house.origin()), plain)])
    assert {result.request.method for result in outcome.results} >= METHODS - {"POST"}
    assert (outcome.passed, outcome.unanswered) == ([], [])
    assert house.upstream.requests == []
    # A rule for POST alone: the other methods get through, OPTIONS does not.
    narrow = [{"match": "POST /api/token", "reason": "x"}]
    open_ = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass", "password_routes": narrow}})
    outcome = await fire([(parse_gateway_address(open_.origin()), plain)])
    assert outcome.status == 1
    found = {result.request.method for result in outcome.passed}
    assert found >= {"PUT", "QUERY", "PROPFIND"}
    assert "OPTIONS" not in found
    # And none at all.
    bare = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass"}})
    outcome = await fire(
        [(parse_gateway_address(bare.origin()), [request for request in plain if request.method == "OPTIONS"])]
    )
    assert all(result.passed for result in outcome.results)


async def test_every_rule_of_every_pack_is_shut_to_every_method(open_house: OpenHouse) -> None:
    """C-77, C-78: OPTIONS in every form and all registered methods with bodies, at a path that is public besides."""
    for pack in pack_names():
        keys = {"password_routes": pack, "public": ["* /**"]}
        house = await open_house(openid=CLOSED, apps={"portal": keys})
        rules = [(rule.match, rule) for rule in load_pack(pack)]
        probe_requests = [request for request in plan(rules) if request.group in ("OPTIONS", "other schemes")]
        probe_requests += [request for request in plan(rules) if request.group == "any method"][::21]
        outcome = await Probe(FAST).run([(parse_gateway_address(house.origin()), probe_requests)])
        assert (
            [(result.request.how, result.request.target, result.finding.text) for result in outcome.passed],
            outcome.unanswered,
        ) == ([], []), pack
        assert house.upstream.requests == []


#: Rules that no other rule of the pack overlaps.
ALONE = ["* /api/sys/users/sendOtp", "* /api/public/signup", "* /user/exists", "* /join"]


@pytest.mark.parametrize(
    ("unauthenticated", "found"), [("pass", ProbeVerdict.THROUGH), ("sign_in", ProbeVerdict.SIGN_IN)]
)
@pytest.mark.parametrize("missing", ALONE)
async def test_a_rule_that_was_taken_out_is_found_and_named(
    open_house: OpenHouse, missing: str, unauthenticated: str, found: ProbeVerdict
) -> None:
    """Also where everybody must sign in first: the door is to be shut for those who have."""
    left = [rule for rule in RULES if rule["match"] != missing]
    keys = {"password_routes": left, "unauthenticated": unauthenticated}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    rules = [named for named in NEXUDUS if named[1].match == missing]
    outcome = await fired(house, "portal", every=20, rules=[*rules, NEXUDUS[0]])
    assert outcome.status == 1
    assert {result.finding.verdict for result in outcome.passed} == {found}
    assert {result.request.rule for result in outcome.passed} == {f"nexudus: {missing}"}


async def test_doors_that_are_open_are_said_to_be_open(open_street: OpenStreet) -> None:
    street = await open_street(openid={"prevent_password_login": False})
    outcome = await fired(street.house, "portal", every=500)
    assert outcome.status == 1
    assert all(result.passed for result in outcome.results if result.request.group == "as it is")


async def test_what_is_no_door_is_not_called_shut(open_house: OpenHouse) -> None:
    """An application that refuses everything, a host that nobody has, and a port where nobody listens."""
    house = await open_house(openid=CLOSED)
    other = RecordingUpstream()
    await other.start()
    for url, said in (
        (other.url, "this is not a Doorward"),
        (f"http://nobody.localhost:{house.port}", "no app of this Doorward has the host"),
        ("http://127.0.0.1:9", "cannot be reached"),
    ):
        with pytest.raises(NotDoorward, match=said):
            await Probe(FAST).run([(parse_gateway_address(url), plan(NEXUDUS))])
    await other.close()


async def test_a_door_that_stops_answering_is_not_called_shut(open_house: OpenHouse) -> None:
    house = await open_house(openid=CLOSED, apps={"portal": {"password_routes": "nexudus"}})
    firing = asyncio.create_task(Probe(400).run([(parse_gateway_address(house.origin()), plan(NEXUDUS[:2], every=5))]))
    while not house.worker.context.counters.requests:
        await asyncio.sleep(0)
    await house.worker.server.drain(0)
    outcome = await firing
    assert outcome.status == 2
    assert outcome.unanswered


class Relay:
    """A proxy in front that passes bytes on as they come, and answers malformed heads and the targets with `%zz` itself."""

    PAGE = b"HTTP/1.1 400 Bad Request\r\nServer: front\r\nContent-Type: text/html\r\nContent-Length: 24\r\nConnection: close\r\n\r\n<h1>400 Bad Request</h1>"
    MALFORMED = re.compile(
        rb"\x01|%zz|\r\nX Y:|Content-Length: x|Transfer-Encoding: x|HTTP/[^1]|\A(?!.*\r\nHost:)", re.DOTALL
    )

    def __init__(self, port: int) -> None:
        self._behind = port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self.MALFORMED.search(head):
                writer.write(self.PAGE)
            else:
                other, behind = await asyncio.open_connection("127.0.0.1", self._behind)
                behind.write(head)
                sending = asyncio.create_task(_copy(reader, behind))
                await _copy(other, writer)
                sending.cancel()
                behind.transport.abort()
        writer.close()

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def test_what_a_proxy_in_front_refuses_is_told_from_the_same_page_of_the_application(
    open_house: OpenHouse,
) -> None:
    """The application's refusal looks like the proxy's: Doorward got the request, so it got through."""
    house = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass"}})
    shut = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass", "password_routes": "nexudus"}})

    async def refuse(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Relay.PAGE)

    house.upstream.answer = refuse
    login = [named for named in NEXUDUS if named[1].match == "GET /signin"]
    some = [each for each in plan(login) if each.group == "as it is" or (each.group == "path" and b"%z" in each.target)]
    some.append(replace(some[0], target=b"/signin%zz"))
    for place, wanted in ((house, {ProbeVerdict.THROUGH}), (shut, {ProbeVerdict.CLOSED})):
        relay = Relay(place.port)
        await relay.start()
        gateway = parse_gateway_address(place.origin(), f"127.0.0.1:{relay.port}")
        outcome = await Probe(FAST).run([(gateway, some)])
        found = {result.request.target: result.finding.verdict for result in outcome.results}
        assert found.pop(b"/signin%zz") is ProbeVerdict.FRONT
        assert {verdict for target, verdict in found.items() if b"%zz" not in target} == wanted
        await relay.close()
    # Without the proxy, nothing is refused in front.
    outcome = await Probe(FAST).run([(parse_gateway_address(house.origin()), some)])
    assert {result.finding.verdict for result in outcome.results} == {ProbeVerdict.THROUGH, ProbeVerdict.MALFORMED}


async def probe(*arguments: str) -> tuple[int, str, str]:
    """The command as operators run it: exit status, standard output, standard error; in a thread, for it runs a loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, cli.app, ["probe", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


READ = {"rules": [{"match": ["* /admin/**", "PUT,DELETE /records/*"], "require": {"groups": ["staff"]}}]}


async def test_every_reading_of_a_rule_is_refused_and_a_row_that_is_left_out_is_found(open_house: OpenHouse) -> None:
    """C-65, C-66, C-77: password rules and access rules of an app that may be of any kind; and one that is said to be another."""
    keys: dict[str, Any] = {"unauthenticated": "pass", "password_routes": "wordpress", **READ}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    app = house.worker.config.apps["portal"]
    some = [named for named in named_rules(app) if "wp-login" in named[0] or "wp-json/wp/v2/users" in named[0]][:4]
    fired = [request for request in plan(some, restricting_rules(app)) if request.group in ("as it is", "reading")]
    outcome = await Probe(FAST).run([(parse_gateway_address(house.origin()), fired[::3])])
    assert [(result.request.method, result.request.target, result.finding.text) for result in outcome.passed] == []
    assert outcome.unanswered == []
    assert {result.finding.verdict for result in outcome.results if result.request.restricting} >= {
        ProbeVerdict.SIGN_IN
    }
    assert house.upstream.requests == []
    # Read as Django reads, the spellings of PHP are other pages.
    other = await open_house(openid=CLOSED, apps={"portal": {**keys, "password_routes": [{"match": "* /login", "reason": "x"}], "reads_like": ["django"]}})  # fmt: skip
    app = other.worker.config.apps["portal"]
    fired = [
        each
        for each in plan(named_rules(app), restricting_rules(app))
        if each.group == "reading" and each.method == "POST"
    ]
    outcome = await Probe(FAST).run([(parse_gateway_address(other.origin()), fired)])
    assert {result.request.target for result in outcome.passed} >= {
        b"/index.php/login",
        b"/login.1",
        b"/index.php/admin",
    }
    fired = plan(named_rules(app), restricting_rules(app), model=model_of(app))
    assert [each for each in fired if each.group == "reading"] == []


async def test_the_command_prints_one_table_and_its_exit_status_is_the_answer(
    open_house: OpenHouse, tmp_path: Any
) -> None:
    left = [rule for rule in RULES if rule["match"] != "* /join"]
    apps = {"portal": {"password_routes": "nexudus"}, "dashboard": {"password_routes": left, "surface": "dashboard"}}
    house = await open_house(openid=CLOSED, apps=apps)
    quick = ("--rate", "5000", "--every", "200")
    status, out, _ = await probe(house.origin(), *quick)
    assert status == 0
    assert out.splitlines()[-1].startswith("nothing got through: ")
    assert [line for line in out.splitlines() if line.startswith("nexudus: GET /signin ")]
    status, out, _ = await probe(house.origin("dashboard"), *quick)
    lines = out.splitlines()
    assert status == 1
    assert lines[-1].endswith(" requests got through")
    listed = lines[lines.index("got through:") + 1 : -1]
    assert 0 < len(listed) <= 21
    assert listed[0].startswith(
        "  sign-in only: 401 login_required: POST /join (as it is, POST /join; nexudus: * /join)"
    )
    status, out, _ = await probe(house.origin("dashboard"), *quick, "--json")
    assert status == 1
    document = json.loads(out)
    assert document["holes"] == len(document["requests"]) > 0
    assert {entry["rule"] for entry in document["requests"]} == {"nexudus: * /join"}
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"rules": [{"match": "* /mine", "reason": "ours alone", "source": "us"}]}))
    status, out, _ = await probe(house.origin(), *quick, "--pack", str(own), "--verbose")
    assert status == 1
    assert "sign-in only: 401 login_required: POST /mine" in out
    own.write_text(yaml.safe_dump({"rules": [{"mach": "* /mine", "reason": " ", "source": "us"}]}))
    status, _, errors = await probe(house.origin(), "--pack", str(own))
    assert status == 2
    assert "\nrules[0].mach: is not a known key; nearest: match (own.yaml, line 2)" in errors
    status, _, errors = await probe("http://127.0.0.1:9")
    assert (status, "cannot be reached" in errors) == (2, True)


async def test_with_the_configuration_it_fires_what_that_app_has_or_each_app_of_a_surface(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    one = {"match": "* /one", "reason": "one", "source": "us"}
    keys: dict[str, Any] = {
        "portal": {"password_routes": "./one.yaml", "rules": [{"match": ["* /admin"], "max_age": "5m"}]},
        "dashboard": {"surface": "dashboard", "password_routes": "grafana"},
        "reports": {"surface": "dashboard", "password_routes": "grafana"},
    }
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"rules": [one]}))
    written = {**keys, "portal": {**keys["portal"], "password_routes": [one]}}
    house = await open_house(openid=CLOSED, apps=written)
    hosts = {name: {"hosts": [house.host(name)], "upstream": "http://127.0.0.1:9"} for name in keys}
    data = {
        "external_url_scheme": "http",
        "keys": [key.get_secret_value() for key in house.worker.config.keys],
        "openid": {"authority_url": "http://127.0.0.1:9", "client_id": "a", "client_secret": "b", **CLOSED},
        "apps": {name: {**hosts[name], **given} for name, given in keys.items()},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(data))
    given = ("--config", str(file), "--rate", "5000", "--every", "50")
    status, out, errors = await probe(house.origin(), *given)
    assert (status, errors) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()[1:4]] == [
        "./one.yaml: * /one",
        "rules[0]: * /admin",
        "basic",
    ]
    status, out, _ = await probe(house.origin(), *given, "--surface", "dashboard", "--json")
    assert (status, {row["host"] for row in json.loads(out)["rules"]}) == (
        0,
        {house.host("dashboard"), house.host("reports")},
    )
    for wrong, said in (
        ((f"http://nobody.localhost:{house.port}", *given), "allowed: dashboard.localhost"),
        ((house.origin(), *given, "--surface", "shared"), "allowed: dashboard, portal"),
        ((house.origin(), "--surface", "portal"), "allowed: with --config"),
        ((house.origin() + "/x",), "allowed: http(s)://HOST[:PORT] without a path"),
        ((house.origin(), "--connect", "nowhere"), "allowed: HOST:PORT"),
        ((house.origin(), "--pack", "nexodus"), "is not a rule pack; allowed: django-admin"),
    ):
        status, _, errors = await probe(*wrong)
        assert (status, said in errors) == (2, True), (wrong, errors)


async def test_a_door_behind_tls_is_probed_by_its_name_and_certificate(open_house: OpenHouse, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("portal.localhost")
    files = {"certificate": str(pair.certificate), "key": str(pair.key)}
    apps = {"portal": {"password_routes": "nexudus"}}
    house = await open_house(openid=CLOSED, apps=apps, external_url_scheme="https", tls=files)
    url, where = "https://" + house.host(), f"127.0.0.1:{house.port}"
    status, _, errors = await probe(url, "--connect", where)
    assert (status, "cannot be reached" in errors) == (2, True)
    quick = ("--connect", where, "--rate", "5000", "--every", "500")
    status, out, errors = await probe(url, *quick, "--ca", str(authority.ca))
    assert (status, errors) == (0, "")
    assert out.splitlines()[-1].startswith("nothing got through: ")
