"""The coworker lists and records of the Nexudus API, parsed, and the record of a new customer.

Pure. A filter's result is verified here, and a shape that is not understood is an error, never "no account".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.directory.account import Account, kept_link, quotable, same_email
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.identity.claims import Identity

Row = Mapping[str, Any]

_LONGEST_NAME: Final = 100
_LONGEST_EMAIL: Final = 254
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_INDIVIDUAL, _GENDER_NOT_SET, _DEFAULT_TAX, _ATTENDANCE_UNDEFINED = 1, 1, 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CoworkerPage:
    rows: tuple[Row, ...]
    has_next: bool


def read_page(value: object, number: int) -> CoworkerPage:
    """One page of a list. Raises DirectoryUnavailable for anything but a complete list envelope of page `number`."""
    _refuse_failure(value)
    rows = value.get("Records") if isinstance(value, dict) else None
    total = value.get("TotalItems") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(rows, list) or not isinstance(total, int):
        raise DirectoryUnavailable("incomplete", "a list without Records or TotalItems")
    if value.get("CurrentPage", number) != number or not all(isinstance(row, dict) for row in rows):
        raise DirectoryUnavailable("incomplete", f"not page {number} of the list")
    has_next = value.get("HasNextPage")
    if not isinstance(has_next, bool) or (not rows and (has_next or (number == 1 and total > 0))):
        raise DirectoryUnavailable("incomplete", f"a list of {total} that shows {len(rows)} and has no end")
    return CoworkerPage(rows=tuple(rows), has_next=has_next)


def _refuse_failure(value: object) -> None:
    """Raises DirectoryUnavailable for a failure that the API sent as HTTP 200."""
    if isinstance(value, dict) and value.get("WasSuccessful") is False:
        raise DirectoryUnavailable("rejected", f"HTTP 200 that failed: {quotable(str(value.get('Message')))}")


def candidates(rows: Iterable[Row], email: str, businesses: Sequence[int]) -> list[Row]:
    """The rows that are this person's, best first: active, the default profile, a wanted business, the lowest Id."""
    # SECURITY: a filter that the API does not know returns every account; each row is compared with the address.
    own = [row for row in rows if same_email(row.get("Email"), email) and not is_archived(row)]
    return sorted(own, key=lambda row: _preference(row, businesses))


def _preference(row: Row, businesses: Sequence[int]) -> tuple[bool, bool, bool, int]:
    return (
        row.get("Active") is not True,
        row.get("IsDefaultProfile") is not True,
        row.get("InvoicingBusinessId") not in businesses,
        record_id(row),
    )


def record_id(row: Row) -> int:
    """The row's Id. Raises DirectoryUnavailable(incomplete)."""
    number = row.get("Id")
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise DirectoryUnavailable("incomplete", "a record without an Id")
    return number


def is_archived(row: Row) -> bool:
    return row.get("Archived") is True


def account_of(record: object, account_id: str, link_field: str | None = None) -> Account | None:
    """The Account in a record that was read by its id; None when it is archived."""
    _refuse_failure(record)
    if not isinstance(record, dict) or str(record_id(record)) != account_id:
        raise DirectoryUnavailable("incomplete", "the response has another record than the requested one")
    return None if is_archived(record) else listed_account(record, link_field)


def listed_account(record: Row, link_field: str | None = None) -> Account:
    """The Account in a record. Raises DirectoryUnavailable(incomplete)."""
    email = record.get("Email")
    facts = {
        name: str(record[field])
        for name, field in (("user_id", "UserId"), ("business_id", "InvoicingBusinessId"))
        if isinstance(record.get(field), int)
    }
    # A record without `Active` is inactive: an unclear value must not admit a person.
    return Account(
        id=str(record_id(record)),
        email=email.strip(" ") if isinstance(email, str) else "",
        user_id=facts.get("user_id"),
        active=record.get("Active") is True,
        link=None if link_field is None else kept_link(record.get(link_field)),
        facts=facts,
        record=record,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSpace:
    """The numbers of the country and the time zone of new records."""

    country: int
    time_zone: int


def home_of(value: object, country: int | None, time_zone: int | None) -> HomeSpace:
    """Country and time zone: the configured ones, else those of the service account in `/api/auth/me`. Raises DirectoryUnavailable."""
    told = value if isinstance(value, dict) else {}
    found: dict[str, int] = {}
    for key, given, name in (
        ("country_id", country, "DefaultCountryId"),
        ("time_zone_id", time_zone, "DefaultSimpleTimeZoneId"),
    ):
        number = given if given is not None else told.get(name)
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            raise DirectoryUnavailable("rejected", f"the service account has no {name}: set directory.{key}")
        found[key] = number
    return HomeSpace(country=found["country_id"], time_zone=found["time_zone_id"])


_NOT_SENT_BACK: Final = frozenset(
    {"CreatedOn", "UpdatedOn", "UpdatedBy", "UniqueId", "IsNew", "SystemId", "ToStringText"}
    | {"LocalizationDetails", "CustomFields"}
)


def merged(record: object, account_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PUT: the record as it is, with some fields changed. Raises DirectoryUnavailable."""
    _refuse_failure(record)
    if not isinstance(record, dict) or str(record_id(record)) != account_id:
        raise DirectoryUnavailable("incomplete", "the response has another record than the requested one")
    return {name: value for name, value in record.items() if name not in _NOT_SENT_BACK} | dict(fields)


def new_record(
    identity: Identity,
    *,
    businesses: Sequence[int],
    country: int,
    time_zone: int,
    create_login: bool,
    fields: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields that creation needs in every version of the API. Raises DirectoryUnavailable(rejected) without an
    address.

    `Businesses` and `InvoicingBusinessId` go together: without them the record lands in the first location of the
    login. Terms are accepted for no person and no plan is assigned, so the person becomes a contact.
    """
    email = identity.vouched_email or ""
    if not email or len(email) > _LONGEST_EMAIL:
        raise DirectoryUnavailable("rejected", "no address, or one that is too long")
    name = _one_line(identity.name) or _one_line(email.partition("@")[0])
    return {
        "FullName": name,
        "Email": email,
        "Tag": "sso",
        "CoworkerType": _INDIVIDUAL,
        "Gender": _GENDER_NOT_SET,
        "TaxRateType": _DEFAULT_TAX,
        **{f"{day}Attendance": _ATTENDANCE_UNDEFINED for day in _DAYS},
        "CountryId": country,
        "SimpleTimeZoneId": time_zone,
        "Businesses": list(businesses),
        "InvoicingBusinessId": businesses[0],
        "Active": True,
        "CreateUser": create_login,
    } | dict(fields or {})


def _one_line(name: str | None) -> str:
    """A person's name in one bounded line."""
    return " ".join((name or "").split())[:_LONGEST_NAME].strip()


def created_id(value: object) -> str | None:
    """The new record's id in the envelope of a write that worked; None for any other envelope."""
    made = value.get("Value") if isinstance(value, dict) and value.get("WasSuccessful") is True else None
    if not isinstance(made, dict):
        return None
    try:
        return str(record_id(made))
    except DirectoryUnavailable:
        return None


def token_of(value: object) -> str:
    """The one-time token in the envelope of `token/refresh`. Raises DirectoryUnavailable, without the token in its text."""
    _refuse_failure(value)
    token = value.get("Value") if isinstance(value, dict) and value.get("WasSuccessful") is True else None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise DirectoryUnavailable("incomplete", "an answer without a token")
    return token
