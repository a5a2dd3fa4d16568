"""Operators of the language: Python's, but measured before they are carried out.

The compiler puts a call of one of these guards where a method's source has an operator, an item or an f-string. They are
called in the thread that runs the method and own nothing but a way to charge and to announce a change.
"""

from typing import Any, Final

from uvm.language import bounds, texts
from uvm.language.arithmetic import ROWS, Arithmetic, whole, wide
from uvm.language.bounds import NUMBERS, TEXTS, extent, room_for_items, room_for_text
from uvm.objects import MergingSet

_LONG: Final = 1024
"""Texts up to this length are compared for the price of the operator."""
_FAR: Final = 1e22
"""Floats beyond it are shown by long division."""


class Operators(Arithmetic):
    """All operators: arithmetic, and comparisons, items, texts and what is gone through."""

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

    def contains(self, member: Any, container: Any) -> bool:
        """`member in container`."""
        kind = type(container)
        if kind in bounds.HASHED:
            return self.key(member) in container
        if kind in TEXTS and type(member) is kind:
            return texts.find(container, member, self._charge) >= 0
        if kind is MergingSet:
            return bool(container.has(self.key(member)))
        if kind is range:
            # Only for whole numbers does Python compute the answer; for others it looks at each.
            member = whole(self._plain(member))
            return (type(member) is int or (type(member) is float and member.is_integer())) and int(member) in container
        container = self.weighed(container)
        self._charge(60 + (len(container) if type(container) in ROWS else 0))
        return self.weighed(member) in container

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

    def get_item(self, container: Any, key: Any) -> Any:
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
        deleted = range(*piece.indices(len(container)))
        closing_up = len(deleted) >> 5 if piece.step in (None, 1) else len(deleted) * 3 >> 3
        self._charge(behind(container, min(deleted[0], deleted[-1])) + closing_up if deleted else 0)
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
        elif wide(value):
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
        return bounds.collected(values, self._charge)

    def spread_members(self, values: Any) -> Any:
        """`*values` in a set display."""
        return bounds.hashed(values, self._meter)

    def spread_pairs(self, values: Any) -> Any:
        """`**values` in a dict display."""
        if type(values) is not dict:
            raise TypeError(f"** needs a dict, not a {bounds.kind_of(values)}")
        self._charge(extent(values) * 3 >> 1)
        return values


def behind(container: list[Any], index: Any) -> int:
    """Units for moving what stands behind an item of a list."""
    if type(index) is not int:
        return 0
    return max(0, len(container) - index if index >= 0 else -index) >> 6
