"""Whether the image stagnates, and whether something is done about it now.

Pure: what is known goes in, a decision with its reason comes out.
"""

import time
from typing import Literal

from msgspec import Struct

from uvm.autotelic.policy import AutotelicPolicy

Kind = Literal["rest", "wait", "inquire"]


class Mood(Struct, frozen=True):
    """What is remembered from beat to beat: whether there is dissonance, and for how many measurements the metric has been low."""

    dissonant: bool = False
    low: int = 0


class SpentBudget(Struct, frozen=True):
    """What was spent: processor seconds and orders of the last 24 hours, and when the last order was given (seconds since the epoch)."""

    cpu_s: float = 0.0
    orders: int = 0
    last: float = 0.0


class Decision(Struct, frozen=True):
    """`rest`: nothing is wrong. `wait`: something is, and not now, because. `inquire`: now."""

    kind: Kind
    reason: str
    mood: Mood


def felt(mood: Mood, cem: float | None, policy: AutotelicPolicy) -> Mood:
    """The mood after a measurement, with hysteresis; a window without messages changes nothing."""
    if cem is None:
        return mood
    low = mood.low + 1 if cem < policy.stagnant else 0
    if mood.dissonant:
        return Mood(cem <= policy.lively, low)
    return Mood(low >= policy.beats, low)


def decide(
    mood: Mood,
    cem: float | None,
    policy: AutotelicPolicy,
    budget: SpentBudget,
    *,
    now: float,
    busy: bool,
    engaged: str,
    evidence: int,
    fault: str = "",
) -> Decision:
    """What to do now (`now`: seconds since the epoch).

    `busy`: somebody waits for the model. `engaged`: what the loop is in the middle of. `evidence`: messages with evidence that nobody has
    inquired into yet. The reasons are tried in this order, the first that holds is told.
    """
    mood = felt(mood, cem, policy)
    if fault:
        return Decision("wait", fault, mood)
    if not mood.dissonant:
        return Decision("rest", "nothing is sent" if cem is None else "the image is lively enough", mood)
    if not policy.enabled:
        return Decision("wait", "the policy has training switched off", mood)
    if engaged:
        return Decision("wait", engaged, mood)
    if evidence < policy.misses:
        return Decision("wait", f"too little evidence of what is missing: fewer than {policy.misses} messages", mood)
    if hindrance := _hindrance(policy, budget, now=now, busy=busy):
        return Decision("wait", hindrance, mood)
    return Decision("inquire", "the metric is low, and there is evidence of what is missing", mood)


def spared(decision: Decision, policy: AutotelicPolicy, budget: SpentBudget, *, now: float, busy: bool) -> Decision:
    """The decision where lessons wait that messages gave: they need no dissonance, but a budget like all others."""
    hindrance = _hindrance(policy, budget, now=now, busy=busy)
    return Decision("wait" if hindrance else "inquire", hindrance or "lessons were given", decision.mood)


def _hindrance(policy: AutotelicPolicy, budget: SpentBudget, *, now: float, busy: bool) -> str:
    if is_quiet(policy, now):
        return f"quiet hours, {policy.quiet_from} to {policy.quiet_until} UTC"
    if budget.orders >= policy.orders_a_day:
        return f"{policy.orders_a_day} orders a day are spent"
    if budget.cpu_s >= policy.cpu_s_a_day:
        return f"{policy.cpu_s_a_day:g} processor seconds a day are spent"
    if now - budget.last < policy.rest_s:
        return f"the last order was less than {policy.rest_s:g} s ago"
    return "somebody waits for the model" if busy else ""


def is_quiet(policy: AutotelicPolicy, now: float) -> bool:
    """Whether nothing begins at this hour."""
    hour, start, end = time.gmtime(now).tm_hour, policy.quiet_from, policy.quiet_until
    return start <= hour < end if start <= end else hour >= start or hour < end
