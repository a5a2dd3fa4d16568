"""Ends: a draft is installed, tried again because what it saw has changed, or its message is refused, with the reason stored. Pure."""

from uvm.errors import ImageError, Refused
from uvm.generation import stages
from uvm.generation.events import Installed
from uvm.generation.generation import RETRIALS, Awaited, Generation
from uvm.generation.instructions import BackToTrial, DraftInShadow, Install, Learn, LookUpMending
from uvm.generation.process.registry import GenerationRegistry
from uvm.generation.stages import storable_drafts
from uvm.generation.verdicts import proof, storable, undecided, verdict
from uvm.protocol import Reference


def conclude(registry: GenerationRegistry, generation: Generation) -> None:
    """All that was to be decided is decided, and stored."""
    fit = stages.fit(generation.drafts)
    if not fit:
        refuse(registry, generation, verdict(generation))
    elif not generation.written_by_model:
        install(registry, generation, fit[0])
    elif generation.choice.index is not None:
        install(registry, generation, generation.choice.index)
    else:
        refuse(registry, generation, undecided(generation))


def install(registry: GenerationRegistry, generation: Generation, chosen: int) -> None:
    """Have a draft committed as the method."""
    generation.trying = chosen
    generation.go(Awaited.INSTALLING)
    registry.instruct(
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


def changed(registry: GenerationRegistry, generation: Generation) -> None:
    """What the trial saw is not so any more: the draft that was chosen is tried again."""
    generation.retrials += 1
    if generation.retrials > RETRIALS:
        text = f"the objects that {generation.request.selector} was tried on keep changing"
        refuse(registry, generation, Refused(text, "send it again when they rest"))
        return
    generation.draft.outcome = ""
    generation.go(Awaited.RETURNING)
    registry.instruct(BackToTrial(generation.number, generation.oid))


def installed(registry: GenerationRegistry, generation: Generation, event: Installed) -> None:
    """The method is committed, or kept to be shown."""
    draft = generation.draft
    if generation.request.preview:
        seconds = registry.now - generation.started
        registry.publish(generation, stage="shown", source=draft.source, author=draft.persona, seconds=seconds, **generation.confidence)
        registry.finish(generation, None)
        return
    generation.stage = "installed"
    registry.counters["installed"] += 1
    if event.corrected is not None:
        message, author = event.corrected
        registry.instruct(Learn(message, [author], False))
    if draft.mode:
        did, did_not = stages.authors_of(generation.drafts, generation.trying)
        registry.instruct(Learn(generation.oid, did, True), *([Learn(generation.oid, did_not, False)] if did_not else []))
    _may_be_shadowed(registry, generation, draft.group)
    seconds = registry.now - generation.started
    registry.publish(generation, source=draft.source, author=draft.persona, seconds=seconds, **generation.confidence)
    registry.finish(generation, None)


def policy_failed(
    registry: GenerationRegistry, generation: Generation, failed: str, kind: type[ImageError], fault: str, **details: object
) -> None:
    """A policy method of the image's own has failed on the message, which is refused with how that method is mended."""
    selector = generation.request.selector
    text = f"{selector} was not written: the image's own {failed} {fault}"
    generation.error = kind(text, selector=selector, failed=failed, **details)
    generation.go(Awaited.BLAMING)
    registry.instruct(LookUpMending(generation.number, generation.request, failed))


def mending_found(registry: GenerationRegistry, generation: Generation, remedy: str) -> None:
    """How it is mended is the refusal's remedy."""
    if generation.error is None:
        raise RuntimeError("a policy method is blamed after it has failed")
    generation.error.remedy = remedy
    refuse(registry, generation, generation.error)


def fail(registry: GenerationRegistry, generation: Generation, error: ImageError) -> None:
    """A step could not be carried out: the message is refused, if that can be stored."""
    if not generation.oid or generation.storing == "refused":
        registry.finish(generation, error)
    else:
        refuse(registry, generation, error)


def refuse(registry: GenerationRegistry, generation: Generation, error: ImageError) -> None:
    """Store why there is no method."""
    error.details.setdefault("message", str(Reference(generation.oid)))
    registry.cancel(generation)
    generation.error = error
    refusal = {"type": error.type, "message": error.message, "remedy": error.remedy, "details": storable(error.details)}
    registry.store(generation, "refused", refusal=refusal, drafts=storable_drafts(generation.drafts))


def refused(registry: GenerationRegistry, generation: Generation) -> None:
    """The refusal is stored."""
    error = generation.error
    registry.counters["refused"] += 1
    if generation.choice.draft is None:  # that the image is not sure of what is fit says nothing against its author
        authors = [draft.persona for draft in generation.drafts if draft.mode]
        registry.instruct(Learn(generation.oid, authors, False))
    _may_be_shadowed(registry, generation)
    registry.publish(generation, why=error.message if error is not None else "", **generation.confidence)
    registry.finish(generation, error)


def _may_be_shadowed(registry: GenerationRegistry, generation: Generation, group: str | None = None) -> None:
    """The message's drafts were the image's own model's, written for somebody who waits for no other message: they can be compared."""
    request, plan, commission = generation.request, generation.plan, generation.commission
    at_home = all(draft.mode and not draft.endpoint for draft in generation.drafts)
    if plan is None or commission is None or request.preview or request.depth or not generation.drafts or not at_home:
        return
    read = [tid for records in generation.read.values() for tid in records.values()]
    if read:
        fit = bool(stages.fit(generation.drafts))
        registry.instruct(DraftInShadow(generation.oid, request, plan, commission, group is not None, group or "", fit, max(read)))
