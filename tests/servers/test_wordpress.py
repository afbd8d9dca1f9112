"""WordPress behind the door: nothing that takes, sets or resets a password reaches it, in any form that its own code reads (C-12, C-65, B-35).

Each attack is sent to WordPress itself first, where it must do what it says; then through the door, where it must do nothing.
"""

import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.servers.door import Place, standing
from tests.servers.wordpress import PASSWORD, WORDPRESS, Administrator, ask

ME = "/wp/v2/users/me"
SET = urllib.parse.urlencode({"password": PASSWORD})
NEW = {"username": "new", "email": "new@example.com", "password": PASSWORD}
PLAIN = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Attack:
    """`form` and `json` give the body; `body` where neither says it. `{nonce}` in a target or form is the nonce of `page`."""

    name: str
    method: str
    target: str
    form: dict[str, str] = field(default_factory=dict)
    json: object = None
    body: bytes = b""
    content_type: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    page: str = ""
    nonce: str = "_wpnonce"

    def sent(self, administrator: Administrator) -> tuple[str, bytes, dict[str, str]]:
        """Target, body and fields."""
        nonce = administrator.form_nonce(self.page, self.nonce) if self.page else ""
        body, kind = self.body, self.content_type
        if self.form:
            body = urllib.parse.urlencode(
                {name: value.format(nonce=nonce) for name, value in self.form.items()}
            ).encode()
            kind = kind or PLAIN
        elif self.json is not None:
            body, kind = json.dumps(self.json).encode(), kind or "application/json"
        fields = {**administrator.fields, **self.fields, **({"Content-Type": kind} if kind else {})}
        return self.target.format(nonce=nonce), body, fields


def multipart(**values: str) -> tuple[bytes, str]:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in values.items()
    ]
    return "".join((*parts, "--b--\r\n")).encode(), "multipart/form-data; boundary=b"


def _by_the_api() -> Iterator[Attack]:
    api = f"/wp-json{ME}"
    for method in ("POST", "PUT", "PATCH"):
        yield Attack(f"{method} JSON", method, api, json={"password": PASSWORD})
        yield Attack(f"{method} form", method, api, body=SET.encode(), content_type=PLAIN)
        yield Attack(f"{method} query", method, f"{api}?{SET}")
        yield Attack(f"GET overridden to {method} in the query", "GET", f"{api}?{SET}&_method={method}")
        yield Attack(f"GET with rest_route and _method={method}", "GET", f"/?rest_route={ME}&{SET}&_method={method}")
        override = {"X-HTTP-Method-Override": method}
        yield Attack(f"GET overridden to {method} by a field", "GET", f"{api}?{SET}", fields=override)
        yield Attack(f"GET with rest_route, overridden to {method}", "GET", f"/?rest_route={ME}&{SET}", fields=override)
        yield Attack(f"{method} with rest_route", method, f"/index.php?rest_route={ME}", json={"password": PASSWORD})
    yield Attack("a charset", "POST", api, json={"password": PASSWORD}, content_type="application/json; charset=utf-8")
    yield Attack("a JSON kind", "POST", api, json={"password": PASSWORD}, content_type="application/vnd.api+json")
    yield Attack("the front controller", "POST", f"/index.php/wp-json{ME}", json={"password": PASSWORD})
    yield Attack("by number", "POST", "/wp-json/wp/v2/users/1", json={"password": PASSWORD})
    body, kind = multipart(password=PASSWORD)
    yield Attack("multipart", "POST", api, body=body, content_type=kind)


def _by_a_form() -> Iterator[Attack]:
    """`rest_route` is read from a form as well, under every name that PHP makes of one."""
    for name in ("rest_route", "rest.route", "rest route", "rest[route", " rest_route"):
        form = {name: ME, "password": PASSWORD}
        yield Attack(f"form with {name!r}", "POST", "/", form=form)
    yield Attack("any page", "POST", "/hello-world/", form={"rest_route": ME, "password": PASSWORD})
    yield Attack("index.php", "POST", "/index.php", form={"rest_route": ME, "password": PASSWORD})
    yield Attack("the password in the query", "POST", f"/?{SET}", form={"rest_route": ME})
    body, kind = multipart(rest_route=ME, password=PASSWORD)
    yield Attack("multipart with rest_route", "POST", "/", body=body, content_type=kind)
    charset = PLAIN + "; charset=utf-16"
    yield Attack("another charset", "POST", "/", form={"rest_route": ME, "password": PASSWORD}, content_type=charset)


