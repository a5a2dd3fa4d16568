"""When a new environment is not well. Pure: what was seen of the service in, reasons out; no reasons, it is well."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from deploy.upgrader.events import Load

ENOUGH: Final = 200
"""Messages on each side without which speeds and errors are not compared."""
SLOWER: Final = 2.0
"""How many times as long messages may take on the average, …"""
SLOWER_BY_S: Final = 0.010
"""… where that is more than this, seconds: what is quick may double without anybody noticing."""
MORE_ERRORS: Final = 0.02
"""How much larger the share of answers may be that are errors."""


class Pulse(Struct, frozen=True):
    """What the bridge says at a moment: its process, the UVMs that it has with theirs, and what it counted since it began.

    `waited_s`: seconds from arrival to answer, of which a message counts at most a tenth: one that waits for the model is not slow.
    """

    bridge: int = 0
    uvms: Mapping[str, int] = {}
    held: int = 0
    answered: int = 0
    waited_s: float = 0.0
    failed: int = 0
    deaths: int = 0
    replayed: int = 0


def between(before: Pulse, after: Pulse, seconds: float) -> Load:
    """What was counted from one moment to another. A bridge that began anew in between counts from its beginning."""
    same = before.bridge == after.bridge
    start = before if same else Pulse()
    return Load(
        seconds,
        after.answered - start.answered,
        after.waited_s - start.waited_s,
        after.failed - start.failed,
        after.deaths - start.deaths,
        after.replayed - start.replayed,
    )


def absent(pulse: Pulse | None, pids: Mapping[str, int], concerned: Iterable[str] | None = None) -> list[str]:
    """Which of the programs are not at work yet: they have no process, or the bridge does not have them.

    `pids`: by program, as supervisord has them, 0 for none; `concerned`: of which of them it is asked, by default all.
    """
    reasons = []
    for program in pids if concerned is None else concerned:
        if not pids.get(program):
            reasons.append(f"{program} does not run")
        elif pulse is None:
            reasons.append("the bridge does not answer")
        elif program == "bridge" and pulse.bridge != pids[program]:
            reasons.append("another bridge answers than supervisord's")
        elif program.startswith("uvm-") and pulse.uvms.get(program) != pids[program]:
            reasons.append(f"the bridge does not have {program}")
    return list(dict.fromkeys(reasons))


def changed(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """Which programs have ended since: on trial, none may."""
    return [f"{program} ended, and was started again" for program, pid in before.items() if now.get(program) != pid]


def worse(before: Load, during: Load) -> list[str]:
    """What is worse on trial than it was before."""
    reasons = []
    if during.deaths:
        reasons.append(f"{during.deaths} UVMs died while they had messages")
    if min(before.answered, during.answered) < ENOUGH:
        return reasons
    usual, now = before.waited_s / before.answered, during.waited_s / during.answered
    if now > SLOWER * usual and now - usual > SLOWER_BY_S:
        reasons.append(f"messages take {now * 1000:.0f} ms on the average, before {usual * 1000:.0f} ms")
    share_before, share_now = before.failed / before.answered, during.failed / during.answered
    if share_now - share_before > MORE_ERRORS:
        reasons.append(f"{share_now:.1%} of the answers are errors, before {share_before:.1%}")
    return reasons
