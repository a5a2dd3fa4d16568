"""Rows on moving adapters: what a switch adds to the first token, and what a load does to those who are decoding.

Stock is vLLM as it is: an adapter is read, converted and copied inside the step that first needs it. Ours is the worker behind its socket;
where an adapter was is its own word (`Completed.found`). Both have the same slots.
"""

import contextlib
import math
from collections.abc import Sequence

from msgspec import Struct

from benchmarks.serving import loads
from benchmarks.serving.client import Worker
from benchmarks.serving.process import ContestantFailed, EngineProcess
from benchmarks.serving.progress import say
from benchmarks.serving.table import Row
from benchmarks.serving.wire import Ask, Transcript

SLOTS = 4
SET = 2 * SLOTS
"""Adapters of one round of switches: twice as many as there are slots."""

CYCLE = 20
"""Adapters of the sequence that the predictor learns."""

NEWCOMERS = 8
_BACKGROUND = (0, 1, 0)
_FIRST_NEWCOMER_S = 0.6
_BETWEEN_S = 0.3
_PACE_S = 0.4
_NEWCOMERS_TOKENS = 10


class Switches(Struct, frozen=True):
    """First tokens, seconds, by where the adapter was: same (the request before had it too), hot, warm, cold."""

    first_s: dict[str, list[float]]

    def added(self, place: str) -> float:
        """Median time that an adapter in this place adds to the first token, seconds."""
        return loads.median(self.first_s.get(place, [])) - loads.median(self.first_s["same"])


def plan(first: int) -> list[tuple[str, int]]:
    """Adapters `first` to `first + SET - 1`, unused before, in an order in which vLLM, which evicts the longest unused, finds them so."""
    fresh = range(first, first + SET)
    last = fresh[-SLOTS:]
    order = [(place, adapter) for adapter in fresh for place in ("cold", "same")]
    order += [("hot", adapter) for adapter in (last[1], last[0], last[2], last[1], last[3], last[0], last[2])]
    return order + [("warm", adapter) for adapter in fresh]


def stock_switches(stock: EngineProcess, unique: loads.Numbers, first: int, rounds: int) -> Switches:
    by_place: dict[str, list[float]] = {}
    with stock.awake():
        for number in range(rounds):
            order = plan(first + number * SET)
            transcripts = stock.play([_ask(unique, adapter) for _, adapter in order], one_by_one=True)
            for (place, _), transcript in zip(order, transcripts, strict=True):
                by_place.setdefault(place, []).append(transcript.first_s)
    return Switches(by_place)


def worker_switches(worker: Worker, unique: loads.Numbers, first: int, rounds: int) -> Switches:
    by_place: dict[str, list[float]] = {}
    for number in range(rounds):
        order = plan(first + number * SET)
        transcripts = worker.play([_ask(unique, adapter) for _, adapter in order], one_by_one=True)
        before = None
        for (_, adapter), transcript in zip(order, transcripts, strict=True):
            by_place.setdefault("same" if adapter == before and transcript.arrival_tier == "hot" else transcript.arrival_tier, []).append(
                transcript.first_s
            )
            before = adapter
    return Switches(by_place)


class Prefetched(Struct, frozen=True):
    """First tokens of a learned sequence, seconds, by where each adapter was on arrival; and how many had to be read from disk for it."""

    first_s: dict[str, list[float]]
    read: int


def prefetched(worker: Worker, unique: loads.Numbers, first: int, passes: int) -> Prefetched:
    """A session goes round `CYCLE` adapters, more than RAM holds: three times to be learned, then at a reader's pace."""
    cycle = [_ask(unique, first + number, session="bench") for _ in range(3) for number in range(CYCLE)]
    worker.play(cycle, one_by_one=True)
    before = _entered_warm(worker)
    by_place: dict[str, list[float]] = {}
    for _ in range(passes):
        paced = [_ask(unique, first + number, session="bench", at_s=(number + 1) * _PACE_S) for number in range(CYCLE)]
        for transcript in worker.play(paced):
            by_place.setdefault(transcript.arrival_tier, []).append(transcript.first_s)
    return Prefetched(by_place, _entered_warm(worker) - before)


