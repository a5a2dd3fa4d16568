"""Whether a frame says what is read from it: no key twice, and no two keys that Python takes for one. Pure; imports nothing of ours.

A decoder into Python's dicts keeps the last of two equal keys, and takes 1, 1.0 and true for equal; the others would vanish silently.
"""

import struct
from typing import Any, Final

import msgspec

SCANNED: Final = 100_000
"""Items of a frame that is looked at one by one: one whose bytes are not the shortest for what they say."""

CONTAINERS: Final = 100_000
"""Arrays and maps in a frame, a slot, or an answer: to look at one costs as much time as many numbers."""

_OTHERS: Final = bytes(set(range(256)) - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})
_plain = msgspec.msgpack.Decoder()
_encoder = msgspec.msgpack.Encoder()

# First byte → bytes of a fixed-size item after it.
_FIXED: Final = {
    **{0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
    **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},
}
# First byte → format of the length after it, and what is in the item besides so many bytes.
_SIZED: Final = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENDED: Final = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_ARRAYS: Final = {0xDC: ">H", 0xDD: ">I"}
_MAPS: Final = {0xDE: ">H", 0xDF: ">I"}


def check_containers(frame: bytes) -> None:
    """Before a frame is decoded. Raises msgspec.DecodeError for one of too many arrays and maps."""
    # Each takes a byte. Of a longer frame, at the speed of C: no more than the bytes that could begin one. Only where texts and
    # numbers have many such bytes is it counted.
    if len(frame) > CONTAINERS and len(frame.translate(None, _OTHERS)) > CONTAINERS and _containers(frame) > CONTAINERS:
        raise msgspec.DecodeError(f"a frame has at most {CONTAINERS:,} arrays and maps; send it in parts")


def _containers(frame: bytes) -> int:
    """Arrays and maps in a frame, as far as they are more than the bound, or the frame is whole."""
    position, containers, end = 0, 0, len(frame)
    while position < end and containers <= CONTAINERS:
        step = _STEPS[frame[position]]
        if step:
            position += step
            continue
        try:
            position, inner, _ = _extent(frame, position)
        except (struct.error, KeyError):
            break  # the decoder says what is wrong
        containers += inner is not None
    return containers


def check(frame: bytes) -> None:
    """Look at a frame that has been decoded once. Raises msgspec.DecodeError for a map that says a key twice."""
    # What is written again byte by byte has lost nothing; nearly every frame is.
    if _encoder.encode(_plain.decode(frame)) != frame:
        _scan(frame)


def _scan(frame: bytes) -> None:
    """Go through the items. A level is what is left of it, and for a map the set of its keys."""
    position, items = 0, 0
    levels: list[list[Any]] = [[1, None]]
    while levels:
        level = levels[-1]
        left, keys = level
        if not left:
            levels.pop()
            continue
        items += 1
        if items > SCANNED:
            raise msgspec.DecodeError(
                f"a frame of more than {SCANNED:,} items must be encoded as short as MessagePack allows, with each key once in a map"
            )
        level[0] -= 1
        start = position
        position, inner, is_map = _extent(frame, position)
        if keys is not None and left % 2 == 0:
            _add_key(keys, frame, start, position, inner)
        if inner is not None:
            levels.append([2 * inner if is_map else inner, set() if is_map else None])


def _add_key(keys: set[Any], frame: bytes, start: int, end: int, inner: int | None) -> None:
    if inner is not None:
        raise msgspec.DecodeError("an array or a map is the key of a map; keys are texts and integers")
    key = _plain.decode(frame[start:end])
    if key in keys:
        raise msgspec.DecodeError(f"a map has the key {key!r:.60} twice (1, 1.0 and true are one key)")
    keys.add(key)


_STEPS: Final = [
    1 if first < 0x80 or first >= 0xE0 else 1 + (first & 0x1F) if 0xA0 <= first < 0xC0 else 1 + _FIXED[first] if first in _FIXED else 0
    for first in range(256)
]
"""First byte → bytes of the whole item, where that says it."""


def _extent(frame: bytes, at: int) -> tuple[int, int | None, bool]:
    """Where the item at a position ends, or its contents begin; how many items are in it, if it is a container; whether it is a map."""
    first = frame[at]
    if first < 0x80 or first >= 0xE0:
        return at + 1, None, False
    if first < 0x90:
        return at + 1, first & 0x0F, True
    if first < 0xA0:
        return at + 1, first & 0x0F, False
    if first < 0xC0:
        return at + 1 + (first & 0x1F), None, False
    if first in _FIXED:
        return at + 1 + _FIXED[first], None, False
    for table, extra in ((_SIZED, 0), (_EXTENDED, 1)):
        if first in table:
            size, after = _length(frame, at, table[first])
            return after + size + extra, None, False
    table = _MAPS if first in _MAPS else _ARRAYS
    size, after = _length(frame, at, table[first])
    return after, size, table is _MAPS


def _length(frame: bytes, at: int, form: str) -> tuple[int, int]:
    (size,) = struct.unpack_from(form, frame, at + 1)
    return size, at + 1 + struct.calcsize(form)
