"""The writing of methods, decided: from a request to an installed method or a stored refusal. No clock, no database, no model.

Called by the UVM's one thread, through `uvm.generation.writers`: `GenerationProcess.handle(event, now)` takes what happened and returns
what is to be done, in order; `now` is monotonic seconds. It owns every generation from its request to the answer of whoever waits.

* Requests of one key (`MethodRequest.key`) are one generation: the first one begins it, the others wait for the same end. There are
  at most `MOST`; the next one is told to come again.
* A generation first claims its message. What another process has claimed is watched, and claimed when that one's lease ends.
* Then it waits for one thing at a time (`Awaited`), and does the next one when that has come. What may come is `TAKES`'s.
* A draft that sends what nobody understands waits for that method, which is a request like any other. What the draft asks the model is
  answered, and the trial runs again. How often all this may happen is bounded: `RETRIALS`, `NEEDS`, `AGAIN`, and the depth of the chain.
* What a message expects of a method that is there is tried by itself, without a claim; if it holds, the method keeps the examples.
* What others expect who come before the first trial is tried as well; what contradicts is answered at once. Who comes later runs again, and
  has the method tested.
* No two drafts for one receiver are tried at once: they could not both be installed, since each trial would be untrue of the other.
* Drafts are written in stages: first a few of one voice in one batch. Where they agree and the image's rule takes one of them, that was
  all; else the other voices and seeds write more, once, up to the plan's bound, and the rule decides on all of them. Where most say that
  the object does not know, no more are asked for.
* The rule may take none: then the message is refused with the question that would decide it. For whoever sends it again with an example,
  the drafts that there were are tried first; the model is asked where none of them will do.
* Whatever fails refuses the message, with the reason stored; where a policy method of the image has failed, also with how it is mended.
  Who has lost its claim watches the new owner. Where not even the refusal can be stored, the message stays as it is, for whoever sends it
  next; in every case each waiter is answered once.
"""

from collections import Counter
from typing import Any, Final, assert_never

import msgspec

from uvm.errors import Contention, GenerationBusy, GenerationOff, ImageError, NoSuchObject, Refused
from uvm.generation import questions, stages
from uvm.generation.decision import agreed, candidates, choice_of, told
from uvm.generation.events import (
    Advance,
    AnswerWaiter,
    ApplyRule,
    AskThought,
    AskWriter,
    BackToTrial,
    BeginTrial,
    CancelQuestion,
    CancelTrial,
    Chosen,
    Claimed,
    ClaimLost,
    ClausesKept,
    Commissioned,
    ConflictsLost,
    DrawCommission,
    GenerationEvent,
    GenerationInstruction,
    Install,
    Installed,
    KeepClauses,
    Learn,
    LibraryFound,
    LookUpLibrary,
    LookUpMending,
    MendingFound,
    MethodRequested,
    NeedProbed,
    NeedResolved,
    NoteWait,
    ObjectsChanged,
    PersonaUnknown,
    ProbeNeed,
    PublishProgress,
    QuestionEvent,
    RenewLease,
    ResolveNeed,
    RuleFailed,
    StepEvent,
    StepFailed,
    StepStored,
    TakeClaim,
    ThoughtAnswered,
    ThoughtUnanswered,
    TimePassed,
    TrialBusy,
    TrialEnded,
    WriterFailed,
    WritingDelta,
    Wrote,
)
from uvm.generation.features import declining, written
from uvm.generation.generation import LASTING, Awaited, Generation, Needing, Question, Waiting
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Claim, Draft, storable_drafts
from uvm.generation.verdicts import contradiction, examine, judge, proof, refusal_of, storable, tested, undecided, verdict, with_clauses
from uvm.protocol import Reference
from uvm.runtime.policy import CHOICE, MIND
from uvm.trial.protocol import Need, NeededThought, TrialError, TrialOutcome
from uvm.values.examples import merged

