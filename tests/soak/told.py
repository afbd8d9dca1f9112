"""What a case found, as it is printed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`reached`: all that must hold does."""

    case: str
    found: str
    reached: bool

    def __str__(self) -> str:
        return f"{'ok    ' if self.reached else 'MISSED'}  {self.case}\n        {self.found}"
