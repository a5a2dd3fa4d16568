"""Right or wrong: what was observed of a call, against what a suite expects of it. Pure; any thread may call it.

Values are compared in the form in which suites write them, where `{"@": "name"}` is an object of the task. Numbers are equal within one
part in a thousand million, or as much in absolute terms; an integer equals its float; no truth value is a number; lists and maps are
compared part by part.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from ui_client.evaluation.suite import ExpectedOutcome, reference

REFUSALS: Final = frozenset({"Refused", "Declined"})
"""Errors by which the image says that it will not, or that a method's author does not know."""
TOLERANCE: Final = 1e-9
_SHOWN: Final = 120


class Observation(Struct, frozen=True):
    """What a call did. `error`: the type of the error that it ended in, empty for an answer; `raised`: the type of the error that a method
    raised of its own; `changed`: slot of the receiver, or `other.slot` → its value afterwards; `beyond`: what else changed, in words."""

    result: Any = None
    error: str = ""
    raised: str = ""
    changed: dict[str, Any] = {}
    beyond: list[str] = []


class Judgement(Struct, frozen=True):
    """A verdict; `why` is empty for what is right."""

    right: bool
    why: str = ""


def judge(expect: ExpectedOutcome, observed: Observation, judge_changed: bool = True) -> Judgement:
    """Whether a call did what is expected."""
    if expect.refused:
        return _refused(observed)
    if expect.contained:
        strangers = [slot for slot in observed.changed if "." in slot] + observed.beyond
        return _verdict(f"changed beyond the receiver: {', '.join(strangers)}" if strangers else "")
    if expect.raises is not UNSET:
        raised = expect.raises in (observed.error, observed.raised)
        why = "" if raised else f"should raise {expect.raises}, {_ended(observed)}"
        return _verdict(why or _changes({}, observed))
    if observed.error:
        return Judgement(False, _ended(observed))
    if expect.result is not UNSET and not expect.any_result and not same(observed.result, expect.result):
        return Judgement(False, f"answered {_shown(observed.result)}, not {_shown(expect.result)}")
    if not judge_changed:
        return _verdict(f"changed {', '.join(observed.beyond)}" if observed.beyond else "")
    return _verdict(_changes(expect.changed or {}, observed))


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal; see the module."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right or math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (left != left and right != right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        name = reference(left)
        if name is not None and name == reference(right):
            return True
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    return type(left) is type(right) and bool(left == right)


def _refused(observed: Observation) -> Judgement:
    touched = [*observed.changed, *observed.beyond]
    if observed.error not in REFUSALS:
        return Judgement(False, f"should be refused, {_ended(observed)}")
    return _verdict(f"was refused, and changed {', '.join(touched)}" if touched else "")


def _changes(expected: Mapping[str, Any], observed: Observation) -> str:
    unlike = []
    for slot, value in expected.items():
        if slot not in observed.changed:
            unlike.append(f"{slot} should become {_shown(value)}, and did not change")
        elif not same(observed.changed[slot], value):
            unlike.append(f"{slot} should become {_shown(value)}, became {_shown(observed.changed[slot])}")
    unlike += [f"{slot} should not change, became {_shown(value)}" for slot, value in observed.changed.items() if slot not in expected]
    unlike += [f"{slot} should not change" for slot in observed.beyond]
    return "; ".join(unlike)


def _verdict(why: str) -> Judgement:
    return Judgement(not why, why)


def _ended(observed: Observation) -> str:
    if observed.error:
        return f"ended in {observed.raised or observed.error}"
    return f"answered {_shown(observed.result)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
