"""Slot values: what may be stored, how it is copied, shown in a prompt, and carried over the bridge. Pure functions."""

from collections.abc import Callable
from typing import Any

from ZODB.blob import Blob

from uvm.errors import BadValue, QuotaExceeded
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, UvmObject
from uvm.protocol import Reference

DEPTH = 64
MOST_VALUES = 1_000_000
"""Values in one slot: the language's own bound on what one operation walks."""
_SHOWN_DEPTH = 6
_PLAIN = (type(None), bool, float, str, bytes)
_SMALL = frozenset({type(None), bool, float})
_VALUE = 8
"""Bytes that a value weighs, besides its text."""


Charge = Callable[[int], None]
"""Spends ticks. Raises TicksSpent."""


def _free(units: int) -> None:
    """Outside of messages nothing is charged."""


def checked(value: Any, charge: Charge = _free) -> Any:
    """The value as a slot may hold it; tuples become lists. Raises BadValue saying what was seen and what is allowed.

    The same list goes in where nothing had to be replaced, so that a method's own name for it stays alive until the message ends.
    `charge` is called with the ticks that the walk costs.
    """
    kind = type(value)
    if kind in _PLAIN or kind is UvmObject:
        return value
    return _Checking(charge).value(value, 0)


class _Checking:
    """One walk through a value. What is reached twice is walked twice: it is stored twice as well."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._values = 0

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _PLAIN or kind is UvmObject:
            return value
        if kind is int:
            return _integer(value)
        if isinstance(value, Merging):
            self._merging(value, depth)
            return value
        if depth >= DEPTH:
            raise BadValue(f"a value is nested more than {DEPTH} deep, or contains itself", "store references to objects instead")
        if kind is list or kind is tuple:
            self._count(len(value))
            copy = [self.value(item, depth + 1) for item in value]
            return value if kind is list and all(a is b for a, b in zip(copy, value, strict=True)) else copy
        if kind is dict:
            self._count(2 * len(value))
            for key in value:
                _key(key)
            pairs = {key: self.value(item, depth + 1) for key, item in value.items()}
            return value if all(pairs[key] is item for key, item in value.items()) else pairs
        raise _foreign(kind)

    def _merging(self, value: Merging, depth: int) -> None:
        for part in _parts(value):
            self.value(part, depth + 1)
        self._count(len(_parts(value)))

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise BadValue(f"a slot holds at most {MOST_VALUES:,} values, each counted as often as it is reached", "use several objects")
        self._charge(1 + (values >> 3))


def _integer(value: int) -> int:
    if -(2**63) <= value < 2**64:
        return value
    raise BadValue("an integer in a slot must fit 64 bits", "store large numbers as text")


def _key(key: Any) -> None:
    if type(key) not in (str, int, bool):
        raise BadValue(f"a dict in a slot has the key {key!r:.100} of type {type(key).__name__}; keys are text or integers")
    if type(key) is int:
        _integer(key)


def _parts(value: Merging) -> list[Any]:
    """The values within a merging value. Raises BadValue for what is no value of a slot."""
    if type(value) is Counter:
        if type(value.total) not in (int, float):
            raise BadValue(f"a counter cannot hold a {type(value.total).__name__}")
        return [value.total]
    if type(value) is MergingSet:
        return list(value.members)
    if type(value) is MergingQueue:
        return value.items
    raise _foreign(type(value))


def _foreign(kind: type) -> BadValue:
    remedy = "use merging_set(values) or a list" if kind in (set, frozenset) else ""
    return BadValue(f"a slot cannot hold a {kind.__name__}", remedy)


class Scale:
    """Copies values as records hold them, sharing nothing, and weighs them: `bytes` of all so far, `references` to objects on the way.

    A value weighs 8 bytes, and those of its text; the record that ZODB makes of it is about as long. Raises BadValue for what no
    record may hold, QuotaExceeded past `most` bytes.
    """

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self.references: list[UvmObject] = []
        self._most = most

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The value again, with containers and merging values of its own."""
        kind = type(value)
        if kind is str:
            self._add(_VALUE + (len(value) if value.isascii() else 4 * len(value)))
            return value
        if kind is bytes:
            self._add(_VALUE + len(value))
            return value
        self._add(_VALUE)
        if kind in _SMALL:
            return value
        if kind is int:
            return _integer(value)
        if kind is UvmObject:
            self.references.append(value)
            return value
        if kind is Blob:
            return value
        if depth >= DEPTH:
            raise BadValue(f"a value is nested more than {DEPTH} deep, or contains itself", "store references to objects instead")
        if kind is list or kind is tuple:
            return self._list(value, depth)
        if kind is dict:
            return self._dict(value, depth)
        if isinstance(value, Merging):
            parts = [self.copy(part, depth + 1) for part in _parts(value)]
            return MergingQueue(parts, value.taken) if type(value) is MergingQueue else value.copied()
        raise _foreign(kind)

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        kinds = set(map(type, value))
        if kinds <= _SMALL or kinds == {int}:  # most large lists are rows of numbers, and go at the speed of C
            self._add(_VALUE * len(value))
            if int in kinds:
                _integer(min(value))
                _integer(max(value))
            return list(value)
        return [self.copy(item, depth + 1) for item in value]

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        pairs = {}
        for key, item in value.items():
            _key(key)
            self._add(_VALUE + (len(key) if type(key) is str else 0))
            pairs[key] = self.copy(item, depth + 1)
        return pairs

    def _add(self, bytes_: int) -> None:
        self.bytes += bytes_
        if self.bytes > self._most:
            raise QuotaExceeded(f"a message may store {self._most:,} bytes", "store less in one message")


