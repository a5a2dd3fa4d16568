"""What slots refer to: objects and files. Reads only, within the current transaction."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ZODB.blob import Blob

from uvm.objects import KIND, Merging, MergingQueue, MergingSet, UvmObject

_CONTAINERS: Final = frozenset({list, tuple, dict, MergingSet, MergingQueue})


def referents(value: Any) -> Iterator[Any]:
    """The objects and files in a slot's value, in order."""
    pending, visited = [value], set()
    while pending:
        referent = pending.pop()
        if isinstance(referent, UvmObject | Blob):
            yield referent
        elif type(referent) in _CONTAINERS and id(referent) not in visited:
            visited.add(id(referent))
            if isinstance(referent, Merging):
                referent = referent.plain()
            pending.extend(reversed(list(referent.values()) if type(referent) is dict else referent))


def reached(roots: Iterable[UvmObject]) -> Iterator[UvmObject]:
    """The objects that these lead to, through slots, parents and containers, and they themselves; the kernel's own are left out."""
    visited: set[bytes] = set()
    pending = list(roots)
    while pending:
        owner = pending.pop()
        if owner._p_oid in visited or KIND in owner._slots:
            continue
        visited.add(owner._p_oid)
        yield owner
        pending.extend(referent for value in owner._slots.values() for referent in referents(value) if isinstance(referent, UvmObject))
