"""`/api/sys`, `/api/security` and "who am I": logins, locations, countries, time zones, roles."""

import re
from typing import Final

from aiohttp import web

from gateway.demo.nexudus.answers import RouteTable, done, invalid, json_answer, json_body, text_answer
from gateway.demo.nexudus.auth import Auth
from gateway.demo.nexudus.faults import Switches
from gateway.demo.nexudus.lists import list_answer
from gateway.demo.nexudus.world import Record, World, same_text, shown

_USER_REQUIRED: Final = ("FullName", "Email", "PasswordSalt", "LastHelpVisited", "InvalidLoginAttempts")
_WRITABLE: Final = re.compile(r"(?!Id$|UniqueId$|PasswordSalt$|NewPassword$)[A-Z]\w*")


class System:
    def __init__(self, world: World, auth: Auth, switches: Switches) -> None:
        self._world = world
        self._auth = auth
        self._switches = switches

    def mount(self, routes: RouteTable) -> None:
        world = self._world
        routes.add("GET", "/api/auth/me", self.me)
        routes.add("GET", "/user/me", self.me)
        routes.add("GET", "/user/exists", self.exists)
        routes.add("POST", "/api/sys/users", self.create_user)
        routes.add("PUT", "/api/sys/users", self.update_user)
        routes.add("GET,DELETE", "/api/sys/users/{id}", self.user)
        routes.add("POST", "/api/security/userroles", self.create_userrole)
        for path, entity, records in (
            ("/api/sys/users", "User", world.users),
            ("/api/sys/businesses", "Business", world.businesses),
            ("/api/sys/countries", "Country", world.countries),
            ("/api/sys/simpletimezones", "SimpleTimeZone", world.simpletimezones),
            ("/api/security/roles", "Role", world.roles),
            ("/api/security/userroles", "UserRole", world.userroles),
        ):
            self._mount_list(routes, path, entity, records)

    def _mount_list(self, routes: RouteTable, path: str, entity: str, records: dict[int, Record]) -> None:
        role = "User-List" if entity == "User" else None

        async def listed(request: web.Request, _: dict[str, str]) -> web.Response:
            self._auth.need(request, role)
            return json_answer(list_answer(records.values(), entity, request.query))

        routes.add("GET", path, listed)

    async def me(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """The caller's own login with its defaults; the tenant's variant hands out a token too."""
        user = self._auth.need(request, None)
        self._world.counters["me"] += 1
        business = self._world.businesses.get(user["DefaultBusinessId"] or 0)
        extra: Record = {"DefaultBusinessName": business["Name"] if business else None, "DefaultCurrencyCode": "EUR"}
        if "/user/me" in request.path.lower():
            extra["AccessToken"] = self._auth.bearer(user, "tenant")["access_token"]
        return json_answer(shown(user) | extra)

    async def exists(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """Shows to strangers whether an address has a login."""
        self._world.counters["door.exists"] += 1
        return json_answer(self._world.user_by_email(request.query.get("email", "")) is not None)

    async def user(self, request: web.Request, segments: dict[str, str]) -> web.Response:
        deleting = request.method == "DELETE"
        caller = self._auth.need(request, "User-Delete" if deleting else "User-Read")
        found = self._world.users.get(int(segments["id"])) if segments["id"].isdigit() else None
        if found is None:
            return text_answer("Not found", self._switches.missing_status)
        if not deleting:
            return json_answer(shown(found))
        del self._world.users[found["Id"]]
        return done("User was successfully deleted.", None, caller["Email"])

    async def create_user(self, request: web.Request, _: dict[str, str]) -> web.Response:
        caller = self._auth.need(request, "User-Create")
        body = await json_body(request)
        errors = _missing(body)
        if errors:
            return invalid(errors)
        fields = {
            name: value
            for name, value in body.items()
            if _WRITABLE.fullmatch(name) and name not in ("FullName", "Email")
        }
        fields.setdefault("APIAccess", False)
        password = str(body.get("NewPassword") or f"welcome-{self._world.new_id()}")
        user = self._world.add_user(body["Email"], password, full_name=body["FullName"], **fields)
        self._world.counters["users.created"] += 1
        return done("User was successfully created.", {"Id": user["Id"]}, caller["Email"])

    async def update_user(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """Takes `NewPassword` too: the dashboard's page of a login sets passwords this way."""
        body = await json_body(request)
        if body.get("NewPassword"):
            self._world.counters["door.newpassword"] += 1
        caller = self._auth.need(request, "User-Edit")
        found = self._world.users.get(body.get("Id", 0))
        if found is None:
            return text_answer("Access Denied.", 401)
        errors = _missing(body)
        if errors:
            return invalid(errors)
        found |= {
            name: value for name, value in body.items() if _WRITABLE.fullmatch(name) and not same_text(name, "Password")
        }
        if body.get("NewPassword"):
            found["Password"] = str(body["NewPassword"])
            self._world.counters["passwords_set"] += 1
        return done("User was successfully updated.", {"Id": found["Id"]}, caller["Email"])

    async def create_userrole(self, request: web.Request, _: dict[str, str]) -> web.Response:
        caller = self._auth.need(request, "UserRole-Create")
        body = await json_body(request)
        if not body.get("Name"):
            return invalid([("Name", "is a required field")])
        number = self._world.new_id()
        users = [user for user in body.get("Users") or [] if user in self._world.users]
        self._world.userroles[number] = {
            "Id": number, "Name": body["Name"], "BusinessId": body.get("BusinessId"),
            "Roles": body.get("Roles") or [], "Users": users,
        }  # fmt: skip
        for user in users:
            self._world.users[user]["UserRoles"].append(number)
        return done("UserRole was successfully created.", {"Id": number}, caller["Email"])


def _missing(body: Record) -> list[tuple[str, str]]:
    return [
        (name, "is a required field")
        for name in _USER_REQUIRED
        if name not in body or (body[name] == "" and "Salt" not in name)
    ]
