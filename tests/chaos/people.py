"""The people of a run: each with a session, and with what is known of it."""

from dataclasses import dataclass, field

from tests.chaos.judging import Standing


@dataclass(slots=True, eq=False)
class Person:
    """`cookie` is the Cookie field's value. `key`: the record's in Redis. `lost`: it was signed out without having asked for it."""

    name: str
    cookie: str
    key: str
    doubtful_from: float | None = None
    over_from: float | None = None
    lost: bool = field(default=False)

    @property
    def standing(self) -> Standing:
        return Standing(doubtful_from=self.doubtful_from, over_from=self.over_from)

    @property
    def live(self) -> bool:
        """Nobody has asked to end the session."""
        return self.doubtful_from is None
