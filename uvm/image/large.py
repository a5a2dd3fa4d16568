"""Values too large to be written again with their neighbours: each goes into a record of its own. Pure, but for the object it makes."""

from typing import Any, Final

from uvm.objects import KIND, Merging, UvmObject

LARGE: Final = 512
"""Bytes past which a value of a kernel record gets a record of its own."""
_REFERENCE = 16
_NUMBERS = frozenset({int, float, bool, type(None)})
_TEXTS = frozenset({str, bytes})


def weight(value: Any, enough: int) -> int:
    """About how many bytes a value takes in a record; the count stops once it is past `enough`, so that looking costs little."""
    if type(value) in _NUMBERS:
        return 8
    if type(value) in _TEXTS:
        return 4 + len(value)
    total, pending = 0, [value]
    while pending and total <= enough:
        part = pending.pop()
        total += 4
        if isinstance(part, str | bytes):
            total += len(part)
        elif isinstance(part, UvmObject):
            total += _REFERENCE
        elif isinstance(part, Merging):
            pending.append(part.__getstate__())
        elif isinstance(part, list | tuple):
            total += 5 * len(part)
            if total <= enough and not set(map(type, part)) <= _NUMBERS:
                pending.extend(part)
        elif isinstance(part, dict):
            total += len(part)
            pending.extend([*part, *part.values()] if total <= enough else ())
        elif isinstance(part, int | float):
            total += 4
    return total


def stored(value: Any) -> Any:
    """The value as a kernel record holds it: itself, or an object that holds it alone."""
    return UvmObject({KIND: "value", "value": value}) if weight(value, LARGE) > LARGE else value


def loaded(kept: Any) -> Any:
    """The value that `stored` made this of."""
    return kept.own("value") if type(kept) is UvmObject and kept.own(KIND) == "value" else kept
