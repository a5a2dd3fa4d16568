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
from typing import Final

import structlog
from ZODB.POSException import ConflictError

from deploy.settings import Configuration
from uvm.errors import AttemptEnded, ImageError, KernelFault, Refused
from uvm.generation.asking import ModelQuestions
from uvm.generation.claims import LostClaim
from uvm.generation.events import ClaimLost, ConflictsLost, GenerationEvent, MethodRequested, NeedResolved, StepFailed, TimePassed
from uvm.generation.handlers import Handlers
from uvm.generation.installer import Installer
from uvm.generation.instructions import AnswerWaiter, DraftInShadow, GenerationInstruction, Learn, PublishProgress, ResolveNeed
from uvm.generation.learning import Learner
from uvm.generation.meter import Meter
from uvm.generation.process.process import GenerationProcess
from uvm.generation.process.registry import ProcessSettings
from uvm.generation.request import MethodRequest
from uvm.generation.shadowing import ShadowDrafts
from uvm.generation.thoughts import Thoughts
from uvm.generation.transactions import GenerationTransactions
from uvm.generation.trying import DraftTrials
from uvm.image.blobs import materializer
from uvm.image.image import Image
from uvm.image.transactor import ImageAway, Transactor
from uvm.inference.client import InferenceClient
from uvm.protocol import TOPIC_PROGRESS, Progress, Reference, encode
from uvm.runtime.runtime import Runtime
from uvm.trial.client import TrialServer
from uvm.trial.protocol import TrialOutcome
from uvm.trial.trial import Trial

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
        installer = Installer(image, runtime, settings.uvm, owner, materialize)
        thoughts = Thoughts(image, transactor, inference, materialize)
        self.learner = Learner(image, transactor, owner.split("/")[0])
        self._questions = ModelQuestions(settings, inference, thoughts, self.learner, self._happened)
        self._trials = DraftTrials(settings, transactor, installer, trials)
        self._shadow = ShadowDrafts(settings, image, transactor, installer, materialize, inference, self._trials)
        self._numbers = count(1)
        self._waiters: dict[int, Answer] = {}
        self._events: deque[GenerationEvent] = deque()
        self._driving = False
        self._handlers: Handlers = {
            **GenerationTransactions(transactor, installer, self._questions.waits.stored).handlers,
            **self._questions.handlers,
            **self._trials.handlers,
            ResolveNeed: self._resolve_need,
            Learn: self._learn,
            DraftInShadow: self._shadow.ended,
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
        beside = self._shadow.trial()
        return [*self._trials.running(), *([] if beside is None else [beside])]

    # --- events ------------------------------------------------------------------------------------------------------

    def request(self, request: MethodRequest, answer: Answer) -> None:
        """A message cannot go on without a method. `answer` is called once: with None when it may run again, or with why not."""
        waiter = next(self._numbers)
        self._waiters[waiter] = answer
        self._happened(MethodRequested(waiter, request))

    def readable(self, trial: Trial) -> None:
        """A trial's descriptor is readable."""
        if trial is self._shadow.trial():
            self._shadow.readable(trial)
            return
        with self._meter.of(self._process.principal_of(self._trials.number_of(trial))):
            outcome = trial.on_readable()
        if outcome is not None:
            self._ended(trial, outcome)

    def tick(self, now: float) -> None:
        """Trials that took too long, leases to renew, messages of others to look after, waits to tell of, lessons to take in."""
        for trial in self._trials.running():
            outcome = trial.expired(now)
            if outcome is not None:
                self._ended(trial, outcome)
        self._happened(TimePassed())
        for order in self._questions.waits.due(now):
            self._publish_progress(order)
        for principal, cpu_s in self._meter.read():
            if principal:
                self._used(principal, cpu_s)
        self.learner.tick(now)
        self._shadow.tick(now, idle=not self._process)

    def close(self) -> None:
        """Let go of everything: another process takes the messages over when the leases end."""
        self._shadow.close()
        for instruction in self._process.let_go():
            self._carry_out(instruction)

    def _ended(self, trial: Trial, outcome: TrialOutcome) -> None:
        event = self._trials.ended(trial, outcome)
        if event is not None:
            self._happened(event)

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

    def _principal_of(self, concerning: GenerationEvent | GenerationInstruction) -> str:
        return self._process.principal_of(getattr(concerning, "generation", 0))

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
            return self._handlers[type(instruction)](instruction)
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

    # --- who is told -------------------------------------------------------------------------------------------------

    def _resolve_need(self, order: ResolveNeed) -> NeedResolved:
        return NeedResolved(order.generation, order.error)

    def _learn(self, order: Learn) -> None:
        if order.accepted:
            self.learner.accepted(order.message, order.personas)
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
