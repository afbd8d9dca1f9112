"""The way to the provider: what is asked of it, where it leads back to, and when it is not gone at all."""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from gateway.errors.signing_in import ProviderUnavailable
from gateway.gate.site import start_url
from gateway.oidc.authorization import AttemptFacts, authorization_parameters
from gateway.pages.renderer import RenderedPage
from gateway.policy.step_up import StepUp
from gateway.sign_in.begin import SignInRequest, likely_cause, understood_prompt
from tests.fakes.browser import Answer, Document
from tests.fakes.office import COOKIE, Office
from tests.fakes.provider import MIA
from tests.fakes.redirects import EVIL, spellings
from tests.fakes.waiting import eventually
from tests.unit.web.made import DASHBOARD_ORIGIN, PORTAL, PORTAL_ORIGIN

START = f"{PORTAL_ORIGIN}/oauth2/start"


def asked(location: str) -> dict[str, str]:
    """The authorization request's parameters."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def begin(
    office: Office,
    return_to: str = "/",
    *,
    method: str = "GET",
    cookies: Sequence[bytes] = (),
    max_age: int | None = None,
) -> RenderedPage:
    """As the data plane does it."""
    route = office.sites[PORTAL].route
    wanted = SignInRequest(return_to=return_to, method=method, step_up=StepUp(max_age))
    page = office.sign_in.begin(route, wanted, cookies=cookies, request_id="r-1", client="192.0.2.7")
    assert isinstance(page, RenderedPage)
    return page


def header(page: RenderedPage, name: str) -> str:
    return next(value for key, value in page.headers if key == name)


async def test_a_stranger_is_sent_to_the_provider_with_pkce_state_and_nonce(office: Office) -> None:
    """A-01."""
    answer = await office.browser().open(f"{START}?rd=/bookings", follow=False)
    assert answer.status == 302
    assert answer.location.startswith(office.provider.issuer + "/authorize?")
    request = asked(answer.location)
    assert request["redirect_uri"] == f"{PORTAL_ORIGIN}/oauth2/callback"
    assert request["response_type"] == "code"
    assert "openid" in request["scope"].split()
    assert request["code_challenge_method"] == "S256"
    assert len(request["nonce"]) == len(request["code_challenge"]) == 43
    assert 128 < len(request["state"]) < 1536
    assert office.events("login.started")[0]["app"] == "portal"


async def test_the_redirect_is_not_stored(office: Office) -> None:
    """C-39."""
    answer = await office.browser().open(START, follow=False)
    assert answer.header("Cache-Control") == "no-store"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 302), ("HEAD", 302), ("POST", 303), ("PUT", 303), ("DELETE", 303)]
)
async def test_a_method_and_a_body_never_reach_the_provider(office: Office, method: str, status: int) -> None:
    """A-75: 303, never 307 or 308."""
    page = begin(office, "/bookings", method=method)
    assert page.status == status
    assert page.body == b""


async def test_starting_leaves_an_existing_session_alone(office: Office) -> None:
    """C-06, C-49."""
    browser = office.browser()
    await office.sign_in_as(browser)
    token = office.token(browser) or ""
    answer = await browser.open(START, follow=False)
    assert not any(COOKIE in value for value in answer.all("Set-Cookie"))
    assert await office.session(token) is not None


async def test_ten_thousand_strangers_leave_nothing_in_redis(office: Office) -> None:
    """C-49: a sample of them; a login that was begun lives in the browser alone."""
    before = office.provider.count("authorize")
    for number in range(100):
        assert begin(office, f"/page/{number}").status == 302
    assert [key async for key in office.redis.scan_iter(match=office.prefix + "*")] == []
    assert office.provider.count("authorize") == before


async def test_state_nonce_and_verifier_never_repeat(office: Office) -> None:
    """A-77: a sample."""
    requests = [asked(header(begin(office), "Location")) for _ in range(200)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({request[name] for request in requests}) == 200


async def test_no_spelling_of_rd_leads_off_our_origin_after_the_login(office: Office) -> None:
    """A-50: whole logins, for some of the corpus; the rest is judged in test_return_to."""
    browser = office.browser()
    await office.sign_in_as(browser)
    for spelling in spellings(PORTAL)[::12]:
        answer = await browser.open(f"{START}?rd={percent(spelling)}", follow=False)
        assert answer.location.startswith(office.provider.issuer + "/authorize?"), spelling
        await office.choose(browser)
        landed = await browser.follow()
        assert landed.status == 303
        assert landed.location.startswith(PORTAL_ORIGIN + "/"), spelling
        assert urlsplit(landed.location).hostname == PORTAL
        office.clock.advance(61)  # these are no circles


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


async def test_rd_on_another_configured_host_starts_the_login_there(office: Office) -> None:
    """A-50, A-51."""
    browser = office.browser()
    answer = await browser.open(f"{START}?rd={DASHBOARD_ORIGIN}/members?x=1", follow=False)
    assert answer.location == f"{DASHBOARD_ORIGIN}/oauth2/start?rd=/members%3Fx%3D1"
    assert not answer.all("Set-Cookie")
    await browser.follow()
    await office.choose(browser)
    assert (await browser.follow()).location == f"{DASHBOARD_ORIGIN}/members?x=1"


@pytest.mark.parametrize("rd", ["/login", "/oauth2/sign_out", "https://evil.example/", "//evil.example"])
async def test_rd_that_leads_nowhere_lands_on_the_start_page(office: Office, rd: str) -> None:
    browser = office.browser()
    answer = await office.sign_in_as(browser, rd=rd)
    assert answer.location == f"{PORTAL_ORIGIN}/"


async def test_rd_given_twice_is_not_believed(office: Office) -> None:
    browser = office.browser()
    await browser.open(f"{START}?rd=/a&rd=/b", follow=False)
    await office.choose(browser)
    assert (await browser.follow()).location == f"{PORTAL_ORIGIN}/"


@pytest.mark.parametrize(
    "line_break", ["/x%0d%0aSet-Cookie:a=b", "/x%E5%98%8A%E5%98%8DSet-Cookie:a=b", "/x?y=%0d%0aSet-Cookie:a=b"]
)
async def test_a_line_break_in_a_deep_link_makes_no_header(office: Office, line_break: str) -> None:
    """C-38."""
    browser = office.browser()
    answer = await office.sign_in_as(browser, rd=percent(line_break))
    assert sum(line.lower().startswith(b"location:") for line in answer.raw.split(b"\r\n")) == 1
    assert not any("a=b" in value for value in answer.all("Set-Cookie"))


@pytest.mark.parametrize(
    "name_and_value",
    [
        ("X-Forwarded-Host", EVIL),
        ("X-Forwarded-Port", f"80@{EVIL}"),
        ("X-Forwarded-Prefix", f"//{EVIL}"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", f"host={EVIL};proto=http"),
        ("X-Original-URL", f"https://{EVIL}/"),
    ],
)
async def test_forwarding_fields_shape_no_address(office: Office, name_and_value: tuple[str, str]) -> None:
    """C-16, C-17."""
    browser = office.browser()
    answer = await browser.open(START, follow=False, headers=dict([name_and_value]))
    assert EVIL not in answer.raw.decode("latin-1")
    assert asked(answer.location)["redirect_uri"] == f"{PORTAL_ORIGIN}/oauth2/callback"
    assert all("Domain" not in value and value.endswith("Secure") for value in answer.all("Set-Cookie"))


async def test_a_caller_cannot_choose_scopes_or_the_strength_of_a_login(office: Office) -> None:
    """A-34."""
    answer = await office.browser().open(
        f"{START}?scope=admin&acr_values=none&max_age=9999&redirect_uri=https://{EVIL}/&prompt=none&client_id=x",
        follow=False,
    )
    request = asked(answer.location)
    assert request.keys() & {"acr_values", "max_age", "prompt"} == set()
    assert "admin" not in request["scope"]
    assert (request["client_id"], request["redirect_uri"]) == ("doorward", f"{PORTAL_ORIGIN}/oauth2/callback")


async def test_a_login_that_begins_elsewhere_lands_where_it_wants_and_suggests_a_person(office: Office) -> None:
    """A-34: the client's initiate_login_uri, by GET and by a form."""
    said = {"iss": office.provider.issuer, "target_link_uri": "/bookings?x=1", "login_hint": "mia@example.com"}
    for answer in (
        await office.browser().open(f"{START}?{urlencode(said)}", follow=False),
        await office.browser().post_from("https://launchpad.example/", START, urlencode(said).encode()),
        await office.browser().open(f"{START}?{urlencode({**said, 'iss': said['iss'] + '/'})}", follow=False),
    ):
        assert answer.status in (302, 303)
        assert answer.location.startswith(office.provider.issuer + "/authorize?")
        assert asked(answer.location)["login_hint"] == "mia@example.com"
    browser = office.browser()
    await browser.open(f"{START}?{urlencode(said)}", follow=False)
    await office.choose(browser)
    assert (await browser.follow()).location == f"{PORTAL_ORIGIN}/bookings?x=1"


