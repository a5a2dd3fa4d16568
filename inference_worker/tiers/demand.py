"""Adapters that somebody waits for and that are not hot. Owned by the scheduler's core, called in its thread."""

from bisect import bisect_left, insort

from inference_worker.tiers.events import Tier
from inference_worker.tiers.places import PlacedAdapter
from inference_worker.tiers.queue import Order, Request

Entry = tuple[Order, str]
"""The order of the first request that waits for an adapter, and the adapter."""


class AwaitedAdapters:
    """For each tier those that could move up from it now, in order. What moves already is left out until it arrives, and so is
    what belongs to another model than the engine's, unless it is only to be fetched."""

    def __init__(self) -> None:
        self.model: str | None = None
        """The engine's model; None while there is no engine. Whoever changes it updates all that is waited for."""
        self._tiers: dict[Tier, list[Entry]] = {Tier.REMOTE: [], Tier.COLD: [], Tier.WARM: []}
        self._entries: dict[str, tuple[Tier, Order]] = {}
        self._unmet: set[str] = set()

    def __getitem__(self, tier: Tier) -> list[Entry]:
        """Those to move up from the tier, in order. Not to be changed."""
        return self._tiers[tier]

    @property
    def has_unmet(self) -> bool:
        """Whether somebody waits for an adapter that this engine does not have in a slot, moving ones included."""
        return bool(self._unmet)

    def update(self, adapter: PlacedAdapter, head: Request | None) -> None:
        """The adapter's place changed, or who is first to wait for it (`head`)."""
        is_unmet = head is not None and adapter.tier is not Tier.HOT and head.arrival.model == self.model
        if is_unmet:
            self._unmet.add(adapter.digest)
        else:
            self._unmet.discard(adapter.digest)
        now: tuple[Tier, Order] | None = None
        if head is not None and adapter.goal is None and (is_unmet or adapter.tier is Tier.REMOTE):
            now = adapter.tier, head.order
        before = self._entries.get(adapter.digest)
        if now == before:
            return
        if before is not None:
            awaited = self._tiers[before[0]]
            del awaited[bisect_left(awaited, (before[1], adapter.digest))]
            del self._entries[adapter.digest]
        if now is not None:
            insort(self._tiers[now[0]], (now[1], adapter.digest))
            self._entries[adapter.digest] = now
