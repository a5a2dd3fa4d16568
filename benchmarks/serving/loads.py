"""The loads of the benchmark, and what is computed from how they went. Pure functions."""

import itertools
import math
import random
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.serving.wire import NO_ADAPTER, Ask, Transcript

SHORT = 20
"""Tokens of a short prompt."""

_DIGITS = 8

Numbers = Iterator[int]


def numbers(seed: int) -> Numbers:
    """Numbers that make each prompt unlike all others, so that no prefix cache helps anybody."""
    return itertools.count(seed * 100_000)


def prompt(number: int, tokens: int) -> str:
    """A prompt of so many tokens (even, at least 10): SmolLM2 writes each digit and each of the two words as one token."""
    return f"{number:0{_DIGITS}d}" + " the sea" * ((tokens - _DIGITS) // 2)


def decoding(unique: Numbers, streams: int, adapters: int, tokens: int, first: int = 0) -> list[Ask]:
    """`streams` requests at once, spread over `adapters` adapters (0: none)."""
    return [
        Ask(prompt=prompt(next(unique), SHORT), tokens=tokens, adapter=first + index % adapters if adapters else NO_ADAPTER)
        for index in range(streams)
    ]


def first_tokens(unique: Numbers, count: int, tokens: int, adapter: int) -> list[Ask]:
    """`count` prompts of so many tokens, of which only the first token is asked."""
    return [Ask(prompt=prompt(next(unique), tokens), tokens=1, adapter=adapter) for _ in range(count)]


def zipf(unique: Numbers, count: int, adapters: int, rate: float, tokens: int, seed: int, exponent: float = 1.0) -> list[Ask]:
    """Poisson arrivals, `rate` a second (0: all at once), each for an adapter drawn by Zipf's law."""
    draw = random.Random(seed)
    weights = [1 / (rank + 1) ** exponent for rank in range(adapters)]
    at_s = 0.0
    asks = []
    for adapter in draw.choices(range(adapters), weights, k=count):
        at_s += draw.expovariate(rate) if rate else 0.0
        asks.append(Ask(prompt=prompt(next(unique), SHORT), tokens=tokens, at_s=at_s, adapter=adapter, fixed=False))
    return asks


def decode_rate(transcripts: Sequence[Transcript]) -> float:
    """Tokens a second while all streams decode: between the last first token and the first last one."""
    begin, end = max(transcript.times_s[0] for transcript in transcripts), min(transcript.times_s[-1] for transcript in transcripts)
    count = sum(
        many for transcript in transcripts for at_s, many in zip(transcript.times_s, transcript.counts, strict=True) if begin < at_s <= end
    )
    return count / (end - begin) if end > begin else math.nan


def steps(transcripts: Sequence[Transcript]) -> list[tuple[float, float]]:
    """(when it ended, how long it took) of each step in which one of these streams wrote something, seconds.

    Pieces of text that come within half a millisecond are of one step.
    """
    times = sorted(at_s for transcript in transcripts for at_s in transcript.times_s)
    merged = [late for early, late in itertools.pairwise([-math.inf, *times]) if late - early > 0.0005]
    return [(late, late - early) for early, late in itertools.pairwise(merged)]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan
