"""The drafts of a message as the image keeps them: a proof or a message object in, plain records out. Pure.

Nothing of it is trusted to have the shape that it should have: policy and later versions may write otherwise.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

UNRUN: Final = frozenset({"unfit", "killed", "not tried"})
"""Outcomes of drafts that are not run again: no audit lets them through, or their process was ended."""
_KNOWN: Final = frozenset("source persona logprob tokens temperature seed mode outcome why examples examples_passed trial effect".split())


class KeptDraft(Struct, frozen=True):
    """A draft with its fate; `number` is its place among the others, the first one written greedily. `agreement`: how many survivors did
    the same, this one included."""

    number: int
    source: str
    persona: str
    logprob: float
    tokens: int
    temperature: float
    seed: int | None
    mode: str
    outcome: str
    why: str
    examples: int
    examples_passed: int
    agreement: int
    trial: dict[str, Any]
    more: dict[str, Any]

    @property
    def fit(self) -> bool:
        """Whether it could have been installed."""
        return self.outcome == "ok" and self.examples_passed == self.examples


class Drafting(Struct, frozen=True):
    """How a method came to be, or why not. `chosen`: the number of the draft that was, or would have been, installed; -1: none."""

    drafts: list[KeptDraft] = []
    chosen: int = -1
    confidence: float | None = None
    decision: Any = None

    @property
    def was_considered(self) -> bool:
        """Whether anything was thought of the message at all."""
        return bool(self.drafts) or self.confidence is not None or self.decision is not None

    @property
    def first(self) -> KeptDraft | None:
        """The first greedy draft; the first one where none is said to be greedy."""
        return next((draft for draft in self.drafts if not draft.temperature), self.drafts[0] if self.drafts else None)


def drafting(*sources: Any) -> Drafting:
    """What maps of the image (a proof, an explanation, details of an error, the slots of a message object) tell together; the first one
    that has something is believed."""
    maps = [source for source in sources if isinstance(source, Mapping)]

    def first(name: str, kind: type | tuple[type, ...]) -> Any:
        return next((part[name] for part in maps if isinstance(part.get(name), kind) and not isinstance(part[name], bool)), None)

    listed = [part for part in first("drafts", list) or [] if isinstance(part, Mapping) and isinstance(part.get("source"), str)]
    survivors = Counter(str(part.get("effect")) for part in listed if part.get("outcome") == "ok")
    drafts = [_draft(number, part, survivors) for number, part in enumerate(listed)]
    decision = first("decision", (Mapping, list, str))
    chosen = first("chosen", int)
    if chosen is None and isinstance(decision, Mapping):
        chosen = _decided(decision, drafts)
    confidence = _number(first("confidence", (int, float)))
    if confidence is None and isinstance(decision, Mapping):
        confidence = _number(decision.get("confidence"))
    return Drafting(
        drafts,
        chosen if chosen is not None and 0 <= chosen < len(drafts) else -1,
        min(1.0, max(0.0, confidence)) if confidence is not None else None,
        decision,
    )


def _decided(decision: Mapping[str, Any], drafts: list[KeptDraft]) -> int | None:
    """The draft that a decision is about: the one that it names, else one that it has seen the same features of."""
    named = next((decision[name] for name in ("index", "best", "chosen") if type(decision.get(name)) is int), None)
    features = decision.get("features")
    if named is None and isinstance(features, Mapping) and features:
        return next((draft.number for draft in drafts if draft.fit and draft.more.get("features") == features), None)
    return named


def _draft(number: int, part: Mapping[str, Any], survivors: Mapping[str, int]) -> KeptDraft:
    trial = part.get("trial")
    fit = part.get("outcome") == "ok"
    return KeptDraft(
        number=number,
        source=part["source"],
        persona=str(part.get("persona") or ""),
        logprob=_number(part.get("logprob")) or 0.0,
        tokens=int(_number(part.get("tokens")) or 0),
        temperature=_number(part.get("temperature")) or 0.0,
        seed=part["seed"] if type(part.get("seed")) is int else None,
        mode=str(part.get("mode") or ""),
        outcome=str(part.get("outcome") or "not tried"),
        why=str(part.get("why") or ""),
        examples=int(_number(part.get("examples")) or 0),
        examples_passed=int(_number(part.get("examples_passed")) or 0),
        agreement=survivors.get(str(part.get("effect")), 0) if fit else 0,
        trial=dict(trial) if isinstance(trial, Mapping) else {},
        more={str(name): value for name, value in part.items() if name not in _KNOWN},
    )


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
