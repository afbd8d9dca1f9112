"""The password doors of the API host and the classic portal: each of them works, and counts who came in.

`counters["door.<name>"]` counts its requests, `door.<name>.opened` those that got in, `signed_in` all sign-ins;
`passwords_set` and `accounts_made` count what the other doors did. Resets and one-time links answer alike whether or
not an address is known.
"""

import html
import secrets

from aiohttp import web

from gateway.demo.nexudus.answers import (
    RouteTable,
    done,
    failed,
    form_or_json,
    invalid,
    json_answer,
    json_body,
    page,
    text_answer,
)
from gateway.demo.nexudus.auth import Auth
from gateway.demo.nexudus.world import Record, World

COOKIE = "nexudus_session"
_FORM = (
    '<form method="post"><label>Email <input name="Email" type="email"></label>'
    '<label>Password <input name="Password" type="password"></label><button>Sign in</button></form>'
)


class ApiDoors:
    """`/api/...`: tokens for passwords, resets, links, sign-up."""

    def __init__(self, world: World, auth: Auth) -> None:
        self._world = world
        self._auth = auth

    def mount(self, routes: RouteTable) -> None:
        routes.add("POST", "/api/token", self.token)
        routes.add("POST", "/api/sys/users/token", self.user_token)
        routes.add("POST", "/api/sys/users/validate", self.validate)
        routes.add("POST", "/api/sys/users/startpasswordreset", self.start_reset)
        routes.add("POST", "/api/sys/users/completepasswordreset", self.complete_reset)
        routes.add("GET", "/api/sys/users/sendotp", self.send_otp)
        routes.add("POST", "/api/sys/users/exchange", self.exchange)
        routes.add("POST", "/api/sys/users/token/refresh", self.own_token)
        routes.add("GET,POST", "/api/sys/users/{id}/token/refresh", self.token_for)
        routes.add("GET", "/api/public/coworkers/{id}/impersonate", self.impersonate)
        routes.add("POST", "/api/public/signup", self.sign_up)

    async def token(self, request: web.Request, segments: dict[str, str]) -> web.Response:
        self._world.counters["door.token"] += 1
        return await self._auth.token(request, segments)

    async def user_token(self, request: web.Request, _: dict[str, str]) -> web.Response:
        user = self._knock("users_token", await form_or_json(request))
        return (
            done("OK", self._world.one_time_token(user), user["Email"])
            if user
            else failed("Invalid email or password.")
        )

    async def validate(self, request: web.Request, _: dict[str, str]) -> web.Response:
        user = self._knock("validate", await form_or_json(request))
        if user is None:
            return failed("Invalid email or password.")
        return json_answer(
            {"Id": user["Id"], "Email": user["Email"], "AccessToken": self._auth.bearer(user, "app")["access_token"]}
        )

    async def start_reset(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """Mails a link that carries a token. The answer never shows whether the address is known."""
        self._world.counters["door.start_reset"] += 1
        self._mail_link((await form_or_json(request)).get("email"), "reset")
        return done("If the address is known, a message is on its way.", None, "")

    async def complete_reset(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """Sets the password and signs the person in at once."""
        self._world.counters["door.complete_reset"] += 1
        fields = await form_or_json(request)
        user = self._redeem(fields.get("token"))
        if user is None or not fields.get("password"):
            return invalid([("Token", "is not valid")])
        user["Password"] = str(fields["password"])
        self._world.counters["passwords_set"] += 1
        self._world.accept("complete_reset", user)
        return done("OK", self._world.one_time_token(user), user["Email"])

    async def send_otp(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.send_otp"] += 1
        self._mail_link(request.query.get("email"), "one-time link")
        return done("If the address is known, a message is on its way.", None, "")

    async def exchange(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """A one-time token becomes a Bearer."""
        self._world.counters["door.exchange"] += 1
        user = self._redeem(request.query.get("token"))
        if user is None:
            return text_answer("Invalid token.", 400)
        self._world.accept("exchange", user)
        return json_answer(self._auth.bearer(user, "exchange"))

    async def own_token(self, request: web.Request, _: dict[str, str]) -> web.Response:
        user = self._auth.need(request, None)
        return done("OK", self._world.one_time_token(user), user["Email"])

    async def token_for(self, request: web.Request, segments: dict[str, str]) -> web.Response:
        """A one-time token for any person, for holders of `User-Edit`."""
        caller = self._auth.need(request, "User-Edit")
        user = self._world.users.get(int(segments["id"])) if segments["id"].isdigit() else None
        return (
            done("OK", self._world.one_time_token(user), caller["Email"])
            if user
            else text_answer("Access Denied.", 401)
        )

    async def impersonate(self, request: web.Request, segments: dict[str, str]) -> web.Response:
        self._world.counters["door.impersonate"] += 1
        self._auth.need(request, "User-Edit")
        coworker = self._world.coworkers.get(int(segments["id"])) if segments["id"].isdigit() else None
        user = self._world.users.get(coworker["UserId"] or 0) if coworker else None
        if user is None:
            return text_answer("Not found", 404)
        self._world.accept("impersonate", user)
        return json_answer(self._auth.bearer(user, "impersonation"))

    async def sign_up(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """Makes a login and a customer, and hands out a token that signs in."""
        self._world.counters["door.public_signup"] += 1
        fields = (await json_body(request)).get("Coworker")
        if not isinstance(fields, dict) or not fields.get("Email") or not fields.get("FullName"):
            return invalid([("Email", "is a required field")])
        user = make_account(self._world, fields["Email"], fields["FullName"], str(fields.get("Password", "")))
        if user is None:
            return invalid([("Email", "is already in use")])
        self._world.accept("public_signup", user)
        return json_answer({"WasSuccessful": True, "Token": self._world.one_time_token(user)})

    def _knock(self, door: str, fields: Record) -> Record | None:
        self._world.counters[f"door.{door}"] += 1
        user = self._auth.check_password(fields.get("email"), fields.get("password"))
        if user is not None:
            self._world.accept(door, user)
        return user

    def _mail_link(self, email: object, kind: str) -> None:
        user = self._world.user_by_email(email) if isinstance(email, str) else None
        if user is not None:
            self._world.outbox.append({"to": user["Email"], "kind": kind, "token": self._world.one_time_token(user)})

    def _redeem(self, token: object) -> Record | None:
        return redeem(self._world, token)


class PortalDoors:
    """The classic portal's and the dashboard's pages: they answer with a cookie."""

    def __init__(self, world: World, auth: Auth) -> None:
        self._world = world
        self._auth = auth

    def mount(self, routes: RouteTable) -> None:
        for path in ("/login", "/signin"):
            routes.add("GET", path, self.login_page)
            routes.add("POST", path, self.sign_in)
        routes.add("GET", "/user/login", self.sign_in_by_link)
        routes.add("GET", "/login/login", self.sign_in_by_link)
        routes.add("GET", "/login/logout", self.sign_out)
        for path in ("/login/resetpassword", "/forgot-password", "/reset-password"):
            routes.add("GET", path, self.reset_page)
        for path in ("/signup/plans", "/signup/payment/complete", "/join", "/checkout", "/signup/{team}"):
            routes.add("GET", path, self.sign_up_page)
        routes.add("GET", "/signup", self.sign_up_page)
        routes.add("POST", "/signup", self.sign_up)
        routes.add("GET", "/profile", self.profile)
        routes.add("POST", "/profile", self.change_password)

    async def login_page(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.login_page"] += 1
        return page("Sign in", _FORM)

    async def sign_in(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.login"] += 1
        fields = await form_or_json(request)
        user = self._auth.check_password(fields.get("email"), fields.get("password"))
        if user is None:
            return page("Sign in", "<p>Invalid email/password</p>" + _FORM)
        self._world.accept("login", user)
        return self._with_cookie(user, str(fields.get("returnurl") or fields.get("continue_to") or "/en/profile"))

    async def sign_in_by_link(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """`?t=`: a token that works once."""
        self._world.counters["door.link"] += 1
        user = redeem(self._world, request.query.get("t"))
        if user is None:
            return page("This link has expired", "<p>Ask for a new one.</p>", 400)
        self._world.accept("link", user)
        return self._with_cookie(user, request.query.get("redirectUrl", "/en/profile"))

    async def sign_out(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.cookies.pop(request.cookies.get(COOKIE, ""), None)
        answer = page("Signed out", "<p>See you soon.</p>")
        answer.del_cookie(COOKIE)
        return answer

    async def reset_page(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.reset_page"] += 1
        return page("Reset your password", '<form method="post"><input name="Email" type="email"></form>')

    async def sign_up_page(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.signup_page"] += 1
        return page("Join", '<form method="post"><input name="Coworker.Password" type="password"></form>')

    async def sign_up(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.signup"] += 1
        fields = await form_or_json(request)
        email, name = fields.get("coworker.email"), fields.get("coworker.fullname")
        password = fields.get("coworker.password")
        user = make_account(self._world, str(email), str(name), str(password)) if email and name and password else None
        if user is None:
            return page("Join", "<p>Please look at the form again.</p>", 400)
        self._world.accept("signup", user)
        return self._with_cookie(user, "/en/profile")

    async def profile(self, request: web.Request, _: dict[str, str]) -> web.Response:
        user = self._user_of(request)
        return page("Profile", f"<p>{html.escape(user['Email'])}</p>") if user else page("Sign in", _FORM, 401)

    async def change_password(self, request: web.Request, _: dict[str, str]) -> web.Response:
        self._world.counters["door.profile"] += 1
        user = self._user_of(request)
        fields = await form_or_json(request)
        new = fields.get("newpassword")
        if (
            user is None
            or fields.get("oldpassword") != user["Password"]
            or not new
            or new != fields.get("newpasswordconfirm")
        ):
            return page("Profile", "<p>The password was not changed.</p>", 400)
        user["Password"] = str(new)
        self._world.counters["passwords_set"] += 1
        return page("Profile", "<p>The password was changed.</p>")

    def _user_of(self, request: web.Request) -> Record | None:
        return self._world.users.get(self._world.cookies.get(request.cookies.get(COOKIE, ""), 0))

    def _with_cookie(self, user: Record, target: str) -> web.Response:
        value = secrets.token_urlsafe(24)
        self._world.cookies[value] = user["Id"]
        local = target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/en/profile"
        answer = web.Response(status=302, headers={"Location": local})
        answer.set_cookie(COOKIE, value, httponly=True, samesite="Lax")
        return answer


def redeem(world: World, token: object) -> Record | None:
    """The user of a one-time token, which is worth nothing afterwards."""
    grant = world.one_time.pop(token, None) if isinstance(token, str) else None
    return world.users.get(grant.user) if grant is not None and grant.until > world.clock() else None


def make_account(world: World, email: str, full_name: str, password: str) -> Record | None:
    """A login with its customer, or None when the address has a login already."""
    if world.user_by_email(email) is not None:
        return None
    user = world.add_user(
        email, password or secrets.token_urlsafe(9), full_name=full_name, APIAccess=False, businesses=()
    )
    world.add_coworker(email, full_name, UserId=user["Id"], UserFullName=full_name)
    world.counters["accounts_made"] += 1
    return user
