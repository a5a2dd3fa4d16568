"""From a tool to the bridge: what may be asked.

What may change the image is a Changing, and is run exactly once under its session and number; all else looks, or asks the bridge itself.
"""

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from uvm.protocol.examples import Example
from uvm.protocol.values import SENDS, Identifier, Name, Reference, Result, Selector, decode_with, encode, from_extension

PATH = 64
"""Keys in the path of a Read."""

Risk = Annotated[float, Meta(gt=0, le=1)]
"""How likely it may be that a method is wrong which is written for a message, and installed."""


def _check_target(target: Any) -> None:
    if isinstance(target, Reference) or (isinstance(target, str) and 1 <= len(target) <= 256):
        return
    raise ValueError("target must be a name of 1 to 256 characters or a reference")


class Hello(Struct, tag_field="op", tag="Hello", frozen=True, forbid_unknown_fields=True):
    """First message of a connection: the versions a tool speaks. Answered by Welcome or Error(VersionMismatch)."""

    id: Identifier
    versions: Annotated[list[int], Meta(min_length=1, max_length=64)]
    client: Annotated[str, Meta(max_length=128)] = ""


class Changing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every message that may change the image carries.

    `session` and `seq` make it exactly-once: the same pair is run once, however often it arrives. `floor` says that the
    tool has the replies to all numbers up to it; receipts at or below it are forgotten. Without a session a message
    is run at most once per arrival, and a lost reply stays lost.
    """

    id: Identifier
    session: Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z0-9._:-]*\Z")] = ""
    seq: Annotated[int, Meta(ge=0, le=2**53)] = 0
    floor: Annotated[int, Meta(ge=0, le=2**53)] = 0
    deadline_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    examples: Annotated[list[Example], Meta(max_length=32)] = []
    via: Annotated[str, Meta(max_length=64)] = ""


class Send(Changing, tag_field="op", tag="Send", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send `selector` with arguments to an object: a name, or a Reference.

    `preview`: answer with what it would do, and change nothing; a missing method is written and shown. `accept`: the digest of a method
    that a preview of this message has shown, which is installed first. `risk`: how likely a method that is written for this may be wrong;
    1: whatever comes out best is taken. What is not there is not encoded.
    """

    target: Any
    selector: Selector
    args: Annotated[list[Any], Meta(max_length=64)] = []
    kwargs: Annotated[dict[str, Any], Meta(max_length=64)] = {}
    preview: bool | UnsetType = UNSET
    accept: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")] | UnsetType = UNSET
    risk: Risk | UnsetType = UNSET

    def __post_init__(self) -> None:
        _check_target(self.target)
        if self.accept and (self.preview or self.examples):
            raise ValueError("accept installs what a preview has shown: preview and examples belong to the preview")


class CreateMethod(Changing, tag_field="op", tag="CreateMethod", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Offer the source of a method; it passes the same audit and trial as a generated one.

    `policy`: the method may change primordial objects, in messages of senders who may; who offers it needs that right. `here`: it is for
    the target alone; else, where the target's method is shared with objects of the same shape, it corrects that one for all of them.
    """

    target: Any
    selector: Selector
    source: Annotated[str, Meta(min_length=1, max_length=65_536)]
    policy: bool = False
    here: bool = False

    def __post_init__(self) -> None:
        _check_target(self.target)


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One send of a Transaction. Target and arguments may be, or hold, a Result of an earlier one. `risk` is as in Send."""

    target: Any
    selector: Selector
    args: Annotated[list[Any], Meta(max_length=64)] = []
    kwargs: Annotated[dict[str, Any], Meta(max_length=64)] = {}
    examples: Annotated[list[Example], Meta(max_length=32)] = []
    risk: Risk | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.target, Result):
            _check_target(self.target)


class Transaction(Changing, tag_field="op", tag="Transaction", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several sends, in order, of which all have their effect or none has. Answered with the array of their results.

    `preview`: answer with what they would do, and change nothing. Where it is not there, it is not encoded.
    """

    sends: Annotated[list[Step], Meta(min_length=1, max_length=SENDS)]
    preview: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.examples:
            raise ValueError("examples of a Transaction stand in its sends")


class Contract(Changing, tag_field="op", tag="Contract", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The examples that a method keeps: `examples` are added, once they are tested as those of a Send are, and those whose numbers
    `remove` names are taken away. Answered with what it keeps then."""

    target: Any
    selector: Selector
    remove: Annotated[list[Annotated[int, Meta(ge=1, le=2**53)]], Meta(max_length=32)] = []

    def __post_init__(self) -> None:
        _check_target(self.target)


class GetFullState(Struct, tag_field="op", tag="GetFullState", frozen=True, forbid_unknown_fields=True):
    """A page of the objects reachable from the names. The first page fixes `tid`; the others repeat it and `after`."""

    id: Identifier
    after: bytes = b""
    tid: bytes = b""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Inspect(Struct, tag_field="op", tag="Inspect", frozen=True, forbid_unknown_fields=True):
    """One object: its names, slots, parents and methods."""

    id: Identifier
    target: Any

    def __post_init__(self) -> None:
        _check_target(self.target)


class Read(Struct, tag_field="op", tag="Read", frozen=True, forbid_unknown_fields=True):
    """A part of what an object holds, for values that do not fit in a frame.

    `path`: a slot, then keys and positions within its value; empty: the map of the object's data slots. `offset` and `limit` count
    characters, bytes, items or pairs; limit 0: as many as fit. The first part fixes `tid`; the others repeat it.
    """

    id: Identifier
    target: Any
    path: Annotated[list[str | int], Meta(max_length=PATH)] = []
    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=0, le=2**53)] = 0
    tid: bytes = b""

    def __post_init__(self) -> None:
        _check_target(self.target)


