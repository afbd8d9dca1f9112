"""Requests that a real framework routes to what a rule closes, though their path is spelled as something else; and honest ones beside them."""

import pytest

from gateway.errors.requests import BadRequest
from gateway.policy.rules import RouteRules
from tests.fakes.house import House
from tests.flows.conftest import OpenHouse
from tests.unit.policy.made import rules, target

STAFF = {"require": {"groups": ["staff"]}}
ADMIN = {"match": ["* /admin/**"], **STAFF}


def restricted(found: RouteRules, path: str, method: str = "GET") -> bool:
    """Whether a person without groups is refused; what can be read in too many ways is."""
    try:
        return bool(found.decide(method, target(path)).requirements)
    except BadRequest:
        return True


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        # Front controllers: Symfony, Laravel, WordPress, CodeIgniter, and whatever else runs all requests through one script.
        ("* /admin/**", "/index.php/admin/users"), ("* /admin/**", "/INDEX.PHP/Admin/users"), ("* /admin/**", "/app_dev.php/admin"),
        ("* /admin/**", "/index.php//admin"), ("* /admin/**", "/index.php/admin.json"), ("* /admin/**", "/index.php5/admin"),
        ("* /admin/**", "/public/index.php/admin"), ("* /admin/**", "/a/b/index.php/admin"), ("* /admin/**", "/x.php/index.php/admin"),
        ("* /admin/**", "/index.php;x/admin"), ("* /admin/**", "/index%2ephp/admin"), ("* /admin/**", "/index.php%20/admin"),
        ("* /blog/admin/**", "/blog/index.php/admin/x"), ("* /admin/**", "/default.aspx/admin"), ("* /admin/**", "/main.cgi/admin/x"),
        ("* /admin/**", "/index/admin/users"), ("* /admin/**", "/index.phpadmin/users"), ("* /admin/**", "/app_dev.phpadmin"),
        ("* /admin/**", "/sixteen-letters_/admin/users/1index.php"), ("* /admin/**", "/%C3%A9-letters_/admin/users/1index.php"),
        # PATH_INFO after a script.
        ("* /login.php", "/login.php/x"), ("* /login.php", "/login.php/x/y.css"), ("* /login", "/login.php/x"), ("* /login.php", "/LOGIN.php/"),
        ("* /sub/login.aspx", "/sub/login.aspx/a.png"), ("* /login.html", "/login.html/x"), ("* /cgi-bin/login", "/cgi-bin/login/x"),
        # Formats: Rails, Spring up to 5.2.
        ("* /login", "/login.1"), ("* /login", "/login.json"), ("* /login", "/login.a.b"), ("* /login", "/login.%31"), ("* /login", "/login.~"),
        ("* /login", "/login.averylongextension"), ("* /login", "/login.a-b"), ("* /reports/**", "/reports.pdf"), ("* /reports/**", "/reports.css"),
        ("* /reports/2024", "/reports/2024.xlsx"), ("* /reports.v2", "/reports.v2.json"), ("* /login", "/login.é"),
        # Extensions left out, and written: MultiViews, try_files, friendly URLs.
        ("* /login.php", "/login"), ("* /login.php", "/login/x"), ("* /login.html", "/login"), ("* /login", "/login.php"), ("* /login", "/login.html"),
        ("* /a/login.php/**", "/a/Login/x"),
        # Documents of a folder.
        ("* /admin/index.php", "/admin/"), ("* /admin/index.php", "/admin"), ("* /admin", "/admin/index.php"), ("* /admin", "/admin/index.html"),
        ("* /admin", "/admin/default.aspx"), ("* /index.php", "/"), ("* /", "/index.php"), ("* /", "/index.html"),
        # The default route of ASP.NET MVC.
        ("* /login", "/login/index"), ("* /login", "/login/index/1"), ("* /login", "/Login/Index/x"), ("* /login/index", "/login"), ("* /", "/Home/Index"),
        ("* /", "/home"), ("* /", "/home/index/1"), ("* /login/reset", "/login/reset/1"), ("* /home", "/"), ("* /area/login", "/area/login/index/1"),
        # Streams of NTFS, and a semicolon that begins the query.
        ("* /login.aspx", "/login.aspx::$DATA"), ("* /admin/**", "/admin:$i30:$INDEX_ALLOCATION/x"), ("* /admin", "/admin;x/y"),
        # The path in the query.
        ("* /admin/**", "/index.php?r=admin/users"), ("* /admin/**", "/?r=admin"), ("* /admin/**", "/?q=admin/users"), ("* /admin/**", "/x?q=/admin/users"),
        ("* /admin/**", "/index.php?/admin/users"), ("* /admin/**", "/?%71=admin"), ("* /admin/**", "/?a=1&R=Admin"), ("* /admin/**", "/?r=%61dmin%2Fx"),
        ("* /wp-json/wp/v2/users/**", "/?rest_route=/wp/v2/users"), ("* /wp-json/wp/v2/users/**", "/x?rest.route=wp/v2/users/1"),
        ("* /wp-json/wp/v2/users/**", "/?rest%5Froute=%2Fwp%2Fv2%2FUsers%2f"), ("* /members/**", "/?pagename=members/secret"),
        ("* /wp-json/wp/v2/users/**", "/?rest_route%00x=/wp/v2/users"), ("* /wp-json/wp/v2/users/**", "/?rest%u005froute=/wp/v2/users"),
        ("* /wp-json/wp/v2/users/**", "/index.php/wp-json/wp/v2/users"),
    ],
)  # fmt: skip
def test_what_some_framework_routes_to_a_restricted_path_is_restricted(rule: str, path: str) -> None:
    """C-65, C-66."""
    assert restricted(rules(rules=[{"match": [rule], **STAFF}]), path)
    # Nobody opens it either, whatever the plain path is.
    assert restricted(rules(public=["GET /**"], rules=[{"match": [rule], **STAFF}]), path)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("* /admin/**", "/users/1"), ("* /admin/**", "/index/1"), ("* /admin/**", "/reports.v2"), ("* /admin/**", "/files/a.pdf"),
        ("* /admin/**", "/administration"), ("* /admin/**", "/x/admin"), ("* /admin/**", "/search?q=admin"), ("* /admin/**", "/search?r=1&q=admin%20users"),
        ("* /admin/**", "/files/index.php.txt"), ("* /admin/**", "/a.b/admin"), ("* /admin/**", "/v1.2/admin"), ("* /admin/**", "/phpinfo/admin"),
        ("* /login", "/login/x"), ("* /login", "/login/x/y/z"), ("* /login", "/loginx.json"), ("* /login", "/x/login.json"), ("* /login", "/login-help.html"),
        ("* /reports", "/reports/1"), ("* /reports", "/reports/1.pdf"), ("* /users/1", "/users/11"), ("* /users/1", "/users/2.json"), ("* /login", "/?next=/login"),
        ("* /login.php", "/logins"), ("* /wp-admin/*.php", "/wp-content/a"), ("* /files/a", "/files/b.a"), ("* /members/**", "/?p=12"), ("* /", "/index/1"),
        ("* /home", "/homepage"), ("* /**/*.php", "/about/us"),
    ],
)  # fmt: skip
def test_ordinary_addresses_beside_a_restricted_path_are_not_restricted(rule: str, path: str) -> None:
    """C-65: a door that refuses honest requests is taken out."""
    assert not restricted(rules(rules=[{"match": [rule], **STAFF}]), path)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/index.php/admin", "/assets/x.php/admin.css", "/account.php/x.css", "/assets/a.css?rest_route=/wp/v2/users", "/assets/a?r=site/login",
        "/assets/index.php/x/../admin", "/assets/123456789/account/1index.php", "/assets/page.html/x.css", "/x;/y.css", "/assets/a?pagename=members",
    ],
)  # fmt: skip
def test_an_open_folder_or_suffix_opens_nothing_that_runs_or_routes_something_else(path: str) -> None:
    """C-65, C-66: `/assets/index.php/admin` is `/admin` to Symfony, and `/account.php/x.css` runs the script."""
    assert not rules(public=["GET /assets/**", "GET /*/*.css", "GET /*.css"]).decide("GET", target(path)).public


