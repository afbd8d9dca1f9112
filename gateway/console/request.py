"""One request to the console, as a page reads it: the operator, decoded parameters, what the operator may do."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.console.assertion import Operator
from gateway.web.request import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRequest:
    """`query` and `form` are decoded; `roles` says which roles the operator has. `csrf` is the token that a form must send back.

    `client` is the operator's address, as the data plane wrote it, for events only.
    """

    method: str
    path: str
    origin: str
    query: Parameters
    form: Parameters
    operator: Operator
    roles: Mapping[str, bool]
    csrf: str
    as_json: bool
    client: str
    request_id: str
