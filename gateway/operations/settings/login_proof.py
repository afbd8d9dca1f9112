"""The login test that a change of a provider's authority, client or secret needs: made with the new values, by the person who saves.

Where the console offers the provider, the test is of the console itself, so that its result says whether the person would still get in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.config.console import CONSOLE, PREFIX, UNUSED_UPSTREAM, with_console
from gateway.config.overlay import CLIENT, section_of
from gateway.config.providers import offered_by_app
from gateway.config.schema import Config
from gateway.identity.claims import Identity
from gateway.operations.login_test import LoginStory, LoginTestLink, begin_login_test, read_login_story
from gateway.operations.settings.proposal import SettingsProposal, SettingsRefused
from gateway.sessions.login_tests import LoginTest, LoginTests

_BEFORE_THE_PAGE: Final = ("decision", "directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReference:
    """Where a test's story is found; `url` is the link to open."""

    provider: str
    app: str
    host: str
    page: str
    id: str
    url: str


class LoginProofs:
    """Begins login tests and judges their stories. `config` is the running one, `owner` the session of the person.

    `may_edit(identity)` says whether a person may change settings in the console.
    """

    def __init__(
        self, config: Config, tests: LoginTests, owner: str, identity: Identity, may_edit: Callable[[Identity], bool]
    ) -> None:
        self._config = with_console(config, UNUSED_UPSTREAM)
        self._tests = tests
        self._owner = owner
        self._identity = identity
        self._may_edit = may_edit

    async def begin(self, proposal: SettingsProposal, provider: str) -> ProofReference:
        """A test of this provider with the proposed values. Raises SettingsRefused, StoreUnavailable."""
        apps = [app for app, names in offered_by_app(self._config).items() if provider in names]
        app = CONSOLE if CONSOLE in apps else next(iter(apps), None)
        if app is None:
            raise SettingsRefused([f"{provider}: no app offers it, so that no login test can be made"])
        page = f"{PREFIX}/settings" if app == CONSOLE else "/"
        values = {name: proposal.values[f"{section_of(provider)}.{name}"] for name in CLIENT}
        overlay = {name: value for name, value in values.items() if value is not None}
        try:
            link = await begin_login_test(
                self._config, self._tests, app=app, owner=self._owner, provider=provider, page=page, overlay=overlay
            )
        except ValueError as error:
            raise SettingsRefused([f"{provider}: {error}"]) from error
        return ProofReference(provider=provider, app=app, host=link.test.host, page=page, id=link.id, url=link.url)

    async def lacking(self, proof: ProofReference) -> str | None:
        """What is missing in the story of a test; None: it proves what it must. Raises StoreUnavailable."""
        test = LoginTest(app=proof.app, host=proof.host, provider=proof.provider, page=proof.page, owner=self._owner)
        story = await read_login_story(self._config, self._tests, LoginTestLink(url=proof.url, id=proof.id, test=test))
        if story is None:
            return f"{proof.provider}: the login test has not ended, or is older than ten minutes"
        return self._judge(proof, story)

    def _judge(self, proof: ProofReference, story: LoginStory) -> str | None:
        step = story.advice.step if story.advice is not None else ""
        if not story.passed and (step not in _BEFORE_THE_PAGE or proof.app == CONSOLE):
            why = f"{story.advice.means}; look at {story.advice.setting}" if story.advice is not None else "it failed"
            return f"{proof.provider}: the login test did not succeed: {why}"
        tested = msgspec.convert(story.identity, Identity)
        # SECURITY: another person's test says nothing about the person who saves (C-98).
        if tested.issuer == self._identity.issuer and tested.subject != self._identity.subject:
            return f"{proof.provider}: the login test was made by another person than you"
        # SECURITY: who saves must still get into the console afterwards, or no person may be left who can undo it (C-98).
        if proof.app == CONSOLE and not self._may_edit(tested):
            return f"{proof.provider}: with the new values you could not change settings in the console any more"
        return None
