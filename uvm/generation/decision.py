"""Whether a draft is installed: what the image's rule is asked, what it answers, and what is said of it. Pure.

The rule, `chooseFrom_`, is a method of the image, and what it weighs with is a slot of it, `judgement`; both are replaced by messages.
It gets the drafts that are fit, with their features, and answers which of them it takes, how sure it is that this one is right, and how
sure it would have to be for the risk that the sender takes. A rule that answers a number alone takes that draft, and does not say how sure
it is.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct

from uvm.generation import features
from uvm.generation.features import Group, SentMessage
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Draft
from uvm.protocol import encode_value
from uvm.trial.protocol import TrialOutcome
from uvm.values.slot_values import literal

CHOICES: Final = 3
"""Behaviours that a refusal offers to choose from."""
GROUPS: Final = 8
"""Groups of drafts that a decision tells of."""
CHOICE_BYTES: Final = 8192
"""Bytes of a choice; a larger one is not offered."""

Probability = Annotated[float, Meta(ge=0, le=1)]


class Choice(Struct, frozen=True):
    """What the image's rule answered. `index`: the draft to install, none to refuse; `best`: the one that it holds for the best.

    `confidence`: how sure it is that this one is right; `threshold`: how sure it would have to be. None: the rule does not say.
    """

    index: int | None = None
    best: int | None = None
    confidence: Probability | None = None
    threshold: Annotated[float, Meta(ge=0)] | None = None

    @property
    def draft(self) -> int | None:
        """The draft that it is about."""
        return self.index if self.index is not None else self.best


def candidates(request: MethodRequest, drafts: Sequence[Draft], risk: float) -> list[dict[str, Any]]:
    """The drafts that may be chosen, as the image's rule gets them. Notes the features of each draft in it."""
    groups = features.groups(drafts)
    question = question_of(request)
    listed = []
    for group in groups:
        told = features.of(question, drafts, group, groups)
        for index in group.members:
            draft = drafts[index]
            draft.features = told
            listed.append(
                {
                    "index": index,
                    "source": draft.source,
                    "persona": draft.persona,
                    "examples": draft.examples,
                    "examples_passed": draft.examples_passed,
                    "agreement": group.drafts,
                    "logprob": draft.logprob,
                    "features": dict(told),
                    "risk": risk,
                }
            )
    return sorted(listed, key=lambda candidate: candidate["index"])


def question_of(request: MethodRequest) -> SentMessage:
    """What was sent, as features look at it."""
    positional = request.reified.get("positional", [])
    return SentMessage(
        selector=request.selector,
        slots={str(pair[0]): str(pair[1]) for pair in request.reified.get("slots", [])},
        parameters=(*positional, *request.kwargs),
        examples=len(request.clauses),
    )


def choice_of(answer: object, allowed: Sequence[int]) -> Choice | None:
    """What the image's rule has chosen; None where that is nothing that it may choose."""
    if type(answer) is int:
        return Choice(answer, answer) if answer in allowed else None
    if not isinstance(answer, dict):
        return None
    try:
        choice = msgspec.convert(answer, Choice)
    except msgspec.ValidationError:
        return None
    named = [number for number in (choice.index, choice.best) if number is not None]
    return choice if named and all(number in allowed for number in named) else None


def agreed(drafts: Sequence[Draft]) -> bool:
    """Whether all that were written do the same."""
    groups = features.groups(drafts)
    return len(groups) == 1 and groups[0].drafts == features.written(drafts)


def told(drafts: Sequence[Draft], choice: Choice, risk: float) -> dict[str, Any]:
    """The decision as proofs, refusals and reports have it."""
    number = choice.draft
    groups = features.groups(drafts)
    listed: list[dict[str, Any]] = [
        {"drafts": group.drafts, "draft": group.best, "behaviour": group.behaviour, "source": drafts[group.best].source}
        for group in groups[:GROUPS]
    ]
    if declined := features.declining(drafts):
        listed.append({"drafts": declined, "declined": True})
    return {
        "features": dict(drafts[number].features) if number is not None else {},
        "confidence": choice.confidence,
        "threshold": choice.threshold,
        "risk": risk,
        "groups": listed,
    }


def choices(
    request: MethodRequest, drafts: Sequence[Draft], outcomes: Mapping[int, TrialOutcome], best: int | None
) -> list[dict[str, Any]]:
    """The behaviours between which drafts split, the best one first, each as the example that would settle it.

    All of them are shown on the real values, where these tell the first two apart; else on the first varied input that does, which the
    examples then state.
    """
    groups = [group for group in features.groups(drafts) if group.best in outcomes]
    groups.sort(key=lambda group: best not in group.members)
    shown = [(group, _situations(request, outcomes[group.best])) for group in groups[:CHOICES]]
    for number in range(max((len(situations) for _, situations in shown), default=0)):
        told: dict[bytes, tuple[Group, dict[str, Any]]] = {}
        for group, situations in shown:
            example = situations[number] if number < len(situations) else None
            if example is not None:
                told.setdefault(encode_value([example.get("result"), example["changed"]]), (group, example))
        if len(told) >= min(2, len(shown)) and all(len(look) <= CHOICE_BYTES for look in told):
            return [_choice(drafts, group, example) for group, example in told.values()]
    return []


def _choice(drafts: Sequence[Draft], group: Group, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "example": example,
        "result": example.get("result"),
        "changed": example["changed"],
        "drafts": group.drafts,
        "source": drafts[group.best].source,
    }


def _situations(request: MethodRequest, outcome: TrialOutcome) -> list[dict[str, Any] | None]:
    """What one behaviour does on the real values, and on each varied input, as examples; None where none can say it."""
    changed = {effect.slot: effect.after for effect in outcome.effects if effect.object.oid == request.receiver}
    real: dict[str, Any] = {"args": request.args, "kwargs": request.kwargs, "changed": changed}
    if not outcome.made:
        real["result"] = outcome.result
    stated = [None if any(value is UNSET for value in changed.values()) else real]
    for run in outcome.varied:
        stated.append(
            {"slots": run.slots, "args": run.args, "kwargs": run.kwargs, "result": run.result, "changed": run.changed} if run.told else None
        )
    return [_brief(example) for example in stated]


def _brief(example: dict[str, Any] | None) -> dict[str, Any] | None:
    return example and {name: value for name, value in example.items() if value or name not in ("slots", "args", "kwargs")}


def question(selector: str, offered: Sequence[Mapping[str, Any]]) -> str:
    """What the sender is asked: one behaviour or the other."""
    if not offered:
        return ""
    slots = offered[0]["example"].get("slots")
    where = f" with {', '.join(f'{name}={literal(value)}' for name, value in list(slots.items())[:6])}" if slots else " of this object"
    return f"{selector}{where}: {' or '.join(map(_shown, offered))}?"


def _shown(choice: Mapping[str, Any]) -> str:
    after = ", ".join(f"{name}={literal(value)}" for name, value in choice["changed"].items())
    if not after:
        return literal(choice["result"])
    return f"{after}" if choice["result"] is None else f"{literal(choice['result'])} and {after}"
