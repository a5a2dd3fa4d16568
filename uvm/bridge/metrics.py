"""The bridge's numbers, for Prometheus and for GetStatus alike. Used by the bridge's one thread, once a process.

Several of them change with each message, so that they are plain numbers here, and become Prometheus' families only when somebody
asks. Prometheus asks in a thread of its own: it copies what it reads, each in one step of the interpreter.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)
BRIEF_S = 0.1
"""What a message counts at most in `brief_sum`: a few that wait for the model say nothing of how fast the others are."""
_BOUNDS = [*(str(float(bound)) for bound in _SECONDS), "+Inf"]


class Meters(Collector):
    """Counts what the bridge does."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._messages: Counter[str] = Counter()
        self._replies: Counter[str] = Counter()
        self._assigned: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._seconds = [0] * len(_BOUNDS)
        self._sum_seconds = 0.0
        self._brief_seconds = 0.0
        self._held = 0
        registry.register(self)

    def message(self, kind: str) -> None:
        """A tool's message was read."""
        self._messages[kind] += 1

    def reply(self, type: str, seconds: float | None = None) -> None:
        """A tool was answered; `seconds` since its message arrived, when a UVM ran it."""
        self._replies[type] += 1
        if seconds is not None:
            self._seconds[bisect_left(_SECONDS, seconds)] += 1
            self._sum_seconds += seconds
            self._brief_seconds += min(seconds, BRIEF_S)

    def assigned(self, alone: bool) -> None:
        """A UVM was given a message."""
        self._assigned["yes" if alone else "no"] += 1

    def lost(self, clean: bool) -> None:
        """A UVM went."""
        self._lost["yes" if clean else "no"] += 1

    def event(self, topic: str) -> None:
        """An event was published."""
        self._events[topic] += 1

    def queue(self, held: int) -> None:
        """So many messages are without an answer now."""
        self._held = held

    def numbers(self) -> dict[str, Any]:
        """Everything as plain values: name → number, or name → label → number."""
        return {
            "messages": dict(self._messages),
            "replies": dict(self._replies),
            "uvms_lost": dict(self._lost),
            "events": dict(self._events),
            "seconds": {"count": sum(self._seconds), "sum": self._sum_seconds, "brief_sum": self._brief_seconds},
        }

    def collect(self) -> Iterable[Metric]:
        """The same for Prometheus."""
        yield _family("batos_bridge_messages", "messages from tools, by kind", "kind", self._messages)
        yield _family("batos_bridge_replies", "answers to tools, by their op or error type", "type", self._replies)
        seconds = zip(_BOUNDS, accumulate(self._seconds.copy()), strict=True)
        yield HistogramMetricFamily("batos_bridge_seconds", "from arrival to answer", list(seconds), self._sum_seconds)
        yield _family("batos_bridge_assigned", "messages given to UVMs; alone: after a death", "alone", self._assigned)
        yield _family("batos_bridge_uvms_lost", "UVMs that went; clean: they said so", "clean", self._lost)
        yield _family("batos_bridge_events", "events published, by topic", "topic", self._events)
        yield GaugeMetricFamily("batos_bridge_messages_held", "messages without an answer", self._held)


def _family(name: str, documentation: str, label: str, counted: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, number in dict(counted).items():
        family.add_metric([value], number)
    return family
