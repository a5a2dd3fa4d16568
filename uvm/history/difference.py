"""What differed of an object between two transactions, slot by slot, from the records that the image keeps of it.

A pack erases older records, and with them what this can tell; the journals, which are younger than most packs, still know the changes.
"""

from typing import Any

from ZODB.POSException import POSKeyError

from uvm.errors import BadArguments, DamagedRecord, Expired
from uvm.history.takings import tid_of
from uvm.image.image import Image
from uvm.objects import ABSENT, NAMES, PARENTS, UvmObject, same_value
from uvm.values.slot_values import copied

_RECORDS = 1_000_000


def between(image: Image, receiver: UvmObject, first: str, second: str) -> list[dict[str, Any]]:
    """The slots that differed: `slot`, `before` as of the first transaction and `after` as of the second, where it was there.

    Raises BadArguments for what is no transaction, Expired for a record that was packed away or was not there yet.
    """
    newest: bytes = image.database.storage.lastTransaction()
    for text in (first, second):
        if tid_of(text) > newest:
            raise BadArguments(f"there was no transaction {text} yet", f"the newest one is {newest.hex()}")
    was, is_now = (_slots(image, receiver, tid_of(text)) for text in (first, second))
    return [
        {"slot": slot, **{name: copied(value) for name, value in sides if value is not ABSENT}}
        for slot in {**was, **is_now}
        if not same_value(was.get(slot, ABSENT), is_now.get(slot, ABSENT))
        for sides in [(("before", was.get(slot, ABSENT)), ("after", is_now.get(slot, ABSENT)))]
    ]


def _slots(image: Image, receiver: UvmObject, tid: bytes) -> dict[str, Any]:
    storage, oid = image.database.storage, image.oid_of(receiver)
    try:
        record = storage.loadBefore(oid, (int.from_bytes(tid) + 1).to_bytes(8))
        tids = [] if record is not None else [entry["tid"] for entry in storage.history(oid, size=_RECORDS)]
    except POSKeyError:  # it is being made by this very message
        record, tids = None, []
    if record is None:
        raise Expired(
            f"the image keeps no record of {receiver!r} as of {tid.hex()}: it was made later, or an older record was packed away",
            f"the oldest record that is kept is of {tids[-1].hex()}" if tids else "",
        )
    try:
        slots = image.connection._reader.getState(record[0])["_slots"]
    except Exception as error:
        raise DamagedRecord(
            f"the record of {receiver!r} as of {tid.hex()} cannot be loaded: {type(error).__name__}", object=repr(receiver)
        ) from error
    return {slot: value for slot, value in slots.items() if slot in (PARENTS, NAMES) or not slot.endswith("*")}
