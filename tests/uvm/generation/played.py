"""A world without image, model or trials for the writing of methods: what is asked of it waits until the test says how it ends."""

from collections import Counter
from typing import Any

import msgspec

from inference_worker.protocol import Completed, Output, RequestFailed
from uvm.errors import ImageError
from uvm.generation.events import (
    Chosen,
    Claimed,
    ClaimLost,
    ClausesKept,
    Commissioned,
    ConflictsLost,
    GenerationEvent,
    Installed,
    LibraryFound,
    MendingFound,
    MethodRequested,
    NeedProbed,
    NeedResolved,
    StepFailed,
    StepStored,
    ThoughtAnswered,
    TimePassed,
    TrialEnded,
    WriterFailed,
    Wrote,
)
from uvm.generation.instructions import (
    Advance,
    AnswerWaiter,
    ApplyRule,
    AskThought,
    AskWriter,
    BackToTrial,
    BeginTrial,
    CancelQuestion,
    CancelTrial,
    DrawCommission,
    GenerationInstruction,
    Install,
    KeepClauses,
    LookUpLibrary,
    LookUpMending,
    NoteWait,
    ProbeNeed,
    PublishProgress,
    RenewLease,
    ResolveNeed,
    TakeClaim,
)
from uvm.generation.process.process import GenerationProcess
from uvm.generation.process.registry import ProcessSettings
from uvm.generation.questions import Commission, Voice
from uvm.generation.request import MethodRequest
from uvm.generation.stages import TERMINAL, Claim, check_step
from uvm.protocol import Reference
from uvm.rights import ALL
from uvm.trial.protocol import Need, NeededThought, TrialOutcome

BODY = "    return self.cost"
SETTINGS = ProcessSettings(owner="uvm-1/1", may_write=True, drafts=2, depth=4, deadline_s=60.0)
PLAN = {"prompt": "def m(self):", "personas": ["brick"], "drafts": 2}
COMMISSION = Commission({"brick": Voice("0" * 64)}, ["cost", "tags"], ["clone"], [])
ANSWERABLE = (
    *(TakeClaim, Advance, LookUpLibrary, DrawCommission, ProbeNeed, NoteWait, ResolveNeed),
    *(ApplyRule, LookUpMending, Install, BackToTrial, KeepClauses),
)
"""Instructions that a real driver answers before anything else happens; the questions and the trials are the others."""


def request_for(key: str, receiver: int = 1, **changes: Any) -> MethodRequest:
    """A miss of a message without arguments."""
    request = MethodRequest(
        key=key,
        receiver=bytes([*[0] * 7, receiver]),
        selector=key,
        asked_at=1.0,
        reified={"signature": f"def {key}(self):", "slots": [], "call": f"{key}()"},
        plan=PLAN,
        rights=ALL,
    )
    return msgspec.structs.replace(request, **changes)


def wrote(order: AskWriter, *bodies: str) -> Wrote:
    """The model's answer, a body a draft."""
    outputs = [Output(body, 1, -0.1, "stop") for body in bodies]
    return Wrote(order.generation, order.generate.id, Completed(order.generate.id, outputs, 1, 0.0, 0.1, mode="base"))


def unanswered(question: str) -> RequestFailed:
    """The model's failure."""
    return RequestFailed(question, "EngineDied", "it is gone")


def needs(selector: str) -> TrialOutcome:
    """The outcome of a trial whose draft sent what nobody understands."""
    return TrialOutcome(kind="need", need=Need(Reference(bytes(7) + b"\1"), selector, [], {}))


def thinks(key: str = "1:why") -> TrialOutcome:
    """The outcome of a trial whose draft asked the model."""
    return TrialOutcome(kind="thought", thought=NeededThought(key, Reference(bytes(7) + b"\1"), "why", 16))


OK = TrialOutcome(kind="ok", result=1)


