"""What is missing: real evidence, in groups of what belongs together, and the largest group as a capability gap. Pure.

Two messages belong together where the words of their selectors and the kinds of values that their objects hold are alike (Jaccard, 1912);
each joins the group whose first message it is most like, or begins one (Hartigan's leader algorithm, 1975): one pass, in the order of
time, and the same groups whoever runs it. The numbers are the code's. No model names the gap: its name is its commonest words.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from uvm.autotelic.paired import tasks_needed

MOST: Final = 500
"""Pieces of evidence that one inquiry looks at, the newest."""
ALIKE: Final = 0.3
"""From this share of common features on, two messages belong together."""
WORDS: Final = 6
"""Words by which a gap is described."""
_STOP: Final = frozenset({"of", "the", "a", "an", "to", "in", "by", "with", "and", "is", "for", "from", "on", "at", "all", "set", "get"})

Kind = Literal["refusal", "removal", "correction", "doubt"]
WEIGHTS: Final[dict[Kind, float]] = {"refusal": 1.0, "removal": 2.0, "correction": 2.0, "doubt": 0.5}
"""What one piece of evidence counts: what a person took back says more than what the image refused, or was not sure of."""


class Evidence(Struct, frozen=True):
    """Something that went badly. `entry`: the chronicle's, `message`: the message object's reference; `values`: the receiver's kinds."""

    kind: Kind
    entry: str
    selector: str
    values: tuple[str, ...] = ()
    principal: str = ""
    message: str = ""


class CapabilityGap(Struct, frozen=True):
    """A capability that is missing. `words` and `values` describe the slice of behaviour; `tasks` held-out tasks see a gain of `margin`
    with 90 % power. `digest` is the same for the same evidence, so that nobody inquires twice into one thing.
    """

    name: str
    words: tuple[str, ...]
    values: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    weight: float
    tasks: int
    margin: float

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(sorted(each.entry for each in self.evidence)).encode()).hexdigest()


def words_of(selector: str) -> list[str]:
    """The words of a selector, in snake or camel case, without those that say little."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", selector).lower()
    return [word for word in spaced.split("_") if word and word not in _STOP]


def kind_of(literal: str) -> str:
    """The kind of a value that is told as a literal, as message objects keep them."""
    first = literal[:1]
    kinds = {"[": "rows" if literal.startswith("[{") else "list", "{": "dict", "'": "text", '"': "text", "<": "object"}
    if first in kinds:
        return kinds[first]
    return "truth" if literal in ("True", "False") else "number" if first.isdigit() or first in "-." else "nothing"


def groups(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """What belongs together, the weightiest first."""
    made: list[tuple[frozenset[str], list[Evidence]]] = []
    for each in evidence[-MOST:]:
        features = _features(each)
        best = max(made, key=lambda group: _likeness(group[0], features), default=None)
        if best is not None and _likeness(best[0], features) >= ALIKE:
            best[1].append(each)
        else:
            made.append((features, [each]))
    return sorted((group for _, group in made), key=lambda group: (-weight(group), group[0].entry))


def weight(evidence: Iterable[Evidence]) -> float:
    """What evidence counts together. One principal's of one selector counts once: a thing sent a thousand times is one complaint."""
    strongest: dict[tuple[str, str], float] = {}
    for each in evidence:
        key = (each.principal, each.selector)
        strongest[key] = max(strongest.get(key, 0.0), WEIGHTS[each.kind])
    return sum(strongest.values())


def gap(evidence: Sequence[Evidence], least: float, margin: float) -> CapabilityGap | None:
    """The weightiest gap, if any weighs at least so much."""
    candidates = groups(evidence)
    if not candidates or weight(candidates[0]) < least:
        return None
    group = candidates[0]
    words = Counter(word for each in group for word in dict.fromkeys(words_of(each.selector)))
    values = Counter(value for each in group for value in dict.fromkeys(each.values))
    chosen = tuple(word for word, _ in sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:WORDS])
    common = tuple(sorted(value for value, count in values.items() if count * 2 >= len(group)))
    return CapabilityGap(
        " ".join(chosen[:3]) or "unnamed", chosen, common, tuple(group), weight(group), tasks_needed(max(margin, 0.02)), margin
    )


def _features(evidence: Evidence) -> frozenset[str]:
    return frozenset(words_of(evidence.selector)) | {f"<{value}>" for value in evidence.values if value in ("rows", "list", "dict")}


def _likeness(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right) if left | right else 1.0
