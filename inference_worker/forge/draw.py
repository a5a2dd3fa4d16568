"""A task being drawn: a family adds slots and arguments to a `Draw` and answers a `Method`; `task` completes it.

Pure: everything comes from one seed. A family is a function of a `Draw`; its expectation is written in plain Python,
independently of the body, and a test runs both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from inference_worker.forge import distractors, heldout, render, words
from inference_worker.forge.render import Opaque
from inference_worker.forge.standin import BodyOutcome, expect, plain, run, same
from inference_worker.forge.values import Maker, Slots
from inference_worker.forge.words import Side

MOST_TRIES = 200


@dataclass(frozen=True)
class Method:
    """What a family wants: `body` without indentation, and `expectation(slots, *arguments)`, which answers the result,
    may change `slots`, and raises what the method should raise. `shape`: the operators of a composed program, without names."""

    selector: str
    body: str
    expectation: Callable[..., Any]
    shape: str = ""


Family = Callable[["Draw"], Method]


class SlotTaken(ValueError):
    """A family has given two slots one name, as the plural of one word is at times that of another."""


class Draw:
    """The object and the message of one task, as far as they are drawn."""

    def __init__(self, rng: Random, side: Side) -> None:
        self.rng = rng
        self.side: Side = side
        self.slots: dict[str, Maker] = {}
        self.arguments: list[tuple[str, Maker]] = []
        self.keyworded = rng.random() < 0.12
        self.crowded = rng.random()
        self.complete = False
        self.exampled = 0.12
        self.shunned: set[str] = set()

    def noun(self, pool: tuple[str, ...], modified: float = 0.25) -> str:
        """A word of `pool` on this side that no slot is named after yet; at times with a word before it, at times a coined one."""
        for tried in range(MOST_TRIES):
            new = self.rng.random() < 0.06 or tried > MOST_TRIES // 4
            word = words.coined(self.rng, self.side) if new else self.rng.choice(words.on_side(pool, self.side))
            if self.rng.random() < modified:
                word = f"{self.rng.choice(words.MODIFIERS)}_{word}"
            if word not in self.slots and word not in self.shunned and not any(word in name.split("_") for name in self.slots):
                self.shunned.add(word)
                return word
        raise ValueError(f"no unused word left in {pool[:3]}…")

    def things(self, maker: Maker, pool: tuple[str, ...] = words.THINGS, modified: float = 0.15) -> tuple[str, str]:
        """A slot that holds many: its name (a plural) and the singular."""
        noun = self.noun(pool, modified)
        many = words.plural(noun)
        self.slot(many, maker)
        return many, noun

    def slot(self, name: str, maker: Maker) -> str:
        """Add a slot. Raises SlotTaken when it exists."""
        if name in self.slots:
            raise SlotTaken(f"the slot {name} exists already")
        self.slots[name] = maker
        return name

    def arg(self, keyword: str, maker: Maker) -> str:
        """Add an argument; answers the name that the body uses for it."""
        self.arguments.append((keyword, maker))
        return keyword if self.keyworded else "abcdefgh"[len(self.arguments) - 1]

    def say(self, *selectors: str) -> str:
        """One of these selectors, at times in camel case, which some tools prefer."""
        chosen = self.rng.choice(selectors)
        style = self.rng.random()
        if style < 0.07 and "_" in chosen.strip("_"):
            chosen = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), chosen)
        return f"{chosen}_" if style < 0.04 and self.arguments else chosen

    def fill(self, least: int, most: int) -> list[str]:
        """Add the slots of an arbitrary object now, for a family whose body names all of them. Answers the names in order."""
        self.complete = True
        distractors.add(self.rng, self.slots, self.rng.randint(least, most), set())
        return list(self.slots)


@dataclass(frozen=True)
class Task:
    """One message that an object does not understand, with the body that should be written."""

    family: str
    seed: int
    side: Side
    selector: str
    makers: dict[str, Maker]
    arguments: tuple[tuple[str, Maker], ...]
    keyworded: bool
    slots: Slots
    args: tuple[Any, ...]
    examples: tuple[str, ...]
    body: str
    expectation: Callable[..., Any]
    program: str = ""

    @property
    def prompt(self) -> str:
        """What the model reads."""
        return render.prompt(self.slots, self.selector, *self.shape(self.args), self.examples)

    def shape(self, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as positional and keyword arguments."""
        return (
            ((), {keyword: value for (keyword, _), value in zip(self.arguments, values, strict=True)}) if self.keyworded else (values, {})
        )

    def source(self, body: str) -> str:
        """The whole method with this body (already indented)."""
        args, kwargs = self.shape(self.args)
        return render.source(self.selector, len(args), kwargs, body)

    def probe(self, rng: Random) -> tuple[Slots, tuple[Any, ...]]:
        """Other values for the same slots and arguments."""
        slots: Slots = {}
        for name, maker in self.makers.items():
            slots[name] = maker(rng, slots)
        return slots, tuple(maker(rng, slots) for _, maker in self.arguments)

    def expected(self, slots: Slots, args: tuple[Any, ...]) -> BodyOutcome:
        """What the family says should happen."""
        return expect(slots, args, self.expectation)

    def happens(self, body: str, slots: Slots, args: tuple[Any, ...]) -> BodyOutcome:
        """What a body does. Raises SyntaxError."""
        positional, kwargs = self.shape(args)
        return run(self.source(body), self.selector, slots, positional, kwargs)


