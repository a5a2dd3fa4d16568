"""A request on its way to a method, as the process that writes it remembers it: what is known, and what is waited for.

Owned by `uvm.generation.process.registry`. The table `TAKES` is the whole of what may happen next: an event that a step does not take is a
fault of whoever drives the process, and is raised with the generation's story.
"""

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from inference_worker.protocol import Sampling
from uvm.errors import ImageError
from uvm.generation.decision import Choice
from uvm.generation.events import (
    Chosen,
    Claimed,
    ClaimLost,
    ClausesKept,
    Commissioned,
    ConflictsLost,
    Installed,
    LibraryFound,
    MendingFound,
    NeedProbed,
    NeedResolved,
    ObjectsChanged,
    PersonaUnknown,
    RuleFailed,
    StepEvent,
    StepFailed,
    StepStored,
    ThoughtAnswered,
    ThoughtUnanswered,
    TrialBusy,
    TrialEnded,
    WriterFailed,
    WritingDelta,
    Wrote,
)
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Draft, Plan
from uvm.protocol import Reference
from uvm.trial.protocol import TrialOutcome

AGAIN: Final = 1
"""How often more drafts are asked for when none survived."""
NEEDS: Final = 8
"""Other methods that the drafts of one message may have written first."""
RETRIALS: Final = 3
"""How often a draft is tried again because the objects that its trial saw have changed, or it needed a thought or a method."""
STORY: Final = 64
"""Last events of a generation that are remembered, for the error that tells of an impossible one."""


class Awaited(StrEnum):
    """What a generation waits for."""

    CLAIMING = "claiming"  # whose message it is
    WATCHING = "watching"  # another process to come to an end with it
    STORING = "storing"  # the commit of its next stage
    SEARCHING = "searching"  # the library
    COMMISSIONING = "commissioning"  # voices and words
    WRITING = "writing"  # the model
    QUEUED = "queued"  # its turn to be tried
    TRYING = "trying"  # the trial
    THINKING = "thinking"  # what its draft asked the model
    PROBING = "probing"  # the request for a method that its draft needs
    NOTING = "noting"  # the commit of what it waits for
    NEEDING = "needing"  # that method
    CHOOSING = "choosing"  # the image's rule
    BLAMING = "blaming"  # how the image's own method is mended that has failed on it
    INSTALLING = "installing"  # the commit of the method
    RETURNING = "returning"  # the commit of its way back to the trial
    KEEPING = "keeping"  # the commit of examples that have held


_FAILURES: Final = frozenset[type]({ClaimLost, ConflictsLost, StepFailed})

TAKES: Final[dict[Awaited, frozenset[type]]] = {
    Awaited.CLAIMING: frozenset({Claimed, ConflictsLost, StepFailed}),
    Awaited.WATCHING: frozenset(),
    Awaited.STORING: frozenset({StepStored}) | _FAILURES,
    Awaited.SEARCHING: frozenset({LibraryFound}) | _FAILURES,
    Awaited.COMMISSIONING: frozenset({Commissioned, PersonaUnknown}) | _FAILURES,
    Awaited.WRITING: frozenset({Wrote, WriterFailed, WritingDelta}) | _FAILURES,
    Awaited.QUEUED: _FAILURES,
    Awaited.TRYING: frozenset({TrialEnded, TrialBusy}) | _FAILURES,
    Awaited.THINKING: frozenset({ThoughtAnswered, ThoughtUnanswered}) | _FAILURES,
    Awaited.PROBING: frozenset({NeedProbed}) | _FAILURES,
    Awaited.NOTING: frozenset({StepStored}) | _FAILURES,
    Awaited.NEEDING: frozenset({NeedResolved}) | _FAILURES,
    Awaited.CHOOSING: frozenset({Chosen, RuleFailed}) | _FAILURES,
    Awaited.BLAMING: frozenset({MendingFound}) | _FAILURES,
    Awaited.INSTALLING: frozenset({Installed, ObjectsChanged}) | _FAILURES,
    Awaited.RETURNING: frozenset({StepStored}) | _FAILURES,
    Awaited.KEEPING: frozenset({ClausesKept, ConflictsLost, StepFailed}),
}
"""What may happen in each step."""

LASTING: Final = frozenset({Awaited.WRITING, Awaited.QUEUED, Awaited.TRYING, Awaited.THINKING, Awaited.NEEDING})
"""Steps that may take longer than a lease."""


