"""Examples as values: what one says in which state, which of them contradict each other, and how they read in a line. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from uvm.errors import Contradiction
from uvm.protocol import Example, encode_value
from uvm.values.slot_values import literal

LINES: Final = 4
"""Examples that a prompt shows."""
SHOWN: Final = 6
"""Slots of an example that a line shows."""


class Clause(Struct, frozen=True):
    """An example and the `state` in which it was given, `held` in records. `number`: of one that a method keeps; from 1.

    `looked`: the data slots of its receiver that a run of it looked at, where that was all it did. `on`: the oid of the object that it was
    given for; empty where that was not stored yet, and in images of earlier versions.
    """

    example: Example
    state: dict[str, Any] = msgspec.field(default_factory=dict, name="held")
    number: int = 0
    looked: list[str] | None = None
    on: bytes = b""

    @property
    def whole(self) -> Example:
        """The example in its state, whatever the receiver is by now."""
        slots = {**self.state, **(self.example.slots or {})}
        return msgspec.structs.replace(self.example, slots=slots) if slots else self.example

    @property
    def situation(self) -> bytes:
        """What is called in which state."""
        example = self.whole
        return _bytes([example.args, sorted(example.kwargs.items()), sorted((example.slots or {}).items())])

    @property
    def expectation(self) -> bytes:
        """What is to come of it."""
        example = self.example
        return _bytes([[] if part is UNSET else [part] for part in (example.result, example.changed, example.raises)])

    def same(self, clause: "Clause") -> bool:
        """Whether it says what the other one says."""
        return self.situation == clause.situation and self.expectation == clause.expectation

    def repeats(self, clause: "Clause") -> bool:
        """Whether a method that keeps the other one need not keep it: it says the same, of the same object or of any."""
        anywhere = self.looked is not None or clause.looked is not None or not self.on or not clause.on
        return self.same(clause) and (anywhere or self.on == clause.on)

    def covers(self, clause: "Clause") -> bool:
        """Whether a run that held for this one shows that the other one holds: it looked at nothing in which they differ."""
        mine, theirs = self.whole, clause.whole
        if self.looked is None or self.expectation != clause.expectation or mine.args != theirs.args or mine.kwargs != theirs.kwargs:
            return False
        before, now = mine.slots or {}, theirs.slots or {}
        return all(slot in before and slot in now and _bytes(before[slot]) == _bytes(now[slot]) for slot in self.looked)

    def apart(self, clause: "Clause") -> bool:
        """Whether they are of two objects that may differ in more than data, so that what they say need not agree.

        Only of one that is kept is it known that a run looked at more than data, and that it is tried on its own object.
        """
        beyond = (self.number and self.looked is None) or (clause.number and clause.looked is None)
        return bool(beyond and self.on and clause.on and self.on != clause.on)

    def contradicts(self, clause: "Clause") -> bool:
        """Whether no method can satisfy both."""
        mine, theirs = self.example, clause.example
        if self.situation != clause.situation:
            return False
        if mine.raises or theirs.raises:
            return mine.raises != theirs.raises
        pairs = ((mine.result, theirs.result), (mine.changed, theirs.changed))
        return any(a is not UNSET and b is not UNSET and _bytes(a) != _bytes(b) for a, b in pairs)


def agree(selector: str, clauses: Sequence[Clause]) -> None:
    """Raises Contradiction where two of them cannot both be satisfied; it shows both."""
    for first, second in combinations(clauses, 2):
        if first.contradicts(second) and not first.apart(second):
            texts = [_shown(selector, clause) for clause in (first, second)]
            number = next((clause.number for clause in (first, second) if clause.number), 0)
            raise Contradiction(
                f"no {selector} can satisfy both {texts[0]} and {texts[1]}",
                f"leave one of them out; batos examples TARGET {selector} --remove {number} takes the kept one away"
                if number
                else "leave one of them out, or say with slots in which state each of them holds",
                examples=texts,
            )


def labels(clauses: Sequence[Clause]) -> list[str]:
    """What each of them is called in the verdict of a trial."""
    new = 0
    names = []
    for clause in clauses:
        new += not clause.number
        names.append(f"kept example {clause.number}" if clause.number else f"example {new}")
    return names


def merged(before: Sequence[Clause], clauses: Iterable[Clause]) -> list[Clause]:
    """The examples of both, each once."""
    together = list(before)
    for clause in clauses:
        if not any(clause.same(prior) for prior in together):
            together.append(clause)
    return together


def call(selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The call as the prompt shows it."""
    shown = [literal(value) for value in args] + [f"{name}={literal(value)}" for name, value in kwargs.items()]
    return f"{selector}({', '.join(shown)})"


def lines(selector: str, examples: Sequence[Example]) -> list[str]:
    """The first examples, as a prompt shows them."""
    return [line(selector, example) for example in examples[:LINES]]


def line(selector: str, example: Example) -> str:
    """An example as a prompt and a person read it: `with price=2: total(3) -> 6, then price=6`."""
    before = f"with {_assigned(example.slots)}: " if example.slots else ""
    ends = f" raises {example.raises}" if example.raises else "" if example.result is UNSET else f" -> {literal(example.result)}"
    after = "" if example.changed is UNSET else f", then {_assigned(example.changed) or 'nothing changed'}"
    return f"{before}{call(selector, tuple(example.args), example.kwargs)}{ends}{after}"


def _assigned(slots: Mapping[str, Any]) -> str:
    shown = [f"{name}={literal(value)}" for name, value in list(slots.items())[:SHOWN]]
    return ", ".join(shown if len(slots) <= SHOWN else [*shown, "…"])


def _shown(selector: str, clause: Clause) -> str:
    text = line(selector, clause.example)
    return f"kept example {clause.number}, {text}" if clause.number else text


def _bytes(value: Any) -> bytes:
    return encode_value(_numbers(value))


def _numbers(value: Any) -> Any:
    """The value with whole floats as integers: 7 is 7.0 in an example."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list | tuple):
        return [_numbers(element) for element in value]
    return {key: _numbers(element) for key, element in value.items()} if isinstance(value, dict) else value