def _accounts() -> Iterator[Attack]:
    passwords = f"/wp-json{ME}/application-passwords"
    yield Attack("an application password", "POST", passwords, json={"name": "n"})
    yield Attack(
        "an application password by a form",
        "POST",
        "/",
        form={"rest_route": f"{ME}/application-passwords", "name": "n2"},
    )
    yield Attack("a page for an application password", "GET", "/wp-admin/authorize-application.php?app_name=n")
    yield Attack("a new account", "POST", "/wp-json/wp/v2/users", json=NEW)
    new = {name: f"q{value}" if name != "password" else value for name, value in NEW.items()}
    yield Attack("a new account in the query", "POST", "/wp-json/wp/v2/users?" + urllib.parse.urlencode(new))
    page = "/wp-admin/user-new.php"
    form = {
        "action": "createuser", "_wpnonce_create-user": "{nonce}", "user_login": "formed", "email": "formed@example.com",
        "pass1": PASSWORD, "pass2": PASSWORD, "pw_weak": "1", "role": "subscriber",
    }  # fmt: skip
    yield Attack("the page for a new account", "POST", page, form=form, page=page, nonce="_wpnonce_create-user")
    profile = {
        "_wpnonce": "{nonce}", "action": "update", "user_id": "1", "email": "admin@example.com", "nickname": "admin",
        "pass1": PASSWORD, "pass2": PASSWORD, "pw_weak": "1",
    }  # fmt: skip
    yield Attack("the profile page", "POST", "/wp-admin/profile.php", form=profile, page="/wp-admin/profile.php")
    registered = {"user_login": "registered", "user_email": "registered@example.com"}
    yield Attack("registration", "POST", "/wp-login.php?action=register", form=registered)


def _signing_in() -> Iterator[Attack]:
    log_in = {"log": "admin", "pwd": PASSWORD, "testcookie": "1"}
    yield Attack("the sign-in form", "POST", "/wp-login.php", form=log_in)
    yield Attack("below the script", "POST", "/wp-login.php/x", form=log_in)
    yield Attack("as if it were log-out", "POST", "/wp-login.php?action=logout", form={"action": "login", **log_in})
    call = "<methodCall><methodName>wp.getUsersBlogs</methodName><params>{}</params></methodCall>"
    parameters = f"<param><value>admin</value></param><param><value>{PASSWORD}</value></param>"
    yield Attack("XML-RPC", "POST", "/xmlrpc.php", body=call.format(parameters).encode(), content_type="text/xml")
    yield Attack("a reset", "POST", "/wp-login.php?action=lostpassword", form={"user_login": "admin"})
    bulk = "/wp-admin/users.php?action=resetpassword&users[]=2&_wpnonce={nonce}"
    yield Attack("a reset from the list of users", "GET", bulk, page="/wp-admin/users.php")


def _resets() -> Iterator[Attack]:
    link = "/wp-login.php?action={}&key=k&login=admin"
    yield Attack("a reset link", "GET", link.format("rp"))
    yield Attack("a reset link that says log-out", "GET", link.format("logout"))


ATTACKS = (*_by_the_api(), *_by_a_form(), *_accounts(), *_signing_in(), *_resets())


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with standing(WORDPRESS) as place:
        place.reached()
        yield place


def test_each_attack_works_where_no_door_is(place: Place) -> None:
    """C-12: what is tried below is real: WordPress itself does it."""
    harmless = []
    for attack in ATTACKS:
        administrator = Administrator(place.upstream, place.open)
        target, body, fields = attack.sent(administrator)
        place.reached()
        answer = ask(place.upstream, place.open, attack.method, target, body=body, fields=fields)
        if not place.reached():
            harmless.append((attack.name, answer.status, answer.text[:200]))
    assert harmless == []


def test_nothing_that_takes_or_sets_a_password_reaches_wordpress(place: Place) -> None:
    """C-12, B-35: the same requests through the door, by a person who is signed in at the site."""
    through = []
    for attack in ATTACKS:
        administrator = Administrator(place.upstream, place.open)
        target, body, fields = attack.sent(administrator)
        place.reached()
        answer = ask(place.port, place.open, attack.method, target, body=body, fields=fields)
        if reached := place.reached():
            through.append((attack.name, answer.status, reached))
    assert through == []


def test_an_honest_person_works_with_the_site(place: Place) -> None:
    """Pages, the REST API, a comment, a new post by the editor's calls, a profile without a password, and log-out go on."""
    administrator = Administrator(place.upstream, place.open)
    fields = administrator.fields

    def status(method: str, target: str, **more: Any) -> int:
        return ask(place.port, place.open, method, target, fields=fields, **more).status

    assert status("GET", "/") == 200
    assert status("GET", "/hello-world/") == 200
    assert status("GET", "/?rest_route=/wp/v2/posts") == 200
    assert status("GET", "/wp-json/wp/v2/posts") == 200
    assert status("GET", f"/wp-json{ME}") == 200
    assert status("GET", "/wp-admin/") == 200
    assert status("GET", "/wp-admin/profile.php") == 200
    assert status("POST", "/wp-json/wp/v2/posts", form={"title": "t", "content": "c"}) == 201
    assert status("POST", f"/wp-json{ME}", form={"description": "d"}) == 200
    comment = {"comment": "hello", "comment_post_ID": "1", "author": "a", "email": "a@example.com"}
    assert status("POST", "/wp-comments-post.php", form=comment) in (302, 303)
    assert status("POST", "/wp-admin/admin-ajax.php", form={"action": "heartbeat"}) in (200, 400, 403)
    assert status("GET", "/wp-login.php?action=logout") in (200, 403)
    assert not [line for line in place.reached() if "changed" in line]
