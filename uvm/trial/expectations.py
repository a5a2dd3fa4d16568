"""Whether a draft did what an example says, and what it did instead, in words that its author can act on. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from uvm.protocol import Example, Reference
from uvm.trial.protocol import Effect
from uvm.values.slot_values import literal


class ExampleRun(Struct, frozen=True):
    """What became of one call with an example's arguments: `error`, and the `types` that it goes by, or `result` and `effects`."""

    result: Any = None
    effects: list[Effect] = []
    error: str = ""
    types: frozenset[str] = frozenset()


def difference(example: Example, receiver: Reference, call: str, run: ExampleRun) -> str:
    """What the run of an example's call did not do as the example says; nothing if it did."""
    if example.raises:
        if example.raises in run.types:
            return ""
        return f"{call} must raise {example.raises}, and " + (f"ended in {run.error}" if run.error else f"gave {literal(run.result)}")
    if run.error:
        return f"{call} ended in {run.error}" + ("" if example.result is UNSET else f", not in {literal(example.result)}")
    if example.result is not UNSET and not same_wire(run.result, example.result):
        return f"{call} gave {literal(run.result)}, not {literal(example.result)}"
    if example.changed is not UNSET:
        return "; ".join(_unlike(example.changed, {effect.slot: effect for effect in run.effects if effect.object == receiver}))
    return ""


def _unlike(expected: Mapping[str, Any], effects: Mapping[str, Effect]) -> list[str]:
    """Slot by slot, what changed otherwise than wanted."""
    unlike = []
    for slot, value in expected.items():
        after = effects[slot].after if slot in effects else None
        if slot not in effects:
            unlike.append(f"{slot} must become {literal(value)}, and did not change")
        elif after is UNSET:
            unlike.append(f"{slot} must become {literal(value)}, and was removed")
        elif not same_wire(after, value, exactly=True):
            unlike.append(f"{slot} must become {literal(value)}, became {literal(after)}")
    for slot, effect in effects.items():
        if slot not in expected:
            unlike.append(f"{slot} must not change, and " + _became(effect.after))
    return unlike


def _became(after: Any | UnsetType) -> str:
    return "was removed" if after is UNSET else f"became {literal(after)}"


def same_wire(got: Any, expected: Any, *, exactly: bool = False) -> bool:
    """Whether a value is the one that an example names. Numbers are compared as numbers: 7 is 7.0, but no truth value is a number.

    `exactly`: what calculations with floats lose counts too.
    """
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, int | float) and isinstance(expected, int | float):
        near = not exactly and math.isclose(got, expected, rel_tol=1e-9)
        return near or got == expected or (got != got and expected != expected)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(same_wire(a, b, exactly=exactly) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same_wire(value, expected[key], exactly=exactly) for key, value in got.items())
    return type(got) is type(expected) and bool(got == expected)