async def test_ui_locales_go_on_to_the_provider_and_nothing_goes_there_without(office: Office) -> None:
    """A-34: by GET and by a form, to another of our hosts as well; tags only. The provider reads Accept-Language itself."""
    named = urlencode({"ui_locales": "de-CH en"})
    for answer in (
        await office.browser().open(f"{START}?{named}", follow=False),
        await office.browser().post_from("https://launchpad.example/", START, named.encode()),
        await office.browser().open(f"{START}?ui_locales=de-CH%20%0d%0aX:y%20en", follow=False),
    ):
        assert asked(answer.location)["ui_locales"] == "de-CH en"
    elsewhere = await office.browser().open(f"{START}?rd={DASHBOARD_ORIGIN}/members&{named}", follow=False)
    assert elsewhere.location == f"{DASHBOARD_ORIGIN}/oauth2/start?rd=/members&ui_locales=de-CH%20en"
    for query in ("", "ui_locales=", "ui_locales=%26x=1", f"{named}&{named}", "ui_locales=" + "de+" * 40):
        answer = await office.browser().open(f"{START}?{query}", headers={"Accept-Language": "de"}, follow=False)
        assert "ui_locales" not in asked(answer.location), query


async def test_a_page_instead_of_a_sign_in_is_in_the_languages_that_began_it(office: Office) -> None:
    said = urlencode({"iss": "https://evil.example", "ui_locales": "de"})
    for answer in (
        await office.browser().open(f"{START}?{said}", headers={"Accept-Language": "fr"}, follow=False),
        await office.browser().post_from("https://launchpad.example/", START, said.encode()),
    ):
        assert (answer.status, answer.header("Content-Language")) == (400, "de")


