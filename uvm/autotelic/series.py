"""The metric's past: rows of three grains, each with its retention. Pure; `ledger` has the objects that hold them.

Format: a row is a list, `[at, n, messages, selectors, personas, tokens, growth, cem]`: seconds since the epoch at its beginning, how many
measurements it is the mean of, messages in the newest window, and the parts, each a number or nil. A coarser row is made when the first
measurement after its time comes, so that its record is written once a row and not once a beat.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from uvm.autotelic.windows import Composite

Row = list[Any]


class Grain(Struct, frozen=True):
    """Rows of so many seconds, the newest `kept` of them."""

    name: str
    seconds: int
    kept: int


GRAINS: Final = (Grain("minutes", 60, 120), Grain("quarters", 900, 192), Grain("days", 86_400, 730))
"""Two hours, two days, two years."""
PARTS: Final = ("selectors", "personas", "tokens", "growth", "cem")


def row(at: int, measured: Composite) -> Row:
    """One measurement as a row."""
    return [at, 1, measured.messages, *(getattr(measured, part) for part in PARTS)]


def taken_in(rows: Mapping[str, Sequence[Row]], new: Row) -> dict[str, list[Row]]:
    """The grains whose rows change with a new measurement, and what they are then."""
    changed = {"minutes": [*rows.get("minutes", []), new][-GRAINS[0].kept :]}
    for finer, grain in pairwise(GRAINS):
        source = changed.get(finer.name)
        if source is None:
            break
        begun = new[0] - new[0] % grain.seconds
        had = list(rows.get(grain.name, []))
        last = had[-1][0] if had else None
        whole = [each for each in source if each[0] < begun and (last is None or each[0] >= last + grain.seconds)]
        if whole:
            starts = sorted({each[0] - each[0] % grain.seconds for each in whole})
            had += [_mean(start, [each for each in whole if each[0] - each[0] % grain.seconds == start]) for start in starts]
            changed[grain.name] = had[-grain.kept :]
    return changed


def _mean(at: int, rows: Sequence[Row]) -> Row:
    measured = sum(each[1] for each in rows)
    return [at, measured, rows[-1][2], *(_weighed([(each[place], each[1]) for each in rows]) for place in range(3, 3 + len(PARTS)))]


def _weighed(values: Sequence[tuple[float | None, int]]) -> float | None:
    told = [(value, count) for value, count in values if value is not None]
    return round(sum(value * count for value, count in told) / sum(count for _, count in told), 6) if told else None
