"""Values as they cross the bridge: from a tool into the image, and out again. Nothing is altered on the way: what does not fit is refused.

Pure functions. docs/protocol.md has the table of types. Sizes are those of MessagePack, and are counted first, so that what is
too large is never built.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.msgpack import encode
from ZODB.blob import Blob

from uvm.errors import BadValue, TooLarge
from uvm.objects import Merging, UvmObject
from uvm.protocol import Reference, Result
from uvm.values.exact import CONTAINERS
from uvm.values.slot_values import DEPTH

_SCALARS: Final = frozenset({str, int, float, type(None), bool, bytes})
_JOINED: Final = 16_000_000
_CONTAINERS: Final = frozenset({list, dict, tuple, set, frozenset})
REFERENCE_BYTES: Final = 10
_UNBOUNDED: Final = 1 << 62
_NAMES: Final = {
    type(None): "nil",
    bool: "boolean",
    int: "integer",
    float: "float",
    bytes: "binary",
    tuple: "array",
    list: "array",
    Blob: "blob",
    Reference: "reference",
    UvmObject: "reference",
    Result: "reference to an earlier result",
}

_Path = Any
"""Where in a value: None, or a pair of the path to the container and the key in it."""


class NoRoom(Exception):
    """A value is larger than the room that is left for it."""


class Room:
    """Bytes that are left for values on their way out."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int = _UNBOUNDED) -> None:
        self.limit = limit
        self.left = limit

    @property
    def used(self) -> int:
        """Bytes that are taken."""
        return self.limit - self.left

    def take(self, size: int) -> None:
        """Take so many bytes. Raises NoRoom."""
        self.left -= size
        if self.left < 0:
            raise NoRoom


def to_wire(value: Any, refer: Callable[[UvmObject], Reference], room: Room | None = None) -> Any:
    """The value as it crosses the bridge: objects as references; sets, tuples and merging values as arrays, counters as numbers.

    Raises NoRoom before anything is built, and BadValue, which names the place, for what MessagePack cannot carry exactly. What stands in
    the value several times is walked once, and is one object in the answer too.
    """
    kind = type(value)
    if kind in _SCALARS or kind is UvmObject:  # most answers are, and need no walk
        size = REFERENCE_BYTES if kind is UvmObject else _scalar_bytes(value, None)
        if room is not None:
            room.take(size)
        return refer(value) if kind is UvmObject else value
    if room is not None:
        room.take(wire_bytes(value))
    return _Leaving(refer).carried(value, 0, None)


def answerable(result: Any, refer: Callable[[UvmObject], Reference], room: Room) -> Any:
    """The result of a message as it is answered. Raises BadValue, TooLarge."""
    try:
        return to_wire(result, refer, room)
    except NoRoom:
        raise TooLarge(
            f"the answer would have more than {room.limit:,} bytes",
            "ask for less; what a slot holds is read in parts, with Read or batos get",
            bytes=min(room.used, 2**63 - 1),
            limit=room.limit,
        ) from None


class _Leaving:
    """One walk through a value on its way out."""

    def __init__(self, refer: Callable[[UvmObject], Reference]) -> None:
        self._refer = refer
        # By identity, which is a value's own as long as it is there: what `plain` makes is kept too.
        self._carried: dict[int, tuple[Any, Any]] = {}

    def carried(self, value: Any, depth: int, path: _Path) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            _scalar_bytes(value, path)
            return value
        if kind is UvmObject:
            return self._refer(value)
        if isinstance(value, Merging):
            return self.carried(value.plain(), depth, path)
        if kind not in _CONTAINERS:
            name = _NAMES.get(kind, kind.__name__)
            raise BadValue(f"{_place(path)} is a {name}, which cannot be carried", "return plain values, containers of them, or objects")
        if depth >= DEPTH:
            raise _too_deep(path)
        if id(value) not in self._carried:
            self._carried[id(value)] = value, self._container(value, depth, path)
        return self._carried[id(value)][1]

    def _container(self, value: Any, depth: int, path: _Path) -> Any:
        if type(value) is not dict:
            if _is_row(value):
                return list(value)
            return [self.carried(element, depth + 1, (path, number)) for number, element in enumerate(value)]
        pairs = {}
        for key, element in value.items():
            check_key(key, path)
            pairs[key] = self.carried(element, depth + 1, (path, key))
        return pairs


