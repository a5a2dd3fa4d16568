"""What speaks for a group of drafts that behave alike, and what against it: numbers that the image's judgement weighs. Pure.

A draft is told apart by what it does on varied inputs (`uvm.trial.variation`); those that do the same are a group, and its best draft, the
one that the model held for likeliest, stands for it. `MEANINGS` says what each number is. All of them are between -8 and 8, most between 0
and 1, and each is there for every group, so that a judgement may weigh any of them.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from uvm.generation import lexicon
from uvm.generation.naming import stem, words_of
from uvm.generation.stages import Draft

MEANINGS: Final = {
    "share": "share of all drafts, of every voice and seed, that behave like this one",
    "margin": "that share less the one of the next largest group; declining drafts are a group too",
    "logprob": "mean log probability of a token of the draft, nats; at least -4",
    "least": "log probability of its least likely token, nats; at least -8",
    "explained": "share of the selector's words that slots, keys, texts or methods of the body, or known words, explain",
    "meant": "share of the slots in the body that a word of the selector names",
    "ignored": "share of the receiver's slots named in the selector that the body does not use",
    "idle": "1: a verb of change changed nothing",
    "meddling": "1: what is no verb of change changed something",
    "kept_type": "1: the answer is of the type that the selector promises",
    "broken_type": "1: it is of another type",
    "free": "1: the selector asks for something to look at, of which many are right",
    "failed": "share of the varied inputs on which it ended in an error",
    "steady": "1: it did the same on all varied inputs, whatever they were",
    "unused": "share of the parameters that the body does not use",
    "drafts": "drafts that were written, 16 at most, in sixteenths",
    "examples": "examples that were given, all of which it passed; three at most, in thirds",
    "declined": "share of all drafts that said that the object does not know",
    "length": "size of the body, in hundreds of nodes of its syntax tree; 3 at most",
    "surprise": "how surprising the body's operations are for such words (`uvm.generation.lexicon`), in tens of nats; 3 at most",
    "usual": "how surprising a body for such words is to be expected to be, in tens of nats; 3 at most",
    "lacking": "nats of the most surprising one that it has not; at most 8",
    "unknown": "share of the selector's words that the lexicon does not know",
}
"""The features, in the order of the documentation."""

CHANGING: Final = frozenset(
    "set add increase increment decrease decrement remove clear reset append insert push pop delete drop rename double halve update "
    "change toggle flip swap raise lower reduce put store record mark enable disable restock sell deposit withdraw spend apply bump "
    "shift extend prepend register assign replace empty fill cancel complete activate deactivate".split()
)
"""Verbs of change, where a selector begins with one."""
ASKING: Final = frozenset("is has have can are was does should contains any all every needs".split())
"""Words with which a selector begins that is answered by yes or no."""
_STOP: Final = frozenset(
    "a an and as at be by do each for from get give given how in into it its me my of on or per self so than that the them then this to "
    "up with what when where which who whose compute calculate find show return tell".split()
)

_OPERATIONS: Final = frozenset(
    "average mean count number many size length total sum overall altogether longest largest biggest highest most max maximum best latest "
    "greatest heaviest tallest top priciest shortest smallest lowest least min minimum cheapest earliest lightest worst sorted ordered "
    "ranked alphabetical reversed reverse backwards unique distinct percent percentage double doubled twice half halved halve upper "
    "uppercase lower lowercase joined join remaining left difference gap missing above below over under exceeds between square squared "
    "rounded area volume distance perimeter diameter".split()
)
"""Words for operations."""
_KNOWN: Final = (
    _OPERATIONS
    | CHANGING
    | ASKING
    | frozenset(
        "first last next list keys values index position range text line word words letters initials "
        "describe label summary title new old current full other empty combined product ratio value result "
        "display yourself with without not none same equal different greater less more fewer one two three odd even positive "
        "negative grouped group filter filtered only matching".split()
    )
)
"""Words that mean something of their own, whatever the object is."""
_FREE: Final = frozenset("display show render draw describe description summary report view card panel yourself greeting greet".split())
_PROMISES: Final = {"total": "number", "sum": "number", "average": "number", "mean": "number", "count": "whole"}


class SentMessage(Struct, frozen=True):
    """What was sent: the selector, the receiver's own slots as a prompt shows them, parameters, and how many examples were given."""

    selector: str
    slots: Mapping[str, str] = {}
    parameters: tuple[str, ...] = ()
    examples: int = 0


class Group(Struct, frozen=True):
    """Drafts that behave alike, by number; `drafts`: how many were written so, equal ones too; `best`: the likeliest."""

    behaviour: str
    members: tuple[int, ...]
    drafts: int
    best: int


def groups(drafts: Sequence[Draft]) -> list[Group]:
    """The drafts that are fit and pass every example, by what they do, the largest group first."""
    members: dict[str, list[int]] = {}
    for number, draft in enumerate(drafts):
        if draft.outcome == "ok" and draft.examples_passed == draft.examples:
            members.setdefault(draft.group, []).append(number)
    found = [
        Group(
            behaviour,
            tuple(numbers),
            sum(drafts[number].times for number in numbers),
            max(numbers, key=lambda number: (drafts[number].logprob, -number)),
        )
        for behaviour, numbers in members.items()
    ]
    return sorted(found, key=lambda group: (-group.drafts, -drafts[group.best].logprob))


def declining(drafts: Iterable[Draft]) -> int:
    """How many drafts said that the object does not know."""
    return sum(draft.times for draft in drafts if draft.outcome == "Declined")