async def test_a_login_that_begins_elsewhere_goes_on_at_the_host_of_its_target(office: Office) -> None:
    """A-34."""
    said = {"iss": office.provider.issuer, "target_link_uri": f"{DASHBOARD_ORIGIN}/members", "login_hint": "mia&x=1"}
    answer = await office.browser().open(f"{START}?{urlencode(said)}", follow=False)
    assert answer.location == f"{DASHBOARD_ORIGIN}/oauth2/start?rd=/members&login_hint=mia%26x%3D1"


@pytest.mark.parametrize("iss", ["https://evil.example", "", "http://127.0.0.1", "twice"])
async def test_a_login_that_begins_elsewhere_never_leads_to_another_provider(office: Office, iss: str) -> None:
    """A-34: a page that says so; nothing is begun."""
    query = urlencode({"iss": iss}) if iss != "twice" else urlencode([("iss", office.provider.issuer)] * 2)
    answer = await office.browser().open(f"{START}?{query}&target_link_uri=/bookings", follow=False)
    assert (answer.status, answer.location, answer.all("Set-Cookie")) == (400, "", [])
    assert "another sign-in page" in answer.text
    assert office.events("login.started") == []


async def test_a_target_link_uri_leads_nowhere_else_and_chooses_nothing(office: Office) -> None:
    """A-34, A-50: no other site, no scope, no acr; a hint that no address looks like is left out."""
    for spelling in spellings(PORTAL)[::40]:
        said = {"iss": office.provider.issuer, "acr_values": "none", "scope": "admin", "login_hint": "x\r\ny"}
        browser = office.browser()
        url = f"{START}?{urlencode(said)}&target_link_uri={percent(spelling)}"
        request = asked((await browser.open(url, follow=False)).location)
        assert request.keys() & {"acr_values", "login_hint"} == set()
        assert "admin" not in request["scope"]
        await office.choose(browser)
        assert (await browser.follow()).location.startswith(PORTAL_ORIGIN + "/"), spelling


