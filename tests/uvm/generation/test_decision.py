"""Whether a draft is installed: what the rule may answer, and the question that a refusal asks."""

from typing import Any

import pytest

from tests.uvm.generation.played import request_for
from uvm.generation.decision import Choice, agreed, candidates, choice_of, choices, question, told
from uvm.generation.stages import Draft
from uvm.protocol import Reference
from uvm.trial.protocol import Effect, TrialOutcome, VariedRun

RECEIVER = Reference(bytes(7) + b"\1")


def draft(body: Any, group: Any, **facts: Any) -> Any:
    return Draft(source=f"def worth(self):\n    {body}\n", group=group, outcome="ok", trial={"result": 1, "effects": []}, **facts)


def run(digest: str, result: Any, **slots: Any) -> Any:
    return VariedRun(digest=digest, told=True, slots=slots, result=result)


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        (1, Choice(1, 1)),
        ({"index": 1, "best": 1, "confidence": 0.9, "threshold": 0.5}, Choice(1, 1, 0.9, 0.5)),
        ({"index": None, "best": 0, "confidence": 0.2, "threshold": 2}, Choice(None, 0, 0.2, 2)),
        ({"index": 0, "because": "it is"}, Choice(0)),
    ],
)
def test_a_rule_answers_a_draft_or_how_sure_it_is_of_one(answer: Any, choice: Any) -> None:
    assert choice_of(answer, [0, 1]) == choice


@pytest.mark.parametrize(
    "answer",
    [
        *(True, 2, -1, "0", None, 0.0, [0], {}, {"index": None}, {"index": 5}, {"index": "0"}, {"index": 0, "best": 7}),
        *({"index": 0, "confidence": 1.5}, {"index": 0, "confidence": float("nan")}, {"index": True}),
    ],
)
def test_anything_else_is_no_choice(answer: Any) -> None:
    assert choice_of(answer, [0, 1]) is None


def test_the_rule_gets_what_is_fit_with_its_features_and_the_risk_and_every_draft_keeps_its_own() -> None:
    drafts = [draft("return 1", "a"), Draft(source="", outcome="Declined"), draft("return 2", "b"), draft("return 0 + 1", "a")]
    listed = candidates(request_for("worth"), drafts, 0.2)
    assert [(entry["index"], entry["agreement"], entry["risk"]) for entry in listed] == [(0, 2, 0.2), (2, 1, 0.2), (3, 2, 0.2)]
    assert listed[0]["features"] == drafts[3].features != drafts[2].features and not drafts[1].features
    decision = told(drafts, Choice(0, 0, 0.8, 0.9), 0.2)
    assert [(entry["drafts"], entry.get("declined", False)) for entry in decision["groups"]] == [(2, False), (1, False), (1, True)]
    assert (decision["confidence"], decision["threshold"], decision["risk"]) == (0.8, 0.9, 0.2)
    assert not agreed(drafts) and agreed([drafts[0], drafts[3]])


def test_two_behaviours_that_the_real_values_tell_apart_are_shown_on_them() -> None:
    drafts = [draft("return 10.0", "a", times=3), draft("return 12.5", "b")]
    outcomes = {0: TrialOutcome(kind="ok", result=10.0), 1: TrialOutcome(kind="ok", result=12.5)}
    first, second = choices(request_for("worth"), drafts, outcomes, 0)
    assert first["example"] == {"changed": {}, "result": 10.0} and (first["drafts"], second["drafts"]) == (3, 1)
    assert question("worth", [first, second]) == "worth of this object: 10.0 or 12.5?"


def test_where_only_a_varied_input_tells_them_apart_the_example_states_it() -> None:
    drafts = [draft("return self.price * self.quantity", "a"), draft("return self.price + self.price", "b", times=2)]
    same = run("s", 6, price=3, quantity=2)
    outcomes = {
        0: TrialOutcome(kind="ok", result=7, varied=[same, VariedRun(digest="x"), run("p", 15, price=3, quantity=5)]),
        1: TrialOutcome(kind="ok", result=7, varied=[same, VariedRun(digest="y"), run("q", 6, price=3, quantity=5)]),
    }
    first, second = choices(request_for("worth"), drafts, outcomes, 1)
    assert first["example"] == {"slots": {"price": 3, "quantity": 5}, "result": 6, "changed": {}} and second["result"] == 15
    assert question("worth", [first, second]) == "worth with price=3, quantity=5: 6 or 15?"


def test_what_changes_is_part_of_what_is_asked_and_what_cannot_be_stated_is_not() -> None:
    drafts = [draft("self.price = 2", "a"), draft("return 1", "b")]
    outcomes = {0: TrialOutcome(kind="ok", effects=[Effect(RECEIVER, "price", 1, 2)]), 1: TrialOutcome(kind="ok", result=1)}
    shown = choices(request_for("worth"), drafts, outcomes, 0)
    assert [entry["example"]["changed"] for entry in shown] == [{"price": 2}, {}] and question(
        "worth", shown
    ) == "worth of this object: price=2 or 1?"
    removed = TrialOutcome(kind="ok", effects=[Effect(RECEIVER, "price", 1)])
    assert choices(request_for("worth"), drafts[:1], {0: removed}, 0) == []


def test_one_behaviour_alone_may_be_confirmed_and_a_large_one_is_not_offered() -> None:
    drafts = [draft("return 1", "a")]
    (only,) = choices(request_for("worth"), drafts, {0: TrialOutcome(kind="ok", result=1)}, 0)
    assert question("worth", [only]) == "worth of this object: 1?"
    assert choices(request_for("worth"), drafts, {0: TrialOutcome(kind="ok", result="x" * 9000)}, 0) == [] and question("worth", []) == ""
