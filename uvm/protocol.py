"""Protocol 1 of the Synaptic Bridge: the structs that tools and the bridge exchange. Imports nothing of ours.

One ZeroMQ message is one MessagePack map, whose key `op` names the struct. A tool connects a DEALER (or REQ) socket to
the bridge's endpoint and a SUB socket to its events endpoint. `docs/protocol.md` is the full description.
"""

import hashlib
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

VERSION = 1

_T = TypeVar("_T")

REFERENCE = 1
"""MessagePack extension type of a reference to an object: 8 bytes, its object id (oid), big-endian."""

RESULT = 2
"""MessagePack extension type of the result of an earlier send of a Transaction: 1 byte, its number from 0."""

SENDS = 64
"""Sends in one Transaction."""
PATH = 64
"""Keys in the path of a Read."""
EXAMPLE_SLOTS = 64
"""Slots that an example replaces, and slots that it says have changed."""
ENVELOPE = 4096
"""Bytes of a frame that are kept for what stands around a result."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Selector = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")]
Identifier = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Risk = Annotated[float, Meta(gt=0, le=1)]
"""How likely it may be that a method is wrong which is written for a message, and installed."""


class Reference:
    """A reference to an object of the image. `str()` gives `@` and the oid in hexadecimal without leading zeros.

    Not a Struct, because msgspec would write it as a map instead of as the extension type.
    """

    __slots__ = ("oid",)

    def __init__(self, oid: bytes) -> None:
        if len(oid) != 8:
            raise ValueError(f"an oid has 8 bytes, not {len(oid)}")
        self.oid = oid

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """`@2a` → the reference. Raises ValueError when `text` is no such thing."""
        if not text.startswith("@") or not 1 <= len(text) - 1 <= 16:
            raise ValueError(f"{text!r} is not a reference: it needs @ and 1 to 16 hexadecimal digits")
        return cls(bytes.fromhex(text[1:].rjust(16, "0")))

    def __str__(self) -> str:
        return "@" + (self.oid.hex().lstrip("0") or "0")

    def __repr__(self) -> str:
        return f"Reference({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other.oid == self.oid

    def __hash__(self) -> int:
        return hash(self.oid)


class Result:
    """The result of an earlier send of the same Transaction, counted from 0, as a target or within arguments."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        if not 0 <= number < SENDS:
            raise ValueError(f"a result's number is 0 to {SENDS - 1}, not {number}")
        self.number = number

    def __repr__(self) -> str:
        return f"Result({self.number})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and other.number == self.number

    def __hash__(self) -> int:
        return hash(("result", self.number))


ExampleSlots = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=128)], Any], Meta(max_length=EXAMPLE_SLOTS)]


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """What the sender expects of a method: called with these arguments, on a copy of the receiver on which `slots` have these values.

    It has a `result`, or ends in an error of the type that `raises` names. `changed`: the receiver's slots that differ afterwards, each
    with its value then, and no others; an empty map: none. What is not there is not looked at, and does not count in a payload's digest.
    """

    result: Any | UnsetType = UNSET
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    slots: ExampleSlots | UnsetType = UNSET
    changed: ExampleSlots | UnsetType = UNSET
    raises: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.raises is not UNSET:
            if self.result is not UNSET or self.changed is not UNSET:
                raise ValueError("an example that raises has no result, and has changed nothing: leave result and changed out")
        elif self.result is UNSET and self.changed is UNSET:
            raise ValueError("an example says what is expected: result, changed, or raises")


# --- from a tool to the bridge -------------------------------------------------------------------------------------


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


# --- from the bridge to a tool -------------------------------------------------------------------------------------


class Welcome(Struct, tag_field="op", tag="Welcome", frozen=True):
    """The version both speak, and where events are published."""

    id: int
    version: int
    events: str
    max_frame_bytes: int


class Reply(Struct, tag_field="op", tag="Reply", frozen=True):
    """The answer. `tid` is the transaction that holds the effect (empty when nothing changed); `uvm` ran the message;
    `replayed` says that the answer comes from a receipt."""

    id: int
    result: Any
    tid: bytes = b""
    uvm: str = ""
    replayed: bool = False


class Error(Struct, tag_field="op", tag="Error", frozen=True):
    """A typed failure: nothing changed. `type` is one of those in docs/protocol.md."""

    id: int
    type: str
    message: str
    remedy: str = ""
    details: dict[str, Any] = {}


