"""Which UVM may get a message now, and how much of what. Pure rules over the state of one moment; called by `uvm.bridge.dispatcher`.

A UVM runs its messages one after the other and cannot be interrupted, so whatever it has is in the way of what comes after:

* What a UVM has at a time is bounded by its expected cost, and not by number alone.
* A heavy message, one of a connection whose messages were dear lately, or that could be, as nobody knows: one at a time on a UVM, and
  only where another UVM is free of such. So where there are several UVMs, one of them has light messages only.
* Nothing new goes to a UVM that is stuck in something long, and nothing light behind what is heavy, where there is another UVM.
"""

from collections.abc import Iterable

from uvm.bridge.lanes import Uvm
from uvm.bridge.shares import Shares, Source

WINDOW_S = 0.006
"""Expected processor seconds of what a UVM has at a time, while several connections are active."""

ALONE_S = 0.05
"""The same while a single connection is active: somebody else may come."""

UNPROVEN = 4
"""Most messages on one UVM of connections of which nothing is known yet, but that others like them were light."""


class Places:
    """What the UVMs can take at the moment `now`; asked again after each message that was given."""

    def __init__(self, uvms: Iterable[Uvm], window: int, shares: Shares, now: float) -> None:
        self._uvms = [uvm for uvm in uvms if not uvm.ending]
        self._usable = [uvm for uvm in self._uvms if not uvm.examiner and not uvm.stuck(now)]
        self._window = window
        self._shares = shares
        self._contended = shares.contended(now)
        self._now = now

    def open(self) -> set[bool]:
        """The kinds of messages, heavy or not, that some UVM could take."""
        room = [uvm for uvm in self._usable if self._has_room(uvm)]
        light = {False} if room else set()
        return light | {True} if any(not uvm.heavy and self._spares(uvm) for uvm in room) else light

    def full(self, source: Source, size: int) -> bool:
        """Can no UVM take such a message, whichever it may go to? Then nobody of its kind goes before it."""
        heavy, proven, cost = source.heavy(self._now), source.proven, source.expected(size)
        return not any(self._takes(uvm, heavy, proven, cost) for uvm in self._usable)

    def best(self, uvms: Iterable[Uvm], source: Source, size: int) -> Uvm | None:
        """The best of these UVMs for a message of the connection; None: it waits."""
        if self._shares.crowded(source):
            return None
        heavy, proven, cost = source.heavy(self._now), source.proven, source.expected(size)
        able = [uvm for uvm in uvms if uvm in self._usable and self._takes(uvm, heavy, proven, cost)]
        if heavy:
            # Always the same ones, so that the others stay as they are.
            return min(able, key=lambda uvm: (uvm.running, uvm.name), default=None)
        return min(able, key=lambda uvm: (uvm.heavy, uvm.running, len(uvm.jobs), uvm.name), default=None)

    def _takes(self, uvm: Uvm, heavy: bool, proven: bool, cost: float) -> bool:
        if not self._has_room(uvm):
            return False
        if not proven and uvm.unproven >= UNPROVEN:
            return False
        if heavy:
            return not uvm.heavy and self._spares(uvm)
        if len(self._uvms) > 1 and uvm.heavy:
            return False
        return not uvm.running or uvm.load + cost <= (WINDOW_S if self._contended else ALONE_S)

    def _has_room(self, uvm: Uvm) -> bool:
        return uvm.running < self._window

    def _spares(self, uvm: Uvm) -> bool:
        """Is there another UVM without anything heavy, or none other at all?"""
        return len(self._uvms) == 1 or any(not other.heavy for other in self._uvms if other is not uvm)
