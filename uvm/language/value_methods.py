"""The methods of plain and merging values that a method may call, by exact type.

Called from the send hook, in the thread that runs the method. Nothing is looked up on the value itself: a name outside
these tables does not exist, so neither `str.format` nor any attribute of Python's own can be reached. Each entry
charges by the size of what it makes, before it makes it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from uvm.language import bounds, texts
from uvm.language.bounds import (
    NUMBERS,
    Charge,
    TickMeter,
    extent,
    hashed,
    key,
    places,
    room_for_items,
    room_for_text,
    taken,
    weigh,
    weighed,
)
from uvm.language.keys import LONG
from uvm.language.operators import behind, merged, merged_into
from uvm.objects import Counter, MergingQueue, MergingSet

Method = Callable[..., Any]

_FAR: Final = 131_072
"""Items of a container that is larger than the processor's caches."""
SORTED: Final = 200_000
"""Most items that are sorted at once, unless all are numbers: one call is never interrupted."""
_BLOCK: Final = 512
"""Characters or items that are looked at before the next are charged."""


def plain_send(value: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], meter: TickMeter) -> Any:
    """Carry out `value.name(*args, **kwargs)` for a value that is no object of the image.

    Raises TypeError for a name that is not in the language, and whatever Python raises for these arguments.
    """
    method = METHODS.get(type(value), {}).get(name)
    if method is None:
        methods = METHODS.get(type(value))
        allowed = f"; it has {', '.join(sorted(methods))}" if methods else ""
        raise TypeError(f"a {bounds.kind_of(value)} has no method {name}{allowed}")
    return method(meter, value, *args, **kwargs)


def plain_read(value: Any, name: str) -> Any:
    """`value.name` without a call: plain values have no attributes. Always raises TypeError."""
    if name in METHODS.get(type(value), {}):
        raise TypeError(f"{name} of a {bounds.kind_of(value)} must be called: {name}(…)")
    raise TypeError(f"a {bounds.kind_of(value)} has no attribute {name}")


def mutates(value: Any, name: str) -> bool:
    """Whether `value.name(…)` changes the value in place."""
    return name in MUTATORS.get(type(value), frozenset())


# --- texts -----------------------------------------------------------------------------------------------------------


def _scanned(function: Method, narrow: int, wide: int, grows: int = 1) -> Method:
    """A method that looks at each character, at `narrow` units for 16 of them, or `wide` where the text is not all ASCII."""

    def call(meter: TickMeter, value: str) -> Any:
        length = len(value)
        if length > 32:
            ascii_only = value.isascii()
            if length * (1 if ascii_only else grows) > bounds.TEXT:
                room_for_text(length * grows, meter.charge)
            meter.charge((length * (narrow if ascii_only else wide)) >> 4)
        return function(value)

    return call


def _each(function: Method, dear: bool = False) -> Method:
    """Whether all characters are of a kind; the first that is not ends the search. `dear`: it takes Python longer to say."""

    def call(meter: TickMeter, value: str) -> bool:
        if len(value) <= _BLOCK or not function(value[:16]):
            return bool(function(value[:_BLOCK]))
        for first in range(0, len(value), _BLOCK):
            block = value[first : first + (_BLOCK)]
            meter.charge(15 + (len(block) >> (2 if dear else 3)))
            if not function(block):
                return False
        return True

    return call


def _stripped(function: Method, left: bool, right: bool) -> Method:
    def call(meter: TickMeter, value: str, chars: str | None = None) -> str:
        if chars is not None and type(chars) is not str:
            raise TypeError(f"strip takes a text, not a {bounds.kind_of(chars)}")
        if len(value) <= 64 and (chars is None or len(chars) <= 64):
            return function(value, chars)  # type: ignore[no-any-return]  # a method of str that makes a str
        first = texts.lead(value, chars, meter.charge) if left else 0
        last = len(value) - texts.lead(value[first:], chars, meter.charge, last=True) if right else len(value)
        if last - first < len(value):
            room_for_text(last - first, meter.charge)
            meter.charge(last - first >> (8 if value.isascii() else 7))
        return value[first:last]

    return call


