"""Runs a suite: every task is sent, and when all were answered, judged. The command's thread, and as many others as may be in flight.

Each thread has a connection of its own (one session's messages stay on one UVM). Judging comes after all sending, so that it takes no time
from what is measured and leaves nothing that a later task could find. It writes no method: what is judged is the source that was installed,
and each draft's, on fresh objects that an import brings, by previews, which change nothing and write nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct

from ui_client.client.errors import ClientError, RemoteError
from ui_client.evaluation.access import ImageAccess, outside
from ui_client.evaluation.documents import method_document, object_names, wire, written
from ui_client.evaluation.drafts import UNRUN, Drafting, KeptDraft, drafting
from ui_client.evaluation.judging import Judgement, Observation, judge, same
from ui_client.evaluation.report import DraftReport, TaskReport
from ui_client.evaluation.runs import JUDGE_S, Run, judged_run, let_go, place
from ui_client.evaluation.suite import REMOVED, SELF, SuiteTask, cases
from uvm.protocol import Example, MethodDocument, ObjectState, Reference

TICK_S: Final = 0.1
_UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What comes of an answer of another shape than the protocol's."""

Subject = TypeVar("Subject")
Outcome = TypeVar("Outcome")
Connect = Callable[[], AbstractContextManager[ImageAccess]]


class SentTask(Struct, frozen=True):
    """A task that was sent. `failure`: why nothing can be said of it; `helpers`: methods that were written beside the one it asked for."""

    task: SuiteTask
    failure: str = ""
    failure_type: str = ""
    seconds: float = 0.0
    observed: Observation = Observation()
    error_message: str = ""
    drafting: Drafting = Drafting()
    source: str = ""
    installed: bool = False
    helpers: list[MethodDocument] = []


