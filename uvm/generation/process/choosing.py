"""All drafts are tried: whether the image's rule takes one of them, or more are to be written first. Pure."""

from uvm.errors import Refused
from uvm.generation import stages
from uvm.generation.decision import agreed, candidates, choice_of, told
from uvm.generation.features import declining, written
from uvm.generation.generation import AGAIN, Awaited, Generation
from uvm.generation.instructions import ApplyRule
from uvm.generation.process import ends, writing
from uvm.generation.process.registry import GenerationRegistry
from uvm.generation.stages import storable_drafts
from uvm.runtime.policy import CHOICE


def weigh(registry: GenerationRegistry, generation: Generation) -> bool:
    """All drafts are tried: which of them is it, if any, and would more of them tell? Whether one that waited is to be tried now."""
    drafts = generation.drafts
    if stages.fit(drafts):
        if generation.written_by_model:
            generation.go(Awaited.CHOOSING)
            risk = _risk_of(registry, generation)
            registry.instruct(ApplyRule(generation.number, generation.request, candidates(generation.request, drafts, risk)))
            return False
    elif _turns_to_the_model(registry, generation):
        return False
    elif _grants(generation):
        return True
    elif generation.plan is not None and generation.rounds < AGAIN and declining(drafts) * 2 <= written(drafts):
        generation.rounds += 1
        writing.commission(registry, generation)
        return False
    registry.store(generation, "tried", drafts=storable_drafts(drafts))
    return False


def _turns_to_the_model(registry: GenerationRegistry, generation: Generation) -> bool:
    """Whether none of the drafts that there were before will do, and the model is asked, with the examples in its prompt."""
    asks = generation.plan is not None and bool(generation.earlier)
    generation.earlier = []
    if asks:
        writing.commission(registry, generation)
    return asks


def _risk_of(registry: GenerationRegistry, generation: Generation) -> float:
    """The risk that the sender takes, or this process."""
    return generation.request.risk or registry.settings.risk


def chosen(registry: GenerationRegistry, generation: Generation, answer: object) -> bool:
    """The rule has answered: it is decided, or more drafts are to be written first. Whether one that waited is to be tried now."""
    drafts, fit = generation.drafts, stages.fit(generation.drafts)
    choice = choice_of(answer, fit)
    if choice is None:
        ends.policy_failed(registry, generation, CHOICE, Refused, f"chose none of {len(fit)} drafts", reasons=stages.reasons(drafts))
        return False
    generation.choice = choice
    generation.decision = told(drafts, choice, _risk_of(registry, generation))
    if choice.index is None and _turns_to_the_model(registry, generation):
        return False
    if _may_widen(generation):
        generation.widened = True
        registry.publish(generation, stage="weighed", drafts=written(drafts), **generation.confidence)
        writing.commission(registry, generation)
        return False
    if choice.index is None and _grants(generation):
        return True
    registry.store(generation, "tried", drafts=storable_drafts(drafts))
    return False


def _grants(generation: Generation) -> bool:
    """Whether there is a draft that waits for another method, and that is to be written now: of the others none will do, and most do not
    decline. One draft at a time, the first one first, so that no more is written than is used.
    """
    drafts = generation.drafts
    if not generation.deferred or declining(drafts) * 2 > written(drafts):
        return False
    number = min(generation.deferred)
    generation.granted.add(number)
    generation.reopen([number])
    return True


def _may_widen(generation: Generation) -> bool:
    """Whether more drafts may decide it: they are asked for, once, unless the first ones agree and the rule takes one of them."""
    plan, drafts = generation.plan, generation.drafts
    if plan is None or generation.widened or written(drafts) >= plan.most or declining(drafts) * 2 > written(drafts):
        return False
    if generation.choice.confidence is None or generation.request.depth:
        return False  # a rule that is never in doubt; or the need of a draft, of which one message may have many
    return generation.choice.index is None or not agreed(drafts)