class Export(Struct, tag_field="op", tag="Export", frozen=True, forbid_unknown_fields=True):
    """Objects with all that they reach, exactly, as of one transaction, in parts. docs/export.md says what is exported.

    `targets`: empty: all named objects. The first part fixes `tid`; the others repeat it and the targets, with `number` and `offset` of the
    answer before. `blob`: the bytes of the file with that digest, from `offset`, in place of objects.
    """

    id: Identifier
    targets: Annotated[list[Any], Meta(max_length=1000)] = []
    tid: bytes = b""
    number: Annotated[int, Meta(ge=0, le=2**53)] = 0
    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0
    blob: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""

    def __post_init__(self) -> None:
        for target in self.targets:
            _check_target(target)


class Upload(Changing, tag_field="op", tag="Upload", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of what an Import will take in, where that does not fit in a frame. Answered with a reference to what was uploaded so far.

    `upload`: that reference; nil: a new one. `blob`: the digest of the file that the piece is of; empty: of the bundle. `offset`: how
    much of that was uploaded before. What no Import takes in is forgotten after a day.
    """

    data: bytes
    upload: Any = None
    blob: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Import(Changing, tag_field="op", tag="Import", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take in exported objects: all of them, in one transaction, or none.

    `bundle`: an encoded Bundle; empty: the one in `upload`. `rename`: exported name → another one. `replace`: an object that has the name
    of an exported one becomes what that was. `preview`: say what would be done, and do nothing.
    """

    bundle: bytes = b""
    upload: Any = None
    rename: Annotated[dict[Name, Name], Meta(max_length=1000)] = {}
    replace: bool = False
    preview: bool = False


class Subscribe(Struct, tag_field="op", tag="Subscribe", frozen=True, forbid_unknown_fields=True):
    """Ask where to listen. Answered by Subscribed; the listening itself is a SUB socket's."""

    id: Identifier


class Release(Struct, tag_field="op", tag="Release", frozen=True, forbid_unknown_fields=True):
    """The tool no longer holds these references; what is reachable from nowhere else may go."""

    id: Identifier
    references: Annotated[list[Any], Meta(max_length=1000)]
    session: Annotated[str, Meta(max_length=128)] = ""


class Cancel(Struct, tag_field="op", tag="Cancel", frozen=True, forbid_unknown_fields=True):
    """The tool does not want the message with this session and number any longer.

    The Reply's result says what became of it: `dropped` (it was not run, and will not be), `ending` (it waited for a method or a thought;
    its own answer says how it ended), `running` (it goes on), or `unknown` (it is not here: answered, or never arrived).
    """

    id: Identifier
    session: Annotated[str, Meta(min_length=1, max_length=128)]
    seq: Annotated[int, Meta(ge=1, le=2**53)]


class GetStatus(Struct, tag_field="op", tag="GetStatus", frozen=True, forbid_unknown_fields=True):
    """Queues, UVMs and counters of the bridge."""

    id: Identifier


Request = (
    Hello
    | Send
    | Transaction
    | CreateMethod
    | Contract
    | GetFullState
    | Inspect
    | Read
    | Export
    | Upload
    | Import
    | Subscribe
    | Release
    | Cancel
    | GetStatus
)

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request, ext_hook=from_extension)


def decode_request(frame: bytes) -> Request:
    """A tool's message. Raises msgspec.DecodeError (ValidationError is one) with what was wrong and where."""
    return decode_with(_requests, frame)


def payload_digest(message: Changing) -> bytes:
    """What identifies a message besides its session and number: 16 bytes over op, target, selector, arguments or source, and examples.

    `id`, `floor`, `deadline_ms` and `via` may differ between two arrivals of one message.
    """
    same = msgspec.structs.replace(message, id=0, floor=0, deadline_ms=0, via="")
    return hashlib.blake2b(encode(same), digest_size=16).digest()
