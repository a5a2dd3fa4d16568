"""The writing of methods, carried out: what `uvm.generation.process` says is done, and what came of it is told to it.

Owned by the UVM's main thread. No transaction is open while the model writes or a trial runs: each step is a short transaction of
its own, and what happens in between arrives as an event (callbacks of the `InferenceClient`, a trial that is readable, `tick`).

A fault of ours, or of whatever stands in the image, refuses one message, and must not end the process; that the image stays away
(`ImageAway`) ends it.
"""

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import structlog
from ZODB.POSException import ConflictError

from deploy.settings import Configuration
from inference_worker.protocol import Completed, Delta, RequestFailed
from uvm.errors import AttemptEnded, ImageError, KernelFault, NoSuchObject, Refused
from uvm.generation.claims import LostClaim
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
    ObjectsChanged,
    PersonaUnknown,
    RuleFailed,
    StepFailed,
    StepStored,
    ThoughtAnswered,
    ThoughtUnanswered,
    TimePassed,
    TrialBusy,
    TrialEnded,
    WriterFailed,
    WritingDelta,
    Wrote,
)
from uvm.generation.installer import Installer
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
    Learn,
    LookUpLibrary,
    LookUpMending,
    NoteWait,
    ProbeNeed,
    PublishProgress,
    RenewLease,
    ResolveNeed,
    TakeClaim,
)
from uvm.generation.learning import Learner
from uvm.generation.meter import Meter
from uvm.generation.process.process import GenerationProcess
from uvm.generation.process.registry import ProcessSettings
from uvm.generation.proposals import PREFIX
from uvm.generation.request import MethodRequest
from uvm.generation.thoughts import Thoughts
from uvm.generation.waits import Waits
from uvm.image.blobs import materializer
from uvm.image.image import Image
from uvm.image.queries import capacity
from uvm.image.transactor import ImageAway, Transactor
from uvm.inference.client import InferenceClient
from uvm.protocol import TOPIC_PROGRESS, Progress, Reference, encode
from uvm.runtime.runtime import Runtime
from uvm.trial.client import Trial, TrialsBusy, TrialServer, TrialUnavailable
from uvm.trial.protocol import TrialOutcome, TrialRequest
from uvm.values.examples import labels

_LOGGED: Final = frozenset({"installed", "refused"})
"""Stages that go into the log."""

log = structlog.get_logger()

Answer = Callable[[ImageError | None], None]
"""Called once: with None when the message may run again, else with why not."""

Publish = Callable[[bytes, bytes], None]


