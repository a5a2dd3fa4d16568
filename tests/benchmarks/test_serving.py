"""What the serving benchmark computes from what it has seen. The measurements themselves are no tests."""

import math

import pytest

from benchmarks.serving import loads, switching
from benchmarks.serving.table import ratio_row
from benchmarks.serving.wire import Transcript


def transcript(*times_s: float) -> Transcript:
    return Transcript(times_s=list(times_s), counts=[1] * len(times_s))


def test_decode_rate_counts_only_while_all_streams_decode():
    # The second stream begins at 2 and the first ends at 4: between them 4 tokens in 2 seconds.
    assert loads.decode_rate([transcript(0, 1, 2, 3, 4), transcript(2, 3, 4, 5, 6)]) == pytest.approx(2.0)


def test_decode_rate_of_streams_that_never_overlap_is_no_number():
    assert math.isnan(loads.decode_rate([transcript(0, 1), transcript(2, 3)]))


def test_a_step_ends_when_any_stream_has_written():
    steps = loads.steps([transcript(1.0, 2.0, 4.0), transcript(1.0001, 3.0)])
    assert [round(seconds, 3) for _, seconds in steps] == [1.0, 1.0, 1.0]


def test_a_pause_of_all_streams_is_one_long_step():
    steps = loads.steps([transcript(1.0, 1.1, 1.9), transcript(1.0, 1.1, 1.9)])
    assert max(seconds for _, seconds in steps) == pytest.approx(0.8)


def test_quantile_of_few_values_is_one_of_them():
    assert loads.quantile([5.0, 1.0, 3.0], 0.99) == 5.0
    assert loads.quantile([5.0, 1.0, 3.0], 0.5) == 3.0


def test_every_prompt_is_new():
    unique = loads.numbers(1)
    asks = loads.zipf(unique, 50, 10, 5.0, 8, seed=1) + loads.decoding(unique, 8, 2, 16)
    assert len({ask.prompt for ask in asks}) == len(asks)


def test_zipf_asks_the_first_adapter_most_and_arrives_at_the_rate():
    asks = loads.zipf(loads.numbers(1), 4000, 200, 10.0, 8, seed=2)
    counts = [sum(ask.adapter == adapter for ask in asks) for adapter in (0, 1, 9)]
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.25)
    assert counts[0] / counts[2] == pytest.approx(10, rel=0.4)
    assert len(asks) / asks[-1].at_s == pytest.approx(10, rel=0.1)


def test_the_plan_of_switches_is_what_a_cache_of_the_longest_unused_finds():
    slots: list[int] = []
    warm: set[int] = set()
    before = None
    for place, adapter in switching.plan(8):
        place_in_caches = "same" if adapter == before else "hot" if adapter in slots else "warm" if adapter in warm else "cold"
        assert place == place_in_caches
        slots = [*(cached for cached in slots if cached != adapter), adapter][-switching.SLOTS :]
        warm.add(adapter)
        before = adapter


def test_ratios_are_formed_round_by_round():
    # The machine was twice as slow in the second round: the ratio does not see it.
    values = {"base": [10.0, 5.0, 10.0], "stock": [5.0, 2.5, 5.0], "ours": [9.0, 4.5, 9.0]}
    row = ratio_row("decode", "tok/s", values, "higher", 0.85)
    assert row.met and row.ours.startswith("0.90  (0.90–0.90)") and row.stock.startswith("0.50")


def test_a_goal_on_time_is_missed_above_it_and_nothing_measured_is_not_met():
    assert ratio_row("prefill", "ms", {"base": [1.0], "ours": [1.4]}, "lower", 1.3).met is False
    assert ratio_row("prefill", "ms", {"base": [1.0]}, "lower", 1.3).met is None
