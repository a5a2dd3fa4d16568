"""What a slot's value refers to: objects and files. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from ZODB.blob import Blob

from uvm.objects import Merging, MergingQueue, MergingSet, UvmObject

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
