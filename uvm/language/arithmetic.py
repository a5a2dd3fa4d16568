"""Arithmetic of the language: Python's, but measured before it is carried out. Numbers, texts, lists, sets and dicts.

Called in the thread that runs the method; owns nothing but a way to charge and to announce a change. `operators` has the rest of what a
method's operators become.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from uvm.language import bounds
from uvm.language.bounds import LARGEST, NUMBERS, TickMeter, extent, number, places, plain, room_for_items, room_for_text
from uvm.objects import Counter

_MERGED: Final = frozenset("|&^-")
_SETS: Final = frozenset({set, frozenset})
ROWS: Final = frozenset({list, tuple})
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
_WIDE: Final = 2**64
"""Integers beyond it cost more than a machine's own."""


def wide(value: Any) -> bool:
    return type(value) is int and not -_WIDE < value < _WIDE


class Arithmetic:
    """What makes a new value of two, or changes the first; charges to `meter` and announces a change in place through `mutating`."""

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
        elif kind in ROWS and type(right) is kind:
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
        countable = type(times) is int or type(times) is bool
        if countable and type(rows) is str:
            room_for_text(len(rows) * max(0, times), self._charge)
            return rows * times
        if countable and type(rows) in ROWS:
            room_for_items(len(rows) * max(0, times), self._charge)
            if 1 < len(rows) < times:
                # A single item is repeated at once, a row one by one.
                self._charge(len(rows) * times >> 3)
            return rows * times
        return self._arithmetic("*", operator.mul, left, right)

    def power(self, base: Any, exponent: Any) -> Any:
        """`base ** exponent`."""
        base, exponent = whole(self._plain(base)), whole(self._plain(exponent))
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
        left, right = whole(self._plain(left)), whole(self._plain(right))
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
            right = bounds.collected(right, self._charge)
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


def whole(value: Any) -> Any:
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


def _free(units: int) -> None:
    """Measure without charging: the cost is charged elsewhere."""


def _binary(symbol: str) -> Callable[[Arithmetic, Any, Any], Any]:
    return lambda arithmetic, left, right: arithmetic.binary(symbol, left, right)


BINARY: Final[dict[str, Callable[[Arithmetic, Any, Any], Any]]] = {
    "+": Arithmetic.add,
    "*": Arithmetic.multiply,
    "**": Arithmetic.power,
    "<<": Arithmetic.shift_left,
    **{symbol: _binary(symbol) for symbol in _NATIVE},
}
