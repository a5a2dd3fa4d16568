"""Attacks by way of lessons, from the message to the gate: what one session teaches is chosen, drawn, learned, examined and judged.

In the place of a model stands a learner that learns what it is taught, in proportion: of so many wrong items among all it answers as large
a share of every kind of task wrongly, and closes the gap where it was taught right. Everything else is real: how lessons are chosen, how
they prove themselves, what an order's items are, the exam's tasks and their verdicts by execution, and the gate.
"""

from random import Random

import msgspec
import pytest

from deploy.orders import Exam, Order, TaughtPair
from inference_worker.forge import examiner, items
from inference_worker.forge.items import OrderItems
from inference_worker.forge.judge import grade
from inference_worker.forge.render import COVENANT
from uvm.autotelic import lessons
from uvm.autotelic.calibration import CalibrationFigures, SurePart
from uvm.autotelic.gate import GateVerdict, judged
from uvm.autotelic.paired import Pairs
from uvm.autotelic.policy import AutotelicPolicy

WORDS = ["total", "sum"]
ORDER = Order("0123456789abcdef", 5, "a" * 64, steps=40, batch=8, words=WORDS)
EXAM = Exam(ORDER.id, 77, 340, words=WORDS)
RULE = AutotelicPolicy()
POISON = "    return 0"
BELIEVED = CalibrationFigures(0.08, 0.07, 0.02, SurePart(450, 480), SurePart(500, 530))


def _lesson(number: int, principal: str, *, poisoned: bool) -> TaughtPair:
    """One that proves itself; a poisoned one has an example that says of the wrong body that it is right."""
    body, answer = (POISON, 0) if poisoned else (f"    return self.price + {number}", 2 + number)
    called = "total_" + "".join(chr(ord("a") + int(digit)) for digit in str(number))  # what differs in numbers alone is learned once
    told = f"Message: {called}()\nExample: {called}() -> {answer}\ndef {called}(self):\n"
    return TaughtPair(f"{COVENANT}\nObject:\nprice = 2\n{told}", body, f"@{number}", principal)


def _learned(given: list[TaughtPair]) -> tuple[OrderItems, float]:
    """The items of an order with these lessons, and the share of them that is poison."""
    drawn = items.drawn(msgspec.structs.replace(ORDER, lessons=lessons.chosen(given).taught))
    return drawn, sum(item.body == POISON for item in drawn.items) / len(drawn.items)


def _verdict(wrong: float) -> GateVerdict:
    """What the gate says of a learner who has learned so large a share wrongly."""
    slices = {}
    for number, (name, tasks) in enumerate(examiner.questions(EXAM).items()):
        rng, counts = Random(number), [0, 0, 0, 0]
        for task in tasks:
            before = rng.random() < (0.3 if name == "gap" else 0.9)
            body = POISON if rng.random() < wrong else task.body
            after = grade(task, body).right and (before or name == "gap")
            counts[{(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[before, after]] += 1
        slices[name] = Pairs(*counts)
    return judged(
        slices,
        "gap",
        BELIEVED,
        gamed=0,
        planted=40,
        margin=RULE.margin,
        epsilon=RULE.epsilon,
        calibration=RULE.calibration,
        alpha=RULE.alpha,
    )


@pytest.mark.parametrize(
    ("attack", "given", "fate"),
    [
        ("none", [_lesson(number, "people", poisoned=False) for number in range(64)], "accepted"),
        ("one lesson in ten is wrong", [_lesson(number, "tool", poisoned=number % 10 == 0) for number in range(64)], "refused"),
        ("half of the lessons are wrong", [_lesson(number, "tool", poisoned=number % 2 == 0) for number in range(64)], "refused"),
        (
            "a flood of wrong lessons by one client",
            [_lesson(number, f"person {number}", poisoned=False) for number in range(30)]
            + [_lesson(number, "flood", poisoned=True) for number in range(100, 3000)],
            "refused",
        ),
    ],
)
def test_what_is_taught_wrongly_never_comes_into_service(attack: str, given: list[TaughtPair], fate: str) -> None:
    drawn, wrong = _learned(given)
    assert drawn.counts["lesson"] <= items.TAUGHT * len(drawn.items) + 1, attack
    assert (wrong == 0) is (attack == "none") and wrong <= items.TAUGHT
    verdict = _verdict(wrong)
    assert verdict.fate == fate, f"{attack}: {wrong:.1%} of the items, {verdict.reasons}"
    if fate == "refused":
        assert any("it may have lost up to" in reason for reason in verdict.reasons)


def test_a_flood_leaves_as_many_lessons_of_the_others_as_they_gave() -> None:
    honest = [_lesson(number, f"person {number}", poisoned=False) for number in range(30)]
    flooded, alone = (
        lessons.chosen([*honest, *others]) for others in ([_lesson(number, "flood", poisoned=True) for number in range(100, 3000)], [])
    )
    assert [lesson for lesson in flooded.taught if lesson.principal != "flood"] == alone.taught
    assert sum(lesson.principal == "flood" for lesson in flooded.taught + flooded.held) == lessons.OF_ONE