def written(drafts: Iterable[Draft]) -> int:
    """How many drafts were written, equal ones too."""
    return sum(draft.times for draft in drafts)


def of(question: SentMessage, drafts: Sequence[Draft], group: Group, others: Sequence[Group]) -> dict[str, float]:
    """The features of a group; `others`: all groups."""
    draft, number = drafts[group.best], max(1, written(drafts))
    second = max([0, declining(drafts), *(other.drafts for other in others if other is not group)])
    body = _Body(draft.source)
    words = words_of(question.selector)
    verb = bool(words) and words[0] in CHANGING
    changed = bool(draft.trial.get("effects"))
    kept, broken = _type(promise(question.selector), draft.trial.get("result"))
    free = not _FREE.isdisjoint(words)
    # Of what is only to be looked at many are right, and no word says which operations.
    reading = lexicon.NOTHING if free else lexicon.shipped().reads(expected(question), draft.source)
    told = {
        "share": group.drafts / number,
        "margin": (group.drafts - second) / number,
        "logprob": max(-4.0, draft.logprob),
        "least": max(-8.0, draft.least),
        "explained": _share((word for word in words if word not in _STOP), lambda word: word in _KNOWN or body.explains(word)),
        "meant": _share((slot for slot in body.named if slot in question.slots), lambda slot: _names(words, slot)),
        "ignored": 1 - _share((slot for slot in question.slots if _named_in_full(words, slot)), lambda slot: slot in body.named),
        "idle": float(verb and not changed),
        "meddling": float(changed and not verb),
        "kept_type": float(kept),
        "broken_type": float(broken),
        "free": float(free),
        "failed": draft.varied_failed / draft.varied if draft.varied else 0.0,
        "steady": float(draft.steady),
        "unused": 1 - _share(question.parameters, lambda name: name in body.read),
        "drafts": min(16, number) / 16,
        "examples": min(3, question.examples) / 3,
        "declined": declining(drafts) / number,
        "length": min(3.0, body.size / 100),
        "surprise": min(3.0, reading.surprise / 10),
        "usual": min(3.0, reading.usual / 10),
        "lacking": min(8.0, reading.lacking[1]),
        "unknown": reading.unknown,
    }
    return {name: round(value, 4) for name, value in told.items()}


@lru_cache(maxsize=64)
def _expected(selector: str, slots: tuple[tuple[str, str], ...], parameters: int) -> lexicon.ExpectedSigns:
    return lexicon.shipped().expects(lexicon.read(selector, dict(slots), parameters))


def expected(question: SentMessage) -> lexicon.ExpectedSigns:
    """What the words of the message lead one to expect of a body."""
    return _expected(question.selector, tuple(question.slots.items()), len(question.parameters))


def promise(selector: str) -> str:
    """What a selector says of its answer: `bool`, `whole`, `number`, `list`, or nothing."""
    words = words_of(selector)
    if not words or words[0] in CHANGING or "by" in words:
        return ""
    if words[0] in ASKING and len(words) > 1 and words[0] not in ("all", "every", "any"):
        return "bool"
    if words[:2] == ["number", "of"] or words[:2] == ["how", "many"]:
        return "whole"
    if words[0] in ("list", "all", "every") or (len(words) > 1 and words[-1] in ("names", "list", "items", "rows", "lines")):
        return _PROMISES.get(words[0], "list")
    return _PROMISES.get(words[0], "")


def _type(promised: str, answer: Any) -> tuple[bool, bool]:
    """Whether an answer keeps a promise, and whether it breaks one."""
    if not promised:
        return False, False
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    kept = {
        "bool": isinstance(answer, bool),
        "whole": number and float(answer).is_integer(),
        "number": number,
        "list": isinstance(answer, list),
    }[promised]
    return kept, not kept


def _stems(name: str) -> set[str]:
    return {stem(word) for word in words_of(name)}


def _names(words: Sequence[str], slot: str) -> bool:
    """Whether a word of the selector is one of the slot's."""
    return not {stem(word) for word in words}.isdisjoint(_stems(slot))


def _named_in_full(words: Sequence[str], slot: str) -> bool:
    """Whether all words of the slot are in the selector, and mean nothing of their own there."""
    named = _stems(slot)
    return bool(named) and named <= {stem(word) for word in words if word not in _OPERATIONS and word not in _STOP}


def _share(things: Iterable[str], holds: Callable[[str], bool]) -> float:
    """The share of some things of which something holds; all of them, if there are none."""
    different = set(things)
    return sum(map(holds, different)) / len(different) if different else 1.0


class _Body:
    """What the source of a draft shows. Of what is no Python, nothing."""

    def __init__(self, source: str) -> None:
        self.named: dict[str, None] = {}
        self.read: set[str] = set()
        self.size = 0
        self._words: set[str] = set()
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        statements = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.FunctionDef) else tree.body
        for statement in statements:
            for node in ast.walk(statement):
                self.size += 1
                self._look(node)

    def explains(self, word: str) -> bool:
        """Whether the body uses something of that name."""
        return stem(word) in self._words

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self" and not node.attr.startswith("_"):
                self.named[node.attr] = None
            self._words |= _stems(node.attr)
        elif isinstance(node, ast.Name):
            self.read.add(node.id)
        elif isinstance(node, ast.Constant):
            self._constant(node.value)

    def _constant(self, value: Any) -> None:
        if isinstance(value, str):
            self._words |= _stems(value[:200])
            if value.isidentifier():
                self.named.setdefault(value, None)