@pytest.mark.parametrize(
    "path",
    ["/assets/a.css", "/assets/v1.2/a.min.js", "/assets/x;v=1/y.png", "/assets/run.php", "/assets/index.php", "/app.css", "/assets/a?v=1&next=/x", "/hook.php/stripe"],
)  # fmt: skip
def test_an_open_folder_or_suffix_goes_on_opening_what_it_names(path: str) -> None:
    """C-65."""
    assert rules(public=["GET /assets/**", "GET /*.css", "* /hook.php/**"]).decide("GET", target(path)).public


def test_a_page_that_is_asked_for_by_its_number_is_any_page_where_the_application_is_wordpress() -> None:
    """C-66."""
    members = {"match": ["* /members/**"], **STAFF}
    for path in ("/?p=12", "/?page_id=3&preview=true", "/x?attachment_id=9"):
        assert restricted(rules(rules=[members], reads_like="wordpress"), path)
        assert restricted(rules(rules=[members], password_routes="wordpress"), path)
        assert not rules(public=["GET /**"], reads_like="wordpress").decide("GET", target(path)).public
        assert not restricted(rules(rules=[{"match": ["* /wp-admin/**"], **STAFF}]), path)
    assert restricted(rules(rules=[members], reads_like="wordpress"), "/?name=members")
    assert not restricted(rules(rules=[members]), "/?name=members")


