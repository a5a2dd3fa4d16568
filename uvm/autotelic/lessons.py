"""Which of people's lessons go to the forge, and which are set aside first. Pure.

A lesson is a prompt and the body that should follow it. The forge takes none on trust: it runs each on the examples that stand in its
prompt (`inference_worker.forge.lessons`). Here nobody's lessons may crowd out everybody else's, and what contradicts is dropped.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from deploy.orders import TaughtPair

MOST: Final = 256
"""Lessons of one order."""
OF_ONE: Final = 64
"""Lessons of one principal in one order: a flood by one client is cut, and the newest stay."""
HELD: Final = 5
"""One lesson in so many is set aside, by the digest of its prompt: it stays aside for good, whatever order it is offered to."""


class ChosenLessons(Struct, frozen=True):
    """`taught` goes to the forge, `held` to the examiner alone; `dropped`: why → how many."""

    taught: list[TaughtPair]
    held: list[TaughtPair]
    dropped: dict[str, int]


def chosen(lessons: Sequence[TaughtPair]) -> ChosenLessons:
    """Sort them; the newest come last."""
    dropped: Counter[str] = Counter()
    answers: dict[str, set[str]] = defaultdict(set)
    teachers: dict[str, set[str]] = defaultdict(set)
    for lesson in lessons:
        answers[lesson.prompt].add(lesson.answer.strip())
        teachers[lesson.prompt].add(lesson.principal)
    counts: Counter[str] = Counter()
    kept: dict[tuple[str, str], TaughtPair] = {}
    for lesson in reversed(lessons):
        key = (lesson.prompt, lesson.answer.strip())
        if len(teachers[lesson.prompt]) > 1 and len(answers[lesson.prompt]) > 1:
            dropped["contradicted by another principal's"] += 1
        elif key in kept:
            dropped["the same as another"] += 1
        elif counts[lesson.principal] >= OF_ONE:
            dropped["more than one principal may give"] += 1
        elif len(kept) >= MOST:
            dropped["more than an order has room for"] += 1
        else:
            counts[lesson.principal] += 1
            kept[key] = lesson
    held = [lesson for lesson in kept.values() if is_held(lesson.prompt)]
    return ChosenLessons([lesson for lesson in kept.values() if not is_held(lesson.prompt)], held, dict(dropped))


def is_held(prompt: str) -> bool:
    """Whether lessons with this prompt are set aside."""
    return hashlib.sha256(prompt.encode()).digest()[0] % HELD == 0
