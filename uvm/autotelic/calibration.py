"""Whether the image may believe a candidate as it believed the adapter in force: calibration and precision, on held-out tasks. Pure.

In: for each held-out task, what the decision in force states of both drafts. Nothing is fitted here: the numbers with which the image
decides stay as they are, and so what they state of the candidate must be as true as what they stated of the adapter before.

* calibration error: the expected calibration error in ten bins (Naeini and others, 2015). Both answered the same tasks, so the tasks are
  drawn again together (a paired bootstrap, 500 times, from a fixed seed), and the upper end of the one-sided 95 % interval of the
  difference is what counts;
* precision: of the drafts of which the decision is sure enough for the image's risk, the share that is right, as the lower end of its
  one-sided 95 % interval (Wilson, 1927);
* alfred of the version before: on which tasks the decision, asking neither what is expected nor how sure the model is, holds what was
  written for likelier right than wrong.
"""

import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from msgspec import Struct

from uvm.autotelic.paired import ONE_SIDED, Pairs

BINS: Final = 10
DRAWN: Final = 500
"""Times that the tasks are drawn again."""
_SEED: Final = 1


class StatedDraft(Struct, frozen=True):
    """What is stated of one draft. `confidence`: that it is right; `sure`: enough for the image's risk; `plausible`: likelier right than
    wrong, by its words and its source alone. `right`: whether it is.
    """

    confidence: float
    sure: bool
    plausible: bool
    right: bool


class StatedPair(Struct, frozen=True):
    """Both adapters' drafts of one task of a slice; None where nothing could be installed: it declines, or fails at once."""

    slice: str
    current: StatedDraft | None
    candidate: StatedDraft | None


class SurePart(Struct, frozen=True):
    """The drafts that the image would install at its risk, and how many of them are right."""

    right: int = 0
    number: int = 0

    @property
    def least(self) -> float:
        """The lower end of the interval of the share that is right; 0 of none."""
        if not self.number:
            return 0.0
        n, share, z = self.number, self.right / self.number, ONE_SIDED
        middle, width = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, (middle - width) / (1 + z * z / n))


class CalibrationFigures(Struct, frozen=True):
    """`before` and `after`: calibration error of the adapter in force and of the candidate; `worse`: by how much it may have grown (95 %).

    `installed_before`, `installed_after`: what the image would install of each.
    """

    before: float
    after: float
    worse: float
    installed_before: SurePart
    installed_after: SurePart


def measured(pairs: Sequence[StatedPair]) -> CalibrationFigures:
    """All figures of an exam; the same for the same exam."""
    rng, grown = Random(_SEED), []
    for _ in range(DRAWN if pairs else 0):
        drawn = rng.choices(pairs, k=len(pairs))
        grown.append(_error(pair.candidate for pair in drawn) - _error(pair.current for pair in drawn))
    grown.sort()
    return CalibrationFigures(
        _error(pair.current for pair in pairs),
        _error(pair.candidate for pair in pairs),
        grown[math.ceil(0.95 * len(grown)) - 1] if grown else 1.0,
        _sure(pair.current for pair in pairs),
        _sure(pair.candidate for pair in pairs),
    )


def alfreds(pairs: Iterable[StatedPair], gap: str) -> Pairs:
    """The tasks outside of the gap that can be answered, as alfred of the version before sees them."""
    both = [_plausible(pair) for pair in pairs if pair.slice not in (gap, "refused")]
    return Pairs(both.count((True, True)), both.count((False, True)), both.count((True, False)), both.count((False, False)))


def _plausible(pair: StatedPair) -> tuple[bool, bool]:
    return pair.current is not None and pair.current.plausible, pair.candidate is not None and pair.candidate.plausible


def _error(drafts: Iterable[StatedDraft | None]) -> float:
    """Expected calibration error; 0 of nothing, of which nothing is stated."""
    apart, count = [0.0] * BINS, 0
    for draft in drafts:
        if draft is not None:
            apart[min(BINS - 1, int(draft.confidence * BINS))] += draft.confidence - draft.right
            count += 1
    return sum(map(abs, apart)) / max(1, count)


def _sure(drafts: Iterable[StatedDraft | None]) -> SurePart:
    sure = [draft.right for draft in drafts if draft is not None and draft.sure]
    return SurePart(sum(sure), len(sure))
