"""The scheduler's numbers as plain structs, the same that the protocol's `Adapters`, the metrics and the simulator show."""

from msgspec import Struct

from inference_worker.tiers.events import Tier


class AdapterStatistics(Struct, frozen=True):
    """One adapter. `size`: bytes where it is. `uses`: requests admitted with it. `load_s`: how long it last took from cold
    to hot, seconds. `idle_s`: since it was last asked for, seconds, or -1 when it never was."""

    adapter: str
    tier: Tier
    size: int
    rank: int
    uses: int
    load_s: float
    idle_s: float


class TierStatistics(Struct, frozen=True):
    """One tier: hot, warm, cold or remote. `adapters`: those whose place it is.

    `used`: bytes that count against `budget` (0: no bound): slots taken, all that is parsed in RAM (hot ones too), files
    that came from a peer. `arrivals`: requests whose adapter was there when they arrived. `entered` and `left`: moves into it
    from below, and evictions from it. `move_s`: mean time to enter, seconds.
    """

    name: Tier
    adapters: int
    used: int
    budget: int
    arrivals: int
    entered: int
    left: int
    move_s: float


class Statistics(Struct, frozen=True):
    """Everything. `tiers`: hot, warm, cold, remote. `adapters`: the most recently asked for first. `waits`: p50, p90 and p99
    of the time from arrival to admission of the last 1,000 requests, seconds. `prefetched`: reads and commits begun before
    a request needed them; `prefetched_used`: those that a request found before they were evicted. `streams`: sequences that run.
    """

    policy: str
    tiers: list[TierStatistics]
    adapters: list[AdapterStatistics]
    registered: int
    waiting: int
    running: int
    streams: int
    waits: dict[str, float]
    prefetched: int
    prefetched_used: int
