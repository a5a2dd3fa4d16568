"""The writing of methods, decided: from a request to an installed method or a stored refusal. No clock, no database, no model.

Called by the UVM's one thread, through `uvm.generation.writers`: `GenerationProcess.handle(event, now)` takes what happened and returns
what is to be done, in order; `now` is monotonic seconds. It owns every generation from its request to the answer of whoever waits.

* Requests of one key (`MethodRequest.key`) are one generation: the first one begins it, the others wait for the same end. There are
  at most `MOST`; the next one is told to come again.
* A generation first claims its message. What another process has claimed is watched, and claimed when that one's lease ends.
* Then it waits for one thing at a time (`Awaited`), and does the next one when that has come. What may come is `TAKES`'s.
* A draft that sends what nobody understands waits: where another one will do, that one is taken. Else the method is written for it, which
  is a request like any other, one level deep; a slot that a draft reads and that is not there is no such need. What the draft asks the
  model is answered, and the trial runs again. How often all this may happen is bounded: `RETRIALS`, `NEEDS`, `AGAIN`, and the depth of the
  chain.
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
from typing import assert_never

from uvm.errors import Contention, NoSuchObject, Refused
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
    QuestionEvent,
    RuleFailed,
    StepEvent,
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
from uvm.generation.generation import Awaited, Generation, Needing
from uvm.generation.instructions import GenerationInstruction
from uvm.generation.process import choosing, ends, requests, trials, writing
from uvm.generation.process.registry import GenerationRegistry, ProcessSettings
from uvm.runtime.policy import CHOICE, MIND


class GenerationProcess:
    """All methods that one UVM writes, or waits for others to write. One thread uses it."""

    def __init__(self, settings: ProcessSettings) -> None:
        self.registry = GenerationRegistry(settings)

    # --- what the driver asks ------------------------------------------------------------------------------------------

    def handle(self, event: GenerationEvent, now: float) -> list[GenerationInstruction]:
        """What to do about `event`. Raises InvalidTransition for one that cannot happen.

        After any error, what had been decided before it is returned with the next event; StepFailed is the one to send then.
        """
        self.registry.now = now
        match event:
            case MethodRequested(waiter, request):
                requests.accept(self.registry, request, waiter)
            case TimePassed():
                requests.tick(self.registry)
            case _:
                self._step(event)
        return self.registry.drain()

    def let_go(self) -> list[GenerationInstruction]:
        """The UVM ends: cancel what runs. Others take the messages over when the leases end."""
        for generation in self.registry.by_number.values():
            self.registry.cancel(generation)
        self.registry.by_key.clear()
        self.registry.by_number.clear()
        return self.registry.drain()

    def __len__(self) -> int:
        """Generations that are this process's own."""
        return sum(generation.step not in (Awaited.CLAIMING, Awaited.WATCHING) for generation in self.registry.by_number.values())

    @property
    def counters(self) -> Counter[str]:
        """What has happened so far: how many were installed, refused and lost, and how many events came late."""
        return self.registry.counters

    def principal_of(self, number: int) -> str:
        """Whose request a generation is; nobody's, if it is over."""
        generation = self.registry.by_number.get(number)
        return generation.request.principal if generation is not None else ""

    def statistics(self) -> dict[str, int]:
        """How many generations are in each step, and what has happened so far."""
        return dict(Counter(generation.step.value for generation in self.registry.by_number.values()) | self.counters)

    # --- what happened to one generation -------------------------------------------------------------------------------

    def _step(self, event: StepEvent) -> None:
        generation = self.registry.by_number.get(event.generation)
        if generation is None or (isinstance(event, QuestionEvent) and event.question not in generation.questions):
            self.registry.counters["stale"] += 1
            return
        if generation.storing == "refused" and not isinstance(event, StepStored | ClaimLost | ConflictsLost | StepFailed):
            self.registry.counters["stale"] += 1  # it has let go of all that could still be on its way
            return
        generation.check(event)
        match event:
            case Claimed():
                requests.claimed(self.registry, generation, event.claim)
            case StepStored():
                self._stored(generation)
            case ClaimLost():
                self.registry.lose(generation)
            case ConflictsLost():
                text = f"{generation.request.selector} lost too many conflicts: {event.reason}"
                self.registry.finish(generation, Contention(text[:300], "send it again"))
            case StepFailed():
                ends.fail(self.registry, generation, event.error)
            case LibraryFound():
                writing.searched(self.registry, generation, event)
            case Commissioned():
                generation.commission = event.commission
                writing.ask(self.registry, generation)
            case PersonaUnknown():
                ends.policy_failed(self.registry, generation, MIND, NoSuchObject, f"asks for a persona that is not there: {event.reason}")
            case WritingDelta():
                writing.stream(self.registry, generation, event)
            case Wrote() | WriterFailed():
                if writing.answered(self.registry, generation, event):
                    trials.try_next(self.registry, generation)
            case TrialEnded():
                trials.ended(self.registry, generation, event.outcome)
            case TrialBusy():
                generation.go(Awaited.QUEUED)
            case ThoughtAnswered() | ThoughtUnanswered():
                trials.thought_ended(self.registry, generation, event)
            case NeedProbed():
                trials.need_probed(self.registry, generation, event.needed)
            case NeedResolved():
                trials.need_resolved(self.registry, generation, event.error)
            case Chosen():
                if choosing.chosen(self.registry, generation, event.answer):
                    trials.try_next(self.registry, generation)
            case RuleFailed():
                ends.policy_failed(self.registry, generation, CHOICE, Refused, f"failed on its drafts: {event.reason}")
            case MendingFound():
                ends.mending_found(self.registry, generation, event.remedy)
            case Installed():
                ends.installed(self.registry, generation, event)
            case ObjectsChanged():
                ends.changed(self.registry, generation)
            case ClausesKept():
                self.registry.finish(generation, None)
            case _:
                assert_never(event)

    def _stored(self, generation: Generation) -> None:
        """What is next once the stage is committed."""
        if generation.step is Awaited.RETURNING:
            generation.stage = "audited"
            trials.begin(self.registry, generation)
            return
        if generation.step is Awaited.NOTING:
            needed = trials.need_noted(self.registry, generation)
            requests.accept(self.registry, needed, Needing(generation.number))
            return
        generation.stage = generation.storing
        drafts = generation.drafts
        match generation.stage:
            case "reflected":
                self.registry.publish(generation, personas=generation.plan.personas if generation.plan else [])
                writing.find(self.registry, generation)
            case "drafted":
                self.registry.publish(generation, drafts=len(drafts))
                writing.audit(self.registry, generation)
            case "audited":
                self.registry.publish(generation, fit=sum(not draft.outcome for draft in drafts), drafts=len(drafts))
                trials.try_next(self.registry, generation)
            case "tried":
                self.registry.publish(generation, survived=sum(draft.outcome == "ok" for draft in drafts), **generation.confidence)
                ends.conclude(self.registry, generation)
            case _:
                ends.refused(self.registry, generation)
