"""Trials: of drafts, one after the other, and of methods that are there. Pure.

A trial that asks the model, or needs another method, runs again with the answer, or once that method has come to its end. What a draft of
the model's needs is written last (decision 33): where no draft without a need will do, for one draft at a time, under the image's own risk,
and on another object only what changes nothing there.
"""

from itertools import chain

import msgspec

from uvm.errors import ImageError
from uvm.generation.events import ThoughtAnswered, ThoughtUnanswered
from uvm.generation.generation import NEEDS, RETRIALS, Awaited, Generation, Question
from uvm.generation.instructions import AskThought, BeginTrial, KeepClauses, NoteWait, ProbeNeed
from uvm.generation.process import choosing
from uvm.generation.process.registry import GenerationRegistry
from uvm.generation.request import MethodRequest
from uvm.generation.stages import NEEDS_METHOD, sends
from uvm.generation.verdicts import judge, tested
from uvm.trial.protocol import Need, NeededThought, TrialError, TrialOutcome


def try_next(registry: GenerationRegistry, generation: Generation) -> None:
    """Try the first draft that was not tried; where all are, weigh them."""
    untried = (number for number, draft in enumerate(generation.drafts) if not draft.outcome)
    generation.trying = next(untried, -1)
    if generation.trying >= 0:
        generation.retrials = 0
        begin(registry, generation)
    elif choosing.weigh(registry, generation):
        try_next(registry, generation)


def begin(registry: GenerationRegistry, generation: Generation) -> None:
    """Try the draft whose turn it is, or test the method that is there; a draft waits while another one of its receiver is tried."""
    if not generation.testing and _is_tried_on(registry, generation):
        generation.go(Awaited.QUEUED)
        return
    generation.begun = True
    generation.go(Awaited.TRYING)
    source, author = ("", "") if generation.testing else (generation.draft.source, generation.draft.persona)
    registry.instruct(BeginTrial(generation.number, generation.request, source, author, dict(generation.thoughts)))


def _is_tried_on(registry: GenerationRegistry, generation: Generation) -> bool:
    """Whether a draft for the same receiver is being tried already."""
    rivals = (rival for rival in registry.by_number.values() if rival is not generation and not rival.testing)
    return any(rival.step is Awaited.TRYING and rival.request.receiver == generation.request.receiver for rival in rivals)


def ended(registry: GenerationRegistry, generation: Generation, outcome: TrialOutcome) -> None:
    """The trial has ended, or has come as far as a thought or another method that it needs."""
    if outcome.kind == "thought" and outcome.thought is not None and generation.retrials < RETRIALS:
        _think(registry, generation, outcome.thought)
    elif generation.testing:
        _tested(registry, generation, outcome)
    elif outcome.kind == "need" and outcome.need is not None and generation.request.preview:
        needed = outcome.need.selector
        _unfit(registry, generation, "NotUnderstood", f"needs {needed}, which nobody understands, and a preview writes one method alone")
    elif outcome.kind == "need" and outcome.need is not None and generation.retrials < RETRIALS and not outcome.need.made:
        _need(registry, generation, outcome.need)
    elif outcome.kind == "ok" and generation.request.still and (changed := _changed(outcome)):
        _unfit(registry, generation, "Meddling", f"changes {changed}, and no more than a draft for another object's message needs it")
    else:
        generation.read[generation.trying] = dict(outcome.read)
        generation.looked[generation.trying] = list(outcome.looked)
        judge(generation.draft, outcome)
        if generation.draft.outcome == "ok":
            generation.outcomes[generation.trying] = outcome
        _judged(registry, generation)


def _tested(registry: GenerationRegistry, generation: Generation, outcome: TrialOutcome) -> None:
    """What a trial says of a method that is there, and of the examples that it is to satisfy."""
    request, failure = generation.request, tested(generation.request, outcome)
    why = {} if failure is None else {"why": failure.message}
    stage = "failed" if why else "held"
    registry.publish(generation, stage=stage, examples=outcome.examples, passed=outcome.examples_passed, **why)
    generation.go(Awaited.KEEPING)
    if failure is None and request.keeps:
        registry.instruct(KeepClauses(generation.number, request, list(outcome.looked)))
    else:
        registry.finish(generation, failure)


def _unfit(registry: GenerationRegistry, generation: Generation, outcome: str, why: str) -> None:
    """The draft that is tried cannot be tried to its end."""
    if generation.testing:
        _tested(registry, generation, TrialOutcome(kind="failed", error=TrialError(outcome, why)))
        return
    generation.draft.outcome, generation.draft.why = outcome, why
    _judged(registry, generation)