def test_reads_like_takes_away_the_readings_of_other_servers_and_nothing_that_all_have_in_common() -> None:
    """C-65."""
    django = rules(rules=[ADMIN, {"match": ["* /login.php"], **STAFF}], reads_like=["django"])
    for path in ("/index.php/admin", "/admin.json", "/index.php?r=admin/x", "/login", "/login.php/x"):
        assert not restricted(django, path)
    for path in ("/ADMIN", "/admin/", "/admin;x", "/%61dmin.", "//admin", "/admin%20/x"):
        assert restricted(django, path)
    rails = rules(rules=[ADMIN], reads_like=["django", "rails"])
    assert restricted(rails, "/admin.1")
    assert not restricted(rails, "/index.php/admin")


@pytest.mark.parametrize(
    "path",
    [
        "/a.php" * 40 + "/admin", "/a.php/b.php/c.php/d.php/e.php/admin", "/" + ".a" * 5000, "/index.php" * 4 + "/" + ".b" * 9 + "x" * 60_000,
        "/" + ":" * 60_000, "/:$" + ":$a" * 20_000, "/a.php;x" * 900, "/?" + "&".join(f"r=a/{n}" for n in range(500)), "/" + "index/" * 10_000,
    ],
)  # fmt: skip
def test_a_path_of_many_readings_costs_a_bounded_number_of_them(path: str) -> None:
    """C-65: a stranger's paths are never remembered when they are long, so each is read anew."""
    found = rules(rules=[ADMIN])
    try:
        read = found.model.read(target(path), languages=True)
    except BadRequest:
        return
    assert len(read.paths) <= 96
    assert sum(map(len, read.paths)) <= 65_536 + 3 * len(path)


# --- at the door ---

DOORS = {"portal": {"password_routes": ["nexudus"], "unauthenticated": "pass"}}
PREVENT = {"prevent_password_login": True}


@pytest.fixture
async def closed(open_house: OpenHouse) -> House:
    return await open_house(apps=DOORS, openid=PREVENT)


@pytest.mark.parametrize(
    "path",
    ["/login.1", "/login/index/1", "/login.php/x", "/index.php/login", "/index.php/en/login", "/en/index.php/login", "/en/login/index/2", "/index.php?r=login", "/login.php", "/join.2", "/user/exists/1", "/login.a.b.c"],
)  # fmt: skip
async def test_a_password_route_is_closed_however_a_server_would_come_to_it(closed: House, path: str) -> None:
    """C-65, C-66."""
    assert (
        await closed.ask(path, method="POST", fields="Content-Type: application/x-www-form-urlencoded\r\n", body=b"a=1")
    ).status == 403
    assert closed.upstream.requests == []


async def test_a_static_file_is_no_password_request_when_it_is_only_fetched(closed: House) -> None:
    """C-65."""
    for path in ("/login.css", "/signup.js", "/join.woff2", "/reset-password.svg", "/index.php/login.css"):
        assert (await closed.ask(path)).status == 200, path
        assert (await closed.ask(path, method="HEAD")).status == 200, path
        assert (await closed.ask(path + "?a=1")).status == 403, path
        assert (await closed.ask(path, method="POST")).status == 403, path
        assert (await closed.ask(path, body=b"x")).status == 403, path
        assert (await closed.ask(path, fields="X-HTTP-Method-Override: POST\r\n")).status == 403, path
    # This one needs nothing but its path.
    assert (await closed.ask("/api/public/coworkers/7/impersonate.css")).status == 403


