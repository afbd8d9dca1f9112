"""A directory that nobody has heard of: the members of a rowing club. Its API is like no other, and only YAML knows it.

Searches are POSTs, numbers are numbers, creations are forms answered with 202, "gone" is 410, "taken" is 422, "slow down" is 420.
"""

import json
from typing import Any

import yaml
from aiohttp import web

from tests.fakes.people_api import PeopleApi, Person, json_of

KEY = "the key of the boathouse"

#: What its operator writes.
YAML = """
kind: http
base_url: {url}/v7
headers: {{X-Club-Key: the key of the boathouse}}
timeout: 5s
fields: {{full_name: "{{name}}", boat: "{{claims.boat}}"}}
requests:
  find:
    method: POST
    path: /members/search
    json: {{where: {{mail: "{{email}}"}}, limit: 3}}
  find_linked: {{path: "/badges/{{link}}", at: /badge/holder}}
  fetch: {{path: "/members/{{id}}", at: ""}}
  create:
    method: PUT
    path: /members
    form: {{mail: "{{email}}", full: "{{fields.full_name|email_local}}", boat: "{{fields.boat}}", badge: "{{link}}"}}
    at: /created
  update: {{method: PATCH, path: "/members/{{id}}", json: {{names: {{full: "{{fields.full_name}}"}}, boat: "{{fields.boat}}"}}}}
  suspend: {{method: POST, path: "/members/{{id}}/standing", form: {{standing: ashore}}}}
  sign_in_token: {{method: POST, path: "/members/{{id}}/door-key"}}
  list: {{path: /members, query: {{sheet: "{{page}}"}}}}
answer:
  list: /result/hits
  id: /member/no
  email: /member/mails
  link: /member/badge
  active: /member/standing
  active_values: [afloat, captain]
  token: /door/key
  facts: {{boat: /member/boat}}
  fields: {{full_name: /member/names/full, boat: /member/boat}}
statuses: {{success: [200, 202], not_found: 410, conflict: 422, throttled: 420}}
"""


class RowingClub(PeopleApi):
    FIND, CREATE, FETCH = "POST /v7/members/search", "PUT /v7/members", "GET /v7/members/*"

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[int, Person] = {}
        self.door_keys: dict[str, int] = {}
        self.unique = True
        self.brief = False  # lists leave the badge out
        self.unreadable: set[str] = set()  # numbers that a list shows and that cannot be read

    def section(self, **changes: Any) -> dict[str, Any]:
        described: dict[str, Any] = yaml.safe_load(YAML.format(url=self.url))
        return described | changes

    def add(self, email: str, name: str, *, active: bool = True, link: str | None = None, boat: str = "") -> str:
        number = 16 + next(self.numbers)
        standing = "afloat" if active else "ashore"
        member = {"no": number, "mails": [email], "names": {"full": name}, "standing": standing, "boat": boat}
        self.members[number] = member | ({} if link is None else {"badge": link})
        return str(number)

    @property
    def ids(self) -> list[str]:
        return [str(number) for number in self.members]

    @property
    def addresses(self) -> list[str]:
        return [member["mails"][0] for member in self.members.values()]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-Club-Key") != KEY:
            return _said(401, {"message": "who are you"})
        route = (request.method, *request.path.removeprefix("/v7/").split("/"))
        match route:
            case ("POST", "members", "search"):
                return self._search((await json_of(request))["where"]["mail"])
            case ("GET", "members"):
                sheet = int(request.query["sheet"])
                return _said(
                    200, {"result": {"hits": self._shown(list(self.members.values())[2 * sheet - 2 : 2 * sheet])}}
                )
            case ("GET", "badges", *rest):
                found = [member for member in self.members.values() if member.get("badge") == "/".join(rest)]
                return _said(200, {"badge": {"holder": {"member": found[0]}}}) if found else _said(410, {})
            case ("PUT", "members"):
                return await self._enrol(request)
            case ("GET", "members", number) if number in self.unreadable:
                return _said(410, {"message": "no such member"})
            case (_, "members", number, *rest) if number.isdigit() and int(number) in self.members:
                return await self._about(self.members[int(number)], request, rest)
        return _said(410, {"message": "no such member"})

    def _search(self, mail: str) -> web.Response:
        found = [member for member in self.members.values() if mail.lower() in (own.lower() for own in member["mails"])]
        return _said(200, {"result": {"hits": self._shown(found)}})

    def _shown(self, members: list[Person]) -> list[Person]:
        left_out = {"badge"} if self.brief else set()
        return [{"member": {name: value for name, value in one.items() if name not in left_out}} for one in members]

    async def _enrol(self, request: web.Request) -> web.Response:
        self.counters["create"] += 1
        assert request.content_type == "application/x-www-form-urlencoded"
        form = await request.post()
        mail = str(form["mail"])
        if self.unique and mail.lower() in (address.lower() for address in self.addresses):
            return _said(422, {"message": "this mail is taken"})
        self.counters["created"] += 1
        number = self.add(mail, str(form["full"]), link=str(form["badge"]), boat=str(form.get("boat", "")))
        return _said(202, {"created": {"member": {"no": int(number)}}})

    async def _about(self, member: Person, request: web.Request, rest: list[str]) -> web.Response:
        if rest == ["standing"]:
            member["standing"] = str((await request.post())["standing"])
        elif rest == ["door-key"]:
            key = f"key-{len(self.door_keys)}"
            self.door_keys[key] = member["no"]
            return _said(200, {"door": {"key": key}})
        elif request.method == "PATCH":
            self.counters["patch"] += 1
            member |= await json_of(request)
        return _said(200, {"member": member})


def _said(status: int, value: Any) -> web.Response:
    return web.Response(status=status, text=json.dumps(value), content_type="application/json")
