"""What a source does in each case of a task: on fresh objects that an import brings, by previews, which change nothing and write nothing.

Called in the threads of the runner, each with a connection of its own.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from ui_client.client.errors import ClientError, RemoteError
from ui_client.evaluation.access import ImageAccess, outside
from ui_client.evaluation.documents import bundle, method_document, object_names, wire, written
from ui_client.evaluation.judging import Judgement, Observation, judge, same
from ui_client.evaluation.suite import REMOVED, SELF, SuiteCase, SuiteTask, cases
from uvm.protocol import MethodDocument, Reference

JUDGE_S: Final = 30.0
"""Longest that a preview may take."""
_COUNTED: Final = frozenset({"clones", "messages", "methods"})
"""Counters of genesis_obj, which the kernel moves."""


class Run(Struct, frozen=True):
    """What a source did in each case: the verdicts, and what it changed beyond the task's objects in the first one."""

    verdicts: list[Judgement | None]
    beyond: list[str] = []

    @property
    def right(self) -> bool | None:
        """Whether all of them are right; None where one could not be judged and none is wrong."""
        if any(verdict is not None and not verdict.right for verdict in self.verdicts):
            return False
        return None if None in self.verdicts or not self.verdicts else True

    @property
    def why(self) -> str:
        """Why it is wrong, case by case."""
        wrong = [(number, verdict.why) for number, verdict in enumerate(self.verdicts) if verdict is not None and not verdict.right]
        return "; ".join(why if not number else f"check {number}: {why}" for number, why in wrong)


def judged_run(access: ImageAccess, task: SuiteTask, source: str, helpers: Sequence[MethodDocument]) -> Run:
    """A source on fresh objects for each case, by previews."""
    every = cases(task)
    document = method_document(task.selector, source, len(task.args))
    try:
        placed = place(access, task, every, [document, *helpers])
    except ClientError:
        return Run([None for _ in every])
    verdicts: list[Judgement | None] = []
    strangers: list[str] = []
    for case, references in zip(every, placed, strict=True):
        names = {reference: name for name, reference in references.items()}
        observed = _previewed(access, task, case, references, names)
        verdicts.append(None if observed is None else judge(case.expect, observed, case.judge_changed))
        if case is every[0] and observed is not None:
            strangers = observed.beyond
    let_go(access, placed)
    return Run(verdicts, strangers)


def let_go(access: ImageAccess, placed: Sequence[dict[str, Reference]]) -> None:
    """Give the objects back that `place` made, as far as that can be done."""
    try:
        access.release([reference for references in placed for reference in references.values()])
    except ClientError:
        return  # their lease ends by itself


def place(
    access: ImageAccess, task: SuiteTask, every: Sequence[SuiteCase], methods: Sequence[MethodDocument]
) -> list[dict[str, Reference]]:
    """Make the objects of some cases; by case, name → reference. Raises ClientError."""
    roots = access.import_objects(bundle(task, every, methods)).get("roots")
    names = object_names(task)
    if not isinstance(roots, list) or len(roots) != len(names) * len(every) or not all(isinstance(root, Reference) for root in roots):
        raise RemoteError("BadReply", "the import answered other references than it was asked for", "batos logs uvm-1 has more")
    return [dict(zip(names, roots[begin : begin + len(names)], strict=True)) for begin in range(0, len(roots), len(names))]


def _previewed(
    access: ImageAccess, task: SuiteTask, case: SuiteCase, references: dict[str, Reference], names: dict[Reference, str]
) -> Observation | None:
    """What a call would do; None where nothing can be said."""
    preview: dict[str, Any] = {}
    for last in (False, True):
        try:
            preview = access.preview(
                references[SELF], task.selector, *wire(case.args, references), deadline=JUDGE_S, keywords=wire(case.kwargs, references)
            )
            break
        except ClientError as error:
            if not isinstance(error, RemoteError) or outside(error, drafted=True):
                if last:
                    return None
            elif last or error.type != "DeadlineExceeded":  # the first one may be that of a busy machine
                return Observation(error=error.type, raised=str(error.details.get("error") or ""))
    changed: dict[str, Any] = {}
    beyond: list[str] = []
    for part in preview.get("slots", []):
        owner, slot = part["object"], part["slot"]
        after = written(part["after"], names) if "after" in part else REMOVED
        if owner not in names:
            if not ("genesis_obj" in part["names"] and slot in _COUNTED):
                beyond.append(f"{(part['names'] or [str(owner)])[0]}.{slot}")
        elif "before" not in part or "after" not in part or not same(written(part["before"], names), after):
            changed[slot if names[owner] == SELF else f"{names[owner]}.{slot}"] = after
    return Observation(result=written(preview.get("result"), names), changed=changed, beyond=beyond)