async def test_another_account_can_be_asked_for(office: Office) -> None:
    browser = office.browser()
    await office.sign_in_as(browser)
    answer = await browser.open(f"{START}?prompt=select_account", follow=False)
    assert asked(answer.location)["prompt"] == "login"
    page = await browser.follow()
    assert page.document.forms, "the provider asks again, although somebody is signed in"


@pytest.mark.parametrize(
    ("prompt", "issuer", "understood"),
    [
        ("select_account", "https://accounts.google.com", "select_account"),
        ("select_account", "https://login.microsoftonline.com/0000/v2.0", "select_account"),
        ("select_account", "https://login.example.com", "login"),
        ("login", "https://login.example.com", "login"),
        ("none", "https://login.example.com", None),
        ("consent", "https://accounts.google.com", None),
        (None, "https://accounts.google.com", None),
    ],
)
def test_a_prompt_is_put_in_the_words_that_the_provider_knows(
    prompt: str | None, issuer: str, understood: str | None
) -> None:
    assert understood_prompt(prompt, issuer) == understood


async def test_a_rule_that_wants_a_fresh_login_says_so_to_the_provider(office: Office) -> None:
    assert asked(header(begin(office, max_age=300), "Location"))["max_age"] == "300"


async def test_the_data_planes_deep_link_is_judged_like_everybody_elses(office: Office) -> None:
    """A-50."""
    begun = begin(office, f"https://{EVIL}/")
    cookie = header(begun, "Set-Cookie").partition(";")[0].encode()
    state = asked(header(begun, "Location"))["state"]
    attempt = await office.sign_in.attempts.find(state, [cookie], office.sites[PORTAL].route, office.clock.now())
    assert attempt is not None
    assert attempt.return_to == "/"


async def test_while_the_provider_was_never_reached_a_page_says_so(closed_office: Office) -> None:
    """And nothing is sent anywhere."""
    await closed_office.open(provider_is_up=False)
    answer = await closed_office.browser().open(START)
    assert answer.status == 503
    assert answer.header("Retry-After") == "5"
    assert "If you are already signed in, you are not affected" in answer.document.words
    with pytest.raises(ProviderUnavailable):
        begin(closed_office)


async def test_the_provider_is_found_when_it_comes_back(closed_office: Office) -> None:
    await closed_office.open(provider_is_up=False)
    assert (await closed_office.browser().open(START)).status == 503
    await closed_office.start_provider()
    await eventually(lambda: closed_office.known_provider.ready)
    assert (await closed_office.browser().open(START, follow=False)).status == 302


async def test_with_sign_in_switched_off_there_is_no_way_to_the_provider(closed_office: Office) -> None:
    await closed_office.open(sections={"openid": {"enabled": False}})
    answer = await closed_office.browser().open(START)
    assert (answer.status, "sign_in_disabled" in answer.text) == (403, True)


# --- circles ----------------------------------------------------------------------------------------------------------


async def go_round(office: Office, times: int, *, keeps_session: bool) -> Answer:
    """A browser that opens a protected page, signs in, and opens it again, as if it had no session."""
    browser = office.browser()
    for _ in range(times):
        await browser.open(f"{START}?rd=/bookings", follow=False)
        if browser.page.status != 302:
            break
        await office.choose(browser)
        await browser.follow()
        if not keeps_session:
            browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name != COOKIE]
        office.clock.advance(1)
    return browser.page


async def test_a_lost_session_cookie_ends_in_a_page_that_says_why_not_in_a_circle(office: Office) -> None:
    page = await go_round(office, 20, keeps_session=False)
    assert page.status == 400
    assert "Sign-in keeps starting over" in page.document.words
    assert "did not send the session cookie back" in page.document.words
    assert len(office.events("login.succeeded")) == 3
    assert office.events("login.refused")[0]["reason"] == "redirect_loop"


async def test_a_session_that_is_kept_but_not_found_is_told_apart(office: Office) -> None:
    page = await go_round(office, 20, keeps_session=True)
    assert "the session could not be found afterwards" in page.document.words


