"""What an evaluation writes: every task with its verdict, every draft with its own, and what they add up to. Pure, but for `write`.

The file is JSON, one object: `EvaluationReport`, whose fields docs/evaluation.md explains.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ui_client import values
from ui_client.evaluation import figures
from ui_client.evaluation.figures import Calibration, CurvePoint, Share, StatedVerdict, share

FORMAT: Final = 1

Status = Literal["answered", "refused", "error", "failed"]


class DraftReport(Struct, frozen=True):
    """A draft, as the image keeps it, and whether it would be right alone. `fit`: it survived its trial and passed the examples. `right`:
    None where it could not be judged; `cases`: case by case. `more`: whatever else the image says of it."""

    source: str
    persona: str
    right: bool | None
    why: str
    cases: list[bool | None]
    fit: bool
    chosen: bool
    outcome: str
    outcome_why: str
    agreement: int
    logprob: float
    tokens: int
    temperature: float
    seed: int | None
    mode: str
    examples: int
    examples_passed: int
    trial: dict[str, Any]
    more: dict[str, Any]


class TaskReport(Struct, frozen=True):
    """A task and what became of it. `right`: None for a task that failed for reasons outside of it, which `why` then tells. `first_draft`
    and `any_draft`: whether the first (greedy) draft, or any, would be right alone; None without drafts that can be judged. `persona`:
    whose draft was installed, or was held for the best."""

    id: str
    group: str
    selector: str
    expects: Literal["answer", "refusal", "containment"]
    examples: int
    status: Status
    right: bool | None
    why: str
    installed: bool
    seconds: float
    tokens: int
    confidence: float | None = None
    decision: Any = None
    source: str = ""
    persona: str = ""
    result: Any = None
    changed: dict[str, Any] = {}
    beyond: list[str] = []
    error: str = ""
    error_message: str = ""
    cases: list[bool | None] = []
    cases_why: list[str] = []
    first_draft: bool | None = None
    any_draft: bool | None = None
    drafts: list[DraftReport] = []


class GroupFigures(Struct, frozen=True):
    """What the tasks of a group add up to; failed ones count in `tasks` and `failed` alone. `precision`: right of installed; `recall`:
    right of all."""

    tasks: int
    failed: int
    installed: Share
    precision: Share
    recall: Share
    refused: Share
    first_draft: Share
    any_draft: Share
    seconds_median: float | None
    seconds_p95: float | None
    tokens: int
    tokens_a_task: float | None


class PersonaFigures(Struct, frozen=True):
    """What a persona wrote: drafts that differ, on how many `tasks`, and the share of them that would be right alone (of those that could
    be judged); how many methods were `installed` of them, and the right ones of these (`precision`)."""

    tasks: int
    drafts: int
    drafts_right: Share
    installed: int
    precision: Share


class EvaluationSummary(Struct, frozen=True):
    """`overall`, `groups` and `personas`; `answered_right`: of the `answerable` tasks, those that have a right answer, how many were
    answered so. `curve` and `calibration` are of what has a stated confidence (`stated`), empty where nothing has."""

    overall: GroupFigures
    groups: dict[str, GroupFigures]
    answerable: int
    answered_right: Share
    stated: int
    curve: list[CurvePoint]
    calibration: Calibration
    personas: dict[str, PersonaFigures] = {}


class EvaluationReport(Struct, frozen=True):
    """The whole file. `run`: which suite, in which image, with what."""

    format: int
    run: dict[str, Any]
    summary: EvaluationSummary
    tasks: list[TaskReport]


def summary(tasks: Sequence[TaskReport]) -> EvaluationSummary:
    """What verdicts add up to."""
    judged = [task for task in tasks if task.status != "failed"]
    stated = list(stated_verdicts(judged))
    answerable = [task for task in judged if task.expects == "answer"]
    names = list(dict.fromkeys(task.group for task in tasks))
    return EvaluationSummary(
        overall=_figures(tasks),
        groups={name: _figures([task for task in tasks if task.group == name]) for name in names},
        answerable=len(answerable),
        answered_right=share(sum(bool(task.right) for task in answerable), len(answerable)),
        stated=len(stated),
        curve=figures.curve(stated, len(answerable)),
        calibration=figures.calibration(stated),
        personas=_personas(judged),
    )


def _personas(tasks: Sequence[TaskReport]) -> dict[str, PersonaFigures]:
    """By persona, the one that wrote most first."""
    drafts: dict[str, list[DraftReport]] = {}
    on_tasks: dict[str, int] = {}
    for task in tasks:
        for draft in task.drafts:
            drafts.setdefault(draft.persona, []).append(draft)
        for persona in {draft.persona for draft in task.drafts}:
            on_tasks[persona] = on_tasks.get(persona, 0) + 1
    by_persona = {}
    for persona, written in sorted(drafts.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        installed = [task for task in tasks if task.installed and task.persona == persona]
        judged = [draft.right for draft in written if draft.right is not None]
        by_persona[persona] = PersonaFigures(
            on_tasks[persona],
            len(written),
            share(sum(judged), len(judged)),
            len(installed),
            share(sum(bool(task.right) for task in installed), len(installed)),
        )
    return by_persona


def stated_verdicts(tasks: Iterable[TaskReport]) -> Iterable[StatedVerdict]:
    """Everything with a stated confidence that has a verdict: what was installed, and what was refused where it is known which draft it
    would have been."""
    for task in tasks:
        if task.confidence is None:
            continue
        if task.installed:
            yield StatedVerdict(task.confidence, bool(task.right), True, task.expects == "answer")
            continue
        draft = next((draft for draft in task.drafts if draft.chosen), None)
        if draft is not None and draft.right is not None:
            # What is to be refused is right as long as it is not installed; here it would be.
            right = draft.right and task.expects != "refusal"
            yield StatedVerdict(task.confidence, right, False, task.expects == "answer")


def write(file: Path, report: EvaluationReport) -> None:
    """Write the report in one step: whoever reads has the old file or the whole new one. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(values.to_json(report)), indent=1)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name[:100]}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(file: Path) -> EvaluationReport:
    """A report that was written. Raises OSError, msgspec.MsgspecError."""
    return msgspec.json.decode(file.read_bytes(), type=EvaluationReport)


def _figures(tasks: Sequence[TaskReport]) -> GroupFigures:
    judged = [task for task in tasks if task.status != "failed"]
    installed = [task for task in judged if task.installed]

    def of(members: Sequence[TaskReport], holds: Callable[[TaskReport], bool]) -> Share:
        return share(sum(map(holds, members)), len(members))

    first = [task for task in judged if task.first_draft is not None]
    seconds = [task.seconds for task in judged]
    tokens = sum(task.tokens for task in judged)
    return GroupFigures(
        tasks=len(tasks),
        failed=len(tasks) - len(judged),
        installed=of(judged, lambda task: task.installed),
        precision=of(installed, lambda task: bool(task.right)),
        recall=of(judged, lambda task: bool(task.right)),
        refused=of(judged, lambda task: task.status == "refused"),
        first_draft=of(first, lambda task: bool(task.first_draft)),
        any_draft=of(first, lambda task: bool(task.any_draft)),
        seconds_median=figures.quantile(seconds, 0.5),
        seconds_p95=figures.quantile(seconds, 0.95),
        tokens=tokens,
        tokens_a_task=tokens / len(judged) if judged else None,
    )
