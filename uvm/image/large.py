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
        element = pending.pop()
        total += 4
        if isinstance(element, str | bytes):
            total += len(element)
        elif isinstance(element, UvmObject):
            total += _REFERENCE
        elif isinstance(element, Merging):
            pending.append(element.__getstate__())
        elif isinstance(element, list | tuple):
            total += 5 * len(element)
            if total <= enough and not set(map(type, element)) <= _NUMBERS:
                pending.extend(element)
        elif isinstance(element, dict):
            total += len(element)
            pending.extend([*element, *element.values()] if total <= enough else ())
        elif isinstance(element, int | float):
            total += 4
    return total


def stored(value: Any) -> Any:
    """The value as a kernel record holds it: itself, or an object that holds it alone."""
    return UvmObject({KIND: "value", "value": value}) if weight(value, LARGE) > LARGE else value


def loaded(record: Any) -> Any:
    """The value that `stored` made this of."""
    return record.own("value") if type(record) is UvmObject and record.own(KIND) == "value" else record
