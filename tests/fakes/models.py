"""What the table of readings predicts about one kind of server: asked with what the server did, a path at a time."""

from functools import cache

from gateway.errors.requests import BadRequest
from gateway.http.message import RequestHead
from gateway.policy.bodies import Unreadable, read_query
from gateway.policy.forms import methods_in_body
from gateway.policy.methods import possible_methods
from gateway.policy.paths import parse_target
from gateway.policy.readings import Model
from gateway.policy.routes import RouteMatch, parse_match


@cache
def model(*rows: str) -> Model:
    return Model(rows, rows)


@cache
def _compiled(rule: str, *rows: str) -> RouteMatch:
    return parse_match(rule, model(*rows))


def forwarded(sent: bytes) -> bytes | None:
    """The target that an upstream would get for what was sent; None where it is refused."""
    try:
        return parse_target(sent).wire()
    except BadRequest:
        return None


def predicts(row: str, rule: str, sent: bytes, method: str = "GET") -> bool:
    """Whether a restricting rule (`METHODS PATH-GLOB`) holds for a target by the readings of `row` alone, or the target is refused.

    A server of that kind that routed `sent` to what the rule is about shows a gap in the row where this is False.
    """
    try:
        read = model(row).read(parse_target(sent))
    except BadRequest:
        return True
    return _compiled(rule, row).may_hold(frozenset((method,)), read)


def predicts_method(method: str, sent: bytes, fields: list[tuple[bytes, bytes]], body: bytes, became: str) -> bool:
    """Whether a request may be taken for the method `became` by the table, or its body is such that it counts as every method."""
    head = RequestHead(method, sent, b"localhost", fields)
    try:
        target = parse_target(sent)
        return became in possible_methods(head, read_query(target.query)) | methods_in_body(head, body)
    except (BadRequest, Unreadable):
        return True
