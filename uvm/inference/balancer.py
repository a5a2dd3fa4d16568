"""Which inference worker a question goes to. Pure: no clock, no socket; `uvm.inference.client` tells what it hears and does what is chosen.

The rule is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018): a worker that holds the question's
adapter has it, and where none does, the one to which a rendezvous hash gives it, so that all UVMs agree without talking; but only
while its load exceeds the least loaded worker's by no more than `SPREAD`. Past that, waiting for the adapter's worker costs more than
a load elsewhere, and the question goes to the least loaded one.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

from deploy.settings import Configuration, SettingsError
from inference_worker.protocol import Generate, Health

SILENT_S: Final = 3.0
"""A worker that was asked for its health and has said nothing at all for so long is left out, seconds."""
STALE_S: Final = 3.0
"""A load that was reported longer ago says nothing, seconds; the adapters are still believed."""
SPREAD: Final = 0.5
"""How much more loaded the adapter's worker may be than the least loaded one, as a share of its streams."""
STREAMS: Final = 16
"""Streams of a worker that has not said how many it has."""


class Worker(Struct, frozen=True):
    """What is known of one worker. Times are the caller's monotonic seconds.

    `asked_at`: when its health was first asked for since it last said anything, or None when no asking is open. `sent`: outputs that were
    asked of it since its last health, which that could not count yet.
    """

    endpoint: str
    health: Health | None = None
    heard_at: float = 0.0
    asked_at: float | None = None
    sent: int = 0

    def silent(self, now: float) -> bool:
        """Whether it owes an answer for longer than `SILENT_S`."""
        return self.asked_at is not None and now - self.asked_at > SILENT_S

    def load(self, now: float) -> float:
        """Outputs that it decodes or holds, as a share of what it decodes together; above 1 somebody waits."""
        fresh = self.health is not None and now - self.heard_at <= STALE_S
        busy = self.health.waiting + self.health.running if self.health is not None and fresh else 0
        streams = self.health.streams if self.health is not None and self.health.streams else STREAMS
        return (busy + self.sent) / streams


def endpoints(configuration: Configuration) -> list[str]:
    """The addresses of the inference workers: our own, then the further ones. Raises SettingsError for what is no address."""
    for address in configuration.settings.inference.workers:
        if not re.fullmatch(r"ipc://.+|tcp://.+:\d{1,5}", address):
            raise SettingsError(f"inference.workers names {address!r}; allowed: ipc://PATH and tcp://HOST:PORT")
    return list(dict.fromkeys([configuration.inference_endpoint, *configuration.settings.inference.workers]))


def choose(question: Generate, workers: Sequence[Worker], now: float, without: Collection[int] = ()) -> int | None:
    """The number of the worker to ask, or None when all are silent or among `without` (they refused this question, or were busy)."""
    loads = {number: one.load(now) for number, one in enumerate(workers) if number not in without and not one.silent(now)}
    if not loads:
        return None
    least = min(loads.values())
    near = [number for number, load in loads.items() if load <= least + SPREAD]
    return max(near, key=lambda number: (_affinity(question, workers[number]), -loads[number], -number))


def _affinity(question: Generate, worker: Worker) -> tuple[bool, bool, int]:
    """How much speaks for a worker besides its load: the model in its engine, the adapter in its memory, and the hash."""
    health, adapter = worker.health, question.adapter
    has_model = health is not None and health.model == question.model
    if not adapter:
        return has_model, False, 0
    drawn = hashlib.blake2b(f"{adapter} {worker.endpoint}".encode(), digest_size=8).digest()
    return has_model, health is not None and adapter in health.adapters, int.from_bytes(drawn)
