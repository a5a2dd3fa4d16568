"""What the image's decision states of drafts that were written for an exam, and for no message. Pure; the heartbeat calls it.

The numbers of the decision in force (slot `judgement` of `pLLM_obj`; `uvm.awakening.judgement` has their format) were fitted to one
adapter. Here they are asked what they state of another one's drafts, in the way of the shipped rule, `chooseFrom_`, and from the same
features. An exam has one draft of each task, so it is stated twice: as the rule would state it if all drafts of the message had agreed with
this one; and by alfred of the version before, who takes nothing from the model that is judged: neither its log probabilities nor its
agreement with itself count, but the words of the message, the source, and what that did on the values shown and on fresh ones.
"""

import math
from collections.abc import Mapping, Set
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from deploy.orders import ExamAnswer, ExamAnswers, ExamDraft
from uvm.autotelic.calibration import StatedDraft, StatedPair
from uvm.generation import features
from uvm.generation.features import SentMessage
from uvm.generation.stages import Draft

_OF_SEVERAL: Final = frozenset({"drafts"})
"""Features that one draft has not; they count as usual."""
_OF_THE_MODEL: Final = frozenset({"drafts", "share", "margin", "logprob", "least"})
"""Features that the model that writes has in its hands; to alfred they count as usual."""
_PROBES: Final = 6
"""Of the examiner's judge; what it tells is shares of them."""

Kind = Literal["without", "with"]


class DecisionNumbers(Struct, frozen=True, kw_only=True):
    """The numbers, checked as far as they are used."""

    bias: float
    weights: dict[str, float]
    means: dict[str, float]
    calibration: dict[Kind, tuple[float, float]]
    thresholds: dict[Kind, list[tuple[Annotated[float, Meta(gt=0, le=1)], Annotated[float, Meta(ge=0, le=2)]]]]
    fitted: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if set(self.weights) != set(self.means):
            raise ValueError("each weight has a mean, and each mean a weight")
        for kind in ("without", "with"):
            rows = self.thresholds.get(kind, [])
            if kind not in self.calibration or not rows or rows != sorted(rows, key=lambda row: row[0]):
                raise ValueError(f"calibration and thresholds {kind} examples are there, these by rising risk")

    def confidence(self, told: Mapping[str, float], kind: Kind) -> float:
        """That a draft with these features is right; one that is not told counts as usual."""
        score = self.bias + sum(weight * (told[name] - self.means[name]) for name, weight in self.weights.items() if name in told)
        slope, offset = self.calibration[kind]
        return 1 / (1 + math.exp(-min(30.0, max(-30.0, slope * score + offset))))

    def least(self, kind: Kind, risk: float) -> float:
        """The confidence that a risk asks for."""
        return next((least for most, least in reversed(self.thresholds[kind]) if most <= risk), 2.0)


def stated(answers: ExamAnswers, numbers: DecisionNumbers, risk: float) -> list[StatedPair]:
    """What is stated of all drafts of an exam."""
    return [
        StatedPair(answer.slice, *(_of(answer, draft, numbers, risk) for draft in (answer.current, answer.candidate)))
        for answer in answers.answers
    ]


def _of(answer: ExamAnswer, draft: ExamDraft, numbers: DecisionNumbers, risk: float) -> StatedDraft | None:
    if draft.error:  # whatever it is, its trial would not be passed
        return None
    question = SentMessage(answer.selector, answer.slots, tuple(answer.parameters), answer.examples)
    written = Draft(
        source=draft.source,
        logprob=draft.logprob,
        least=draft.least,
        outcome="ok",
        varied=_PROBES,
        varied_failed=round(draft.failed * _PROBES),
        steady=draft.steady,
        trial={"effects": [draft.changed] if draft.changed else [], "result": draft.result},
    )
    (group,) = features.groups([written])
    told = features.of(question, [written], group, [group])
    kind: Kind = "with" if answer.examples else "without"
    confidence = numbers.confidence(_without(told, _OF_SEVERAL), kind)
    plausible = numbers.confidence(_without(told, _OF_THE_MODEL), kind) >= 0.5
    return StatedDraft(confidence, confidence >= numbers.least(kind, risk), plausible, draft.right)


def _without(told: Mapping[str, float], left_out: Set[str]) -> dict[str, float]:
    return {name: value for name, value in told.items() if name not in left_out}
