"""How a method came to be, or why a message was refused: one question to the image, for tools alone.

What it answers with is what writing a method has left: the proof in the method, and the message object with its drafts, its plan and its
refusal. A method that saw what became of messages could tell its trial from service, and so is shown none of it.
"""

from typing import Any, Final

from uvm.errors import BadArguments, NotAllowed
from uvm.image import views
from uvm.image.message_object import PREVIEW, is_method, is_word, shape
from uvm.image.methods import explanation
from uvm.objects import ABSENT, UvmObject
from uvm.runtime.runtime import Primitive, Runtime, shown
from uvm.values.slot_values import copied

_MOST_ARGUMENTS: Final = 8
"""Arguments by place for which a message is looked up where the question does not say how many it had."""
_LOOKED: Final = 500
"""Units that looking up one message costs."""
_TOLD: Final = ("selector", "call", "stage", "plan", "drafts", "refusal", "examples", "principal", "round", "ended", "rounds_dropped")


def why(
    runtime: Runtime, receiver: UvmObject, selector: str, positional: int | None = None, keywords: list[str] | None = None
) -> dict[str, Any]:
    """What is known of a selector: {selector, method, message}, each of the two a map, or nil where there is none.

    `method`: as explain_ tells it. `message`: the newest that was sent to an object of this shape and that nothing understood, with as many
    arguments by place and these keywords; without `positional`, with whatever arguments by place.
    """
    if runtime.attempt.frames:
        raise NotAllowed("what became of messages is shown to tools, not to methods", "send it directly")
    if not is_word(selector) or not (positional is None or type(positional) is int):
        raise BadArguments(f"why_ takes a selector, not {shown(selector)}, and with how many arguments it was sent")
    if not (keywords is None or (isinstance(keywords, list) and all(isinstance(name, str) for name in keywords))):
        raise BadArguments("why_ takes the names of keyword arguments as a list")
    holder = receiver.holder(selector)
    value = holder.own(selector) if holder is not None else ABSENT
    method = explanation(holder, value) if holder is not None and isinstance(value, UvmObject) and is_method(value) else None
    counts = range(_MOST_ARGUMENTS + 1) if positional is None else [positional]
    runtime.attempt.charge(_LOOKED * (2 + len(counts)))
    messages = [message for count in counts for message in _messages(runtime, receiver, selector, count, keywords or [])]
    newest = max(messages, key=lambda message: message.own("ended", 0.0), default=None)
    if method is None and newest is None:
        raise BadArguments(
            f"nothing is known of {selector}: {receiver!r} has no such method, and no message of it was ever written for or refused",
            "batos inspect lists the methods; batos why is for what was sent",
        )
    told = None
    if newest is not None:
        told = {name: copied(newest.own(name)) for name in _TOLD if newest.own(name) is not ABSENT} | {"earlier": _earlier(newest)}
    return {"selector": selector, "method": method, "message": told}


def _earlier(message: UvmObject) -> list[dict[str, Any]]:
    """What became of the message in its earlier rounds, the newest first."""
    told = []
    for past in reversed(views.objects(message, "rounds")):
        refusal = views.slot(past, "refusal", dict, {})
        told.append({"stage": past.own("stage", ""), "ended": past.own("ended", 0.0), "why": refusal.get("message", "")})
    return told


def _messages(runtime: Runtime, receiver: UvmObject, selector: str, positional: int, keywords: list[str]) -> list[UvmObject]:
    """What was sent so, and what was previewed so."""
    key = shape(receiver, selector, positional, keywords)
    found = [runtime.image.shard("messages", each).own(each) for each in (key, PREVIEW + key)]
    return [message for message in found if isinstance(message, UvmObject)]


EVERYWHERE: dict[str, Primitive] = {"why_": why}
