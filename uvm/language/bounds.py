"""Bounds: what one operation on plain values may cost.

Pure functions of values, called by the compiled methods' guards and the vocabulary, in the thread that runs the method.
Nothing in Python itself stops `10**10**8`, `'a' * 10**10` or the comparison of two lists that hold each other a thousand
times over; so each operation whose cost depends on sizes is measured first, charged in units (`uvm/language/weights.py`), and refused past
a limit. Where Python does not say beforehand what a call will cost, it is made in blocks, each charged before it is done.

Beyond a limit the functions raise ValueError, which a method may catch; `charge` raises an AttemptEnded, which it may not.
"""

import operator
from collections.abc import Callable, Iterable
from itertools import islice
from sys import getsizeof
from types import GeneratorType, NoneType
from typing import Any, Final, Protocol

from uvm.errors import ImageError
from uvm.language.keys import LONG, Keys
from uvm.language.weights import DECIMAL, DECIMAL_FAR
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, UvmObject

Charge = Callable[[int], None]


class TickMeter(Protocol):
    """What an operation is charged to: the budget of the message that runs."""

    @property
    def keys(self) -> Keys:
        """The keys that the message hashed."""

    def charge(self, units: int) -> None:
        """Spend units of work. Raises an AttemptEnded."""


INT_BITS: Final = 1000
"""Longest integer; below it every integer has a float."""
LARGEST: Final = 2**INT_BITS - 1
KEY_LEAST: Final = -(2**63)
KEY_MOST: Final = 2**64 - 1
"""Least and largest integer that may be a key or a member."""
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
HASHED: Final = frozenset({set, frozenset, dict})
MERGED: Final = frozenset({Counter, MergingSet, MergingQueue})
ITERABLES: Final = SEQUENCES | {dict, str, bytes, range}
_COMPOSITE: Final = frozenset({tuple, frozenset, range})

_CACHED: Final = 131_072
"""Places of a set that the processor's caches hold."""
_ALIKE: Final = 2**61 - 2
"""Integers beyond it have the hashes of smaller ones."""
_NEAR: Final = 1e-50
_FAR: Final = 1e50
_SHOWN: Final = 100_000
"""Longest text that is made of what an error holds, characters; `ERROR_TEXT` of them are kept."""


