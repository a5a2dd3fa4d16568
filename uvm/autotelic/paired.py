"""Two adapters on the same tasks: what they differ in, and what that shows. Pure.

What both do alike says nothing. Whether one is better is the exact one-sided test of McNemar (1947) on the tasks that only one of them did
right; how much it may be worse is the upper end of a one-sided 95 % interval of the loss, with half a task added to either kind of
disagreement (Agresti and Min, 2005).
"""

import math
from typing import Final

from msgspec import Struct

ALPHA: Final = 0.05
ONE_SIDED: Final = 1.6449
"""Standard deviations of a one-sided interval of 95 %."""


class Pairs(Struct, frozen=True):
    """Two adapters on the same tasks: how many both did right, only the candidate (`gained`), only the current one (`lost`), neither."""

    both: int = 0
    gained: int = 0
    lost: int = 0
    neither: int = 0

    @property
    def tasks(self) -> int:
        return self.both + self.gained + self.lost + self.neither

    @property
    def before(self) -> float:
        return (self.both + self.lost) / self.tasks if self.tasks else 0.0

    @property
    def after(self) -> float:
        return (self.both + self.gained) / self.tasks if self.tasks else 0.0


def mcnemar(gained: int, lost: int) -> float:
    """The chance of so many gains or more among the disagreements, if the two were equally good: the exact binomial tail."""
    differing = gained + lost
    return float(sum(math.comb(differing, k) for k in range(gained, differing + 1)) / 2**differing)


def most_lost(pairs: Pairs) -> float:
    """The upper end of the one-sided 95 % interval of the share lost; 1 where nothing was asked."""
    if not pairs.tasks:
        return 1.0
    n, lost, gained = pairs.tasks + 1, pairs.lost + 0.5, pairs.gained + 0.5
    loss = (lost - gained) / n
    spread = math.sqrt(max(0.0, (lost + gained) / n - loss**2) / n)
    return loss + ONE_SIDED * spread


def power(tasks: int, gain: float, lost: float = 0.02, alpha: float = ALPHA) -> float:
    """The chance that the test sees a gain: each task is gained with probability `gain + lost`, lost with `lost`."""
    up, total = gain + lost, 0.0
    differing = min(1.0, up + lost)
    for count in range(tasks + 1):
        chance = binomial(tasks, count, differing)
        if chance < 1e-12:
            continue
        total += chance * sum(binomial(count, k, up / differing) for k in range(_least(count, alpha), count + 1))
    return min(1.0, total)


def tasks_needed(gain: float, wanted: float = 0.9) -> int:
    """The fewest tasks, in tens and at most 1,000, with which the test sees such a gain with the wanted power."""
    return next((tasks for tasks in range(10, 1000, 10) if power(tasks, gain) >= wanted), 1000)


def _least(differing: int, alpha: float) -> int:
    """The fewest gains among so many disagreements that the test accepts; one more than there are where none would do."""
    allowed, tail, outcomes = int(alpha * 10**9) * 2**differing // 10**9, 0, 1
    for gained in range(differing, -1, -1):
        tail += outcomes
        if tail > allowed:
            return gained + 1
        outcomes = outcomes * gained // (differing - gained + 1)
    return 0


def binomial(n: int, k: int, p: float) -> float:
    if p >= 1:
        return float(n == k)
    return (
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
        if p > 0
        else float(k == 0)
    )
