"""Slot values: what may be stored, how it is copied, and shown in a prompt. Pure functions."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final

from ZODB.blob import Blob

from uvm.errors import BadValue, QuotaExceeded
from uvm.language.weights import STORED, STORED_NUMBER, STORED_PART
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, MergingVector, UvmObject
from uvm.values.exact import CONTAINERS

DEPTH = 64
MOST_VALUES = 1_000_000
"""Values in one slot: the language's own bound on what one operation walks."""
_SHOWN_DEPTH = 6
_PLAIN = (type(None), bool, float, str, bytes)
_SMALL = frozenset({type(None), bool, float})
_INTEGERS = frozenset({int})
_CONTAINERS = frozenset({list, tuple, dict, Counter, MergingSet, MergingQueue, MergingVector})
_MUTABLE = _CONTAINERS - {tuple}
_ATOMS = frozenset({type(None), bool, int, float, str, bytes, UvmObject})
_VALUE = 8
"""Bytes that a value weighs, besides its text."""


Charge = Callable[[int], None]
"""Spends units, or eighths of a walk. Raises TicksSpent."""


def _free(units: int) -> None:
    """Outside of messages nothing is charged."""


def checked(value: Any, charge: Charge = _free) -> Any:
    """The value as a slot may hold it; tuples become lists. Raises BadValue saying what was seen and what is allowed.

    The same list goes in where nothing had to be replaced, so that a method's own name for it stays alive until the message ends.
    `charge` is called with the units that the walk costs.
    """
    kind = type(value)
    if kind in _SMALL or kind is UvmObject:
        return value
    if kind is int:
        return _integer(value)
    if kind is str and value.isascii():
        return value
    sizing = _Sizing(charge)
    sizing.size(value, 0)
    if sizing.blob:
        raise _foreign(Blob)
    return _untupled(value) if sizing.tuple else value


def _untupled(value: Any) -> Any:
    kind = type(value)
    if kind is list or kind is tuple:
        copy = [_untupled(element) for element in value]
        return value if kind is list and all(a is b for a, b in zip(copy, value, strict=True)) else copy
    if kind is dict:
        pairs = {key: _untupled(element) for key, element in value.items()}
        return value if all(pairs[key] is element for key, element in value.items()) else pairs
    return value


_Size = tuple[int, int, int]
"""Of a value: its bytes, the values in it, itself among them, and how deep they are nested."""
_SCALAR: Final[_Size] = (_VALUE, 1, 0)


class _Sizing:
    """One walk through a value that raises BadValue for what no record may hold.

    What is shared counts as often as it is reached, because so it is stored; it is looked at once.
    """

    tuple = False
    blob = False
    _containers = 0

    def __init__(self, charge: Charge = _free) -> None:
        self._charge = charge
        self.references: list[UvmObject] = []
        self._sizes: dict[int, _Size] = {}

    def size(self, value: Any, depth: int) -> _Size:
        kind = type(value)
        if kind is str:
            return (_VALUE + (len(value) if value.isascii() else _octets(value)), 1, 0)
        if kind in _SMALL:
            return _SCALAR
        if kind is int:
            _integer(value)
            return _SCALAR
        if kind is bytes:
            return (_VALUE + len(value), 1, 0)
        if kind is UvmObject:
            self.references.append(value)
            return _SCALAR
        if kind is Blob:
            self.blob = True
            return _SCALAR
        counted = self._sizes.get(id(value))
        if depth + (counted[2] if counted is not None else 1) > DEPTH:
            raise BadValue(f"a value is nested more than {DEPTH} deep, or contains itself", "store references to objects instead")
        if counted is None:
            self._containers += 1
            if self._containers > CONTAINERS:
                raise BadValue(f"a slot holds at most {CONTAINERS:,} lists and maps in each other", "use several objects")
            counted = self._sizes[id(value)] = self._container(value, depth + 1)
            if counted[1] > MOST_VALUES:
                raise _too_many()
        return counted

    def forget(self) -> None:
        """Before another value: what the containers of this one weigh."""
        self._sizes.clear()
        self._containers = 0

    def _container(self, value: Any, depth: int) -> _Size:
        kind = type(value)
        if kind is list or kind is tuple:
            self.tuple = self.tuple or kind is tuple
            kinds = set(map(type, value))
            if kinds <= _SMALL or kinds == _INTEGERS:  # most large lists are rows of numbers, and go at the speed of C
                if int in kinds:
                    _integer(min(value))
                    _integer(max(value))
                self._charge(STORED + STORED_NUMBER * len(value))
                return (_VALUE * (1 + len(value)), 1 + len(value), 1)
            parts: Iterable[Any] = value
            self._charge(STORED + STORED_PART * len(value))
        elif kind is dict:
            self._charge(STORED + 2 * STORED_PART * len(value))
            for key in value:
                _key(key)
            parts = itertools.chain(value, value.values())
        else:
            parts = _parts(value)
            self._charge(STORED + STORED_PART * len(parts))
        octets, values, height = _VALUE, 1, 0
        for part in parts:
            size = self.size(part, depth)
            octets += size[0]
            values += size[1]
            height = max(height, size[2])
        return (octets, values, height + 1)