class Busy(Struct, tag_field="op", tag="Busy", frozen=True):
    """A queue is full: nothing was accepted; try again after `retry_after_ms`."""

    id: int
    retry_after_ms: int


class Subscribed(Struct, tag_field="op", tag="Subscribed", frozen=True):
    """Where to listen, the topics, and the newest transaction at the time of asking."""

    id: int
    events: str
    topics: list[str]
    tid: bytes


class State(Struct, tag_field="op", tag="State", frozen=True):
    """A page of the snapshot `tid`. `after` empty: this was the last page."""

    id: int
    tid: bytes
    objects: list["ObjectState"]
    after: bytes


class Large(Struct, frozen=True):
    """A slot whose value does not fit where it should stand: `kind` as in Part, `length` likewise, and at least so many `bytes`."""

    kind: str
    length: int
    bytes: int


class ObjectState(Struct, frozen=True):
    """One object: `slots` without its methods, `parents` in order, `methods` as selector → reference of the method.

    `inherited` is filled by Inspect only: selectors that a parent understands → reference of that parent. `damaged`: slots that cannot
    be shown → why; under the empty name, why the record as a whole cannot be loaded. `large`: slots that are too large to stand here; a
    Read has them. `cut`: there is more than could be listed. `tid`: as of which transaction (Inspect only; in pages it is the page's).
    `quarantined`: the selectors of those of its methods that are out of use.
    """

    reference: Any
    names: list[str]
    slots: dict[str, Any]
    parents: list[Any]
    methods: dict[str, Any]
    inherited: dict[str, Any] = {}
    damaged: dict[str, str] = {}
    large: dict[str, Large] = {}
    cut: bool = False
    tid: bytes = b""
    quarantined: list[str] = []


class Part(Struct, tag_field="op", tag="Part", frozen=True):
    """A part of a value, as of the transaction `tid`.

    `kind`: nil, boolean, integer, float, text, binary, array, map or reference. `length` is the whole value's, in characters, bytes,
    items or pairs (1 for the others). `next`: the offset of the part after this one; 0: this was the last one.
    """

    id: int
    tid: bytes
    kind: str
    length: int
    value: Any
    next: int


class Exported(Struct, tag_field="op", tag="Exported", frozen=True):
    """A part of an export of the image `image`, as of the transaction `tid`.

    `data`: pieces of encoded ObjectDocuments, one of each; the first one goes on where the request asked. `number` and `offset`: where
    the next part begins: with which of `objects` documents, at which of its bytes. The first `roots` documents are those of the
    targets. Of a blob: one piece, and `offset` 0 after the last. `weights`, of the first part: models and adapters that are referred to.
    """

    id: int
    tid: bytes
    image: str
    objects: int
    roots: int
    data: list[bytes]
    number: int = 0
    offset: int = 0
    weights: list["ExportedWeights"] = []


class ExportedWeights(Struct, frozen=True):
    """A `model` or an `adapter` that exported objects refer to, or the model that such an adapter belongs to (`base`: its digest).

    `files`: path → sha256, under which an Export has its bytes; none of one whose files are gone.
    """

    kind: str
    digest: str
    name: str
    base: str = ""
    files: dict[str, str] = {}


# --- exported objects ---------------------------------------------------------------------------------------------
#
# Their values are trees of what JSON can say, with tags for the rest; docs/export.md has the table.

Key = Annotated[str, Meta(min_length=1, max_length=256)]
"""What an object is called within an export: its first name, or its reference in text where it has none."""


class MethodDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A method. `positional`: how many parameters after `self` are given by place. `proof`, and who wrote it, are what the image that it
    comes from claims; `imports`: the images it came through, the newest last. `examples`: those that it has to satisfy. `quarantined`: why
    it is out of use."""

    selector: Annotated[str, Meta(min_length=1, max_length=128)]
    source: Annotated[str, Meta(min_length=1, max_length=65_536)]
    positional: Annotated[int, Meta(ge=0, le=255)] = 0
    policy: bool = False
    author: Annotated[str, Meta(max_length=256)] = ""
    born: Annotated[str, Meta(max_length=64)] = ""
    imports: Annotated[list[Any], Meta(max_length=64)] = []
    proof: Any = None
    examples: Any = None
    quarantined: Annotated[str, Meta(max_length=2000)] = ""


class ObjectDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """An object. `slots` in their order, methods among them; `methods`: label → each method that has its place in this object."""

    key: Key
    names: Annotated[list[Name], Meta(max_length=10_000)] = []
    parents: Annotated[list[Any], Meta(max_length=256)] = []
    slots: dict[str, Any] = {}
    methods: dict[str, MethodDocument] = {}


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """What an Import takes in: encoded ObjectDocuments, and what their export said of itself."""

    image: Annotated[str, Meta(max_length=64)]
    tid: bytes
    roots: Annotated[list[Key], Meta(max_length=1000)]
    objects: list[bytes]


# --- published ------------------------------------------------------------------------------------------------------

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
Answer = Welcome | Reply | Error | Busy | Subscribed | State | Part | Exported
Event = StateUpdate | Progress


def _to_extension(value: Any) -> Any:
    if isinstance(value, Reference):
        return msgspec.msgpack.Ext(REFERENCE, value.oid)
    if isinstance(value, Result):
        return msgspec.msgpack.Ext(RESULT, bytes([value.number]))
    raise TypeError(f"{type(value).__name__} is not a value that crosses the bridge")


def _from_extension(code: int, data: memoryview) -> Any:
    if code == REFERENCE and len(data) == 8:
        return Reference(bytes(data))
    if code == RESULT and len(data) == 1:
        return Result(data[0])
    raise ValueError(
        f"extension type {code} with {len(data)} bytes; allowed are references, type {REFERENCE} with 8 bytes, and within a Transaction "
        f"results, type {RESULT} with 1 byte"
    )


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_extension)
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request, ext_hook=_from_extension)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer, ext_hook=_from_extension)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event, ext_hook=_from_extension)


def encode(message: Struct) -> bytes:
    """One message as MessagePack. Raises TypeError for a value that is not MessagePack's and no Reference."""
    return _encoder.encode(message)


def decode_request(frame: bytes) -> Request:
    """A tool's message. Raises msgspec.DecodeError (ValidationError is one) with what was wrong and where."""
    return decode_with(_requests, frame)


def decode_answer(frame: bytes) -> Answer:
    """The bridge's answer to a tool. Raises msgspec.DecodeError."""
    return decode_with(_answers, frame)


def decode_event(frame: bytes) -> Event:
    """An event from the SUB socket's second frame. Raises msgspec.DecodeError."""
    return decode_with(_events, frame)


def decode_with(decoder: msgspec.msgpack.Decoder[_T], frame: bytes) -> _T:
    """What a decoder makes of a frame. Raises msgspec.DecodeError, and nothing else."""
    try:
        return decoder.decode(frame)
    except RecursionError:
        raise msgspec.DecodeError("values are nested too deeply") from None
    except ValueError as error:
        # An extension type that is not ours, or text that is not UTF-8; DecodeError itself is a ValueError.
        if isinstance(error, msgspec.DecodeError):
            raise
        raise msgspec.DecodeError(str(error)) from error


_bundles: msgspec.msgpack.Decoder[Bundle] = msgspec.msgpack.Decoder(Bundle)
_documents: msgspec.msgpack.Decoder[ObjectDocument] = msgspec.msgpack.Decoder(ObjectDocument)


def decode_bundle(data: bytes) -> Bundle:
    """What an Import takes in. Raises msgspec.DecodeError."""
    return decode_with(_bundles, data)


def decode_document(data: bytes) -> ObjectDocument:
    """One object of a bundle, or of an Exported. Raises msgspec.DecodeError."""
    return decode_with(_documents, data)


def payload_digest(message: Changing) -> bytes:
    """What identifies a message besides its session and number: 16 bytes over op, target, selector, arguments or source, and examples.

    `id`, `floor`, `deadline_ms` and `via` may differ between two arrivals of one message.
    """
    same = msgspec.structs.replace(message, id=0, floor=0, deadline_ms=0, via="")
    return hashlib.blake2b(encode(same), digest_size=16).digest()


_values: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Any, ext_hook=_from_extension)


def encode_value(value: Any) -> bytes:
    """One value as MessagePack, references as the extension type. Raises TypeError and OverflowError for what does not fit."""
    return _encoder.encode(value)


def decode_value(data: bytes) -> Any:
    """The value of `encode_value`. Raises msgspec.DecodeError."""
    return decode_with(_values, data)
