"""Where drafts come from: what a tool offers, the library has or a refusal has kept, else the model, in rounds; and their audit. Pure."""

from typing import Final

import msgspec

from uvm.errors import Refused
from uvm.generation import questions, stages
from uvm.generation.events import LibraryFound, WriterFailed, WritingDelta, Wrote
from uvm.generation.generation import Awaited, Generation, Question
from uvm.generation.instructions import AskWriter, DrawCommission, LookUpLibrary
from uvm.generation.process import ends
from uvm.generation.process.registry import GenerationRegistry
from uvm.generation.stages import Draft, storable_drafts
from uvm.generation.verdicts import examine, verdict
from uvm.runtime.policy import MIND
from uvm.values.examples import merged

PUBLISH_EVERY_S: Final = 0.25
"""Between two publications of what the model is writing."""
PUBLISHED: Final = 4000
"""Characters of a text being written that are published: the last ones."""


def reflect(registry: GenerationRegistry, generation: Generation) -> None:
    """What the image's plan, or a tool's offer, says of how it is drafted."""
    request, settings = generation.request, registry.settings
    if request.offered is not None:
        registry.store(generation, "reflected", plan={"offered": True}, author=request.author)
        return
    try:
        generation.plan = stages.plan_of(request.plan, settings.drafts, max(settings.drafts, settings.most))
    except msgspec.ValidationError as error:
        ends.policy_failed(registry, generation, MIND, Refused, f"made a plan that cannot be used: {error}")
        return
    registry.store(generation, "reflected", plan=msgspec.to_builtins(generation.plan))


def find(registry: GenerationRegistry, generation: Generation) -> None:
    """Where the drafts come from: a tool offers one, the library may have one, else the model writes them."""
    request = generation.request
    if request.offered is not None:
        _drafted(registry, generation, [Draft(source=request.offered, persona=request.author)])
        return
    generation.go(Awaited.SEARCHING)
    registry.instruct(LookUpLibrary(generation.number, request))


def searched(registry: GenerationRegistry, generation: Generation, event: LibraryFound) -> None:
    """The library has a method, the last refusal has drafts, or the model is asked."""
    if event.source and not any(stored.contradicts(clause) for stored in event.clauses for clause in generation.request.clauses):
        generation.request = msgspec.structs.replace(generation.request, clauses=merged(generation.request.clauses, event.clauses))
        _drafted(registry, generation, [Draft(source=event.source, persona=event.author)])
    elif generation.request.clauses and generation.earlier:
        _drafted(registry, generation, [stages.anew(draft) for draft in generation.earlier])
    else:
        generation.earlier = []
        commission(registry, generation)


def commission(registry: GenerationRegistry, generation: Generation) -> None:
    """Have found what the model is asked with."""
    if generation.plan is None:
        raise RuntimeError("a message is drafted after it was reflected")
    generation.go(Awaited.COMMISSIONING)
    registry.instruct(DrawCommission(generation.number, generation.request, generation.plan))


def ask(registry: GenerationRegistry, generation: Generation) -> None:
    """Ask the model for a round of drafts."""
    if generation.plan is None or generation.commission is None:
        raise RuntimeError("a message is drafted after it was reflected and commissioned")
    generation.written, generation.text = [], ""
    before = [*generation.refused, *(generation.drafts if generation.rounds else [])]
    generation.commission = msgspec.structs.replace(generation.commission, refused=stages.refused_lines(before))
    requests = questions.requests(
        generation.request,
        generation.plan,
        generation.commission,
        generation.drafts,
        rounds=generation.rounds,
        wide=generation.widened,
        seed=int.from_bytes(generation.oid),
        deadline_ms=registry.settings.deadline_ms,
        identifier=registry.identifier,
    )
    generation.go(Awaited.WRITING)
    for persona, generate in list(requests):
        generation.questions[generate.id] = Question(persona, generate.samplings)
        registry.instruct(AskWriter(generation.number, persona, generate))


def stream(registry: GenerationRegistry, generation: Generation, delta: WritingDelta) -> None:
    """Publish the end of what the model is writing, of the first draft."""
    if delta.index:
        return
    generation.text += delta.text
    if registry.now > generation.publish_at:
        generation.publish_at = registry.now + PUBLISH_EVERY_S
        registry.publish(generation, stage="drafting", text=generation.text[-PUBLISHED:])


def answered(registry: GenerationRegistry, generation: Generation, event: Wrote | WriterFailed) -> bool:
    """The model has answered a question, or will not. Whether there are more drafts for that, which are to be tried like the first ones."""
    question = generation.questions.pop(event.question)
    if isinstance(event, Wrote):
        signature = generation.request.reified["signature"]
        guided = generation.commission is None or generation.commission.manner(question.persona).guidance != "none"
        generation.written += questions.drafts_of(signature, question.persona, question.samplings, event.answer, guided)
    else:
        generation.failures.append(f"{question.persona}: {event.answer.type}: {event.answer.message}")
    if generation.questions:
        return False
    if generation.drafts and (generation.written or generation.widened):
        _extend(registry, generation)
        return True
    if generation.written:
        _drafted(registry, generation, generation.written)
    elif generation.drafts:
        ends.refuse(registry, generation, verdict(generation))
    else:
        text = "; ".join(generation.failures) or "no draft came back"
        remedy = "batos status shows the inference worker; batos logs inference tells more"
        ends.refuse(registry, generation, Refused(f"nothing was written for {generation.request.selector}: {text}", remedy))
    return False


def _drafted(registry: GenerationRegistry, generation: Generation, drafts: list[Draft]) -> None:
    """Store the first drafts."""
    generation.drafts = stages.unique(drafts)
    registry.store(generation, "drafted", drafts=storable_drafts(generation.drafts))


def _extend(registry: GenerationRegistry, generation: Generation) -> None:
    """More drafts, after none of the first ones survived, or was good enough."""
    before = len(generation.drafts)
    examine(generation.written, generation.request, generation.withdrawn)  # the first ones are as the audit left them, too
    generation.drafts = stages.unique([*generation.drafts, *generation.written])
    registry.publish(generation, stage="drafting", again=len(generation.drafts) - before)


def audit(registry: GenerationRegistry, generation: Generation) -> None:
    """Audit the drafts, and store what it says of them."""
    examine(generation.drafts, generation.request, generation.withdrawn)
    registry.store(generation, "audited", drafts=storable_drafts(generation.drafts))
