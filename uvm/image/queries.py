"""What a tool may look at: one object, a part of a value, or a page of a snapshot. Reads only; called inside the batch's transaction.

Answers are bounded by `frame`, the longest that the bridge carries, in bytes. An object takes at most half of that; what does not fit is
named in `large`, and read in parts.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import msgspec
import structlog
from ZODB.POSException import POSKeyError

from uvm.errors import BadArguments, BadValue, DamagedRecord, Expired, TooLarge
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import QUARANTINED
from uvm.objects import ABSENT, KIND, Merging, UvmObject
from uvm.protocol import ENVELOPE, GetFullState, Large, ObjectState, Part, Read, Reference, State
from uvm.values.crossing import REFERENCE_BYTES, NoRoom, Room, check_key, to_wire, wire_bytes

_SNAPSHOTS = 4
_LARGE_BYTES: Final = 48
"""Of a `Large`, besides the slot's name."""
_REFERRING: Final = frozenset({UvmObject, list, dict})
_OBJECT_BYTES: Final = 128
"""Of an object, besides what is listed in it."""

log = structlog.get_logger()


class _Listing:
    """One object on its way out, as far as there is room."""

    def __init__(self, room: Room, refer: Callable[[UvmObject], Reference]) -> None:
        self.cut = False
        self._room = room
        self._refer = refer
        # A value is walked until it turns out not to fit; an object of many such values must not cost many such walks.
        self._patience = 2 * room.limit

    def take(self, size: int) -> bool:
        """Whether there is room for one more entry."""
        try:
            self._room.take(size)
        except NoRoom:
            self._room.left += size
            self.cut = True
        return not self.cut

    def references(self, objects: Iterable[UvmObject]) -> list[Reference]:
        """References, as many as fit."""
        return [self._refer(target) for target in objects if self.take(REFERENCE_BYTES)]

    def value(self, name: str, value: Any) -> tuple[Any, Large | None]:
        """The value of a slot, or what is said in its place. Raises NoRoom when there is none even for that, BadValue."""
        before = self._room.left
        try:
            if self._patience < 0 and length_of(value) > 16:
                raise NoRoom
            return to_wire(value, self._refer, self._room), None
        except NoRoom:
            size = before - self._room.left
            self._patience -= size
            self._room.left = before
            self._room.take(_LARGE_BYTES)
            return None, Large(kind_of(value), length_of(value), size)


def object_state(image: Image, target: UvmObject, room: Room) -> ObjectState:
    """An object as tools see it. What cannot be shown, a slot or the whole record, is in `damaged` with the reason."""
    listing = _Listing(room, image.reference)
    room.take(_OBJECT_BYTES)
    slots: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    damaged: dict[str, str] = {}
    large: dict[str, Large] = {}
    quarantined: list[str] = []
    try:
        names = target.names()
    except DamagedRecord as error:
        return ObjectState(image.reference(target), [], {}, [], {}, damaged={"": error.message})
    known_as = [name for name in image.names_of(target) if listing.take(len(name.encode()) + 3)]
    parents = listing.references(target.parents())
    for name in names:
        if not listing.take(len(name.encode()) + 3):
            break
        try:
            value = target.own(name)
            if is_method(value):
                if listing.take(REFERENCE_BYTES):
                    methods[name] = image.reference(value)
                    if QUARANTINED in value._slots and listing.take(len(name.encode()) + 3):
                        quarantined.append(name)
                continue
            carried, beyond = listing.value(name, value)
            if beyond is None:
                slots[name] = carried
            else:
                large[name] = beyond
        except NoRoom:
            listing.cut = True
        except (DamagedRecord, BadValue) as error:
            damaged[name] = error.message
    state = ObjectState(image.reference(target), known_as, slots, parents, methods, quarantined=quarantined)
    return msgspec.structs.replace(state, damaged=damaged, large=large, cut=listing.cut)


