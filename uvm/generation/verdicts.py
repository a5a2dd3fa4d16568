"""What is said of drafts: by a trial, in a method's proof, and when none was good enough. Pure, but for the draft that is judged."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from uvm.errors import AuditRefused, Contradiction, ExampleFailed, ImageError, Refused, TrialFailed
from uvm.generation import stages
from uvm.generation.decision import choices, question
from uvm.generation.features import declining, written
from uvm.generation.generation import Generation
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Draft
from uvm.language.audit import audit, meaning
from uvm.protocol import Reference, encode_value
from uvm.runtime.policy import HANDLER
from uvm.trial.likeness import digest, of_run
from uvm.trial.protocol import TrialOutcome
from uvm.values.examples import Clause, agree, merged

KEPT_BYTES: Final = 16_384
"""Bytes of a trial's result, and of its effects, that are kept as they are."""


def examine(drafts: Sequence[Draft], request: MethodRequest, withdrawn: Mapping[str, str] | None = None) -> None:
    """Audit drafts: forgotten marks go into the sources, and what is not in the language is unfit. Changes the drafts.

    So is what means the same as a method that was taken back (`withdrawn`: what it means → why), unless the sender has an example to tell
    by: a draft that passes it is what somebody wants.
    """
    for draft in drafts:
        # What a tool offers has the parameters that its author gave it, whatever way an example passes them.
        keywords = [] if request.offered is not None else list(request.kwargs)
        audited = audit(draft.source, request.selector, request.positional, keywords, None)
        draft.findings = [f"line {finding.line}: {finding.message}" if finding.line else finding.message for finding in audited.findings]
        if audited.ok:
            draft.source = audited.source
            why = withdrawn.get(meaning(draft.source)) if withdrawn and request.offered is None and not request.examples else None
            if why is not None:
                draft.outcome, draft.why = "withdrawn", f"{why}; with an example it may be tried again"
        else:
            fatal = [f"line {finding.line}: {finding.message}" for finding in audited.findings if finding.fatal]
            # What was wrong with the answer already comes first: it says why there is so little to audit.
            draft.outcome, draft.why = "unfit", "; ".join([draft.why, *fatal] if draft.why else fatal)


def judge(draft: Draft, outcome: TrialOutcome) -> None:
    """What a trial says of a draft. Changes the draft."""
    draft.examples, draft.examples_passed = outcome.examples, outcome.examples_passed
    draft.trial = {
        "kind": outcome.kind,
        "ticks": outcome.ticks_used,
        "seconds": round(outcome.seconds, 4),
        "confined": outcome.fully_confined,
        "layers": [layer.name for layer in outcome.layers if layer.in_force],
        "result": _bounded(outcome.result),
        "effects": _bounded([[effect.object, effect.slot, _shown(effect.before), _shown(effect.after)] for effect in outcome.effects]),
        "amnesia": list(outcome.amnesia),
        "examples": outcome.examples,
        "examples_passed": outcome.examples_passed,
        "made_up": outcome.made_up,
        "made_up_ended": outcome.made_up_ended,
    }
    if outcome.kind == "ok" and outcome.amnesia:
        draft.outcome, draft.why = "amnesia", f"would forget its change of {', '.join(outcome.amnesia)}: self._p_changed = True is missing"
    elif outcome.kind == "ok":
        draft.outcome = "ok"
        draft.why = "; ".join(outcome.examples_missed)
        draft.effect = effect_of(outcome)
        runs = [run.digest for run in outcome.varied]
        draft.group = digest(draft.effect, *runs) if runs else draft.effect
        draft.varied, draft.varied_failed = len(runs), sum(bool(run.error) for run in outcome.varied)
        draft.steady = len(runs) > 1 and len(set(runs)) == 1
    elif outcome.kind == "killed":
        draft.outcome, draft.why = "killed", outcome.killed_by
    elif outcome.error is not None:
        where = f" in line {outcome.error.line}" if outcome.error.line else ""
        draft.outcome, draft.why = outcome.error.type, f"{outcome.error.type}{where}: {outcome.error.message}"
    else:
        draft.outcome, draft.why = (
            outcome.kind,
            f"needs {outcome.need.selector}, which nobody understands" if outcome.need else outcome.kind,
        )


def effect_of(outcome: TrialOutcome) -> str:
    """Digest of result and changes: equal for drafts that did the same."""
    return of_run(outcome.result, outcome.effects, outcome.made, outcome.made_digest)


def storable(value: Any) -> Any:
    """A wire value as a slot of a proof holds it: references as text, anything else that is strange as text too."""
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, list | tuple):
        return [storable(element) for element in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): storable(element) for key, element in value.items()}
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return str(value)


def _bounded(value: Any) -> Any:
    """What a trial brought about, as a proof keeps it: a copy is kept with each draft and each step, so a large one is only weighed."""
    size = len(encode_value(value))
    return storable(value) if size <= KEPT_BYTES else f"{size:,} bytes, too many to keep"


def shortfall(outcome: TrialOutcome) -> str:
    """What a method that was tried on examples alone did not do as they say; nothing if it did."""
    if outcome.kind == "ok" and outcome.examples_passed == outcome.examples:
        return ""
    if outcome.kind == "killed":
        return outcome.killed_by
    if outcome.need is not None:
        return f"needs {outcome.need.selector}, which nobody understands"
    if outcome.error is not None:
        return f"{outcome.error.type}: {outcome.error.message}"
    return "; ".join(outcome.examples_missed) or "it asks the model too often"


