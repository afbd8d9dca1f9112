"""A request without a session that passes as a CORS preflight, and is something else to the upstream."""

import pytest

from tests.flows.conftest import OpenHouse

PREFLIGHT = "Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n"


@pytest.mark.parametrize(
    ("target", "fields", "body"),
    [
        ("/items/1", "X-HTTP-Method-Override: DELETE\r\n", None),
        ("/items/1", "x-method-override: delete\r\n", None),
        ("/items/1?_method=DELETE", "", None),
        ("/items/1?a=1&%5Fmethod=DELETE", "", None),
        ("/items/1", "Content-Type: application/x-www-form-urlencoded\r\n", b"_method=DELETE"),
        ("/items/1", "Transfer-Encoding: chunked\r\n", None),
    ],
)
async def test_a_preflight_that_asks_to_be_taken_for_something_else_needs_a_session(
    open_house: OpenHouse, target: str, fields: str, body: bytes | None
) -> None:
    """C-18, B-35: no rule names methods and no doors are closed, so overrides would travel."""
    house = await open_house(apps={"portal": {"cors_preflight": "pass"}})
    response = await house.ask(target, method="OPTIONS", fields=PREFLIGHT + fields, body=body)
    assert response.status == 401
    assert house.upstream.requests == []


async def test_a_preflight_as_browsers_send_it_passes(open_house: OpenHouse) -> None:
    """C-18."""
    house = await open_house(apps={"portal": {"cors_preflight": "pass"}})
    for target in ("/items/1", "/items/1?method=x%20y"):
        response = await house.ask("/items/1", method="OPTIONS", fields=PREFLIGHT, body=b"")
        assert response.status == 200, target
    assert all(request.values("x-forwarded-user") == [] for request in house.upstream.requests)
