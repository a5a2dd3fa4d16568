"""The methods of plain and merging values that a method may call, by exact type.

Called from the send hook, in the thread that runs the method. Nothing is looked up on the value itself: a name outside
these tables does not exist, so neither `str.format` nor any attribute of Python's own can be reached. Each entry
charges by the size of what it makes, before it makes it.
"""

from collections.abc import Callable
from typing import Any, Final

from uvm.language import bounds
from uvm.language.arithmetic import merged, merged_into
from uvm.language.bounds import (
    NUMBERS,
    Charge,
    TickMeter,
    collected,
    extent,
    hashed,
    key,
    places,
    room_for_items,
    weigh,
    weighed,
)
from uvm.language.keys import LONG
from uvm.language.operators import behind
from uvm.language.text_methods import TEXT_METHODS, Method
from uvm.objects import Counter, MergingQueue, MergingSet

_FAR: Final = 131_072
"""Items of a container that is larger than the processor's caches."""
SORTED: Final = 200_000
"""Most items that are sorted at once, unless all are numbers: one call is never interrupted."""


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
    items = collected(items, meter.charge)
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
    rows = [collected(row, meter.charge) for row in collected(pairs, meter.charge)]
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
    str: TEXT_METHODS,
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
