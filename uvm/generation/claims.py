"""Message objects in the image: claimed, advanced and ended by compare-and-set of (stage, owner).

Layout: `messages` shard of the key, slot `<key>` → message object. Besides what was sent (`message_object`) it has `stage`, `owner`
(the incarnation of a UVM), `lease` (seconds since the epoch until which the owner need not be doubted), `round`, `depth`, `waits_for`
(keys of messages whose methods it needs), and then, stage by stage, `plan`, `drafts`, `method` or `refusal`.

When the selector is missed again, another round begins, and what the message was until then becomes an object of its own: `rounds` has
them, the oldest first, at most `ROUNDS`; `rounds_dropped` says how many went for newer ones.
"""

import time
from typing import Any, Final

import msgspec

from uvm.generation.stages import TERMINAL, Claim, Draft, check_step
from uvm.image.image import Image
from uvm.image.tally import count
from uvm.objects import ABSENT, KIND, PARENTS, UvmObject
from uvm.protocol import Reference

LEASE_S: Final = 15.0
ROUNDS: Final = 16
"""Earlier rounds that a message keeps."""
_LASTING: Final = frozenset({PARENTS, KIND, "round", "rounds", "rounds_dropped"})
"""Slots that are the message's, not a round's."""


class LostClaim(Exception):
    """Another process has taken the message over."""


def find(image: Image, key: str) -> UvmObject | None:
    """The message object of a key, if there is one."""
    message = image.shard("messages", key).own(key)
    return None if message is ABSENT else message


def claim(image: Image, key: str, facts: dict[str, Any], owner: str, asked_at: float, fulfilled: bool, counted: bool = True) -> Claim:
    """Take the message, in the current transaction, or say why it cannot be taken.

    `asked_at`: when the message arrived that needs the method (seconds since the epoch): a refusal that came after it is its answer,
    an older one is not. `fulfilled`: whether the receiver understands the selector by now. `counted`: whether
    the image's counter of messages is moved.
    """
    message = find(image, key)
    if message is None:
        message = UvmObject({PARENTS: [image.root["message_traits"]], KIND: "message", "round": 1, "drafts": [], **facts})
        message.put("stage", "reified")
        image.enter("messages", key, message)
        _hold(message, owner)
        if counted:
            count(image, "messages")
        return Claim("mine", image.reference(message).oid, "reified")
    oid = image.reference(message).oid
    stage = message.own("stage")
    if stage == "installed" and fulfilled:
        return Claim("installed", oid, stage)
    if stage == "refused" and message.own("ended", 0) > asked_at:
        return Claim("refused", oid, stage, refusal=dict(message.own("refusal")))
    if stage in TERMINAL:
        earlier = [msgspec.convert(draft, Draft) for draft in message.own("drafts", [])] if stage == "refused" else []
        _next_round(message)
        for name, value in facts.items():
            message.put(name, value)
        message.put("stage", "reified")
        message.put("drafts", [])
        _hold(message, owner)
        return Claim("mine", oid, "reified", earlier=earlier)
    if message.own("owner") != owner and message.own("lease") > time.time():
        return Claim("theirs", oid, stage)
    _hold(message, owner)
    drafts = [msgspec.convert(draft, Draft) for draft in message.own("drafts")]
    if drafts:
        message.put("stage", "drafted")
        return Claim("mine", oid, "drafted", drafts)
    message.put("stage", "reified")
    return Claim("mine", oid, "reified")


def _next_round(message: UvmObject) -> None:
    """Keep what a message was, and make it ready to begin anew."""
    current = ("rounds", "rounds_dropped", "owner", "lease")
    past = UvmObject({name: value for name, value in message._slots.items() if name not in current})
    rounds = [*message.own("rounds", []), past]
    for name in [name for name in message._slots if name not in _LASTING]:
        message.drop(name)
    message.put("round", message.own("round") + 1)
    message.put("rounds", rounds[-ROUNDS:])
    if len(rounds) > ROUNDS:
        message.put("rounds_dropped", message.own("rounds_dropped", 0) + len(rounds) - ROUNDS)


def advance(image: Image, oid: bytes, owner: str, before: str, after: str, **slots: Any) -> UvmObject:
    """Take the next step, in the current transaction. Raises LostClaim, IllegalStage."""
    message = _owned(image, oid, owner, before)
    check_step(before, after)
    for name, value in slots.items():
        message.put(name, value)
    message.put("stage", after)
    if after in TERMINAL:
        message.put("ended", time.time())
        message.put("waits_for", [])
    _hold(message, owner)
    return message


def enter(image: Image, key: str, message: UvmObject, method: UvmObject, holder: UvmObject) -> None:
    """A method that was shown is installed: its message is the one of this key, in the current transaction, unless another is under way."""
    present = find(image, key)
    if present is None or present.own("stage") in TERMINAL:
        image.enter("messages", key, message)
    message.put("stage", "installed")
    message.put("method", method)
    message.put("installed_on", holder)


def back_to_trial(image: Image, oid: bytes, owner: str) -> None:
    """What the trial saw has changed: the drafts are to be tried again, in the current transaction. Raises LostClaim."""
    message = _owned(image, oid, owner)
    message.put("stage", "audited")


def wait_for(image: Image, oid: bytes, owner: str, key: str) -> None:
    """Note that the message waits for the one with this key, in the current transaction. Raises LostClaim."""
    message = _owned(image, oid, owner)
    message.put("waits_for", [*message.own("waits_for", []), key])


def renew(image: Image, oid: bytes, owner: str, stage: str) -> None:
    """Renew the lease, in the current transaction. Raises LostClaim."""
    _hold(_owned(image, oid, owner, stage), owner)


def would_wait_for_itself(image: Image, key: str, needed: str) -> bool:
    """Whether `needed` waits, through whatever chain, for `key`: then `key` must not wait for it."""
    visited: set[str] = set()
    pending = [needed]
    while pending:
        waiting = pending.pop()
        if waiting == key:
            return True
        if waiting in visited:
            continue
        visited.add(waiting)
        message = find(image, waiting)
        if message is not None and message.own("stage") not in TERMINAL:
            pending.extend(message.own("waits_for", []))
    return False


def _owned(image: Image, oid: bytes, owner: str, stage: str = "") -> UvmObject:
    """The message object, if it is the owner's, and at that stage. Raises LostClaim."""
    message = image.at(Reference(oid))
    if message.own("owner") != owner or (stage and message.own("stage") != stage):
        raise LostClaim(f"{message!r} is {message.own('stage')} and belongs to {message.own('owner')}")
    return message


def _hold(message: UvmObject, owner: str) -> None:
    message.put("owner", owner)
    message.put("lease", time.time() + LEASE_S)
