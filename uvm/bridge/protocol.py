"""What the bridge and a UVM say to each other: the structs, and their bytes. Used by both processes' loops; owns no state.

A UVM connects a DEALER to the bridge's ROUTER at `configuration.uvms_endpoint`; its routing id is `routing_id(name,
incarnation)`. One ZeroMQ message is one frame is one struct. The UVM speaks first (Ready), then Alive every
`ALIVE_EVERY_S`, also between two messages of a long batch: a UVM that is silent for `bridge.dead_after_s` counts as dead.

    UVM → bridge   Ready  Alive  Done  Used  Parked  Resumed  Returned  Publish  Leaving
    bridge → UVM   Deliver  Drop  Recall  Lost

Who is to blame when a UVM dies: every delivery it has, except those it said are parked. So Parked is worth sending as soon as
an attempt has ended to wait for a method or a thought, and Resumed before the attempt starts again.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from uvm.rights import ALL, Limits, Right, Spent

VERSION = 3

ALIVE_EVERY_S = 0.5
"""Seconds between two Alive of a UVM."""

DeliveryNumber = Annotated[int, Meta(ge=0, le=2**63 - 1)]


# --- from a UVM to the bridge --------------------------------------------------------------------------------------


class Ready(Struct, tag_field="op", tag="Ready", frozen=True, forbid_unknown_fields=True):
    """This UVM takes deliveries from now on and holds none: said at the start, and in answer to Lost.

    `uvm` is its name ('uvm-1'), `incarnation` is new for each process, `pid` is watched by the bridge through a pidfd.
    """

    uvm: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")]
    incarnation: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")]
    pid: Annotated[int, Meta(ge=1)]
    version: int = VERSION


class Alive(Struct, tag_field="op", tag="Alive", frozen=True, forbid_unknown_fields=True):
    """A sign of life; `outstanding` counts the deliveries it holds, parked ones included."""

    outstanding: Annotated[int, Meta(ge=0)] = 0


class Done(Struct, tag_field="op", tag="Done", frozen=True, forbid_unknown_fields=True):
    """A delivery's end, sent after the commit: `payload` is the encoded `uvm.protocol.Answer` for the tool, `spent` what it used."""

    delivery: DeliveryNumber
    payload: bytes
    spent: Spent = Spent()


class Used(Struct, tag_field="op", tag="Used", frozen=True, forbid_unknown_fields=True):
    """What was used for a principal besides its messages: a method is written for one that may have been answered by then."""

    principal: str
    spent: Spent


class Parked(Struct, tag_field="op", tag="Parked", frozen=True, forbid_unknown_fields=True):
    """The attempts of these deliveries have ended and were rolled back; they wait for a method or a thought, and run no code."""

    deliveries: list[DeliveryNumber]


class Resumed(Struct, tag_field="op", tag="Resumed", frozen=True, forbid_unknown_fields=True):
    """These parked deliveries are about to run again."""

    deliveries: list[DeliveryNumber]


class Returned(Struct, tag_field="op", tag="Returned", frozen=True, forbid_unknown_fields=True):
    """The answer to Recall: these deliveries were not begun, and will not be."""

    deliveries: list[DeliveryNumber]


class Publish(Struct, tag_field="op", tag="Publish", frozen=True, forbid_unknown_fields=True):
    """An encoded event (`uvm.protocol.Event`) for the subscribers of `topic`."""

    topic: bytes
    payload: bytes


class Leaving(Struct, tag_field="op", tag="Leaving", frozen=True, forbid_unknown_fields=True):
    """The last word of a UVM that ends cleanly, sent after its last Done: deliveries without a Done were not run, nor will they be."""


# --- from the bridge to a UVM --------------------------------------------------------------------------------------


class Deliver(Struct, tag_field="op", tag="Deliver", frozen=True, forbid_unknown_fields=True):
    """A tool's message. `payload` is the encoded request as it came; it has been decoded once, so it is valid.

    `alone`: a UVM died on it, run it in a transaction of its own. `arrived_ms_ago` counts against the request's
    `deadline_ms`. It runs with `rights` and within `limits`.
    """

    delivery: DeliveryNumber
    payload: bytes
    principal: str
    alone: bool = False
    arrived_ms_ago: int = 0
    rights: frozenset[Right] = ALL
    limits: Limits = Limits()


class Drop(Struct, tag_field="op", tag="Drop", frozen=True, forbid_unknown_fields=True):
    """Nobody waits for this delivery any longer: end it if it has not been committed, and answer Error(DeadlineExceeded).

    A Done is still wanted, whatever the outcome; the bridge keeps the delivery on the UVM's account until then.
    """

    delivery: DeliveryNumber


class Recall(Struct, tag_field="op", tag="Recall", frozen=True, forbid_unknown_fields=True):
    """Something took long: give back what was not begun, so that it need not wait behind that. Answered by Returned."""


class Lost(Struct, tag_field="op", tag="Lost", frozen=True, forbid_unknown_fields=True):
    """The bridge does not know you (it is new, or you were silent for too long): forget your deliveries, then say Ready again."""


FromUvm = Ready | Alive | Done | Used | Parked | Resumed | Returned | Publish | Leaving
ToUvm = Deliver | Drop | Recall | Lost

_encoder = msgspec.msgpack.Encoder()
_from_uvm: msgspec.msgpack.Decoder[FromUvm] = msgspec.msgpack.Decoder(FromUvm)
_to_uvm: msgspec.msgpack.Decoder[ToUvm] = msgspec.msgpack.Decoder(ToUvm)


def routing_id(uvm: str, incarnation: str) -> bytes:
    """What a UVM sets as `zmq.ROUTING_ID` before it connects, so that a reconnection is no new UVM."""
    return f"{uvm}/{incarnation}".encode()


def encode(message: FromUvm | ToUvm) -> bytes:
    """One message as one frame."""
    return _encoder.encode(message)


def decode_from_uvm(frame: bytes) -> FromUvm:
    """What a UVM said. Raises msgspec.DecodeError with what was wrong and where."""
    return _from_uvm.decode(frame)


def decode_to_uvm(frame: bytes) -> ToUvm:
    """What the bridge said. Raises msgspec.DecodeError with what was wrong and where."""
    return _to_uvm.decode(frame)
