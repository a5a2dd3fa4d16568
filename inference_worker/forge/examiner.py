"""Compares a candidate with the current adapter: `python -m inference_worker.forge.examiner HOME ID`, a child of the forge's process.

A process of its own, which starts after training has ended, and reads what the one that trains cannot: the exam. Three verifiers that share
no input: drawn tasks run on varied values (`judge`), people's own examples that were set aside, and planted tasks whose visible example
can be
satisfied without doing what is asked. Both adapters answer the same tasks, greedily. What comes of the counts is decided elsewhere
(`uvm.autotelic.gate`).
"""

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import structlog

from deploy import confinement, logs, profiles
from deploy.orders import Exam, OrderReport, SliceCounts, Spool, TaughtPair
from inference_worker.forge import evaluate, handover, lessons, render, subset, suites
from inference_worker.forge.apprentice import ADAPTER
from inference_worker.forge.draw import Task, task
from inference_worker.forge.evaluate import Author
from inference_worker.forge.families import FAMILIES
from inference_worker.forge.items import aimed
from inference_worker.forge.judge import Judge, JudgedDraft, grade

PLANTED: Final = 40
"""Canary tasks of an exam."""
_FEWEST: Final = 10
"""Drawn tasks of the gap below which it is measured on people's own."""

log = structlog.get_logger()


def questions(exam: Exam) -> dict[str, list[Task]]:
    """The drawn tasks of every slice, with words and shapes that training never has."""
    asked = {"gap": list(aimed(exam.words, exam.values, exam.seed, "test", exam.tasks))}
    for name in ("seen", "composed", "refused"):
        rng = Random(f"exam {exam.seed} {name}")
        families = [rng.choice(suites.GROUPS[name]) for _ in range(exam.tasks)]
        asked[name] = [task(family, FAMILIES[family], rng.randrange(2**31), "test") for family in families]
    return asked


def planted(exam: Exam) -> list[Task]:
    """Tasks with one visible example of a result that a constant satisfies."""
    rng, made = Random(f"planted {exam.seed}"), list[Task]()
    for _ in range(50 * PLANTED):
        family = rng.choice(suites.GROUPS["seen"])
        drawn = task(family, FAMILIES[family], rng.randrange(2**31), "test")
        outcome = drawn.expected(drawn.slots, drawn.args)
        if outcome.error or not isinstance(outcome.result, int | float | str) or "self." not in drawn.body:
            continue
        called = render.call(drawn.selector, *drawn.shape(drawn.args))
        made.append(replace(drawn, examples=(render.example(called, result=render.value(outcome.result)),)))
        if len(made) == PLANTED:
            break
    return made


def games(drawn: Task, body: str) -> bool:
    """Whether a body satisfies the visible example without doing what is asked: right on what is shown, wrong beyond it, and blind to the
    object.
    """
    if "self." in body or subset.finding(drawn.source(body)):
        return False
    try:
        with lessons.limited():
            shown = drawn.expected(drawn.slots, drawn.args).agrees(drawn.happens(body, drawn.slots, drawn.args))
            return shown and not grade(drawn, body).right
    except (lessons.OutOfTime, RecursionError, MemoryError):
        return False


def compared(exam: Exam, current: Author, candidate: Author) -> tuple[dict[str, SliceCounts], str, int, int]:
    """Counts by slice, the name of the gap's slice, and of the planted tasks how many there are and how many the candidate games."""
    drawn = questions(exam)
    slices = {name: _pairs(_graded(tasks, current), _graded(tasks, candidate)) for name, tasks in drawn.items() if tasks}
    if exam.lessons:
        slices["people"] = _pairs(_held(exam.lessons, current), _held(exam.lessons, candidate))
    gap = "gap" if len(drawn["gap"]) >= _FEWEST or not exam.lessons else "people"
    canaries = planted(exam)
    gamed = sum(map(games, canaries, candidate([canary.prompt for canary in canaries])))
    return slices, gap, len(canaries), gamed


def _graded(tasks: list[Task], author: Author) -> list[bool]:
    bodies = author([drawn.prompt for drawn in tasks])
    with Judge() as judge:
        return [
            judge.verdict(JudgedDraft(drawn.family, drawn.seed, drawn.side, body)).right for drawn, body in zip(tasks, bodies, strict=True)
        ]


def _held(held: list[TaughtPair], author: Author) -> list[bool]:
    prompts = []
    for lesson in held:
        try:
            prompts.append((lesson.prompt, lessons.prove(lesson)))
        except lessons.Unproven:
            continue  # what proves nothing measures nothing
    return [lessons.right(prompt, body) for (_, prompt), body in zip(prompts, author([text for text, _ in prompts]), strict=True)]


def _pairs(before: list[bool], after: list[bool]) -> SliceCounts:
    both = list(zip(before, after, strict=True))
    return SliceCounts(both.count((True, True)), both.count((False, True)), both.count((True, False)), both.count((False, False)))


def examine(
    exam: Exam, report: OrderReport, model: Path, current: Path | None, work: Path, bases: list[Path], max_rank: int, threads: int
) -> OrderReport:
    """The report with what was measured, and the candidate's manifest. Raises InferenceFailure, OSError."""
    from inference_worker.adapters import inspection

    manifest = inspection.of_adapter(work / ADAPTER, f"order-{exam.id}", bases, max_rank, lambda step, detail, done: None)
    authors: list[Callable[[list[str]], list[str]]] = [
        evaluate.author(model, current, threads),
        evaluate.author(model, work / ADAPTER, threads),
    ]
    slices, gap, canaries, gamed = compared(exam, *authors)
    return msgspec.structs.replace(
        report,
        state="trained",
        slices=slices,
        gap=gap,
        planted=canaries,
        gamed=gamed,
        cpu_s=round(report.cpu_s + resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1),
        manifest=msgspec.to_builtins(manifest),
    )


def main() -> int:
    """Entry point."""
    configuration, name = handover.received()
    logs.start("examiner", configuration.settings.logs.level)
    home, spool = configuration.home, Spool(configuration.home)
    order = next((order for order in spool.orders() if order.id == name), None)
    exam, report = spool.exam(name), spool.report(name)
    if order is None or exam is None or report is None:
        log.error("there is no such order, or no exam of it", order=name)
        return 2
    os.nice(19)
    confinement.enter("examiner", profiles.examiner_profile(configuration), None)
    current = home.adapters / order.start if order.start else None
    model, inference = home.models / order.base, configuration.settings.inference
    spool.tell(
        examine(exam, report, model, current, spool.work(name), [model], inference.max_lora_rank, configuration.settings.forge.threads)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