class Stall(Struct, frozen=True):
    """Of streams that decode while others arrive: the median step before, and each trial's longest step after; seconds."""

    step_s: float
    longest_s: list[float]

    @property
    def stall_s(self) -> float:
        """Time beyond a step that nobody wrote anything."""
        return max(0.0, loads.median(self.longest_s) - self.step_s)


def stall(player: EngineProcess | Worker, unique: loads.Numbers, newcomers: Sequence[Sequence[int]]) -> Stall:
    """Three streams decode; `NEWCOMERS` requests for one token come in between, for the adapters of each trial in turn."""
    usual: list[float] = []
    longest: list[float] = []
    alone = loads.steps(player.play(_background(unique, 16)))
    # Enough to decode until the last newcomer has come.
    tokens = math.ceil((_FIRST_NEWCOMER_S + (NEWCOMERS + 1) * _BETWEEN_S) / loads.median([seconds for _, seconds in alone]))
    for adapters in newcomers:
        background = _background(unique, tokens)
        arriving = [
            Ask(
                prompt=loads.prompt(next(unique), _NEWCOMERS_TOKENS),
                tokens=1,
                adapter=adapter,
                at_s=_FIRST_NEWCOMER_S + index * _BETWEEN_S,
            )
            for index, adapter in enumerate(adapters)
        ]
        transcripts = player.play([*background, *arriving])[: len(background)]
        decoding = [step for step in loads.steps(transcripts) if step[0] <= _all_decode_until(transcripts)]
        usual += [seconds for at_s, seconds in decoding if _all_decode_from(transcripts) < at_s <= _FIRST_NEWCOMER_S]
        after = [seconds for at_s, seconds in decoding if at_s > _FIRST_NEWCOMER_S]
        if not after:
            raise ContestantFailed(f"{player.name}: its streams ended before the first newcomer came")
        longest.append(max(after))
    return Stall(loads.median(usual), longest)


def rows(stock: EngineProcess, worker: Worker, first: int, rounds: int, seed: int) -> list[Row]:
    """All of them. Adapters 0 to 3 are in use already, those from `first` on are not."""
    unique = loads.numbers(seed)
    for player in (stock, worker):
        with _awake(player):
            player.play(loads.decoding(unique, SLOTS, SLOTS, 16))
    theirs, mine = stock_switches(stock, unique, first, rounds), worker_switches(worker, unique, first, rounds)
    say("adapters: switches done")
    after = first + SET * rounds
    trials = [list(range(after + NEWCOMERS * trial, after + NEWCOMERS * (trial + 1))) for trial in range(rounds)]
    loading: dict[str, Stall] = {}
    control: dict[str, Stall] = {}
    for player in (stock, worker):
        with _awake(player):
            control[player.name] = stall(player, unique, [[0] * NEWCOMERS for _ in trials])
            loading[player.name] = stall(player, unique, trials)
    say("adapters: stalls done")
    learned = prefetched(worker, unique, after + NEWCOMERS * rounds, 1 if rounds < 3 else 2)
    say("adapters: prefetch done")
    step_s = loading["ours"].step_s
    return [
        _switch("hot", theirs, mine, 0.0, step_s),
        _switch("warm", theirs, mine, 1.0, step_s),
        _switch("cold", theirs, mine, None, step_s),
        _hidden(learned, mine, step_s),
        _stalls(loading, control),
    ]


def adapters_needed(rounds: int) -> int:
    """How many unused adapters `rows` takes."""
    return SET * rounds + NEWCOMERS * rounds + CYCLE


