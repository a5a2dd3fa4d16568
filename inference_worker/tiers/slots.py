"""Slots in turns: which hot adapter gives way to which wanted one. Owned by the scheduler's core, called in its thread.

When more adapters are wanted than there are slots, later arrivals for an adapter in a slot may pass the one that waits for a
slot for `pass_s`; then a slot is promised to it: nothing later is admitted there, what runs in it ends, and it is free. The slot
that admitted nobody for the longest is taken, since it will be idle soonest. An adapter that was loaded for somebody keeps
its slot for `tenure` times what the loading took, so that loading never becomes the main work; all that wait for it meanwhile
run together. It does not against a request that is overdue or has the turn, nor for requests of a class behind.

A promise is kept, unless somebody before its holder needs the slot: then it is taken over.
"""

from inference_worker.tiers.budgets import SchedulingLimits
from inference_worker.tiers.places import PlacedAdapter, Places
from inference_worker.tiers.policies.policy import Policy
from inference_worker.tiers.queue import OVERDUE, Request, Waiting


class Slots:
    """Promises of slots: `PlacedAdapter.yields_to` and `PlacedAdapter.takes` are its own."""

    def __init__(self, places: Places, waiting: Waiting, policy: Policy, limits: SchedulingLimits) -> None:
        self._places, self._waiting, self._policy, self._limits = places, waiting, policy, limits

    def spare(self) -> list[PlacedAdapter]:
        """Hot adapters that nothing uses, nobody waits for, and nobody was promised."""
        return [
            adapter
            for adapter in self._places.hot.values()
            if adapter.is_idle and adapter.yields_to is None and not self._waiting.waits_for(adapter.digest)
        ]

    def idle_for(self, adapter: PlacedAdapter) -> PlacedAdapter | None:
        """The hot adapter to retire for the wanted one: what it was promised, what is spare, or what one behind it was promised."""
        head = self._waiting.head(adapter.digest)
        slots = (giver for giver in adapter.takes if giver.is_idle)
        if (promised := next(slots, None)) is not None or head is None:
            return promised
        if spares := self.spare():
            return min(spares, key=lambda spare: self._policy.worth(spare.digest))
        idle = (hot for hot in self._places.hot.values() if hot.is_idle and hot.yields_to is not None)
        return next((hot for hot in idle if self._is_promisable(hot, head) and not self._is_ahead(hot, head)), None)

    def give_way(self, awaited: list[PlacedAdapter], at: float) -> None:
        """Have as many slots give way as the wanted adapters need beyond those that are free or spare."""
        available = self._places.free_slots + len(self.spare())
        for adapter in awaited:
            if adapter.takes:
                continue
            if available > 0:
                available -= 1
                continue
            self.promise(adapter, at)

    def promise(self, adapter: PlacedAdapter, at: float, foreign_only: bool = False) -> PlacedAdapter | None:
        """Find a slot that must give way to the wanted adapter, and tell it so; returns whose slot it is."""
        head = self._waiting.head(adapter.digest)
        if head is None or (head.level > OVERDUE and at - head.arrival.at < self._limits.pass_s):
            return None
        candidates = [
            hot
            for hot in self._places.hot.values()
            if self._is_promisable(hot, head) and (hot.foreign or not foreign_only) and self._must_yield(hot, head, at)
        ]
        if not candidates:
            return None
        giving = min(candidates, key=lambda candidate: (candidate.yields_to is not None, candidate.last_s))
        if giving.yields_to is not None:
            giving.yields_to.takes.remove(giving)
        giving.yields_to = adapter
        adapter.takes.append(giving)
        return giving

    def _is_promisable(self, adapter: PlacedAdapter, head: Request) -> bool:
        """Whether the hot adapter's slot is promised to nobody, or to one that waits behind the request.

        Could a promise not be taken over, one that was promised a slot but has to wait for the request would block it for ever.
        """
        if adapter.yields_to is None:
            return True
        awaiting = self._waiting.head(adapter.yields_to.digest)
        return awaiting is None or head.order < awaiting.order

    def _is_ahead(self, adapter: PlacedAdapter, head: Request) -> bool:
        """Whether somebody before the request waits for the adapter."""
        first = self._waiting.head(adapter.digest)
        return first is not None and first.order < head.order

    def _must_yield(self, adapter: PlacedAdapter, head: Request, at: float) -> bool:
        """Whether the hot adapter's slot may be told to give way to the request."""
        later = self._waiting.head(adapter.digest)
        if self._is_ahead(adapter, head):
            return False
        if head.level <= OVERDUE or (later is not None and later.level > head.level):
            return True
        return adapter.first_s is not None and at - adapter.first_s >= self._limits.tenure * adapter.load_s

    def release(self, adapter: PlacedAdapter) -> None:
        """Nothing has to give way to the adapter, and it gives way to nothing."""
        for giver in adapter.takes:
            giver.yields_to = None
        adapter.takes = []
        if adapter.yields_to is not None:
            adapter.yields_to.takes.remove(adapter)
            adapter.yields_to = None
