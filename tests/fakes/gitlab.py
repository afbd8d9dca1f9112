"""The users API of GitLab (docs.gitlab.com, "Users API", for administrators), as far as the example configuration asks it."""

import json
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.fakes.people_api import PeopleApi, Person

TOKEN = "glpat-of-the-tests"
EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "directory-http.example.yaml"


class GitLab(PeopleApi):
    FIND, CREATE, FETCH = "GET /api/v4/users", "POST /api/v4/users", "GET /api/v4/users/*"

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[int, Person] = {}

    def section(self, **changes: Any) -> dict[str, Any]:
        """The example of the repository, with this server and this token."""
        described: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["directory"]
        own = {"base_url": f"{self.url}/api/v4", "headers": {"PRIVATE-TOKEN": TOKEN}, "timeout": "5s"}
        return described | own | changes

    def add(self, email: str, name: str, *, active: bool = True, link: str | None = None) -> str:
        number = next(self.numbers)
        identities = [] if link is None else [{"provider": "openid_connect", "extern_uid": link}]
        self.users[number] = {
            "id": number, "username": email.partition("@")[0], "name": name, "email": email,
            "state": "active" if active else "blocked", "identities": identities,
        }  # fmt: skip
        return str(number)

    @property
    def ids(self) -> list[str]:
        return [str(number) for number in self.users]

    @property
    def addresses(self) -> list[str]:
        return [str(user["email"]) for user in self.users.values()]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("PRIVATE-TOKEN") != TOKEN:
            return _said(401, {"message": "401 Unauthorized"})
        match (request.method, *request.path.removeprefix("/api/v4/").split("/")):
            case ("GET", "users"):
                return self._list(request)
            case ("POST", "users"):
                return await self._create(request)
            case (method, "users", number, *rest) if number.isdigit() and int(number) in self.users:
                user = self.users[int(number)]
                if (method, rest) == ("POST", ["block"]):
                    user["state"] = "blocked"
                    return _said(201, True)
                if (method, rest) == ("PUT", []):
                    self.counters["put"] += 1
                    user |= {name: str(value) for name, value in (await request.post()).items()}
                if (method, rest) == ("POST", ["impersonation_tokens"]):
                    return _said(201, {"id": 2, "token": f"glpat-for-{number}", "active": True})
                return _said(200, user)
        return _said(404, {"message": "404 User Not Found"})

    def _list(self, request: web.Request) -> web.Response:
        query, found = request.query, list(self.users.values())
        if "search" in query:  # in the name, the username or the address, anywhere
            text = query["search"].lower()
            found = [
                user for user in found if any(text in user[name].lower() for name in ("name", "username", "email"))
            ]
        if "extern_uid" in query:
            wanted = {"provider": query["provider"], "extern_uid": query["extern_uid"]}
            found = [user for user in found if wanted in user["identities"]]
        page, size = int(query.get("page", 1)), min(int(query.get("per_page", 20)), 100)
        return _said(200, found[(page - 1) * size : page * size])

    async def _create(self, request: web.Request) -> web.Response:
        self.counters["create"] += 1
        body = json.loads(await request.read())
        missing = [name for name in ("email", "name", "username") if not body.get(name)]
        if missing or not any(body.get(name) for name in ("password", "reset_password", "force_random_password")):
            return _said(400, {"error": f"{', '.join(missing) or 'password'} is missing"})
        if body["email"].lower() in (address.lower() for address in self.addresses):
            return _said(409, {"message": "Email has already been taken"})
        self.counters["created"] += 1
        assert ("extern_uid" in body) == ("provider" in body), "one without the other makes no identity"
        number = int(self.add(body["email"], body["name"], link=body.get("extern_uid")))
        self.users[number]["username"] = body["username"]
        return _said(201, self.users[number])


def _said(status: int, value: Any) -> web.Response:
    return web.Response(status=status, text=json.dumps(value), content_type="application/json")
