"""`enabled: off` is a plain proxy: nobody is asked to sign in, looked up, or believed to be somebody."""

from urllib.parse import unquote

from playwright.sync_api import Page, expect

from gateway.demo.people import MEMBER
from tests.e2e.conftest import OpenDoor, Snap


def test_with_openid_off_the_portal_answers_without_identity_and_with_open_doors(
    open_door: OpenDoor, page: Page, snap: Snap
) -> None:
    """C-32: identity headers of the visitor's own making do not pass either."""
    door = open_door("row-off", {"enabled": False})
    page.goto(door.origin("portal") + "/login")
    expect(page.locator("input[type=password]").first).to_be_visible()
    snap(page, "openid off - the portal's own login")
    forged = {"X-Forwarded-Email": MEMBER.email, "X_Forwarded_User": "admin", "Accept": "application/json"}
    answer = door.ask("portal", "/api/whoami", headers=forged)
    assert MEMBER.email not in answer.body
    assert not [path for _, path, _ in door.behind.directory.seen if "@" in unquote(path)], "nobody is looked up"
