"""What the writing of methods is told and what it says: events in, instructions out. Data only.

`uvm.generation.process` decides, `uvm.generation.writers` carries out; tests drive the one without the other. A generation is named by a
number of the process, which is never used again: what arrives for one that is over is ignored.

Instructions are carried out in the order in which they were given. Those that say so are answered by exactly one of the events named,
or by StepFailed, ConflictsLost or ClaimLost; the others are answered by nothing.
"""

from typing import Any

from msgspec import Struct

from inference_worker.protocol import Completed, Generate, RequestFailed
from uvm.errors import ImageError
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Claim, Plan
from uvm.trial.protocol import Need, NeededThought, TrialOutcome

# --- events -----------------------------------------------------------------------------------------------------------


class MethodRequested(Struct, frozen=True):
    """A message cannot go on without a method. `waiter`, a number of the driver's, is answered once."""

    waiter: int
    request: MethodRequest


class Claimed(Struct, frozen=True):
    """The message object of the request is there; `claim` says whose it is."""

    generation: int
    claim: Claim


class StepStored(Struct, frozen=True):
    """The step is committed."""

    generation: int


class ClaimLost(Struct, frozen=True):
    """Another process owns the message by now; nothing was stored."""

    generation: int


class ConflictsLost(Struct, frozen=True):
    """The step lost too many conflicts: the message stays as it is stored, for whoever sends it next."""

    generation: int
    reason: str


class StepFailed(Struct, frozen=True):
    """The step could not be carried out."""

    generation: int
    error: ImageError


class LibraryFound(Struct, frozen=True):
    """A method of this selector on an object of this shape, and its author; an empty source where there is none."""

    generation: int
    source: str = ""
    author: str = ""


class Commissioned(Struct, frozen=True):
    """Voices and words that drafts are written with."""

    generation: int
    commission: Commission


class PersonaUnknown(Struct, frozen=True):
    """The image's plan names a persona that is not there."""

    generation: int
    reason: str


class WritingDelta(Struct, frozen=True):
    """A piece of what the model is writing."""

    generation: int
    question: str
    index: int
    text: str


class Wrote(Struct, frozen=True):
    """The model has answered a question with drafts."""

    generation: int
    question: str
    answer: Completed


class WriterFailed(Struct, frozen=True):
    """The model will not answer a question."""

    generation: int
    question: str
    answer: RequestFailed


class TrialEnded(Struct, frozen=True):
    """The trial that runs has ended."""

    generation: int
    outcome: TrialOutcome


class TrialBusy(Struct, frozen=True):
    """As many trials run as may: this one did not begin."""

    generation: int


class ThoughtAnswered(Struct, frozen=True):
    """What a draft asked the model in its trial is answered."""

    generation: int
    question: str
    text: str


class ThoughtUnanswered(Struct, frozen=True):
    """What a draft asked the model in its trial will not be answered."""

    generation: int
    question: str
    answer: RequestFailed


class NeedProbed(Struct, frozen=True):
    """The request for the method that a draft needs, or why there can be none."""

    generation: int
    needed: MethodRequest | str


class NeedResolved(Struct, frozen=True):
    """The method that a draft needs is installed, or will not be."""

    generation: int
    error: ImageError | None = None


class Chosen(Struct, frozen=True):
    """What the image's choice rule answered. It may be anything."""

    generation: int
    answer: Any


class RuleFailed(Struct, frozen=True):
    """The image's choice rule had no answer."""

    generation: int
    reason: str


class MendingFound(Struct, frozen=True):
    """How the image's own method is mended that has failed on the message."""

    generation: int
    remedy: str


class Installed(Struct, frozen=True):
    """Method, proof and message are committed. `corrected`: message and author of the generated method whose place it took."""

    generation: int
    corrected: tuple[bytes, str] | None = None


class ObjectsChanged(Struct, frozen=True):
    """Nothing was installed: what the trial saw has changed since."""

    generation: int


class TimePassed(Struct, frozen=True):
    """Some time went by: many times a second while the driver lives."""


QuestionEvent = WritingDelta | Wrote | WriterFailed | ThoughtAnswered | ThoughtUnanswered
"""What comes of a question; one that was cancelled, or is answered already, is ignored."""

StepEvent = (
    Claimed
    | StepStored
    | ClaimLost
    | ConflictsLost
    | StepFailed
    | LibraryFound
    | Commissioned
    | PersonaUnknown
    | QuestionEvent
    | TrialEnded
    | TrialBusy
    | NeedProbed
    | NeedResolved
    | Chosen
    | RuleFailed
    | MendingFound
    | Installed
    | ObjectsChanged
)
"""What happened to one generation."""

