"""What the image's decision states of drafts that were written for an exam, and for no message. Pure; the heartbeat calls it.

The numbers of the decision in force (slot `judgement` of `pLLM_obj`; `uvm.image.judgement` has their format) were fitted to one adapter.
Here they, or those that would take their place with the candidate, are asked what they state of another one's drafts, in the way of the
shipped rule, `chooseFrom_`, and from the same features. An exam has one draft of each task, so it is stated twice: as the rule would state
it if all drafts of the message had agreed with this one; and by alfred of the version before, who takes nothing from the model that is
judged: neither its log probabilities nor its agreement with itself count, but the words of the message, the source, and what that did on
the values shown and on fresh ones.
"""

import math
from collections.abc import Mapping, Set
from typing import Final

from deploy.orders import ExamAnswer, ExamAnswers, ExamDraft
from uvm.autotelic.calibration import StatedDraft, StatedPair
from uvm.generation import features
from uvm.generation.features import SentMessage
from uvm.generation.stages import Draft
from uvm.image.judgement import JudgementFile, Kind

_OF_SEVERAL: Final = frozenset({"drafts"})
"""Features that one draft has not; they count as usual."""
_OF_THE_MODEL: Final = frozenset({"drafts", "share", "margin", "logprob", "least"})
"""Features that the model that writes has in its hands; to alfred they count as usual."""
_PROBES: Final = 6
"""Of the examiner's judge; what it tells is shares of them."""


def confidence(numbers: JudgementFile, told: Mapping[str, float], kind: Kind) -> float:
    """That a draft with these features is right; one that is not told counts as usual."""
    score = numbers.bias + sum(weight * (told[name] - numbers.means[name]) for name, weight in numbers.weights.items() if name in told)
    slope, offset = numbers.calibration[kind]
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, slope * score + offset))))


def least(numbers: JudgementFile, kind: Kind, risk: float) -> float:
    """The confidence that a risk asks for."""
    return next((enough for most, enough in reversed(numbers.thresholds[kind]) if most <= risk), 2.0)


def stated(answers: ExamAnswers, in_force: JudgementFile, afterwards: JudgementFile, risk: float) -> list[StatedPair]:
    """What is stated of all drafts of an exam. `afterwards`: the numbers that will weigh the candidate's, if it is put into service."""
    return [
        StatedPair(
            answer.slice,
            _of(answer, answer.current, in_force, in_force, risk),
            _of(answer, answer.candidate, afterwards, in_force, risk),
        )
        for answer in answers.answers
    ]


def _of(answer: ExamAnswer, draft: ExamDraft, numbers: JudgementFile, alfreds: JudgementFile, risk: float) -> StatedDraft | None:
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
    sure = confidence(numbers, _without(told, _OF_SEVERAL), kind)
    plausible = confidence(alfreds, _without(told, _OF_THE_MODEL), kind) >= 0.5
    return StatedDraft(sure, sure >= least(numbers, kind, risk), plausible, draft.right)


def _without(told: Mapping[str, float], left_out: Set[str]) -> dict[str, float]:
    return {name: value for name, value in told.items() if name not in left_out}
