"""Cost of finding a slot, as a multiple of a plain Python method call in the same run.

The peer is a recursive lookup over a PersistentMapping.
"""

import timeit
from functools import partial
from typing import Any

from persistent import Persistent
from persistent.mapping import PersistentMapping

from uvm.objects import PARENTS, UvmObject


class Plain:
    """The floor."""

    def answer(self) -> int:
        return 1


class Recursive(Persistent):
    """The peer: slots in a persistent object of their own, parents asked one by one."""

    def __init__(self, **slots: Any) -> None:
        self._slots = PersistentMapping(slots)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._slots:
            return self._slots[name]
        for parent in self._slots.get("parents", ()):
            try:
                return getattr(parent, name)
            except AttributeError:
                continue
        raise AttributeError(name)


def chain(depth: int) -> UvmObject:
    """An object whose ancestor of that depth has the slot."""
    descendant = UvmObject({"answer": 1})
    for _ in range(depth):
        descendant = UvmObject({PARENTS: [descendant]})
    return descendant


def peer_chain(depth: int) -> Recursive:
    """The same with the peer."""
    descendant = Recursive(answer=1)
    for _ in range(depth):
        descendant = Recursive(parents=[descendant])
    return descendant


def best(function: Any, number: int = 100_000) -> float:
    """Seconds per call, the best of five runs."""
    return min(timeit.repeat(function, number=number, repeat=5)) / number


def main() -> None:
    """Print the table."""
    plain = Plain()
    floor = best(partial(plain.answer))
    print(f"plain method call: {floor * 1e9:.0f} ns (1.0)")
    print(f"{'depth':>5} {'ours':>8} {'peer':>8}")
    for depth in (0, 1, 4, 8):
        mine, theirs_chain = chain(depth), peer_chain(depth)
        ours, theirs = best(partial(mine.lookup, "answer")), best(partial(getattr, theirs_chain, "answer"), 20_000)
        print(f"{depth:>5} {ours / floor:>8.1f} {theirs / floor:>8.1f}")


if __name__ == "__main__":
    main()
