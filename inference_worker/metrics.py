"""The worker's numbers, as Prometheus serves them.

The event loop counts; the endpoint's thread reads. The tiers' numbers are a snapshot that the loop puts here now and then,
so that the scheduler's core is never read while it changes.
"""

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_worker.tiers.statistics import Statistics

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30)

REQUESTS = Counter("batos_inference_requests", "Requests by how they ended", ["outcome"])
TOKENS = Counter("batos_inference_tokens", "Tokens read (prompt) and written (output)", ["kind"])
QUEUED = Histogram("batos_inference_queued_seconds", "Seconds from arrival to the engine", buckets=_SECONDS)
FIRST_TOKEN = Histogram("batos_inference_first_token_seconds", "Seconds from arrival to the first token", buckets=_SECONDS)
ENGINE = Histogram("batos_inference_engine_seconds", "Seconds in the engine, to the last token", buckets=_SECONDS)
WAITS = Histogram("batos_inference_tier_wait_seconds", "Seconds from arrival to admission, adapter's loading included", buckets=_SECONDS)
WAITING = Gauge("batos_inference_waiting", "Requests that wait")
RUNNING = Gauge("batos_inference_running", "Requests in the engine")
ENGINE_STARTS = Counter("batos_inference_engine_starts", "How often an engine was started")
ENDPOINT_RETRIES = Counter("batos_inference_endpoint_retries", "Questions asked of the endpoint again, by why", ["reason"])
MOVES = Counter("batos_inference_tier_moves", "Adapters moved between tiers; failed moves by name_failed", ["move"])
MOVE_SECONDS = Histogram("batos_inference_tier_move_seconds", "Seconds that a move of an adapter took", ["move"], buckets=_SHORT_SECONDS)


class TierCollector(Collector):
    """The tiers as they were when the loop showed them last."""

    def __init__(self) -> None:
        self._shown: tuple[Statistics, int] | None = None

    def show(self, statistics: Statistics, quarantined: int) -> None:
        """Serve these numbers from now on."""
        self._shown = statistics, quarantined

    def collect(self) -> Iterator[Metric]:
        if self._shown is None:
            return
        statistics, quarantined = self._shown
        adapters = GaugeMetricFamily("batos_inference_tier_adapters", "Adapters whose place the tier is", labels=["tier"])
        used = GaugeMetricFamily("batos_inference_tier_bytes", "Bytes that count against the tier's budget", labels=["tier"])
        arrivals = CounterMetricFamily("batos_inference_tier_found", "Requests whose adapter was in the tier on arrival", labels=["tier"])
        for tier in statistics.tiers:
            adapters.add_metric([tier.name], tier.adapters)
            used.add_metric([tier.name], tier.used)
            arrivals.add_metric([tier.name], tier.arrivals)
        prefetches = CounterMetricFamily(
            "batos_inference_tier_prefetches", "Moves begun before a request asked, by whether one then found them", labels=["used"]
        )
        prefetches.add_metric(["yes"], statistics.prefetched_used)
        prefetches.add_metric(["no"], max(0, statistics.prefetched - statistics.prefetched_used))
        quarantine = GaugeMetricFamily("batos_inference_tier_quarantined", "Directories of adapters in quarantine", value=quarantined)
        yield from (adapters, used, arrivals, prefetches, quarantine)


TIERS = TierCollector()
REGISTRY.register(TIERS)
