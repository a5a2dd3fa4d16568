"""What the heartbeat asks of the forge, and what it hears: files in two directories of the home, one JSON document each.

The floor that both stand on: the image's side writes orders and reads reports, the forge's side reads orders and writes reports, and
neither imports the other. Every file appears whole (written beside, synced, renamed), so that whoever is killed leaves before or after.

    forge/orders/ID.json       what to train (`Order`)
    forge/cancel/ID            it is not wanted any more
    work/ID/, in forge         the forge's own: checkpoint, how training went (`course.json`), the candidate's directory `adapter`
    forge/reports/ID.json      how far it is, and what came of it (`OrderReport`)
    forge/state.json           whether somebody waits for the model, and since when the forge rests (`ForgeState`)
    examiner/ID.json           held-out tasks (`Exam`), which the process that trains cannot read: not in its view, not in its rules
    examiner/ID.answers        what both adapters answered to them (`ExamAnswers`), closed to it as well
"""

import os
import shutil
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from deploy.home import Home

Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
COURSE: Final = "course.json"
LONGEST: Final = 20_000
"""Characters of a lesson's prompt, and of its answer."""
_MOST_BYTES: Final = 16_000_000
"""Of any of these files."""

_T = TypeVar("_T", bound=Struct)


class TaughtPair(Struct, frozen=True):
    """A prompt with the body that should follow, whose it is (`principal`), and its `origin`: a method's or a lesson's reference."""

    prompt: Annotated[str, Meta(max_length=LONGEST)]
    answer: Annotated[str, Meta(max_length=LONGEST)]
    origin: str = ""
    principal: str = ""


class Order(Struct, frozen=True):
    """What to train. `base`: the model's digest; `start`: the adapter to go on from, empty: fresh ones. `words` and `values` describe the
    gap that drawn tasks are aimed at; `replay`: the share of all items that is drawn from everything, against forgetting. `distance`: how
    far from the parent training may go, nats a token; 0: no bound.
    """

    id: Id
    seed: Annotated[int, Meta(ge=0, le=2**31)]
    base: Digest
    start: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    steps: Annotated[int, Meta(ge=1, le=10_000)] = 120
    batch: Annotated[int, Meta(ge=1, le=64)] = 12
    rate: Annotated[float, Meta(gt=0, le=0.01)] = 3e-4
    words: Annotated[list[str], Meta(max_length=16)] = []
    values: Annotated[list[str], Meta(max_length=16)] = []
    replay: Annotated[float, Meta(ge=0, le=1)] = 0.5
    distance: Annotated[float, Meta(ge=0, le=100)] = 0.0
    lessons: Annotated[list[TaughtPair], Meta(max_length=1024)] = []


class Exam(Struct, frozen=True):
    """Held-out tasks of an order: so many of each slice, drawn with a seed that the forge does not get; and people's own, set aside."""

    id: Id
    seed: Annotated[int, Meta(ge=0, le=2**62)]
    tasks: Annotated[int, Meta(ge=1, le=2000)]
    words: list[str] = []
    values: list[str] = []
    lessons: list[TaughtPair] = []


class ExamDraft(Struct, frozen=True):
    """What one adapter wrote for a held-out task, and what that does on the task's values and on fresh ones.

    `logprob` is the mean of a token (nats), `least` that of the least likely one. `error`: the type of what it ends in on the task's
    values; `Declined`, or `unfit` for what is not in the language. `result`: of which type it answers there, by example: true, a number, a
    text, an empty list, or nil. `failed`: the share of the fresh values on which it ends in an error, `steady`: it does the same on all of
    them.
    """

    source: str
    right: bool
    logprob: float = 0.0
    least: float = 0.0
    error: str = ""
    changed: bool = False
    result: bool | int | float | str | list[Any] | None = None
    failed: float = 0.0
    steady: bool = False


class ExamAnswer(Struct, frozen=True):
    """A held-out task, as a message shows it, with what the adapter in force and the candidate wrote."""

    slice: str
    selector: str
    slots: dict[str, str]
    parameters: list[str]
    examples: int
    current: ExamDraft
    candidate: ExamDraft


class ExamAnswers(Struct, frozen=True):
    """What was answered to the drawn tasks of an exam, to some hundreds of each slice at most."""

    id: Id
    answers: list[ExamAnswer]


