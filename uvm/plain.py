"""The methods of plain and merging values that a method may call, by exact type.

Called from the send hook, in the thread that runs the method. Nothing is looked up on the value itself: a name outside
these tables does not exist, so neither `str.format` nor any attribute of Python's own can be reached. Each entry
charges by the size of what it makes, before it makes it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from uvm import bounds
from uvm.bounds import NUMBERS, Charge, room_for_items, room_for_text, taken, weigh, weighed
from uvm.objects import Counter, MergingQueue, MergingSet

Method = Callable[..., Any]


def plain_send(value: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], charge: Charge) -> Any:
    """Carry out `value.name(*args, **kwargs)` for a value that is no object of the image.

    Raises TypeError for a name that is not in the language, and whatever Python raises for these arguments.
    """
    method = METHODS.get(type(value), {}).get(name)
    if method is None:
        known = METHODS.get(type(value))
        allowed = f"; it has {', '.join(sorted(known))}" if known else ""
        raise TypeError(f"a {bounds.kind_of(value)} has no method {name}{allowed}")
    return method(charge, value, *args, **kwargs)


def plain_read(value: Any, name: str) -> Any:
    """`value.name` without a call: plain values have no attributes. Always raises TypeError."""
    if name in METHODS.get(type(value), {}):
        raise TypeError(f"{name} of a {bounds.kind_of(value)} must be called: {name}(…)")
    raise TypeError(f"a {bounds.kind_of(value)} has no attribute {name}")


def mutates(value: Any, name: str) -> bool:
    """Whether `value.name(…)` changes the value in place."""
    return name in MUTATORS.get(type(value), frozenset())


def _light(function: Method) -> Method:
    """A method that costs one pass over a text, and makes one no longer than about that."""

    def call(charge: Charge, value: str, *args: Any, **kwargs: Any) -> Any:
        if len(value) > 64:
            charge(len(value) >> 6)
        return function(value, *args, **kwargs)

    return call


def _padded(function: Method) -> Method:
    def call(charge: Charge, value: str, width: int, *fill: str) -> str:
        if type(width) is int:
            room_for_text(max(width, len(value)), charge)
        return function(value, width, *fill)  # type: ignore[no-any-return]  # a method of str that makes a str

    return call


def _searched(function: Method) -> Method:
    """`str.find` and the like: the worst case of a search is not linear, so a long one is charged by both lengths."""

    def call(charge: Charge, value: str, part: str, *span: int) -> int:
        if type(part) is str and len(value) > 64:
            charge((len(value) >> 6) * (1 + (len(part) >> 10)))
        return function(value, part, *span)  # type: ignore[no-any-return]  # a method of str that makes an int

    return call


def _split(function: Method) -> Method:
    def call(charge: Charge, value: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
        pieces = value.count(sep) + 1 if type(sep) is str and sep else (len(value) + 1) // 2
        if type(maxsplit) is int and maxsplit >= 0:
            pieces = min(pieces, maxsplit + 1)
        room_for_items(pieces, charge)
        charge(len(value) >> 6)
        return function(value, sep, maxsplit)  # type: ignore[no-any-return]  # a method of str that makes a list

    return call


def _lines(charge: Charge, value: str, keepends: bool = False) -> list[str]:
    room_for_items(len(value) if len(value) > bounds.ITEMS else value.count("\n") + 1, charge)
    charge(len(value) >> 4)
    return value.splitlines(keepends)


def _join(charge: Charge, value: str, parts: Iterable[str]) -> str:
    texts = list(taken(parts, charge))
    for index, part in enumerate(texts):
        if type(part) is not str:
            raise TypeError(f"join needs texts; item {index} is a {bounds.kind_of(part)}: use str(…)")
    room_for_text(sum(map(len, texts)) + len(value) * max(0, len(texts) - 1), charge)
    return value.join(texts)


def _replace(charge: Charge, value: str, old: str, new: str, count: int = -1) -> str:
    if type(old) is str and type(new) is str and type(count) is int:
        charge((len(value) >> 6) * (1 + (len(old) >> 10)))
        times = value.count(old) if count < 0 else min(count, value.count(old))
        room_for_text(len(value) + times * max(0, len(new) - len(old)), charge)
    return value.replace(old, new, count)


def _append(charge: Charge, value: list[Any], item: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.append(item)


def _insert(charge: Charge, value: list[Any], index: int, item: Any) -> None:
    room_for_items(len(value) + 1, charge)
    value.insert(index, item)


def _extend(charge: Charge, value: list[Any], items: Any) -> None:
    items = taken(items, charge)
    room_for_items(len(value) + len(items), charge)
    value.extend(items)


def _pop_item(charge: Charge, value: list[Any], index: int = -1) -> Any:
    charge(len(value) >> 6)
    return value.pop(index)


def _compared(function: Method) -> Method:
    """A method of a list or tuple that compares its argument with each item."""

    def call(charge: Charge, value: Any, item: Any, *span: int) -> Any:
        weigh(value, charge)
        return function(value, weighed(item, charge), *span)

    return call


def _sort(charge: Charge, value: list[Any], *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
    charge_sort(value, charge)
    value.sort(key=sort_key(key, charge), reverse=bool(reverse))


def charge_sort(values: Any, charge: Charge) -> None:
    """Charge for sorting: each value is compared about log n times."""
    weight = weigh(values, charge)
    charge((len(values) * len(values).bit_length() + (weight >> 3)) >> 2)


def sort_key(key: Callable[[Any], Any] | None, charge: Charge) -> Callable[[Any], Any]:
    """A key function whose results are measured; without one, counters still sort by their number."""
    if key is None:
        return lambda value: weighed(value, charge)
    return lambda value: weighed(key(value), charge)


def _sized(function: Method) -> Method:
    """A method that walks through the whole container."""

    def call(charge: Charge, value: Any) -> Any:
        room_for_items(len(value), charge)
        return function(value)

    return call


def _listed(function: Method) -> Method:
    """A dict's view as a list, so that the dict may change meanwhile and the result can be stored."""

    def call(charge: Charge, value: dict[Any, Any]) -> list[Any]:
        room_for_items(len(value), charge)
        return list(function(value))

    return call


