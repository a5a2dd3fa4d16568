"""The numbers by which the loop decides, as the image has them: slot `policy` of `autotelic_obj`, a map. Pure.

A message replaces them (`batos send autotelic_obj setSlot_value_ policy '{…}'`, with the right `policy`), and the next beat goes by what is
there. What is missing has its default; a map that cannot be understood counts as none, and is said so in the decision.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

NAME: Final = "autotelic_obj"
SLOT: Final = "policy"

Share = Annotated[float, Meta(ge=0, le=1)]
Hour = Annotated[int, Meta(ge=0, le=23)]


class AutotelicPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """`enabled`: whether anything is trained; what is measured and decided is written down in any case.

    Dissonance begins where the metric is below `stagnant` for `beats` measurements in a row, and ends only where it is above `lively`.
    `misses`: so many messages with evidence of one gap are worth an inquiry. Budgets: processor seconds a day, orders a day, seconds
    between two. `quiet_from` to `quiet_until`: hours (UTC) in which nothing begins; the same: none. `weights`: of selectors, personas,
    tokens, growth. `margin`: what a candidate must at least gain on its gap; `epsilon`: what it may lose on any other slice. `alpha`: how
    likely chance alone may show the gain on the gap; `calibration`: by how much the calibration error may grow. `distance`: how far from
    the adapter that it goes on from a candidate may go, nats a token; 0: no bound. `probation`: judged methods after which an adapter is
    no longer on trial.

    `shadow`: live messages beside which a candidate drafts before it is put into service; 0: none. It has `shadow_s` seconds for that;
    where fewer come, `shadow_needed` refuses it. It does the same as the adapter in service in a share of `agreement` at least of what
    that one had installed, and fails in a share of `erring` at most.
    """

    enabled: bool = False
    stagnant: Share = 0.35
    lively: Share = 0.45
    beats: Annotated[int, Meta(ge=1, le=10_000)] = 3
    misses: Annotated[int, Meta(ge=1, le=10_000)] = 5
    cpu_s_a_day: Annotated[float, Meta(ge=0, le=1e6)] = 14_400.0
    orders_a_day: Annotated[int, Meta(ge=0, le=1000)] = 4
    rest_s: Annotated[float, Meta(ge=0, le=1e7)] = 3600.0
    quiet_from: Hour = 0
    quiet_until: Hour = 0
    weights: tuple[Share, Share, Share, Share] = (0.3, 0.2, 0.2, 0.3)
    margin: Share = 0.1
    alpha: Share = 0.05
    epsilon: Annotated[float, Meta(gt=0, le=0.5)] = 0.02
    calibration: Share = 0.05
    distance: Annotated[float, Meta(ge=0, le=100)] = 0.2
    steps: Annotated[int, Meta(ge=1, le=10_000)] = 120
    tasks: Annotated[int, Meta(ge=1, le=2000)] = 340
    shadow: Annotated[int, Meta(ge=0, le=200)] = 20
    shadow_s: Annotated[float, Meta(ge=0, le=1e7)] = 14_400.0
    shadow_needed: bool = False
    agreement: Share = 0.7
    erring: Share = 0.1
    probation: Annotated[int, Meta(ge=1, le=100_000)] = 50


def read(value: Any) -> tuple[AutotelicPolicy, str]:
    """The policy that a slot holds, and what is wrong with it: then the default policy, which trains nothing."""
    try:
        policy = msgspec.convert(value, AutotelicPolicy)
    except msgspec.ValidationError as error:
        return AutotelicPolicy(), f"the policy cannot be understood: {error}"[:300]
    if policy.lively < policy.stagnant:
        return AutotelicPolicy(), "the policy's `lively` is below its `stagnant`"
    return policy, ""
