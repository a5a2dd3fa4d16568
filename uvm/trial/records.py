"""Which records of the image a trial's child is given: those that a method may look at. Pure.

A child that was taken over asks for any oid it can think of. The kernel's books (receipts, journals, sessions) are no business of a method,
so they are none of the child's.
"""

import io
from typing import Any, Final

from ZODB._compat import PersistentUnpickler

from uvm.image.image import VISIBLE, allowed_class
from uvm.objects import ABSENT, KIND

_READ: Final = VISIBLE | {"router"}
"""Kinds of objects that a method looks at, or that a primitive looks at for it."""


def readable(record: bytes) -> bool:
    """Whether a child may have this record, as the database holds it: class and state."""
    # Most records name no kind at all, which their bytes show without loading them.
    return KIND.encode() not in record or _kind(record) in _READ


def _kind(record: bytes) -> Any:
    unpickler = PersistentUnpickler(allowed_class, lambda _reference: None, io.BytesIO(record))
    try:
        unpickler.load()
        state = unpickler.load()
    except Exception:  # noqa: BLE001  a record that cannot be loaded here cannot be loaded there
        return None
    slots = state.get("_slots") if isinstance(state, dict) else None
    return slots.get(KIND, ABSENT) if isinstance(slots, dict) else ABSENT