def _keyed(function: Method) -> Method:
    """A method that hashes its first argument."""

    def call(charge: Charge, value: Any, key: Any, *rest: Any) -> Any:
        return function(value, weighed(key, charge), *rest)

    return call


def _update(charge: Charge, value: dict[Any, Any], pairs: Any = (), **more: Any) -> None:
    fresh = pairs_of(pairs, charge)
    room_for_items(len(value) + len(fresh) + len(more), charge)
    value.update(fresh, **more)


def pairs_of(pairs: Any, charge: Charge) -> dict[Any, Any]:
    """A dict of a dict or of pairs; keys are measured before they are hashed."""
    if type(pairs) is dict:
        room_for_items(len(pairs), charge)
        return pairs
    made: dict[Any, Any] = {}
    for pair in taken(pairs, charge):
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise ValueError(f"a dict is made of pairs (key, value), not of a {bounds.kind_of(pair)}")
        made[weighed(pair[0], charge)] = pair[1]
    return made


def members(values: Any, charge: Charge) -> Any:
    """Values that are about to be hashed."""
    values = taken(values, charge)
    weigh(values, charge)
    return values


def _with_sets(function: Method) -> Method:
    """A method of a set that takes other collections."""

    def call(charge: Charge, value: set[Any], *others: Any) -> Any:
        sets = [members(other, charge) for other in others]
        room_for_items(len(value) + sum(map(len, sets)), charge)
        return function(value, *sets)

    return call


def _count(charge: Charge, value: Counter, amount: Any = 1) -> Any:
    if type(amount) not in NUMBERS:
        raise TypeError(f"a counter counts numbers, not a {bounds.kind_of(amount)}")
    bounds.number(value.total + amount)
    return value.add(amount)


def _put_member(charge: Charge, value: MergingSet, member: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.add(_storable_member(member, charge))


def _storable_member(member: Any, charge: Charge) -> Any:
    member = weighed(member, charge)
    hash(member)
    return member


def _put(charge: Charge, value: MergingQueue, item: Any) -> None:
    room_for_items(len(value) + 1, _free)
    value.put(item)


def _take(charge: Charge, value: MergingQueue) -> Any:
    charge(len(value) >> 6)
    return value.take()


def _values(charge: Charge, value: MergingSet | MergingQueue) -> list[Any]:
    room_for_items(len(value), charge)
    return list(value.plain())


def _free(units: int) -> None:
    """Measure without charging: the cost was in the call."""


_SET_METHODS: Final[dict[str, Method]] = {
    "union": _with_sets(set.union),
    "intersection": _with_sets(set.intersection),
    "difference": _with_sets(set.difference),
    "copy": _sized(set.copy),
    "add": _keyed(set.add),
    "discard": _keyed(set.discard),
    "remove": _keyed(set.remove),
    "update": _with_sets(set.update),
    "clear": _sized(set.clear),
}

METHODS: Final[dict[type, dict[str, Method]]] = {
    str: {
        **{
            name: _light(getattr(str, name))
            for name in (
                "lower upper title capitalize strip lstrip rstrip startswith endswith isdigit isalpha isalnum isspace"
                " removeprefix removesuffix"
            ).split()
        },
        **{name: _padded(getattr(str, name)) for name in ("zfill", "center", "ljust", "rjust")},
        **{name: _searched(getattr(str, name)) for name in ("find", "count", "index")},
        "split": _split(str.split),
        "rsplit": _split(str.rsplit),
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
        "reverse": _sized(list.reverse),
        "copy": _sized(list.copy),
        "clear": _sized(list.clear),
        "sort": _sort,
    },
    dict: {
        "get": _keyed(dict.get),
        "pop": _keyed(dict.pop),
        "setdefault": _keyed(dict.setdefault),
        "keys": _listed(dict.keys),
        "values": _listed(dict.values),
        "items": _listed(dict.items),
        "copy": _sized(dict.copy),
        "clear": _sized(dict.clear),
        "update": _update,
    },
    set: _SET_METHODS,
    tuple: {"index": _compared(tuple.index), "count": _compared(tuple.count)},
    float: {"is_integer": lambda charge, value: value.is_integer()},
    Counter: {"add": _count, "value": lambda charge, value: value.total},
    MergingSet: {
        "add": _put_member,
        "discard": lambda charge, value, member: value.discard(weighed(member, charge)),
        "has": lambda charge, value, member: value.has(weighed(member, charge)),
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