class Writers:
    """All methods that this process writes, or waits for others to write.

    `used` is called with the processor seconds that went into the writing of a principal's methods.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        image: Image,
        runtime: Runtime,
        transactor: Transactor,
        inference: InferenceClient,
        trials: TrialServer,
        publish: Publish,
        used: Callable[[str, float], None],
        owner: str,
        confined: bool,
    ) -> None:
        settings = configuration.settings
        self._settings = settings
        self._transactor = transactor
        self._inference = inference
        self._trial_server = trials
        self._publish = publish
        self._used = used
        self._meter = Meter()
        self._process = GenerationProcess(
            ProcessSettings(
                owner=owner,
                may_write=settings.uvm.generation == "always" or (settings.uvm.generation == "confined" and confined),
                drafts=settings.uvm.drafts,
                depth=settings.uvm.depth,
                deadline_s=settings.uvm.generation_deadline_s,
                most=settings.uvm.most_drafts,
                risk=settings.uvm.risk,
            )
        )
        materialize = materializer(image, configuration.home)
        self._installer = Installer(image, runtime, settings.uvm, owner, materialize)
        self._thoughts = Thoughts(image, transactor, inference, materialize)
        self.learner = Learner(image, transactor, owner.split("/")[0])
        self._waits = Waits(lambda question: inference.waits_for(question, time.monotonic()))
        self._numbers = count(1)
        self._waiters: dict[int, Answer] = {}
        self._trials: dict[int, Trial] = {}
        self._events: deque[GenerationEvent] = deque()
        self._driving = False
        self._ways: dict[type[GenerationInstruction], Callable[[Any], GenerationEvent | None]] = {
            TakeClaim: self._take_claim,
            Advance: self._advance,
            RenewLease: self._renew_lease,
            LookUpLibrary: self._look_up_library,
            DrawCommission: self._draw_commission,
            AskWriter: self._ask_writer,
            CancelQuestion: self._cancel_question,
            BeginTrial: self._begin_trial,
            CancelTrial: self._cancel_trial,
            AskThought: self._ask_thought,
            ProbeNeed: self._probe_need,
            NoteWait: self._note_wait,
            ResolveNeed: self._resolve_need,
            ApplyRule: self._apply_rule,
            LookUpMending: self._look_up_mending,
            Install: self._install,
            KeepClauses: self._keep_clauses,
            BackToTrial: self._back_to_trial,
            Learn: self._learn,
            PublishProgress: self._publish_progress,
            AnswerWaiter: self._answer_waiter,
        }

    def __len__(self) -> int:
        return len(self._process)

    @property
    def installed(self) -> int:
        """Methods that this process has installed."""
        return self._process.counters["installed"]

    @property
    def refused(self) -> int:
        """Messages that this process has refused."""
        return self._process.counters["refused"]

    def trials(self) -> list[Trial]:
        """The trials that run, to be polled for reading."""
        return list(self._trials.values())

    # --- events ------------------------------------------------------------------------------------------------------

    def request(self, request: MethodRequest, answer: Answer) -> None:
        """A message cannot go on without a method. `answer` is called once: with None when it may run again, or with why not."""
        waiter = next(self._numbers)
        self._waiters[waiter] = answer
        self._happened(MethodRequested(waiter, request))

    def readable(self, trial: Trial) -> None:
        """A trial's descriptor is readable."""
        with self._meter.of(self._process.principal_of(self._number_of(trial))):
            outcome = trial.on_readable()
        if outcome is not None:
            self._ended(trial, outcome)

    def tick(self, now: float) -> None:
        """Trials that took too long, leases to renew, messages of others to look after, waits to tell of, lessons to take in."""
        for trial in self.trials():
            outcome = trial.expired(now)
            if outcome is not None:
                self._ended(trial, outcome)
        self._happened(TimePassed())
        for order in self._waits.due(now):
            self._publish_progress(order)
        for principal, cpu_s in self._meter.read():
            if principal:
                self._used(principal, cpu_s)
        self.learner.tick(now)

    def close(self) -> None:
        """Let go of everything: another process takes the messages over when the leases end."""
        for instruction in self._process.let_go():
            self._carry_out(instruction)

    def _ended(self, trial: Trial, outcome: TrialOutcome) -> None:
        number = self._number_of(trial)
        if number:
            del self._trials[number]
            self._happened(TrialEnded(number, outcome))

    def _number_of(self, trial: Trial) -> int:
        """The generation whose trial this is; none, if it was cancelled meanwhile."""
        return next((number for number, running in self._trials.items() if running is trial), 0)

    # --- the loop ----------------------------------------------------------------------------------------------------

    def _happened(self, event: GenerationEvent) -> None:
        """Tell the process, do what it says, tell it what came of that, and so on until nothing is left to do."""
        self._events.append(event)
        if self._driving:
            return  # what happens while an instruction is carried out waits for its turn
        self._driving = True
        try:
            while self._events:
                self._step(self._events.popleft())
        finally:
            self._driving = False

    def _step(self, event: GenerationEvent) -> None:
        """What follows from an event at once, paid by whose generation it is."""
        principal = event.request.principal if isinstance(event, MethodRequested) else self._principal_of(event)
        with self._meter.of(principal):
            for instruction in self._decided(event):
                with self._meter.of(self._principal_of(instruction) or principal):
                    came_of_it = self._carry_out(instruction)
                if came_of_it is not None:
                    self._events.append(came_of_it)

    def _principal_of(self, what: GenerationEvent | GenerationInstruction) -> str:
        return self._process.principal_of(getattr(what, "generation", 0))

    def _decided(self, event: GenerationEvent) -> list[GenerationInstruction]:
        try:
            return self._process.handle(event, time.monotonic())
        except Exception as error:
            if isinstance(event, MethodRequested | TimePassed):
                raise
            log.exception("a fault while a method was written", event_type=type(event).__name__)
            return self._process.handle(StepFailed(event.generation, _fault(error)), time.monotonic())

    def _carry_out(self, instruction: GenerationInstruction) -> GenerationEvent | None:
        """Carry out an instruction; what came of it, if that is known at once."""
        number = getattr(instruction, "generation", 0)
        try:
            return self._ways[type(instruction)](instruction)
        except ImageAway:
            raise
        except LostClaim as lost:
            log.warning("another process took the message over", message=str(lost))
            return ClaimLost(number)
        except ConflictError as conflict:
            return ConflictsLost(number, str(conflict))
        except ImageError as error:
            return StepFailed(number, error)
        except AttemptEnded as end:
            return StepFailed(number, Refused(f"{end.type}: {end.message}", end.remedy))
        except Exception as error:  # whatever it is, it goes into the log and to the sender
            log.exception("a fault while a method was written", instruction=type(instruction).__name__)
            return StepFailed(number, _fault(error))

    # --- the message in the image ------------------------------------------------------------------------------------

    def _take_claim(self, order: TakeClaim) -> Claimed:
        return Claimed(order.generation, self._transactor.run(lambda: self._installer.claim(order.request)))

    def _advance(self, order: Advance) -> StepStored:
        self._transactor.run(lambda: self._installer.advance(order))
        self._waits.stored(order)
        return StepStored(order.generation)

    def _renew_lease(self, order: RenewLease) -> None:
        self._transactor.run(lambda: self._installer.renew(order.oid, order.stage))

    def _note_wait(self, order: NoteWait) -> StepStored:
        self._transactor.run(lambda: self._installer.wait_for(order.oid, order.key))
        return StepStored(order.generation)

    def _back_to_trial(self, order: BackToTrial) -> StepStored:
        self._transactor.run(lambda: self._installer.back_to_trial(order.oid))
        return StepStored(order.generation)

    def _install(self, order: Install) -> Installed | ObjectsChanged:
        corrected = self._transactor.look(lambda: self._installer.corrected(order.request))
        done = self._transactor.run(lambda: self._installer.put(order))
        return Installed(order.generation, corrected) if done else ObjectsChanged(order.generation)

    def _keep_clauses(self, order: KeepClauses) -> ClausesKept:
        self._transactor.run(lambda: self._installer.keep(order))
        return ClausesKept(order.generation)

    # --- what the image says -----------------------------------------------------------------------------------------

    def _look_up_library(self, order: LookUpLibrary) -> LibraryFound:
        method = self._transactor.look(lambda: self._installer.from_library(order.request))
        return LibraryFound(order.generation, *method) if method is not None else LibraryFound(order.generation)

    def _draw_commission(self, order: DrawCommission) -> Commissioned | PersonaUnknown:
        try:
            return Commissioned(order.generation, self._transactor.look(lambda: self._installer.commission(order.request, order.plan)))
        except NoSuchObject as error:
            return PersonaUnknown(order.generation, error.message)

    def _probe_need(self, order: ProbeNeed) -> NeedProbed:
        return NeedProbed(order.generation, self._transactor.look(lambda: self._installer.needed(order.request, order.need)))

    def _apply_rule(self, order: ApplyRule) -> Chosen | RuleFailed:
        try:
            return Chosen(order.generation, self._transactor.look(lambda: self._installer.rule(order.request, order.candidates)))
        except (ImageError, AttemptEnded) as error:
            return RuleFailed(order.generation, error.message)

    def _look_up_mending(self, order: LookUpMending) -> MendingFound:
        return MendingFound(order.generation, self._transactor.look(lambda: self._installer.mending(order.request, order.failed)))

    # --- the model ---------------------------------------------------------------------------------------------------

    def _ask_writer(self, order: AskWriter) -> None:
        question = order.generate.id

        def done(answer: Completed | RequestFailed) -> None:
            self._waits.begun(question)
            if isinstance(answer, Completed):
                self.learner.wrote(order.persona, answer.outputs)
                self._happened(Wrote(order.generation, question, answer))
            else:
                self._happened(WriterFailed(order.generation, question, answer))

        def writing(delta: Delta) -> None:
            self._waits.begun(question)
            self._happened(WritingDelta(order.generation, question, delta.index, delta.text))

        self._waits.asked(order)
        self._inference.ask(order.generate, self._settings.uvm.generation_deadline_s, done, writing)

    def _ask_thought(self, order: AskThought) -> None:
        def done(answer: Completed | RequestFailed) -> None:
            if isinstance(answer, Completed):
                self._happened(ThoughtAnswered(order.generation, order.question, answer.outputs[0].text))
            else:
                self._happened(ThoughtUnanswered(order.generation, order.question, answer))

        self._thoughts.ask(
            order.thought,
            order.thought.persona.oid,
            question=order.question,
            session=order.session,
            seconds=self._settings.inference.deadline_s,
            done=done,
        )

    def _cancel_question(self, order: CancelQuestion) -> None:
        self._waits.begun(order.question)
        self._inference.cancel(order.question)

    # --- trials ------------------------------------------------------------------------------------------------------

    def _begin_trial(self, order: BeginTrial) -> TrialBusy | None:
        request = order.request
        holder, made_up, subjects = self._transactor.look(
            lambda: (
                self._installer.holder(request),
                self._installer.made_up(request, order.source),
                self._installer.subjects(request),
            )
        )
        trial = TrialRequest(
            tid=self._transactor.newest(),
            receiver=request.receiver,
            holder=request.receiver if holder is None else holder,
            selector=request.selector,
            source=order.source,
            positional=request.positional,
            args=request.args,
            kwargs=request.kwargs,
            examples=request.examples,
            labels=labels(request.clauses),
            subjects=subjects,
            raises=request.raises,
            made_up=made_up,
            overlay=request.overlay,
            thoughts=order.thoughts,
            now=request.asked_at,
            ticks=min(self._settings.uvm.ticks, request.limits.ticks),
            limits=request.limits,
            answer_bytes=capacity(self._settings.bridge.max_frame_bytes),
            seconds=self._settings.uvm.message_limit_s,
            author=order.author or "tool",
            rights=request.rights,
            policy=request.policy,
            alone=request.alone,
            send=request.send and not request.tested,
            unconfined=self._settings.uvm.generation == "always",
            varied=self._settings.uvm.varied if request.offered is None and not request.tested else 0,
            seed=request.key.removeprefix(PREFIX),
        )
        try:
            self._trials[order.generation] = self._trial_server.begin(trial, self._transactor.record)
        except TrialsBusy:
            return TrialBusy(order.generation)
        except TrialUnavailable as error:
            raise Refused(f"{request.selector} cannot be tried: {error}", "send it again in a moment") from error
        return None

    def _cancel_trial(self, order: CancelTrial) -> None:
        trial = self._trials.pop(order.generation, None)
        if trial is not None:
            trial.cancel()

    # --- who is told -------------------------------------------------------------------------------------------------

    def _resolve_need(self, order: ResolveNeed) -> NeedResolved:
        return NeedResolved(order.generation, order.error)

    def _learn(self, order: Learn) -> None:
        if order.accepted:
            self.learner.accepted(order.message, order.personas[0])
        else:
            self.learner.rejected(order.message, order.personas)

    def _publish_progress(self, order: PublishProgress) -> None:
        if order.stage in _LOGGED:
            log.info(order.stage, selector=order.selector, **{name: value for name, value in order.detail.items() if name != "source"})
        event = Progress(Reference(order.oid), order.selector, Reference(order.receiver), order.stage, order.detail)
        self._publish(TOPIC_PROGRESS, encode(event))

    def _answer_waiter(self, order: AnswerWaiter) -> None:
        self._waiters.pop(order.waiter)(order.error)


def _fault(error: Exception) -> KernelFault:
    return KernelFault(f"{type(error).__name__}: {error}"[:500], "batos logs shows it; please report it")
