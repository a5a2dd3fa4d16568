"""What the loop decides, without an image: the metric, dissonance, gaps, lessons, probation."""

from typing import Any

import pytest

from deploy.orders import TaughtPair
from uvm.autotelic import inquiry, lessons, policy, probation, series
from uvm.autotelic.dissonance import Mood, SpentBudget, decide, felt
from uvm.autotelic.inquiry import Evidence
from uvm.autotelic.policy import AutotelicPolicy
from uvm.autotelic.windows import Composite, Structure, Sums, Windows
from uvm.image.entropy import Spoken

WEIGHTS = (0.3, 0.2, 0.2, 0.3)
NOON = 12 * 3600.0


def _sums(at: float, sent: dict[str, int], structure: int = 0) -> Sums:
    return Sums(at, sent, {}, Spoken(), Structure(methods=structure))


def test_the_same_message_again_and_again_is_stagnation_and_a_varied_life_is_not() -> None:
    dull, lively = Windows(), Windows()
    for windows, sent in ((dull, {"a": 100, "b": 1}), (lively, {"a": 26, "b": 25, "c": 25, "d": 25})):
        windows.add(_sums(0, {"a": 1, "b": 1, "c": 1, "d": 1}), WEIGHTS)
        measured = windows.add(_sums(60, {**{"a": 1, "b": 1, "c": 1, "d": 1}, **sent}, 30 if windows is lively else 0), WEIGHTS)
        assert measured.cem is not None
        assert (measured.cem < AutotelicPolicy().stagnant) is (windows is dull)


def test_a_window_slides_and_one_without_messages_says_nothing() -> None:
    windows = Windows()
    for minute in range(40):
        measured = windows.add(_sums(60.0 * minute, {"a": min(minute, 10)}), WEIGHTS)
    assert measured.window_s == 900 and measured.messages == 0 and measured.cem is None


def test_growth_counts_methods_shapes_and_behaviours() -> None:
    windows = Windows()
    windows.add(_sums(0, {"a": 1}), WEIGHTS)
    grown = windows.add(Sums(60, {"a": 11}, {}, Spoken(), Structure(2, 2, 1)), WEIGHTS)
    assert grown.growth == pytest.approx(0.5 / 0.55)


def test_dissonance_comes_after_several_low_measurements_and_goes_only_above_the_higher_threshold() -> None:
    rule, mood, moods = AutotelicPolicy(stagnant=0.3, lively=0.5, beats=3), Mood(), []
    for cem in (0.2, 0.2, 0.4, 0.2, 0.2, 0.2, 0.4, None, 0.49, 0.51, 0.2):
        mood = felt(mood, cem, rule)
        moods.append(mood.dissonant)
    assert moods == [False] * 5 + [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("rule", "budget", "options", "kind", "because"),
    [
        ({}, {}, {}, "inquire", "low"),
        ({"enabled": False}, {}, {}, "wait", "switched off"),
        ({}, {}, {"engaged": "the forge trains"}, "wait", "the forge trains"),
        ({}, {}, {"evidence": 4}, "wait", "too little evidence"),
        ({"quiet_from": 22, "quiet_until": 13}, {}, {}, "wait", "quiet hours"),
        ({"quiet_from": 13, "quiet_until": 22}, {}, {}, "inquire", "low"),
        ({}, {"orders": 4}, {}, "wait", "orders a day"),
        ({}, {"cpu_s": 14_400.0}, {}, "wait", "processor seconds"),
        ({}, {"last": NOON - 60}, {}, "wait", "ago"),
        ({}, {}, {"busy": True}, "wait", "somebody waits"),
        ({}, {}, {"fault": "the policy cannot be understood"}, "wait", "cannot be understood"),
    ],
)
def test_a_decision_says_why_not_now(
    rule: dict[str, Any], budget: dict[str, Any], options: dict[str, Any], kind: str, because: str
) -> None:
    chosen: dict[str, Any] = {"busy": False, "engaged": "", "evidence": 9, **options}
    policy_then = AutotelicPolicy(**{"enabled": True, **rule})
    decision = decide(Mood(True, 9), 0.1, policy_then, SpentBudget(**budget), now=NOON, **chosen)
    assert decision.kind == kind and because in decision.reason