def from_wire(value: Any, resolve: Callable[[Any], Any], depth: int = 0, path: _Path = None) -> Any:
    """A tool's value with its references resolved. Raises BadValue, which names the place, for what no slot could hold."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is Reference or kind is Result:
        return resolve(value)
    if depth >= DEPTH:
        raise _too_deep(path)
    if kind is list:
        if _SCALARS.issuperset(map(type, value)):
            return value
        return [from_wire(element, resolve, depth + 1, (path, number)) for number, element in enumerate(value)]
    if kind is dict:
        pairs = {}
        for key, element in value.items():
            check_key(key, path)
            pairs[key] = from_wire(element, resolve, depth + 1, (path, key))
        return pairs
    raise BadValue(f"{_place(path)} is a {kind.__name__}, which cannot be carried")


def check_key(key: Any, path: _Path = None) -> None:
    """Raises BadValue for a key of a map that is neither a text nor an integer of 64 bits."""
    kind = type(key)
    if kind is str or (kind is int and -(2**63) <= key < 2**64):
        return
    name = "integer of more than 64 bits" if kind is int else _NAMES.get(kind, kind.__name__)
    text = repr(key)[:60] if kind in (float, bool, bytes, type(None)) else "…"
    raise BadValue(
        f"the map {_place(path)} has the key {text} of type {name}; keys are texts and integers",
        "use texts or integers as keys",
        path=_keys(path),
        type=name,
    )


def wire_bytes(value: Any) -> int:
    """Bytes that the value takes as MessagePack, what stands in it twice counted twice, but walked once.

    Raises BadValue for what is nested too deeply, or contains itself.
    """
    return _measured(value, 0, {})[1]


def _measured(value: Any, depth: int, memo: dict[int, tuple[Any, int, int]]) -> tuple[Any, int, int]:
    """The value, its bytes, and how many containers are in each other."""
    kind = type(value)
    if kind in _SCALARS:
        return value, _scalar_bytes(value, None), 0
    if isinstance(value, Merging):
        return _measured(value.plain(), depth, memo)
    if kind not in _CONTAINERS:
        return value, REFERENCE_BYTES, 0
    if depth >= DEPTH:
        raise _too_deep(None)
    if id(value) not in memo:
        if kind is not dict and _is_row(value):
            memo[id(value)] = value, len(encode(list(value))), 1
            return memo[id(value)]
        if len(memo) >= CONTAINERS:
            raise BadValue(f"an answer has at most {CONTAINERS:,} arrays and maps", "return less; what a slot holds is read with Read")
        total, height = _head_bytes(len(value)), 0
        if kind is dict:
            total += sum(_scalar_bytes(key, None) for key in value if type(key) in _SCALARS)
        for element in value.values() if kind is dict else value:
            _, size, inner = _measured(element, depth + 1, memo)
            total, height = total + size, max(height, inner)
        memo[id(value)] = value, total, height + 1
    if depth + memo[id(value)][2] > DEPTH:
        raise _too_deep(None)
    return memo[id(value)]


def _is_row(value: Any) -> bool:
    """Whether a sequence has numbers alone, or ASCII texts, all of which can be carried: then it goes at the speed of C."""
    if len(value) < 16:
        return False
    kinds = set(map(type, value))
    if kinds == {str}:
        return sum(map(len, value)) < _JOINED and "".join(value).isascii()
    return kinds == {float} or (int in kinds and kinds <= {int, bool} and min(value) >= -(2**63) and max(value) < 2**64)


def _head_bytes(length: int) -> int:
    return 1 if length < 16 else 3 if length < 65_536 else 5


def _scalar_bytes(value: Any, path: _Path) -> int:
    """Bytes of a scalar. Raises BadValue for an integer past 64 bits, and a text that is no Unicode."""
    kind = type(value)
    if kind is str:
        size = len(value) if value.isascii() else _utf8_bytes(value, path)
        return size + (1 if size < 32 else 2 if size < 256 else 3 if size < 65_536 else 5)
    if kind is int:
        if -32 <= value < 128:
            return 1
        if not -(2**63) <= value < 2**64:
            raise BadValue(f"{_place(path)} is an integer that does not fit 64 bits", "use a text for large numbers")
        return 2 if -128 <= value < 256 else 3 if -32_768 <= value < 65_536 else 5 if -(2**31) <= value < 2**32 else 9
    if kind is float:
        return 9
    if kind is bytes:
        return len(value) + (2 if len(value) < 256 else 3 if len(value) < 65_536 else 5)
    return 1


def _utf8_bytes(text: str, path: _Path) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise BadValue(f"{_place(path)} is a text with half of a surrogate pair, which is no Unicode") from error


def _too_deep(path: _Path) -> BadValue:
    return BadValue(f"{_place(path)} is nested more than {DEPTH} deep, or contains itself", "use references to objects instead")


def _keys(path: _Path) -> list[Any]:
    keys = []
    while path is not None:
        path, key = path
        keys.append(key[:60] if isinstance(key, str) else key)
    return keys[::-1]


def _place(path: _Path) -> str:
    keys = _keys(path)
    return "the value" + "".join(f"[{key!r}]" for key in keys[:8]) + ("…" if len(keys) > 8 else "")
