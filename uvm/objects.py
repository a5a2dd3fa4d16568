"""The universal class and the merging values: everything that a stored record may name.

Imported by the UVMs, by the trial child and by the ZEO server, which resolves conflicts with it; so this module
imports nothing but `persistent`, `ZODB` and the standard library, and its dotted names never change. One thread uses an object at a time.
However long, it stays one module: what records name must be found here, and conflicts are resolved with nothing else of ours.

Format: the state of a `UvmObject` is `{"_slots": {name: value}}`. A value is one of MessagePack's types, a reference
to another `UvmObject`, a merging value, a blob, or a list or dict of these. Names that end in `*` are structure and
are written by the kernel alone: `parent*` (the list of parents, in order), `is*` (what enforcement owns: `method`,
`message`, `codex`, …), `atomic*` (never merge this object), `names*` (the names under which the image knows it), `charged*` (whose
bytes it holds, see `uvm.image.stored`).
"""

import zlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from persistent import Persistent
from ZODB.POSException import ConflictError

PARENTS: Final = "parent*"
KIND: Final = "is*"
ATOMIC: Final = "atomic*"
NAMES: Final = "names*"
CHARGED: Final = "charged*"
VERSION: Final = "version*"
"""The slot of a shared method that was corrected: the version that it is now (`uvm.image.methods`)."""


ANCESTORS: Final = 256
"""How many objects an object delegates to, in the order of lookup; what stands beyond them is not looked at."""
_CACHED: Final = 4096
"""Names that an object keeps for its children: any text may be asked for, and what is nowhere is cached too."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""What a lookup gives when nothing in the parent chain has the slot."""


class _Epoch:
    """The token that says which inherited-slot caches are still true; compared with `is`.

    A new token voids every cache of this process at once. An integer would do only with one thread: it could be
    counted back to a value that somebody still holds.
    """

    now: object = object()


def _void_caches() -> None:
    _Epoch.now = object()


_set: Final = Persistent.__setattr__


