"""Whether objects may have the parents that an import gives them. Pure: nothing has them yet."""

from collections.abc import Callable, Iterable, Mapping

from uvm.errors import NotAllowed, ParentCycle
from uvm.objects import ANCESTORS, UvmObject

ParentsOf = Callable[[UvmObject], list[UvmObject]]


def check(coming: Iterable[tuple[str, UvmObject, list[UvmObject]]]) -> None:
    """`coming`: key, object, and the parents that it is to have. Raises ParentCycle, and NotAllowed for a chain that is too long."""
    arriving = list(coming)
    to_have: Mapping[int, list[UvmObject]] = {id(owner): parents for _, owner, parents in arriving}

    def parents_of(owner: UvmObject) -> list[UvmObject]:
        return to_have[id(owner)] if id(owner) in to_have else owner.parents()

    done: dict[int, UvmObject] = {}
    for key, owner, _ in arriving:
        _check_for_cycles(key, owner, parents_of, done)
    for key, owner, _ in arriving:
        if _ancestors(owner, parents_of) > ANCESTORS:
            raise NotAllowed(f"{key} would delegate to more than {ANCESTORS} objects", "keep chains of parents short", object=key)


def _check_for_cycles(key: str, start: UvmObject, parents_of: ParentsOf, done: dict[int, UvmObject]) -> None:
    path: set[int] = set()
    pending = [(start, False)]
    while pending:
        owner, leaving = pending.pop()
        if leaving:
            path.remove(id(owner))
            done[id(owner)] = owner
        elif id(owner) in path:
            raise ParentCycle(f"{key} would be its own ancestor, or that of its ancestors; a cycle of parents is refused", object=key)
        elif id(owner) not in done:
            path.add(id(owner))
            pending.append((owner, True))
            pending.extend((parent, False) for parent in parents_of(owner))


def _ancestors(start: UvmObject, parents_of: ParentsOf) -> int:
    """How many objects an object would delegate to, as far as they are not too many."""
    ancestors: dict[int, UvmObject] = {}
    pending = [start]
    while pending and len(ancestors) <= ANCESTORS + 1:
        owner = pending.pop()
        if id(owner) not in ancestors:
            ancestors[id(owner)] = owner
            pending.extend(parents_of(owner))
    return len(ancestors) - 1
