"""doesNotUnderstand, carried out: from a claimed message to an installed method or a stored refusal.

Owned by the UVM's main thread. No transaction is open while the model writes or a trial runs: each stage is a short transaction of
its own, and what happens in between arrives as an event (`Thinker`'s callbacks, a trial that is readable, `tick`).
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from ZODB.POSException import ConflictError

from deploy.settings import Configuration
from inference_worker.protocol import Completed, Delta, Failed, Sampling
from uvm.errors import AttemptEnded, Contention, GenerationBusy, GenerationOff, ImageError, KernelFault, NoSuchObject, Refused
from uvm.generation import claims as messages
from uvm.generation import questions as asking
from uvm.generation import stages
from uvm.generation.claims import Claim, LostClaim
from uvm.generation.drafting import commission, storable, voice_of
from uvm.generation.generation import RENEW_EVERY_S, Generation, Waiter
from uvm.generation.installer import Registry
from uvm.generation.learning import Learner
from uvm.generation.meter import Meter
from uvm.generation.request import Want
from uvm.generation.stages import Draft
from uvm.generation.verdicts import examine, judge, refusal_of, verdict
from uvm.image.blobs import materialize
from uvm.image.image import Image
from uvm.image.queries import capacity
from uvm.image.transactor import ImageAway, Transactor
from uvm.inference.client import Thinker
from uvm.objects import UvmObject
from uvm.protocol import TOPIC_PROGRESS, Progress, Reference, encode
from uvm.runtime.policy import CHOICE, MIND
from uvm.runtime.runtime import Runtime
from uvm.trial.client import Trial, TrialOutcome, TrialRequest, TrialsBusy, TrialServer, TrialUnavailable

WATCH_EVERY_S: Final = 0.2
AGAIN: Final = 1
"""How often more drafts are asked for when none survived."""
MOST: Final = 64
"""Messages that one UVM carries to their methods, or waits for, at a time."""
NEEDS: Final = 8
"""Other methods that the drafts of one message may have written first."""
RETRIALS: Final = 3
"""How often a draft is tried again because the objects that its trial saw have changed, or it needed a thought or a method."""

log = structlog.get_logger()

Publish = Callable[[bytes, bytes], None]


class _Watched:
    """A message that another process has claimed."""

    def __init__(self, want: Want) -> None:
        self.want = want
        self.waiters: list[Waiter] = []


class Writers:
    """All messages that this process has claimed or waits for.

    `used` is called with the processor seconds that went into the writing of a principal's methods.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        image: Image,
        runtime: Runtime,
        transactor: Transactor,
        thinker: Thinker,
        trials: TrialServer,
        publish: Publish,
        used: Callable[[str, float], None],
        owner: str,
        confined: Callable[[], bool],
    ) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._image = image
        self._registry = Registry(image, runtime, configuration.settings.uvm, owner)
        self._transactor = transactor
        self._thinker = thinker
        self._trials = trials
        self._publish = publish
        self._used = used
        self._meter = Meter()
        self._owner = owner
        self._confined = confined
        self._mine: dict[str, Generation] = {}
        self._theirs: dict[str, _Watched] = {}
        self._watch_at = 0.0
        self.learner = Learner(image, transactor, owner.split("/")[0])
        self.installed = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._mine)

    def trials(self) -> list[Trial]:
        """The trials that run, to be polled for reading."""
        return [one.trial for one in self._mine.values() if one.trial is not None]

    # --- events ------------------------------------------------------------------------------------------------------

    def want(self, want: Want, waiter: Waiter) -> None:
        """A message wants a method. `waiter` is called once: with None when it may run again, or with why not."""
        if want.offered is None and not self._may_write():
            waiter(
                GenerationOff(
                    f"{want.selector} is not understood, and writing methods is off here",
                    "batos doctor says which layer of confinement the host lacks; uvm.generation = 'always' goes without",
                )
            )
            return
        if want.key in self._mine:
            self._mine[want.key].waiters.append(waiter)
            return
        if want.key in self._theirs:
            self._theirs[want.key].waiters.append(waiter)
            return
        if len(self._mine) + len(self._theirs) >= MOST:
            text = f"{MOST} methods are being written here already, and {want.selector} was not begun"
            waiter(GenerationBusy(text, "send it again in a moment"))
            return
        with self._meter.of(want.principal):
            try:
                claim = self._transactor.run(lambda: self._registry.claim(want))
            except ImageError as error:
                waiter(error)
                return
            self._begin(want, claim, [waiter])

    def _begin(self, want: Want, claim: Claim, waiters: list[Waiter]) -> None:
        if claim.state == "theirs":
            watched = self._theirs.setdefault(want.key, _Watched(want))
            watched.waiters.extend(waiters)
        elif claim.state == "installed":
            _tell(waiters, None)
        elif claim.state == "refused":
            _tell(waiters, refusal_of(claim.refusal))
        else:
            generation = Generation(want, claim)
            generation.waiters = waiters
            self._mine[want.key] = generation
            self._told(generation, call=want.reified.get("call", want.selector), resumed=claim.stage != "reified")
            self._guarded(generation, self._start)

    def readable(self, trial: Trial) -> None:
        """A trial's descriptor is readable."""
        generation = next((one for one in self._mine.values() if one.trial is trial), None)
        if generation is not None:
            with self._meter.of(generation.want.principal):
                outcome = trial.on_readable()
            if outcome is not None:
                self._guarded(generation, lambda one: self._tried(one, outcome))

    def tick(self, now: float) -> None:
        """Trials that took too long, leases to renew, messages of others to look after."""
        for generation in list(self._mine.values()):
            if generation.queued:
                self._guarded(generation, self._try)
            if generation.trial is not None:
                outcome = generation.trial.expired(now)
                if outcome is not None:
                    self._guarded(generation, partial(self._tried, outcome=outcome))
            if generation.want.key in self._mine and now > generation.renew_at:
                generation.renew_at = now + RENEW_EVERY_S
                self._guarded(
                    generation, lambda one: self._transactor.run(lambda: messages.renew(self._image, one.oid, self._owner, one.stage))
                )
        for principal, cpu_s in self._meter.read():
            self._used(principal, cpu_s)
        self.learner.tick(now)
        if self._theirs and now > self._watch_at:
            self._watch_at = now + WATCH_EVERY_S
            for key in list(self._theirs):
                self._look_after(key)

    def close(self) -> None:
        """Let go of everything: another process takes the messages over when the leases end."""
        for generation in self._mine.values():
            for identifier in generation.questions:
                self._thinker.cancel(identifier)
            if generation.trial is not None:
                generation.trial.cancel()
        self._mine.clear()

    # --- stages ------------------------------------------------------------------------------------------------------

    def _start(self, generation: Generation) -> None:
        if generation.drafts:
            self._audit(generation)
        else:
            self._reflect(generation)

    def _reflect(self, generation: Generation) -> None:
        want = generation.want
        if want.offered is not None:
            self._advance(generation, "reflected", plan={"offered": True}, author=want.author)
            self._drafted(generation, [Draft(source=want.offered, persona=want.author)])
            return
        try:
            generation.plan = stages.plan_of(want.plan, self._settings.uvm.drafts)
        except msgspec.ValidationError as error:
            self._refuse(generation, self._misruled(want, MIND, Refused, f"made a plan that cannot be used: {error}"))
            return
        self._advance(generation, "reflected", plan=msgspec.to_builtins(generation.plan))
        known = self._transactor.look(lambda: self._registry.known(want))
        if known is not None:
            self._drafted(generation, [known])
            return
        self._ask(generation)

    def _ask(self, generation: Generation) -> None:
        plan = generation.plan
        if plan is None:
            raise RuntimeError("a message is drafted after it was reflected")
        try:
            generation.commission = self._transactor.look(lambda: commission(self._image, generation.want, plan, self._materialize))
        except NoSuchObject as error:
            raise self._misruled(generation.want, MIND, NoSuchObject, f"asks for a persona that is not there: {error.message}") from error
        generation.written, generation.text = [], ""
        deadline_ms = int(self._settings.uvm.generation_deadline_s * 1000)
        asked = list(asking.requests(generation, plan, generation.commission, deadline_ms, self._owner, self._thinker.identifier))
        generation.questions |= {generate.id for _, generate in asked}
        for persona, generate in asked:
            self._thinker.ask(
                generate,
                self._settings.uvm.generation_deadline_s,
                partial(self._wrote, generation, persona, generate.samplings),
                partial(self._writing, generation),
            )

    def _writing(self, generation: Generation, delta: Delta) -> None:
        if delta.index == 0:
            generation.text += delta.text
            now = time.monotonic()
            if now > generation.told_at:
                generation.told_at = now + 0.25
                self._told(generation, stage="drafting", text=generation.text[-4000:])

    def _wrote(self, generation: Generation, persona: str, samplings: Sequence[Sampling], answer: Completed | Failed) -> None:
        with self._meter.of(generation.want.principal):
            self._answered(generation, persona, samplings, answer)

    def _answered(self, generation: Generation, persona: str, samplings: Sequence[Sampling], answer: Completed | Failed) -> None:
        generation.questions.discard(answer.id)
        if self._mine.get(generation.want.key) is not generation:
            return
        if isinstance(answer, Failed):
            generation.failures.append(f"{persona}: {answer.type}: {answer.message}")
        else:
            generation.written += asking.drafts_of(generation.want.reified["signature"], persona, samplings, answer)
            self.learner.wrote(persona, answer.outputs)
        if not generation.questions:
            if generation.written:
                self._guarded(generation, self._redrafted if generation.rounds else lambda one: self._drafted(one, one.written))
            else:
                text = "; ".join(generation.failures) or "no draft came back"
                self._guarded(
                    generation,
                    lambda one: self._refuse(
                        one,
                        verdict(one)
                        if one.drafts
                        else Refused(
                            f"nothing was written for {one.want.selector}: {text}",
                            "batos status shows the inference worker; batos logs inference tells more",
                        ),
                    ),
                )

    def _drafted(self, generation: Generation, drafts: list[Draft]) -> None:
        generation.drafts = stages.unique(drafts)
        self._advance(generation, "drafted", drafts=messages.storable_drafts(generation.drafts))
        self._told(generation, drafts=len(generation.drafts))
        self._audit(generation)

    def _redrafted(self, generation: Generation) -> None:
        """More drafts, after none of the first ones survived."""
        known = len(generation.drafts)
        generation.drafts = stages.unique([*generation.drafts, *generation.written])
        examine(generation.drafts[known:], generation.want)
        self._told(generation, stage="drafting", again=len(generation.drafts) - known)
        self._try_next(generation)

    def _audit(self, generation: Generation) -> None:
        examine(generation.drafts, generation.want)
        self._advance(generation, "audited", drafts=messages.storable_drafts(generation.drafts))
        self._told(generation, fit=sum(not one.outcome for one in generation.drafts), drafts=len(generation.drafts))
        self._try_next(generation)

    def _try_next(self, generation: Generation) -> None:
        generation.trying = next((number for number, one in enumerate(generation.drafts) if not one.outcome), -1)
        if generation.trying < 0:
            if generation.plan is not None and generation.rounds < AGAIN and not stages.candidates(generation.drafts):
                generation.rounds += 1
                self._ask(generation)
            else:
                self._choose(generation)
        else:
            generation.retrials = 0
            self._try(generation)

    def _try(self, generation: Generation) -> None:
        want, draft = generation.want, generation.drafts[generation.trying]
        # Two methods that are tried on one object at once could not both be installed: each one's trial would be untrue of the other.
        generation.queued = any(one.trial is not None and one.want.receiver == want.receiver for one in self._mine.values())
        if generation.queued:
            return  # `tick` tries again
        holder, made_up = self._transactor.look(lambda: (self._registry.holder(want), self._registry.made_up(want, draft.source)))
        request = TrialRequest(
            tid=self._transactor.newest(),
            receiver=want.receiver,
            holder=want.receiver if holder is None else holder,
            selector=want.selector,
            source=draft.source,
            positional=want.positional,
            args=want.args,
            kwargs=want.kwargs,
            examples=want.examples,
            made_up=made_up,
            overlay=want.overlay,
            thoughts=generation.thoughts,
            now=want.asked_at,
            ticks=min(self._settings.uvm.ticks, want.limits.ticks),
            limits=want.limits,
            answer_bytes=capacity(self._settings.bridge.max_frame_bytes),
            seconds=self._settings.uvm.message_limit_s,
            author=draft.persona or "tool",
            rights=want.rights,
            policy=want.policy,
            # An offer without an example has no arguments of its own.
            send=want.offered is None or want.positional == 0 or bool(want.examples),
            unconfined=self._settings.uvm.generation == "always",
        )
        try:
            generation.trial = self._trials.begin(request, self._transactor.record)
        except TrialsBusy:
            generation.queued = True
        except TrialUnavailable as error:
            raise Refused(f"{want.selector} cannot be tried: {error}", "send it again in a moment") from error

    def _tried(self, generation: Generation, outcome: TrialOutcome) -> None:
        generation.trial = None
        draft = generation.drafts[generation.trying]
        if outcome.kind == "thought" and outcome.thought is not None and generation.retrials < RETRIALS:
            self._think_for(generation, outcome.thought)
            return
        if outcome.kind == "need" and outcome.need is not None and generation.retrials < RETRIALS and not outcome.need.made:
            self._need(generation, outcome.need)
            return
        generation.read[generation.trying] = dict(outcome.read)
        judge(draft, outcome)
        self._told(generation, stage="trying", draft=generation.trying, outcome=draft.outcome, why=draft.why)
        self._try_next(generation)

    def _think_for(self, generation: Generation, thought: Any) -> None:
        generation.retrials += 1
        voice = self._transactor.look(lambda: voice_of(self._image, thought.persona.oid, self._materialize))
        identifier = self._thinker.identifier(f"{self._owner}-thought")
        generation.questions.add(identifier)

        def done(answer: Completed | Failed) -> None:
            generation.questions.discard(identifier)
            if self._mine.get(generation.want.key) is not generation:
                return
            if isinstance(answer, Completed):
                generation.thoughts[thought.key] = answer.outputs[0].text
                self._guarded(generation, self._try)
            else:  # as in service, where the message fails
                draft = generation.drafts[generation.trying]
                draft.outcome, draft.why = answer.type, f"asked the model, which did not answer: {answer.type}: {answer.message}"
                self._guarded(generation, self._try_next)

        self._thinker.ask(
            asking.thought_request(voice, thought, identifier, generation.want.session),
            self._settings.inference.deadline_s,
            done,
        )

    def _need(self, generation: Generation, need: Any) -> None:
        """The draft sent a message that nothing understands: that method comes first, as a message of its own."""
        generation.retrials += 1
        generation.needs += 1
        draft = generation.drafts[generation.trying]
        if generation.needs > NEEDS:
            draft.outcome, draft.why = "NotUnderstood", f"needs {need.selector}, after {NEEDS} other methods that drafts of it needed"
            self._try_next(generation)
            return
        if generation.want.depth + 1 >= self._settings.uvm.depth:
            draft.outcome, draft.why = "TooDeep", f"needs {need.selector}, which nobody understands, {self._settings.uvm.depth} deep"
            self._try_next(generation)
            return
        needed = self._transactor.look(lambda: self._registry.wanted_by(generation, need))
        if isinstance(needed, str):
            draft.outcome, draft.why = "NotUnderstood", needed
            self._try_next(generation)
            return
        self._transactor.run(lambda: self._registry.waits(generation, needed.key))

        def ready(error: ImageError | None) -> None:
            if self._mine.get(generation.want.key) is not generation:
                return
            if error is not None:
                draft.outcome, draft.why = "NotUnderstood", f"needs {need.selector}: {error.message}"
                self._guarded(generation, self._try_next)
            else:
                self._guarded(generation, self._try)

        self._told(generation, needs=need.selector)
        self.want(needed, ready)

    def _choose(self, generation: Generation) -> None:
        self._advance(generation, "tried", drafts=messages.storable_drafts(generation.drafts))
        self._told(generation, survived=sum(one.outcome == "ok" for one in generation.drafts))
        fit = stages.candidates(generation.drafts)
        if not fit:
            self._refuse(generation, verdict(generation))
            return
        if generation.want.offered is not None:
            self._install(generation, fit[0]["index"])
            return
        try:
            chosen = self._transactor.look(lambda: self._registry.rule(generation.want, fit))
        except (ImageError, AttemptEnded) as error:
            self._refuse(generation, self._misruled(generation.want, CHOICE, Refused, f"failed on its drafts: {error.message}"))
            return
        if type(chosen) is not int or chosen not in [one["index"] for one in fit]:
            refusal = self._misruled(generation.want, CHOICE, Refused, f"chose none of {len(fit)} drafts")
            refusal.details["reasons"] = stages.reasons(generation.drafts)
            self._refuse(generation, refusal)
            return
        self._install(generation, chosen)

    def _install(self, generation: Generation, chosen: int) -> None:
        corrected = self._transactor.look(lambda: self._registry.corrected(generation.want))
        if not self._transactor.run(lambda: self._registry.put(generation, chosen)):
            generation.retrials += 1
            if generation.retrials > RETRIALS:
                self._refuse(
                    generation,
                    Refused(f"the objects that {generation.want.selector} was tried on keep changing", "send it again when they rest"),
                )
                return
            self._transactor.run(lambda: self._registry.back_to_trial(generation))
            generation.trying = chosen
            generation.drafts[chosen].outcome = ""
            self._try(generation)
            return
        generation.stage = "installed"
        self.installed += 1
        if corrected is not None:
            self.learner.rejected(corrected[0], [corrected[1]])
        if generation.drafts[chosen].mode:
            self.learner.accepted(generation.oid, generation.drafts[chosen].persona)
        draft = generation.drafts[chosen]
        log.info(
            "installed", selector=generation.want.selector, seconds=round(time.monotonic() - generation.started, 2), persona=draft.persona
        )
        self._told(generation, source=draft.source, author=draft.persona, seconds=time.monotonic() - generation.started)
        self._end(generation, None)

    def _refuse(self, generation: Generation, error: ImageError) -> None:
        error.details.setdefault("message", str(Reference(generation.oid)))
        told = {"type": error.type, "message": error.message, "remedy": error.remedy, "details": storable(error.details)}
        self._advance(generation, "refused", refusal=told, drafts=messages.storable_drafts(generation.drafts))
        self.refused += 1
        self.learner.rejected(generation.oid, [one.persona for one in generation.drafts if one.mode])
        log.info("refused", selector=generation.want.selector, why=error.message)
        self._told(generation, why=error.message)
        self._end(generation, error)

    def _end(self, generation: Generation, error: ImageError | None) -> None:
        self._mine.pop(generation.want.key, None)
        _tell(generation.waiters, error)

    def _misruled(self, want: Want, failed: str, kind: type[ImageError], what: str) -> ImageError:
        """Why a message is refused that a policy method of the image's own has failed on."""
        remedy = self._transactor.look(lambda: self._registry.mending(want, failed))
        return kind(f"{want.selector} was not written: the image's own {failed} {what}", remedy, selector=want.selector, failed=failed)

    # --- small things ----------------------------------------------------------------------------------------------------

    def _materialize(self, proxy: UvmObject, kind: str) -> None:
        materialize(self._image, proxy, kind, getattr(self._configuration.home, f"{kind}s"))

    def _may_write(self) -> bool:
        setting = self._settings.uvm.generation
        return setting == "always" or (setting == "confined" and self._confined())

    def _guarded(self, generation: Generation, step: Callable[[Generation], Any]) -> None:
        """Run a step. An error of the step refuses the message; one that another process took over is watched from then on."""
        with self._meter.of(generation.want.principal):
            self._step(generation, step)

    def _step(self, generation: Generation, step: Callable[[Generation], Any]) -> None:
        try:
            error = self._outcome(generation, step)
            if error is not None and self._mine.get(generation.want.key) is generation:
                self._refuse(generation, error)
        except ConflictError as conflict:
            # The message stays as it is stored, for whoever wants it next.
            self._end(generation, Contention(f"{generation.want.selector} lost too many conflicts: {conflict}"[:300], "send it again"))
        except LostClaim:
            log.warning("another process took the message over", selector=generation.want.selector)
            self._mine.pop(generation.want.key, None)
            for identifier in generation.questions:
                self._thinker.cancel(identifier)
            if generation.trial is not None:
                generation.trial.cancel()
            watched = self._theirs.setdefault(generation.want.key, _Watched(generation.want))
            watched.waiters.extend(generation.waiters)

    def _outcome(self, generation: Generation, step: Callable[[Generation], Any]) -> ImageError | None:
        """Run a step; why it failed, if it did. A fault of ours refuses one message, and must not end the process."""
        try:
            step(generation)
        except ImageError as error:
            return error
        except AttemptEnded as end:
            return Refused(f"{generation.want.selector}: {end.type}: {end.message}", end.remedy)
        except (LostClaim, ImageAway):
            raise
        except Exception as error:  # whatever it is, it goes into the log and to the sender
            log.exception("a fault while a method was written", selector=generation.want.selector)
            return KernelFault(f"{type(error).__name__}: {error}", "batos logs shows it; please report it")
        return None

    def _advance(self, generation: Generation, stage: str, **slots: Any) -> None:
        def step() -> None:
            messages.advance(self._image, generation.oid, self._owner, generation.stage, stage, **slots)
            if stage == "refused":
                self._registry.charge(generation)

        self._transactor.run(step)
        generation.stage = stage
        if stage == "reflected":
            self._told(generation, personas=generation.plan.personas if generation.plan else [])

    def _told(self, generation: Generation, stage: str = "", **detail: Any) -> None:
        want = generation.want
        event = Progress(
            message=Reference(generation.oid),
            selector=want.selector,
            receiver=Reference(want.receiver),
            stage=stage or generation.stage,
            detail=detail,
        )
        self._publish(TOPIC_PROGRESS, encode(event))

    def _look_after(self, key: str) -> None:
        watched = self._theirs[key]
        try:
            with self._meter.of(watched.want.principal):
                claim = self._transactor.run(lambda: self._registry.claim(watched.want))
        except ImageError as error:
            del self._theirs[key]
            _tell(watched.waiters, error)
            return
        if claim.state != "theirs":
            del self._theirs[key]
            self._begin(watched.want, claim, watched.waiters)


def _tell(waiters: list[Waiter], error: ImageError | None) -> None:
    for waiter in waiters:
        waiter(error)