def inspected(image: Image, target: UvmObject, tid: bytes, frame: int) -> ObjectState:
    """An object with what it inherits, as of the transaction `tid`."""
    state = object_state(image, target, Room(frame // 2))
    listing = _Listing(Room(frame // 4), image.reference)
    methods = inherited_methods(image, target).items()
    inherited = {name: reference for name, reference in methods if listing.take(len(name.encode()) + 3 + REFERENCE_BYTES)}
    fields = {name: getattr(state, name) for name in ObjectState.__struct_fields__}
    return ObjectState(**{**fields, "inherited": inherited, "cut": state.cut or listing.cut, "tid": tid})


def kind_of(value: Any) -> str:
    """What a value is called in `Large` and `Part`."""
    if isinstance(value, Merging):
        value = value.plain()
    return _KINDS.get(type(value), "nil" if value is None else type(value).__name__)


def length_of(value: Any) -> int:
    """Characters, bytes, items or pairs; 1 for what has no parts."""
    if isinstance(value, Merging):
        value = value.plain()
    return len(value) if isinstance(value, str | bytes | list | tuple | dict) else 1


_KINDS: Final = {
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "text",
    bytes: "binary",
    list: "array",
    tuple: "array",
    dict: "map",
    UvmObject: "reference",
}


def capacity(frame: int) -> int:
    """Bytes of a frame that an answer's contents may take."""
    return max(frame - ENVELOPE, frame // 2)


def part(image: Image, request: Read, tid: bytes, frame: int) -> Part:
    """A part of a slot, or of the map of data slots. Raises BadArguments for a path that leads nowhere, TooLarge for too long an item."""
    value = _at_path(image.target(request.target), request.path)
    kind, length, begin = kind_of(value), length_of(value), request.offset
    if isinstance(value, Merging):
        value = value.plain()
    if begin > length:
        raise BadArguments(f"the value has {length} {_UNITS.get(kind, 'parts')}; there is no part at {begin}")
    most, room = request.limit or length, Room(capacity(frame))
    if isinstance(value, str | bytes):
        # Four bytes are the most that a character takes.
        fits = room.limit - 5 if isinstance(value, bytes) or value.isascii() else (room.limit - 5) // 4
        portion: Any = to_wire(value[begin : begin + min(most, fits)], image.reference)
        end = begin + len(portion)
    elif isinstance(value, list | tuple | dict):
        carried = _carried(image, value, request, most, room)
        portion = dict(carried) if isinstance(value, dict) else [element for _, element in carried]
        end = begin + len(carried)
    else:
        portion, end = to_wire(value, image.reference), 1
    return Part(request.id, tid, kind, length, portion, end if end < length else 0)


_UNITS: Final = {"text": "characters", "binary": "bytes", "array": "items", "map": "pairs"}


def _carried(image: Image, value: Any, request: Read, most: int, room: Room) -> list[tuple[Any, Any]]:
    """Items of a container from the offset on, each with its key or position, as many as there is room for."""
    begin = request.offset
    pairs = islice(value.items(), begin, begin + most) if isinstance(value, dict) else enumerate(value[begin : begin + most], begin)
    carried: list[tuple[Any, Any]] = []
    for key, element in pairs:
        check_key(key)
        before = room.left
        try:
            room.take(wire_bytes(key))
            carried.append((key, to_wire(element, image.reference, room)))
        except NoRoom:
            room.left = before
            if not carried:
                raise TooLarge(
                    f"the item {key!r:.60} has more bytes than a frame carries",
                    "Read it in parts: its path is details.path",
                    bytes=wire_bytes(element),
                    limit=room.limit,
                    path=[*request.path, key],
                ) from None
            break
    return carried


def _at_path(target: UvmObject, path: Sequence[str | int]) -> Any:
    if not path:
        return {name: target.own(name) for name in target.names() if not is_method(target.own(name))}
    slot = path[0]
    value: Any = target.own(slot) if isinstance(slot, str) and not slot.endswith("*") else None
    if not isinstance(slot, str) or slot not in target.names() or is_method(value):
        raise BadArguments(
            f"{target!r} has no data slot {slot!r:.140} of its own", "Inspect lists the slots; methods are not read in parts"
        )
    for number, key in enumerate(path[1:], 1):
        if isinstance(value, Merging):
            value = value.plain()
        kind = kind_of(value)
        if kind == "array" and isinstance(key, int):
            value = next(islice(value, key, None), ABSENT) if key >= 0 else ABSENT
        else:
            value = value.get(key, ABSENT) if kind == "map" else ABSENT
        if value is ABSENT:
            before = list(path[:number])
            raise BadArguments(f"there is no {key!r:.140} in the {kind} at {before!r:.140}", path=before, kind=kind)
    return value


def view_tid(image: Image) -> bytes:
    """The newest transaction that the current one sees: not merely one that has happened by now."""
    # After a savepoint the connection reads through a temporary storage, which has no view of its own.
    start: bytes = image.connection._normal_storage._start
    return (int.from_bytes(start) - 1).to_bytes(8)


def _state_at(image: Image, oid: bytes, room: Room) -> ObjectState:
    try:
        return object_state(image, image.connection.get(oid), room)
    except DamagedRecord as error:
        return ObjectState(Reference(oid), [], {}, [], {}, damaged={"": error.message})


def inherited_methods(image: Image, target: UvmObject) -> dict[str, Any]:
    """Selectors that the object understands through its parents → the object that has them. Data hides methods behind it, as in a send."""
    inherited: dict[str, Any] = {}
    nearer = set(target._slots)
    for ancestor in list(target.chain())[1:]:
        for name in ancestor.names():
            if name not in nearer and is_method(ancestor.own(name)):
                inherited[name] = image.reference(ancestor)
        nearer.update(ancestor._slots)
    return inherited


class Snapshots:
    """The whole image, or a value of it, as of one transaction, in parts of at most `frame` bytes.

    The sorted oids of the newest few snapshots are kept, so that a page costs its own objects only.
    """

    def __init__(self, image: Image, frame: int) -> None:
        self._image = image
        self._frame = frame
        self._oids: OrderedDict[bytes, list[bytes]] = OrderedDict()

    def page(self, request: GetFullState) -> State:
        """Raises Expired when the snapshot was packed away, BadArguments for a transaction id that is none."""
        tid = request.tid or newest(self._image)
        with self.view(tid) as view:
            oids = self._oids_at(tid, view)
            start = next((number for number, oid in enumerate(oids) if oid > request.after), len(oids))
            objects: list[ObjectState] = []
            room = Room(capacity(self._frame))
            for oid in oids[start : start + request.limit]:
                of_object = Room(self._frame // 2)
                state = _state_at(view, oid, of_object)
                if objects and of_object.used > room.left:
                    break
                room.left -= of_object.used
                objects.append(state)
            ended = start + len(objects)
            return State(request.id, tid, objects, oids[ended - 1] if ended < len(oids) else b"")

    def part(self, request: Read) -> Part:
        """A part of a value. Raises what `part` does, and Expired."""
        tid = request.tid or newest(self._image)
        with self.view(tid) as view:
            return part(view, request, tid, self._frame)

    @contextmanager
    def view(self, tid: bytes) -> Iterator[Image]:
        """The image as of a transaction. Raises BadArguments for one that is none, Expired."""
        if len(tid) != 8 or tid > newest(self._image):
            raise BadArguments("tid must be the one that the first page or part gave")
        try:
            with self._image.as_of(tid) as view:
                yield view
        except POSKeyError as error:
            raise Expired(f"the snapshot {tid.hex()} was packed away", "ask for the first page or part again") from error

    def _oids_at(self, tid: bytes, view: Image) -> list[bytes]:
        if tid not in self._oids:
            damaged: list[UvmObject] = []
            sound = [reached._p_oid for reached in reachable(view.names.values(), damaged)]
            self._oids[tid] = sorted([*sound, *(reached._p_oid for reached in damaged)])
            while len(self._oids) > _SNAPSHOTS:
                self._oids.popitem(last=False)
        return self._oids[tid]


def newest(image: Image) -> bytes:
    """The newest transaction that this process knows of."""
    tid: bytes = image.database.storage.lastTransaction()
    return tid


def reachable(roots: Iterable[UvmObject], damaged: list[UvmObject]) -> Iterable[UvmObject]:
    """The objects that tools can come to from these: through slots, parents and containers; what the kernel owns is left out.

    An object whose record cannot be loaded is logged, and goes to `damaged`.
    """
    visited: set[bytes] = set()
    pending = [holder for holder in roots if type(holder) is UvmObject]
    while pending:
        holder = pending.pop()
        if holder._p_oid in visited:
            continue
        visited.add(holder._p_oid)
        try:
            if KIND in holder._slots:
                continue
        except DamagedRecord as error:
            log.error("an object cannot be loaded", object=error.details["object"], error=error.message)
            damaged.append(holder)
            continue
        yield holder
        for value in holder._slots.values():
            pending.extend(referenced(value))


def referenced(value: Any) -> Iterable[UvmObject]:
    """The objects directly in a slot's value, in order."""
    return _referenced(value) if type(value) in _REFERRING else ()


def _referenced(value: Any) -> Iterator[UvmObject]:
    pending, visited = [value], set()
    while pending:
        element = pending.pop()
        if type(element) is UvmObject:
            yield element
        elif type(element) in (list, dict) and id(element) not in visited:
            visited.add(id(element))
            pending.extend(reversed(element if type(element) is list else element.values()))