def test_a_policy_that_cannot_be_understood_trains_nothing_and_says_so() -> None:
    for wrong in (3, {"enabled": "yes"}, {"unheard_of": 1}, {"stagnant": 0.9, "lively": 0.1}):
        read, fault = policy.read(wrong)
        assert not read.enabled and fault
    assert policy.read({"enabled": True}) == (AutotelicPolicy(enabled=True), "")


def _evidence(number: int, selector: str, *values: str, principal: str = "local", kind: inquiry.Kind = "refusal") -> Evidence:
    return Evidence(kind, f"uvm-1/c0.{number}", selector, values, principal)


def test_what_belongs_together_becomes_one_gap_with_its_words_its_values_and_how_many_tasks_measure_it() -> None:
    evidence = [
        _evidence(1, "median_price_of_items", "rows"),
        _evidence(2, "median_weight_of_parts", "rows"),
        _evidence(3, "rename_to_", "text"),
        _evidence(4, "medianAgeOfPeople", "rows"),
    ]
    found = inquiry.gap(evidence, 3, 0.1)
    assert found is not None and found.name.startswith("median") and found.values == ("rows",)
    assert [each.entry[-1] for each in found.evidence] == ["1", "2", "4"] and 50 < found.tasks < 400
    assert inquiry.gap(evidence, 4, 0.1) is None


def test_one_complaint_sent_a_thousand_times_is_one_complaint() -> None:
    assert inquiry.gap([_evidence(number, "median_price") for number in range(400)], 2, 0.1) is None


def _lesson(number: int, principal: str = "local", answer: str = "    return 1") -> TaughtPair:
    return TaughtPair(f"prompt {number}", answer, f"@{number}", principal)


def test_a_flood_of_lessons_by_one_client_leaves_room_for_the_others() -> None:
    flood = [_lesson(number, "flood") for number in range(10_000)]
    others = [_lesson(20_000 + number, "other") for number in range(10)]
    sorted_out = lessons.chosen([*others, *flood])
    kept = sorted_out.taught + sorted_out.held
    assert sum(lesson.principal == "flood" for lesson in kept) == lessons.OF_ONE
    assert sum(lesson.principal == "other" for lesson in kept) == 10


def test_lessons_of_two_principals_that_contradict_are_dropped_and_equal_ones_are_learned_once() -> None:
    sorted_out = lessons.chosen([_lesson(1, "a"), _lesson(1, "b", "    return 2"), _lesson(2), _lesson(2)])
    assert [lesson.prompt for lesson in sorted_out.taught + sorted_out.held] == ["prompt 2"]
    assert sum(sorted_out.dropped.values()) == 3


def test_what_is_set_aside_is_never_taught_in_whatever_company() -> None:
    every = [_lesson(number) for number in range(60)]
    held = {lesson.prompt for lesson in lessons.chosen(every).held}
    assert 4 <= len(held) <= 24
    assert all(lesson.prompt not in held for lesson in lessons.chosen(every[::-1]).taught)


def test_an_adapter_is_rolled_back_when_more_ends_badly_and_kept_when_it_does_not() -> None:
    before = probation.EndingCounts(200, 20)
    assert probation.standing(before, probation.EndingCounts(10, 1), 50)[0] == "on probation"
    assert probation.standing(before, probation.EndingCounts(10, 6), 50)[0] == "rolled back"
    assert probation.standing(before, probation.EndingCounts(50, 5), 50)[0] == "kept"


def test_rows_grow_coarser_with_age_and_each_grain_has_its_end() -> None:
    rows: dict[str, list[series.Row]] = {}
    for minute in range(60 * 24 * 4):
        measured = Composite(900, 5, 0.5, None, None, 0.25, 0.4 if minute % 2 else 0.6)
        rows |= series.taken_in(rows, series.row(60 * minute, measured))
    assert [len(rows[grain.name]) for grain in series.GRAINS] == [120, 192, 3]
    assert rows["days"][1][0] == 86_400 and rows["days"][1][1] == 1440 and rows["days"][1][-1] == pytest.approx(0.5)
    assert rows["days"][1][4] is None
