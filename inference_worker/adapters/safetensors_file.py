"""The header of a safetensors file, and the values of its matrices: read by us, so that a bad file is an error and nothing else.

Called in any thread; keeps nothing. The format (https://github.com/huggingface/safetensors#format): 8 bytes, the length of
the header, little-endian; the header, a JSON object of name → {dtype, shape, data_offsets}, with an optional
`__metadata__` of strings; then the values. A file of ours is checked more strictly than the library does: it is read into
memory, never mapped, since a mapped file that shrinks ends the process.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from msgspec import Struct
from numpy.typing import NDArray

SIZES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one value of each type that is known here."""

MODEL_HEADER_LIMIT = 50_000_000
"""Largest header of a base model's file, bytes."""

_LONGEST_NAME = 512
_MOST_DIMENSIONS = 8


class Tensor(Struct, frozen=True):
    """One entry of a safetensors header: type, shape, and where its bytes lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: Path, limit: int = MODEL_HEADER_LIMIT) -> dict[str, Tensor]:
    """The header of a safetensors file, checked against the file's size. Raises ValueError or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = _header_length(file.name, stream.read(8), size, limit)
        return parse_header(file.name, stream.read(length), size)


def split(name: str, content: bytes, limit: int) -> dict[str, Tensor]:
    """The header of a file that was read whole. Raises ValueError."""
    length = _header_length(name, content[:8], len(content), limit)
    return parse_header(name, content[8 : 8 + length], len(content))


def parse_header(file: str, text: bytes, size: int) -> dict[str, Tensor]:
    """The entries of a header `text`, of a file of `size` bytes. Raises ValueError."""
    header = strict_json(text)
    if not isinstance(header, dict):
        raise ValueError(f"{file}: the header is a {type(header).__name__}, not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{file}: __metadata__ is no object of strings")
    return {name: _tensor(file, name, entry, 8 + len(text), size) for name, entry in header.items()}


def check_layout(file: str, tensors: Mapping[str, Tensor], header_end: int, size: int) -> None:
    """That the tensors fill the file from the header's end: no gap, no overlap, nothing behind. Raises ValueError."""
    reached, before = header_end, "the header"
    for name, tensor in sorted(tensors.items(), key=lambda entry: entry[1].begin):
        if tensor.begin != reached:
            fault = "overlaps" if tensor.begin < reached else "leaves a gap after"
            raise ValueError(f"{file}: {name} begins at {tensor.begin} and {fault} {before}, which ends at {reached}")
        reached, before = tensor.end, name
    if reached != size:
        raise ValueError(f"{file}: {size - reached} bytes after {before} belong to no tensor")


def header_end(content: bytes) -> int:
    """Where the values begin in a file whose header was accepted."""
    return 8 + int(struct.unpack("<Q", content[:8])[0])


def matrix(content: bytes, tensor: Tensor) -> NDArray[numpy.floating[Any]]:
    """The values of a BF16, F16 or F32 tensor, as float16 or float32."""
    count = math.prod(tensor.shape)
    if tensor.dtype == "BF16":
        # numpy has no bfloat16: it is the upper half of a float32.
        raw = numpy.frombuffer(content, dtype="<u2", count=count, offset=tensor.begin)
        return (raw.astype(numpy.uint32) << 16).view(numpy.float32).reshape(tensor.shape)
    kind = {"F16": "<f2", "F32": "<f4"}[tensor.dtype]
    return numpy.frombuffer(content, dtype=kind, count=count, offset=tensor.begin).reshape(tensor.shape)


def strict_json(text: bytes) -> Any:
    """JSON as its standard has it: UTF-8, no NaN or Infinity, no key twice in an object. Raises ValueError (and RecursionError)."""
    return json.loads(text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ValueError(f"the key {key[:80]!r} occurs twice in one object")
        members[key] = value
    return members


def _header_length(file: str, prefix: bytes, size: int, limit: int) -> int:
    length: int = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
    if not 0 < length <= min(size - 8, limit):
        raise ValueError(f"{file} is no safetensors file: {size} bytes, a header of {length}; allowed: 1 to {min(size - 8, limit)}")
    return length


def _tensor(file: str, name: str, entry: Any, base: int, size: int) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: the entry of {name[:80]!r} is not dtype, shape and data_offsets") from error
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"{file}: a tensor's name has {len(name)} characters; allowed: {_LONGEST_NAME}")
    whole = isinstance(shape, list) and all(type(number) is int and number >= 0 for number in (*shape, begin, end))
    if not isinstance(dtype, str) or not whole or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"{file}: {name} has no valid shape or data_offsets; whole numbers from 0 are needed")
    if not base <= base + begin <= base + end <= size:
        raise ValueError(f"{file}: {name} lies at {base + begin}–{base + end}, outside the file of {size} bytes")
    if dtype in SIZES and end - begin != math.prod(shape) * SIZES[dtype]:
        raise ValueError(f"{file}: {name} has {end - begin} bytes, but its shape {shape} in {dtype} needs another number")
    return Tensor(dtype=dtype, shape=tuple(shape), begin=base + begin, end=base + end)
