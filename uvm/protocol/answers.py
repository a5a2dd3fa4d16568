"""From the bridge to a tool: what a request is answered with. Each answer carries the `id` of its request."""

from typing import Any

import msgspec
from msgspec import Struct

from uvm.protocol.values import decode_with, from_extension

ENVELOPE = 4096
"""Bytes of a frame that are kept for what stands around a result."""


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


Answer = Welcome | Reply | Error | Busy | Subscribed | State | Part | Exported

_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer, ext_hook=from_extension)


def decode_answer(frame: bytes) -> Answer:
    """The bridge's answer to a tool. Raises msgspec.DecodeError."""
    return decode_with(_answers, frame)