async def test_addresses_of_an_ordinary_portal_pass(closed: House) -> None:
    """C-65."""
    for path in (
        "/",
        "/en/",
        "/login/logout",
        "/bookings/5",
        "/files/a.pdf",
        "/reports.v2",
        "/search?q=bookings",
        "/user/7",
        "/en/events/index/3",
        "/index/1",
    ):
        assert (await closed.ask(path)).status == 200, path


FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PARTS = "Content-Type: multipart/form-data; boundary=b\r\n"
UTF16 = "Content-Type: application/x-www-form-urlencoded; charset=utf-16\r\n"


def part(name: str, content: str = "DELETE") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n--b--\r\n'.encode()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("", b"_method=DELETE"), ("Content-Type: \r\n", b"_method=DELETE"), ("Content-Type: form\r\n", b"_method=DELETE"),
        (FORM, b"_method%00x=DELETE"), (FORM, b"_m%u0065thod=DELETE"), (FORM, b"_method=D%u0045LETE"), (FORM, b"_method[]=DELETE"), (FORM, b"+_method=DELETE"),
        (FORM, b"_method%5B=DELETE"), (FORM, b"_method=DELETE%00"), (FORM, b"%2b_method=DELETE&+%5fMETHOD=delete"),
        (UTF16, "_method=DELETE".encode("utf-16")), (FORM.replace("\r\n", "; charset=ibm037\r\n"), "_method=DELETE".encode("cp037")),
        (FORM.replace("\r\n", "; charset*=utf-16\r\n"), b"a=1"), (PARTS, part("_method")), ("Content-Type: multipart/form-data\r\n", b"_method=DELETE"), ("Content-Type: application/x-url-encoded\r\n", b"_method=DELETE"), ("Content-Type: multipart/form-data; boundary=\r\n", b"_method=DELETE"), (PARTS.replace("\r\n", "; charset=utf-7\r\n"), part("+AF8-method")),
        ("Content-Type: application/json\r\n", '{"_method":"DELETE"}'.encode("utf-16-le")), ("Content-Type: application/json; charset=utf-32\r\n", b"{}"),
        ("Content-Type: text/json\r\n", b'{"_method":"DELETE"}'),
    ],
)  # fmt: skip
async def test_a_method_that_is_asked_for_in_a_hidden_way_is_judged(
    open_house: OpenHouse, fields: str, body: bytes
) -> None:
    """C-67, B-35."""
    house = await open_house(apps={"portal": {"rules": [{"match": ["DELETE /items/**"], **STAFF}]}})
    member = await house.session(groups=["members"])
    assert (await house.ask("/items/1", method="POST", cookie=member, fields=fields, body=body)).status == 403
    assert house.upstream.requests == []
    staff = await house.session(groups=["staff"])
    assert (await house.ask("/items/1", method="POST", cookie=staff, fields=fields, body=body)).status == 200


async def test_bodies_that_ask_for_nothing_pass(open_house: OpenHouse) -> None:
    """C-67."""
    house = await open_house(apps={"portal": {"rules": [{"match": ["DELETE /items/**"], **STAFF}]}})
    member = await house.session(groups=["members"])
    for fields, body in (
        ("", b"title=x"), (FORM.replace("\r\n", "; charset=UTF-8\r\n"), b"title=caf%C3%A9"), (FORM, b"title[]=1&title[]=2&discount=50%"),
        ("Content-Type: application/octet-stream\r\n", b"\0" * 100_000), ("Content-Type: text/plain; charset=utf-16\r\n", b"_method=DELETE"),
        ("Content-Type: application/json; charset=utf-8\r\n", b'{"payment":{"method":"DELETE"}}'), (PARTS, part("title")), (FORM, b"method_of_payment=DELETE"),
    ):  # fmt: skip
        assert (await house.ask("/items/1", method="POST", cookie=member, fields=fields, body=body)).status == 200, (
            fields,
            body,
        )


@pytest.mark.parametrize(
    "target_", ["/?_method%00x=DELETE", "/?_m%u0065thod=DELETE", "/?_method[]=DELETE", "/?_method=DELET%2545"]
)
def test_a_query_that_hides_the_method_is_judged_as_it_too(target_: str) -> None:
    """C-67."""
    found = rules(rules=[{"match": ["DELETE /"], **STAFF}])
    assert found.decide("POST", target(target_)).requirements
    assert not found.decide("POST", target("/?method_of=DELETE")).requirements


