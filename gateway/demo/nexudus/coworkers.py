"""`/api/spaces/coworkers`: the customers' records.

Two records may have the same e-mail address and no response is "already exists": a client that wants one account a person
must see to it.
"""

from typing import Any, Final

from aiohttp import web

from gateway.demo.nexudus.answers import RouteTable, done, failed, invalid, json_answer, json_body, text_answer
from gateway.demo.nexudus.auth import Auth
from gateway.demo.nexudus.faults import Switches
from gateway.demo.nexudus.lists import list_answer
from gateway.demo.nexudus.world import Record, World, shown

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LENIENT: Final = ("FullName", "Email", "CountryId", "SimpleTimeZoneId")
STRICT: Final = (*LENIENT, "CoworkerType", "Gender", "TaxRateType", *(f"{day}Attendance" for day in _DAYS))
_COMMANDS: Final = (
    {"Key": "COWORKER_DELETE", "Name": "Delete", "RequiresParameters": []},
    {"Key": "COWORKER_BILL_RUN", "Name": "Run billing", "RequiresParameters": []},
)


class Coworkers:
    def __init__(self, world: World, auth: Auth, switches: Switches) -> None:
        self._world = world
        self._auth = auth
        self._switches = switches

    def mount(self, routes: RouteTable) -> None:
        routes.add("GET", "/api/spaces/coworkers", self.list)
        routes.add("POST", "/api/spaces/coworkers", self.create)
        routes.add("PUT", "/api/spaces/coworkers", self.update)
        routes.add("GET", "/api/spaces/coworkers/commands", self.commands)
        routes.add("POST", "/api/spaces/coworkers/runcommand", self.run_command)
        routes.add("GET", "/api/spaces/coworkers/{id}", self.read)

    async def list(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["coworkers.list"] += 1
        self._auth.need(request, "Coworker-List")
        rows = self._world.listed_coworkers()
        switches = self._switches
        return json_answer(
            list_answer(rows, "Coworker", request.query, exact_case=switches.exact_case, deaf=switches.deaf_filters)
        )

    async def read(self, request: web.Request, segments: dict[str, str]) -> web.Response:
        self._world.counters["coworkers.read"] += 1
        self._auth.need(request, "Coworker-Read")
        found = self._world.coworkers.get(int(segments["id"])) if segments["id"].isdigit() else None
        return json_answer(shown(found)) if found else text_answer("Not found", self._switches.missing_status)

    async def create(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["coworkers.create"] += 1
        caller = self._auth.need(request, "Coworker-Create")
        body = await json_body(request)
        refusal = self._refusal(body, caller)
        if refusal is not None:
            return refusal
        coworker = self._made(body, caller)
        self._world.counters["coworkers.created"] += 1
        return done("Coworker was successfully created.", {"Id": coworker["Id"]}, caller["Email"])

    async def update(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """The whole record with its Id in the body: a property that is missing is cleared, or missed."""
        self._world.counters["coworkers.update"] += 1
        caller = self._auth.need(request, "Coworker-Edit")
        body = await json_body(request)
        old = self._world.coworkers.get(body.get("Id", 0))
        if old is None:
            return text_answer("Access Denied.", 401)
        refusal = self._refusal(body, caller)
        if refusal is not None:
            return refusal
        kept = {
            name: old[name] for name in ("Id", "UniqueId", "CreatedOn", "UserId", "UserFullName", "IsDefaultProfile")
        }
        cleared: Record = dict.fromkeys(old)
        self._world.coworkers[old["Id"]] = cleared | body | kept
        return done("Coworker was successfully updated.", {"Id": old["Id"]}, caller["Email"])

    async def commands(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._auth.need(request, "Coworker-List")
        return json_answer(list(_COMMANDS))

    async def run_command(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """`COWORKER_DELETE` works; everything else fails as the API does: HTTP 200 with `WasSuccessful: false`."""
        caller = self._auth.need(request, "Coworker-Edit")
        body = await json_body(request)
        ids = [number for number in body.get("Ids") or [] if number in self._world.coworkers]
        if body.get("Key") != "COWORKER_DELETE" or not ids:
            return failed("Ooops! There was a problem while running this action.")
        for number in ids:
            self._world.ghosts[number] = self._world.coworkers.pop(number)
        return done("The action was run.", None, caller["Email"])

    def _refusal(self, body: Record, caller: Record) -> web.Response | None:
        required = STRICT if self._switches.strict else LENIENT
        errors = [(name, "is a required field") for name in required if body.get(name) in (None, "")]
        if errors:
            return invalid(errors)
        wanted: list[Any] = [*(body.get("Businesses") or []), body.get("InvoicingBusinessId")]
        allowed = set(caller["Businesses"]) & set(self._world.businesses)
        if any(number is not None and number not in allowed for number in wanted):
            return text_answer("Access Denied.", 401)
        return None

    def _made(self, body: Record, caller: Record) -> Record:
        home = body.get("InvoicingBusinessId") or caller["DefaultBusinessId"]
        fields = {
            name: value
            for name, value in body.items()
            if name not in ("CreateUser", "Id", "Email", "FullName", "UserId")
        }
        fields |= {"InvoicingBusinessId": home, "Businesses": body.get("Businesses") or [home]}
        coworker = self._world.add_coworker(body["Email"], body["FullName"], **fields)
        self._world.visible_from[coworker["Id"]] = self._world.clock() + self._world.list_lag
        if body.get("CreateUser") is True:
            self._grant_login(coworker)
        return coworker

    def _grant_login(self, coworker: Record) -> None:
        """A login with a temporary password in the post, or the one that this address has already."""
        world = self._world
        user = world.user_by_email(coworker["Email"])
        if user is None:
            password = f"welcome-{world.new_id()}"
            user = world.add_user(
                coworker["Email"], password, full_name=coworker["FullName"], APIAccess=False, businesses=()
            )
            world.outbox.append({"to": coworker["Email"], "kind": "welcome", "temporary_password": password})
        coworker["UserId"], coworker["UserFullName"] = user["Id"], user["FullName"]
