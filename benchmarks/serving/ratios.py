"""Rows that compare engines: base, stock and ours play the same loads in turn, round after round.

Whoever is not playing is frozen (SIGSTOP): vLLM's process spins for a second after its last step.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from benchmarks.serving import loads
from benchmarks.serving.process import ContestantFailed, EngineProcess
from benchmarks.serving.progress import say
from benchmarks.serving.table import Row, ratio_row
from benchmarks.serving.wire import NO_ADAPTER, Ask, Transcript

_LONG = 512


class Comparison(Struct, frozen=True):
    """One row: the load, what is measured in it, which side is better, the goal, and how often it is played.

    `load` takes fresh numbers and whether the contestant has adapters. `merged`: ours computes in merged mode.
    """

    key: str
    name: str
    unit: str
    better: str
    goal: float
    load: Callable[[loads.Numbers, bool], list[Ask]]
    figure: Callable[[Sequence[Transcript]], float]
    one_by_one: bool = False
    merged: bool = False
    heavy: bool = False
    scale: float = 1.0


def _decode(streams: int, adapters: int, tokens: int) -> Callable[[loads.Numbers, bool], list[Ask]]:
    return lambda unique, lora: loads.decoding(unique, streams, adapters if lora else 0, tokens)


def _first(count: int, tokens: int) -> Callable[[loads.Numbers, bool], list[Ask]]:
    return lambda unique, lora: loads.first_tokens(unique, count, tokens, 0 if lora else NO_ADAPTER)


def _first_s(transcripts: Sequence[Transcript]) -> float:
    return loads.median([transcript.first_s for transcript in transcripts])


COMPARISONS = (
    Comparison("decode-1", "decode, 1 stream, 1 adapter", "tok/s", "higher", 0.85, _decode(1, 1, 49), loads.decode_rate),
    Comparison(
        "decode-merged", "decode, 1 stream, 1 adapter, merged", "tok/s", "higher", 0.97, _decode(1, 1, 49), loads.decode_rate, merged=True
    ),
    Comparison("decode-8-2", "decode, 8 streams over 2 adapters", "tok/s", "higher", 0.8, _decode(8, 2, 25), loads.decode_rate),
    Comparison("decode-8-4", "decode, 8 streams over 4 adapters, 4 slots", "tok/s", "higher", 0.75, _decode(8, 4, 25), loads.decode_rate),
    Comparison(
        "first-token", "first token, prompt of 20 tokens, with an adapter", "ms", "lower", 1.15, _first(6, loads.SHORT), _first_s,
        one_by_one=True, scale=1000,
    ),
    Comparison(
        "prefill", f"prefill of {_LONG} tokens, with an adapter", "ms", "lower", 1.3, _first(1, _LONG), _first_s,
        one_by_one=True, heavy=True, scale=1000,
    ),
)  # fmt: skip


def compare(
    comparisons: Sequence[Comparison], contestants: Sequence[EngineProcess], rounds: int, merging: "Merging | None", seed: int
) -> list[Row]:
    """Play every comparison `rounds` times with everybody, in an order that rotates; a round before is not counted."""
    values: dict[str, dict[str, list[float]]] = {compared.key: {player.name: [] for player in contestants} for compared in comparisons}
    failures: dict[tuple[str, str], str] = {}
    for number in range(rounds + 1):
        for comparison in comparisons:
            if comparison.heavy and number > max(1, (rounds + 1) // 2):
                continue
            for player in _rotated(contestants, number):
                if (comparison.key, player.name) in failures or not _takes_part(comparison, player, merging):
                    continue
                # The same prompts for all: each has a cache of its own.
                unique = loads.numbers(seed + 1 + number)
                try:
                    figure = _play(comparison, player, unique, merging)
                except ContestantFailed as error:
                    failures[comparison.key, player.name] = str(error)
                    figure = math.nan
                if number:
                    values[comparison.key][player.name].append(figure)
        say(f"engines: round {number} of {rounds} (round 0 is not counted)")
    return [_row(comparison, values[comparison.key], failures, merging) for comparison in comparisons]


class Merging(Struct, frozen=True):
    """How ours is told to merge adapter 0 into the weights and to take it out again: methods of its worker extension."""

    merge: str
    unmerge: str


def _play(comparison: Comparison, player: EngineProcess, unique: loads.Numbers, merging: Merging | None) -> float:
    merged = comparison.merged and player.name == "ours" and merging is not None
    with player.awake():
        if merged and merging is not None:
            player.call(merging.merge, 1)
        try:
            # While it is merged, requests name no adapter.
            asks = comparison.load(unique, player.name != "base" and not merged)
            return comparison.figure(player.play(asks, comparison.one_by_one))
        finally:
            if merged and merging is not None:
                player.call(merging.unmerge, 1)


def _takes_part(comparison: Comparison, player: EngineProcess, merging: Merging | None) -> bool:
    return not comparison.merged or player.name == "base" or (player.name == "ours" and merging is not None)


def _rotated(contestants: Sequence[EngineProcess], number: int) -> list[EngineProcess]:
    shift = number % len(contestants)
    return [*contestants[shift:], *contestants[:shift]]


def _row(comparison: Comparison, values: dict[str, list[float]], failures: dict[tuple[str, str], str], merging: Merging | None) -> Row:
    counted = {name: figures for name, figures in values.items() if figures and not any(map(math.isnan, figures))}
    failed = "; ".join(f"{name} failed: {reason}" for (key, name), reason in failures.items() if key == comparison.key)
    if "base" not in counted:
        return Row(name=comparison.name, ours="failed", met=False, note=failed or "base was not measured")
    note = failed or (
        "adapters are not merged: docs/decisions/0009-adapters-are-not-merged.md" if comparison.merged and merging is None else ""
    )
    row = ratio_row(comparison.name, comparison.unit, counted, comparison.better, comparison.goal, note, comparison.scale)
    return msgspec.structs.replace(row, ours="failed", met=False) if (comparison.key, "ours") in failures else row
