"""The row on many adapters: 200 of them, 4 slots, requests drawn by Zipf's law, at 70 % of what stock can do.

Stock may keep all 200 in RAM (`max_cpu_loras`), the worker has a RAM budget that holds as many; both have seen each adapter once before it
begins. Stock's capacity is measured first, on the same mix, all requests at once. The same arrivals are then played to both, in halves
in turn (stock, ours, ours, stock). Times count from when a request was due.
"""

from collections import Counter

import msgspec

from benchmarks.serving import loads
from benchmarks.serving.client import Worker
from benchmarks.serving.process import EngineProcess
from benchmarks.serving.progress import say
from benchmarks.serving.table import Row
from benchmarks.serving.wire import Ask, Transcript

ADAPTERS = 200
SHARE = 0.7
GOAL = 0.25
_TOKENS = 24
_LIMIT_S = 400.0


def rows(stock: EngineProcess, worker: Worker, arrivals: int, seed: int, everything: bool) -> list[Row]:
    """The row. `everything`: both see all adapters before, not only those that will be asked for, which saves half a minute."""
    unique = loads.numbers(seed)
    # All at once: what stock takes when it has as much to do as it can. Twice the streams, at least.
    flood = loads.zipf(unique, max(32, arrivals // 4), ADAPTERS, 0.0, _TOKENS, seed)
    draws = [loads.zipf(unique, arrivals // 2, ADAPTERS, 1.0, _TOKENS, seed + half) for half in (1, 2)]
    adapters = range(ADAPTERS) if everything else sorted({ask.adapter for load in (flood, *draws) for ask in load})
    once = [Ask(prompt=loads.prompt(next(unique), loads.SHORT), tokens=1, adapter=adapter) for adapter in adapters]
    with stock.awake():
        stock.play(once, timeout_s=_LIMIT_S)
        say(f"crowd: stock has seen {len(once)} adapters")
        capacity = _capacity(stock.play(flood, timeout_s=_LIMIT_S))
    worker.play(once, timeout_s=_LIMIT_S)
    say(f"crowd: ours has seen {len(once)} adapters; stock's capacity is {capacity:.2f} requests/s")
    rate = SHARE * capacity
    halves = [[msgspec.structs.replace(ask, at_s=ask.at_s / rate) for ask in load] for load in draws]
    transcripts: dict[str, list[Transcript]] = {"stock": [], "ours": []}
    for name, half in (("stock", 0), ("ours", 0), ("ours", 1), ("stock", 1)):
        if name == "stock":
            with stock.awake():
                transcripts[name] += stock.play(halves[half], timeout_s=_LIMIT_S)
        else:
            transcripts[name] += worker.play(halves[half], timeout_s=_LIMIT_S)
        say(f"crowd: {name} has played half {half + 1}")
    return [_row(transcripts, capacity, arrivals)]


def _capacity(transcripts: list[Transcript]) -> float:
    """Requests a second that were completed."""
    return len(transcripts) / max(transcript.times_s[-1] for transcript in transcripts)


def _row(transcripts: dict[str, list[Transcript]], capacity: float, arrivals: int) -> Row:
    first_s = {name: [transcript.first_s for transcript in those] for name, those in transcripts.items()}
    p50, p99 = ({name: loads.quantile(values, share) for name, values in first_s.items()} for share in (0.5, 0.99))
    ratio = p99["ours"] / p99["stock"]
    tiers = Counter(transcript.arrival_tier for transcript in transcripts["ours"])
    places = ", ".join(f"{tiers[place] / len(transcripts['ours']):.0%} {place}" for place in ("hot", "warm", "cold") if tiers[place])
    return Row(
        name=f"{ADAPTERS} adapters, 4 slots, Zipf 1.0, {SHARE:.0%} of stock's capacity: first token p50 / p99",
        stock=f"{p50['stock'] * 1000:.0f} / {p99['stock'] * 1000:.0f} ms",
        ours=f"{p50['ours'] * 1000:.0f} / {p99['ours'] * 1000:.0f} ms  ({ratio:.2f} of stock's p99)",
        goal=f"p99 ≤ {GOAL:g} of stock's",
        met=ratio <= GOAL,
        note=f"{arrivals} arrivals, {SHARE * capacity:.2f}/s of {_TOKENS} tokens; on arrival {places}"
        + ("; with so few, p99 is the worst" if arrivals < 100 else ""),
        raw={
            "capacity": capacity,
            "first_s": first_s,
            "found": dict(tiers),
            "tokens": {k: sum(map(_written, v)) for k, v in transcripts.items()},
        },
    )


def _written(transcript: Transcript) -> int:
    return sum(transcript.counts)
