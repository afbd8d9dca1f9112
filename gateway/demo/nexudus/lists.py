"""List conventions: `page`, `size`, `orderBy`, `dir`, `Entity_Property=` filters, ranges and batches.

Pure. Unknown parameters (`PageNumber`, a misspelt filter) are ignored in silence, which is why a caller must look at
every row.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.demo.nexudus.world import Record, shown

_DESCENDING = frozenset({"-1", "0", "descending"})
_LINKS = {"user": "UserId", "business": "InvoicingBusinessId", "country": "CountryId"}


def list_answer(
    records: Iterable[Record], entity: str, query: Mapping[str, str], *, exact_case: bool = False, deaf: bool = False
) -> Any:
    """The list envelope, or a bare array for `?id=[1,2]`. `exact_case`: filters tell `A` from `a`; `deaf`: no filter
    is heeded.
    """
    batch = _numbers(query.get("id", ""))
    if batch is not None:
        return [shown(record, listed=True) for record in records if record["Id"] in batch]
    rows = [record for record in records if deaf or _matches(record, entity.lower(), query, exact_case)]
    order = query.get("orderBy", "Id")
    rows.sort(
        key=lambda row: str(_property(row, order.lower()) or "").rjust(20),
        reverse=query.get("dir", "1").lower() in _DESCENDING,
    )
    return _envelope(rows, order, _positive(query.get("page"), 1), min(_positive(query.get("size"), 25), 1000))


def _envelope(rows: list[Record], order: str, number: int, size: int) -> Record:
    pages = -(-len(rows) // size)
    start = (number - 1) * size
    shown_rows = [shown(row, listed=True) for row in rows[start : start + size]]
    return {
        "Records": shown_rows, "CurrentPage": number, "CurrentPageSize": size, "CurrentOrderField": order,
        "CurrentSortDirection": 1, "FirstItem": start + 1 if shown_rows else 0, "LastItem": start + len(shown_rows),
        "PageNumber": number, "PageSize": size, "TotalItems": len(rows), "TotalPages": pages,
        "HasNextPage": number < pages, "HasPreviousPage": number > 1,
    }  # fmt: skip


def _matches(record: Record, entity: str, query: Mapping[str, str], exact_case: bool) -> bool:
    for name, wanted in query.items():
        edge, _, rest = name.lower().partition("_")
        if edge in ("from", "to"):
            prefix, _, field = rest.partition("_")
        else:
            prefix, field = edge, rest
        if prefix != entity or not field or not _known(record, field):
            continue
        value = _property(record, field)
        if edge in ("from", "to"):
            if not _in_range(edge, str(value), wanted):
                return False
        elif not _equals(value, wanted, exact_case):
            return False
    return True


def _known(record: Record, field: str) -> bool:
    return field in _LINKS or any(name.lower() == field for name in record) or field == "user_fullname"


def _property(record: Record, field: str) -> Any:
    name = "userfullname" if field == "user_fullname" else _LINKS.get(field, field).lower()
    return next((value for key, value in record.items() if key.lower() == name), None)


def _equals(value: Any, wanted: str, exact_case: bool) -> bool:
    if wanted.lower() in ("null", "notnull"):
        return (value is None) == (wanted.lower() == "null")
    numbers = _numbers(wanted)
    if numbers is not None:
        return value in numbers
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    return str(value) == wanted if exact_case else str(value).casefold() == wanted.casefold()


def _in_range(edge: str, value: str, limit: str) -> bool:
    return value >= limit if edge == "from" else value[: len(limit)] <= limit


def _numbers(text: str) -> list[int] | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return [number for number in value if isinstance(number, int)]


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and int(text) > 0 else otherwise
