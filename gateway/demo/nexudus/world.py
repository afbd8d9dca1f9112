"""Everything the stub knows: customers (coworkers), logins (users), locations, roles, tokens, sent mail, counters.

Invariant: one process, one event loop, so a handler that does not await between reading and writing cannot be
interleaved. E-mail addresses are deliberately not unique among coworkers, as in the API it imitates.
"""

import secrets
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

Record = dict[str, Any]

ENTITIES: Final = ("Coworker", "User", "Business", "Country", "SimpleTimeZone", "UserRole")
ACTIONS: Final = ("List", "Read", "Edit", "Create", "Delete")
COLLECTIONS: Final = frozenset({"Businesses", "Teams", "UserRoles", "Roles", "Users"})  # lists leave them out
SECRETS: Final = frozenset({"Password", "TotpSecret"})  # never shown by any answer
SERVICE_ROLES: Final = ("Coworker-List", "Coworker-Read", "Coworker-Create", "User-List", "User-Read")


@dataclass(slots=True, kw_only=True)
class Grant:
    """A live access token, refresh token or one-time token: whose it is, and until when (the stub's clock)."""

    user: int
    until: float
    client: str = ""


@dataclass(slots=True)
class World:
    """The stub's whole state. `clock` is seconds and may be set by tests; `list_lag` hides new coworkers from lists
    for so long.
    """

    service: tuple[str, str]
    clock: Callable[[], float] = time.monotonic
    list_lag: float = 0.0
    token_lifetime: float = 604_799
    users: dict[int, Record] = field(default_factory=dict)
    coworkers: dict[int, Record] = field(default_factory=dict)
    ghosts: dict[int, Record] = field(default_factory=dict)  # deleted coworkers that lists still show
    visible_from: dict[int, float] = field(default_factory=dict)
    businesses: dict[int, Record] = field(default_factory=dict)
    countries: dict[int, Record] = field(default_factory=dict)
    simpletimezones: dict[int, Record] = field(default_factory=dict)
    roles: dict[int, Record] = field(default_factory=dict)
    userroles: dict[int, Record] = field(default_factory=dict)
    access: dict[str, Grant] = field(default_factory=dict)
    refresh: dict[str, Grant] = field(default_factory=dict)
    one_time: dict[str, Grant] = field(default_factory=dict)
    cookies: dict[str, int] = field(default_factory=dict)
    outbox: list[Record] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    last_id: int = 87_650_000

    def __post_init__(self) -> None:
        for number, name in ((501, "Riverside"), (502, "Old Town")):
            self.businesses[number] = {"Id": number, "Name": name, "WebAddress": name.lower().replace(" ", "")}
        for number, name, code in ((1113, "Spain", "ES"), (1226, "United Kingdom", "GB")):
            self.countries[number] = {"Id": number, "Name": name, "TwoDigitsCode": code}
        for number, name in ((2029, "Romance Standard Time"), (2023, "GMT Standard Time")):
            self.simpletimezones[number] = {"Id": number, "Name": name, "Description": name, "TimeOffset": 60}
        names = [f"{entity}-{action}" for entity in ENTITIES for action in ACTIONS]
        self.roles = {number: {"Id": number, "Name": name} for number, name in enumerate(names, 1)}
        self.add_user(self.service[0], self.service[1], full_name="Sign-in service", roles=SERVICE_ROLES)

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def add_user(
        self,
        email: str,
        password: str,
        *,
        full_name: str = "",
        admin: bool = False,
        roles: Iterable[str] = (),
        businesses: Iterable[int] = (501, 502),
        **fields: Any,
    ) -> Record:
        """A login. `roles` are names as `Coworker-List`; an admin has them all. `TotpSecret` as a field asks for that
        code.
        """
        number = self.new_id()
        groups = []
        wanted = set(roles)
        if wanted:
            group = self.new_id()
            ids = [role["Id"] for role in self.roles.values() if role["Name"] in wanted]
            self.userroles[group] = {
                "Id": group,
                "Name": f"Group {group}",
                "BusinessId": 501,
                "Roles": ids,
                "Users": [number],
            }
            groups.append(group)
        user = {
            "Id": number, "UniqueId": str(uuid.uuid4()), "FullName": full_name or email, "Email": email,
            "Password": password, "Active": True, "APIAccess": True, "IsAdmin": admin, "UserRoles": groups,
            "Businesses": list(businesses), "MustResetPassword": False, "Validated": True, "TotpSecret": None,
            "DefaultBusinessId": next(iter(businesses), None), "DefaultCountryId": 1113,
            "DefaultSimpleTimeZoneId": 2029,
        } | fields  # fmt: skip
        self.users[number] = user
        return user

    def add_coworker(self, email: str, full_name: str, *, ghost: bool = False, **fields: Any) -> Record:
        """A customer record. `ghost`: deleted, but lists still show it."""
        number = int(fields.get("Id") or self.new_id())
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        first = not any(same_text(other["Email"], email) for other in self.coworkers.values())
        coworker = {
            "Id": number, "UniqueId": str(uuid.uuid4()), "CoworkerType": 1, "FullName": full_name, "Email": email,
            "UserId": None, "UserFullName": None, "Active": True, "Archived": False, "IsDefaultProfile": first,
            "InvoicingBusinessId": 501, "Businesses": [501], "Teams": [], "CountryId": 1113,
            "SimpleTimeZoneId": 2029, "CompanyName": None, "TeamNames": None, "RegistrationDate": stamp,
            "CreatedOn": stamp, "UpdatedOn": stamp, "UpdatedBy": self.service[0], "IsNew": False, "SystemId": None,
            "ToStringText": full_name, "LocalizationDetails": None, "CustomFields": None,
        } | fields  # fmt: skip
        home: Any = coworker["InvoicingBusinessId"]
        business = self.businesses.get(home)
        coworker["InvoicingBusinessName"] = business["Name"] if business else None
        (self.ghosts if ghost else self.coworkers)[number] = coworker
        return coworker

    def listed_coworkers(self) -> list[Record]:
        """What a list shows: without those that are still lagging, with the ghosts."""
        now = self.clock()
        shown = [row for number, row in self.coworkers.items() if self.visible_from.get(number, now) <= now]
        return shown + list(self.ghosts.values())

    def user_by_email(self, email: str) -> Record | None:
        return next((user for user in self.users.values() if same_text(user["Email"], email)), None)

    def role_names(self, user: Record) -> set[str]:
        if user["IsAdmin"]:
            return {role["Name"] for role in self.roles.values()}
        groups = [self.userroles[number] for number in user["UserRoles"] if number in self.userroles]
        return {self.roles[number]["Name"] for group in groups for number in group["Roles"] if number in self.roles}

    def accept(self, door: str, user: Record) -> None:
        """Count a person who got in at `door`. The service account is us, not a person, and is not counted as
        `signed_in`.
        """
        self.counters[f"door.{door}.opened"] += 1
        if not same_text(user["Email"], self.service[0]):
            self.counters["signed_in"] += 1

    def one_time_token(self, user: Record, minutes: float = 30) -> str:
        token = "jwt." + secrets.token_urlsafe(24)
        self.one_time[token] = Grant(user=user["Id"], until=self.clock() + minutes * 60)
        return token


def same_text(one: object, other: object) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one.casefold() == other.casefold()


def shown(record: Record, *, listed: bool = False) -> Record:
    """A record as the API shows it: no secrets, and in lists no collections."""
    hidden = SECRETS | COLLECTIONS if listed else SECRETS
    return {name: value for name, value in record.items() if name not in hidden}
