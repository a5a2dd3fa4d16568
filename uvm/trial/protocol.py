"""What the UVM, the trial server and a trial child say to each other: the structs and their bytes. Owns no state.

Control, between the UVM and the trial server, is one packet a struct: `Fork` (with the child's socket as a descriptor),
`Kill`, and back `Ended`. A trial, between the UVM and its child, is a stream of frames: four bytes of length,
big-endian, then one MessagePack map. The UVM says `TrialRequest`, then answers each `Ask` with a `Record`; the child says
`Confined` first, then any number of `Ask`, one at a time, and `TrialOutcome` last.
"""

import struct
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from deploy.confinement import Layer
from uvm.protocol import ENVELOPE, REFERENCE, Example, Reference, Selector
from uvm.rights import ALL, Limits, Right

LONGEST_SAID = 4_000_000
"""Bytes of the longest frame that a child may send."""

LONGEST_HEARD = 256_000_000
"""Bytes of the longest frame that a child accepts: a request with its overlay, or a record."""

_T = TypeVar("_T")

Oid = Annotated[bytes, Meta(min_length=8, max_length=8)]


class ProtocolViolation(Exception):
    """Bytes that are no frame of this protocol, or not one that is due; the text says what was wrong."""


class ParentGone(Exception):
    """The UVM closed the socket: nobody wants the outcome."""


# --- the trial ------------------------------------------------------------------------------------------------------


class Call(Struct, frozen=True):
    """Arguments to call a draft with, as wire values."""

    args: list[Any]
    kwargs: dict[str, Any] = {}


class TrialRequest(Struct, tag_field="op", tag="TrialRequest", frozen=True, kw_only=True):
    """A draft and the message to run with it.

    `tid`: the newest transaction that the trial may see. The draft is put on `holder` for the trial, unless `source` is empty and the
    method that is there is tried; `receiver` gets the message. `positional`: how many parameters after `self` are given by place. Arguments
    and examples are wire values; `labels` says what the examples are called, `subjects` on which objects they are tried where that is not
    the receiver, `raises` the type of the error in which the message is to end.
    `alone` false: where the holder's method is shared, the draft corrects that one, for all who use it.
    `overlay`: records of objects that the attempt changed or made and that are not committed; they hide the database's.
    `rights` and `limits`: those of whoever sends it; `policy`: the draft shall have the right to change primordial objects.
    `answer_bytes`: how long a result may be.
    `send` false: nothing but the examples and `made_up`, calls with arguments that were made up, is run. Those are run as long as
    they use no more ticks together than one message may, but at least one. `unconfined` true: also where the child cannot be
    confined fully.
    `seconds` counts what the child spends itself, not what it waits for records.
    `varied`: on how many perturbed copies of slots and arguments a draft is run that has done well (`uvm.trial.variation`); `seed`
    determines them.
    """

    tid: Oid
    receiver: Oid
    holder: Oid
    selector: Selector
    source: str
    positional: int = 0
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    examples: list[Example] = []
    labels: list[str] = []
    subjects: list[Oid] = []
    raises: str = ""
    made_up: list[Call] = []
    overlay: dict[Oid, bytes] = {}
    thoughts: dict[str, str] = {}
    now: float
    ticks: int
    seconds: float
    author: str
    rights: frozenset[Right] = ALL
    limits: Limits = Limits()
    answer_bytes: int = LONGEST_SAID - ENVELOPE
    policy: bool = False
    alone: bool = True
    send: bool = True
    unconfined: bool = False
    varied: int = 0
    seed: str = ""


def _check_reference(value: Any) -> None:
    if not isinstance(value, Reference):
        raise ValueError(f"{value!r} is no reference")


class Effect(Struct, frozen=True):
    """One slot that the message changed, as wire values. `before` unset: there was no such slot; `after` unset: it was removed."""

    object: Any
    slot: str
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET

    def __post_init__(self) -> None:
        _check_reference(self.object)


class Need(Struct, frozen=True):
    """A message that nothing understood inside the trial. `made`: its receiver exists in the trial only.

    `overlay` is what another trial needs to go on from there, as its request's `overlay`. A child wrote these records:
    they are for another child, and never to be loaded anywhere else.
    """

    receiver: Any
    selector: Selector
    args: list[Any]
    kwargs: dict[str, Any]
    made: bool = False
    overlay: dict[Oid, bytes] = {}

    def __post_init__(self) -> None:
        _check_reference(self.receiver)


class NeededThought(Struct, frozen=True):
    """What the method asked the model, to be remembered under `key` in the next request's `thoughts`."""

    key: str
    persona: Any
    prompt: str
    max_tokens: int

    def __post_init__(self) -> None:
        _check_reference(self.persona)


class TrialError(Struct, frozen=True):
    """Why the method failed. `line` of its source, 0 where there is none."""

    type: str
    message: str
    line: int = 0


