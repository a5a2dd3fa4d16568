"""Whether the image wishes by itself, and for what. Pure: what is newer, what became of earlier wishes and the policy in, a decision out.

What was reverted or refused is not wished for again in the same version, whoever wished for it: the proof and the probation have spoken.
One distribution at a time, the first by name, so that a receipt says of one change whether it was well. Those that only go together are
for a person to wish for.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from deploy.environment import normalized
from deploy.upgrader.wheel_directory import NewerVersion
from deploy.wishes import WantedVersion
from uvm.wishes.policy import WishPolicy

DAY_S: Final = 86_400


class WishDecision(Struct, frozen=True):
    """What to wish for, None: nothing, and the reason in words."""

    wanted: WantedVersion | None
    reason: str


def decide(
    newer: Mapping[str, NewerVersion],
    rule: WishPolicy,
    spoilt: Collection[str],
    own: Collection[int],
    *,
    now: int,
    engaged: str = "",
    fault: str = "",
) -> WishDecision:
    """`spoilt`: `NAME==VERSION` that were tried and taken back, or refused; `own`: when the heartbeat itself wished, seconds since the
    epoch; `engaged`: why nothing else may be wished for now; `fault`: of the policy.
    """
    if fault:
        return WishDecision(None, fault)
    if engaged:
        return WishDecision(None, engaged)
    if not rule.enabled:
        return WishDecision(None, "the policy wishes for nothing by itself")
    eligible = {name: versions for name, versions in sorted(newer.items()) if _may(name, rule)}
    untried = {name: versions for name, versions in eligible.items() if f"{name}=={versions.newest}" not in spoilt}
    if not untried:
        return WishDecision(
            None, "what is newer was tried, and taken back" if eligible else "nothing that is installed is older than its wheels"
        )
    if sum(1 for at in own if now - at < DAY_S) >= rule.a_day:
        return WishDecision(None, f"{rule.a_day} wishes a day are spent")
    if own and now - max(own) < rule.rest_s:
        return WishDecision(None, "it rests after the last wish")
    name, versions = next(iter(untried.items()))
    return WishDecision(
        WantedVersion(name, versions.newest), f"{versions.newest} is in the directory of wheels, and {versions.has} installed"
    )


def _may(name: str, rule: WishPolicy) -> bool:
    only, never = {normalized(each) for each in rule.only}, {normalized(each) for each in rule.never}
    return name not in never and (not only or name in only)
