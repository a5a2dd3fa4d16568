"""What slots refer to: objects and files. Reads only, within the current transaction."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ZODB.blob import Blob

from uvm.objects import KIND, Merging, MergingQueue, MergingSet, UvmObject

_CONTAINERS: Final = frozenset({list, tuple, dict, MergingSet, MergingQueue})


def parts(value: Any) -> Iterator[Any]:
    """The objects and files in a slot's value, in order."""
    pending, seen = [value], set()
    while pending:
        part = pending.pop()
        if isinstance(part, UvmObject | Blob):
            yield part
        elif type(part) in _CONTAINERS and id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, Merging):
                part = part.plain()
            pending.extend(reversed(list(part.values()) if type(part) is dict else part))


def reached(roots: Iterable[UvmObject]) -> Iterator[UvmObject]:
    """The objects that these lead to, through slots, parents and containers, and they themselves; the kernel's own are left out."""
    seen: set[bytes] = set()
    pending = list(roots)
    while pending:
        owner = pending.pop()
        if owner._p_oid in seen or KIND in owner._slots:
            continue
        seen.add(owner._p_oid)
        yield owner
        pending.extend(part for value in owner._slots.values() for part in parts(value) if isinstance(part, UvmObject))