def _ask(unique: loads.Numbers, adapter: int, session: str = "", at_s: float = 0.0) -> Ask:
    return Ask(prompt=loads.prompt(next(unique), loads.SHORT), tokens=2, adapter=adapter, session=session, at_s=at_s)


def _awake(player: EngineProcess | Worker) -> "contextlib.AbstractContextManager[None]":
    return player.awake() if isinstance(player, EngineProcess) else contextlib.nullcontext()


def _background(unique: loads.Numbers, tokens: int) -> list[Ask]:
    return [Ask(prompt=loads.prompt(next(unique), loads.SHORT), tokens=tokens, adapter=adapter) for adapter in _BACKGROUND]


def _entered_warm(worker: Worker) -> int:
    return next(tier.entered for tier in worker.tiers().tiers if tier.name == "warm")


def _all_decode_from(transcripts: Sequence[Transcript]) -> float:
    return max(transcript.times_s[0] for transcript in transcripts)


def _all_decode_until(transcripts: Sequence[Transcript]) -> float:
    return min(transcript.times_s[-1] for transcript in transcripts)


def _switch(place: str, theirs: Switches, mine: Switches, allowed_steps: float | None, step_s: float) -> Row:
    added = mine.added(place)
    # What "nothing" means: within what two first tokens of an adapter that was used just before differ by.
    noise_s = loads.quantile(mine.first_s["same"], 0.9) - loads.median(mine.first_s["same"])
    goal = {None: "–", 0.0: f"0 (noise: {noise_s * 1000:.0f} ms)"}.get(allowed_steps, f"≤ 1 decode step ({step_s * 1000:.0f} ms)")
    limit = None if allowed_steps is None else max(noise_s, allowed_steps * step_s)
    count = len(mine.first_s.get(place, []))
    return Row(
        name=f"adapter switch, {place}: added to the first token",
        stock=f"{theirs.added(place) * 1000:.0f} ms",
        ours=f"{added * 1000:.0f} ms" if count else "not seen",
        goal=goal,
        met=None if limit is None or not count else added <= limit,
        note=f"{count} switches; used just before: {loads.median(mine.first_s['same']) * 1000:.0f} ms",
        raw={"stock": theirs.first_s, "ours": mine.first_s},
    )


def _hidden(learned: Prefetched, mine: Switches, step_s: float) -> Row:
    everything = [seconds for times in learned.first_s.values() for seconds in times]
    added = loads.median(everything) - loads.median(mine.first_s["same"])
    counts = ", ".join(f"{len(times)} {place}" for place, times in sorted(learned.first_s.items()))
    return Row(
        name="adapter switch, cold but prefetched: added to the first token",
        stock="no prefetch",
        ours=f"{added * 1000:.0f} ms, worst {(max(everything) - loads.median(mine.first_s['same'])) * 1000:.0f} ms",
        goal=f"hidden: ≤ 1 decode step ({step_s * 1000:.0f} ms)",
        met=added <= step_s and learned.read > 0,
        note=f"on arrival: {counts}; {learned.read} of {len(everything)} were read from disk meanwhile",
        raw={"first_s": learned.first_s, "read": learned.read},
    )


def _stalls(loading: dict[str, Stall], control: dict[str, Stall]) -> Row:
    mine = loading["ours"]
    cells = {name: f"{figures.stall_s * 1000:.0f} ms = {figures.stall_s / figures.step_s:.1f} steps" for name, figures in loading.items()}
    without = {name: f"{figures.stall_s * 1000:.0f} ms" for name, figures in control.items()}
    return Row(
        name="longest stall of 3 other streams while cold adapters load",
        stock=cells["stock"],
        ours=cells["ours"],
        goal=f"≤ 1 decode step ({mine.step_s * 1000:.0f} ms)",
        met=mine.stall_s <= mine.step_s,
        note="beyond the median step; the newcomers' own prefill is in it: "
        f"with hot adapters stock {without['stock']}, ours {without['ours']}",
        raw={"loading": loading, "control": control},
    )
