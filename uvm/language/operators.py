"""Operators of the language: Python's, but measured before they are carried out.

The compiler puts a call of one of these guards where a method's source has an operator, an item or an f-string. They are
called in the thread that runs the method and own nothing but a way to charge and to announce a change.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from uvm.language import bounds, texts
from uvm.language.bounds import LARGEST, NUMBERS, TEXTS, TickMeter, extent, number, places, plain, room_for_items, room_for_text
from uvm.objects import Counter, MergingSet

_MERGED: Final = frozenset("|&^-")
_SETS: Final = frozenset({set, frozenset})
_ROWS: Final = frozenset({list, tuple})
_NATIVE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "-": operator.sub,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
_IN_PLACE_ON_SETS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "|": operator.ior,
    "&": operator.iand,
    "-": operator.isub,
    "^": operator.ixor,
}
_LONG: Final = 1024
"""Texts up to this length are compared for the price of the operator."""
_FAR: Final = 1e22
"""Floats beyond it are shown by long division."""
_WIDE: Final = 2**64
"""Integers beyond it cost more than a machine's own."""


def _wide(value: Any) -> bool:
    return type(value) is int and not -_WIDE < value < _WIDE


class Operators:
    """The operators, charging to `meter` and announcing in-place changes through `mutating`."""

    def __init__(self, meter: TickMeter, mutating: Callable[[Any], None]) -> None:
        self._meter = meter
        self._charge = meter.charge
        self._mutating = mutating

    def add(self, left: Any, right: Any) -> Any:
        """`left + right`."""
        kind = type(left)
        if kind is int or kind is float:
            # One after the other: this is the path that loops run through.
            if type(right) in NUMBERS:
                result = left + right
                return result if -LARGEST <= result <= LARGEST else number(result)
        elif kind is str and type(right) is str:
            room_for_text(len(left) + len(right), self._charge)
            return left + right
        elif kind is bool and type(right) in NUMBERS:
            return number(left + right)
        elif kind in _ROWS and type(right) is kind:
            room_for_items(len(left) + len(right), self._charge)
            return left + right
        return self._arithmetic("+", operator.add, left, right)

    def multiply(self, left: Any, right: Any) -> Any:
        """`left * right`."""
        if type(left) in NUMBERS and type(right) in NUMBERS:
            result = left * right
            if -_WIDE < result < _WIDE:
                return result
            self._charge(60)
            return number(result)
        left, right = self._plain(left), self._plain(right)
        rows, times = (right, left) if type(left) in NUMBERS else (left, right)
        whole = type(times) is int or type(times) is bool
        if whole and type(rows) is str:
            room_for_text(len(rows) * max(0, times), self._charge)
            return rows * times
        if whole and type(rows) in _ROWS:
            room_for_items(len(rows) * max(0, times), self._charge)
            if 1 < len(rows) < times:
                # A single item is repeated at once, a row one by one.
                self._charge(len(rows) * times >> 3)
            return rows * times
        return self._arithmetic("*", operator.mul, left, right)

    def power(self, base: Any, exponent: Any) -> Any:
        """`base ** exponent`."""
        base, exponent = _whole(self._plain(base)), _whole(self._plain(exponent))
        # The product's length is known beforehand to within a bit for each factor.
        if type(base) is type(exponent) is int:
            if (abs(base).bit_length() - 1) * exponent > bounds.INT_BITS:
                raise ValueError(f"a power of more than {bounds.INT_BITS} bits is too large; use float")
            self._charge(40 + (exponent.bit_length() * 5 >> 2) + (min(max(0, base.bit_length() * exponent), bounds.INT_BITS) >> 4))
        try:
            return self._arithmetic("**", operator.pow, base, exponent)
        except OverflowError:
            raise ValueError("the power is too large for a float") from None

    def shift_left(self, left: Any, right: Any) -> Any:
        """`left << right`."""
        left, right = _whole(self._plain(left)), _whole(self._plain(right))
        if type(left) is int and type(right) is int and left.bit_length() + right > bounds.INT_BITS:
            raise ValueError(f"an integer of more than {bounds.INT_BITS} bits is too large")
        return self._arithmetic("<<", operator.lshift, left, right)

    def binary(self, symbol: str, left: Any, right: Any) -> Any:
        """The other operators: none of them makes much more than it is given."""
        kind = type(left)
        if kind in NUMBERS and type(right) in NUMBERS:
            result = _NATIVE[symbol](left, right)
            if kind is float or -_WIDE < left < _WIDE:
                return result
            self._charge(25 + (left.bit_length() >> 4))
            return number(result)
        if (kind in _SETS or kind is dict) and (type(right) in _SETS or type(right) is dict) and symbol in _MERGED:
            self._charge(130)
            self._charge(merged(symbol, left, right))
            return _NATIVE[symbol](left, right)
        return self._arithmetic(symbol, _NATIVE[symbol], left, right)

    def _plain(self, value: Any) -> Any:
        return plain(value, self._charge)

    def _arithmetic(self, symbol: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        left, right = self._plain(left), self._plain(right)
        if type(left) in NUMBERS and type(right) in NUMBERS:
            return number(function(left, right))
        if type(left) is list and type(right) is list and symbol == "+":
            return self.add(left, right)
        hint = "; use an f-string" if type(left) is str and symbol in "+%" else ""
        raise TypeError(f"{symbol} of a {bounds.kind_of(left)} and a {bounds.kind_of(right)} is not defined{hint}")

    def in_place(self, symbol: str, left: Any, right: Any) -> Any:
        """What `left` is after `left symbol= right`: lists, dicts, sets and counters change in place, as in Python."""
        kind = type(left)
        if symbol == "**" or symbol == "<<":
            self._charge(80)
        if kind is int or kind is float or kind is str or kind is bool:
            return BINARY[symbol](self, left, right)
        if kind is list and symbol == "+":
            right = bounds.taken(right, self._charge)
            room_for_items(len(left) + len(right), _free)
            self._mutating(left)
            left += right
            return left
        elif kind is list and symbol == "*":
            return self._replace(left, self.multiply(left, right))
        elif kind is dict and symbol == "|" and type(right) is dict:
            return self._update(left, right)
        elif kind is set and symbol in _IN_PLACE_ON_SETS and type(right) in _SETS:
            self._charge(130)
            self._charge(merged_into(symbol, left, right))
            self._mutating(left)
            return _IN_PLACE_ON_SETS[symbol](left, right)
        elif kind is Counter and symbol in "+-":
            amount = self._plain(right)
            if type(amount) not in NUMBERS:
                raise TypeError(f"a counter counts numbers, not a {bounds.kind_of(amount)}")
            amount = amount if symbol == "+" else -amount
            number(left.total + amount)
            left.add(amount)
            return left
        return BINARY[symbol](self, left, right)

    def _replace(self, target: list[Any], values: list[Any]) -> list[Any]:
        self._mutating(target)
        target[:] = values
        return target

    def _update(self, target: dict[Any, Any], values: dict[Any, Any]) -> dict[Any, Any]:
        room_for_items(len(target) + len(values), _free)
        self._charge(extent(values) * 2 if target else extent(values) >> 1)
        self._mutating(target)
        target.update(values)
        return target

    def minus(self, value: Any) -> Any:
        """`-value`."""
        value = self._plain(value)
        if type(value) not in NUMBERS:
            raise TypeError(f"- of a {bounds.kind_of(value)} is not defined")
        return -value

    # --- comparisons ---------------------------------------------------------------------------------------------

    def equal(self, left: Any, right: Any) -> Any:
        """`left == right`."""
        kind = type(left)
        if kind is type(right):
            if kind is int or kind is float:
                return left == right
            if kind in TEXTS:
                return left == right if len(left) <= _LONG or len(left) != len(right) else texts.equal(left, right, self._charge)
            if kind in bounds.HASHED:
                self._charge((8 if kind is dict else 4) * len(left))
        return self.weighed(left) == self.weighed(right)

    def contains(self, item: Any, container: Any) -> bool:
        """`item in container`."""
        kind = type(container)
        if kind in bounds.HASHED:
            return self.key(item) in container
        if kind in TEXTS and type(item) is kind:
            return texts.found(container, item, self._charge) >= 0
        if kind is MergingSet:
            return bool(container.has(self.key(item)))
        if kind is range:
            # Only for whole numbers does Python compute the answer; for others it looks at each.
            item = _whole(self._plain(item))
            return (type(item) is int or (type(item) is float and item.is_integer())) and int(item) in container
        container = self.weighed(container)
        self._charge(60 + (len(container) if type(container) in _ROWS else 0))
        return self.weighed(item) in container

    def weighed(self, value: Any) -> Any:
        """An operand of a comparison."""
        kind = type(value)
        if kind is int or kind is float or kind is bool or (kind is str and len(value) <= _LONG):
            return value
        return bounds.weighed(value, self._charge)

    def key(self, value: Any) -> Any:
        """A key of a dict, or a member of a set."""
        if type(value) is str and len(value) < 256:
            return value
        return bounds.key(value, self._meter)

    # --- items ---------------------------------------------------------------------------------------------------

    def cut(self, value: Any, low: Any, high: Any, step: Any) -> Any:
        """`value[low:high:step]`."""
        value = self._plain(value)
        piece = slice(self._plain(low), self._plain(high), self._plain(step))
        kind = type(value)
        if kind not in bounds.ITERABLES or kind in bounds.HASHED:
            raise TypeError(f"a {bounds.kind_of(value)} cannot be sliced; a list, tuple or text can")
        count = len(range(*piece.indices(len(value))))
        if kind in TEXTS:
            room_for_text(count, self._charge)
            if piece.step not in (None, 1):
                self._charge(count * 3 >> 6)
        elif kind is range:
            self._charge(80)
        else:
            room_for_items(count, self._charge)
            if piece.step not in (None, 1):
                self._charge(count >> 4)
        return value[piece]

    def item(self, container: Any, key: Any) -> Any:
        """`container[key]`."""
        kind = type(container)
        if kind is dict:
            return container[self.key(key)]
        if kind is list and type(key) is int:
            return container[key]
        return self._plain(container)[self._plain(key)]

    def set_item(self, container: Any, key: Any, value: Any) -> None:
        """`container[key] = value`."""
        if type(container) is dict:
            key = self.key(key)
        elif type(container) is not list:
            raise TypeError(f"items of a {bounds.kind_of(container)} cannot be assigned; those of a list or dict can")
        else:
            key = self._plain(key)
        self._mutating(container)
        container[key] = value

    def delete_item(self, container: Any, key: Any) -> None:
        """`del container[key]`."""
        if type(container) is dict:
            key = self.key(key)
        elif type(container) is not list:
            raise TypeError(f"items of a {bounds.kind_of(container)} cannot be deleted; those of a list or dict can")
        else:
            key = self._plain(key)
            self._charge(behind(container, key))
        self._mutating(container)
        del container[key]

    def delete_cut(self, container: Any, low: Any, high: Any, step: Any) -> None:
        """`del container[low:high:step]`."""
        if type(container) is not list:
            raise TypeError(f"a slice of a {bounds.kind_of(container)} cannot be deleted; that of a list can")
        piece = slice(self._plain(low), self._plain(high), self._plain(step))
        gone = range(*piece.indices(len(container)))
        each = len(gone) >> 5 if piece.step in (None, 1) else len(gone) * 3 >> 3
        self._charge(behind(container, min(gone[0], gone[-1])) + each if gone else 0)
        self._mutating(container)
        del container[piece]

    def text(self, value: Any) -> str:
        """`{value}` in an f-string."""
        return bounds.text(value, self._charge)

    def represented(self, value: Any) -> str:
        """`{value!r}` in an f-string."""
        return bounds.represented(value, self._charge)

    def formatted(self, value: Any, spec: str) -> str:
        """`{value:spec}` in an f-string; the compiler has checked the constant `spec`."""
        value = self._plain(value)
        if type(value) is str:
            pass  # one that is longer than any width of a format is not copied
        elif type(value) not in NUMBERS:
            raise TypeError(f"a {bounds.kind_of(value)} has no format; only numbers and texts have")
        elif type(value) is float and not -_FAR < value < _FAR:
            self._charge(1500)
        elif _wide(value):
            self._charge(120)
        return format(value, spec)

    def joined(self, *parts: str) -> str:
        """The parts of an f-string as one text."""
        if len(parts) == 1:
            return parts[0]
        room_for_text(sum(map(len, parts)), self._charge)
        return "".join(parts)

    def error_text(self, value: Any) -> str:
        """What an error is raised with."""
        return (value if type(value) is str else self.text(value))[: bounds.ERROR_TEXT]

    def iterated(self, values: Any) -> Any:
        """What a `for` or an assignment to several targets goes through."""
        if type(values) is list or type(values) is range:
            return values
        return bounds.iterated(values, self._charge)

    def spread(self, values: Any) -> Any:
        """`*values` in a call or a display."""
        return bounds.taken(values, self._charge)

    def spread_members(self, values: Any) -> Any:
        """`*values` in a set display."""
        return bounds.hashed(values, self._meter)

    def spread_pairs(self, values: Any) -> Any:
        """`**values` in a dict display."""
        if type(values) is not dict:
            raise TypeError(f"** needs a dict, not a {bounds.kind_of(values)}")
        self._charge(extent(values) * 3 >> 1)
        return values


def _whole(value: Any) -> Any:
    """A truth value as the integer that it is."""
    return int(value) if type(value) is bool else value


def merged(symbol: str, left: Any, right: Any) -> int:
    """Units for a new set or dict of two: the members of one are looked for in the other. Raises ValueError for one of too many."""
    if symbol == "&":
        return min(places(left), places(right)) * 15 >> 3
    if symbol == "-":
        return places(left) * 3 >> 2
    room_for_items(len(left) + len(right), _free)
    halves = places(left) + places(right)
    return ((len(left) + len(right)) * 3 >> 3) + (halves >> 1 if symbol == "|" else halves >> 2)


def merged_into(symbol: str, left: Any, right: Any) -> int:
    """Units for changing a set by another one. Raises ValueError for one that becomes too large."""
    if symbol == "&":
        return min(places(left), places(right)) * 15 >> 3
    if symbol == "-":
        return min(8 * extent(left), places(right) * 9 >> 4)
    room_for_items(len(left) + len(right), _free)
    return places(right) >> 1 if symbol == "^" else places(right)


def behind(container: list[Any], index: Any) -> int:
    """Units for moving what stands behind an item of a list."""
    if type(index) is not int:
        return 0
    return max(0, len(container) - index if index >= 0 else -index) >> 6


def _free(units: int) -> None:
    """Measure without charging: the cost is charged elsewhere."""


def _binary(symbol: str) -> Callable[[Operators, Any, Any], Any]:
    return lambda operators, left, right: operators.binary(symbol, left, right)


BINARY: Final[dict[str, Callable[[Operators, Any, Any], Any]]] = {
    "+": Operators.add,
    "*": Operators.multiply,
    "**": Operators.power,
    "<<": Operators.shift_left,
    **{symbol: _binary(symbol) for symbol in _NATIVE},
}
