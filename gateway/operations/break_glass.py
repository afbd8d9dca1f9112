"""Break-glass for operators: what an opening may be, what is open, and its end. Commands and pages do it by this."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from redis.asyncio import Redis

from gateway.break_glass.store import Openings
from gateway.config.console import is_console
from gateway.config.schema import Config, Network
from gateway.config.toggles import password_routes_closed
from gateway.config.values import parse_duration
from gateway.policy.break_glass import (
    MOST_RANGES,
    Opening,
    parse_lasting,
    parse_range,
    parse_reason,
    refusals,
    still_closed,
)
from gateway.sessions.keyring import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningWish:
    """An opening as an operator writes it: `lasting` as `30m`, `ranges` as CIDRs, `despite` forwarding peers that are vouched for."""

    app: str
    lasting: str
    ranges: Sequence[str]
    reason: str
    despite: Sequence[str] = ()


class OpeningRefused(ValueError):
    """The opening is not allowed; `problems` has one line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class BreakGlassWork:
    """The openings of one configuration. All methods raise StoreUnavailable."""

    def __init__(self, config: Config, redis: Redis, ring: KeyRing) -> None:
        self._config = config
        self._openings = Openings(redis, ring, config.redis.key_prefix)

    async def check(self, wish: OpeningWish, by: str, now: datetime) -> Opening:
        """The opening that a wish means, which is not open yet. Raises OpeningRefused."""
        try:
            opening = self._opening(wish, by, now)
            vouched = frozenset(str(parse_range(text).network_address) for text in wish.despite)
        except ValueError as error:
            raise OpeningRefused([str(error)]) from error
        forwarders = await self._openings.forwarders(now)
        problems = list(refusals(self._config, opening.networks, forwarders, vouched))
        if problems:
            raise OpeningRefused(problems)
        return opening

    async def open(self, wish: OpeningWish, by: str, now: datetime) -> Opening:
        """Open it in the whole fleet. Raises OpeningRefused."""
        opening = await self.check(wish, by, now)
        await self._openings.write(opening, now)
        return opening

    async def status(self, now: datetime) -> tuple[list[Opening], list[str]]:
        """What is open now, and the peers that no range may contain."""
        found = [await self._openings.read(name, now) for name in self._config.apps]
        return [opening for opening, _ in filter(None, found)], await self._openings.forwarders(now)

    async def close(self, app: str) -> bool:
        """End the opening of an app; whether there was one. Raises OpeningRefused for a name that is no app's."""
        if app not in self._config.apps:
            raise OpeningRefused([self._unknown(app)])
        return await self._openings.close(app)

    def consequences(self, app: str) -> list[str]:
        """What an operator should know about an opening of this app, one line each."""
        lines = [f"still asks for a person: {rule}" for rule in still_closed(self._config.apps[app])]
        if not password_routes_closed(self._config.openid, self._config.apps[app].surface):
            lines.append("the password routes of this app are open anyway; the range now needs no session either")
        return lines

    def _opening(self, wish: OpeningWish, by: str, now: datetime) -> Opening:
        """Raises ValueError with what is allowed."""
        if is_console(self._config, wish.app):
            raise ValueError(f"break-glass never opens the console; allowed: {', '.join(self._config.apps)}")
        if wish.app not in self._config.apps:
            raise ValueError(self._unknown(wish.app))
        networks: list[Network] = [parse_range(text) for text in wish.ranges]
        if not 0 < len(networks) <= MOST_RANGES:
            raise ValueError(f"{len(networks)} ranges are too many or none; allowed: 1 to {MOST_RANGES}")
        time = parse_lasting(parse_duration(wish.lasting))
        return Opening(
            id=secrets.token_urlsafe(9), app=wish.app, networks=tuple(networks), opened_at=now, ends_at=now + time,
            reason=parse_reason(wish.reason), by=by,
        )  # fmt: skip

    def _unknown(self, app: str) -> str:
        return f"{app!r} is no app of this configuration; allowed: {', '.join(self._config.apps)}"
