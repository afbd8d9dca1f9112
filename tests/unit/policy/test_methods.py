"""The method of a request, and the methods it asks to be taken for."""

import pytest

from gateway.policy.bodies import read_query
from gateway.policy.methods import answers, overrides_in_fields, overrides_in_query, possible_methods
from tests.unit.policy.made import head


@pytest.mark.parametrize(
    "field",
    [
        *((b"X-HTTP-Method-Override", b"DELETE"), (b"x-http-method", b"delete"), (b"X-METHOD-OVERRIDE", b" Delete ")),
        *((b"X_HTTP_Method_Override", b"DELETE"), (b"X-Http_Method-Override", b"GET, DELETE")),
    ],
)
def test_header_fields_that_override_the_method_are_found_in_every_spelling(field: tuple[bytes, bytes]) -> None:
    """B-35."""
    assert "DELETE" in overrides_in_fields([(b"Accept", b"x"), field])


def test_a_request_is_taken_for_its_own_method_and_for_all_it_asks_for() -> None:
    """B-35."""
    request = head("GET", "/x", (b"X-HTTP-Method", b"PUT"))
    assert possible_methods(request, read_query(b"_method=PATCH")) == {"GET", "PUT", "PATCH"}


@pytest.mark.parametrize("query", [None, b"", b"a=1", b"methodology=PUT", b"method2=PUT", b"_method="])
def test_a_query_that_asks_for_nothing_changes_nothing(query: bytes | None) -> None:
    assert not overrides_in_query(query)


def test_a_rule_for_get_is_one_for_head_and_a_rule_without_methods_one_for_all() -> None:
    assert answers(frozenset(("GET",)), "HEAD")
    assert answers(frozenset(), "PROPFIND")
    assert not answers(frozenset(("POST",)), "GET")