def weighed(value: Any, charge: Charge) -> Any:
    """The value, charged for being compared or shown; a counter becomes its number, other merging values lists."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is str:
        if len(value) > 1024:
            charge(len(value) >> 9)
        return value
    if kind in MERGED:
        value = plain(value, charge)
    weigh(value, charge)
    return value


def weigh(value: Any, charge: Charge, written: bool = False) -> int:
    """Charge a walk through all that a value contains, and return an upper bound of its length as text, characters.

    What is contained twice is walked twice. `written`: it is about to be written, which floats are charged for. Raises ValueError for a
    value that is too large, nested too deep, or contains itself; TypeError for a function, or what cannot be written.
    """
    length, walked = 0, 0
    level: list[Any] = [value]
    for _ in range(NESTING):
        deeper: list[Any] = []
        for part in level:
            kind = type(part)
            if kind is str or kind is bytes:
                length += len(part) + 2
            elif kind in ATOMS:
                length += 30
                if written and kind is float:
                    charge(_decimal(part))
            elif kind in SEQUENCES or kind is dict:
                count = len(part)
                walked += count
                if walked > ITEMS:
                    raise ValueError(f"a value that holds more than {ITEMS:,} others, or contains itself, is too large here")
                charge((75 if written else 55) + 2 * extent(part))
                inside = [*part, *part.values()] if kind is dict else part
                if ATOMS.issuperset(map(type, inside)):
                    length += 30 * count
                    if written and float in map(type, inside):
                        charge(sum(_decimal(number) for number in inside if type(number) is float))
                else:
                    charge(8 * count)
                    deeper.extend(inside)
            elif kind is range:
                length += 30 * len(part) if len(part) <= ITEMS else 100
            elif kind in MERGED:
                deeper.append(plain(part, charge))
            elif isinstance(part, Exception):
                # Within a container Python shows what it holds, at its full length.
                length += 30
                deeper.extend(part.args)
            elif kind is GeneratorType:
                raise TypeError("a generator is no value: list(…) makes one of it")
            elif callable(part):
                raise TypeError("a function is no value: call it")
            elif written:
                raise TypeError(f"a {kind_of(part)} cannot be shown as text")
            else:
                length += 100
        if not deeper:
            charge(length >> 8)
            return length + 4 * walked
        level = deeper
    raise ValueError(f"a value that is nested more than {NESTING} deep, or contains itself, is too large here")


def _decimal(value: float) -> int:
    """Units for writing a float."""
    return DECIMAL if _NEAR < value < _FAR or _NEAR < -value < _FAR or not value else DECIMAL_FAR


def extent(value: Any) -> int:
    """How many places a walk through a container goes by: a dict or set keeps the places of what was removed."""
    return max(len(value), getsizeof(value) >> 8) if type(value) in HASHED else len(value)


def places(value: Any) -> int:
    """Units for looking for each member of a set in another.

    Numbers that lie close together are next to each other in a set. Others are all over it, which past the processor's caches
    counts; and those that are in each other's place are looked for several times. The first members say which it is.
    """
    count = extent(value)
    if count < 1024:
        return count
    table = 1 << (getsizeof(value) >> 4).bit_length() - 1
    numbers = [hash(member) for member in islice(value, 16)]
    slots = [number % table for number in numbers]
    units = 3 if count > _CACHED else 1
    if type(value) is not dict and sum(map(operator.ge, slots, slots[1:])) > 9:
        units *= 8
    elif count > 8192 and max(map(abs, numbers)) > 2 * table:
        units *= 5
    return 400 + count * units


def key(value: Any, meter: TickMeter) -> Any:
    """The value, charged for being hashed; a counter becomes its number. Raises ValueError for a number that is too large."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > LONG:
            meter.keys.text(value)
        return value
    if kind is int:
        if not KEY_LEAST <= value <= KEY_MOST:
            raise ValueError("an integer of more than 64 bits is no key; use text")
        return value
    if kind in ATOMS:
        return value
    if kind is Counter:
        return key(value.total, meter)
    value = plain(value, meter.charge)
    weigh(value, meter.charge)
    if kind in _COMPOSITE:
        meter.keys.composite(value)
    return value


def hashed(values: Any, meter: TickMeter) -> Any:
    """What can be walked through, each about to be hashed."""
    values = collected(values, meter.charge)
    count = len(values)
    # Beyond the processor's caches each place of the table has to be fetched.
    meter.charge(count * (10 if count < 131_072 else 16))
    kinds = set(map(type, values))
    meter.charge(60)
    if kinds <= {bool, NoneType, UvmObject, float}:
        meter.charge(10 * count if _crowded(values) else 0)
        return values
    if kinds == {int}:
        if not (min(values) >= KEY_LEAST and max(values) <= KEY_MOST):
            raise ValueError("an integer of more than 64 bits is no key; use text")
        if max(values) > _ALIKE or min(values) < -_ALIKE:
            meter.charge(6 * count)
        elif _crowded(values):
            meter.charge(10 * count)
        return values
    if kinds <= _COMPOSITE:
        weigh(values, meter.charge)
        meter.charge(count * 20)
        meter.keys.composites(values)
        return values
    meter.charge(count * 8)
    return [key(value, meter) for value in values]


def _crowded(numbers: Any) -> bool:
    """Whether numbers want the same places of a table, as far as the first of them say: their hashes end in the same bits."""
    if len(numbers) <= 64:
        return False
    different = set(islice(numbers, 16))
    return 2 * len({hash(number) & 1023 for number in different}) < len(different)


def room_for_items(count: int, charge: Charge) -> None:
    """Charge for a new container of so many items, or refuse it."""
    if count > ITEMS:
        raise ValueError(f"{count:,} items are more than the {ITEMS:,} a container may hold")
    if count > 32:
        charge(count * 3 >> 4 if count < _CACHED else count * 5 >> 3)


