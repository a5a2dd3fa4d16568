"""The Composite Entropy Metric over a sliding window. Pure; docs/entropy.md has its formula and sources.

The UVMs count for themselves (`uvm.image.journal`), and counts merge by adding, so that the sum over all journals at two moments says what
happened between them, whichever UVM did it. The heartbeat's one thread keeps the newest `MOST` such sums in memory: a heartbeat that has
just started has a shorter window, and says so (`window_s`).
"""

import math
from collections import deque
from typing import Final

from msgspec import Struct

from uvm.image.entropy import Spoken, shannon, since

WINDOW_S: Final = 900.0
"""What one measurement looks back on, seconds."""
MOST: Final = 64
"""Sums kept; where beats come faster than the window has room for, it is shorter."""
_GROWTH: Final = 0.05
"""New things a message at which growth counts half."""


class Structure(Struct, frozen=True):
    """How much there is: methods installed, shapes of object and message that have one, and distinct behaviours (sources) among them."""

    methods: int = 0
    shapes: int = 0
    behaviours: int = 0

    @property
    def total(self) -> int:
        return self.methods + self.shapes + self.behaviours


class Sums(Struct, frozen=True):
    """Everything counted since the image's birth, at one moment (`at`: seconds, of a clock that only goes forward)."""

    at: float
    sent: dict[str, int]
    drafts: dict[str, int]
    spoken: Spoken
    structure: Structure


class Composite(Struct, frozen=True):
    """One measurement. Each part is between 0, all the same, and 1; `cem` is their weighted mean, over those that have something to say.

    `messages`: how many the window has; with none, nothing stagnates, as nothing happens.
    """

    window_s: float
    messages: int
    selectors: float | None
    personas: float | None
    tokens: float | None
    growth: float | None
    cem: float | None


class Windows:
    """The newest sums."""

    def __init__(self) -> None:
        self._sums: deque[Sums] = deque(maxlen=MOST)

    def add(self, now: Sums, weights: tuple[float, float, float, float]) -> Composite:
        """The measurement that ends with these sums."""
        while len(self._sums) > 1 and now.at - self._sums[1].at >= WINDOW_S:
            self._sums.popleft()
        before = self._sums[0] if self._sums else now
        self._sums.append(now)
        return composite(before, now, weights)


def composite(before: Sums, now: Sums, weights: tuple[float, float, float, float]) -> Composite:
    """What came between two moments."""
    sent, drafts, spoken = since(now.sent, before.sent), since(now.drafts, before.drafts), now.spoken - before.spoken
    messages = sum(sent.values())
    parts = (
        _evenness(sent, len(now.sent)),
        _evenness(drafts, len(now.drafts)),
        1 - math.exp(-max(0.0, spoken.entropy)) if spoken.tokens > 0 else None,
        _grown(max(0, now.structure.total - before.structure.total), messages),
    )
    weighed = [(part, weight) for part, weight in zip(parts, weights, strict=True) if part is not None and weight > 0]
    weight = sum(weight for _, weight in weighed)
    cem = sum(part * share for part, share in weighed) / weight if messages and weight else None
    selectors, personas, tokens, growth, whole = (None if part is None else round(part, 6) for part in (*parts, cem))
    return Composite(round(now.at - before.at, 3), messages, selectors, personas, tokens, growth, whole)


def _evenness(counts: dict[str, int], kinds: int) -> float | None:
    """Entropy as a share of what it would be if all that was ever seen came equally often (Pielou, 1966); None where nothing came."""
    if not counts:
        return None
    return min(1.0, shannon(counts) / math.log2(kinds)) if kinds > 1 else 0.0


def _grown(new: int, messages: int) -> float | None:
    return None if not messages else (new / messages) / (new / messages + _GROWTH)
