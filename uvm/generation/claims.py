"""Message objects in the image: claimed, advanced and ended by compare-and-set of (stage, owner).

Layout: `messages` shard of the key, slot `<key>` → message object. Besides what was sent (`message_object`) it has `stage`, `owner`
(the incarnation of a UVM), `lease` (seconds since the epoch until which the owner need not be doubted), `round`, `depth`, `waits_for`
(keys of messages whose methods it needs), and then, stage by stage, `plan`, `drafts`, `method` or `refusal`.
"""

import time
from typing import Any, Final

import msgspec

from uvm.generation.stages import TERMINAL, Draft, check_step
from uvm.image.image import Image
from uvm.image.tally import count
from uvm.objects import ABSENT, KIND, PARENTS, UvmObject
from uvm.protocol import Reference

LEASE_S: Final = 15.0


class LostClaim(Exception):
    """Another process has taken the message over."""


class Claim(msgspec.Struct, frozen=True):
    """What a process found when it wanted a message's method.

    `state`: `mine`, `theirs`, `installed` or `refused`; `drafts` are those of an owner that died, to go on from.
    """

    state: str
    oid: bytes
    stage: str = ""
    drafts: list[Draft] = []
    refusal: dict[str, Any] = {}


def find(image: Image, key: str) -> UvmObject | None:
    """The message object of a key, if there is one."""
    found = image.shard("messages", key).own(key)
    return None if found is ABSENT else found


def claim(image: Image, key: str, facts: dict[str, Any], owner: str, asked_at: float, fulfilled: bool) -> Claim:
    """Take the message, in the current transaction, or say why it cannot be taken.

    `asked_at`: when the message arrived that wants the method (seconds since the epoch): a refusal that came after it is its answer,
    an older one is not. `fulfilled`: whether the receiver understands the selector by now.
    """
    message = find(image, key)
    if message is None:
        message = UvmObject({PARENTS: [image.root["message_traits"]], KIND: "message", "round": 1, "drafts": [], **facts})
        message.put("stage", "reified")
        image.enter("messages", key, message)
        _hold(message, owner)
        count(image, "messages")
        return Claim("mine", image.reference(message).oid, "reified")
    oid = image.reference(message).oid
    stage = message.own("stage")
    if stage == "installed" and fulfilled:
        return Claim("installed", oid, stage)
    if stage == "refused" and message.own("ended", 0) > asked_at:
        return Claim("refused", oid, stage, refusal=dict(message.own("refusal")))
    if stage in TERMINAL:
        for name, value in facts.items():
            message.put(name, value)
        message.put("stage", "reified")
        message.put("round", message.own("round") + 1)
        message.put("drafts", [])
        _hold(message, owner)
        return Claim("mine", oid, "reified")
    if message.own("owner") != owner and message.own("lease") > time.time():
        return Claim("theirs", oid, stage)
    _hold(message, owner)
    drafts = [msgspec.convert(one, Draft) for one in message.own("drafts")]
    if drafts:
        message.put("stage", "drafted")
        return Claim("mine", oid, "drafted", drafts)
    message.put("stage", "reified")
    return Claim("mine", oid, "reified")


def advance(image: Image, oid: bytes, owner: str, before: str, after: str, **slots: Any) -> UvmObject:
    """Take the next step, in the current transaction. Raises LostClaim, IllegalStage."""
    message = image.at(Reference(oid))
    if message.own("owner") != owner or message.own("stage") != before:
        raise LostClaim(f"{message!r} is {message.own('stage')} and belongs to {message.own('owner')}")
    check_step(before, after)
    for name, value in slots.items():
        message.put(name, value)
    message.put("stage", after)
    if after in TERMINAL:
        message.put("ended", time.time())
        message.put("waits_for", [])
    _hold(message, owner)
    return message


def renew(image: Image, oid: bytes, owner: str, stage: str) -> None:
    """Renew the lease, in the current transaction. Raises LostClaim."""
    message = image.at(Reference(oid))
    if message.own("owner") != owner or message.own("stage") != stage:
        raise LostClaim(f"{message!r} belongs to {message.own('owner')}")
    _hold(message, owner)


def would_wait_for_itself(image: Image, key: str, needed: str) -> bool:
    """Whether `needed` waits, through whatever chain, for `key`: then `key` must not wait for it."""
    seen: set[str] = set()
    pending = [needed]
    while pending:
        one = pending.pop()
        if one == key:
            return True
        if one in seen:
            continue
        seen.add(one)
        message = find(image, one)
        if message is not None and message.own("stage") not in TERMINAL:
            pending.extend(message.own("waits_for", []))
    return False


def storable_drafts(drafts: list[Draft]) -> list[Any]:
    """Drafts as a slot holds them."""
    return [msgspec.to_builtins(one) for one in drafts]


def _hold(message: UvmObject, owner: str) -> None:
    message.put("owner", owner)
    message.put("lease", time.time() + LEASE_S)