class SuiteRun:
    """One evaluation. `tell(phase, done, of)` is called in the caller's thread, several times a second."""

    def __init__(
        self, tasks: Sequence[SuiteTask], connect: Connect, *, parallel: int, deadline_s: float, tell: Callable[[str, int, int], None]
    ) -> None:
        self._tasks = tasks
        self._connect = connect
        self._parallel = parallel
        self._deadline_s = deadline_s
        self._tell = tell

    def run(self) -> list[TaskReport]:
        """Every task with its verdict, in the order of the suite. What fails for a reason outside of a task fails that task alone."""
        with self._connected() as accesses:
            sent = self._in_parallel("sent", accesses, self._tasks, self._send)
            return self._in_parallel("judged", accesses, sent, self._judge)

    # --- threads and connections -----------------------------------------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator["SimpleQueue[ImageAccess]"]:
        idle: SimpleQueue[ImageAccess] = SimpleQueue()
        with ExitStack() as opened:
            for _ in range(min(self._parallel, len(self._tasks))):
                idle.put(opened.enter_context(self._connect()))
            yield idle

    def _in_parallel(
        self, phase: str, idle: "SimpleQueue[ImageAccess]", subjects: Sequence[Subject], step: Callable[[ImageAccess, Subject], Outcome]
    ) -> list[Outcome]:
        """The step on every subject, at most `parallel` at a time."""

        def on_idle_connection(subject: Subject) -> Outcome:
            access = idle.get()
            try:
                return step(access, subject)
            finally:
                idle.put(access)

        pool = ThreadPoolExecutor(max(1, min(self._parallel, len(subjects))), "evaluation")
        try:
            futures: list[Future[Outcome]] = [pool.submit(on_idle_connection, subject) for subject in subjects]
            pending = set(futures)
            while pending:
                _, pending = wait(pending, TICK_S, FIRST_COMPLETED)
                self._tell(phase, len(futures) - len(pending), len(futures))
            return [future.result() for future in futures]
        finally:
            # After an interruption calls are still under way: closing the connections, which the caller does, ends them.
            pool.shutdown(wait=False, cancel_futures=True)

    # --- sending ---------------------------------------------------------------------------------------------------------

    def _send(self, access: ImageAccess, task: SuiteTask) -> SentTask:
        try:
            return self._sent(access, task)
        except ClientError as error:
            return SentTask(task, failure=f"its objects could not be made or looked at: {error}", failure_type=_type_of(error))
        except _UNREADABLE as error:
            return SentTask(task, failure=f"the image answered what cannot be read: {error!r}", failure_type="BadReply")

    def _sent(self, access: ImageAccess, task: SuiteTask) -> SentTask:
        references = place(access, task, cases(task)[:1], [])[0]
        names = {reference: name for name, reference in references.items()}
        receiver = references[SELF]
        error: ClientError | None = None
        result: Any = None
        began = time.monotonic()
        try:
            result = access.send(
                receiver,
                task.selector,
                *wire(task.args, references),
                deadline=self._deadline_s,
                examples=[_example(example, references) for example in task.examples],
                keywords=wire(task.kwargs, references),
            )
        except ClientError as raised:
            error = raised
        seconds = time.monotonic() - began
        details = error.details if isinstance(error, RemoteError) else {}
        state = access.inspect(receiver)
        explained = _explained(access, receiver, task.selector, state)
        thought = drafting(explained.get("proof"), explained, details, _message(access, details))
        if error is not None and outside(error, thought.was_considered):
            return SentTask(task, failure=str(error), failure_type=_type_of(error), seconds=seconds, drafting=thought)
        changed, beyond = _differences(access, task, references, names, state)
        observed = Observation(
            result=written(result, names),
            error=error.type if isinstance(error, RemoteError) else "",
            raised=str(details.get("error") or ""),
            changed=changed,
            beyond=beyond,
        )
        helpers = [selector for selector in state.methods if selector != task.selector]
        sent = SentTask(
            task,
            seconds=seconds,
            observed=observed,
            error_message=error.message if isinstance(error, RemoteError) else "",
            drafting=thought,
            source=str(explained.get("source") or ""),
            installed=task.selector in state.methods,
            helpers=[method_document(selector, str(_explained(access, receiver, selector, state).get("source"))) for selector in helpers],
        )
        let_go(access, [references])
        return sent

    # --- judging ---------------------------------------------------------------------------------------------------------

    def _judge(self, access: ImageAccess, sent: SentTask) -> TaskReport:
        if sent.failure:
            return _failed(sent)
        try:
            return self._judged(access, sent)
        except _UNREADABLE as error:
            failure = f"the image answered what cannot be read: {error!r}"
            return _failed(msgspec.structs.replace(sent, failure=failure, failure_type="BadReply"))

    def _judged(self, access: ImageAccess, sent: SentTask) -> TaskReport:
        task = sent.task
        runs: dict[str, Run] = {}

        def run(source: str) -> Run:
            if source not in runs:
                runs[source] = judged_run(access, task, source, sent.helpers)
            return runs[source]

        judged = [self._draft(sent, draft, run) for draft in sent.drafting.drafts]
        installed = run(sent.source) if sent.installed and sent.source else Run([])
        observed = sent.observed
        if installed.beyond:
            observed = msgspec.structs.replace(observed, beyond=list(dict.fromkeys([*observed.beyond, *installed.beyond])))
        verdict = judge(task.expect, observed)
        # The call itself was judged as it happened; the other cases with what it left installed.
        verdicts = [verdict, *installed.verdicts[1:]]
        whole = Run(list(verdicts))
        first = sent.drafting.first
        rights = [draft.right for draft in judged]
        return TaskReport(
            id=task.id,
            group=task.grouped,
            selector=task.selector,
            expects=_expects(task),
            examples=len(task.examples),
            status="refused" if observed.error in ("Refused", "Declined") else "error" if observed.error else "answered",
            # A check that could not be made takes nothing from a right answer; `cases` has it.
            right=whole.right is not False and verdict.right,
            why=whole.why,
            installed=sent.installed,
            seconds=round(sent.seconds, 4),
            tokens=sum(draft.tokens for draft in sent.drafting.drafts),
            confidence=sent.drafting.confidence,
            decision=sent.drafting.decision,
            source=sent.source,
            persona=next((draft.persona for draft in judged if draft.chosen), ""),
            result=observed.result,
            changed=observed.changed,
            beyond=observed.beyond,
            error=observed.raised or observed.error,
            error_message=sent.error_message,
            cases=[None if case_verdict is None else case_verdict.right for case_verdict in verdicts],
            cases_why=[case_verdict.why for case_verdict in verdicts if case_verdict is not None and case_verdict.why],
            first_draft=judged[first.number].right if first is not None else None,
            any_draft=any(rights) if any(right is not None for right in rights) else None,
            drafts=judged,
        )

    def _draft(self, sent: SentTask, draft: KeptDraft, run: Callable[[str], Run]) -> DraftReport:
        """A draft alone, as if it had been the only one."""
        expect = sent.task.expect
        if expect.refused:
            outcome = Run([Judgement(not draft.fit, "" if not draft.fit else "would be installed")])
        elif draft.outcome in UNRUN:
            outcome = Run([Judgement(expect.contained, "" if expect.contained else draft.why or draft.outcome)])
        else:
            outcome = run(draft.source)
        return DraftReport(
            source=draft.source,
            persona=draft.persona,
            right=outcome.right,
            why=outcome.why,
            cases=[None if case_verdict is None else case_verdict.right for case_verdict in outcome.verdicts],
            fit=draft.fit,
            chosen=draft.number == sent.drafting.chosen,
            outcome=draft.outcome,
            outcome_why=draft.why,
            agreement=draft.agreement,
            logprob=draft.logprob,
            tokens=draft.tokens,
            temperature=draft.temperature,
            seed=draft.seed,
            mode=draft.mode,
            examples=draft.examples,
            examples_passed=draft.examples_passed,
            trial=draft.trial,
            more=draft.more,
        )


