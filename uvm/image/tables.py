"""The kernel's tables: records by key that unrelated transactions add at once, at a cost that does not grow with their number.

A table is an object whose slots "0" to "63" are leaves; a leaf's slots are records. Two processes that add different records to one leaf
merge by slot (`uvm.objects`); the same key conflicts. A leaf of `FULL` records becomes a branch: an object that never merges, whose slots
are leaves in their turn. So whoever adds to a leaf while another process splits it loses a conflict, and comes again.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from uvm.objects import ATOMIC, KIND, UvmObject

SHARDS: Final = 64
FULL: Final = 8
"""Records of a leaf that is split before the next one is added; what one more record costs is about half of a full leaf."""
_BRANCHES = 16
_DEEPEST = 32
"""A digest has no more bytes."""
_FIRST = 4
"""Bytes of a key's digest that choose the leaf of a table; each following one chooses that of a branch."""


def new(kind: str) -> UvmObject:
    """An empty table."""
    return UvmObject({KIND: kind, **{str(number): UvmObject({KIND: kind}) for number in range(SHARDS)}})


def leaf_number(key: str) -> int:
    """Which of a table's own slots leads to the record of `key`."""
    return _leaf_number(_digest(key))


def leaf(table: UvmObject, key: str) -> UvmObject:
    """The leaf in whose slots the record of `key` is, if there is one."""
    return _descend(table, key)[0]


def enter(table: UvmObject, key: str, value: Any) -> None:
    """Write the record of `key`, in the current transaction."""
    node, depth = _descend(table, key)
    while key not in node._slots and len(node._slots) > FULL and depth < _DEEPEST:
        _split(node, depth)
        node, depth = _descend(table, key)
    node.put(key, value)


def strike(table: UvmObject, key: str) -> None:
    """Remove the record of `key`, if there is one, in the current transaction."""
    node = leaf(table, key)
    if key in node._slots:
        node.drop(key)


def leaves(table: UvmObject, shards: Iterable[int] = range(SHARDS)) -> Iterator[UvmObject]:
    """All leaves, or those of some shards, each with its records."""
    pending = [table.own(str(number)) for number in shards]
    while pending:
        node = pending.pop()
        if ATOMIC in node._slots:
            pending.extend(node.own(name) for name in node.names())
        else:
            yield node


def _leaf_number(digest: bytes) -> int:
    return int.from_bytes(digest[:_FIRST]) % SHARDS


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _descend(table: UvmObject, key: str) -> tuple[UvmObject, int]:
    digest, depth = _digest(key), _FIRST
    node: UvmObject = table.own(str(_leaf_number(digest)))
    while ATOMIC in node._slots:
        node = node.own(str(digest[depth] % _BRANCHES))
        depth += 1
    return node, depth


def _split(full: UvmObject, depth: int) -> None:
    """Make a leaf a branch with its records one level down."""
    below = [UvmObject({KIND: full.own(KIND)}) for _ in range(_BRANCHES)]
    for key in full.names():
        below[_digest(key)[depth] % _BRANCHES].put(key, full.own(key))
        full.drop(key)
    full.put(ATOMIC, True)
    for number, leaf_below in enumerate(below):
        full.put(str(number), leaf_below)
