"""Programs that are put together at random are worth learning, and those of the test side cannot be learned."""

from random import Random

import pytest

from inference_worker.forge.composition import program
from inference_worker.forge.composition.program import ComposedProgram, behaviour, side_of
from inference_worker.forge.composition.term import Term, compound
from inference_worker.forge.draw import Draw, Task, task
from inference_worker.forge.families import FAMILIES
from inference_worker.forge.judge import grade
from inference_worker.forge.words import Side
from uvm.language.audit import audit

NAMES = ("composed.value", "composed.change", "composed.declined")


def drawn(side: Side, count: int, names: tuple[str, ...] = NAMES) -> list[Task]:
    return [task(name, FAMILIES[name], seed, side) for name in names for seed in range(count)]


@pytest.mark.parametrize("side", ["train", "test"])
def test_every_program_is_in_the_language_and_does_what_it_says(side: Side) -> None:
    for drawn_task in drawn(side, 60):
        args, kwargs = drawn_task.shape(drawn_task.args)
        assert audit(drawn_task.source(drawn_task.body), drawn_task.selector, len(args), list(kwargs)).findings == [], drawn_task.body
        assert grade(drawn_task, drawn_task.body).right, drawn_task.body


def test_training_never_sees_a_deep_shape_of_the_test_side_and_the_test_side_has_such() -> None:
    trained = {drawn_task.program for drawn_task in drawn("train", 150, NAMES[:2])}
    tested = {drawn_task.program for drawn_task in drawn("test", 150, NAMES[:2])}

    def deep(shapes: set[str]) -> set[str]:
        return {shape for shape in shapes if "(" in shape.partition("(")[2]}

    assert {side_of(shape) for shape in deep(trained)} == {"train"}
    assert {side_of(shape) for shape in deep(tested)} == {"test"}
    assert len(deep(tested)) > 10


def test_a_shape_holds_no_name_so_that_renaming_reaches_no_other() -> None:
    for drawn_task in drawn("train", 100, NAMES[:2]):
        assert not [name for name in drawn_task.makers if len(name) > 5 and name in drawn_task.program], drawn_task.program


def test_a_message_whose_slot_is_not_there_is_declined_and_nothing_else_answers_it() -> None:
    for drawn_task in drawn("train", 120, NAMES[2:]):
        reason = drawn_task.body.strip().removeprefix('decline("').removesuffix('")')
        if reason.startswith("no slot for "):
            assert reason.removeprefix("no slot for ") not in drawn_task.slots
        elif reason.endswith(" is a text"):
            assert isinstance(drawn_task.slots[reason.removesuffix(" is a text")], str)
        else:
            field = reason.removeprefix("no ").removesuffix(" in the rows")
            rows = [row for content in drawn_task.slots.values() if isinstance(content, list) for row in content if isinstance(row, dict)]
            assert all(field not in row for row in rows)


def test_a_program_that_does_what_a_part_of_it_does_is_thrown_away() -> None:
    draw = Draw(Random(1), "train")
    draw.slot("weights", lambda rng, slots: [rng.randint(1, 9) for _ in range(4)])
    slot = Term("numbers", "self.weights", "weights", "N")
    twice = compound(
        "numbers",
        "sorted",
        "sorted(sorted(self.weights))",
        "weights_sorted_in_order",
        compound("numbers", "sorted", "sorted(self.weights)", "x", slot),
    )
    summed = compound(
        "number",
        "sum",
        "sum(sorted(self.weights))",
        "total_sorted_weights",
        compound("numbers", "sorted", "sorted(self.weights)", "x", slot),
    )

    def trivial(term: Term) -> bool:
        body = f"return {term.code}"
        return program.trivial(draw, ComposedProgram(term.name, body, term.shape, (term,)), behaviour(body, []), [])

    assert trivial(twice)
    assert not trivial(summed)
