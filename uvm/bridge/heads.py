"""Reading a request in two steps: the bridge reads the head of a large frame, the UVM that runs it reads the whole. Pure.

To decode 4 MB of small values takes a quarter of a second and 60 times the memory. In the bridge that would be everybody's time; in a
UVM it is the sender's own, who is charged for it. A small frame costs next to nothing, and is read whole at once.
"""

from typing import Any, Final, Union, cast

import msgspec
from msgspec import Raw, Struct

from uvm import protocol
from uvm.values import exact

WHOLE: Final = 65_536
"""Bytes of a frame that the bridge reads whole."""

_INSIDE: Final = ("target", "args", "kwargs", "examples", "source", "sends", "references", "path")
"""Fields that may hold any amount of what the bridge need not know."""

_EMPTY: Final = {list: Raw(b"\x90"), dict: Raw(b"\x80")}


def _nothing_more(self: Struct) -> None:
    """What a request looks at within itself is for the whole."""


def _head_of(kind: Any) -> Any:
    """The same request with its inside as it came. A subclass, so that it is the same to whoever looks at the rest."""
    inside: list[tuple[str, type, Any]] = [
        (field.name, Raw, msgspec.NODEFAULT if field.required else _EMPTY[cast(Any, field.default_factory)])
        for field in msgspec.structs.fields(kind)
        if field.name in _INSIDE
    ]
    return msgspec.defstruct(
        kind.__name__,
        inside,
        bases=(kind,),
        namespace={"__post_init__": _nothing_more},
        tag_field="op",
        tag=kind.__struct_config__.tag,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


_KINDS: Final = (protocol.Send, protocol.Transaction, protocol.CreateMethod, protocol.Inspect, protocol.Read, protocol.Release)
_OTHERS: Final = (
    *(protocol.Hello, protocol.GetFullState, protocol.Subscribe, protocol.Cancel, protocol.GetStatus),
    # What they carry is bytes, which cost nothing to decode; what is in those is for the UVM.
    *(protocol.Export, protocol.Upload, protocol.Import),
)
_heads: msgspec.msgpack.Decoder[protocol.Request] = msgspec.msgpack.Decoder(cast(Any, Union[(*map(_head_of, _KINDS), *_OTHERS)]))


class _Id(Struct):
    id: int = 0


_id = msgspec.msgpack.Decoder(_Id)


def identifier(frame: bytes) -> int:
    """The id inside a frame that is otherwise no message; 0 when it has none."""
    try:
        id = _id.decode(frame).id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return 0
    return id if 0 <= id < 2**63 else 0


def head(frame: bytes) -> protocol.Request:
    """The request; of a large one the head alone, with `Raw` inside. Raises msgspec.DecodeError."""
    return whole(frame) if len(frame) <= WHOLE else protocol.decode_with(_heads, frame)


def whole(frame: bytes) -> protocol.Request:
    """The request, every value of it looked at. Raises msgspec.DecodeError."""
    exact.check_containers(frame)
    request = protocol.decode_request(frame)
    exact.check(frame)
    return request
