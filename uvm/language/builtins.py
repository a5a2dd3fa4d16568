"""The names of the language: its functions, morphs, merging values and errors, and the methods of plain values.

A method sees these names and no others. They are made for one set of hooks and called in the thread that runs the
method; a function charges by the size of what it is given, before it starts.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from types import GeneratorType
from typing import Any, Final, NoReturn

from uvm.errors import Declined
from uvm.language import bounds
from uvm.language.bounds import KEY_MOST, NUMBERS, TickMeter, collected, hashed, number, room_for_items, weigh
from uvm.language.operators import Operators
from uvm.language.value_methods import charge_sort, mutates, pairs_of, plain_read, plain_send, sort_key
from uvm.objects import Counter, MergingQueue, MergingSet

__all__ = ["ERRORS", "FUNCTIONS", "MERGING", "MORPHS", "NAMES", "Vocabulary", "mutates", "plain_read", "plain_send"]

FUNCTIONS: Final = tuple(
    "abs all any bool dict divmod enumerate float int len list max min range reversed round set sorted str sum tuple zip"
    " isinstance_of decline".split()
)
MORPHS: Final = ("column", "row", "label", "field", "button", "items", "graph")
MERGING: Final = ("counter", "merging_set", "merging_queue")
NAMES: Final = frozenset(FUNCTIONS + MORPHS + MERGING)
"""Everything that a method may call by its plain name."""

ERRORS: Final[dict[str, type[Exception]]] = {
    error.__name__: error for error in (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, Exception)
}
"""What a method may raise and catch."""

_LONGEST_NUMERAL: Final = 400
_RANGE: Final = 2**53
_CACHED: Final = 131_072
_WIDEST: Final = 10_000
_BLOCK: Final = 1024
_ABSENT: Final = object()


class Vocabulary:
    """The functions, bound to a way to charge and to the current receiver."""

    def __init__(self, meter: TickMeter, receiver: Callable[[], Any], operators: Operators) -> None:
        self._meter = meter
        self._charge = meter.charge
        self._receiver = receiver
        self._operators = operators

    def table(self) -> dict[str, Callable[..., Any]]:
        """Name → function, as a method's globals hold them."""
        return {name: getattr(self, _PREFIX + name) for name in NAMES}

    def _plain(self, value: Any) -> Any:
        return bounds.plain(value, self._charge)

    # --- numbers -------------------------------------------------------------------------------------------------

    def _do_abs(self, value: Any, /) -> Any:
        value = self._plain(value)
        if type(value) not in NUMBERS:
            raise TypeError(f"abs needs a number, not a {bounds.kind_of(value)}")
        return abs(value)

    def _do_divmod(self, left: Any, right: Any, /) -> Any:
        left, right = self._plain(left), self._plain(right)
        if type(left) not in NUMBERS or type(right) not in NUMBERS:
            raise TypeError(f"divmod of a {bounds.kind_of(left)} and a {bounds.kind_of(right)} is not defined")
        self._charge(max(left.bit_length() >> 4, 0) if type(left) is int else 0)
        return divmod(left, right)

    def _do_round(self, value: Any, digits: Any = None, /) -> Any:
        value = self._plain(value)
        if type(value) not in NUMBERS:
            raise TypeError(f"round needs a number, not a {bounds.kind_of(value)}")
        if type(digits) is int and abs(digits) > 300:
            raise ValueError(f"round to {_shown(digits)} digits; at most 300")
        if type(digits) is int and type(value) is float:
            self._charge(40)
        if type(digits) is int and abs(digits) > 22:
            self._charge(110)
        try:
            return number(round(value, digits))
        except OverflowError:
            raise ValueError(f"{_shown(value)} cannot be rounded to an integer") from None

    def _do_int(self, value: Any = 0, base: Any = _ABSENT, /) -> int:
        value = self._plain(value)
        if type(value) is str:
            if len(value) > _LONGEST_NUMERAL:
                raise ValueError(f"a numeral of {len(value):,} characters is too long; at most {_LONGEST_NUMERAL}")
            self._charge(50 + (len(value) >> 1 if len(value) > 32 else 0))
            result: int = number(int(value) if base is _ABSENT else int(value, base))
            return result
        if type(value) not in NUMBERS or base is not _ABSENT:
            raise TypeError(f"int needs a number or a text, not a {bounds.kind_of(value)}")
        try:
            return int(value)
        except OverflowError:
            raise ValueError(f"{_shown(value)} is no integer") from None

    def _do_float(self, value: Any = 0.0, /) -> float:
        value = self._plain(value)
        if type(value) is str and len(value) > _LONGEST_NUMERAL:
            raise ValueError(f"a numeral of {len(value):,} characters is too long; at most {_LONGEST_NUMERAL}")
        if type(value) is str:
            self._charge(25 + (len(value) * 3 >> 3))
        if type(value) is not str and type(value) not in NUMBERS:
            raise TypeError(f"float needs a number or a text, not a {bounds.kind_of(value)}")
        return float(value)

    def _do_bool(self, value: Any = False, /) -> bool:
        return bool(value)

    def _do_sum(self, values: Any, /, start: Any = 0) -> Any:
        values = collected(values, self._charge)
        self._charge(3 * len(values))
        if type(start) in NUMBERS and NUMBERS.issuperset(map(type, values)):
            total = sum(values, start)
            if not -KEY_MOST < total < KEY_MOST:
                self._charge(3 * len(values))
            return number(total)
        if type(start) is str:
            raise TypeError("sum adds numbers; ''.join(…) puts texts together")
        total = start
        if type(start) is list:
            room_for_items(len(start), self._charge)
            total = start.copy()
        for value in values:
            self._charge(40)
            total = self._operators.add(total, value)
        return total

    # --- collections ---------------------------------------------------------------------------------------------

    def _do_len(self, value: Any, /) -> int:
        if type(value) not in bounds.ITERABLES and type(value) not in (MergingSet, MergingQueue):
            raise TypeError(f"a {bounds.kind_of(value)} has no length; a text, list, tuple, dict, set or range has")
        return len(value)

    def _do_list(self, values: Any = (), /) -> list[Any]:
        return list(collected(values, self._charge))

    def _do_tuple(self, values: Any = (), /) -> tuple[Any, ...]:
        return tuple(collected(values, self._charge))

    def _do_set(self, values: Any = (), /) -> set[Any]:
        return set(hashed(values, self._meter))

    def _do_dict(self, pairs: Any = (), /, **more: Any) -> dict[Any, Any]:
        return dict(pairs_of(pairs, self._meter), **more)

    def _do_range(self, first: Any, last: Any = _ABSENT, step: Any = 1, /) -> range:
        bounds_of = [self._plain(value) for value in ((0, first, step) if last is _ABSENT else (first, last, step))]
        for value in bounds_of:
            if type(value) is int and abs(value) > _RANGE:
                raise ValueError(f"range up to {_shown(value)} is too long")
        return range(*bounds_of)

    def _do_enumerate(self, values: Any, /, start: Any = 0) -> list[tuple[int, Any]]:
        values = collected(values, self._charge)
        self._charge((9 if len(values) < _CACHED else 18) * len(values))
        return list(enumerate(values, number(start)))

    def _do_zip(self, *rows: Any, strict: bool = False) -> list[tuple[Any, ...]]:
        walked = [collected(values, self._charge) for values in rows]
        if walked:
            shortest = min(map(len, walked))
            room_for_items(shortest * len(walked), self._charge)
            self._charge(shortest * (5 + len(walked)))
        return list(zip(*walked, strict=bool(strict)))

    def _do_reversed(self, values: Any, /) -> list[Any]:
        values = collected(values, self._charge)
        if type(values) in (set, frozenset):
            raise TypeError("a set has no order; sorted(…) gives it one")
        self._charge(len(values) * 3 >> 4)
        return list(reversed(values))

    def _do_sorted(self, values: Any, /, *, key: Callable[[Any], Any] | None = None, reverse: Any = False) -> list[Any]:
        values = list(collected(values, self._charge))
        charge_sort(values, self._charge, key is not None)
        return sorted(values, key=sort_key(key, self._charge), reverse=bool(reverse))

    def _do_max(self, *values: Any, key: Callable[[Any], Any] | None = None, default: Any = _ABSENT) -> Any:
        return self._extreme(max, values, key, default)

    def _do_min(self, *values: Any, key: Callable[[Any], Any] | None = None, default: Any = _ABSENT) -> Any:
        return self._extreme(min, values, key, default)

    def _extreme(self, pick: Any, values: tuple[Any, ...], key: Callable[[Any], Any] | None, default: Any) -> Any:
        candidates = list(collected(values[0], self._charge)) if len(values) == 1 else list(values)
        weigh(candidates, self._charge)
        self._charge(9 * len(candidates))
        if not candidates and default is not _ABSENT and len(values) == 1:
            return default
        return pick(candidates, key=sort_key(key, self._charge))

    def _do_any(self, values: Any, /) -> bool:
        return any(any(block) for block in self._blocks(values))

    def _do_all(self, values: Any, /) -> bool:
        return all(all(block) for block in self._blocks(values))

    def _blocks(self, values: Any) -> Iterator[Any]:
        """Values that may not all be needed: each block is charged before it is looked at."""
        if type(values) is GeneratorType:
            yield values
            return
        rows = values if type(values) in bounds.ITERABLES else collected(values, self._charge)
        walk, rest, size = iter(bounds.iterated(rows, self._charge)), len(rows), 16
        while rest > 0:
            self._charge(20 + min(size, rest))
            yield islice(walk, size)
            rest, size = rest - size, min(2 * size, _BLOCK)

    # --- texts and types -----------------------------------------------------------------------------------------

    def _do_str(self, value: Any = "", /) -> str:
        return bounds.text(value, self._charge)

    def _do_isinstance_of(self, value: Any, kind: Any, /) -> bool:
        if type(kind) is not str or kind not in _KINDS:
            raise ValueError(f"isinstance_of knows {', '.join(sorted(_KINDS))}, not {_shown(kind)}")
        actual = _MERGED.get(type(value)) or bounds.kind_of(self._plain(value))
        # As in Python, a bool is an int too.
        return actual == kind or (kind == "int" and actual == "bool")

    def _do_decline(self, why: Any = "", /) -> NoReturn:
        reason = bounds.text(why, self._charge)[: bounds.ERROR_TEXT]
        raise Declined(reason, "say more about what the method should do, for instance by examples")

    # --- merging values ------------------------------------------------------------------------------------------

    def _do_counter(self, n: Any = 0, /) -> Counter:
        n = self._plain(n)
        if type(n) not in NUMBERS:
            raise TypeError(f"counter starts from a number, not a {bounds.kind_of(n)}")
        return Counter(n)

    def _do_merging_set(self, values: Any = (), /) -> MergingSet:
        return MergingSet(hashed(values, self._meter))

    def _do_merging_queue(self) -> MergingQueue:
        return MergingQueue()

    # --- morphs --------------------------------------------------------------------------------------------------

    def _do_column(self, *morphs: Any) -> dict[str, Any]:
        return {"morph": "column", "children": self._children("column", morphs)}

    def _do_row(self, *morphs: Any) -> dict[str, Any]:
        return {"morph": "row", "children": self._children("row", morphs)}

    def _do_label(self, text: Any, /) -> dict[str, Any]:
        return {"morph": "label", "text": bounds.text(text, self._charge)}

    def _do_field(self, name: Any, value: Any, /) -> dict[str, Any]:
        return {"morph": "field", "name": bounds.text(name, self._charge), "value": value, "target": self._receiver()}

    def _do_button(self, text: Any, selector: Any, /) -> dict[str, Any]:
        if type(selector) is not str or not selector.isidentifier() or selector.startswith("_"):
            raise ValueError(f"a button sends a selector, such as 'clone', not {_shown(selector)}")
        return {"morph": "button", "text": bounds.text(text, self._charge), "selector": selector, "target": self._receiver()}

    def _do_items(self, title: Any, values: Any, /) -> dict[str, Any]:
        return {"morph": "list", "title": bounds.text(title, self._charge), "values": list(collected(values, self._charge))}

    def _do_graph(self, title: Any, numbers: Any, /) -> dict[str, Any]:
        numbers = collected(numbers, self._charge)
        self._charge(12 * len(numbers))
        plain = [self._plain(value) for value in numbers]
        for value in plain:
            if type(value) not in NUMBERS:
                raise TypeError(f"graph draws numbers, not a {bounds.kind_of(value)}")
        return {"morph": "graph", "title": bounds.text(title, self._charge), "numbers": plain}

    def _children(self, morph: str, children: tuple[Any, ...]) -> list[Any]:
        if len(children) > _WIDEST:
            raise ValueError(f"{morph} of {len(children):,} morphs; at most {_WIDEST:,}")
        self._charge(4 * len(children))
        for child in children:
            if type(child) is not dict or "morph" not in child:
                raise TypeError(f"{morph} holds morphs, not a {bounds.kind_of(child)}: use label(…) or field(…, …)")
        return list(children)


def _shown(value: Any) -> str:
    if type(value) is str:
        return repr(value[:80])
    return str(value) if type(value) in NUMBERS else f"a {bounds.kind_of(value)}"


_PREFIX: Final = "_do_"
_MERGED: Final[dict[type, str]] = {MergingSet: "list", MergingQueue: "list"}
_KINDS: Final = frozenset({"str", "int", "float", "bool", "list", "dict", "tuple", "set", "none", "object"})
