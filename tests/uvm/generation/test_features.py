"""What speaks for a group of drafts and what against it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvm.generation import features
from uvm.generation.features import MEANINGS, SentMessage
from uvm.generation.naming import words_of
from uvm.generation.stages import Draft

PRICED = {"price": "2.5", "quantity": "4"}


def draft(
    body: Any,
    *,
    group: Any = "a",
    outcome: Any = "ok",
    times: Any = 1,
    logprob: Any = -0.1,
    result: Any = None,
    effects: Any = (),
    **facts: Any,
) -> Any:
    source = f"def worth(self, a=None):\n    {body}\n"
    trial = {"result": result, "effects": list(effects)}
    return Draft(source=source, group=group, outcome=outcome, times=times, logprob=logprob, trial=trial, **facts)


def told(selector: str, body: Any, *, slots: Any = PRICED, more: Any = (), parameters: Any = (), examples: Any = 0, **facts: Any) -> Any:
    drafts = [draft(body, **facts), *more]
    groups = features.groups(drafts)
    (group,) = [each for each in groups if 0 in each.members]
    return features.of(SentMessage(selector, slots, parameters, examples), drafts, group, groups)


def test_each_feature_has_a_meaning_and_each_meaning_a_feature() -> None:
    assert list(told("total_price", "return self.price")) == list(MEANINGS)


def test_drafts_that_do_the_same_are_a_group_and_equal_ones_count_as_often_as_they_were_written() -> None:
    drafts = [
        draft("return 1", group="a", times=3, logprob=-0.5),
        draft("return 2", group="b", times=2),
        draft("return 0 + 1", group="a", logprob=-0.1),
        draft("return nothing", group="", outcome="NotUnderstood"),
        draft("return 3", group="c", examples=2, examples_passed=1),
        draft("decline('no')", group="", outcome="Declined", times=2),
    ]
    first, second = features.groups(drafts)
    assert (first.members, first.drafts, first.best) == ((0, 2), 4, 2) and second.drafts == 2
    assert features.written(drafts) == 10 and features.declining(drafts) == 2
    seen = features.of(SentMessage("worth"), drafts, first, [first, second])
    assert (seen["share"], seen["margin"], seen["declined"]) == (0.4, 0.2, 0.2)


def test_declining_drafts_are_what_the_largest_group_is_ahead_of() -> None:
    seen = told("worth", "return 1", more=[draft("decline('no')", group="", outcome="Declined", times=3)])
    assert seen["margin"] == -0.5 and seen["declined"] == 0.75


@pytest.mark.parametrize(
    ("selector", "body", "explained"),
    [
        ("total_price", "return self.price * self.quantity", 1.0),
        ("total_weight", "return self.price * self.quantity", 0.5),
        ("prices_above_", "return [row['price'] for row in self.rows if row['price'] > a]", 1.0),
        ("open_tasks", "return [row for row in self.tasks if row['state'] == 'open']", 1.0),
        ("area", "return self.width * self.height", 1.0),
        ("flavour", "return self.width * self.height", 0.0),
        ("categoryNames", "return [one.name for one in self.categories]", 1.0),
    ],
)
def test_a_word_of_the_selector_is_explained_by_what_the_body_uses_or_is_known(selector: str, body: Any, explained: Any) -> None:
    assert told(selector, body)["explained"] == explained


def test_a_slot_that_is_named_and_not_used_is_told_and_one_that_is_used_and_not_named() -> None:
    assert told("price_times_quantity", "return self.price")["ignored"] == 0.5
    assert told("total_price", "return self.price * self.quantity")["meant"] == 0.5
    assert told("total_price", "return self.price * self.quantity")["ignored"] == 0.0
    assert told("set_price_", "self.setSlot_value_('price', a)")["ignored"] == 0.0


def test_a_body_that_leaves_out_what_a_word_asks_for_is_surprising_and_lacks_something() -> None:
    rows = {"boxes": "[{'label': 'a', 'minutes': 3}, …]"}
    right = told("count_boxes_with_minutes_above", "return len([r for r in self.boxes if r['minutes'] > a])", slots=rows, parameters=("a",))
    wrong = told("count_boxes_with_minutes_above", "return len(self.boxes)", slots=rows, parameters=("a",))
    assert wrong["surprise"] > 3 * right["surprise"] and wrong["lacking"] > 3 > right["lacking"]
    assert wrong["usual"] == right["usual"], "what is to be expected is the words' alone"


def test_words_that_nothing_is_known_of_are_told() -> None:
    assert told("frobnicate_wibble", "return 1")["unknown"] == 1.0
    assert told("total_price", "return 1")["unknown"] == 0.0


def test_verbs_of_change_change_and_questions_do_not() -> None:
    effect = [["@1", "price", 1, 2]]
    assert (told("set_price_", "return 1")["idle"], told("set_price_", "return 1", effects=effect)["idle"]) == (1.0, 0.0)
    assert (told("total_price", "return 1", effects=effect)["meddling"], told("total_price", "return 1")["meddling"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("selector", "result", "kept", "broken"),
    [
        ("is_empty", True, 1, 0),
        ("is_empty", 0, 0, 1),
        ("count_items", 3, 1, 0),
        ("count_items", 2.5, 0, 1),
        ("count_items", True, 0, 1),
        ("number_of_tags", "three", 0, 1),
        ("total_weight", "redred", 0, 1),
        ("count_by_color", {"red": 1}, 0, 0),
        ("list_names", ["a"], 1, 0),
        ("all_names", "a", 0, 1),
        ("worth", "a", 0, 0),
        ("add_tag_", None, 0, 0),
    ],
)
def test_the_answer_keeps_or_breaks_what_the_selector_promises(selector: str, result: Any, kept: Any, broken: Any) -> None:
    seen = told(selector, "return 1", result=result)
    assert (seen["kept_type"], seen["broken_type"]) == (kept, broken)


def test_arguments_that_are_not_used_and_varied_inputs_that_fail() -> None:
    assert told("discounted_", "return self.price", parameters=("a",))["unused"] == 1.0
    assert told("discounted_", "return self.price * a", parameters=("a",))["unused"] == 0.0
    assert told("worth", "return 1", varied=8, varied_failed=2)["failed"] == 0.25
    assert told("worth", "return 1", steady=True)["steady"] == 1.0


def test_examples_drafts_and_size_are_bounded() -> None:
    seen = told("worth", "return 1", examples=9, times=40)
    assert (seen["examples"], seen["drafts"], seen["share"]) == (1.0, 1.0, 1.0)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=60), st.lists(st.sampled_from("abc"), max_size=6), st.floats(-50, 0))
def test_whatever_is_written_has_all_features_within_bounds(selector: str, body: Any, others: Any, logprob: Any) -> None:
    more = [draft("return 2", group=group) for group in others]
    seen = told(selector, body, more=more, logprob=logprob, least=logprob)
    assert set(seen) == set(MEANINGS) and all(-8 <= value <= 8 for value in seen.values())


def test_words_come_out_of_both_ways_to_join_them() -> None:
    assert words_of("totalPrice_of_") == words_of("total_price_of") == ["total", "price", "of"]
    assert words_of("parseHTMLPage2") == ["parse", "html", "page", "2"]