def tested(request: MethodRequest, outcome: TrialOutcome) -> ImageError | None:
    """Why a method that is there does not do what is expected of it; None if it does."""
    why = shortfall(outcome)
    if not why:
        return None
    by = f", which {HANDLER} of {request.answers} answers," if request.answers else ""
    return ExampleFailed(
        f"{request.selector}{by} does not do what is expected of it: {why}",
        f"mend the example, or offer {'the' if by else 'another'} method (batos method TARGET SELECTOR FILE); nothing was run",
        reasons=list(outcome.examples_missed),
        method=str(Reference(request.tested)),
    )


def contradiction(request: MethodRequest, later: MethodRequest) -> Contradiction | None:
    """What is said to the one whose examples contradict those that a method is being written for."""
    try:
        agree(request.selector, [*request.clauses, *later.clauses])
    except Contradiction as error:
        return error
    return None


def with_clauses(request: MethodRequest, clauses: Sequence[Clause]) -> MethodRequest:
    """The request with what others expect of the same method."""
    return msgspec.structs.replace(request, clauses=merged(request.clauses, clauses))


def refusal_of(stored: dict[str, Any]) -> ImageError:
    """A stored refusal as the error that it was."""
    kinds = {kind.__name__: kind for kind in ImageError.__subclasses__()}
    return kinds.get(stored["type"], Refused)(stored["message"], stored["remedy"], **stored["details"])


def proof(generation: Generation, chosen: int) -> dict[str, Any]:
    """What a method can show for itself: prompt, voice, seed, every draft with its fate, audit and trial."""
    draft, commission, request = generation.drafts[chosen], generation.commission, generation.request
    voice = commission.personas.get(draft.persona) if commission is not None else None
    planned = generation.plan.prompt if generation.plan is not None else ""
    return {
        "prompt": commission.prompt(draft.persona, planned) if commission is not None else planned,
        "model": voice.model if voice is not None else "",
        # An endpoint may have left the adapter out.
        "adapter": f"{voice.adapter_name}@{voice.adapter}" if voice is not None and voice.adapter and draft.mode != "base" else "",
        "endpoint": draft.endpoint,
        "endpoint_model": draft.endpoint_model,
        "seed": draft.seed,
        "temperature": draft.temperature,
        "mode": draft.mode or ("offered" if request.offered is not None else "found"),
        "grammar": hashlib.sha256(commission.grammar(draft.persona).encode()).hexdigest() if commission is not None else "",
        "drafts": stages.storable_drafts(generation.drafts),
        "chosen": chosen,
        **({"decision": generation.decision, "confidence": generation.decision["confidence"]} if generation.decision else {}),
        "audit": draft.findings,
        "trial": draft.trial,
        "message": str(Reference(generation.oid)),
        **({"principal": request.principal, "session": request.session} if request.offered is not None else {}),
    }


def undecided(generation: Generation) -> Refused:
    """Why a message is refused whose drafts are fit: none of them is likely enough to be what is meant. It asks what would decide it."""
    request, drafts, choice = generation.request, generation.drafts, generation.choice
    offered = [storable(_as_written(example)) for example in choices(request, drafts, generation.outcomes, choice.draft)]
    declined, number = declining(drafts), written(drafts)
    sure = "" if choice.confidence is None else f"the best of {number} drafts is right with a probability of {choice.confidence:.0%}"
    threshold = "" if choice.threshold is None or choice.threshold > 1 else f", and {choice.threshold:.0%} are asked for"
    why = f"{declined} of {number} drafts say that the object does not know" if declined * 2 > number else f"{sure}{threshold}"
    question_text = question(request.selector, offered)
    return Refused(
        f"{request.selector} was not installed: {why or 'the image is not sure enough'}" + (f". {question_text}" if question_text else ""),
        (
            "say which with --example N, its place among the choices, or "
            if len(offered) > 1
            else "say yes with --example 1, or "
            if offered
            else ""
        )
        + "give an example of your own (batos send … --example), a clearer selector, or the method itself (batos method)",
        confidence=choice.confidence,
        decision=generation.decision,
        choices=offered,
        reasons=stages.reasons(drafts),
    )


def _as_written(value: Any) -> Any:
    """A wire value as the examples of the command line have it: with maps in the place of references."""
    if isinstance(value, Reference):
        return {"ref": str(value)}
    if isinstance(value, list):
        return [_as_written(element) for element in value]
    return {key: _as_written(element) for key, element in value.items()} if isinstance(value, dict) else value


def _shown(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def verdict(generation: Generation) -> ImageError:
    """Why a message is refused after its drafts were tried."""
    request, drafts = generation.request, generation.drafts
    reasons = stages.reasons(drafts)
    if request.offered is not None:
        kind = AuditRefused if drafts[0].outcome == "unfit" else TrialFailed
        return kind(
            f"{request.selector} was refused: {reasons[0]['why']}",
            "give an example of how it is called and what it answers (batos method … --example), or mend the source"
            if drafts[0].outcome == "NoExample" or "made-up arguments" in reasons[0]["why"]
            else "mend the source and offer it again",
            findings=drafts[0].findings,
            reasons=reasons,
        )
    return Refused(
        f"none of {len(drafts)} drafts of {request.selector} was good enough: {reasons[0]['why']}",
        "add an example of what you expect (batos send … --example), a clearer selector, or the method itself (batos method)",
        reasons=reasons,
    )