class VariedRun(Struct, frozen=True, kw_only=True):
    """What a draft did on one perturbed copy: `digest` is the same for drafts that did the same.

    `error`: the type of what it ended in. `told`: what was changed for it, and what came of it, is in the other fields, as wire values:
    `slots` of the receiver, `args` and `kwargs`, `result`, and `changed`, the receiver's slots that differed afterwards. Where other
    objects were changed too, or one of these is large, it is not told.
    """

    digest: str
    error: str = ""
    told: bool = False
    slots: dict[str, Any] = {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    result: Any = None
    changed: dict[str, Any] = {}


class TrialOutcome(Struct, tag_field="op", tag="TrialOutcome", frozen=True, kw_only=True):
    """How a trial ended.

    `kind`: `ok` (the message has a result; look at `amnesia` and the examples), `failed` (`error`), `need`, `thought`, or
    `killed` (`killed_by`). References to objects made in the trial name nothing outside of it; there are `made` of them, and
    `made_digest` is the same for two drafts that made the same. `amnesia`: slots whose change would have been
    forgotten, as `@oid.slot`. `looked`: for each example the data slots of the receiver that its run looked at, nil where it did more than
    that. `made_up` calls with made-up arguments were run, of which `made_up_ended` had a result; without a message,
    what is shown is the first of these. The UVM itself fills in `read` (the records served from the database, but those of other
    `subjects`, with their transaction ids), `layers`, `fully_confined` and `killed_by`.
    """

    kind: Literal["ok", "failed", "need", "thought", "killed"]
    result: Any = None
    effects: list[Effect] = []
    made: int = 0
    made_digest: str = ""
    amnesia: list[str] = []
    examples: int = 0
    examples_passed: int = 0
    examples_missed: list[str] = []
    looked: list[list[str] | None] = []
    made_up: int = 0
    made_up_ended: int = 0
    varied: list[VariedRun] = []
    error: TrialError | None = None
    need: Need | None = None
    thought: NeededThought | None = None
    read: dict[bytes, bytes] = {}
    ticks_used: int = 0
    seconds: float = 0.0
    layers: list[Layer] = []
    fully_confined: bool = False
    killed_by: str = ""


class Confined(Struct, tag_field="op", tag="Confined", frozen=True):
    """The first word of a child: what holds it."""

    layers: list[Layer]


class Ask(Struct, tag_field="op", tag="Ask", frozen=True):
    """The child wants the record of an object."""

    oid: Oid


class Record(Struct, tag_field="op", tag="Record", frozen=True):
    """A record and the transaction that wrote it; None: there is no such object."""

    oid: Oid
    data: bytes | None
    serial: bytes = b""


FromChild = Confined | Ask | TrialOutcome
ToChild = TrialRequest | Record


# --- control ----------------------------------------------------------------------------------------------------------


class Fork(Struct, tag_field="op", tag="Fork", frozen=True):
    """Start a child that talks over the descriptor in this packet. `number` is new for each child."""

    number: int


class Kill(Struct, tag_field="op", tag="Kill", frozen=True):
    """End that child, if it still runs."""

    number: int


class Ended(Struct, tag_field="op", tag="Ended", frozen=True):
    """That child ended, with this exit status; below 0: minus the signal that killed it."""

    number: int
    status: int
    hard_limit: bool = False


# --- bytes ------------------------------------------------------------------------------------------------------------

_LENGTH = struct.Struct(">I")


def _to_extension(value: Any) -> Any:
    if isinstance(value, Reference):
        return msgspec.msgpack.Ext(REFERENCE, value.oid)
    raise TypeError(f"{type(value).__name__} is no wire value")


def _from_extension(code: int, packed: memoryview) -> Any:
    if code != REFERENCE or len(packed) != 8:
        raise ValueError(f"extension type {code} with {len(packed)} bytes is no reference")
    return Reference(bytes(packed))


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_extension)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild, ext_hook=_from_extension)
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild, ext_hook=_from_extension)
_to_server: msgspec.msgpack.Decoder[Fork | Kill] = msgspec.msgpack.Decoder(Fork | Kill)
_from_server: msgspec.msgpack.Decoder[Ended] = msgspec.msgpack.Decoder(Ended)


def encode(message: Struct) -> bytes:
    """The bytes of one struct. Raises TypeError for what is no wire value."""
    return _encoder.encode(message)


def framed(message: Struct) -> bytes:
    """One frame of a trial's stream."""
    body = encode(message)
    return _LENGTH.pack(len(body)) + body


def said_by_child(body: bytes) -> FromChild:
    """What a child said. Raises ProtocolViolation."""
    return _decoded(_from_child, body)


def said_to_child(body: bytes) -> ToChild:
    """What the UVM said to a child. Raises ProtocolViolation."""
    return _decoded(_to_child, body)


def said_to_server(body: bytes) -> Fork | Kill:
    """What the UVM said to the trial server. Raises ProtocolViolation."""
    return _decoded(_to_server, body)


def said_by_server(body: bytes) -> Ended:
    """What the trial server said. Raises ProtocolViolation."""
    return _decoded(_from_server, body)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:  # DecodeError is a ValueError, as is a foreign extension type
        raise ProtocolViolation(f"not understood: {error}") from error


class Frames:
    """Takes bytes as they come in and gives whole frames."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that are complete with `data`. Raises ProtocolViolation when one is announced that is too long."""
        self._bytes += chunk
        frames = []
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > self._longest:
                raise ProtocolViolation(f"a frame of {length} bytes; {self._longest} are allowed")
            if len(self._bytes) < _LENGTH.size + length:
                break
            frames.append(bytes(self._bytes[_LENGTH.size : _LENGTH.size + length]))
            del self._bytes[: _LENGTH.size + length]
        return frames