def _too_many() -> BadValue:
    return BadValue(f"a slot holds at most {MOST_VALUES:,} values, each counted as often as it is reached", "use several objects")


def _integer(value: int) -> int:
    if -(2**63) <= value < 2**64:
        return value
    raise BadValue("an integer in a slot must fit 64 bits", "store large numbers as text")


def _octets(text: str) -> int:
    """Length in UTF-8. Raises BadValue for half a surrogate pair: a text that no answer can carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise BadValue(f"a text in a slot is no Unicode: it has half a surrogate pair at {error.start}") from error


def _key(key: Any) -> None:
    if type(key) not in (str, int):
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
    if type(value) is MergingVector:
        return [value.__getstate__()]
    raise _foreign(type(value))


def _foreign(kind: type) -> BadValue:
    remedy = "use merging_set(values) or a list" if kind in (set, frozenset) else ""
    return BadValue(f"a slot cannot hold a {kind.__name__}", remedy)


class Scale:
    """Copies values as records hold them, sharing nothing, and weighs them: `bytes` of all so far, `references` to objects on the way.

    A value weighs 8 bytes, and those of its text, as often as it is reached; the record that ZODB makes of it is about as long. Raises
    BadValue for what no record may hold, QuotaExceeded past `most` bytes. `charge` is called with the ticks that it costs.
    """

    def __init__(self, most: int, charge: Charge = _free) -> None:
        self.bytes = 0
        self._sizing = _Sizing()
        self.references = self._sizing.references
        self._most = most
        self._charge = charge

    def copy(self, value: Any) -> Any:
        """The value again, with containers and merging values of its own."""
        return _twin(value) if self.weigh(value) else value

    def weigh(self, value: Any) -> bool:
        """Add what the value weighs; whether there is anything in it that a copy would not share."""
        octets, values, height = self._sizing.size(value, 0)
        self.bytes += octets
        if self.bytes > self._most:
            raise QuotaExceeded(f"a message may store {self._most:,} bytes", "store less in one message")
        if not height:
            return False
        self._sizing.forget()
        self._charge(values >> 3)
        return True


def _twin(value: Any) -> Any:
    """A deep copy of a value that a slot may hold; tuples become lists."""
    kind = type(value)
    if kind is list or kind is tuple:
        return [_twin(element) if type(element) in _CONTAINERS else element for element in value]
    if kind is dict:
        return {key: _twin(element) if type(element) in _CONTAINERS else element for key, element in value.items()}
    if kind is MergingQueue:
        return MergingQueue([_twin(element) for element in value.items], value.taken)
    return value.copied() if kind in _CONTAINERS else value


def is_mutable(value: Any) -> bool:
    """Whether the value can change in place without its owner noticing."""
    return type(value) in _MUTABLE


def copied(value: Any, charge: Charge = _free) -> Any:
    """Containers and merging values copied deeply, references shared: what `clone` does to a slot. `charge`: the ticks that it costs."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        charge(1 + (len(value) >> 4))
        return [copied(element, charge) if type(element) in _CONTAINERS else element for element in value]
    if kind is dict:
        charge(2 + (len(value) >> 3))
        return {key: copied(element, charge) if type(element) in _CONTAINERS else element for key, element in value.items()}
    if kind is MergingQueue:
        return MergingQueue(copied(value.items, charge), value.taken)
    if isinstance(value, Merging):
        charge(1 + (len(value) >> 5 if isinstance(value, MergingSet) else 0))
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
        if value and all(isinstance(element, UvmObject) for element in value):
            return "[<object>, …]"
        items = [literal(element, depth + 1) for element in value[:4]]
        return "[" + ", ".join(items + (["…"] if len(value) > 4 else [])) + "]"
    if type(value) is dict:
        pairs = [f"{literal(key)}: {literal(element, depth + 1)}" for key, element in list(value.items())[:4]]
        return "{" + ", ".join(pairs + (["…"] if len(value) > 4 else [])) + "}"
    if type(value) is bytes:
        return "<bytes>"
    return repr(value)
