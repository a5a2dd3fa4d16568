"""Operators of the language: Python's, but measured before they are carried out.

The compiler puts a call of one of these guards where a method's source has an operator, an item or an f-string. They are
called in the thread that runs the method and own nothing but a way to charge and to announce a change.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from uvm import bounds
from uvm.bounds import LARGEST, NUMBERS, Charge, number, plain, room_for_items, room_for_text
from uvm.objects import Counter

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


class Operators:
    """The operators, charging through `charge` and announcing in-place changes through `mutating`."""

    def __init__(self, charge: Charge, mutating: Callable[[Any], None]) -> None:
        self._charge = charge
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
        elif kind in _ROWS and type(right) is kind:
            room_for_items(len(left) + len(right), self._charge)
            return left + right
        return self._arithmetic("+", operator.add, left, right)

    def multiply(self, left: Any, right: Any) -> Any:
        """`left * right`."""
        if type(left) in NUMBERS and type(right) in NUMBERS:
            return number(left * right)
        left, right = plain(left), plain(right)
        rows, times = (right, left) if type(left) in NUMBERS else (left, right)
        whole = type(times) is int or type(times) is bool
        if whole and type(rows) is str:
            room_for_text(len(rows) * max(0, times), self._charge)
            return rows * times
        if whole and type(rows) in _ROWS:
            room_for_items(len(rows) * max(0, times), self._charge)
            return rows * times
        return self._arithmetic("*", operator.mul, left, right)

    def power(self, base: Any, exponent: Any) -> Any:
        """`base ** exponent`."""
        base, exponent = plain(base), plain(exponent)
        # The product's length is known beforehand to within a bit for each factor.
        if type(base) is type(exponent) is int and (abs(base).bit_length() - 1) * exponent > bounds.INT_BITS:
            raise ValueError(f"a power of more than {bounds.INT_BITS} bits is too large; use float")
        try:
            return self._arithmetic("**", operator.pow, base, exponent)
        except OverflowError:
            raise ValueError("the power is too large for a float") from None

    def shift_left(self, left: Any, right: Any) -> Any:
        """`left << right`."""
        if type(left) is int and type(right) is int and left.bit_length() + right > bounds.INT_BITS:
            raise ValueError(f"an integer of more than {bounds.INT_BITS} bits is too large")
        return self._arithmetic("<<", operator.lshift, left, right)

    def binary(self, symbol: str, left: Any, right: Any) -> Any:
        """The other operators: none of them makes much more than it is given."""
        kind = type(left)
        if (kind is int or kind is float) and type(right) in NUMBERS:
            return number(_NATIVE[symbol](left, right))
        if (kind in _SETS or kind is dict) and (type(right) in _SETS or type(right) is dict) and symbol in _MERGED:
            room_for_items(len(left) + len(right), self._charge)
            return _NATIVE[symbol](left, right)
        return self._arithmetic(symbol, _NATIVE[symbol], left, right)

    def _arithmetic(self, symbol: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        left, right = plain(left), plain(right)
        if type(left) in NUMBERS and type(right) in NUMBERS:
            return number(function(left, right))
        if type(left) is list and type(right) is list and symbol == "+":
            return self.add(left, right)
        hint = "; use an f-string" if type(left) is str and symbol in "+%" else ""
        raise TypeError(f"{symbol} of a {bounds.kind_of(left)} and a {bounds.kind_of(right)} is not defined{hint}")

    def in_place(self, symbol: str, left: Any, right: Any) -> Any:
        """What `left` is after `left symbol= right`: lists, dicts, sets and counters change in place, as in Python."""
        kind = type(left)
        if kind is int or kind is float or kind is str:
            return BINARY[symbol](self, left, right)
        if kind is list and symbol == "+":
            right = bounds.taken(right, self._charge)
            room_for_items(len(left) + len(right), self._charge)
            self._mutating(left)
            left += right
            return left
        elif kind is list and symbol == "*":
            return self._replace(left, self.multiply(left, right))
        elif kind is dict and symbol == "|" and type(right) is dict:
            return self._update(left, right)
        elif kind is set and symbol in _IN_PLACE_ON_SETS and type(right) in _SETS:
            room_for_items(len(left) + len(right), self._charge)
            self._mutating(left)
            return _IN_PLACE_ON_SETS[symbol](left, right)
        elif kind is Counter and symbol in "+-":
            amount = plain(right)
            if type(amount) not in NUMBERS:
                raise TypeError(f"a counter counts numbers, not a {bounds.kind_of(amount)}")
            left.add(amount if symbol == "+" else -amount)
            return left
        return BINARY[symbol](self, left, right)

    def _replace(self, target: list[Any], values: list[Any]) -> list[Any]:
        self._mutating(target)
        target[:] = values
        return target

    def _update(self, target: dict[Any, Any], values: dict[Any, Any]) -> dict[Any, Any]:
        room_for_items(len(target) + len(values), self._charge)
        self._mutating(target)
        target.update(values)
        return target

    def minus(self, value: Any) -> Any:
        """`-value`."""
        return -bounds.weighed(value, self._charge)

    def weighed(self, value: Any) -> Any:
        """An operand of a comparison, or a key."""
        kind = type(value)
        if kind is int or kind is float or kind is bool:
            return value
        return bounds.weighed(value, self._charge)

    def cut(self, value: Any, low: Any, high: Any, step: Any) -> Any:
        """`value[low:high:step]`."""
        value = plain(value)
        if type(value) not in bounds.ITERABLES:
            raise TypeError(f"a {bounds.kind_of(value)} cannot be sliced; a list, tuple or text can")
        piece = slice(low, high, step)
        if type(value) in bounds.SEQUENCES:
            self._charge(len(value) >> 3)
        elif type(value) is str:
            self._charge(len(value) >> 6)
        return value[piece]

    def item(self, container: Any, key: Any) -> Any:
        """`container[key]`."""
        return plain(container)[self.weighed(key)]

    def set_item(self, container: Any, key: Any, value: Any) -> None:
        """`container[key] = value`."""
        if type(container) is not list and type(container) is not dict:
            raise TypeError(f"items of a {bounds.kind_of(container)} cannot be assigned; those of a list or dict can")
        key = self.weighed(key)
        self._mutating(container)
        container[key] = value

    def delete_item(self, container: Any, key: Any) -> None:
        """`del container[key]`."""
        if type(container) is not list and type(container) is not dict:
            raise TypeError(f"items of a {bounds.kind_of(container)} cannot be deleted; those of a list or dict can")
        key = self.weighed(key)
        self._mutating(container)
        del container[key]

    def delete_cut(self, container: Any, low: Any, high: Any, step: Any) -> None:
        """`del container[low:high:step]`."""
        if type(container) is not list:
            raise TypeError(f"a slice of a {bounds.kind_of(container)} cannot be deleted; that of a list can")
        self._mutating(container)
        del container[slice(low, high, step)]

    def text(self, value: Any) -> str:
        """`{value}` in an f-string."""
        return bounds.text(value, self._charge)

    def represented(self, value: Any) -> str:
        """`{value!r}` in an f-string."""
        return bounds.represented(value, self._charge)

    def formatted(self, value: Any, spec: str) -> str:
        """`{value:spec}` in an f-string; the compiler has checked the constant `spec`."""
        value = plain(value)
        if type(value) not in NUMBERS and type(value) is not str:
            raise TypeError(f"a {bounds.kind_of(value)} has no format; only numbers and texts have")
        return format(value, spec)

    def joined(self, *parts: str) -> str:
        """The parts of an f-string as one text."""
        room_for_text(sum(map(len, parts)), self._charge)
        return "".join(parts)

    def spread(self, values: Any) -> Any:
        """`*values` in a call or a display."""
        return bounds.taken(values, self._charge)

    def spread_pairs(self, values: Any) -> Any:
        """`**values` in a dict display."""
        if type(values) is not dict:
            raise TypeError(f"** needs a dict, not a {bounds.kind_of(values)}")
        room_for_items(len(values), self._charge)
        return values


def _binary(symbol: str) -> Callable[[Operators, Any, Any], Any]:
    return lambda operators, left, right: operators.binary(symbol, left, right)


BINARY: Final[dict[str, Callable[[Operators, Any, Any], Any]]] = {
    "+": Operators.add,
    "*": Operators.multiply,
    "**": Operators.power,
    "<<": Operators.shift_left,
    **{symbol: _binary(symbol) for symbol in _NATIVE},
}
