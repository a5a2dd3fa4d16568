"""The scheduler's numbers in the protocol's words. Pure."""

from collections.abc import Sequence

from inference_worker.adapters.quarantine import Quarantined
from inference_worker.protocol import Adapters, AdapterState, TierState
from inference_worker.tiers.events import Tier
from inference_worker.tiers.statistics import Statistics


def adapters(identifier: str, statistics: Statistics, quarantined: Sequence[Quarantined], limit: int) -> Adapters:
    """The answer to AskAdapters: what is listed by use, then what is in quarantine, the latest first, `limit` of each at most."""
    listed = [
        AdapterState(adapter.adapter, adapter.tier.value, adapter.size, adapter.rank, adapter.uses, adapter.load_s, adapter.idle_s)
        for adapter in statistics.adapters
    ]
    bad = [AdapterState(entry.digest, "quarantined", entry.size, 0, detail=entry.reason) for entry in reversed(quarantined)]
    return Adapters(
        id=identifier,
        policy=statistics.policy,
        tiers=[
            TierState(tier.name.value, tier.adapters, tier.used, tier.budget, tier.arrivals, tier.entered, tier.left, tier.move_s)
            for tier in statistics.tiers
        ],
        adapters=listed + bad[:limit],
        registered=statistics.registered,
        quarantined=len(quarantined),
        waits=statistics.waits,
        prefetched=statistics.prefetched,
        prefetched_used=statistics.prefetched_used,
    )


def at_hand(statistics: Statistics) -> list[str]:
    """Digests of what is hot or warm, the most recently used last."""
    return [adapter.adapter for adapter in reversed(statistics.adapters) if adapter.tier in (Tier.HOT, Tier.WARM)]
