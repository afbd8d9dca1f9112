"""The people of the demo: who can sign in at its provider, and whom the sample directory already knows.

Pure data. The passwords are those of the portal's own login, which the demo keeps closed; the sample provider asks for
none.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person. `registered`: the directory has a member record already. `role` is a column of the printed table."""

    subject: str
    email: str
    name: str
    preferred_username: str
    password: str
    groups: tuple[str, ...]
    registered: bool
    role: str


MEMBER = Person(
    subject="hd-1001",
    email="mia@harbourdesk.example",
    name="Mia Lindqvist",
    preferred_username="mia",
    password="slack-water",
    groups=("members",),
    registered=True,
    role="A registered member",
)

NEWCOMER = Person(
    subject="hd-1002",
    email="noah@harbourdesk.example",
    name="Noah Okafor",
    preferred_username="noah",
    password="first-light",
    groups=("members",),
    registered=False,
    role="Not registered yet",
)

ADMIN = Person(
    subject="hd-1003",
    email="ada@harbourdesk.example",
    name="Ada Marsh",
    preferred_username="ada",
    password="spring-tide",
    groups=("members", "staff"),
    registered=True,
    role="An admin, in the group staff",
)

PEOPLE = (MEMBER, NEWCOMER, ADMIN)
