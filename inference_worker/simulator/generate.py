"""Drawn traces: many adapters, few of them popular, and sessions that go from one persona to the next in a habit.

- Popularity is Zipf's law: the adapter of rank k is drawn with a weight of 1 / k^zipf (Breslau et al., "Web Caching and
  Zipf-like Distributions", 1999).
- Arrivals are Poisson with `rate` a second, each in one of `sessions` sessions, chosen at random.
- A session has a habit, which is what a predictor can learn: each adapter has a successor, drawn once by popularity, and
  with probability `order` the session's next request is for the successor of its last one; otherwise by popularity. With
  `order` 0 the requests are independent, and there is nothing to learn but popularity.
- Prompts and outputs have lognormal lengths of the given means (sigma 0.6), at least one token.
- `interactive` and `background` are shares of the sessions, `plain` is the share of requests without adapter.

The same parameters give the same trace: every draw comes from one seeded generator.
"""

import bisect
import itertools
import math
import random

from inference_worker.trace import Trace, TraceError, TraceParameters, TraceRecord, Urgency, adapter_name, in_order

_SIGMA = 0.6


def generate(parameters: TraceParameters) -> Trace:
    """Draw a trace. Raises TraceError when it would be empty or the shares exceed 1."""
    if parameters.interactive + parameters.background > 1:
        raise TraceError(
            f"interactive {parameters.interactive} and background {parameters.background} are shares of the sessions; "
            "together they are at most 1"
        )
    draw = random.Random(parameters.seed)
    popular = _Popularity(parameters.adapters, parameters.zipf, draw)
    successors: dict[int, int] = {}
    last: dict[int, int] = {}
    records: list[TraceRecord] = []
    at = draw.expovariate(parameters.rate)
    while at < parameters.seconds:
        session = draw.randrange(parameters.sessions)
        number: int | None = None
        if draw.random() >= parameters.plain:
            before = last.get(session)
            if before is not None and draw.random() < parameters.order:
                number = successors.setdefault(before, -1)
                if number < 0:
                    number = successors[before] = popular.sample()
            else:
                number = popular.sample()
            last[session] = number
        records.append(
            TraceRecord(
                at=round(at, 4),
                prompt_tokens=_length(draw, parameters.prompt_tokens),
                tokens=_length(draw, parameters.tokens),
                adapter=None if number is None else adapter_name(number),
                session=f"s{session}",
                priority=_priority(session, parameters),
                client=f"c{session}",
            )
        )
        at += draw.expovariate(parameters.rate)
    if not records:
        raise TraceError(f"{parameters.rate} requests a second for {parameters.seconds} s drew none; ask for more of either")
    return Trace(in_order(records), parameters)


class _Popularity:
    """Draws adapters by Zipf's law."""

    def __init__(self, adapters: int, exponent: float, draw: random.Random) -> None:
        self._sums = list(itertools.accumulate(rank**-exponent for rank in range(1, adapters + 1)))
        self._draw = draw

    def sample(self) -> int:
        """A popularity rank, 0 the most wanted."""
        return min(bisect.bisect_left(self._sums, self._draw.random() * self._sums[-1]), len(self._sums) - 1)


def _length(draw: random.Random, mean: float) -> int:
    return max(1, round(draw.lognormvariate(math.log(mean) - _SIGMA**2 / 2, _SIGMA)))


def _priority(session: int, parameters: TraceParameters) -> Urgency:
    """By the session's number, spread evenly, so that the share holds for few sessions too."""
    place = (session + 0.5) / parameters.sessions
    if place < parameters.interactive:
        return "interactive"
    return "background" if place > 1 - parameters.background else "normal"
