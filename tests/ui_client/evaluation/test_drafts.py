"""What the image keeps of drafts is read, whatever it is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from ui_client.evaluation.drafts import drafting
from ui_client.evaluation.report import DraftReport, TaskReport, summary

scalars = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5)
trees = some.recursive(scalars, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3))
names = some.sampled_from("source persona logprob tokens temperature seed outcome examples effect trial features confidence chosen".split())
drafts = some.dictionaries(names, trees | some.just("ok") | some.just("def s(self):\n    pass\n"), max_size=8)
maps = some.fixed_dictionaries(
    {}, optional={"drafts": some.lists(drafts, max_size=3), "decision": drafts, "confidence": scalars, "chosen": scalars}
)


@given(some.lists(maps | trees, max_size=3))
def test_nothing_that_an_image_says_breaks_the_reading(sources: list[Any]) -> None:
    reading = drafting(*sources)
    assert reading.confidence is None or 0 <= reading.confidence <= 1
    assert -1 <= reading.chosen < max(1, len(reading.drafts))
    assert reading.first is None or reading.first in reading.drafts


def draft(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "persona": "brick", "outcome": "ok", "effect": source, "tokens": 7, "temperature": 0.8, **more}


def test_a_proof_comes_before_what_else_is_known_and_says_which_draft_was_chosen():
    proof = {
        "drafts": [draft("a"), draft("b", temperature=0.0), draft("c", effect="a")],
        "chosen": 1,
        "confidence": 0.7,
        "decision": {"risk": 0.05},
    }
    reading = drafting(proof, {"drafts": [draft("z")], "confidence": 0.1}, None)
    assert [draft.source for draft in reading.drafts] == ["a", "b", "c"] and (reading.chosen, reading.confidence) == (1, 0.7)
    assert reading.first is reading.drafts[1], "the greedy one"
    assert [draft.agreement for draft in reading.drafts] == [2, 1, 2] and reading.drafts[0].fit


def test_what_a_refusal_held_for_the_best_is_found_by_number_or_by_its_features():
    listed = [draft("a", features={"share": 0.2}), draft("b", features={"share": 0.8}), draft("c", outcome="TypeError")]
    by_number = drafting({"decision": {"best": 0, "confidence": 0.4}}, {"drafts": listed})
    by_features = drafting({"decision": {"features": {"share": 0.8}, "confidence": 0.4}}, {"drafts": listed})
    assert (by_number.chosen, by_features.chosen) == (0, 1)
    assert by_number.confidence == by_features.confidence == 0.4
    assert by_number.drafts[1].more == {"features": {"share": 0.8}}
    assert drafting({"decision": {"features": {"share": 0.5}}}, {"drafts": listed}).chosen == -1


def test_a_refusal_for_too_little_confidence_counts_in_the_curve_with_the_draft_that_it_was_about():
    plain: dict[str, Any] = {
        "id": "a",
        "group": "a",
        "selector": "s",
        "examples": 0,
        "right": False,
        "why": "",
        "seconds": 1.0,
        "tokens": 1,
    }
    about = DraftReport("x", "brick", True, "", [True], True, True, "ok", "", 1, -0.1, 7, 0.0, None, "merged", 0, 0, {}, {})
    answer = TaskReport(**plain, expects="answer", status="refused", installed=False, confidence=0.4, drafts=[about])
    refusal = TaskReport(**plain, expects="refusal", status="refused", installed=False, confidence=0.3, drafts=[about])
    silent = TaskReport(**plain, expects="answer", status="refused", installed=False, confidence=0.2)
    points = summary([answer, refusal, silent]).curve
    assert [(point.threshold, point.precision.count, point.recall.count, point.recall.of) for point in points] == [
        (0.4, 1, 1, 2),
        (0.3, 1, 1, 2),
    ]