def _affix(function: Method) -> Method:
    """`startswith` and `endswith`: of several, the first that fits ends the search."""

    def call(meter: TickMeter, value: str, affixes: Any, *span: Any) -> bool:
        if type(affixes) is str and len(affixes) <= 512:
            return function(value, affixes, *span)  # type: ignore[no-any-return]  # a method of str that makes a bool
        meter.charge(70)
        for affix in affixes if type(affixes) is tuple else (affixes,):
            if type(affix) is not str:
                raise TypeError(f"a text begins and ends with texts, not with a {bounds.kind_of(affix)}")
            if type(affixes) is tuple:
                meter.charge(35)
            room_for_text(len(affix), meter.charge)
            if function(value, affix, *span):
                return True
        return False

    return call


def _without(function: Method, there: Method) -> Method:
    """`removeprefix` and `removesuffix`."""

    def call(meter: TickMeter, value: str, affix: str) -> str:
        meter.charge(75 + (len(_text(affix)) >> 9))
        room_for_text(len(affix), meter.charge)
        if there(value, affix):
            room_for_text(len(value) - len(affix), meter.charge)
        return function(value, affix)  # type: ignore[no-any-return]  # a method of str that makes a str

    return call


def _padded(function: Method) -> Method:
    def call(meter: TickMeter, value: str, width: int, *fill: str) -> str:
        meter.charge(45)
        if type(width) is int:
            room_for_text(max(width, len(value)), meter.charge)
        return function(value, width, *fill)  # type: ignore[no-any-return]  # a method of str that makes a str

    return call


def _text(part: Any) -> str:
    if type(part) is not str:
        raise TypeError(f"a text is searched for texts, not for a {bounds.kind_of(part)}")
    return part


def _find(meter: TickMeter, value: str, part: str, *span: int) -> int:
    return texts.found(value, _text(part), meter.charge, *span)


def _index(meter: TickMeter, value: str, part: str, *span: int) -> int:
    place = texts.found(value, _text(part), meter.charge, *span)
    if place < 0:
        raise ValueError("substring not found")
    return place


def _count_text(meter: TickMeter, value: str, part: str, *span: int) -> int:
    if len(value) > 32:
        first, last, _ = slice(*(span or (None,)), *((None,) if len(span) == 1 else ())).indices(len(value))
        texts.search_cost(value, _text(part), first, last)(meter.charge)
        if len(part) == 1:
            meter.charge((last - first) >> 5)
    return value.count(part, *span)


