"""What may happen while methods are written: events, the one half of what the pure core is driven by. Data only.

`uvm.generation.process` takes them and answers with instructions (`uvm.generation.instructions`), `uvm.generation.writers` carries those
out; tests drive the one without the other. A generation is named by a number of the process, which is never used again: what arrives for
one that is over is ignored.
"""

from typing import Any

from msgspec import Struct

from inference_worker.protocol import Completed, RequestFailed
from uvm.errors import ImageError
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Claim
from uvm.trial.protocol import TrialOutcome
from uvm.values.examples import Clause


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
    """A method of this selector on an object of this shape, its author, and the examples it keeps; an empty source where there is none."""

    generation: int
    source: str = ""
    author: str = ""
    clauses: list[Clause] = []


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


class ClausesKept(Struct, frozen=True):
    """The method that was tested keeps the examples, or there is another one by now."""

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
    | ClausesKept
)
"""What happened to one generation."""

GenerationEvent = MethodRequested | TimePassed | StepEvent
