"""Requests, and whose they are: the first of a key begins a generation, which claims its message; the others wait for the same end. Pure.

Leases are renewed, and what others have claimed is watched, as time passes.
"""

from typing import Final

import msgspec

from uvm.errors import GenerationBusy, GenerationOff, ImageError
from uvm.generation.generation import LASTING, Awaited, Generation, Waiting
from uvm.generation.instructions import RenewLease, TakeClaim
from uvm.generation.process import trials, writing
from uvm.generation.process.registry import GenerationRegistry
from uvm.generation.request import MethodRequest
from uvm.generation.stages import NEEDS_METHOD, Claim
from uvm.generation.verdicts import contradiction, refusal_of, with_clauses

MOST: Final = 64
"""Messages that one UVM carries to their methods, or watches, at a time."""
WATCH_EVERY_S: Final = 0.2
RENEW_EVERY_S: Final = 5.0
"""Between two looks at what others have claimed, and two renewals of a lease."""


def accept(registry: GenerationRegistry, request: MethodRequest, waiter: Waiting) -> None:
    """A message cannot go on without a method: begin one, wait for the one that is begun, or say why there can be none."""
    generation = registry.by_key.get(request.key)
    clash = contradiction(generation.request, request) if generation is not None else None
    if request.offered is None and not request.tested and not registry.settings.may_write:
        why = "does not do what its examples say" if request.replaces else "is not understood"
        error: ImageError = GenerationOff(
            f"{request.selector} {why}, and writing methods is off here",
            "batos doctor says which layer of confinement the host lacks; uvm.generation = 'always' goes without",
        )
        registry.answer(waiter, error)
    elif clash is not None:
        registry.answer(waiter, clash)
    elif generation is not None:
        generation.waiters.append(waiter)
        if not generation.begun:  # who comes later finds out when it runs again
            joined = with_clauses(generation.request, request.clauses)
            generation.request = msgspec.structs.replace(joined, still=joined.still and request.still)
    elif len(registry.by_key) >= MOST:
        text = f"{MOST} methods are being written here already, and {request.selector} was not begun"
        registry.answer(waiter, GenerationBusy(text, "send it again in a moment"))
    elif request.tested:
        generation = registry.begin(request, [waiter], Awaited.QUEUED)
        registry.publish(generation, stage="testing", examples=len(request.clauses))
        trials.begin(registry, generation)
    else:
        generation = registry.begin(request, [waiter], Awaited.CLAIMING)
        registry.instruct(TakeClaim(generation.number, request))


def claimed(registry: GenerationRegistry, generation: Generation, claim: Claim) -> None:
    """Whose the message is: another process's, one that has ended, or this one's, to be written from where it stands."""
    if claim.state == "theirs":
        generation.go(Awaited.WATCHING)
    elif claim.state == "installed":
        registry.finish(generation, None)
    elif claim.state == "refused":
        registry.finish(generation, refusal_of(claim.refusal))
    else:
        generation.oid, generation.stage, generation.drafts = claim.oid, claim.stage, claim.drafts
        generation.withdrawn, generation.earlier, generation.refused = claim.withdrawn, claim.earlier, claim.earlier
        generation.started, generation.renew_at = registry.now, registry.now + RENEW_EVERY_S
        request = generation.request
        registry.publish(generation, call=request.reified.get("call", request.selector), resumed=claim.stage != "reified")
        if generation.drafts:
            for draft in generation.drafts:  # another process tried them, on what it had to satisfy
                draft.outcome = "" if draft.outcome in ("ok", NEEDS_METHOD) else draft.outcome
            writing.audit(registry, generation)
        else:
            writing.reflect(registry, generation)


def tick(registry: GenerationRegistry) -> None:
    """Drafts whose turn it may be now, leases that are to be renewed, messages of others to look at."""
    watch = registry.now > registry.watch_at
    if watch:
        registry.watch_at = registry.now + WATCH_EVERY_S
    for generation in list(registry.by_number.values()):
        if generation.step is Awaited.QUEUED:
            trials.begin(registry, generation)
        if generation.step in LASTING and not generation.testing and registry.now > generation.renew_at:
            generation.renew_at = registry.now + RENEW_EVERY_S
            registry.instruct(RenewLease(generation.number, generation.oid, generation.stage))
        elif generation.step is Awaited.WATCHING and watch:
            generation.go(Awaited.CLAIMING)
            registry.instruct(TakeClaim(generation.number, generation.request))