# --- WordPress: the path in a form ---

WORDPRESS = {
    "portal": {
        "rules": [{"match": ["* /wp-json/wp/v2/users/**"], **STAFF}],
        "public": ["* /", "POST /wp-comments-post.php"],
    }
}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (FORM, b"rest_route=/wp/v2/users/me&password=x"), (FORM, b"a=1&rest.route=%2Fwp%2Fv2%2Fusers"), (FORM, b"rest_route%00=/wp/v2/users"), (PARTS, part("rest_route", "/wp/v2/users")),
        (PARTS, part("rest route", "/wp/v2/users")), (PARTS, part("rest[route", "/wp/v2/users")), (FORM, b"x=" + b"y" * 70_000 + b"&rest_route=/wp/v2/users"), ("", b"rest_route=/wp/v2/users"),
        (FORM + "Content-Encoding: gzip\r\n", b"x"),
    ],
)  # fmt: skip
async def test_a_form_that_names_the_rest_api_is_judged_as_its_path(
    open_house: OpenHouse, fields: str, body: bytes
) -> None:
    """C-66."""
    house = await open_house(apps=WORDPRESS)
    member, staff = await house.session(groups=["members"]), await house.session(groups=["staff"])
    for path in ("/", "/news", "/news?rest_route=/wp/v2/posts"):
        assert (await house.ask(path, method="POST", cookie=member, fields=fields, body=body)).status == 403
        assert (await house.ask(path, method="POST", fields=fields, body=body)).status == 401
    assert house.upstream.requests == []
    assert (await house.ask("/", method="POST", cookie=staff, fields=fields, body=body)).status == 200


async def test_other_forms_of_a_wordpress_site_pass(open_house: OpenHouse) -> None:
    """C-66."""
    house = await open_house(apps=WORDPRESS)
    member = await house.session(groups=["members"])
    for fields, body in (
        (FORM, b"comment=rest_route&author=x"), (PARTS, part("comment", "rest_route=/wp/v2/users")), ("Content-Type: application/json\r\n", b'{"rest_route":"/wp/v2/users"}'),
        ("Content-Type: image/png\r\n", b"x" * 100_000),
    ):  # fmt: skip
        assert (await house.ask("/wp-comments-post.php", method="POST", fields=fields, body=body)).status == 200
        assert (await house.ask("/news", method="POST", cookie=member, fields=fields, body=body)).status == 200
    assert (
        await house.ask("/", method="POST", fields=FORM, body=b"rest_route=/wp/v2/posts")
    ).status == 401  # `/` alone is public


async def test_forward_auth_takes_a_form_that_it_cannot_see_for_every_path(open_house: OpenHouse) -> None:
    """C-66, C-01."""
    house = await open_house(apps=WORDPRESS, trusted_proxies=["127.0.0.0/8"])
    member, staff = await house.session(groups=["members"]), await house.session(groups=["staff"])
    asked = "X-Original-Method: POST\r\nX-Original-URI: /news\r\n" + FORM
    assert (await house.ask("/oauth2/auth", cookie=member, fields=asked)).status == 403
    assert (await house.ask("/oauth2/auth", cookie=staff, fields=asked)).status == 202


async def test_a_form_that_names_a_password_route_is_refused(open_house: OpenHouse) -> None:
    """C-66: `POST /` with rest_route=/wp/v2/users/me&password=... changed a password."""
    house = await open_house(
        apps={"portal": {"password_routes": ["wordpress"], "unauthenticated": "pass"}}, openid=PREVENT
    )
    for body in (
        b"rest_route=/wp/v2/users/me&password=x",
        b"rest_route=/wp/v2/users/1/application-passwords&name=x",
        b"password=x&rest_route=/WP/v2/users",
    ):
        for path in ("/", "/news", "/index.php", "/wp-json/wp/v2/posts"):
            assert (await house.ask(path, method="POST", fields=FORM, body=body)).status == 403, (path, body)
    assert (
        await house.ask("/news", method="POST", fields=PARTS, body=part("rest_route", "/wp/v2/users"))
    ).status == 403
    assert house.upstream.requests == []
    for fields, body in ((FORM, b"comment=hello"), (FORM, b"rest_route=/wp/v2/posts&title=x"), (PARTS, part("title"))):
        assert (await house.ask("/news", method="POST", fields=fields, body=body)).status == 200, body