GenerationEvent = MethodRequested | TimePassed | StepEvent

# --- instructions -----------------------------------------------------------------------------------------------------


class TakeClaim(Struct, frozen=True):
    """Claim the message in the image, or see whose it is. Answered by Claimed."""

    generation: int
    request: MethodRequest


class Advance(Struct, frozen=True):
    """Store the message's next stage, with slots, as plain values. Answered by StepStored."""

    generation: int
    oid: bytes
    request: MethodRequest
    before: str
    after: str
    slots: dict[str, Any]


class RenewLease(Struct, frozen=True):
    """Renew the claim on the message. Answered by ClaimLost and the like alone."""

    generation: int
    oid: bytes
    stage: str


class LookUpLibrary(Struct, frozen=True):
    """Search before writing. Answered by LibraryFound."""

    generation: int
    request: MethodRequest


class DrawCommission(Struct, frozen=True):
    """Find what drafts are written with, and make it available to the inference workers. Answered by Commissioned or
    PersonaUnknown.
    """

    generation: int
    request: MethodRequest
    plan: Plan


class AskWriter(Struct, frozen=True):
    """Ask the model for drafts of a persona. Answered by Wrote or WriterFailed, after any number of WritingDelta."""

    generation: int
    persona: str
    generate: Generate


class CancelQuestion(Struct, frozen=True):
    """Nobody wants the model's answer any longer."""

    question: str


class BeginTrial(Struct, frozen=True):
    """Try a draft, with what it asked the model before. Answered by TrialEnded or TrialBusy."""

    generation: int
    request: MethodRequest
    source: str
    author: str
    thoughts: dict[str, str]


class CancelTrial(Struct, frozen=True):
    """Nobody wants the outcome of the trial any longer."""

    generation: int


class AskThought(Struct, frozen=True):
    """Ask the model what a draft asks in its trial. Answered by ThoughtAnswered or ThoughtUnanswered."""

    generation: int
    question: str
    thought: NeededThought
    session: str


class ProbeNeed(Struct, frozen=True):
    """Make the request for the method that a draft of `request` needs. Answered by NeedProbed."""

    generation: int
    request: MethodRequest
    need: Need


class NoteWait(Struct, frozen=True):
    """Store that the message waits for the one with this key. Answered by StepStored."""

    generation: int
    oid: bytes
    key: str


class ResolveNeed(Struct, frozen=True):
    """The method that a draft of this generation needs has come to its end. Answered by NeedResolved, which says the same."""

    generation: int
    error: ImageError | None


class ApplyRule(Struct, frozen=True):
    """Have the image's rule choose among drafts that are fit. Answered by Chosen or RuleFailed."""

    generation: int
    request: MethodRequest
    candidates: list[dict[str, Any]]


class LookUpMending(Struct, frozen=True):
    """Look up how a policy method is mended that has failed on the message. Answered by MendingFound."""

    generation: int
    request: MethodRequest
    failed: str


class Install(Struct, frozen=True):
    """Commit method, proof and message, if what the trial saw (`read`: oid → transaction) is as it was.

    Answered by Installed or ObjectsChanged.
    """

    generation: int
    oid: bytes
    request: MethodRequest
    source: str
    author: str
    proof: dict[str, Any]
    read: dict[bytes, bytes]
    drafts: list[Any]


class BackToTrial(Struct, frozen=True):
    """Store that the message's drafts are to be tried again. Answered by StepStored."""

    generation: int
    oid: bytes


class Learn(Struct, frozen=True):
    """What became of a message's drafts: one of `personas` was accepted, or all of them were not."""

    message: bytes
    personas: list[str]
    accepted: bool


class PublishProgress(Struct, frozen=True):
    """Tell whoever follows the image where a message is."""

    oid: bytes
    selector: str
    receiver: bytes
    stage: str
    detail: dict[str, Any]


class AnswerWaiter(Struct, frozen=True):
    """The message may run again, or why it cannot."""

    waiter: int
    error: ImageError | None


GenerationInstruction = (
    TakeClaim
    | Advance
    | RenewLease
    | LookUpLibrary
    | DrawCommission
    | AskWriter
    | CancelQuestion
    | BeginTrial
    | CancelTrial
    | AskThought
    | ProbeNeed
    | NoteWait
    | ResolveNeed
    | ApplyRule
    | LookUpMending
    | Install
    | BackToTrial
    | Learn
    | PublishProgress
    | AnswerWaiter
)