class SliceCounts(Struct, frozen=True):
    """Candidate against current adapter on the same tasks of a slice: right of both, of the candidate, of the current one, of none."""

    both: int = 0
    gained: int = 0
    lost: int = 0
    neither: int = 0


class Course(Struct, frozen=True):
    """How training went: the loss of every step, the distance to the parent at each checkpoint (nats a token), and why it was stopped
    before its last step, if it was.
    """

    losses: list[float] = []
    distances: list[float] = []
    stopped: str = ""


class OrderReport(Struct, frozen=True):
    """How far an order is. `detail`: why it failed, or was stopped before its last step. `loss`: of the newest 10 steps. `distance`: from
    the parent, nats a token; nil: not measured yet. `cpu_s`: processor seconds so far.

    Of a trained one: `items` (kind of origin → how many), `dropped` (why → how many), `data` (digest of all items), `origins` of people's
    lessons that were learned, `slices`, `gap` (which of them is the gap's), planted tasks, and the candidate's `manifest`.
    """

    id: Id
    state: Literal["waiting", "training", "examining", "trained", "failed", "cancelled"]
    step: int = 0
    steps: int = 0
    loss: float = 0.0
    distance: float | None = None
    cpu_s: float = 0.0
    detail: str = ""
    items: dict[str, int] = {}
    dropped: dict[str, int] = {}
    data: str = ""
    origins: list[str] = []
    slices: dict[str, SliceCounts] = {}
    gap: str = "gap"
    planted: int = 0
    gamed: int = 0
    manifest: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("trained", "failed", "cancelled")


class ForgeState(Struct, frozen=True):
    """The forge as it is: `paused`: it lets somebody go first."""

    paused: bool = False
    order: str = ""


class Spool:
    """The directories of a home."""

    def __init__(self, home: Home) -> None:
        self.path = home.path / "forge"
        self.exams = home.path / "examiner"

    def ensure(self) -> None:
        """Make what is missing; the exams are closed to other accounts."""
        for name in ("orders", "cancel", "work", "reports", "tmp"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.exams.mkdir(mode=0o700, exist_ok=True)

    def give(self, order: Order, exam: Exam) -> None:
        """Hand over an order; the exam is there before it. Doing it again changes nothing."""
        self.ensure()
        write(self.exams / f"{order.id}.json", exam)
        write(self.path / "orders" / f"{order.id}.json", order)

    def cancel(self, order: str) -> None:
        """Say that an order is not wanted any more."""
        if (self.path / "orders" / f"{order}.json").exists():
            (self.path / "cancel" / order).touch()

    def cancelled(self, order: str) -> bool:
        return (self.path / "cancel" / order).exists()

    def orders(self) -> list[Order]:
        """All orders that can be understood, the oldest first."""
        files = sorted((self.path / "orders").glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [order for file in files if (order := read(file, Order)) is not None and order.id == file.stem]

    def exam(self, order: str) -> Exam | None:
        return read(self.exams / f"{order}.json", Exam)

    def answers(self, order: str) -> ExamAnswers | None:
        return read(self.exams / f"{order}.answers", ExamAnswers)

    def answer(self, answers: ExamAnswers) -> None:
        write(self.exams / f"{answers.id}.answers", answers)

    def report(self, order: str) -> OrderReport | None:
        return read(self.path / "reports" / f"{order}.json", OrderReport)

    def tell(self, report: OrderReport) -> None:
        write(self.path / "reports" / f"{report.id}.json", report)

    def work(self, order: str) -> Path:
        return self.path / "work" / order

    def forget_others(self, kept: set[str]) -> None:
        """Remove what there is of orders that nobody keeps a record of any more."""
        for directory in (self.path / "orders", self.path / "reports", self.path / "cancel", self.path / "work", self.exams):
            for left in directory.iterdir() if directory.is_dir() else ():
                if left.stem not in kept:
                    shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def course(self, order: str) -> Course:
        """How training has gone, up to the newest checkpoint."""
        return read(self.work(order) / COURSE, Course) or Course()

    def state(self) -> ForgeState:
        return read(self.path / "state.json", ForgeState) or ForgeState()


def write(path: Path, document: Struct) -> None:
    """Write a document whole, or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(document))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def read(path: Path, kind: type[_T]) -> _T | None:
    """A document; None where there is none, or none that can be understood."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
