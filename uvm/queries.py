"""What a tool may look at: one object, or a page of a snapshot. Reads only; called inside the batch's transaction."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import transaction
from ZODB.POSException import POSKeyError

from uvm.errors import BadArguments, Expired
from uvm.image import Image
from uvm.objects import KIND, UvmObject
from uvm.protocol import GetFullState, ObjectState, Reference, State
from uvm.reified import is_method
from uvm.values import to_wire

_SNAPSHOTS = 4


def object_state(image: Image, one: UvmObject) -> ObjectState:
    """An object as tools see it."""
    slots: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    for name in one.names():
        value = one.own(name)
        if is_method(value):
            methods[name] = image.reference(value)
        else:
            slots[name] = to_wire(value, image.reference)
    return ObjectState(image.reference(one), image.names_of(one), slots, [image.reference(parent) for parent in one.parents()], methods)


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
            objects = [object_state(view, view.at(Reference(oid))) for oid in chosen]
            after = chosen[-1] if start + request.limit < len(oids) else b""
            return State(request.id, tid, objects, after)
        except POSKeyError as error:
            raise Expired(f"the snapshot {tid.hex()} was packed away", "ask for the first page again") from error
        finally:
            manager.abort()
            connection.close()

    def _known(self, tid: bytes, view: Image) -> list[bytes]:
        if tid not in self._oids:
            self._oids[tid] = sorted(one._p_oid for one in reachable(view.names.values()))
            while len(self._oids) > _SNAPSHOTS:
                self._oids.popitem(last=False)
        return self._oids[tid]


def newest(image: Image) -> bytes:
    """The newest transaction that this process knows of."""
    tid: bytes = image.database.storage.lastTransaction()
    return tid


def reachable(roots: Iterable[UvmObject]) -> Iterable[UvmObject]:
    """The objects that tools can come to from these: through slots, parents and containers; what the kernel owns is left out."""
    seen: set[bytes] = set()
    pending = list(roots)
    while pending:
        one = pending.pop()
        if one._p_oid in seen or KIND in one._slots:
            continue
        seen.add(one._p_oid)
        yield one
        for value in one._slots.values():
            pending.extend(referenced(value))


def referenced(value: Any) -> Iterable[UvmObject]:
    """The objects directly in a slot's value."""
    if type(value) is UvmObject:
        yield value
    elif type(value) is list:
        for item in value:
            yield from referenced(item)
    elif type(value) is dict:
        for item in value.values():
            yield from referenced(item)