class InvalidTransition(Exception):
    """An event that the generation's step does not take: a fault of the driver. The text has the generation's story."""

    def __init__(self, generation: "Generation", event: StepEvent) -> None:
        story, message = " → ".join(generation.story), Reference(generation.oid) if generation.oid else "unclaimed"
        super().__init__(
            f"generation {generation.number} of {generation.request.selector} ({message}) "
            f"is {generation.step} and takes no {type(event).__name__}; its story: {story}"
        )


class Question(Struct, frozen=True):
    """What the model was asked: drafts of a persona, and how they are drawn, or the `thought` that a draft asked in its trial."""

    persona: str = ""
    samplings: Sequence[Sampling] = ()
    thought: str = ""


class Needing(Struct, frozen=True):
    """Another generation that waits: a draft of it needs the method."""

    generation: int


Waiting = int | Needing


class Generation:
    """One request on its way.

    `stage` is stored in the message object at `oid`, `storing` the one whose commit is waited for. `trying`: the number of the draft that
    is tried; `begun`: one was. `withdrawn`: what no draft may mean; `refused`: the drafts with which the message was refused before,
    `earlier`: those of them that may still be tried.
    `read`: what each draft's trial saw, `looked` what each of its examples looked at, `outcomes` how those ended that did well. `retrials`
    are of one draft. `deferred`: drafts that need a method of that selector first, by number; `granted`: those for which such methods may
    be written by now. `rounds` of questions and `needs` of all of them. `widened`: more drafts were asked for, because the first ones did
    not decide it. `choice`, `decision`: what the image's rule said last, and how it is told. `error`: why it is refused, or will be.
    """

    def __init__(self, number: int, request: MethodRequest, waiters: list[Waiting], step: Awaited) -> None:
        self.number = number
        self.request = request
        self.waiters = waiters
        self.step = step
        self.story: deque[str] = deque([step.value], maxlen=STORY)
        self.oid = b""
        self.stage = self.storing = ""
        self.error: ImageError | None = None
        self.drafts: list[Draft] = []
        self.withdrawn: dict[str, str] = {}
        self.plan: Plan | None = None
        self.commission: Commission | None = None
        self.questions: dict[str, Question] = {}
        self.begun = False
        self.written: list[Draft] = []
        self.failures: list[str] = []
        self.trying = -1
        self.needed: MethodRequest | None = None
        self.deferred: dict[int, str] = {}
        self.granted: set[int] = set()
        self.retrials = self.needs = self.rounds = 0
        self.thoughts: dict[str, str] = {}
        self.read: dict[int, dict[bytes, bytes]] = {}
        self.looked: dict[int, list[list[str] | None]] = {}
        self.outcomes: dict[int, TrialOutcome] = {}
        self.earlier: list[Draft] = []
        self.refused: Sequence[Draft] = ()
        self.widened = False
        self.choice = Choice()
        self.decision: dict[str, Any] = {}
        self.text = ""
        self.renew_at = self.publish_at = self.started = 0.0

    @property
    def testing(self) -> bool:
        """Whether it tests a method that is there; it claims no message then, and stores no stage."""
        return bool(self.request.tested)

    @property
    def draft(self) -> Draft:
        """The draft that is tried."""
        return self.drafts[self.trying]

    @property
    def written_by_model(self) -> bool:
        """Whether the model wrote the drafts: what a tool offers, or the library has, somebody has decided on before."""
        return any(draft.mode for draft in self.drafts)

    @property
    def confidence(self) -> dict[str, Any]:
        """How sure the image is of the draft that it holds for the best, where its rule says so: as progress tells of it."""
        return {"confidence": self.choice.confidence} if self.choice.confidence is not None else {}

    def reopen(self, numbers: Sequence[int]) -> None:
        """Drafts that waited for another method are to be tried again."""
        for number in numbers:
            del self.deferred[number]
            self.drafts[number].outcome = self.drafts[number].why = ""

    def go(self, step: Awaited) -> None:
        """The next step."""
        self.step = step
        self.story.append(step.value)

    def check(self, event: StepEvent) -> None:
        """Raises InvalidTransition for an event that cannot happen now."""
        if type(event) not in TAKES[self.step]:
            raise InvalidTransition(self, event)
        if type(event) is not WritingDelta:
            self.story.append(type(event).__name__)
