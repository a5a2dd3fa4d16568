"""Exports in parts: each object of a survey as an encoded ObjectDocument, cut where an answer is full. Reads only; owned by the batch.

The newest few surveys are kept, so that a part costs its own objects only. Another UVM that is asked for the next part makes the same
survey of the same transaction.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from ZODB.blob import Blob

from uvm.errors import BadArguments, BadValue
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.queries import Snapshots, capacity, newest
from uvm.objects import NAMES, PARENTS, UvmObject
from uvm.protocol import Export, Exported, ObjectDocument, Reference, encode, encode_value
from uvm.transporter import methods
from uvm.transporter.blobs import piece
from uvm.transporter.survey import Survey, survey
from uvm.values.tagged import tagged

_SURVEYS: Final = 4
_PIECE: Final = 64
"""Bytes that a piece takes beside its own."""


class Exports:
    """What this UVM's batch answers to Export. `alive` is called now and then while a part takes long."""

    def __init__(self, image: Image, snapshots: Snapshots, frame: int, alive: Callable[[], None]) -> None:
        self._image = image
        self._snapshots = snapshots
        self._capacity = capacity(frame)
        self._alive = alive
        self._surveys: OrderedDict[tuple[Any, ...], Survey] = OrderedDict()

    def part(self, request: Export) -> Exported:
        """Raises BadArguments for a part that is not there, Expired, and what `survey` and `documented` do."""
        tid = request.tid or newest(self._image)
        with self._snapshots.view(tid) as view:
            surveyed = self._survey(view, tid, request)
            answer = Exported(request.id, tid, surveyed.image, len(surveyed.objects), surveyed.roots, [])
            return self._of_blob(view, surveyed, request, answer) if request.blob else self._of_objects(view, surveyed, request, answer)

    def _survey(self, view: Image, tid: bytes, request: Export) -> Survey:
        key = (tid, *map(str, request.targets))
        if key not in self._surveys:
            self._surveys[key] = survey(view, request.targets, self._alive)
            while len(self._surveys) > _SURVEYS:
                self._surveys.popitem(last=False)
        self._surveys.move_to_end(key)
        return self._surveys[key]

    def _of_objects(self, view: Image, surveyed: Survey, request: Export, answer: Exported) -> Exported:
        number, offset, left = request.number, request.offset, self._capacity
        weights = surveyed.weights if not number and not offset else []
        left -= len(encode_value(weights))
        if weights and left < self._capacity // 2:
            raise BadValue(
                f"the objects refer to {len(weights):,} models and adapters, too many for a frame", "export fewer objects at a time"
            )
        pieces: list[bytes] = []
        while number < len(surveyed.objects) and left > _PIECE:
            self._alive()
            document = encode(documented(view.at(Reference(surveyed.objects[number])), surveyed))
            if offset >= len(document):
                raise BadArguments(f"object {number} of the export has no byte {offset:,}", "go on where the last part said")
            pieces.append(document[offset : offset + left - _PIECE])
            left -= len(pieces[-1]) + _PIECE
            offset += len(pieces[-1])
            if offset < len(document):
                break
            number, offset = number + 1, 0
        return Exported(answer.id, answer.tid, answer.image, answer.objects, answer.roots, pieces, number, offset, weights)

    def _of_blob(self, view: Image, surveyed: Survey, request: Export, answer: Exported) -> Exported:
        oid = surveyed.blobs.get(request.blob)
        blob = view.connection.get(oid) if oid is not None else None
        if not isinstance(blob, Blob):
            raise BadArguments(f"this export has no file {request.blob}", "its documents name those that it has")
        octets, more = piece(blob, request.offset, self._capacity)
        end = request.offset + len(octets) if more else 0
        return Exported(answer.id, answer.tid, answer.image, answer.objects, answer.roots, [octets], offset=end)


def documented(owner: UvmObject, surveyed: Survey) -> ObjectDocument:
    """An object as its document says it. Raises BadValue, which names the object and the slot, for what no export can say."""
    key = surveyed.keys[owner._p_oid]
    here: dict[str, UvmObject] = {}
    slots: dict[str, Any] = {}

    def tag(referent: Any) -> dict[str, Any]:
        if referent._p_oid in surveyed.keys:
            return {"ref": surveyed.keys[referent._p_oid]}
        home = surveyed.homes.get(referent._p_oid)
        if home is not None and home[0] == key and isinstance(referent, UvmObject):
            here[home[1]] = referent
        return dict(surveyed.tags[referent._p_oid])

    for slot in owner.names():
        value = owner.own(slot)
        try:
            slots[slot] = tag(value) if is_method(value) else tagged(value, tag)
        except BadValue as error:
            raise BadValue(f"{slot} of {key} cannot be exported: {error.message}", error.remedy, object=key, slot=slot) from error
    return ObjectDocument(
        key=key,
        names=list(owner._slots.get(NAMES, ())),
        parents=[tag(parent) for parent in owner._slots.get(PARENTS, ())],
        slots=slots,
        methods={label: methods.documented(behaviour, tag) for label, behaviour in here.items()},
    )
