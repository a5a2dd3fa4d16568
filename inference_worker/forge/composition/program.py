"""Draws whole programs as task families: `composed.value`, `composed.change`, `composed.declined`; and which shapes training never sees.

A program's meaning is its Python: the expectation runs it. What is drawn is thrown away when it does the same as one of its parts,
always answers the same, or mostly ends in an error; and when its selector grows past what anybody would type.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, Final

from inference_worker.forge import values
from inference_worker.forge.composition import lists, numbers, rows, texts, truths
from inference_worker.forge.composition.changes import CHANGES
from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Kind, Term
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.standin import NAMES, BodyDeclined, StandIn, expect, same
from inference_worker.forge.values import Maker, Slots
from inference_worker.forge.words import WORDS, Side

_BY_KIND: Final[dict[Kind, tuple[Operator, ...]]] = {
    "number": numbers.OPERATORS + rows.IN_NUMBER,
    "text": texts.OPERATORS + rows.IN_TEXT,
    "truth": truths.OPERATORS + rows.IN_TRUTH,
    "numbers": lists.NUMBERS + rows.IN_NUMBERS,
    "texts": lists.TEXTS + rows.IN_TEXTS,
    "rows": rows.ROWS,
    "ledger": rows.LEDGERS,
    "pairs": rows.PAIRS,
}
KINDS: Final[tuple[Kind, ...]] = (
    *("number",) * 4,
    *("text",) * 2,
    *("truth",) * 2,
    *("numbers",) * 2,
    *("texts",) * 2,
    "rows",
    "ledger",
    "pairs",
)
"""What a question asks for, by how often."""
PROBES: Final = 7
TRIES: Final = 60
LONGEST: Final = 68
"""Letters of the longest selector."""
TEST_SHARE: Final = 6
"""One shape in this many is never trained on."""


def side_of(shape: str) -> Side:
    """The side a shape belongs to, for good; a single operator over slots is on both."""
    return "test" if hashlib.sha256(f"shape {shape}".encode()).digest()[0] % TEST_SHARE == 0 else "train"


@dataclass(frozen=True)
class ComposedProgram:
    """A drawn method: its selector, body and shape, the terms that it is made of, and whether it is one operator over slots alone."""

    selector: str
    body: str
    shape: str
    parts: tuple[Term, ...]


def behaviour(body: str, parameters: list[str]) -> Callable[..., Any]:
    """What a body does, as an expectation: a function of slots, which it changes, and of arguments."""
    text = "\n".join(f"    {line}" for line in body.splitlines())
    namespace: dict[str, Any] = {"__builtins__": {}, **NAMES}
    exec(compile(f"def composed({', '.join(['self', *parameters])}):\n{text}\n", "composed", "exec"), namespace)

    def expectation(slots: Slots, *args: Any) -> Any:
        receiver = StandIn({})
        object.__setattr__(receiver, "_slots", slots)
        return namespace["composed"](receiver, *args)

    return expectation


def value(d: Draw) -> Method:
    """A question: a term of any kind, of one to three levels."""
    return _method(d, _answer)


def change(d: Draw) -> Method:
    """A message that changes the object."""
    return _method(d, _changed)


def declined(d: Draw) -> Method:
    """The same messages to an object that lacks what they need, or has a text under that name where a list or a dict is needed."""
    for _ in range(TRIES):
        method = _method(d, _changed if d.rng.random() < 0.3 else _answer)
        words = set(method.selector.split("_"))
        named = [name for name in d.slots if name in method.selector and set(name.split("_")) <= words and f"self.{name}" in method.body]
        fields = sorted(word for word in words if re.search(rf"\br(\.{word}\b|\['{word}'\])", method.body))
        if named:
            break
    else:
        raise ValueError("no selector named a slot that it needs")
    missing = d.rng.choice(named)
    as_container = re.search(rf"in self\.{missing}\b|\(self\.{missing}[,)]|self\.{missing}\.(append|items|values)", method.body) is not None
    if fields and d.rng.random() < 0.6:
        missing = d.rng.choice(fields)
        for name, maker in d.slots.items():
            d.slots[name] = _without_field(missing, maker)
        why = f"no {missing} in the rows"
    elif as_container and d.rng.random() < 0.25 and not _holds_text(d, missing):
        d.slots[missing] = values.short_text
        why = f"{missing} is a text"
    else:
        del d.slots[missing]
        d.shunned.update(missing.split("_"))
        why = f"no slot for {missing}"
    d.arguments[:] = [(keyword, _without(missing, maker)) for keyword, maker in d.arguments]
    d.crowded = max(d.crowded, 0.3)

    def declines(slots: Slots, *args: Any) -> Any:
        raise BodyDeclined(missing)

    return Method(method.selector, f'decline("{why}")', declines)


def _holds_text(d: Draw, slot: str) -> bool:
    """Whether a slot holds a text anyway: another one in its place would answer as well."""
    slots: Slots = {}
    rng = Random(slot)
    for name, maker in d.slots.items():
        slots[name] = maker(rng, slots)
    return isinstance(slots[slot], str)


def _without_field(field: str, maker: Maker) -> Maker:
    """Rows that lack a field; other values as they are."""

    def less(row: Any) -> Any:
        if isinstance(row, StandIn):
            return StandIn({name: value for name, value in row._slots.items() if name != field})
        return {name: value for name, value in row.items() if name != field} if isinstance(row, dict) else row

    def make(rng: Random, slots: Slots) -> Any:
        content = maker(rng, slots)
        return [less(row) for row in content] if isinstance(content, list) else content

    return make


def _without(missing: str, maker: Maker) -> Maker:
    """An argument of a message whose slot is not there, or is not what it was."""

    def make(rng: Random, slots: Slots) -> Any:
        try:
            return maker(rng, {name: value for name, value in slots.items() if name != missing})
        except (KeyError, AttributeError):
            return rng.choice(WORDS)

    return make


class Unsuitable(Exception):
    """What was drawn is of no use: draw again."""


def _method(d: Draw, draw_program: Callable[[Scene], ComposedProgram]) -> Method:
    for _ in range(TRIES):
        d.slots.clear()
        d.arguments.clear()
        d.shunned.clear()
        try:
            program = draw_program(Scene(d, _BY_KIND))
            if side_of(program.shape) != d.side and "(" in program.shape.partition("(")[2]:
                continue  # a deep shape of the other side
            parameters = [_parameter(d, number) for number in range(len(d.arguments))]
            expectation = behaviour(program.body, parameters)
            if trivial(d, program, expectation, parameters):
                continue
        except (Unsuitable, ValueError, IndexError, KeyError):
            continue
        return Method(d.say(program.selector), program.body, expectation, program.shape)
    raise ValueError("nothing suitable was drawn")


def _parameter(d: Draw, number: int) -> str:
    return d.arguments[number][0] if d.keyworded else "abcdefgh"[number]


def _answer(scene: Scene) -> ComposedProgram:
    kind = scene.rng.choice(KINDS)
    depth = scene.rng.choice((1, 2, 2, 2, 3))
    term = scene.term(kind, depth)
    if not term.parts:
        raise Unsuitable
    body = term.code if "\n" in term.code else f"return {term.code}"
    return ComposedProgram(_selector(scene, term), body, term.shape, (term,))


def _changed(scene: Scene) -> ComposedProgram:
    operator = scene.rng.choice(CHANGES)
    drawn = operator(scene, scene.rng.choice((0, 1, 1, 2)))
    return ComposedProgram(drawn.name, drawn.body, drawn.shape, drawn.parts)


def _selector(scene: Scene, term: Term) -> str:
    """The words for a term, at times with a verb before them."""
    name = term.name
    match term.kind:
        case "truth":
            return name
        case "rows" | "numbers" | "texts" if scene.chance(0.2):
            return f"{scene.choose('list', 'get', 'find', 'all')}_{name}"
        case "number" | "text" if scene.chance(0.1):
            return f"{scene.choose('get', 'compute', 'calculate', 'show', 'find')}_{name}"
        case _:
            return name


def trivial(d: Draw, program: ComposedProgram, expectation: Callable[..., Any], parameters: list[str]) -> bool:
    """Whether nobody would write this, or a test could not tell it from something simpler."""
    words = program.selector.split("_")
    if len(program.selector) > LONGEST or len(words) > 11 or any(first == second for first, second in pairwise(words)):
        return True
    if len(program.body) > 260 or not re.fullmatch(r"[a-z][a-z0-9_]*", program.selector):
        return True
    # What stands in the body has to come from the object or from the message.
    if any(re.search(rf"\b{parameter}\b", program.body) is None for parameter in parameters):
        return True
    rng = Random(f"probe {program.selector} {program.body}")
    simpler = [behaviour(f"return {code}", parameters) for part in program.parts for code in part.parts if "\n" not in code]
    if program.parts and program.parts[0].code not in program.body:
        simpler = []
    results: list[Any] = []
    alike = [0] * len(simpler)
    errors = 0
    for _ in range(PROBES):
        slots: Slots = {}
        for name, maker in d.slots.items():
            slots[name] = maker(rng, slots)
        args = [maker(rng, slots) for _, maker in d.arguments]
        outcome = expect(slots, args, expectation)
        if outcome.error:
            errors += 1
            continue
        results.append(outcome.result)
        for number, part in enumerate(simpler):
            apart = expect(slots, args, part)
            alike[number] += not apart.error and same(apart.result, outcome.result)
    if errors > 1:  # what often fails teaches nothing
        return True
    changes = any(line.lstrip().startswith("self.") or ".append(" in line or "_p_changed" in line for line in program.body.splitlines())
    if not changes and any(count == len(results) for count in alike):
        return True
    first = results[0]
    # Truths are alike on few probes; 0 and 1 equal them, and are no truths.
    return not changes and not isinstance(first, bool) and all(same(result, first) for result in results)
