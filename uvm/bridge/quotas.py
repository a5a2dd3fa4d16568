"""What a principal may use in a time: buckets that fill again, one for each quota that is a rate. Pure; `now` is monotonic seconds."""

from functools import lru_cache
from math import ceil

from msgspec import Struct

from deploy.settings import QuotaSettings
from uvm.bridge import refusals
from uvm.protocol import Busy, Error
from uvm.rights import Limits, Spent

RETRY_MS = 250
"""What a tool that is answered Busy is told to wait, where nobody knows how long it will take."""

LONGEST_WAIT_MS = 60_000
MINUTE_S = 60.0
HOUR_S = 3600.0


class Bucket(Struct, eq=False):
    """May spend `most` at once, and gets as much again in `period_s` seconds; `most` 0: without a bound.

    What is used is known afterwards only, so that the level can fall below 0; nothing is begun until it is above.
    """

    most: float
    period_s: float
    level: float
    at: float

    def spend(self, amount: float, now: float) -> None:
        """So much was used."""
        if amount:
            self.refill(now)
            self.level -= amount

    def refill(self, now: float) -> None:
        """Time went by."""
        self.level = min(self.most, self.level + (now - self.at) * self.most / self.period_s)
        self.at = now

    def wait_s(self, now: float) -> float:
        """Seconds until something may be begun; 0: now."""
        if not self.most or self.level > 0:
            return 0.0
        self.refill(now)
        return 0.0 if self.level > 0 else (1e-3 * self.most - self.level) * self.period_s / self.most

    def used(self, now: float) -> float:
        """What of `most` is spent."""
        self.refill(now)
        return round(max(0.0, self.most - self.level), 3)


class Rates:
    """The buckets of one principal, and the sums of what it used since the bridge began."""

    def __init__(self, quota: QuotaSettings, now: float) -> None:
        self.cpu_s = Bucket(quota.cpu_s_per_minute, MINUTE_S, quota.cpu_s_per_minute, now)
        self.generations = Bucket(quota.generations_per_minute, MINUTE_S, quota.generations_per_minute, now)
        self.written = Bucket(quota.written_mb_per_hour * 1e6, HOUR_S, quota.written_mb_per_hour * 1e6, now)
        self.sum_cpu_s = 0.0
        self.sum_generations = 0
        self.sum_bytes = 0
        self.stored = 0

    def change(self, quota: QuotaSettings, now: float) -> None:
        """The quota is another one now; what was spent stays spent."""
        for bucket, most in (
            (self.cpu_s, quota.cpu_s_per_minute),
            (self.generations, quota.generations_per_minute),
            (self.written, quota.written_mb_per_hour * 1e6),
        ):
            bucket.refill(now)
            bucket.level += most - bucket.most
            bucket.most = most

    def spend(self, spent: Spent, now: float) -> None:
        """A message has used so much."""
        self.cpu_s.spend(spent.cpu_s, now)
        self.generations.spend(spent.generations, now)
        self.written.spend(spent.bytes, now)
        self.sum_cpu_s += spent.cpu_s
        self.sum_generations += spent.generations
        self.sum_bytes += spent.bytes
        if spent.stored is not None:
            self.stored = spent.stored

    def statistics(self, now: float) -> dict[str, float]:
        """What is spent of each, the sums since the bridge began, and what it held of the image when it last changed something."""
        return {
            "cpu_s_in_minute": self.cpu_s.used(now),
            "generations_in_minute": self.generations.used(now),
            "written_in_hour": self.written.used(now),
            "cpu_s": round(self.sum_cpu_s, 3),
            "generations": self.sum_generations,
            "written_bytes": self.sum_bytes,
            "stored_bytes": self.stored,
        }

    def wait_s(self, now: float) -> float:
        """Seconds until the principal may begin something; 0: now."""
        return max(self.cpu_s.wait_s(now), self.generations.wait_s(now), self.written.wait_s(now))


@lru_cache(256)
def limits(quota: QuotaSettings) -> Limits:
    """What one message may use."""
    return Limits(quota.ticks, quota.transaction_mb * 1_000_000, quota.objects, ceil(quota.stored_mb * 1_000_000))


def refusal(held: int, held_bytes: int, rates: Rates, quota: QuotaSettings, id: int, size: int, now: float) -> Error | Busy | None:
    """Why a message of so many bytes cannot be taken from a principal that holds so much; None: it can.

    Busy where waiting helps, and for how long; an error where it does not.
    """
    most = quota.queue_mb * 1_000_000
    if size > most:
        return refusals.over_quota(id, "queue_mb", f"one message of {size} bytes", f"{most} bytes in flight")
    if held >= quota.messages or held_bytes + size > most:
        return Busy(id, RETRY_MS)
    wait_s = rates.wait_s(now)
    return Busy(id, min(LONGEST_WAIT_MS, max(RETRY_MS, int(wait_s * 1000)))) if wait_s > 0 else None