def is_mutable(value: Any) -> bool:
    """Whether the value can change in place without its owner noticing."""
    return type(value) in (list, dict) or isinstance(value, Merging)


def copied(value: Any, charge: Charge = _free) -> Any:
    """Containers and merging values copied deeply, references shared: what `clone` does to a slot. `charge`: the ticks that it costs."""
    kind = type(value)
    if kind is list:
        charge(1 + (len(value) >> 3))
        return [copied(item, charge) for item in value]
    if kind is dict:
        charge(1 + (len(value) >> 2))
        return {key: copied(item, charge) for key, item in value.items()}
    if kind is MergingQueue:
        return MergingQueue(copied(value.items, charge), value.taken)
    if isinstance(value, Merging):
        charge(1 + (len(value) >> 3 if isinstance(value, MergingSet) else 0))
        return value.copied()
    return value


def literal(value: Any, depth: int = 0) -> str:
    """The value as the prompt shows it: a Python literal, long texts and containers cut (docs/language.md, "The prompt")."""
    if isinstance(value, UvmObject):
        return "<object>"
    if isinstance(value, Blob):
        return "<blob>"
    if isinstance(value, Merging):
        value = value.plain()
    if type(value) is str:
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if depth > _SHOWN_DEPTH:
        return "…"
    if type(value) in (list, tuple):
        if value and all(isinstance(item, UvmObject) for item in value):
            return "[<object>, …]"
        shown = [literal(item, depth + 1) for item in value[:4]]
        return "[" + ", ".join(shown + (["…"] if len(value) > 4 else [])) + "]"
    if type(value) is dict:
        pairs = [f"{literal(key)}: {literal(item, depth + 1)}" for key, item in list(value.items())[:4]]
        return "{" + ", ".join(pairs + (["…"] if len(value) > 4 else [])) + "}"
    if type(value) is bytes:
        return "<bytes>"
    return repr(value)


def to_wire(value: Any, refer: Callable[[UvmObject], Reference], depth: int = 0) -> Any:
    """The value as it crosses the bridge: objects as references. Raises BadValue for what MessagePack cannot carry."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is UvmObject:
        return refer(value)
    if depth > DEPTH:
        raise BadValue(f"a result is nested more than {DEPTH} deep, or contains itself")
    if isinstance(value, Merging):
        return to_wire(value.plain(), refer, depth + 1)
    if kind is int:
        return checked(value)
    if kind in (list, tuple, set, frozenset):
        return [to_wire(item, refer, depth + 1) for item in value]
    if kind is dict:
        return {key if type(key) in (str, int, bool) else str(key): to_wire(item, refer, depth + 1) for key, item in value.items()}
    if isinstance(value, Blob):
        return "<blob>"
    raise BadValue(f"a result cannot carry a {kind.__name__}", "return plain values, containers of them, or objects")


def from_wire(value: Any, resolve: Callable[[Reference], UvmObject]) -> Any:
    """A tool's value with its references resolved."""
    if isinstance(value, Reference):
        return resolve(value)
    if type(value) is list:
        return [from_wire(item, resolve) for item in value]
    if type(value) is dict:
        return {key: from_wire(item, resolve) for key, item in value.items()}
    return value