def _split(from_right: bool) -> Method:
    def call(meter: TickMeter, value: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
        limit = maxsplit if type(maxsplit) is int and maxsplit >= 0 else bounds.ITEMS + 1
        if len(value) > 32:
            if sep is None:
                # Every second character at most; a fifth of a text is usual.
                pieces = min((len(value) + 4) // 5, limit + 1)
                if len(value) > 2 * bounds.ITEMS and limit > bounds.ITEMS:
                    raise ValueError(f"a text of more than {2 * bounds.ITEMS:,} characters is split with a separator")
                meter.charge(len(value) >> 4)
            else:
                pieces = min(_count_text(meter, value, sep) + 1, limit + 1)
                texts.search_cost(value, sep, 0, len(value))(meter.charge)
                room_for_items(pieces, meter.charge)
                room_for_text(len(value), meter.charge)
            # Pieces that are empty are one and the same.
            filled = pieces if sep is None else min(pieces, max(0, len(value) - (pieces - 1) * len(sep)))
            meter.charge(pieces + 2 * filled)
        if from_right and sep and len(sep) > 1:
            # Python looks from the right in steps that can be made to cost the product of both lengths.
            meter.charge(len(value) >> 3)
            return [piece[::-1] for piece in reversed(value[::-1].split(sep[::-1], maxsplit))]
        made = value.rsplit(sep, maxsplit) if from_right else value.split(sep, maxsplit)
        if sep is None and len(made) > len(value) // 5:
            meter.charge(3 * (len(made) - len(value) // 5))
        return made

    return call


def _lines(meter: TickMeter, value: str, keepends: bool = False) -> list[str]:
    meter.charge(len(value) * 5 >> 6)
    lines = value.splitlines(bool(keepends)) if len(value) <= bounds.ITEMS else _few_lines(value, bool(keepends))
    meter.charge(len(lines) * 3 >> 2)
    return lines


def _few_lines(value: str, keepends: bool) -> list[str]:
    if sum(map(value.count, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")) >= bounds.ITEMS:
        raise ValueError(f"more lines than the {bounds.ITEMS:,} items that a list may hold")
    return value.splitlines(keepends)


def _join(meter: TickMeter, value: str, parts: Iterable[str]) -> str:
    pieces = list(taken(parts, meter.charge))
    meter.charge(100 + 6 * len(pieces))
    for index, part in enumerate(pieces):
        if type(part) is not str:
            raise TypeError(f"join needs texts; item {index} is a {bounds.kind_of(part)}: use str(…)")
    room_for_text(sum(map(len, pieces)) + len(value) * max(0, len(pieces) - 1), meter.charge)
    return value.join(pieces)


def _replace(meter: TickMeter, value: str, old: str, new: str, count: int = -1) -> str:
    if len(value) > 32 or not old:
        times = _count_text(meter, value, _text(old))
        times = times if count < 0 else min(count, times)
        room_for_text(len(value) + times * max(0, len(_text(new)) - len(old)), meter.charge)
        texts.search_cost(value, old, 0, len(value))(meter.charge)
        each = 1 if len(old) == len(new) == 1 else 9 if old else 2
        meter.charge((len(value) >> 5) + (times * each >> 3))
    return value.replace(old, new, count)


# --- collections -----------------------------------------------------------------------------------------------------


def _append(meter: TickMeter, value: list[Any], item: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.append(item)


def _insert(meter: TickMeter, value: list[Any], index: int, item: Any) -> None:
    room_for_items(len(value) + 1, _free)
    meter.charge(2 * behind(value, index))
    value.insert(index, item)


def _extend(meter: TickMeter, value: list[Any], items: Any) -> None:
    meter.charge(35)
    items = taken(items, meter.charge)
    room_for_items(len(value) + len(items), _free)
    value.extend(items)


def _pop_item(meter: TickMeter, value: list[Any], index: int = -1) -> Any:
    meter.charge(behind(value, index))
    return value.pop(index)


def _compared(function: Method) -> Method:
    """A method of a list or tuple that compares its argument with each item."""

    def call(meter: TickMeter, value: Any, item: Any, *span: int) -> Any:
        weigh(value, meter.charge)
        meter.charge(70 + len(value))
        return function(value, weighed(item, meter.charge), *span)

    return call


def _sort(meter: TickMeter, value: list[Any], *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
    charge_sort(value, meter.charge, key is not None)
    value.sort(key=sort_key(key, meter.charge), reverse=bool(reverse))


def charge_sort(values: Any, charge: Charge, keyed: bool = False) -> None:
    """Charge for sorting: each value is compared about log n times; `keyed`: by what a function makes of it.

    Raises ValueError for too many.
    """
    if len(values) > SORTED and (keyed or not NUMBERS.issuperset(map(type, values))):
        raise ValueError(f"{len(values):,} values are more than the {SORTED:,} that are sorted at once; without a key, more numbers are")
    weight = weigh(values, charge)
    count = len(values)
    charge(100 + count * ((6 if count < _FAR else 20) + count.bit_length() // 2))
    if weight > 64 * count:
        # Long values: their beginnings may be the same.
        charge((weight >> 9) * count.bit_length())


def sort_key(key: Callable[[Any], Any] | None, charge: Charge) -> Callable[[Any], Any]:
    """A key function whose results are measured; without one, counters still sort by their number."""
    if key is None:
        return lambda value: weighed(value, charge)
    return lambda value: weighed(key(value), charge)


def _walked(function: Method, units: int) -> Method:
    """A method that walks through the whole container, so many units for 128 of its places."""

    def call(meter: TickMeter, value: Any) -> Any:
        meter.charge(8 + (extent(value) * units >> 7 if len(value) < _FAR else extent(value) * 3 >> 2))
        return function(value)

    return call


def _listed(function: Method, units: int, far: int) -> Method:
    """A dict's view as a list, so that the dict may change meanwhile and the result can be stored.

    So many units for eight items, `far` where they are many.
    """

    def call(meter: TickMeter, value: dict[Any, Any]) -> list[Any]:
        meter.charge(20 + (extent(value) * 3 + len(value) * (units if len(value) < 4096 else far) >> 3))
        return list(function(value))

    return call


def _keyed(function: Method) -> Method:
    """A method that hashes its first argument."""

    def call(meter: TickMeter, value: Any, item: Any, *rest: Any) -> Any:
        return function(value, key(item, meter), *rest)

    return call


def _grown(function: Method) -> Method:
    """A method that hashes its first argument, and may keep it."""

    def call(meter: TickMeter, value: Any, item: Any, *rest: Any) -> Any:
        room_for_items(len(value) + 1, _free)
        item = key(item, meter)
        if type(item) is str and len(item) > LONG and item not in value:
            meter.charge(len(item) >> 6)
        return function(value, item, *rest)

    return call


def _update(meter: TickMeter, value: dict[Any, Any], pairs: Any = (), **more: Any) -> None:
    fresh = pairs_of(pairs, meter)
    room_for_items(len(value) + len(fresh) + len(more), _free)
    if value:
        meter.charge(extent(fresh) * 3 >> 1)
    value.update(fresh, **more)


def pairs_of(pairs: Any, meter: TickMeter) -> dict[Any, Any]:
    """What `dict` and `update` take: a dict, or pairs."""
    if type(pairs) is dict:
        meter.charge(50 + (extent(pairs) >> 1))
        return pairs
    rows = [taken(row, meter.charge) for row in taken(pairs, meter.charge)]
    meter.charge(50 * len(rows))
    if any(len(row) != 2 for row in rows):
        raise ValueError("pairs are needed: each of two values")
    keys, values = zip(*rows, strict=True) if rows else ((), ())
    return dict(zip(hashed(keys, meter), values, strict=True))


def _with_sets(function: Method, cost: Callable[[str, Any, Any], int], symbol: str) -> Method:
    """A method of a set that takes other collections, at the cost of the operator for each; what is no set is paid by being hashed."""

    def call(meter: TickMeter, value: set[Any], *others: Any) -> Any:
        sets = [operand if type(operand) is set else hashed(operand, meter) for operand in others]
        room_for_items(len(value) + sum(map(len, sets)), _free)
        meter.charge(230 + sum(cost(symbol, value, operand) if type(operand) is set else places(value) >> 1 for operand in sets))
        return function(value, *sets)

    return call


# --- merging values --------------------------------------------------------------------------------------------------


def _count(meter: TickMeter, value: Counter, amount: Any = 1) -> Any:
    if type(amount) not in NUMBERS:
        raise TypeError(f"a counter counts numbers, not a {bounds.kind_of(amount)}")
    bounds.number(value.total + amount)
    return value.add(amount)


def _put_member(meter: TickMeter, value: MergingSet, member: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.add(key(member, meter))


def _put(meter: TickMeter, value: MergingQueue, item: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.put(item)


def _take(meter: TickMeter, value: MergingQueue) -> Any:
    meter.charge(len(value) >> 6)
    return value.take()


def _values(meter: TickMeter, value: MergingSet | MergingQueue) -> list[Any]:
    meter.charge(30 + (len(value) * 3 >> 3 if type(value) is MergingSet else 0))
    return bounds.plain(value, meter.charge)  # type: ignore[no-any-return]  # a merging value as a list


def _free(units: int) -> None:
    """Measure without charging: the cost was in the call."""


_SET_METHODS: Final[dict[str, Method]] = {
    "union": _with_sets(set.union, merged, "|"),
    "intersection": _with_sets(set.intersection, merged, "&"),
    "difference": _with_sets(set.difference, merged, "-"),
    "copy": _walked(set.copy, 92),
    "add": _grown(set.add),
    "discard": _keyed(set.discard),
    "remove": _keyed(set.remove),
    "update": _with_sets(set.update, merged_into, "|"),
    "clear": _walked(set.clear, 12),
}

METHODS: Final[dict[type, dict[str, Method]]] = {
    str: {
        "lower": _scanned(str.lower, 1, 8, 3),
        "upper": _scanned(str.upper, 1, 8, 3),
        "title": _scanned(str.title, 12, 13, 3),
        "capitalize": _scanned(str.capitalize, 7, 8, 3),
        **{name: _each(getattr(str, name)) for name in ("isdigit", "isspace")},
        **{name: _each(getattr(str, name), dear=True) for name in ("isalpha", "isalnum")},
        "strip": _stripped(str.strip, True, True),
        "lstrip": _stripped(str.lstrip, True, False),
        "rstrip": _stripped(str.rstrip, False, True),
        "startswith": _affix(str.startswith),
        "endswith": _affix(str.endswith),
        "removeprefix": _without(str.removeprefix, str.startswith),
        "removesuffix": _without(str.removesuffix, str.endswith),
        **{name: _padded(getattr(str, name)) for name in ("zfill", "center", "ljust", "rjust")},
        "find": _find,
        "index": _index,
        "count": _count_text,
        "split": _split(False),
        "rsplit": _split(True),
        "splitlines": _lines,
        "join": _join,
        "replace": _replace,
    },
    list: {
        "append": _append,
        "extend": _extend,
        "insert": _insert,
        "pop": _pop_item,
        "remove": _compared(list.remove),
        "index": _compared(list.index),
        "count": _compared(list.count),
        "reverse": _walked(list.reverse, 3),
        "copy": _walked(list.copy, 24),
        "clear": _walked(list.clear, 4),
        "sort": _sort,
    },
    dict: {
        "get": _keyed(dict.get),
        "pop": _keyed(dict.pop),
        "setdefault": _grown(dict.setdefault),
        "keys": _listed(dict.keys, 2, 2),
        "values": _listed(dict.values, 2, 2),
        "items": _listed(dict.items, 26, 78),
        "copy": _walked(dict.copy, 56),
        "clear": _walked(dict.clear, 20),
        "update": _update,
    },
    set: _SET_METHODS,
    tuple: {"index": _compared(tuple.index), "count": _compared(tuple.count)},
    float: {"is_integer": lambda meter, value: value.is_integer()},
    Counter: {"add": _count, "value": lambda meter, value: value.total},
    MergingSet: {
        "add": _put_member,
        "discard": lambda meter, value, member: value.discard(key(member, meter)),
        "has": lambda meter, value, member: value.has(key(member, meter)),
        "values": _values,
    },
    MergingQueue: {"put": _put, "take": _take, "values": _values},
}
"""Type → the methods its values have."""

MUTATORS: Final[dict[type, frozenset[str]]] = {
    list: frozenset({"append", "extend", "insert", "pop", "remove", "reverse", "sort", "clear"}),
    dict: frozenset({"pop", "setdefault", "update", "clear"}),
    set: frozenset({"add", "discard", "remove", "update", "clear"}),
    Counter: frozenset({"add"}),
    MergingSet: frozenset({"add", "discard"}),
    MergingQueue: frozenset({"put", "take"}),
}
"""Type → those that change the value in place."""
