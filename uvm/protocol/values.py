"""What MessagePack has no type for, names, and the bytes of both: every other module of the protocol stands on this one.

A reference to an object and the result of an earlier send are extension types; all other values are MessagePack's own.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

REFERENCE = 1
"""MessagePack extension type of a reference to an object: 8 bytes, its object id (oid), big-endian."""

RESULT = 2
"""MessagePack extension type of the result of an earlier send of a Transaction: 1 byte, its number from 0."""

SENDS = 64
"""Sends in one Transaction."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Selector = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")]
Identifier = Annotated[int, Meta(ge=0, le=2**63 - 1)]


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


def _to_extension(value: Any) -> Any:
    if isinstance(value, Reference):
        return msgspec.msgpack.Ext(REFERENCE, value.oid)
    if isinstance(value, Result):
        return msgspec.msgpack.Ext(RESULT, bytes([value.number]))
    raise TypeError(f"{type(value).__name__} is not a value that crosses the bridge")


def from_extension(code: int, payload: memoryview) -> Any:
    """What an extension type stands for. Raises ValueError for one that is not the protocol's."""
    if code == REFERENCE and len(payload) == 8:
        return Reference(bytes(payload))
    if code == RESULT and len(payload) == 1:
        return Result(payload[0])
    raise ValueError(
        f"extension type {code} with {len(payload)} bytes; allowed are references, type {REFERENCE} with 8 bytes, and within a Transaction "
        f"results, type {RESULT} with 1 byte"
    )


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_extension)
_values: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Any, ext_hook=from_extension)

_T = TypeVar("_T")


def encode(message: Struct) -> bytes:
    """One message as MessagePack. Raises TypeError for a value that is not MessagePack's and no Reference."""
    return _encoder.encode(message)


def encode_value(value: Any) -> bytes:
    """One value as MessagePack, references as the extension type. Raises TypeError and OverflowError for what does not fit."""
    return _encoder.encode(value)


def decode_value(encoded: bytes) -> Any:
    """The value of `encode_value`. Raises msgspec.DecodeError."""
    return decode_with(_values, encoded)


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