class Played:
    """A process and what it has asked for. Checks, whatever the test does, what must hold of any series of instructions."""

    def __init__(self, **settings: Any) -> None:
        self.process = GenerationProcess(msgspec.structs.replace(SETTINGS, **settings))
        self.now = 0.0
        self.waiters = 0
        self.waiting: set[int] = set()
        self.answers: dict[int, ImageError | None] = {}
        self.pending: list[GenerationInstruction] = []
        self.questions: dict[str, AskWriter | AskThought] = {}
        self.trials: dict[int, BeginTrial] = {}
        self.stages: dict[int, str] = {}
        self.numbers: set[int] = set()
        self.lost: set[int] = set()
        self.counts: Counter[tuple[str, int]] = Counter()
        self.published: list[PublishProgress] = []
        self.installed: list[Install] = []

    # --- what happens ---

    def request(self, request: MethodRequest) -> int:
        """A message wants a method."""
        self.waiters += 1
        self.waiting.add(self.waiters)
        self.happens(MethodRequested(self.waiters, request))
        return self.waiters

    def passes(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.happens(TimePassed())

    def happens(self, event: GenerationEvent) -> list[GenerationInstruction]:
        """Tell the process; look at what it says."""
        if isinstance(event, ClaimLost):
            self.lost.add(event.generation)
        instructions = self.process.handle(event, self.now)
        for instruction in instructions:
            self.look(instruction)
        return instructions

    def look(self, instruction: GenerationInstruction) -> None:
        """What must hold of any instruction, and what is now asked for."""
        number = getattr(instruction, "generation", 0)
        self.counts[type(instruction).__name__, number] += 1
        over = self.numbers - set(self.process.registry.by_number)
        assert number not in over or isinstance(instruction, CancelTrial | ResolveNeed), f"{instruction} for a generation that is over"
        self.numbers |= {number} if number else set()
        match instruction:
            case AnswerWaiter(waiter, error):
                assert waiter in self.waiting, f"{waiter} is answered twice"
                self.waiting.discard(waiter)
                self.answers[waiter] = error
            case BeginTrial(generation=generation, request=request):
                drafts = [running for running in self.trials.values() if not running.request.tested]
                others = [running for running in drafts if running.request.receiver == request.receiver and not request.tested]
                assert not others, "two trials of one receiver"
                self.trials[generation] = instruction
            case CancelTrial():
                del self.trials[number]
            case AskWriter() | AskThought():
                question = instruction.generate.id if isinstance(instruction, AskWriter) else instruction.question
                assert question not in self.questions
                self.questions[question] = instruction
            case CancelQuestion(question):
                del self.questions[question]
            case Advance(before=before, after=after):
                assert before == self.stages[number], "the stage that is stored"
                check_step(before, after)
            case Install():
                assert number not in self.lost, "a lost claim installs nothing"
                assert self.stages[number] == "tried"
            case RenewLease(stage=stage):
                assert stage == self.stages[number] and stage not in TERMINAL
            case PublishProgress():
                self.published.append(instruction)
        if isinstance(instruction, ANSWERABLE):
            self.pending.append(instruction)

    # --- how what was asked for ends ---

    def end(self, order: GenerationInstruction, event: GenerationEvent) -> None:
        """It comes to this; a step that is stored is in the world's image."""
        self.pending.remove(order)
        if isinstance(event, StepStored | Claimed | Installed):
            self.store(order, event)
        self.happens(event)

    def store(self, order: GenerationInstruction, event: GenerationEvent) -> None:
        match order:
            case TakeClaim(number):
                assert isinstance(event, Claimed)
                self.stages[number] = event.claim.stage
            case Advance(number, after=after):
                self.stages[number] = after
            case BackToTrial(number):
                self.stages[number] = "audited"
            case Install(number):
                self.stages[number] = "installed"
                self.installed.append(order)

    def well(self, order: GenerationInstruction) -> GenerationEvent:
        """What comes of it in a world where all goes well."""
        match order:
            case TakeClaim(number):
                return Claimed(number, Claim("mine", bytes(6) + number.to_bytes(2), "reified"))
            case Advance() | NoteWait() | BackToTrial():
                return StepStored(order.generation)
            case LookUpLibrary(number):
                return LibraryFound(number)
            case DrawCommission(number):
                return Commissioned(number, COMMISSION)
            case ProbeNeed(number, request=request, need=need):
                if self.would_wait_for_itself(request.key, need.selector):
                    return NeedProbed(number, f"{need.selector} waits for {request.selector} itself")
                return NeedProbed(number, request_for(need.selector))
            case ResolveNeed(number, error):
                return NeedResolved(number, error)
            case ApplyRule(number, candidates=candidates):
                return Chosen(number, candidates[0]["index"])
            case LookUpMending(number, failed=failed):
                return MendingFound(number, f"mend {failed}")
            case Install(number):
                return Installed(number)
            case KeepClauses(number):
                return ClausesKept(number)
        raise AssertionError(order)

    def would_wait_for_itself(self, key: str, needed: str) -> bool:
        """As the image's message objects tell it: whether `needed` waits for `key`."""
        waits = {
            waiting.request.key: waiting.needed.key for waiting in self.process.registry.by_number.values() if waiting.needed is not None
        }
        while needed != key and needed in waits:
            needed = waits.pop(needed)
        return needed == key

    def goes_well(self) -> None:
        """All that a driver answers at once goes well; questions and trials stay open."""
        while self.pending:
            self.end(self.pending[0], self.well(self.pending[0]))

    def answered(self, *bodies: str) -> None:
        """The model answers its oldest question, in drafts or in a thought; all that follows at once goes well."""
        order = next(iter(self.questions.values()))
        if isinstance(order, AskWriter):
            del self.questions[order.generate.id]
            self.happens(wrote(order, *bodies))
        else:
            del self.questions[order.question]
            self.happens(ThoughtAnswered(order.generation, order.question, *bodies))
        self.goes_well()

    def fails(self) -> None:
        """The model does not answer its oldest question."""
        order = next(iter(self.questions.values()))
        assert isinstance(order, AskWriter)
        del self.questions[order.generate.id]
        self.happens(WriterFailed(order.generation, order.generate.id, unanswered(order.generate.id)))
        self.goes_well()

    def tried(self, outcome: TrialOutcome, number: int = 0) -> None:
        """The oldest trial, or that of the generation, ends; all that follows at once goes well."""
        number = number or next(iter(self.trials))
        del self.trials[number]
        self.happens(TrialEnded(number, outcome))
        self.goes_well()

    def wrong(self, order: GenerationInstruction, error: ImageError | None) -> GenerationEvent:
        """The step fails with the error, or loses too many conflicts."""
        number = getattr(order, "generation", 0)
        return StepFailed(number, error) if error is not None else ConflictsLost(number, "too many")

    def stages_published(self) -> list[str]:
        """The stages that tools were told of."""
        return [event.stage for event in self.published if event.stage not in ("drafting", "trying")]
