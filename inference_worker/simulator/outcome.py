"""What came of a run: the numbers that policies are compared by, of a simulated worker or of a recorded one. Pure."""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from inference_worker.simulator.batch import SimulatedRequest
from inference_worker.simulator.stock import StockWorker
from inference_worker.simulator.tiered import TieredWorker
from inference_worker.simulator.worker import SimulatedWorker
from inference_worker.trace import Trace

TIERS = ("hot", "warm", "cold", "remote")

RECORDED = "recorded"
"""In place of a policy: what a real worker did."""


class TierOutcome(Struct, frozen=True):
    """One tier. `found`: share of the counted requests with an adapter whose adapter was there when they arrived. `adapters` and `used`
    (bytes) at the end; `budget`: bytes, 0 for no bound. `entered` and `evicted`: adapters, in the whole run."""

    name: str
    found: float
    adapters: int
    used: int
    budget: int
    entered: int
    evicted: int


class Outcome(Struct, frozen=True):
    """One run. Requests of the warm-up (`skip_s`) ran, but count only in the tiers' moves, the stalls and the rates.

    `first_token` and `wait` (arrival to admission): mean, p50, p90, p99 in seconds. `first_token_p99`: by priority.
    `seconds`: from the first arrival to the last token. `busy`: share of that in which the engine worked. `stall_longest_s`,
    `stall_total_s`, `stalls`: while sequences were being decoded, and another's adapter was being loaded. `prefetched`: moves begun before
    a request needed them. `unfinished`: requests left over when nothing moved any more.
    """

    policy: str
    machine: str
    adapters: int
    asked_for: int
    requests: int
    counted: int
    refused: int
    unfinished: int
    seconds: float
    busy: float
    tokens_s: float
    requests_s: float
    first_token: dict[str, float]
    first_token_p99: dict[str, float]
    wait: dict[str, float]
    tiers: list[TierOutcome]
    prefetched: int
    prefetched_used: int
    stalls: int
    stall_longest_s: float
    stall_total_s: float

    def arrival_share(self, *tiers: str) -> float:
        """Share of the requests whose adapter was in one of these tiers when they arrived."""
        return sum(tier.found for tier in self.tiers if tier.name in tiers)


def outcome(worker: SimulatedWorker, policy: str, adapters: int, skip_s: float = 0.0) -> Outcome:
    """The numbers of a run that is over."""
    requests = worker.requests
    counted = [request for request in requests if request.arrived - worker.begins >= skip_s and request.first >= 0]
    ends = max((request.done for request in requests), default=worker.begins)
    seconds = max(ends - worker.begins, 1e-9)
    prefetched, prefetched_used = (0, 0)
    if isinstance(worker, TieredWorker):
        statistics = worker.core.statistics(0)
        prefetched, prefetched_used = statistics.prefetched, statistics.prefetched_used
    return Outcome(
        policy=policy,
        machine=worker.machine.name,
        adapters=adapters,
        asked_for=len({request.adapter for request in requests if request.adapter is not None}),
        requests=len(requests),
        counted=len(counted),
        refused=sum(bool(request.refused) for request in requests),
        unfinished=sum(request.done < 0 and not request.refused for request in requests),
        seconds=seconds,
        busy=min(1.0, worker.busy_s / seconds),
        tokens_s=worker.batch.tokens / seconds,
        requests_s=sum(request.done >= 0 for request in requests) / seconds,
        first_token=quantiles([request.first - request.arrived for request in counted]),
        first_token_p99=_by_priority([(request.record.priority, request.first - request.arrived) for request in counted]),
        wait=quantiles([request.admitted - request.arrived for request in counted]),
        tiers=_tiers(worker, counted),
        prefetched=prefetched,
        prefetched_used=prefetched_used,
        stalls=len(worker.stalls),
        stall_longest_s=max((stall.seconds for stall in worker.stalls), default=0.0),
        stall_total_s=sum(stall.seconds for stall in worker.stalls),
    )


def recorded(trace: Trace, skip_s: float = 0.0) -> Outcome | None:
    """What a real worker did with a recorded trace, as far as the trace says; None when it does not.

    Waits, moves, stalls and prefetches are not in a trace, and zero here.
    """
    records = trace.records
    counted = [record for record in records if record.first_token_s and record.at >= skip_s]
    if not counted:
        return None
    with_adapter = [record for record in counted if record.found]
    seconds = max(max(record.at + record.total_s for record in records), 1e-9)
    return Outcome(
        policy=RECORDED,
        machine="",
        adapters=len(trace.adapters),
        asked_for=len(trace.adapters),
        requests=len(records),
        counted=len(counted),
        refused=0,
        unfinished=0,
        seconds=seconds,
        busy=0.0,
        tokens_s=sum(record.streams * record.tokens for record in records) / seconds,
        requests_s=len(records) / seconds,
        first_token=quantiles([record.first_token_s for record in counted]),
        first_token_p99=_by_priority([(record.priority, record.first_token_s) for record in counted]),
        wait=quantiles([]),
        tiers=[
            TierOutcome(name, sum(record.found == name for record in with_adapter) / max(len(with_adapter), 1), 0, 0, 0, 0, 0)
            for name in TIERS
        ],
        prefetched=0,
        prefetched_used=0,
        stalls=0,
        stall_longest_s=0.0,
        stall_total_s=0.0,
    )


def _by_priority(waits: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The p99 of each priority that occurs, in the order of their urgency."""
    grouped = {priority: [wait for urgency, wait in waits if urgency == priority] for priority in ("interactive", "normal", "background")}
    return {priority: quantiles(values)["p99"] for priority, values in grouped.items() if values}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Mean, p50, p90 and p99 (the smallest value that so many are not above); zeros without values."""
    ordered = sorted(values)
    if not ordered:
        return dict.fromkeys(("mean", "p50", "p90", "p99"), 0.0)
    percentiles = {f"p{percent}": ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] for percent in (50, 90, 99)}
    return {"mean": sum(ordered) / len(ordered), **percentiles}


def _tiers(worker: SimulatedWorker, counted: Iterable[SimulatedRequest]) -> list[TierOutcome]:
    arrivals = dict.fromkeys(TIERS, 0)
    for request in counted:
        if request.arrival_tier:
            arrivals[request.arrival_tier] += 1
    total = max(sum(arrivals.values()), 1)
    if isinstance(worker, TieredWorker):
        return [
            TierOutcome(tier.name.value, arrivals[tier.name.value] / total, tier.adapters, tier.used, tier.budget, tier.entered, tier.left)
            for tier in worker.core.statistics(0).tiers
        ]
    if isinstance(worker, StockWorker):
        return [
            TierOutcome(
                name,
                arrivals[name] / total,
                worker.places[name],
                worker.places[name] * worker.machine.slot_bytes,
                budget,
                worker.entered[name],
                worker.evicted[name],
            )
            for name, budget in (("hot", worker.machine.slots * worker.machine.slot_bytes), ("warm", worker.machine.ram))
        ] + [TierOutcome("cold", arrivals["cold"] / total, 0, 0, 0, 0, 0)]
    raise TypeError(f"a {type(worker).__name__} has no tiers that could be counted")
