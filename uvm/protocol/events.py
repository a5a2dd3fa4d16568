"""Published to whoever subscribes: what a transaction changed, and how far the writing of a method has come."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from uvm.protocol.values import decode_with, from_extension

TOPIC_STATE = b"state"
TOPIC_PROGRESS = b"progress"
TOPICS = (TOPIC_STATE, TOPIC_PROGRESS)
TOPIC_READY = b"ready."
"""A subscriber to `ready.` and anything is sent one event of that topic, once this subscription and those before are in force."""


class StateUpdate(Struct, tag_field="op", tag="StateUpdate", frozen=True):
    """What one transaction changed, object by object. Topic `state`. docs/protocol.md says how a program follows the image with these."""

    tid: bytes
    uvm: str
    changes: list["Change"]


class Change(Struct, frozen=True):
    """What a transaction changed of one object.

    `slots` and `methods` were set, `removed` (of both) removed; `parents` are there when they changed. `names` are those that the object
    has; `renamed`: they changed. `whole`: everything that the object has, and nothing besides. `again`: what changed is not carried
    here, or the object may be new to a follower; Inspect it. `quarantined`: the object is a method, and this alone is said of it: whether
    it is out of use since.
    """

    reference: Any
    names: list[str]
    slots: dict[str, Any]
    removed: list[str]
    parents: list[Any] | None = None
    methods: dict[str, Any] = {}
    renamed: bool = False
    whole: bool = False
    again: bool = False
    quarantined: bool | None = None


STAGES: Final = ("reified", "reflected", "drafted", "audited", "tried", "installed")
"""The way of a missing method that is accepted, in order; `refused` may end it after any of them."""


class Progress(Struct, tag_field="op", tag="Progress", frozen=True):
    """A step of a missing method's way. Topic `progress`.

    `stage`: reified, reflected, drafted, audited, tried, installed (in a preview: shown) or refused; `drafting` carries text as it is
    written, or while there is none `detail.waiting`, in words: what is waited for, such as an engine that starts. `testing` and then `held`
    or `failed` are of a method that is there and gets examples: `message` is the method then. Who waits for it is not published;
    `detail.needs` is the selector of another missing method that this one waits for.
    """

    message: Any
    selector: str
    receiver: Any
    stage: str
    detail: dict[str, Any] = {}


Event = StateUpdate | Progress

_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event, ext_hook=from_extension)


def decode_event(frame: bytes) -> Event:
    """An event from the SUB socket's second frame. Raises msgspec.DecodeError."""
    return decode_with(_events, frame)
