"""Grades drafts by what they do: `python -m inference_worker.forge.judge` reads jobs and answers verdicts, one JSON line each.

A process of its own, started by `Judge`: drafts are run here, under limits of memory and time, and a draft that hangs
costs this process and nothing else. Tasks are named by (family, seed, side) and drawn again here, so nothing but
text passes between the two.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from random import Random
from types import FrameType, TracebackType
from typing import Any, Self

import msgspec

from inference_worker.forge import firsts, subset
from inference_worker.forge.draw import Task, task
from inference_worker.forge.families import FAMILIES
from inference_worker.forge.standin import BodyOutcome, plain, same
from inference_worker.forge.values import Slots
from inference_worker.forge.words import Side

PROBES = 6
"""Fresh sets of slot values that a draft is run on, beside the one that was shown."""

DRAFT_LIMIT_S = 2.0
VERDICT_LIMIT_S = 20.0
MEMORY_LIMIT = 2 << 30


class JudgedDraft(msgspec.Struct, frozen=True):
    """A draft for the task (family, seed, side): the body, indented. `watched`: what it does is to be told as well, right or wrong."""

    family: str
    seed: int
    side: Side
    body: str
    watched: bool = False


class DraftConduct(msgspec.Struct, frozen=True):
    """What a draft does, whether it is right or not; the fields are those of `deploy.orders.ExamDraft`."""

    error: str = ""
    changed: bool = False
    result: bool | int | float | str | list[Any] | None = None
    failed: float = 0.0
    steady: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """Whether a draft does what the task wants, and if not, why; `forgotten`: it left out a `_p_changed`, which the image inserts.

    `conduct`: what it does, where that was asked for; nil also where it came to no end.
    """

    right: bool
    why: str = ""
    forgotten: bool = False
    conduct: DraftConduct | None = None


class _OutOfTime(BaseException):
    """The draft ran too long; not an Exception, so that no draft can catch it."""


def named(family: str, seed: int, side: Side) -> Task:
    """The task of this name, be it a family's or one kept out of training."""
    return task(family, FAMILIES[family], seed, side) if family in FAMILIES else firsts.first(family, seed)


def grade(task: Task, body: str) -> Verdict:
    """Run a draft on the shown values and on fresh ones, and compare result and effect with the family's expectation."""
    finding = subset.finding(task.source(body))
    if finding:
        return Verdict(False, finding)
    forgotten = False
    for slots, args in _situations(task):
        expected = task.expected(slots, args)
        try:
            happened = task.happens(body, slots, args)
        except RecursionError:
            return Verdict(False, "endless recursion")
        if not expected.agrees(happened):
            return Verdict(False, f"answered {happened.result!r:.80} {happened.error}, wanted {expected.result!r:.80} {expected.error}")
        forgotten = forgotten or happened.forgotten
    return Verdict(True, forgotten=forgotten)


def conduct(task: Task, body: str) -> DraftConduct:
    """Run a draft on the shown values and on fresh ones, and see what it does, whatever is expected of it."""
    if subset.finding(task.source(body)):
        return DraftConduct("unfit")
    runs: list[tuple[Slots, BodyOutcome]] = [(slots, task.happens(body, slots, args)) for slots, args in _situations(task)]
    (_, first), fresh = runs[0], runs[1:]
    doings = [(outcome.error, outcome.result, _changes(slots, outcome)) for slots, outcome in fresh]
    return DraftConduct(
        first.error,
        bool(_changes(*runs[0])),
        _example(first.result),
        sum(bool(outcome.error) for _, outcome in fresh) / len(fresh),
        all(doing[0] == doings[0][0] and same(doing[1], doings[0][1]) and same(doing[2], doings[0][2]) for doing in doings),
    )


def _example(result: Any) -> bool | int | float | str | list[Any] | None:
    """A value of the type of a result, however large that is."""
    if isinstance(result, float):
        return 1.0 if result.is_integer() else 0.5
    examples: dict[type, bool | int | str | list[Any]] = {bool: True, int: 1, str: "", list: []}
    return examples.get(type(result))


def _situations(task: Task) -> list[tuple[Slots, tuple[Any, ...]]]:
    """The shown values, and fresh ones: the same for the same task."""
    rng = Random(f"probe {task.family} {task.seed}")
    return [(task.slots, task.args), *[task.probe(rng) for _ in range(PROBES)]]


def _changes(slots: Slots, outcome: BodyOutcome) -> dict[str, Any]:
    """The slots that are not as they were."""
    before = plain(slots)
    return {name: value for name, value in outcome.slots.items() if name not in before or not same(value, before[name])}


class Judge:
    """The grading process, started at the first draft and again after one that hung. Use it as a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def verdict(self, draft: JudgedDraft) -> Verdict:
        """Grade one draft; a process that gives no answer in time is ended and the draft counts as wrong."""
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the judge was started without pipes")
        try:
            process.stdin.write(msgspec.json.encode(draft) + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._stop()
            return Verdict(False, "the judge died")
        deadline = time.monotonic() + VERDICT_LIMIT_S
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(process.stdout.fileno(), 65_536) if ready else b""
            if not read:
                self._stop()
                return Verdict(False, "the draft ended the judge or took too long")
            line += read
        return msgspec.json.decode(line, type=Verdict)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inference_worker.forge.judge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _expire(signum: int, frame: FrameType | None) -> None:
    raise _OutOfTime


def main() -> int:
    """Answer jobs from stdin until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    signal.signal(signal.SIGALRM, _expire)
    for line in sys.stdin:
        draft = msgspec.json.decode(line, type=JudgedDraft)
        task = named(draft.family, draft.seed, draft.side)
        signal.setitimer(signal.ITIMER_REAL, DRAFT_LIMIT_S)
        try:
            verdict = grade(task, draft.body)
            if draft.watched:
                verdict = msgspec.structs.replace(verdict, conduct=conduct(task, draft.body))
        except (_OutOfTime, MemoryError, RecursionError) as error:
            verdict = Verdict(False, type(error).__name__)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(json.dumps(msgspec.to_builtins(verdict)) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
