"""Bounds: what one operation on plain values may cost.

Pure functions of values, called by the compiled methods' guards and the vocabulary, in the thread that runs the method.
Nothing in Python itself stops `10**10**8`, `'a' * 10**10` or the comparison of two lists that hold each other a thousand
times over; so each operation whose cost depends on sizes is measured first, charged in ticks, and refused past a limit.

A tick is about a tenth of a microsecond of work: one element walked in Python, 8 elements or 64 characters moved in C.
Beyond a limit the functions raise ValueError, which a method may catch; `charge` raises TicksSpent, which it may not.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from types import GeneratorType, NoneType
from typing import Any, Final

from uvm.errors import ImageError
from uvm.objects import Counter, Merging, UvmObject

Charge = Callable[[int], None]

INT_BITS: Final = 1000
"""Longest integer; below it every integer has a float."""
LARGEST: Final = 2**INT_BITS - 1
TEXT: Final = 10_000_000
"""Longest text, characters."""
ITEMS: Final = 1_000_000
"""Longest list, tuple, set or dict, and the most values of a nested one that are walked at once."""
NESTING: Final = 64
"""Deepest nesting of a value that is compared, hashed or turned into text."""
ERROR_TEXT: Final = 500
"""Longest text of an error that a method raises, characters."""

NUMBERS: Final = frozenset({int, float, bool})
ATOMS: Final = frozenset({int, float, bool, NoneType, UvmObject})
TEXTS: Final = frozenset({str, bytes})
SEQUENCES: Final = frozenset({list, tuple, set, frozenset})
ITERABLES: Final = SEQUENCES | {dict, str, bytes, range}


def weighed(value: Any, charge: Charge) -> Any:
    """The value, charged for being compared, hashed or shown; a counter becomes its number, other merging values lists."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is str:
        if len(value) > 1024:
            charge(len(value) >> 6)
        return value
    if kind is Counter:
        return value.total
    if isinstance(value, Merging):
        value = value.plain()
    weigh(value, charge)
    return value


def weigh(value: Any, charge: Charge) -> int:
    """Charge a walk through all that a value contains, and return an upper bound of its length as text, characters.

    Raises ValueError for a value that is too large, nested too deep, or contains itself; TypeError for a function.
    """
    length, walked, scanned = 0, 0, 0
    level: list[Any] = [value]
    for _ in range(NESTING):
        deeper: list[Any] = []
        for item in level:
            walked += 1
            kind = type(item)
            if kind is str or kind is bytes:
                length += len(item) + 2
            elif kind in SEQUENCES or kind is dict:
                inside = chain(item, item.values()) if kind is dict else item
                count = len(item)
                scanned += count
                if ATOMS.issuperset(map(type, inside)):
                    length += 30 * count
                elif kind is dict:
                    deeper.extend(item)
                    deeper.extend(item.values())
                else:
                    deeper.extend(item)
            elif kind is range:
                scanned += len(item)
            elif isinstance(item, Merging):
                deeper.append(item.plain())
            elif kind in ATOMS or isinstance(item, Exception):
                length += 30
            elif callable(item) or kind is GeneratorType:
                raise TypeError("a function is no value: call it")
            else:
                length += 100
            if walked + scanned + len(deeper) > ITEMS:
                charge(walked + (scanned >> 3))
                raise ValueError(f"a value that holds more than {ITEMS:,} others, or contains itself, is too large here")
        if not deeper:
            charge(walked + (scanned >> 3) + (length >> 6))
            return length + 4 * (walked + scanned)
        level = deeper
    charge(walked + (scanned >> 3))
    raise ValueError(f"a value that is nested more than {NESTING} deep, or contains itself, is too large here")


def room_for_items(count: int, charge: Charge) -> None:
    """Charge for a new container of so many items, or refuse it."""
    if count > ITEMS:
        raise ValueError(f"{count:,} items are more than the {ITEMS:,} a container may hold")
    if count > 0:
        charge(count >> 3)


def room_for_text(length: int, charge: Charge) -> None:
    """Charge for a new text of so many characters, or refuse it."""
    if length > TEXT:
        raise ValueError(f"{length:,} characters are more than the {TEXT:,} a text may have")
    if length > 0:
        charge(length >> 6)


def number(value: Any) -> Any:
    """The value unless it is an integer that is too long, or complex."""
    if type(value) is int and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"an integer of more than {INT_BITS} bits is too large; use float")
    if type(value) is complex:
        raise ValueError("the result is no real number")
    return value


def plain(value: Any) -> Any:
    """A merging value as its plain value, anything else as it is."""
    return value.plain() if isinstance(value, Merging) else value


def taken(values: Any, charge: Charge) -> Any:
    """What can be walked through, charged by its length; a generator as a list. Raises TypeError for anything else."""
    kind = type(values)
    if kind in ITERABLES:
        room_for_items(len(values), charge) if kind not in TEXTS else room_for_text(8 * len(values), charge)
        return values
    if kind is GeneratorType:
        return list(values)
    if isinstance(values, Merging) and kind is not Counter:
        return taken(values.plain(), charge)
    raise TypeError(f"a {kind_of(values)} cannot be walked through; a list, tuple, dict, set, text or range can")


def iterated(values: Any) -> Iterable[Any]:
    """What a `for` may go through; each round is charged by the loop itself."""
    kind = type(values)
    if kind in ITERABLES or kind is GeneratorType:
        walkable: Iterable[Any] = values
        return walkable
    if isinstance(values, Merging) and kind is not Counter:
        return list(values.plain())
    raise TypeError(f"a {kind_of(values)} cannot be walked through; a list, tuple, dict, set, text or range can")


def text(value: Any, charge: Charge) -> str:
    """`str(value)`, measured first."""
    kind = type(value)
    if isinstance(value, str) and kind is str:
        return value
    if kind in NUMBERS or value is None:
        return str(value)
    value = plain(value)
    room_for_text(weigh(value, charge), charge)
    return value.message[:ERROR_TEXT] if isinstance(value, ImageError) else str(value)


def represented(value: Any, charge: Charge) -> str:
    """`repr(value)`, measured first."""
    room_for_text(4 * weigh(value, charge), charge)
    return repr(plain(value))


def kind_of(value: Any) -> str:
    """The type of a value as `isinstance_of` and the errors name it."""
    kind = type(value)
    if kind is NoneType:
        return "none"
    if kind in KINDS:
        return KINDS[kind]
    if isinstance(value, Merging):
        return {"Counter": "counter", "MergingSet": "merging_set", "MergingQueue": "merging_queue"}.get(kind.__name__, "object")
    if isinstance(value, Exception):
        return "error"
    return "function" if callable(value) else "object"


KINDS: Final[dict[type, str]] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    list: "list",
    dict: "dict",
    tuple: "tuple",
    set: "set",
    frozenset: "set",
    bytes: "bytes",
    range: "range",
}
