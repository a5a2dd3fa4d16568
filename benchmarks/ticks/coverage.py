"""All cases, and what of the language's tables has none."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from benchmarks.ticks.case import Case
from benchmarks.ticks.containers import lists, tables
from benchmarks.ticks.functions import functions
from benchmarks.ticks.objects import merging, objects
from benchmarks.ticks.operators import operators
from benchmarks.ticks.statements import longest, statements
from benchmarks.ticks.texts import texts
from uvm.language import value_methods as plain
from uvm.language.bounds import kind_of
from uvm.language.builtins import NAMES
from uvm.language.transformer import OPERATOR_GUARDS
from uvm.runtime import wherefore
from uvm.runtime.personas import PERSONAS
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.prompting import PROMPTS
from uvm.runtime.recollection import EVERYWHERE
from uvm.runtime.revoking import AUTHORS

PARTS: Final[tuple[Callable[[], Iterator[Case]], ...]] = (texts, lists, tables, functions, operators, statements, longest, objects, merging)

ELSEWHERE: Final = {
    "primitive objects": "needs genesis_obj; charged per object",
    "primitive decline_": "ends the attempt",
    "primitive infer_": "ends the attempt",
    "primitive beWritten_": "ends the attempt",
    "primitive routed_": "needs a message object; charged per persona",
    "primitive fineTuneWith_": "needs a persona; costs what setSlot_value_ costs",
    "primitive wishFor_": "needs upgrade_obj, and the right to change it; costs what setSlot_value_ costs",
    **{f"primitive {selector}": "for tools alone; charged by what it looks at" for selector in {**PERSONAS, **PROMPTS, **AUTHORS}},
    **{f"primitive {selector}": "reads the books; charged by what it looks at" for selector in {**EVERYWHERE, **wherefore.EVERYWHERE}},
}
"""What no case can repeat, and why."""


def cases(part: str = "") -> list[Case]:
    """The cases of one part, or of all."""
    return [case for make in PARTS if part in ("", make.__name__) for case in make()]


def listed() -> set[str]:
    """Everything that the language's tables have."""
    names = {f"{kind_of(_sample(kind))}.{name}" for kind, table in plain.METHODS.items() for name in table}
    names |= NAMES | {f"op {symbol}" for symbol in OPERATOR_GUARDS} | {f"op {symbol}=" for symbol in OPERATOR_GUARDS}
    return names | {f"primitive {name}" for name in PRIMITIVES}


def _sample(kind: type) -> Any:
    return kind()


def missing() -> set[str]:
    """What the tables have and no case measures."""
    return listed() - {case.covers for case in cases()} - set(ELSEWHERE)
