"""A strict SCIM 2.0 server (RFC 7643, RFC 7644): Users, filters with `eq`, PATCH or PUT, ServiceProviderConfig."""

import json
import re
from typing import Any

from aiohttp import web

from tests.fakes.people_api import PeopleApi, Person, json_of

TOKEN = "scim-token-of-the-tests"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_FILTER = re.compile(r'([A-Za-z]+(?:\[type eq "work"\])?(?:\.value)?) eq ("(?:[^"\\]|\\.)*")')
_READ_ONLY = ("id", "meta")


class ScimServer(PeopleApi):
    """Switches: `patches`, `filters`, `configured` (has a ServiceProviderConfig), `conflict` (the status of a duplicate),
    `hides` (addresses that no filter shows), `deaf` (filters are ignored), `filterable` attributes, `brief` (lists leave externalId out),
    `unreadable` (ids that a list shows and that cannot be read).
    """

    FIND, CREATE, FETCH = "GET /scim/v2/users", "POST /scim/v2/users", "GET /scim/v2/users/*"

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, Person] = {}
        self.patches = self.filters = self.configured = True
        self.conflict = 409
        self.conflict_type: str | None = "uniqueness"
        self.hides: set[str] = set()
        self.deaf = self.brief = False
        self.unreadable: set[str] = set()
        self.filterable = ["userName", "externalId", "emails.value", 'emails[type eq "work"].value']

    def section(self, **changes: Any) -> dict[str, Any]:
        return {"kind": "scim", "base_url": f"{self.url}/scim/v2", "token": TOKEN, "timeout": "5s", **changes}

    def add(self, email: str, name: str, /, *, active: bool = True, link: str | None = None, **more: Any) -> str:
        number = f"2819c223-{next(self.numbers):04}"
        user: Person = {
            "schemas": [CORE], "id": number, "userName": email, "active": active, "displayName": name,
            "emails": [{"value": email, "type": "work", "primary": True}],
            "meta": {"resourceType": "User", "location": f"{self.url}/scim/v2/Users/{number}"},
            **({} if link is None else {"externalId": link}), **more,
        }  # fmt: skip
        self.users[number] = user
        return number

    @property
    def ids(self) -> list[str]:
        return list(self.users)

    @property
    def addresses(self) -> list[str]:
        return [str(user["userName"]) for user in self.users.values()]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "no valid token")
        if "application/scim+json" not in request.headers.get("Accept", ""):
            return _error(406, "Accept must name application/scim+json")
        if request.can_read_body and request.content_type != "application/scim+json":
            return _error(415, "the body must be application/scim+json")
        path = request.path.removeprefix("/scim/v2")
        if path == "/ServiceProviderConfig":
            return self._config() if self.configured else _error(404, "no such endpoint")
        if path == "/Users" and request.method == "GET":
            return self._list(request)
        if path == "/Users" and request.method == "POST":
            return await self._create(request)
        user = self.users.get(path.removeprefix("/Users/"))
        if not path.startswith("/Users/") or user is None or user["id"] in self.unreadable:
            return _error(404, "no such resource")
        if request.method == "GET":
            return _json(200, user)
        return await self._change(request, user)

    def _config(self) -> web.Response:
        can = {"patch": {"supported": self.patches}, "filter": {"supported": self.filters, "maxResults": 200}}
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"]
        return _json(200, {"schemas": schemas, **can})

    def _list(self, request: web.Request) -> web.Response:
        text = request.query.get("filter")
        found = [user for user in self.users.values() if user["userName"] not in self.hides]
        if text is not None:
            match = _FILTER.fullmatch(text)
            if match is None or match[1] not in self.filterable or not self.filters:
                return _error(400, "this filter is not supported", "invalidFilter")
            value = json.loads(match[2])
            found = found if self.deaf else [user for user in found if _holds(user, match[1], value)]
        start, count = int(request.query.get("startIndex", 1)), int(request.query.get("count", 100))
        page = found[start - 1 : start - 1 + count]
        if self.brief:
            page = [{name: value for name, value in user.items() if name != "externalId"} for user in page]
        answer = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": len(found)}
        more = {"startIndex": start, "itemsPerPage": len(page), "Resources": page} if found else {}
        return _json(200, answer | more)

    async def _create(self, request: web.Request) -> web.Response:
        self.counters["create"] += 1
        body = await json_of(request)
        if CORE not in body.get("schemas", []) or not isinstance(body.get("userName"), str):
            return _error(400, "schemas and userName are needed", "invalidValue")
        extensions = [name for name in body if name.startswith("urn:")]
        if not set(extensions) <= set(body["schemas"]):
            return _error(400, "an extension that schemas does not name", "invalidSyntax")
        if any(_same(user["userName"], body["userName"]) for user in self.users.values()):
            return _error(self.conflict, "One or more of the attribute values are already in use.", self.conflict_type)
        self.counters["created"] += 1
        number = self.add(body["userName"], body.get("displayName", ""))
        self.users[number] |= {name: value for name, value in body.items() if name not in _READ_ONLY}
        return _json(201, self.users[number], Location=f"{self.url}/scim/v2/Users/{number}")

    async def _change(self, request: web.Request, user: Person) -> web.Response:
        body = await json_of(request)
        self.counters[request.method.lower()] += 1
        if request.method == "PUT":
            kept = {name: user[name] for name in _READ_ONLY}
            user.clear()
            user.update({**body, **kept})
            return _json(200, user)
        if request.method != "PATCH" or not self.patches:
            return _error(501, "PATCH is not supported")
        if body.get("schemas") != ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]:
            return _error(400, "not a PatchOp", "invalidSyntax")
        for operation in body["Operations"]:
            assert operation["op"] == "replace"
            _put(user, operation["path"], operation["value"])
        return _json(200, user)


def _holds(user: Person, attribute: str, value: str) -> bool:
    if attribute == "userName":
        return _same(user["userName"], value)
    if attribute == "externalId":
        return bool(user.get("externalId") == value)
    return any(_same(entry["value"], value) for entry in user.get("emails", []))


def _put(user: Person, path: str, value: Any) -> None:
    home = user
    if path.startswith(ENTERPRISE + ":"):
        home, path = user.setdefault(ENTERPRISE, {}), path.removeprefix(ENTERPRISE + ":")
    first, _, rest = path.partition(".")
    if rest:
        home.setdefault(first, {})[rest] = value
    else:
        home[first] = value


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _json(status: int, value: Any, **headers: str) -> web.Response:
    return web.Response(
        status=status, text=json.dumps(value), headers=headers, content_type="application/scim+json", charset="utf-8"
    )


def _error(status: int, detail: str, kind: str | None = None) -> web.Response:
    schemas = ["urn:ietf:params:scim:api:messages:2.0:Error"]
    return _json(
        status, {"schemas": schemas, "status": str(status), "detail": detail, **({"scimType": kind} if kind else {})}
    )