async def test_try_again_on_that_page_really_tries_again(office: Office) -> None:
    browser = office.browser()
    for _ in range(3):
        await office.arrive(browser, rd="/bookings")
        await browser.follow()
        browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name != COOKIE]
        page = await browser.open(f"{START}?rd=/bookings", follow=False)
    assert "keeps starting over" in page.document.words
    assert (await browser.click(page.document.link("Try again"), follow=False)).status == 302


async def test_six_tabs_of_one_address_are_no_circle_and_all_get_in(office: Office) -> None:
    """A-54: a browser restores its tabs; the person signs in in the last one, and the others go on by themselves."""
    browser = office.browser()
    away = [(await browser.open(f"{START}?rd=/bookings", follow=False)).location for _ in range(6)]
    for location in reversed(away):
        await browser.open(location, follow=False)
        while "/oauth2/callback" not in browser.page.location:
            await (
                browser.follow() if browser.page.location else browser.submit(0, follow=False, person=str(MIA["sub"]))
            )
        landed = await browser.follow()
        assert (landed.status, landed.location) == (303, PORTAL_ORIGIN + "/bookings")
    assert len([cookie for cookie in browser.jar.cookies if "doorward_login_" in cookie.name]) == 1
    assert office.events("login.refused") == []


async def test_two_session_cookies_are_named_as_the_cause(office: Office) -> None:
    """C-37."""
    route = office.sites[PORTAL].route
    both = [f"{COOKIE}={'a' * 43}; {COOKIE}={'b' * 43}".encode()]
    assert "two session cookies" in str(likely_cause(route, both, step_up=False))


async def test_a_page_that_asks_for_more_than_the_provider_gives_is_named_as_the_cause(office: Office) -> None:
    route = office.sites[PORTAL].route
    one = [f"{COOKIE}={'a' * 43}".encode()]
    assert "more recent or a stronger" in str(likely_cause(route, one, step_up=True))


async def test_the_circle_page_is_a_page_also_when_the_data_plane_asks(office: Office) -> None:
    browser = office.browser()
    for _ in range(3):
        await office.arrive(browser, rd="/bookings")
        await browser.follow()
    cookies = browser.jar.header(f"{PORTAL_ORIGIN}/bookings", same_site=True, navigation=True, safe=True)
    page = begin(office, "/bookings", cookies=[cookies.encode()])
    assert page.status == 400
    assert "Sign-in keeps starting over" in Document.of(page.body.decode()).words


@pytest.mark.parametrize(
    ("return_to", "url"),
    [
        ("/", "/oauth2/start"),
        ("/a?b=c&d#e", "/oauth2/start?rd=/a%3Fb%3Dc%26d%23e"),
        ("/%41", "/oauth2/start?rd=/%2541"),
    ],
)
def test_a_link_to_the_start_carries_its_destination_whole(return_to: str, url: str) -> None:
    assert start_url(return_to) == url


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
async def test_a_landing_is_judged_once_more_where_the_browser_is_redirected(office: Office, elsewhere: str) -> None:
    """A-50, A-52: an attempt that names another site, whatever let it be sealed."""
    browser, route = office.browser(), office.sites[PORTAL].route
    facts = AttemptFacts(app=route.name, host=route.host, return_to=elsewhere, started_at=office.clock.now())
    attempt, kept = office.sign_in.attempts.begin(facts, [], route)
    client = office.providers["openid"]
    parameters = authorization_parameters(
        client.provider.metadata, client.settings, route.redirect_uri(client.name), attempt
    )
    url = client.authorization.url(parameters)
    browser.jar.store(PORTAL_ORIGIN + "/", kept[0])
    await browser.open(url, follow=False)
    while "/oauth2/callback" not in browser.page.location:
        await (browser.follow() if browser.page.location else browser.submit(0, follow=False, person=str(MIA["sub"])))
    callback = browser.page.location
    landed = await browser.follow()
    assert (landed.status, landed.location) == (303, PORTAL_ORIGIN + "/")
    assert office.token(browser) is not None
    browser.jar.store(PORTAL_ORIGIN + "/", kept[0])
    again = await browser.open(callback, follow=False)  # a double click: the attempt is used, and the session is there
    assert (again.status, again.location) == (303, PORTAL_ORIGIN + "/")
