"""Every kind of directory behind one face: for promises that hold whichever of them knows the people."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from tests.fakes.gitlab import GitLab
from tests.fakes.people_api import PeopleApi
from tests.fakes.rowing_club import RowingClub
from tests.fakes.scim import ScimServer

UNLIMITED: Final = {
    "per_second": 0, "per_minute": 0, "per_hour": 0, "per_day": 0, "writes_per_minute": 0, "writes_per_day": 0,
}  # fmt: skip


_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class NexudusApi(NexudusStub):
    """The demo's Nexudus, talked to like the others."""

    FIND, CREATE, FETCH = "GET /api/spaces/coworkers", "POST /api/spaces/coworkers", "GET /api/spaces/coworkers/*"

    def section(self, **changes: Any) -> dict[str, Any]:
        return {
            "kind": "nexudus", "base_url": self.url, "username": SERVICE[0], "password": SERVICE[1], "timeout": "5s",
            "business_ids": [501], "country_id": 1113, "time_zone_id": 2029, "budget": UNLIMITED, **changes,
        }  # fmt: skip

    def add(self, email: str, name: str, *, active: bool = True, link: str | None = None) -> str:
        days: dict[str, Any] = {f"{day}Attendance": 5 for day in _DAYS}
        record = self.world.add_coworker(
            email, name, Active=active, Gender=1, TaxRateType=1, ReferenceNumber=link, **days
        )
        return str(record["Id"])

    @property
    def ids(self) -> list[str]:
        return [str(row["Id"]) for row in self.coworkers]

    @property
    def addresses(self) -> list[str]:
        return [str(row["Email"]) for row in self.coworkers]


Api = NexudusApi | PeopleApi
KINDS: Final[dict[str, Callable[[], AbstractAsyncContextManager[Any]]]] = {
    "nexudus": NexudusApi,
    "scim": ScimServer,
    "rowing club": RowingClub,
    "gitlab": GitLab,
}


def created(api: Api) -> int:
    """How many creations took effect."""
    return api.counters["coworkers.created" if isinstance(api, NexudusStub) else "created"]


def asked_to_create(api: Api) -> int:
    """How many creations arrived."""
    return api.counters["coworkers.create" if isinstance(api, NexudusStub) else "create"]
