"""The bridge's numbers, for Prometheus and for GetStatus alike. Used by the bridge's one thread, once a process."""

from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)


class Meters:
    """Counts what the bridge does."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._messages = Counter("batos_bridge_messages", "messages from tools, by kind", ["kind"], registry=registry)
        self._replies = Counter("batos_bridge_replies", "answers to tools, by their op or error type", ["type"], registry=registry)
        self._seconds = Histogram("batos_bridge_seconds", "from arrival to answer", buckets=_SECONDS, registry=registry)
        self._assigned = Counter("batos_bridge_assigned", "messages given to UVMs; alone: after a death", ["alone"], registry=registry)
        self._lost = Counter("batos_bridge_uvms_lost", "UVMs that went; clean: they said so", ["clean"], registry=registry)
        self._events = Counter("batos_bridge_events", "events published, by topic", ["topic"], registry=registry)
        self._queue = Gauge("batos_bridge_messages_held", "messages without an answer", registry=registry)

    def message(self, kind: str) -> None:
        """A tool's message was read."""
        self._messages.labels(kind).inc()

    def reply(self, type: str, seconds: float | None = None) -> None:
        """A tool was answered; `seconds` since its message arrived, when a UVM ran it."""
        self._replies.labels(type).inc()
        if seconds is not None:
            self._seconds.observe(seconds)

    def assigned(self, alone: bool) -> None:
        """A UVM was given a message."""
        self._assigned.labels("yes" if alone else "no").inc()

    def lost(self, clean: bool) -> None:
        """A UVM went."""
        self._lost.labels("yes" if clean else "no").inc()

    def event(self, topic: str) -> None:
        """An event was published."""
        self._events.labels(topic).inc()

    def queue(self, held: int) -> None:
        """So many messages are without an answer now."""
        self._queue.set(held)

    def numbers(self) -> dict[str, Any]:
        """Everything as plain values: name → number, or name → label → number."""
        return {
            "messages": _by_label(self._messages),
            "replies": _by_label(self._replies),
            "uvms_lost": _by_label(self._lost),
            "events": _by_label(self._events),
            "seconds": {s.name.rpartition("_")[2]: s.value for m in self._seconds.collect() for s in m.samples if not s.labels},
        }


def _by_label(counter: Counter) -> dict[str, int]:
    samples = [sample for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")]
    return {next(iter(sample.labels.values())): int(sample.value) for sample in samples}
