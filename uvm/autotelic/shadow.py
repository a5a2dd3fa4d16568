"""Whether a candidate that drafts beside the adapter in service does what that one does. Pure.

Between the exam and the switch both draft for the same live messages; the candidate's drafts are seen by nobody who sent one. What the
drafts do on varied copies of the object is compared, on the state that the message met (`uvm.generation.shadowing`). Where the adapter in
service had its draft installed, the candidate ought to do the same; where it was refused, it may do what it likes, and only ought not to
fail. It is not known here who is right: an agreement says that nothing changes for whoever is served well, and no more.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from uvm.autotelic.policy import AutotelicPolicy

FEW: Final = 5
"""Of fewer messages no share is taken."""

Current = Literal["installed", "refused"]
Beside = Literal["same", "other", "declined", "erred"]


class ShadowOrder(Struct, frozen=True):
    """What is to be compared: the round's id, the digests of candidate and of the adapter in service (empty: none)."""

    id: str
    candidate: str
    current: str


class ShadowedMessage(Struct, frozen=True):
    """A live message, and what became of it (`current`).

    `candidate`: its best draft would have done the `same`, or something `other`; or most of its drafts declined; or none of them was fit
    where the other one's were (`erred`).
    """

    message: str
    selector: str
    current: Current
    candidate: Beside


class ShadowStanding(Struct, frozen=True):
    """`why` is what stands in the verdict."""

    state: Literal["drafting", "passed", "refused"]
    why: str


def standing(seen: Sequence[ShadowedMessage], rule: AutotelicPolicy, *, over: bool) -> ShadowStanding:
    """How it stands with a candidate; `over`: its time is. The policy's numbers are a message's to change meanwhile."""
    if len(seen) < rule.shadow and not over:
        return ShadowStanding("drafting", f"{len(seen)} of {rule.shadow} messages")
    installed = [each.candidate for each in seen if each.current == "installed"]
    alike, erred = installed.count("same"), sum(each.candidate == "erred" for each in seen)
    told = f"beside {len(seen)} messages it did the same in {alike} of {len(installed)} that were installed, and failed in {erred}"
    if len(seen) < rule.shadow:
        told = f"{told}; only {len(seen)} of {rule.shadow} messages came within {rule.shadow_s:g} s"
        if rule.shadow_needed:
            return ShadowStanding("refused", f"{told}, and the policy needs them (shadow_needed)")
    if len(installed) >= FEW and alike < rule.agreement * len(installed):
        return ShadowStanding("refused", f"{told}; in {rule.agreement:.0%} at least it ought to do the same")
    if len(seen) >= FEW and erred > rule.erring * len(seen):
        return ShadowStanding("refused", f"{told}; in {rule.erring:.0%} at most it may fail")
    return ShadowStanding("passed", told)
