"""Drafts are graded by what they do, in a process that survives them."""

from inference_worker.forge import evaluate
from inference_worker.forge.draw import task
from inference_worker.forge.families import FAMILIES
from inference_worker.forge.judge import Judge, JudgedDraft, grade

ADDITION = "arithmetic.sum_of_named"
APPENDING = "lists.append"


def test_another_way_to_write_the_same_method_is_right() -> None:
    drawn = task(ADDITION, FAMILIES[ADDITION], 3, "test")
    expression = drawn.body.removeprefix("    return ")
    assert grade(drawn, f"    outcome = {expression}\n    return outcome").right


def test_the_right_answer_for_the_shown_values_alone_is_wrong() -> None:
    drawn = task(ADDITION, FAMILIES[ADDITION], 3, "test")
    shown = drawn.expected(drawn.slots, drawn.args).result
    assert not grade(drawn, f"    return {shown}").right


def test_an_effect_beside_the_right_answer_is_wrong() -> None:
    drawn = task(ADDITION, FAMILIES[ADDITION], 3, "test")
    assert not grade(drawn, f"    self.{next(iter(drawn.slots))} = 'gone'\n{drawn.body}").right


def test_a_forgotten_flag_is_right_but_noticed() -> None:
    drawn = task(APPENDING, FAMILIES[APPENDING], 3, "test")
    verdict = grade(drawn, drawn.body.replace("    self._p_changed = True\n", ""))
    assert verdict.right
    assert verdict.forgotten


def test_what_the_language_forbids_is_wrong_whatever_it_answers() -> None:
    drawn = task(ADDITION, FAMILIES[ADDITION], 3, "test")
    for body in (f"    import os\n{drawn.body}", f"    self.__class__\n{drawn.body}", "    return missing_name", "    return ("):
        assert not grade(drawn, body).right


def test_a_draft_that_never_ends_is_wrong_and_the_next_one_is_still_graded() -> None:
    drawn = task(ADDITION, FAMILIES[ADDITION], 3, "test")
    with Judge() as judge:
        assert not judge.verdict(JudgedDraft(ADDITION, 3, "test", "    while True:\n        pass")).right
        assert not judge.verdict(JudgedDraft(ADDITION, 3, "test", "    return 'a' * 10 ** 11")).right
        assert judge.verdict(JudgedDraft(ADDITION, 3, "test", drawn.body)).right


def test_a_report_counts_right_drafts_by_set_and_shows_the_wrong_ones() -> None:
    sets = evaluate.questions(seed=4, count=20)
    answers = {drawn.prompt: drawn.body for tasks in sets.values() for drawn in tasks}
    spoiled = sets["held_out"][0].prompt
    answers[spoiled] = "    pass_on"

    def author(prompts: list[str]) -> list[str]:
        return [answers[text] for text in prompts]

    report = evaluate.report({name: evaluate.graded(tasks, author) for name, tasks in sets.items()})
    assert report["scores"]["held_out"] == 95.0
    assert report["scores"]["clones"] == report["scores"]["first.display_yourself"] == report["scores"]["first.total_price"] == 100.0
    assert [wrong["prompt"] for wrong in report["wrong"]] == [spoiled]
