"""What a message left in a slot, as its journal entry keeps it; and taking a change back from what is there now. Pure.

Kept is enough to see later whether the slot is still as the message left it, and, where it is not, to take the message's own part out of
a merging value. The layout, appended to the effect:

- `-`: the slot was removed.
- `=`, value: a small value, itself.
- `#`, digest: of a value of more than `SMALL` bytes.
- `+`, total: of a counter that was one before.
- `+`, digest, added, removed: of a merging set that was one before.
- `+`, digest, how many were taken from the beginning, and what was put: of a merging queue that was one before.
"""

import hashlib
import io
import pickle
from collections.abc import Callable
from typing import Any, Final

from persistent import Persistent

from uvm.image.large import loaded, stored, weight
from uvm.objects import ABSENT, Counter, MergingQueue, MergingSet, same_value
from uvm.values.slot_values import copied

SMALL: Final = 64
"""Bytes up to which a value is kept itself."""
_DIGEST: Final = 16

Refer = Callable[[Any], bytes]
"""The oid of an object; a new one gets it now."""


def of(before: Any, after: Any, refer: Refer) -> list[Any]:
    """What is kept of a slot that held `before` and holds `after` now."""
    if after is ABSENT:
        return ["-"]
    if type(before) is type(after):
        if type(after) is Counter:
            return ["+", after.total]
        if type(after) is MergingSet:
            added = [member for member in after.members if member not in before.members]
            removed = [member for member in before.members if member not in after.members]
            return ["+", digest(after, refer), stored(added), stored(removed)]
        if type(after) is MergingQueue:
            stayed = max(0, len(before.items) - (after.taken - before.taken))
            return ["+", digest(after, refer), after.taken, stored(copied(after.items[stayed:]))]
    if weight(after, SMALL) <= SMALL:
        return ["=", copied(after)]
    return ["#", digest(after, refer)]


def is_there(current: Any, remnant: list[Any], refer: Refer) -> bool:
    """Whether a slot that holds `current` is as the message left it."""
    match remnant:
        case ["-"]:
            return current is ABSENT
        case ["=", value]:
            return same_value(current, value)
        case ["+", total]:
            return type(current) is Counter and same_value(current.total, total)
        case ["#" | "+", bytes(recorded), *_]:
            return current is not ABSENT and digest(current, refer) == recorded
    return False


def without(current: Any, before: Any, remnant: list[Any]) -> Any:
    """A merging value that others changed as well, without what the message did; ABSENT where that has no meaning."""
    if type(current) is not type(before) or not remnant or remnant[0] != "+":
        return ABSENT
    if type(current) is Counter:
        return Counter(current.total - (remnant[1] - before.total))
    if type(current) is MergingSet:
        added, removed = loaded(remnant[2]), loaded(remnant[3])
        return MergingSet([*(member for member in current.members if member not in added), *removed])
    if type(current) is MergingQueue:
        return _queue_without(current, before, remnant[2], loaded(remnant[3]))
    return ABSENT


def _queue_without(current: MergingQueue, before: MergingQueue, total_taken: int, put: list[Any]) -> Any:
    took, since = total_taken - before.taken, current.taken - total_taken
    begin = len(before.items) - took - since
    there = current.items[begin : begin + len(put)] if begin >= 0 else None
    if (took and since) or there is None or not same_value(there, put):
        return ABSENT  # what it put was taken, or what it took would come back behind what was taken later
    return MergingQueue([*before.items[:took], *current.items[:begin], *current.items[begin + len(put) :]], current.taken - took)


def shown(remnant: list[Any]) -> Any:
    """What was left, where it is kept itself; ABSENT where it was removed, or is not kept."""
    match remnant:
        case ["=", value]:
            return value
        case ["+", total]:
            return total
    return ABSENT


def digest(value: Any, refer: Refer) -> bytes:
    """The same for values that are the same (`uvm.objects.same_value`), and for no others."""
    octets = io.BytesIO()
    pickler = _Pickler(octets, refer)
    # Without its memory of what it has written, a pickle depends on values alone, not on which of them are one object.
    pickler.fast = True
    pickler.dump(value)
    return hashlib.blake2b(octets.getbuffer(), digest_size=_DIGEST).digest()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, refer: Refer) -> None:
        super().__init__(file, 3)
        self._refer = refer

    def persistent_id(self, value: Any) -> bytes | None:
        return self._refer(value) if isinstance(value, Persistent) else None
