"""Searching, comparing and stripping texts at a cost in proportion to what was looked at.

Python says neither how far a search or a comparison will go, nor how often it will come back to a place. So each goes by
blocks, and each block is charged before it is looked at. Bytes are searched in the same way.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from uvm.language.bounds import Charge

BLOCK: Final = 2048
"""Characters in the first block; each further one is twice as long."""
_PROBE: Final = 8
_SAME: Final = 8192


def _rate(value: Any) -> int:
    """Log2 of the characters that Python scans in a unit for a single one: it has instructions for narrow texts only."""
    return 6 if type(value) is bytes or value.isascii() else 4


def _blocks(first: int, last: int, least: int = 0) -> Iterator[tuple[int, int]]:
    size = max(BLOCK, 4 * least)
    while first < last:
        yield first, min(first + size, last)
        first, size = first + size, 2 * size


def search_cost(value: Any, part: Any, first: int, last: int) -> Callable[[Charge], None]:
    """A charge for looking for `part` all through `value[first:last]`."""

    def charge_search(charge: Charge) -> None:
        length, part_length = last - first, len(part)
        if part_length <= 1:
            charge(length >> _rate(value))
        elif part_length <= _PROBE:
            charge(length >> 3)
        elif part_length >= 100 and length >= 2500:
            # Python searches for long parts in an order that is never quadratic.
            charge((length >> 4) + (part_length >> 1))
        else:
            # How often a search goes on beyond the part's beginning decides what it costs.
            charge(length >> 3 if type(value) is bytes else length * 3 >> 4)
            charge((value.count(part[:_PROBE], first, last) * _PROBE * part_length * 3) >> 7)

    return charge_search


def find(value: Any, part: Any, charge: Charge, first: int = 0, last: int | None = None) -> int:
    """`value.find(part, first, last)`."""
    if len(value) <= 512 or not part:
        return value.find(part, first, last)  # type: ignore[no-any-return]  # a text or bytes
    charge(60)
    first, last, _ = slice(first, last).indices(len(value))
    for low, high in _blocks(first, last, len(part)):
        until = min(high + len(part) - 1, last)
        search_cost(value, part, low, until)(charge)
        place = value.find(part, low, until)
        if place >= 0:
            return place  # type: ignore[no-any-return]  # a text or bytes
    return -1


def equal(left: Any, right: Any, charge: Charge) -> bool:
    """`left == right` of two texts or two bytes."""
    if len(left) != len(right):
        return False
    return left is right or _common(left, right, charge) == len(left)


def _common(left: Any, right: Any, charge: Charge) -> int:
    """A length up to which both are the same, in whole blocks unless they are the same throughout."""
    last = min(len(left), len(right))
    place = 0
    while place < last:
        charge(_SAME >> 6 if place < 1 << 20 else _SAME >> 5)
        if left[place : place + _SAME] != right[place : place + _SAME]:
            return place
        place += _SAME
    return min(place, last)


def lead(value: str, chars: str | None, charge: Charge, last: bool = False) -> int:
    """How many characters `lstrip` takes away; with `last`, `rstrip`."""
    stripped, size = 0, 16
    cost = 1 if chars is None else 1 + (len(chars) * 3 >> 9)
    charge(60)
    while stripped < len(value):
        size = min(2 * size, 512)
        block = value[max(0, len(value) - stripped - size) : len(value) - stripped] if last else value[stripped : stripped + size]
        charge(len(block) * cost)
        rest = len(block.rstrip(chars) if last else block.lstrip(chars))
        stripped += len(block) - rest
        if rest:
            break
    return stripped