class UvmObject(Persistent):
    """A prototype: slots of its own, and parents to which it delegates the rest (Self; Ungar and Smith, 1987).

    `obj.name` reads a slot through the parents, `obj.name = value` sets one on the object itself and marks it changed.
    A change inside a mutable value is not seen: it needs `obj._p_changed = True` (the persistence covenant).
    Names that begin with `_` never reach the slots.
    """

    _slots: dict[str, Any]

    def __init__(self, slots: dict[str, Any] | None = None) -> None:
        _set(self, "_slots", dict(slots or {}))

    def __getattr__(self, name: str) -> Any:
        # Python asks here for what it did not find itself; its own protocols must never become messages.
        if name.startswith("_"):
            raise AttributeError(name)
        value = self.lookup(name)
        if value is ABSENT:
            raise AttributeError(f"no slot {name!r} in {self!r} or its parents")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # ZODB itself sets some ten attributes for each object that it stores; there is no shorter way to the base's.
        if name[:1] == "_":
            _set(self, name, value)
        else:
            self.put(name, value)

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            super().__delattr__(name)
        else:
            self.drop(name)

    def __repr__(self) -> str:
        oid = self._p_oid
        return f"<UvmObject {'new' if oid is None else '@' + (oid.hex().lstrip('0') or '0')}>"

    # --- slots ---------------------------------------------------------------------------------------------------

    def own(self, name: str, default: Any = ABSENT) -> Any:
        """The object's own slot, without its parents."""
        return self._slots.get(name, default)

    def names(self) -> list[str]:
        """The object's own slots in the order in which they were made, without structure."""
        return [name for name in self._slots if not name.endswith("*")]

    def put(self, name: str, value: Any) -> None:
        """Set an own slot. The caller has checked name and value."""
        self._slots[name] = value
        _set(self, "_p_changed", True)
        if "_v_up" in self.__dict__:
            _void_caches()

    def replace(self, name: str, value: Any) -> None:
        """Put an equal value in the place of an own slot's; the object does not count as changed by it."""
        self._slots[name] = value
        if "_v_up" in self.__dict__:
            _void_caches()

    def drop(self, name: str) -> None:
        """Remove an own slot. Raises AttributeError when there is none."""
        if name not in self._slots:
            raise AttributeError(f"no own slot {name!r} in {self!r}")
        del self._slots[name]
        self._p_changed = True
        if "_v_up" in self.__dict__:
            _void_caches()

    # --- delegation ----------------------------------------------------------------------------------------------

    def parents(self) -> list["UvmObject"]:
        """The parents, in order of lookup."""
        return list(self._slots.get(PARENTS, ()))

    def lookup(self, name: str) -> Any:
        """The slot's value from the object or the first parent that has it, else ABSENT.

        What is found through a parent is cached on that parent, for all its children; writing to a leaf voids nothing.
        """
        slots = self._slots
        if name in slots:
            return slots[name]
        for parent in slots.get(PARENTS, ()):
            value = parent._inherited(name)
            if value is not ABSENT:
                return value
        return ABSENT

    def holder(self, name: str) -> "UvmObject | None":
        """The object in which `lookup` finds the slot."""
        return next((one for one in self.chain() if name in one._slots), None)

    def chain(self) -> Iterator["UvmObject"]:
        """The object and its first `ANCESTORS` ancestors in the order of lookup, each once."""
        seen: set[int] = set()
        pending = [self]
        while pending and len(seen) <= ANCESTORS:
            one = pending.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            pending.extend(reversed(one._slots.get(PARENTS, ())))

    def _inherited(self, name: str) -> Any:
        self._slots  # noqa: B018  the read wakes a ghost and tells the object cache that it is used
        up = self.__dict__.get("_v_up")
        if up is None or up[0] is not _Epoch.now:
            up = (_Epoch.now, {})
            self.__dict__["_v_up"] = up
        cache = cast(dict[str, Any], up[1])
        if name in cache:
            return cache[name]
        # A chain may be longer than Python's stack is deep.
        value = ABSENT
        for one in self.chain():
            value = one._slots.get(name, ABSENT)
            # Marked, so that a change of it voids what was found.
            one.__dict__.setdefault("_v_up", (None, {}))
            if value is not ABSENT:
                break
        if len(cache) >= _CACHED:
            cache.clear()
        cache[name] = value
        return value

    # persistent calls these when a record changed elsewhere, at an abort or a rollback, and when it evicts an object:
    # whatever was cached from this object's slots may be untrue from then on.

    def _p_deactivate(self) -> None:
        if "_v_up" in self.__dict__:
            _void_caches()
        super()._p_deactivate()

    def _p_invalidate(self) -> None:
        if "_v_up" in self.__dict__:
            _void_caches()
        super()._p_invalidate()

    # --- conflicts -----------------------------------------------------------------------------------------------

    def _p_resolveConflict(self, old: dict[str, Any], saved: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Merge two processes' changes slot by slot; the same slot conflicts, even with equal values.

        Runs in the ZEO server on bare states: references are `PersistentReference`s. Raises ConflictError.
        """
        return {**new, "_slots": merge_slots(old["_slots"], saved["_slots"], new["_slots"])}


def merge_slots(old: dict[str, Any], saved: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`old` with the changes of both `saved` and `new`. Raises ConflictError where they touch the same slot."""
    if any(ATOMIC in state or state.get(KIND) in _NEVER_MERGED for state in (old, saved, new)):
        raise ConflictError("this object never merges")
    merged = dict(new)
    for name in {**old, **saved}:
        before, theirs, ours = old.get(name, ABSENT), saved.get(name, ABSENT), new.get(name, ABSENT)
        if same_value(before, theirs):
            continue
        if name == PARENTS:
            raise ConflictError("parents never merge")
        if same_value(before, ours):
            if theirs is ABSENT:
                merged.pop(name, None)
            else:
                merged[name] = theirs
        elif name == CHARGED:
            merged[name] = _both_charged(before or {}, theirs or {}, ours or {})
        elif isinstance(before, Merging) and type(before) is type(theirs) is type(ours):
            merged[name] = before.merged(theirs, ours)
        else:
            raise ConflictError(f"slot {name!r} was changed on both sides")
    if not same_value(old.get(PARENTS, ABSENT), new.get(PARENTS, ABSENT)):
        raise ConflictError("parents never merge")
    return merged


def _both_charged(before: dict[str, int], theirs: dict[str, int], ours: dict[str, int]) -> dict[str, int]:
    """Bytes by principal, with what both sides added and took. Raises ConflictError where both took the same bytes."""
    both = {name: theirs.get(name, 0) + ours.get(name, 0) - before.get(name, 0) for name in {**before, **theirs, **ours}}
    if min(both.values(), default=0) < 0:
        raise ConflictError("both sides gave back the same bytes")
    return {name: held for name, held in both.items() if held}


_NEVER_MERGED = frozenset({"message", "method", "lease", "codex"})


def same_value(one: Any, other: Any) -> bool:
    """Equality of stored values: of the same type throughout, references by oid.

    Two different `PersistentReference`s refuse `==`, and `1 == True == 1.0` must not pass for unchanged.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _COMPARED:
        return bool(one == other)
    if isinstance(one, Merging):
        return same_value(one.__getstate__(), other.__getstate__())
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            type(a) is type(b) and a == b and same_value(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same_value(a, b) for a, b in zip(one, other, strict=True))
    if hasattr(one, "_p_oid") or type(one).__name__ == "PersistentReference":
        return _oid(one) is not None and _oid(one) == _oid(other)
    if isinstance(one, float) and one != one:
        return bool(other != other)
    return bool(one == other)


_COMPARED: Final = frozenset({int, str, bool, bytes})
"""What most slots hold, and equality alone decides."""


def _oid(reference: Any) -> bytes | None:
    # A live object is asked for `_p_oid` alone: `oid` might be a slot of its own.
    oid = reference.oid if type(reference).__name__ == "PersistentReference" else reference._p_oid
    return oid if isinstance(oid, bytes) else None


class Merging(ABC):
    """A value that two processes may change at once: both changes count (a state-based merge over a common ancestor)."""

    __slots__ = ()

    @abstractmethod
    def __getstate__(self) -> Any:
        """What is stored."""

    @abstractmethod
    def __setstate__(self, state: Any) -> None:
        """Become what was stored."""

    def copied(self) -> "Merging":
        """A copy that shares nothing with this one."""
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__())
        return twin

    @abstractmethod
    def merged(self, theirs: Any, ours: Any) -> "Merging":
        """The common ancestor (`self`) with both sides' changes. Raises ConflictError where they cannot be joined."""

    @abstractmethod
    def plain(self) -> Any:
        """The value as MessagePack carries it."""


class Counter(Merging):
    """A number to which several processes add."""

    __slots__ = ("total",)

    def __init__(self, total: int | float = 0) -> None:
        self.total = total

    def __bool__(self) -> bool:
        return self.total != 0

    def __getstate__(self) -> int | float:
        return self.total

    def __setstate__(self, state: int | float) -> None:
        self.total = state

    def __reduce__(self) -> Any:
        return Counter, (self.total,)

    def add(self, amount: int | float = 1) -> int | float:
        self.total += amount
        return self.total

    def merged(self, theirs: Any, ours: Any) -> "Counter":
        return Counter(theirs.total + ours.total - self.total)

    def plain(self) -> int | float:
        return self.total


class MergingSet(Merging):
    """A set of plain values, in order of arrival, to which several processes add and from which they remove."""

    __slots__ = ("members",)

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.members: dict[Any, None] = dict.fromkeys(values)

    def __getstate__(self) -> list[Any]:
        return list(self.members)

    def __setstate__(self, state: list[Any]) -> None:
        self.members = dict.fromkeys(state)

    def __reduce__(self) -> Any:
        return MergingSet, (list(self.members),)

    def __len__(self) -> int:
        return len(self.members)

    def add(self, value: Any) -> None:
        self.members[value] = None

    def discard(self, value: Any) -> None:
        self.members.pop(value, None)

    def has(self, value: Any) -> bool:
        return value in self.members

    def merged(self, theirs: Any, ours: Any) -> "MergingSet":
        # Gone from one side means removed there; new on either side stays. Adding and removing the same member on
        # the two sides cannot happen at once: it was either there before or not.
        removed = {value for value in self.members if value not in theirs.members or value not in ours.members}
        return MergingSet(value for value in {**theirs.members, **ours.members} if value not in removed)

    def plain(self) -> list[Any]:
        return list(self.members)


class MergingQueue(Merging):
    """A first-in-first-out queue to which several processes put; only one may take at a time."""

    __slots__ = ("items", "taken")

    def __init__(self, items: Iterable[Any] = (), taken: int = 0) -> None:
        self.items = list(items)
        self.taken = taken

    def __getstate__(self) -> list[Any]:
        return [self.taken, *self.items]

    def __setstate__(self, state: list[Any]) -> None:
        self.taken, self.items = state[0], state[1:]

    def __reduce__(self) -> Any:
        return MergingQueue, (list(self.items), self.taken)

    def __len__(self) -> int:
        return len(self.items)

    def put(self, value: Any) -> None:
        self.items.append(value)

    def take(self) -> Any:
        """The oldest item. Raises IndexError when the queue is empty."""
        if not self.items:
            raise IndexError("take from an empty queue")
        self.taken += 1
        return self.items.pop(0)

    def merged(self, theirs: Any, ours: Any) -> "MergingQueue":
        if theirs.taken != self.taken and ours.taken != self.taken:
            raise ConflictError("both sides took from the queue")
        for side in (theirs, ours):
            stayed = self.items[max(0, side.taken - self.taken) :]
            if side.taken < self.taken or not same_value(side.items[: len(stayed)], stayed):
                raise ConflictError("one side put back or took out what was in the queue, as an undo does")
        taken = max(theirs.taken, ours.taken)
        length = len(self.items)
        put_theirs = theirs.items[max(0, length - (theirs.taken - self.taken)) :]
        put_ours = ours.items[max(0, length - (ours.taken - self.taken)) :]
        if taken - self.taken > length:
            raise ConflictError("one side took what it had itself put while the other put as well")
        return MergingQueue(self.items[taken - self.taken :] + put_theirs + put_ours, taken)

    def plain(self) -> list[Any]:
        return list(self.items)


_LONGEST_VECTOR: Final = 1 << 14


class MergingVector(Merging):
    """Whole numbers by position, to which several processes add; each stays within 16 bits. Stored compressed: most are 0.

    What is stored is unpacked as far as the longest vector, so that a few bytes cannot ask for a gigabyte.
    """

    __slots__ = ("numbers",)

    def __init__(self, length: int, packed: bytes = b"") -> None:
        if not 0 <= length <= _LONGEST_VECTOR:
            raise ValueError(f"a vector has at most {_LONGEST_VECTOR:,} numbers")
        self.numbers = array("h", bytes(2 * length))
        if packed:
            self.__setstate__(packed)

    def __getstate__(self) -> bytes:
        return zlib.compress(self.numbers.tobytes(), 1)

    def __setstate__(self, state: bytes) -> None:
        unpacked = zlib.decompressobj()
        octets = unpacked.decompress(state, 2 * _LONGEST_VECTOR)
        if unpacked.unconsumed_tail:  # a few kilobytes could stand for gigabytes
            raise ValueError(f"a vector has at most {_LONGEST_VECTOR:,} numbers")
        self.numbers = array("h", octets)

    def __reduce__(self) -> Any:
        return MergingVector, (len(self.numbers), self.__getstate__())

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, amounts: Mapping[int, int]) -> None:
        """Add to the numbers at these positions."""
        for position, amount in amounts.items():
            self.numbers[position] = _within_16_bits(self.numbers[position] + amount)

    def merged(self, theirs: Any, ours: Any) -> "MergingVector":
        if not len(self) == len(theirs) == len(ours):
            raise ConflictError("the vector's length was changed")
        joined = MergingVector(0)
        added = zip(self.numbers, theirs.numbers, ours.numbers, strict=True)
        joined.numbers = array("h", (_within_16_bits(one + other - before) for before, one, other in added))
        return joined

    def plain(self) -> dict[int, int]:
        return {position: number for position, number in enumerate(self.numbers) if number}


def _within_16_bits(number: int) -> int:
    return max(-32_768, min(32_767, number))


STORED: Final = {
    "uvm.objects": frozenset({"UvmObject", "Counter", "MergingSet", "MergingQueue", "MergingVector"}),
    "persistent.mapping": frozenset({"PersistentMapping"}),
    "BTrees.OOBTree": frozenset({"OOBTree", "OOBucket"}),
    "ZODB.blob": frozenset({"Blob"}),
}
"""Module → classes that a record may name. Both sides of ZEO unpickle nothing else."""
