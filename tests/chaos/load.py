"""What the world does meanwhile: people ask for pages, some sign out, some sign in.

Every page request is a canary. Sign-outs go through the product (`POST /oauth2/sign_out`); only the gateway's answer to them counts as acknowledged.
"""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from itertools import count
from typing import Final
from urllib.parse import SplitResult, urljoin

from tests.chaos.judging import Answer, Canary, Judgement, Meaning, Tally, judge
from tests.chaos.people import Person
from tests.chaos.stage import HOST, ORIGIN, Stage
from tests.chaos.wire import Client, Failed
from tests.fakes.browser import Answer as Page
from tests.fakes.browser import Browser, FormActionRefused

_PAUSE: Final = 0.04
_NUMBERS: Final = count(1)
_SET_UP_SECONDS: Final = 20.0
_REFRESH: Final = re.compile(r'<meta http-equiv="refresh" content="([0-9.]+)(?:; ?url=([^"]*))?"', re.I)
now = time.monotonic


def page_request(person: Person, number: str) -> bytes:
    return f"GET /page?number={number} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {person.cookie}\r\n\r\n".encode()


def sign_out_request(person: Person) -> bytes:
    return (
        f"POST /oauth2/sign_out HTTP/1.1\r\nHost: {HOST}\r\nCookie: {person.cookie}\r\nOrigin: {ORIGIN}\r\n"
        "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode()


class Balanced(Browser):
    """Each of its connections to us goes where the balancer sends it, if there is one."""

    def __init__(self, ways: Mapping[str, int], choose: Callable[[], int | None] | None) -> None:
        super().__init__(ways)
        self._choose = choose

    def _port(self, where: SplitResult) -> int:
        if self._choose is not None:
            self.resolve[ORIGIN] = self._choose() or self.resolve[ORIGIN]
        return super()._port(where)


async def _waited(browser: Browser, page: Page) -> Page:
    """Past the page that says that the account is being set up and goes on by itself."""
    end = now() + _SET_UP_SECONDS
    while page.status in (200, 202) and (found := _REFRESH.search(page.text)) and now() < end:
        await asyncio.sleep(float(found[1]))
        page = await browser.open(urljoin(page.url, unescape(found[2])) if found[2] else page.url)
    return page


class Load:
    """`ports`: where it asks, one a replica. `bound`: see `judging.judge`.

    `known_first`: each client begins with everybody once, so that its worker knows them all.
    `choose()`: where the next connection goes, instead of `ports`. As browsers do, a request on a kept connection that ended without a byte
    is sent again.
    """

    def __init__(
        self,
        stage: Stage,
        people: Sequence[Person],
        ports: Sequence[int],
        *,
        clients: int = 12,
        bound: float,
        seconds: float = 10.0,
        sign_ins: int = 0,
        pause: float = _PAUSE,
        choose: Callable[[], int | None] | None = None,
        known_first: bool = False,
    ) -> None:
        self.stage, self.people, self.ports = stage, list(people), list(ports)
        self.bound = bound
        self.tally = Tally()
        self.sign_outs: Counter[str] = Counter()
        self.sign_ins: Counter[str] = Counter()
        self.callbacks: list[str] = []
        self.signed_in: list[str] = []
        self.retried = 0
        self.ready = 0  # clients that have begun to ask at random
        self._hot: list[Person] = []
        self._choose, self._known_first = choose, known_first
        self._seconds, self._pause = seconds, pause
        self._clients, self._browsers = clients, sign_ins
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    def start(self) -> None:
        ports = [self.ports[number % len(self.ports)] for number in range(max(self._clients, self._browsers))]
        self._tasks = [asyncio.create_task(self._ask_on(port)) for port in ports[: self._clients]]
        self._tasks += [asyncio.create_task(self._sign_in_on(port)) for port in ports[: self._browsers]]

    async def stop(self) -> None:
        """Requests under way are ended and judged first."""
        self._ending = True
        done, late = await asyncio.wait(self._tasks, timeout=self._seconds + 25)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            task.result()

    # --- pages ---

    async def _ask_on(self, port: int) -> None:
        client = Client(port, seconds=self._seconds)
        for person in self.people if self._known_first else ():
            await self.ask(client, person)
        self.ready += 1
        while not self._ending:
            if not client.connected and self._choose is not None:
                client.port = self._choose() or client.port
            await self.ask(client, self._somebody())
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))
        client.drop()

    def _somebody(self) -> Person:
        if self._hot and random.random() < 0.3:
            return random.choice(self._hot)
        return random.choice(self.people)

    async def ask(self, client: Client, person: Person) -> Judgement | None:
        """One canary; None: no answer came."""
        canary = Canary(user=person.name, number=f"n{next(_NUMBERS)}", sent_at=now())
        before = person.standing
        request = page_request(person, canary.number)
        try:
            try:
                answer = await client.ask(request)
            except Failed as failed:
                if not failed.reused or failed.started or failed.kind == "silent":
                    raise
                self.retried += 1  # RFC 9110 section 9.2.2
                if self._choose is not None:
                    client.port = self._choose() or client.port
                canary = Canary(user=person.name, number=canary.number, sent_at=now())
                before = person.standing
                answer = await client.ask(request)
        except Failed as failed:
            self.tally.add(Judgement(Meaning.ERROR, f"connection {failed.kind}"), now())
            return None
        # A sign-out that began meanwhile may explain a refusal; only one that had ended before may forbid an answer.
        standing = before if before.over_from is not None else person.standing
        judgement = judge(canary, answer, standing, bound=self.bound)
        if judgement.meaning is Meaning.SIGNED_OUT:
            person.lost = True
        self.tally.add(judgement, now())
        return judgement

    # --- sign-outs ---

    async def sign_out(self, person: Person, port: int | None = None) -> bool:
        """Whether it was acknowledged."""
        client = Client(random.choice(self.ports) if port is None else port, seconds=self._seconds)
        person.doubtful_from = now()
        self._hot.append(person)
        try:
            answer = await client.ask(sign_out_request(person))
        except Failed as failed:
            self.sign_outs[f"connection {failed.kind}"] += 1
            return False
        finally:
            client.drop()
        if answer.status == 303:
            person.over_from = now()
            self.sign_outs["acknowledged"] += 1
            return True
        self.sign_outs[f"{answer.status} {answer.code}".strip()] += 1
        return False

    def forget(self, person: Person) -> None:
        """Nobody asks as this person any more."""
        if person in self._hot:
            self._hot.remove(person)

    # --- sign-ins ---

    async def _sign_in_on(self, port: int) -> None:
        while not self._ending:
            await self.sign_in(port if self._choose is None else self._choose() or port)
            await asyncio.sleep(0.2)

    async def sign_in(self, port: int) -> None:
        """Somebody new, as a browser does it, up to the page that was asked for."""
        number = next(_NUMBERS)
        name = f"new-{number}"
        people = self.stage.provider.people
        people[name] = {
            "sub": name, "email": f"{name}@example.com", "email_verified": True, "name": name, "preferred_username": name,
        }  # fmt: skip
        canary = Canary(user=name, number=f"n{number}", sent_at=now())
        ways = {ORIGIN: port, self.stage.provider.issuer: self.stage.provider_port}  # browsers do not use the link
        browser = Balanced(ways, self._choose)
        try:
            outcome = await self._browse(browser, name, canary)
        except (AssertionError, OSError, ValueError, FormActionRefused, TimeoutError, IndexError) as error:
            outcome = Judgement(Meaning.ERROR, f"sign-in {type(error).__name__}".replace("AssertionError", "no answer"))
        finally:
            people.pop(name, None)
        self.callbacks += [page.url for page in browser.history if "/oauth2/callback?" in page.url]
        self.sign_ins[outcome.meaning.value] += 1
        if outcome.meaning is Meaning.ERROR:
            self.tally.failed(outcome.kind, now())
            self.tally.sent += 1
            self.tally.meanings[Meaning.ERROR] += 1
        else:
            self.tally.add(outcome, now())
        if outcome.meaning is Meaning.RIGHT:
            self.signed_in.append(name)

    async def _browse(self, browser: Browser, name: str, canary: Canary) -> Judgement:
        page = await browser.open(f"{ORIGIN}/page?number={canary.number}")
        if page.url.startswith(ORIGIN):
            return Judgement(Meaning.ERROR, f"sign-in {page.status} before the provider")
        page = await _waited(browser, await browser.submit(0, person=name))
        length = page.header("Content-Length")
        if length is not None and int(length) > len(page.body):
            return Judgement(Meaning.ERROR, "sign-in cut")
        headers = {field.lower(): value for field, value in page.headers}
        answer = Answer(status=page.status, headers=headers, body=page.body)
        judgement = judge(canary, answer, Person(name, "", "").standing, bound=self.bound)
        failed = judgement.meaning in (Meaning.ERROR, Meaning.SIGNED_OUT)
        return Judgement(Meaning.ERROR, f"sign-in {page.status} {page.document.title}".strip()) if failed else judgement
