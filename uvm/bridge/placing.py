"""Which UVM may get a message now, and how much of what. Pure rules over the state of one moment; called by `uvm.bridge.dispatcher`.

A UVM runs its messages one after the other and cannot be interrupted, so whatever it has is in the way of what comes after:

* What a UVM has at a time is bounded by its expected cost, and not by number alone.
* A heavy message, one of a connection whose messages were dear lately, or that could be, as nobody knows: one at a time on a UVM, and
  only where another UVM is free of such. So where there are several UVMs, one of them has light messages only.
* Nothing new goes to a UVM that is stuck in something long, and nothing light behind what is heavy, where there is another UVM.
"""

from collections.abc import Iterable

from uvm.bridge.lanes import Demand, Uvm
from uvm.bridge.shares import Shares, Source

WINDOW_S = 0.006
"""Expected processor seconds of what a UVM has at a time, while several connections are active."""

ALONE_S = 0.05
"""The same while a single connection is active: somebody else may come."""

UNPROVEN = 4
"""Most messages on one UVM of connections of which nothing is known yet, but that others like them were light."""


class Placement:
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
        room = [uvm for uvm in self._usable if uvm.running < self._window]
        if not room:
            return set()
        return {False, True} if any(not uvm.heavy for uvm in room) and self._leaves_light_uvm() else {False}

    def full(self, demand: Demand) -> bool:
        """Can no UVM take such a message, whichever it may go to? Then nobody of its kind goes before it."""
        return not any(self._takes(uvm, demand) for uvm in self._usable)

    def best(self, uvms: Iterable[Uvm], source: Source, demand: Demand) -> Uvm | None:
        """The best of these UVMs for a message of the connection; None: it waits."""
        if self._shares.crowded(source):
            return None
        able = [uvm for uvm in uvms if uvm in self._usable and self._takes(uvm, demand)]
        if demand.heavy:
            # Always the same ones, so that the others stay as they are.
            return min(able, key=lambda uvm: (uvm.running, uvm.name), default=None)
        return min(able, key=lambda uvm: (uvm.heavy, uvm.running, len(uvm.jobs), uvm.name), default=None)

    def _takes(self, uvm: Uvm, demand: Demand) -> bool:
        if uvm.running >= self._window or (uvm.unproven >= UNPROVEN and not demand.proven):
            return False
        if demand.heavy:
            return not uvm.heavy and self._leaves_light_uvm()
        if uvm.heavy and len(self._uvms) > 1:
            return False
        return not uvm.running or uvm.load + demand.cost <= (WINDOW_S if self._contended else ALONE_S)

    def _leaves_light_uvm(self) -> bool:
        """If one without anything heavy gets something heavy, is there another one without, or none other at all?"""
        return len(self._uvms) == 1 or sum([not uvm.heavy for uvm in self._uvms]) > 1