MOST: Final = 64
"""Messages that one UVM carries to their methods, or watches, at a time."""
AGAIN: Final = 1
"""How often more drafts are asked for when none survived."""
NEEDS: Final = 8
"""Other methods that the drafts of one message may have written first."""
RETRIALS: Final = 3
"""How often a draft is tried again because the objects that its trial saw have changed, or it needed a thought or a method."""
WATCH_EVERY_S: Final = 0.2
RENEW_EVERY_S: Final = 5.0
PUBLISH_EVERY_S: Final = 0.25
"""Between two looks at what others have claimed, two renewals of a lease, and two publications of what the model is writing."""
PUBLISHED: Final = 4000
"""Characters of a text being written that are published: the last ones."""


class GenerationProcess:
    """All methods that one UVM writes, or waits for others to write. One thread uses it.

    `owner` is the incarnation of the UVM; `may_write` false: only what tools offer is taken. `drafts`: how many are written where the
    image's plan does not say, and `most` at most; `depth`: how long a chain of messages may become that wait for each other; `deadline_s`:
    for the model; `risk`: that what is installed is wrong, where the sender does not say.
    """

    def __init__(
        self, *, owner: str, may_write: bool, drafts: int, depth: int, deadline_s: float, most: int = 0, risk: float = 1.0
    ) -> None:
        self._owner, self._may_write, self._depth = owner, may_write, depth
        self._drafts, self._most, self._risk = drafts, max(drafts, most), risk
        self._deadline_ms = int(deadline_s * 1000)
        self._by_key: dict[str, Generation] = {}
        self._by_number: dict[int, Generation] = {}
        self._generations = 0
        self._questions = 0
        self._watch_at = 0.0
        self._now = 0.0
        self._out: list[GenerationInstruction] = []
        self.counters: Counter[str] = Counter()

    # --- what the driver asks ------------------------------------------------------------------------------------------

    def handle(self, event: GenerationEvent, now: float) -> list[GenerationInstruction]:
        """What to do about `event`. Raises InvalidTransition for one that cannot happen.

        After any error, what had been decided before it is returned with the next event; StepFailed is the one to send then.
        """
        self._now = now
        match event:
            case MethodRequested(waiter, request):
                self._request(request, waiter)
            case TimePassed():
                self._time_passed()
            case _:
                self._step(event)
        instructions, self._out = self._out, []
        return instructions

    def let_go(self) -> list[GenerationInstruction]:
        """The UVM ends: cancel what runs. Others take the messages over when the leases end."""
        for generation in self._by_number.values():
            self._cancel(generation)
        self._by_key.clear()
        self._by_number.clear()
        instructions, self._out = self._out, []
        return instructions

    def __len__(self) -> int:
        """Generations that are this process's own."""
        return sum(generation.step not in (Awaited.CLAIMING, Awaited.WATCHING) for generation in self._by_number.values())

    def principal_of(self, generation: int) -> str:
        """Whose request it is; nobody's, if it is over."""
        known = self._by_number.get(generation)
        return known.request.principal if known is not None else ""

    def statistics(self) -> dict[str, int]:
        """How many generations are in each step, and what has happened so far."""
        return dict(Counter(generation.step.value for generation in self._by_number.values()) | self.counters)

    # --- requests and claims -------------------------------------------------------------------------------------------

    def _request(self, request: MethodRequest, waiter: Waiting) -> None:
        generation = self._by_key.get(request.key)
        clash = contradiction(generation.request, request) if generation is not None else None
        if request.offered is None and not request.tested and not self._may_write:
            why = "does not do what its examples say" if request.replaces else "is not understood"
            error: ImageError = GenerationOff(
                f"{request.selector} {why}, and writing methods is off here",
                "batos doctor says which layer of confinement the host lacks; uvm.generation = 'always' goes without",
            )
            self._answer(waiter, error)
        elif clash is not None:
            self._answer(waiter, clash)
        elif generation is not None:
            generation.waiters.append(waiter)
            if not generation.begun:  # who comes later finds out when it runs again
                generation.request = with_clauses(generation.request, request.clauses)
        elif len(self._by_key) >= MOST:
            text = f"{MOST} methods are being written here already, and {request.selector} was not begun"
            self._answer(waiter, GenerationBusy(text, "send it again in a moment"))
        elif request.tested:
            generation = self._begin(request, [waiter], Awaited.QUEUED)
            self._publish(generation, stage="testing", examples=len(request.clauses))
            self._try(generation)
        else:
            generation = self._begin(request, [waiter], Awaited.CLAIMING)
            self._out.append(TakeClaim(generation.number, request))

    def _begin(self, request: MethodRequest, waiters: list[Waiting], step: Awaited) -> Generation:
        self._generations += 1
        generation = Generation(self._generations, request, waiters, step)
        self._by_key[request.key] = self._by_number[generation.number] = generation
        return generation

    def _claimed(self, generation: Generation, claim: Claim) -> None:
        if claim.state == "theirs":
            generation.go(Awaited.WATCHING)
        elif claim.state == "installed":
            self._end(generation, None)
        elif claim.state == "refused":
            self._end(generation, refusal_of(claim.refusal))
        else:
            generation.oid, generation.stage, generation.drafts = claim.oid, claim.stage, claim.drafts
            generation.withdrawn, generation.earlier = claim.withdrawn, claim.earlier
            generation.started, generation.renew_at = self._now, self._now + RENEW_EVERY_S
            request = generation.request
            self._publish(generation, call=request.reified.get("call", request.selector), resumed=claim.stage != "reified")
            if generation.drafts:
                for draft in generation.drafts:  # another process tried them, on what it had to satisfy
                    draft.outcome = "" if draft.outcome == "ok" else draft.outcome
                self._audit(generation)
            else:
                self._reflect(generation)

    def _time_passed(self) -> None:
        watch = self._now > self._watch_at
        if watch:
            self._watch_at = self._now + WATCH_EVERY_S
        for generation in list(self._by_number.values()):
            if generation.step is Awaited.QUEUED:
                self._try(generation)
            if generation.step in LASTING and not generation.testing and self._now > generation.renew_at:
                generation.renew_at = self._now + RENEW_EVERY_S
                self._out.append(RenewLease(generation.number, generation.oid, generation.stage))
            elif generation.step is Awaited.WATCHING and watch:
                generation.go(Awaited.CLAIMING)
                self._out.append(TakeClaim(generation.number, generation.request))

    # --- what happened to one generation -------------------------------------------------------------------------------

    def _step(self, event: StepEvent) -> None:
        generation = self._by_number.get(event.generation)
        if generation is None or (isinstance(event, QuestionEvent) and event.question not in generation.questions):
            self.counters["stale"] += 1
            return
        if generation.storing == "refused" and not isinstance(event, StepStored | ClaimLost | ConflictsLost | StepFailed):
            self.counters["stale"] += 1  # it has let go of all that could still be on its way
            return
        generation.check(event)
        match event:
            case Claimed():
                self._claimed(generation, event.claim)
            case StepStored():
                self._stored(generation)
            case ClaimLost():
                self._lose(generation)
            case ConflictsLost():
                text = f"{generation.request.selector} lost too many conflicts: {event.reason}"
                self._end(generation, Contention(text[:300], "send it again"))
            case StepFailed():
                self._fail(generation, event.error)
            case LibraryFound():
                self._searched(generation, event)
            case Commissioned():
                generation.commission = event.commission
                self._ask(generation)
            case PersonaUnknown():
                self._misruled(generation, MIND, NoSuchObject, f"asks for a persona that is not there: {event.reason}")
            case WritingDelta():
                self._writing(generation, event)
            case Wrote() | WriterFailed():
                self._written(generation, event)
            case TrialEnded():
                self._tried(generation, event.outcome)
            case TrialBusy():
                generation.go(Awaited.QUEUED)
            case ThoughtAnswered() | ThoughtUnanswered():
                self._thought(generation, event)
            case NeedProbed():
                self._probed(generation, event.needed)
            case NeedResolved():
                self._needed(generation, event.error)
            case Chosen():
                self._chosen(generation, event.answer)
            case RuleFailed():
                self._misruled(generation, CHOICE, Refused, f"failed on its drafts: {event.reason}")
            case MendingFound():
                self._blamed(generation, event.remedy)
            case Installed():
                self._installed(generation, event)
            case ObjectsChanged():
                self._changed(generation)
            case ClausesKept():
                self._end(generation, None)
            case _:
                assert_never(event)

    def _store(self, generation: Generation, stage: str, **slots: object) -> None:
        generation.go(Awaited.STORING)
        generation.storing = stage
        self._out.append(Advance(generation.number, generation.oid, generation.request, generation.stage, stage, slots))

    def _stored(self, generation: Generation) -> None:
        """What is next once the stage is committed."""
        if generation.step is Awaited.RETURNING:
            generation.stage = "audited"
            self._try(generation)
            return
        if generation.step is Awaited.NOTING:
            self._need(generation)
            return
        generation.stage = generation.storing
        drafts = generation.drafts
        match generation.stage:
            case "reflected":
                self._publish(generation, personas=generation.plan.personas if generation.plan else [])
                self._find(generation)
            case "drafted":
                self._publish(generation, drafts=len(drafts))
                self._audit(generation)
            case "audited":
                self._publish(generation, fit=sum(not draft.outcome for draft in drafts), drafts=len(drafts))
                self._try_next(generation)
            case "tried":
                self._publish(generation, survived=sum(draft.outcome == "ok" for draft in drafts), **_sure(generation))
                self._conclude(generation)
            case _:
                self._refused(generation)

    # --- drafts --------------------------------------------------------------------------------------------------------

    def _reflect(self, generation: Generation) -> None:
        request = generation.request
        if request.offered is not None:
            self._store(generation, "reflected", plan={"offered": True}, author=request.author)
            return
        try:
            generation.plan = stages.plan_of(request.plan, self._drafts, self._most)
        except msgspec.ValidationError as error:
            self._misruled(generation, MIND, Refused, f"made a plan that cannot be used: {error}")
            return
        self._store(generation, "reflected", plan=msgspec.to_builtins(generation.plan))

    def _find(self, generation: Generation) -> None:
        """Where the drafts come from: a tool offers one, the library may have one, else the model writes them."""
        request = generation.request
        if request.offered is not None:
            self._drafted(generation, [Draft(source=request.offered, persona=request.author)])
            return
        generation.go(Awaited.SEARCHING)
        self._out.append(LookUpLibrary(generation.number, request))

    def _searched(self, generation: Generation, event: LibraryFound) -> None:
        if event.source and not any(one.contradicts(other) for one in event.clauses for other in generation.request.clauses):
            generation.request = msgspec.structs.replace(generation.request, clauses=merged(generation.request.clauses, event.clauses))
            self._drafted(generation, [Draft(source=event.source, persona=event.author)])
        elif generation.request.clauses and generation.earlier:
            self._drafted(generation, [stages.anew(draft) for draft in generation.earlier])
        else:
            generation.earlier = []
            self._commission(generation)

    def _commission(self, generation: Generation) -> None:
        if generation.plan is None:
            raise RuntimeError("a message is drafted after it was reflected")
        generation.go(Awaited.COMMISSIONING)
        self._out.append(DrawCommission(generation.number, generation.request, generation.plan))

    def _ask(self, generation: Generation) -> None:
        if generation.plan is None or generation.commission is None:
            raise RuntimeError("a message is drafted after it was reflected and commissioned")
        generation.written, generation.text = [], ""
        asked = questions.requests(
            generation.request,
            generation.plan,
            generation.commission,
            generation.drafts,
            rounds=generation.rounds,
            wide=generation.widened,
            seed=int.from_bytes(generation.oid),
            deadline_ms=self._deadline_ms,
            identifier=self._identifier,
        )
        generation.go(Awaited.WRITING)
        for persona, generate in list(asked):
            generation.questions[generate.id] = Question(persona, generate.samplings)
            self._out.append(AskWriter(generation.number, persona, generate))

    def _identifier(self, who: str) -> str:
        """A question's id, which this process has not used."""
        self._questions += 1
        return f"{self._owner}-{who}-{self._questions}"

    def _writing(self, generation: Generation, delta: WritingDelta) -> None:
        if delta.index:
            return
        generation.text += delta.text
        if self._now > generation.publish_at:
            generation.publish_at = self._now + PUBLISH_EVERY_S
            self._publish(generation, stage="drafting", text=generation.text[-PUBLISHED:])

    def _written(self, generation: Generation, event: Wrote | WriterFailed) -> None:
        question = generation.questions.pop(event.question)
        if isinstance(event, Wrote):
            signature = generation.request.reified["signature"]
            guided = generation.commission is None or generation.commission.manner(question.persona).guidance != "none"
            generation.written += questions.drafts_of(signature, question.persona, question.samplings, event.answer, guided)
        else:
            generation.failures.append(f"{question.persona}: {event.answer.type}: {event.answer.message}")
        if generation.questions:
            return
        if generation.drafts and (generation.written or generation.widened):
            self._redrafted(generation)
        elif generation.written:
            self._drafted(generation, generation.written)
        elif generation.drafts:
            self._refuse(generation, verdict(generation))
        else:
            text = "; ".join(generation.failures) or "no draft came back"
            remedy = "batos status shows the inference worker; batos logs inference tells more"
            self._refuse(generation, Refused(f"nothing was written for {generation.request.selector}: {text}", remedy))

    def _drafted(self, generation: Generation, drafts: list[Draft]) -> None:
        generation.drafts = stages.unique(drafts)
        self._store(generation, "drafted", drafts=storable_drafts(generation.drafts))

    def _redrafted(self, generation: Generation) -> None:
        """More drafts, after none of the first ones survived, or was good enough."""
        before = len(generation.drafts)
        examine(generation.written, generation.request, generation.withdrawn)  # the first ones are as the audit left them, too
        generation.drafts = stages.unique([*generation.drafts, *generation.written])
        self._publish(generation, stage="drafting", again=len(generation.drafts) - before)
        self._try_next(generation)

    def _audit(self, generation: Generation) -> None:
        examine(generation.drafts, generation.request, generation.withdrawn)
        self._store(generation, "audited", drafts=storable_drafts(generation.drafts))

    # --- trials --------------------------------------------------------------------------------------------------------

    def _try_next(self, generation: Generation) -> None:
        untried = (number for number, draft in enumerate(generation.drafts) if not draft.outcome)
        generation.trying = next(untried, -1)
        if generation.trying >= 0:
            generation.retrials = 0
            self._try(generation)
        else:
            self._weigh(generation)

    def _weigh(self, generation: Generation) -> None:
        """All drafts are tried: which of them is it, if any, and would more of them tell?"""
        drafts = generation.drafts
        if stages.fit(drafts):
            if _is_to_be_weighed(generation):
                generation.go(Awaited.CHOOSING)
                risk = self._risk_of(generation)
                self._out.append(ApplyRule(generation.number, generation.request, candidates(generation.request, drafts, risk)))
                return
        elif self._turns_to_the_model(generation):
            return
        elif generation.plan is not None and generation.rounds < AGAIN and declining(drafts) * 2 <= written(drafts):
            generation.rounds += 1
            self._commission(generation)
            return
        self._store(generation, "tried", drafts=storable_drafts(drafts))

    def _turns_to_the_model(self, generation: Generation) -> bool:
        """Whether none of the drafts that there were before will do, and the model is asked, with the examples in its prompt."""
        asks = generation.plan is not None and bool(generation.earlier)
        generation.earlier = []
        if asks:
            self._commission(generation)
        return asks

    def _risk_of(self, generation: Generation) -> float:
        return generation.request.risk or self._risk

    def _try(self, generation: Generation) -> None:
        request = generation.request
        if generation.testing:
            generation.begun = True
            generation.go(Awaited.TRYING)
            self._out.append(BeginTrial(generation.number, request, "", "", dict(generation.thoughts)))
            return
        draft = generation.draft
        trying = (other for other in self._by_number.values() if other.step is Awaited.TRYING and other is not generation)
        running = (other for other in trying if not other.testing)
        if any(other.request.receiver == request.receiver for other in running):
            generation.go(Awaited.QUEUED)
            return
        generation.begun = True
        generation.go(Awaited.TRYING)
        self._out.append(BeginTrial(generation.number, request, draft.source, draft.persona, dict(generation.thoughts)))

    def _tried(self, generation: Generation, outcome: TrialOutcome) -> None:
        if outcome.kind == "thought" and outcome.thought is not None and generation.retrials < RETRIALS:
            self._think(generation, outcome.thought)
        elif generation.testing:
            self._tested(generation, outcome)
        elif outcome.kind == "need" and outcome.need is not None and generation.request.preview:
            needed = outcome.need.selector
            self._unfit(generation, "NotUnderstood", f"needs {needed}, which nobody understands, and a preview writes one method alone")
        elif outcome.kind == "need" and outcome.need is not None and generation.retrials < RETRIALS and not outcome.need.made:
            self._probe(generation, outcome.need)
        else:
            generation.read[generation.trying] = dict(outcome.read)
            generation.looked[generation.trying] = list(outcome.looked)
            judge(generation.draft, outcome)
            if generation.draft.outcome == "ok":
                generation.outcomes[generation.trying] = outcome
            self._verdict(generation)

    def _tested(self, generation: Generation, outcome: TrialOutcome) -> None:
        """What a trial says of a method that is there, and of the examples that it is to satisfy."""
        request, failure = generation.request, tested(generation.request, outcome)
        why = {} if failure is None else {"why": failure.message}
        stage = "failed" if why else "held"
        self._publish(generation, stage=stage, examples=outcome.examples, passed=outcome.examples_passed, **why)
        generation.go(Awaited.KEEPING)
        if failure is None and request.keeps:
            self._out.append(KeepClauses(generation.number, request, list(outcome.looked)))
        else:
            self._end(generation, failure)

    def _unfit(self, generation: Generation, outcome: str, why: str) -> None:
        """The draft that is tried cannot be tried to its end."""
        if generation.testing:
            self._tested(generation, TrialOutcome(kind="failed", error=TrialError(outcome, why)))
            return
        generation.draft.outcome, generation.draft.why = outcome, why
        self._verdict(generation)

    def _verdict(self, generation: Generation) -> None:
        draft = generation.draft
        self._publish(generation, stage="trying", draft=generation.trying, outcome=draft.outcome, why=draft.why)
        self._try_next(generation)

    def _think(self, generation: Generation, thought: NeededThought) -> None:
        generation.retrials += 1
        question = self._identifier("thought")
        generation.questions[question] = Question(thought=thought.key)
        generation.go(Awaited.THINKING)
        self._out.append(AskThought(generation.number, question, thought, generation.request.session))

    def _thought(self, generation: Generation, event: ThoughtAnswered | ThoughtUnanswered) -> None:
        question = generation.questions.pop(event.question)
        if isinstance(event, ThoughtAnswered):
            generation.thoughts[question.thought] = event.text
            self._try(generation)
        else:  # as in service, where the message fails
            kind = event.answer.type
            self._unfit(generation, kind, f"asked the model, which did not answer: {kind}: {event.answer.message}")

    def _probe(self, generation: Generation, need: Need) -> None:
        """The draft sent a message that nothing understands: that method comes first, as a message of its own."""
        generation.retrials += 1
        generation.needs += 1
        if generation.needs > NEEDS:
            self._unfit(generation, "NotUnderstood", f"needs {need.selector}, after {NEEDS} other methods that drafts of it needed")
        elif generation.request.depth + 1 >= self._depth:
            self._unfit(generation, "TooDeep", f"needs {need.selector}, which nobody understands, {self._depth} deep")
        else:
            generation.go(Awaited.PROBING)
            self._out.append(ProbeNeed(generation.number, generation.request, need))

    def _probed(self, generation: Generation, needed: MethodRequest | str) -> None:
        if isinstance(needed, str):
            self._unfit(generation, "NotUnderstood", needed)
            return
        request = generation.request
        generation.needed = msgspec.structs.replace(
            needed,
            depth=request.depth + 1,
            asked_at=request.asked_at,
            principal=request.principal,
            limits=request.limits,
            risk=request.risk,
            # It was looked for with every right; it is written with those of whoever sent the message that needs it.
            rights=needed.rights & request.rights,
        )
        generation.go(Awaited.NOTING)
        self._out.append(NoteWait(generation.number, generation.oid, needed.key))

    def _need(self, generation: Generation) -> None:
        """What the message waits for is stored: it is a request like any other."""
        if generation.needed is None:
            raise RuntimeError("a need is noted after it was probed")
        self._publish(generation, needs=generation.needed.selector)
        generation.go(Awaited.NEEDING)
        self._request(generation.needed, Needing(generation.number))

    def _needed(self, generation: Generation, error: ImageError | None) -> None:
        if error is None:
            self._try(generation)
        else:
            selector = generation.needed.selector if generation.needed is not None else ""
            self._unfit(generation, "NotUnderstood", f"needs {selector}: {error.message}")

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _chosen(self, generation: Generation, answer: object) -> None:
        """The rule has answered: it is decided, or more drafts are to be written first."""
        drafts, fit = generation.drafts, stages.fit(generation.drafts)
        choice = choice_of(answer, fit)
        if choice is None:
            self._misruled(generation, CHOICE, Refused, f"chose none of {len(fit)} drafts", reasons=stages.reasons(drafts))
            return
        generation.choice = choice
        generation.decision = told(drafts, choice, self._risk_of(generation))
        if choice.index is None and self._turns_to_the_model(generation):
            return
        if self._may_widen(generation):
            generation.widened = True
            self._publish(generation, stage="weighed", drafts=written(drafts), **_sure(generation))
            self._commission(generation)
        else:
            self._store(generation, "tried", drafts=storable_drafts(drafts))

    def _may_widen(self, generation: Generation) -> bool:
        """Whether more drafts may decide it: they are asked for, once, unless the first ones agree and the rule takes one of them."""
        plan, drafts = generation.plan, generation.drafts
        if plan is None or generation.widened or written(drafts) >= plan.most or declining(drafts) * 2 > written(drafts):
            return False
        if generation.choice.confidence is None or generation.request.depth:
            return False  # a rule that is never in doubt; or the need of a draft, of which one message may have many
        return generation.choice.index is None or not agreed(drafts)

    def _conclude(self, generation: Generation) -> None:
        fit = stages.fit(generation.drafts)
        if not fit:
            self._refuse(generation, verdict(generation))
        elif not _is_to_be_weighed(generation):
            self._install(generation, fit[0])
        elif generation.choice.index is not None:
            self._install(generation, generation.choice.index)
        else:
            self._refuse(generation, undecided(generation))

    def _install(self, generation: Generation, chosen: int) -> None:
        generation.trying = chosen
        generation.go(Awaited.INSTALLING)
        self._out.append(
            Install(
                generation.number,
                generation.oid,
                generation.request,
                generation.draft.source,
                generation.draft.persona,
                proof(generation, chosen),
                generation.read.get(chosen, {}),
                storable_drafts(generation.drafts),
                generation.looked.get(chosen, []),
            )
        )

    def _changed(self, generation: Generation) -> None:
        """What the trial saw is not so any more: the draft that was chosen is tried again."""
        generation.retrials += 1
        if generation.retrials > RETRIALS:
            text = f"the objects that {generation.request.selector} was tried on keep changing"
            self._refuse(generation, Refused(text, "send it again when they rest"))
            return
        generation.draft.outcome = ""
        generation.go(Awaited.RETURNING)
        self._out.append(BackToTrial(generation.number, generation.oid))

    def _installed(self, generation: Generation, event: Installed) -> None:
        draft = generation.draft
        if generation.request.preview:
            seconds = self._now - generation.started
            self._publish(generation, stage="shown", source=draft.source, author=draft.persona, seconds=seconds, **_sure(generation))
            self._end(generation, None)
            return
        generation.stage = "installed"
        self.counters["installed"] += 1
        if event.corrected is not None:
            message, author = event.corrected
            self._out.append(Learn(message, [author], False))
        if draft.mode:
            self._out.append(Learn(generation.oid, [draft.persona], True))
        seconds = self._now - generation.started
        self._publish(generation, source=draft.source, author=draft.persona, seconds=seconds, **_sure(generation))
        self._end(generation, None)

    def _misruled(self, generation: Generation, failed: str, kind: type[ImageError], what: str, **details: object) -> None:
        """A policy method of the image's own has failed on the message, which is refused with how that method is mended."""
        selector = generation.request.selector
        text = f"{selector} was not written: the image's own {failed} {what}"
        generation.error = kind(text, selector=selector, failed=failed, **details)
        generation.go(Awaited.BLAMING)
        self._out.append(LookUpMending(generation.number, generation.request, failed))

    def _blamed(self, generation: Generation, remedy: str) -> None:
        if generation.error is None:
            raise RuntimeError("a policy method is blamed after it has failed")
        generation.error.remedy = remedy
        self._refuse(generation, generation.error)

    def _fail(self, generation: Generation, error: ImageError) -> None:
        if not generation.oid or generation.storing == "refused":
            self._end(generation, error)
        else:
            self._refuse(generation, error)

    def _refuse(self, generation: Generation, error: ImageError) -> None:
        error.details.setdefault("message", str(Reference(generation.oid)))
        self._cancel(generation)
        generation.error = error
        refusal = {"type": error.type, "message": error.message, "remedy": error.remedy, "details": storable(error.details)}
        self._store(generation, "refused", refusal=refusal, drafts=storable_drafts(generation.drafts))

    def _refused(self, generation: Generation) -> None:
        error = generation.error
        self.counters["refused"] += 1
        if generation.choice.draft is None:  # that the image is not sure of what is fit says nothing against its author
            authors = [draft.persona for draft in generation.drafts if draft.mode]
            self._out.append(Learn(generation.oid, authors, False))
        self._publish(generation, why=error.message if error is not None else "", **_sure(generation))
        self._end(generation, error)

    def _lose(self, generation: Generation) -> None:
        """Another process has taken the message over: it is watched from now on, by the same waiters."""
        self.counters["lost"] += 1
        self._cancel(generation)
        del self._by_number[generation.number]
        self._begin(generation.request, generation.waiters, Awaited.WATCHING)

    def _end(self, generation: Generation, error: ImageError | None) -> None:
        self._cancel(generation)
        del self._by_key[generation.request.key], self._by_number[generation.number]
        for waiter in generation.waiters:
            self._answer(waiter, error)

    def _cancel(self, generation: Generation) -> None:
        """Have nothing go on for it that nobody waits for."""
        self._out += [CancelQuestion(question) for question in generation.questions]
        generation.questions.clear()
        if generation.step is Awaited.TRYING:
            self._out.append(CancelTrial(generation.number))

    def _answer(self, waiter: Waiting, error: ImageError | None) -> None:
        if isinstance(waiter, Needing):
            self._out.append(ResolveNeed(waiter.generation, error))
        else:
            self._out.append(AnswerWaiter(waiter, error))

    def _publish(self, generation: Generation, stage: str = "", **detail: object) -> None:
        request = generation.request
        self._out.append(
            PublishProgress(generation.oid or request.tested, request.selector, request.receiver, stage or generation.stage, detail)
        )


def _is_to_be_weighed(generation: Generation) -> bool:
    """Whether the model wrote the drafts: what a tool offers, or the library has, somebody has decided on before."""
    return any(draft.mode for draft in generation.drafts)


def _sure(generation: Generation) -> dict[str, Any]:
    """How sure the image is of the draft that it holds for the best, where its rule says so."""
    return {"confidence": generation.choice.confidence} if generation.choice.confidence is not None else {}