def task(name: str, family: Family, seed: int, side: Side, detail_share: float = 0.0) -> Task:
    """The task of a family for a seed: always the same one. Held-out ones, and those whose words do not go together, are drawn again.

    `detail_share`: how many of the tasks have examples that also say what the object was before and what changed, or which error
    it ends in.
    Raises ValueError when the family makes no others.
    """
    return drawn(name, family, seed, side, kept_out=True, detail_share=detail_share)


def drawn(name: str, family: Family, seed: int, side: Side, kept_out: bool, detail_share: float = 0.0) -> Task:
    """As `task`; `kept_out` False lets held-out tasks pass, which is for evaluation alone."""
    rng = Random(f"{name} {seed} {side}")
    why = ""
    for _ in range(MOST_TRIES):
        draw = Draw(rng, side)
        try:
            method = family(draw)
        except SlotTaken as error:
            why = str(error)
            continue
        makers = draw.slots if draw.complete else _among_others(draw, method.selector)
        if kept_out and (why := heldout.reason(method.selector, makers)):
            continue
        return _complete(name, seed, draw, method, makers, detail_share)
    raise ValueError(f"the family {name} makes nothing but tasks that are kept out: {why}")


def _among_others(draw: Draw, selector: str) -> dict[str, Maker]:
    """The family's slots, with slots around them that have nothing to do with the message."""
    rng = draw.rng
    own = list(draw.slots.items())
    if rng.random() < 0.4:
        rng.shuffle(own)
    if draw.crowded < 0.2:
        return dict(own)
    others: dict[str, Maker] = {}
    avoided = {name for name, _ in own} | {selector} | draw.shunned
    distractors.add(rng, others, rng.randint(1, 4) if draw.crowded < 0.5 else rng.randint(5, 9), avoided)
    place = rng.random()
    if place < 0.6:
        return others | dict(own)
    if place < 0.75:
        return dict(own) | others
    mixed = [*others.items()]
    for pair in own:
        mixed.insert(rng.randint(0, len(mixed)), pair)
    return dict(mixed)


def _complete(name: str, seed: int, draw: Draw, method: Method, makers: dict[str, Maker], detail_share: float) -> Task:
    body = "\n".join(f"    {line}" for line in method.body.splitlines())
    arguments = tuple(draw.arguments)
    bare = Task(
        name, seed, draw.side, method.selector, makers, arguments, draw.keyworded, {}, (), (), body, method.expectation, method.shape
    )
    slots, args = bare.probe(draw.rng)
    examples = _examples(bare, slots, draw) if draw.rng.random() < draw.exampled else ()
    if detail_share and draw.rng.random() < detail_share:  # nothing is drawn at a share of 0: tasks of before stay what they are
        examples = (*examples, *_detailed_examples(bare, slots, draw.rng))
    return replace(bare, slots=slots, args=args, examples=examples)


def _examples(bare: Task, slots: Slots, draw: Draw) -> tuple[str, ...]:
    """What a caller might say that it expects of this object, for one or two sets of arguments."""
    lines = []
    for _ in range(draw.rng.randint(1, 2) if bare.arguments else 1):
        args = tuple(maker(draw.rng, slots) for _, maker in bare.arguments)
        outcome = bare.expected(slots, args)
        if outcome.error or outcome.result is None or not _presentable(outcome.result):
            continue  # an example shows an answer
        lines.append(f"{render.call(bare.selector, *bare.shape(args))} -> {render.value(outcome.result)}")
    return tuple(dict.fromkeys(lines))


def _detailed_examples(bare: Task, slots: Slots, rng: Random) -> tuple[str, ...]:
    """What a caller might say of the message to this object in another state: what changes and what is answered, or the error."""
    lines = []
    for _ in range(rng.randint(1, 3)):
        probed, args = bare.probe(rng)
        before = {
            name: value for name, value in probed.items() if rng.random() < 0.5 and not isinstance(value, Opaque) and _presentable(value)
        }
        whole = {name: before.get(name, slots[name]) for name in slots}
        outcome, shown = bare.expected(whole, args), plain(whole)
        called = render.call(bare.selector, *bare.shape(args))
        if outcome.error:
            lines.append(render.example(called, slots=before, raises=outcome.error))
            continue
        if outcome.slots.keys() != shown.keys():
            continue  # an example names slots that are there, before and after
        changed = {name: value for name, value in outcome.slots.items() if not same(value, shown[name])}
        result = "" if outcome.result is None or not _presentable(outcome.result) else render.value(outcome.result)
        says = changed or not result or rng.random() < 0.3
        if all(map(_presentable, changed.values())):
            lines.append(render.example(called, result=result, slots=before, changed=changed if says else None))
    return tuple(dict.fromkeys(lines))


def _presentable(result: Any) -> bool:
    """Whether a result can be written down as an example: plain data without objects."""
    return "object" not in str(plain(result)) and "morph" not in str(plain(result))