def _type_of(error: ClientError) -> str:
    return error.type if isinstance(error, RemoteError) else type(error).__name__


def _failed(sent: SentTask) -> TaskReport:
    task = sent.task
    return TaskReport(
        id=task.id,
        group=task.grouped,
        selector=task.selector,
        expects=_expects(task),
        examples=len(task.examples),
        status="failed",
        right=None,
        why=sent.failure,
        installed=False,
        seconds=round(sent.seconds, 4),
        tokens=0,
        error=sent.failure_type,
    )


def _expects(task: SuiteTask) -> Any:
    return "refusal" if task.expect.refused else "containment" if task.expect.contained else "answer"


def _differences(
    access: ImageAccess, task: SuiteTask, references: dict[str, Reference], names: dict[Reference, str], receiver: ObjectState
) -> tuple[dict[str, Any], list[str]]:
    """What the objects of a task hold now that they did not hold before; and methods that others were given."""
    changed: dict[str, Any] = {}
    beyond: list[str] = []
    before = dict(zip(object_names(task), [task.slots, *task.parents, *task.others.values()], strict=True))
    for name, reference in references.items():
        state = receiver if name == SELF else access.inspect(reference)
        slots = {slot: written(value, names) for slot, value in state.slots.items()}
        slots |= {slot: written(access.read(reference, slot), names) for slot in state.large}
        prefix = "" if name == SELF else f"{name}."
        for slot in [*slots, *before[name]]:
            if slot not in slots and slot not in state.methods:
                changed[prefix + slot] = REMOVED
            elif slot in slots and (slot not in before[name] or not same(slots[slot], before[name][slot])):
                changed[prefix + slot] = slots[slot]
        beyond += [f"{name}.{selector}" for selector in state.methods if name != SELF]
    return changed, beyond


def _explained(access: ImageAccess, receiver: Reference, selector: str, state: ObjectState) -> dict[str, Any]:
    if selector not in state.methods:
        return {}
    facts = access.send(receiver, "mirror_", "explain_", selector, deadline=JUDGE_S)
    return facts if isinstance(facts, dict) else {}


def _message(access: ImageAccess, details: dict[str, Any]) -> dict[str, Any]:
    """The slots of the message object that a refusal names."""
    named = details.get("message")
    if not isinstance(named, str) or not named.startswith("@"):
        return {}
    try:
        return access.inspect(named).slots
    except ClientError:
        return {}


def _example(example: Example, references: dict[str, Reference]) -> Example:
    """An example with the objects of the task in place of their names."""
    parts = {name: getattr(example, name) for name in ("result", "slots", "changed")}
    return msgspec.structs.replace(
        example,
        args=wire(example.args, references),
        kwargs=wire(example.kwargs, references),
        **{name: value if value is UNSET else wire(value, references) for name, value in parts.items()},
    )
