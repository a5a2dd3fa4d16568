"""What is to be done while methods are written: instructions, the other half of what the pure core speaks. Data only.

They are carried out in the order in which they were given. Those that say so are answered by exactly one of the events named
(`uvm.generation.events`), or by StepFailed, ConflictsLost or ClaimLost; the others are answered by nothing.
"""

from typing import Any

from msgspec import Struct

from inference_worker.protocol import Generate
from uvm.errors import ImageError
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Plan
from uvm.trial.protocol import Need, NeededThought


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
    """Try a draft, or, where `source` is empty, the method that is there, with what it asked the model before.

    Answered by TrialEnded or TrialBusy.
    """

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
    """Commit method, proof and message, if what the trial saw (`read`: oid → transaction) is as it was; `looked` as in KeepClauses.

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
    looked: list[list[str] | None] = []


class KeepClauses(Struct, frozen=True):
    """Have the tested method keep the examples that have held. `looked`: for each, the slots that its run looked at, if that was all.

    Answered by ClausesKept.
    """

    generation: int
    request: MethodRequest
    looked: list[list[str] | None]


class BackToTrial(Struct, frozen=True):
    """Store that the message's drafts are to be tried again. Answered by StepStored."""

    generation: int
    oid: bytes


class Learn(Struct, frozen=True):
    """What became of a message's drafts: those of `personas` did (`accepted`), or did not."""

    message: bytes
    personas: list[str]
    accepted: bool


class DraftInShadow(Struct, frozen=True):
    """The model's drafts of a live message were decided on: a candidate of the autotelic loop may draft for it as well, unseen.

    `installed`: one was, and `group` is what it does on varied copies; `fit`: whether any was. `tid`: a transaction as of which the objects
    are as its trials saw them.
    """

    oid: bytes
    request: MethodRequest
    plan: Plan
    commission: Commission
    installed: bool
    group: str
    fit: bool
    tid: bytes


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
    | KeepClauses
    | BackToTrial
    | Learn
    | DraftInShadow
    | PublishProgress
    | AnswerWaiter
)
