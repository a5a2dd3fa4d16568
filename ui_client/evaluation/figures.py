"""What verdicts add up to: shares with their intervals, the curve of precision against recall, calibration. Pure.

A share has Wilson's interval at 95 %: it stays within 0 and 1, and says something of few tasks as well.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

Z: Final = 1.959963984540054
"""Standard deviations within which 95 % of a normal distribution lie."""
BINS: Final = 10


class Share(Struct, frozen=True):
    """`count` of `of`; `share`, `low` and `high` are None where there is nothing to count."""

    count: int
    of: int
    share: float | None
    low: float | None
    high: float | None


class StatedVerdict(Struct, frozen=True):
    """A method with a stated confidence. `installed` false: one that was refused for too little of it. `answerable`: its task has a right
    answer, and so counts for recall."""

    confidence: float
    right: bool
    installed: bool = True
    answerable: bool = True


class CurvePoint(Struct, frozen=True):
    """What would be installed from a threshold on: how many, how many of them right, and of the answerable tasks how many rightly."""

    threshold: float
    installed: int
    precision: Share
    recall: Share


class CalibrationBin(Struct, frozen=True):
    """Methods whose stated confidence lies between `low` and `high`: its mean, and the share that was right."""

    low: float
    high: float
    confidence: float | None
    right: Share


class Calibration(Struct, frozen=True):
    """`error`: expected calibration error, the mean distance of stated confidence and share of right ones, by how many are in a bin."""

    error: float | None
    of: int
    bins: list[CalibrationBin]


def share(count: int, of: int) -> Share:
    """A share with its interval. Raises ValueError for more than all."""
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is no share")
    if not of:
        return Share(0, 0, None, None, None)
    low, high = wilson(count, of)
    return Share(count, of, count / of, low, high)


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share at 95 %."""
    value, spread = count / of, Z * Z / of
    middle = (value + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(value * (1 - value) / of + spread / (4 * of))
    # At the ends the formula is exact, and its rounding is not.
    return (0.0 if count == 0 else max(0.0, middle - half)), (1.0 if count == of else min(1.0, middle + half))


def quantile(values: Iterable[float], part: float) -> float | None:
    """The value below which `part` of them lie, between two neighbours in proportion; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def curve(stated: Sequence[StatedVerdict], answerable: int) -> list[CurvePoint]:
    """A point for each confidence that was stated, as the least that is installed; the strictest first.

    `answerable`: how many tasks have a right answer, with a stated confidence or without.
    """
    points = []
    installed = right = recalled = 0
    ordered = sorted(stated, key=lambda verdict: -verdict.confidence)
    for confidence, together in groupby(ordered, key=lambda verdict: verdict.confidence):
        for verdict in together:
            installed += 1
            right += verdict.right
            recalled += verdict.right and verdict.answerable
        points.append(CurvePoint(confidence, installed, share(right, installed), share(recalled, max(answerable, recalled))))
    return points


def calibration(stated: Sequence[StatedVerdict]) -> Calibration:
    """Of all that has a stated confidence, installed or not, in ten bins of equal width."""
    bins: list[list[StatedVerdict]] = [[] for _ in range(BINS)]
    for verdict in stated:
        bins[min(BINS - 1, max(0, math.floor(verdict.confidence * BINS)))].append(verdict)
    shown, error = [], 0.0
    for number, members in enumerate(bins):
        right = share(sum(verdict.right for verdict in members), len(members))
        mean = math.fsum(verdict.confidence for verdict in members) / len(members) if members else None
        shown.append(CalibrationBin(number / BINS, (number + 1) / BINS, mean, right))
        if mean is not None and right.share is not None:
            error += len(members) / len(stated) * abs(mean - right.share)
    return Calibration(error if stated else None, len(stated), shown)
