"""The names of the language: its functions, morphs, merging values and errors, and the methods of plain values.

A method sees these names and no others. They are made for one set of hooks and called in the thread that runs the
method; a function charges by the size of what it is given, before it starts.
"""

from collections.abc import Callable
from types import GeneratorType
from typing import Any, Final, NoReturn

from uvm import bounds
from uvm.bounds import NUMBERS, Charge, number, plain, room_for_items, taken, weigh
from uvm.errors import Declined
from uvm.objects import Counter, MergingQueue, MergingSet
from uvm.operators import Operators
from uvm.plain import charge_sort, members, mutates, pairs_of, plain_read, plain_send, sort_key

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
_WIDEST: Final = 10_000
_ABSENT: Final = object()


class Vocabulary:
    """The functions, bound to a way to charge and to the current receiver."""

    def __init__(self, charge: Charge, receiver: Callable[[], Any], operators: Operators) -> None:
        self._charge = charge
        self._receiver = receiver
        self._operators = operators

    def table(self) -> dict[str, Callable[..., Any]]:
        """Name → function, as a method's globals hold them."""
        return {name: getattr(self, _PREFIX + name) for name in NAMES}

    # --- numbers -------------------------------------------------------------------------------------------------

    def _do_abs(self, value: Any, /) -> Any:
        return abs(plain(value))

    def _do_divmod(self, left: Any, right: Any, /) -> Any:
        left, right = plain(left), plain(right)
        if type(left) not in NUMBERS or type(right) not in NUMBERS:
            raise TypeError(f"divmod of a {bounds.kind_of(left)} and a {bounds.kind_of(right)} is not defined")
        return divmod(left, right)

    def _do_round(self, value: Any, digits: Any = None, /) -> Any:
        value = plain(value)
        if type(value) not in NUMBERS:
            raise TypeError(f"round needs a number, not a {bounds.kind_of(value)}")
        if type(digits) is int and abs(digits) > 300:
            raise ValueError(f"round to {digits} digits; at most 300")
        try:
            return number(round(value, digits))
        except OverflowError:
            raise ValueError(f"{value} cannot be rounded to an integer") from None

    def _do_int(self, value: Any = 0, base: Any = _ABSENT, /) -> int:
        value = plain(value)
        if type(value) is str:
            if len(value) > _LONGEST_NUMERAL:
                raise ValueError(f"a numeral of {len(value):,} characters is too long; at most {_LONGEST_NUMERAL}")
            result: int = number(int(value) if base is _ABSENT else int(value, base))
            return result
        if type(value) not in NUMBERS or base is not _ABSENT:
            raise TypeError(f"int needs a number or a text, not a {bounds.kind_of(value)}")
        try:
            return int(value)
        except OverflowError:
            raise ValueError(f"{value} is no integer") from None

    def _do_float(self, value: Any = 0.0, /) -> float:
        value = plain(value)
        if type(value) is str and len(value) > _LONGEST_NUMERAL:
            raise ValueError(f"a numeral of {len(value):,} characters is too long; at most {_LONGEST_NUMERAL}")
        if type(value) is not str and type(value) not in NUMBERS:
            raise TypeError(f"float needs a number or a text, not a {bounds.kind_of(value)}")
        return float(value)

    def _do_bool(self, value: Any = False, /) -> bool:
        return bool(plain(value))

    def _do_sum(self, values: Any, /, start: Any = 0) -> Any:
        values = taken(values, self._charge)
        if type(start) in NUMBERS and NUMBERS.issuperset(map(type, values)):
            return number(sum(values, start))
        if type(start) is str:
            raise TypeError("sum adds numbers; ''.join(…) puts texts together")
        total = start.copy() if type(start) is list else start
        for value in values:
            self._charge(1)
            total = self._operators.add(total, value)
        return total

    # --- collections ---------------------------------------------------------------------------------------------

    def _do_len(self, value: Any, /) -> int:
        value = plain(value)
        if type(value) not in bounds.ITERABLES:
            raise TypeError(f"a {bounds.kind_of(value)} has no length; a text, list, tuple, dict, set or range has")
        return len(value)

    def _do_list(self, values: Any = (), /) -> list[Any]:
        return list(taken(values, self._charge))

    def _do_tuple(self, values: Any = (), /) -> tuple[Any, ...]:
        return tuple(taken(values, self._charge))

    def _do_set(self, values: Any = (), /) -> set[Any]:
        return set(members(values, self._charge))

    def _do_dict(self, pairs: Any = (), /, **more: Any) -> dict[Any, Any]:
        return dict(pairs_of(pairs, self._charge), **more)

    def _do_range(self, first: Any, last: Any = _ABSENT, step: Any = 1, /) -> range:
        bounds_of = [plain(value) for value in ((0, first, step) if last is _ABSENT else (first, last, step))]
        for value in bounds_of:
            if type(value) is int and abs(value) > _RANGE:
                raise ValueError(f"range up to {value} is too long")
        return range(*bounds_of)

    def _do_enumerate(self, values: Any, /, start: Any = 0) -> list[tuple[int, Any]]:
        return list(enumerate(taken(values, self._charge), start))

    def _do_zip(self, *rows: Any, strict: bool = False) -> list[tuple[Any, ...]]:
        walked = [taken(values, self._charge) for values in rows]
        if walked:
            room_for_items(min(map(len, walked)) * len(walked), self._charge)
        return list(zip(*walked, strict=bool(strict)))

    def _do_reversed(self, values: Any, /) -> list[Any]:
        values = taken(values, self._charge)
        if type(values) in (set, frozenset):
            raise TypeError("a set has no order; sorted(…) gives it one")
        return list(reversed(values))

    def _do_sorted(self, values: Any, /, *, key: Callable[[Any], Any] | None = None, reverse: Any = False) -> list[Any]:
        values = list(taken(values, self._charge))
        charge_sort(values, self._charge)
        return sorted(values, key=sort_key(key, self._charge), reverse=bool(reverse))

    def _do_max(self, *values: Any, key: Callable[[Any], Any] | None = None, default: Any = _ABSENT) -> Any:
        return self._extreme(max, values, key, default)

    def _do_min(self, *values: Any, key: Callable[[Any], Any] | None = None, default: Any = _ABSENT) -> Any:
        return self._extreme(min, values, key, default)

    def _extreme(self, pick: Any, values: tuple[Any, ...], key: Callable[[Any], Any] | None, default: Any) -> Any:
        candidates = list(taken(values[0], self._charge)) if len(values) == 1 else list(values)
        weigh(candidates, self._charge)
        if not candidates and default is not _ABSENT and len(values) == 1:
            return default
        return pick(candidates, key=sort_key(key, self._charge))

    def _do_any(self, values: Any, /) -> bool:
        values = values if type(values) is GeneratorType else taken(values, self._charge)
        return any(plain(value) for value in values)

    def _do_all(self, values: Any, /) -> bool:
        values = values if type(values) is GeneratorType else taken(values, self._charge)
        return all(plain(value) for value in values)

    # --- texts and types -----------------------------------------------------------------------------------------

    def _do_str(self, value: Any = "", /) -> str:
        return bounds.text(value, self._charge)

    def _do_isinstance_of(self, value: Any, kind: Any, /) -> bool:
        if type(kind) is not str or kind not in _KINDS:
            raise ValueError(f"isinstance_of knows {', '.join(sorted(_KINDS))}, not {_shown(kind)}")
        seen = bounds.kind_of(plain(value))
        # As in Python, a bool is an int too.
        return seen == kind or (kind == "int" and seen == "bool")

    def _do_decline(self, why: Any = "", /) -> NoReturn:
        reason = bounds.text(why, self._charge)[: bounds.ERROR_TEXT]
        raise Declined(reason, "say more about what the method should do, for instance by examples")

    # --- merging values ------------------------------------------------------------------------------------------

    def _do_counter(self, n: Any = 0, /) -> Counter:
        n = plain(n)
        if type(n) not in NUMBERS:
            raise TypeError(f"counter starts from a number, not a {bounds.kind_of(n)}")
        return Counter(n)

    def _do_merging_set(self, values: Any = (), /) -> MergingSet:
        return MergingSet(members(values, self._charge))

    def _do_merging_queue(self) -> MergingQueue:
        return MergingQueue()

    # --- morphs --------------------------------------------------------------------------------------------------

    def _do_column(self, *morphs: Any) -> dict[str, Any]:
        return {"morph": "column", "children": _children("column", morphs)}

    def _do_row(self, *morphs: Any) -> dict[str, Any]:
        return {"morph": "row", "children": _children("row", morphs)}

    def _do_label(self, text: Any, /) -> dict[str, Any]:
        return {"morph": "label", "text": bounds.text(text, self._charge)}

    def _do_field(self, name: Any, value: Any, /) -> dict[str, Any]:
        return {"morph": "field", "name": bounds.text(name, self._charge), "value": value, "target": self._receiver()}

    def _do_button(self, text: Any, selector: Any, /) -> dict[str, Any]:
        if type(selector) is not str or not selector.isidentifier() or selector.startswith("_"):
            raise ValueError(f"a button sends a selector, such as 'clone', not {_shown(selector)}")
        return {"morph": "button", "text": bounds.text(text, self._charge), "selector": selector, "target": self._receiver()}

    def _do_items(self, title: Any, values: Any, /) -> dict[str, Any]:
        return {"morph": "list", "title": bounds.text(title, self._charge), "values": list(taken(values, self._charge))}

    def _do_graph(self, title: Any, numbers: Any, /) -> dict[str, Any]:
        shown = [plain(value) for value in taken(numbers, self._charge)]
        for value in shown:
            if type(value) not in NUMBERS:
                raise TypeError(f"graph draws numbers, not a {bounds.kind_of(value)}")
        return {"morph": "graph", "title": bounds.text(title, self._charge), "numbers": shown}


def _children(morph: str, children: tuple[Any, ...]) -> list[Any]:
    if len(children) > _WIDEST:
        raise ValueError(f"{morph} of {len(children):,} morphs; at most {_WIDEST:,}")
    for child in children:
        if type(child) is not dict or "morph" not in child:
            raise TypeError(f"{morph} holds morphs, not a {bounds.kind_of(child)}: use label(…) or field(…, …)")
    return list(children)


def _shown(value: Any) -> str:
    return repr(value[:80]) if type(value) is str else f"a {bounds.kind_of(value)}"


_PREFIX: Final = "_do_"
_KINDS: Final = frozenset({"str", "int", "float", "bool", "list", "dict", "tuple", "set", "none", "object"})
