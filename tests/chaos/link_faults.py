"""Each link between two parties, misbehaving in each way (D-05). The proof is the link's own count of what it did.

What may fail differs: without the provider or the directory nobody new gets in, but whoever is signed in notices nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.chaos.links import Mode
from tests.chaos.stage import Stage
from tests.chaos.trial import BLIND_BOUND, PUSH_BOUND, Fault, Happening, Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """`counted`: the counter that must have moved."""

    mode: Mode
    amount: float
    counted: str


WAYS: Final = (
    _Way(mode="delay", amount=0.1, counted="delayed pieces"),
    _Way(mode="stall", amount=0.0, counted="stalled pieces"),
    _Way(mode="reset", amount=0.0, counted="reset"),
    _Way(mode="truncate", amount=150.0, counted="truncated"),
    _Way(mode="forget", amount=0.0, counted="swallowed connections"),
    _Way(mode="blackhole", amount=0.0, counted="swallowed connections"),
)
LINKS: Final = ("redis", "provider", "directory", "upstream", "client")
_SECONDS: Final = 2.0


def _happening(links: tuple[str, ...], way: _Way) -> Happening:
    @asynccontextmanager
    async def happening(stage: Stage, proof: Proof) -> AsyncIterator[None]:
        meant = [stage.links[name] for name in links]
        for link in meant:
            link.bury()
        before = [link.counts.copy() for link in meant]
        for link in meant:
            link.misbehave(way.mode, way.amount)
        yield
        for link in meant:
            link.behave()
        after = [link.counts - old for link, old in zip(meant, before, strict=True)]
        if sum(counts[way.counted] for counts in after):
            told = ", ".join(
                f"{sum(counts[what] for counts in after)} {what}" for what in sorted({*after[0], way.counted})
            )
            proof.text = told

    def opened(stage: Stage, proof: Proof) -> AbstractAsyncContextManager[None]:
        return happening(stage, proof)

    return opened


def _fault(link: str, way: _Way) -> Fault:
    links = ("client-a", "client-b") if link == "client" else (link,)
    silent = link == "redis" and way.mode in ("stall", "forget", "blackhole")
    return Fault(
        name=f"{link} link: {way.mode}",
        happening=_happening(links, way),
        seconds=_SECONDS,
        bound=BLIND_BOUND if silent else PUSH_BOUND,
        sign_ins=4 if link in ("provider", "directory") else 1,
        through_link=link == "client",
        patience=4.0 if link == "client" else 10.0,
        untouched=link in ("provider", "directory"),
    )


FAULTS: Final = tuple(_fault(link, way) for link in LINKS for way in WAYS)
