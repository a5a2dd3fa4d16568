"""What a tool may look at: one object, or a page of a snapshot. Reads only; called inside the batch's transaction."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import structlog
import transaction
from ZODB.POSException import POSKeyError

from uvm.errors import BadArguments, BadValue, DamagedRecord, Expired
from uvm.image import Image
from uvm.objects import KIND, UvmObject
from uvm.protocol import GetFullState, ObjectState, Reference, State
from uvm.reified import is_method
from uvm.values import to_wire

_SNAPSHOTS = 4

log = structlog.get_logger()


def object_state(image: Image, one: UvmObject) -> ObjectState:
    """An object as tools see it. What cannot be shown, a slot or the whole record, is in `damaged` with the reason."""
    slots: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    damaged: dict[str, str] = {}
    try:
        names = one.names()
    except DamagedRecord as error:
        return ObjectState(image.reference(one), [], {}, [], {}, damaged={"": error.message})
    for name in names:
        try:
            value = one.own(name)
            if is_method(value):
                methods[name] = image.reference(value)
            else:
                slots[name] = to_wire(value, image.reference)
        except (DamagedRecord, BadValue) as error:
            damaged[name] = error.message
    parents = [image.reference(parent) for parent in one.parents()]
    return ObjectState(image.reference(one), image.names_of(one), slots, parents, methods, damaged=damaged)


def _state_at(image: Image, oid: bytes) -> ObjectState:
    try:
        return object_state(image, image.connection.get(oid))
    except DamagedRecord as error:
        return ObjectState(Reference(oid), [], {}, [], {}, damaged={"": error.message})


def inherited_methods(image: Image, one: UvmObject) -> dict[str, Any]:
    """Selectors that the object understands through its parents → the object that has them."""
    found: dict[str, Any] = {}
    for ancestor in list(one.chain())[1:]:
        for name in ancestor.names():
            if name not in found and name not in one._slots and is_method(ancestor.own(name)):
                found[name] = image.reference(ancestor)
    return found


class Snapshots:
    """Pages of the whole image as of one transaction, for tools that want to follow it from there.

    The sorted oids of the newest few snapshots are kept, so that a page costs its own objects only.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._oids: OrderedDict[bytes, list[bytes]] = OrderedDict()

    def page(self, request: GetFullState) -> State:
        """Raises Expired when the snapshot was packed away, BadArguments for a transaction id that is none."""
        tid = request.tid or newest(self._image)
        if len(tid) != 8 or tid > newest(self._image):
            raise BadArguments("tid must be the one that the first page gave")
        manager = transaction.TransactionManager(explicit=True)
        connection = self._image.database.open(manager, before=(int.from_bytes(tid) + 1).to_bytes(8))
        manager.begin()
        try:
            view = Image.__new__(Image)
            view.database, view.manager, view.connection = self._image.database, manager, connection
            oids = self._known(tid, view)
            start = next((number for number, oid in enumerate(oids) if oid > request.after), len(oids))
            chosen = oids[start : start + request.limit]
            objects = [_state_at(view, oid) for oid in chosen]
            after = chosen[-1] if start + request.limit < len(oids) else b""
            return State(request.id, tid, objects, after)
        except POSKeyError as error:
            raise Expired(f"the snapshot {tid.hex()} was packed away", "ask for the first page again") from error
        finally:
            manager.abort()
            connection.close()

    def _known(self, tid: bytes, view: Image) -> list[bytes]:
        if tid not in self._oids:
            damaged: list[UvmObject] = []
            sound = [one._p_oid for one in reachable(view.names.values(), damaged)]
            self._oids[tid] = sorted([*sound, *(one._p_oid for one in damaged)])
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
    seen: set[bytes] = set()
    pending = [one for one in roots if type(one) is UvmObject]
    while pending:
        one = pending.pop()
        if one._p_oid in seen:
            continue
        seen.add(one._p_oid)
        try:
            if KIND in one._slots:
                continue
        except DamagedRecord as error:
            log.error("an object cannot be loaded", object=error.details["object"], error=error.message)
            damaged.append(one)
            continue
        yield one
        for value in one._slots.values():
            pending.extend(referenced(value))


def referenced(value: Any) -> Iterable[UvmObject]:
    """The objects directly in a slot's value, in order."""
    pending, seen = [value], set()
    while pending:
        part = pending.pop()
        if type(part) is UvmObject:
            yield part
        elif type(part) in (list, dict) and id(part) not in seen:
            seen.add(id(part))
            pending.extend(reversed(part if type(part) is list else part.values()))
