"""What a sign-in would do in the directory for one person: `doorward provision --dry-run`, and a login test."""

from dataclasses import dataclass

from gateway.config.schema import RemoteDirectory
from gateway.directory.api.calls import Planned
from gateway.directory.factory import open_directory
from gateway.directory.person import Person
from gateway.directory.planning import AccountPlan, plan
from gateway.oidc.calls import open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A plan, and the calls that were made to find it."""

    what: str
    plan: AccountPlan
    calls: tuple[Planned, ...]


async def make_plan(settings: RemoteDirectory, person: Person, *, suspend: bool) -> PlanReport:
    """Plan what a sign-in would do; reads the directory and writes nothing. Raises Refusal."""
    calls: list[Planned] = []
    async with open_session(settings.ca) as http:
        directory = open_directory(settings, http, hold_writes=True, watch=calls.append)
        assert directory is not None
        found = await plan(directory, person, suspend=suspend, shared=settings.linked_elsewhere == "allow")
    made = tuple(call for call in calls if call is not found.call)
    return PlanReport(what=found.what, plan=found, calls=made)