def _judged(registry: GenerationRegistry, generation: Generation) -> None:
    """The draft has its outcome: the next one's turn."""
    draft = generation.draft
    registry.publish(generation, stage="trying", draft=generation.trying, outcome=draft.outcome, why=draft.why)
    try_next(registry, generation)


def _think(registry: GenerationRegistry, generation: Generation, thought: NeededThought) -> None:
    """The draft asked the model: it goes on once that is answered."""
    generation.retrials += 1
    question = registry.identifier("thought")
    generation.questions[question] = Question(thought=thought.key)
    generation.go(Awaited.THINKING)
    registry.instruct(AskThought(generation.number, question, thought, generation.request.session))


def thought_ended(registry: GenerationRegistry, generation: Generation, event: ThoughtAnswered | ThoughtUnanswered) -> None:
    """The model has answered what the draft asked in its trial, or will not."""
    question = generation.questions.pop(event.question)
    if isinstance(event, ThoughtAnswered):
        generation.thoughts[question.thought] = event.text
        begin(registry, generation)
    else:  # as in service, where the message fails
        kind = event.answer.type
        _unfit(registry, generation, kind, f"asked the model, which did not answer: {kind}: {event.answer.message}")


def _changed(outcome: TrialOutcome) -> str:
    """A slot that a draft changes, on the real values or on varied ones; empty where it changes nothing."""
    varied = (name for run in outcome.varied for name in run.changed)
    return next(chain((effect.slot for effect in outcome.effects), varied), "")


def _need(registry: GenerationRegistry, generation: Generation, need: Need) -> None:
    """The draft sent what nothing understands. Of what the model wrote, a draft that needs no other method comes first, and no method is
    written for a slot that is not there.
    """
    if generation.testing or not generation.draft.mode:
        _probe(registry, generation, need)  # somebody has decided on it before
    elif not sends(generation.draft.source, need.selector):
        _unfit(
            registry, generation, "NotUnderstood", f"reads {need.selector}, which is no slot there, and which it does not send as a message"
        )
    elif generation.trying not in generation.granted:
        generation.deferred[generation.trying] = need.selector
        _unfit(registry, generation, NEEDS_METHOD, f"needs {need.selector}, which nobody understands")
    else:
        _probe(registry, generation, need)


def _probe(registry: GenerationRegistry, generation: Generation, need: Need) -> None:
    """The draft sent a message that nothing understands: that method comes first, as a message of its own."""
    generation.retrials += 1
    generation.needs += 1
    if generation.needs > NEEDS:
        _unfit(registry, generation, "NotUnderstood", f"needs {need.selector}, after {NEEDS} other methods that drafts of it needed")
    elif generation.request.depth + 1 >= registry.settings.depth:
        _unfit(registry, generation, "TooDeep", f"needs {need.selector}, which nobody understands, {registry.settings.depth} deep")
    else:
        generation.go(Awaited.PROBING)
        registry.instruct(ProbeNeed(generation.number, generation.request, need))


def need_probed(registry: GenerationRegistry, generation: Generation, needed: MethodRequest | str) -> None:
    """The request for the method that the draft needs, or why there can be none."""
    if isinstance(needed, str):
        _unfit(registry, generation, "NotUnderstood", needed)
        return
    request, image_risk = generation.request, registry.settings.risk
    generation.needed = msgspec.structs.replace(
        needed,
        depth=request.depth + 1,
        asked_at=request.asked_at,
        principal=request.principal,
        limits=request.limits,
        # Who sends a message takes a risk for its receiver. What comes to stand elsewhere, others share.
        risk=request.risk if needed.receiver == request.receiver else min(request.risk or image_risk, image_risk),
        still=request.still or needed.receiver != request.receiver,
        # It was looked for with every right; it is written with those of whoever sent the message that needs it.
        rights=needed.rights & request.rights,
    )
    generation.go(Awaited.NOTING)
    registry.instruct(NoteWait(generation.number, generation.oid, needed.key))


def need_noted(registry: GenerationRegistry, generation: Generation) -> MethodRequest:
    """What the message waits for is stored: a request like any other, which is answered."""
    if generation.needed is None:
        raise RuntimeError("a need is noted after it was probed")
    registry.publish(generation, needs=generation.needed.selector)
    generation.go(Awaited.NEEDING)
    return generation.needed


def need_resolved(registry: GenerationRegistry, generation: Generation, error: ImageError | None) -> None:
    """The method that the draft needs is installed, or will not be."""
    selector = generation.needed.selector if generation.needed is not None else ""
    if error is None:
        generation.reopen([number for number, needed in generation.deferred.items() if needed == selector])
        begin(registry, generation)
    else:
        _unfit(registry, generation, "NotUnderstood", f"needs {selector}: {error.message}")