def room_for_text(length: int, charge: Charge) -> None:
    """Charge for a new text of so many characters, or refuse it."""
    if length > TEXT:
        raise ValueError(f"{length:,} characters are more than the {TEXT:,} a text may have")
    if length > 512:
        charge(length * 3 >> 10 if length < TEXT >> 3 else length * 5 >> 9)


def number(value: Any) -> Any:
    """The value unless it is an integer that is too long, or complex."""
    if type(value) is int and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"an integer of more than {INT_BITS} bits is too large; use float")
    if type(value) is complex:
        raise ValueError("the result is no real number")
    return value


def plain(value: Any, charge: Charge) -> Any:
    """A merging value as its plain value, anything else as it is."""
    kind = type(value)
    if kind not in MERGED:
        return value
    charge(38)
    if kind is Counter:
        return value.total
    room_for_items(len(value), charge)
    return value.plain()


def collected(values: Any, charge: Charge) -> Any:
    """What can be walked through, charged for being copied; a generator as a list. Raises TypeError for anything else."""
    kind = type(values)
    if kind in ITERABLES:
        if kind in HASHED:
            charge(extent(values) * 7 >> 4)
        elif kind is range:
            charge(2 * len(values))
        elif kind in TEXTS:
            charge(len(values) * 7 >> 5)
        room_for_items(len(values), charge)
        return values
    if kind is GeneratorType:
        # Each of its rounds is charged as it is made.
        items = list(islice(values, ITEMS + 1))
        charge(5 * len(items))
        room_for_items(len(items), charge)
        return items
    return collected(_walkable(values, charge), charge)


def iterated(values: Any, charge: Charge) -> Iterable[Any]:
    """What a `for` may go through; each round is charged by the loop itself."""
    kind = type(values)
    if kind in HASHED:
        if len(values) + 64 < getsizeof(values) >> 9:
            charge(getsizeof(values) * 7 >> 12)
        walkable: Iterable[Any] = values
        return walkable
    if kind in ITERABLES or kind is GeneratorType:
        walkable = values
        return walkable
    return list(_walkable(values, charge))


def _walkable(values: Any, charge: Charge) -> Any:
    if type(values) in MERGED and type(values) is not Counter:
        return plain(values, charge)
    raise TypeError(f"a {kind_of(values)} cannot be walked through; a list, tuple, dict, set, text or range can")


def text(value: Any, charge: Charge) -> str:
    """`str(value)`, measured first. Raises TypeError for a function, which has no text but its address."""
    kind = type(value)
    if kind is str:
        same: str = value
        return same
    if kind in NUMBERS or value is None:
        if kind is int and not -KEY_MOST <= value <= KEY_MOST:
            charge(value.bit_length() >> 2)
        elif kind is float:
            charge(_decimal(value))
        return str(value)
    if isinstance(value, BaseException):
        charge(100)
        return error_text(value, charge)
    value = plain(value, charge)
    _room_to_show(value, 1, charge)
    return str(value)


def represented(value: Any, charge: Charge) -> str:
    """`repr(value)`, measured first."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}({error_text(value, charge)!r})"
    value = plain(value, charge)
    if type(value) is str:
        room_for_text(len(value), charge)
        charge(len(value) * 6 >> 5)
    else:
        _room_to_show(value, 4, charge)
    return repr(value)


def _room_to_show(value: Any, widest: int, charge: Charge) -> None:
    length = weigh(value, charge, written=True)
    room_for_text(widest * length, charge)
    charge(length * 3 >> 3)


def error_text(error: BaseException, charge: Charge = lambda units: None) -> str:
    """The text of an error, at most `ERROR_TEXT` characters. What it holds is cut before it is shown."""
    if isinstance(error, ImageError):
        return error.message[:ERROR_TEXT]
    args = error.args
    if len(args) == 1 and type(args[0]) is str:
        cut = args[0][:ERROR_TEXT]
        return represented(cut, charge)[:ERROR_TEXT] if isinstance(error, KeyError) else cut
    try:
        if sum(weigh(arg, charge) for arg in args) <= _SHOWN:
            return str(error)[:ERROR_TEXT]
    except (ValueError, TypeError):
        pass
    return f"with a {' and a '.join(map(kind_of, args[:8]))}"


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
    if kind is GeneratorType:
        return "generator"
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
