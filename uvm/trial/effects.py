"""What a run has changed, as an outcome says it: slots before and after, changes that would be forgotten, and what it has made.

Runs in the trial child's only thread.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import transaction
from msgspec import UNSET
from msgspec.structs import replace
from ZODB.serialize import ObjectWriter

from uvm.image.image import Image
from uvm.objects import ABSENT, Counter, MergingQueue, MergingSet, UvmObject, same_value
from uvm.protocol import Example, Reference
from uvm.runtime.attempt import Attempt
from uvm.trial.protocol import Effect, TrialOutcome, encode
from uvm.values.crossing import to_wire

_LARGE = 65_536

Change = tuple[UvmObject, str, Any, Any, UvmObject | None]
"""As `Attempt.effects` tells of one."""


def amnesia(image: Image, changed: list[UvmObject]) -> list[str]:
    """The slots of these objects that differ in what was stored from what is in memory: changes made without the flag."""
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    second = image.database.open(manager)
    forgotten = []
    for owner in changed:
        if owner._p_oid is None:
            continue  # made, and reachable from nothing that was stored: nobody can miss it
        now, stored = owner._slots, second.get(owner._p_oid)._slots
        for slot in {**stored, **now}:
            if not same_value(now.get(slot, ABSENT), stored.get(slot, ABSENT)):
                forgotten.append(f"{Reference(owner._p_oid)}.{slot}")
    manager.abort()
    second.close()
    return forgotten


def in_place_of(present: Any, value: Any) -> Any:
    """A value for a slot that holds `present`: what merges goes on to merge."""
    if isinstance(present, Counter) and type(value) in (int, float):
        return Counter(value)
    return type(present)(value) if isinstance(present, MergingSet | MergingQueue) and type(value) is list else value


def shortened_example(example: Example) -> Example:
    """The example with large values as effects tell them (`effects_of`)."""
    if not example.changed:
        return example
    return replace(example, changed={name: _shortened(value) for name, value in example.changed.items()})


def effects_of(image: Image, attempt: Attempt, changes: Sequence[Change]) -> list[Effect]:
    """The changes of objects that the attempt has not made itself."""
    lasting = ((owner, slot, before, after) for owner, slot, before, after, _ in changes if id(owner) not in attempt.created)
    return [Effect(image.reference(owner), slot, _side(image, before), _side(image, after)) for owner, slot, before, after in lasting]


def _side(image: Image, value: Any) -> Any:
    """A slot's value before or after, or that there was no such slot."""
    return UNSET if value is ABSENT else _stored_value(image, value)


def _stored_value(image: Image, value: Any) -> Any:
    """A slot's value, or, where it is large, what tells it from another one: service stores more than a trial can say."""
    return _shortened(to_wire(value, image.reference))


def _shortened(shown: Any) -> Any:
    """A wire value, or what tells it from another one where it is large."""
    packed = encode(TrialOutcome(kind="ok", result=shown))
    return shown if len(packed) <= _LARGE else f"{len(packed):,} bytes, {hashlib.sha256(packed).hexdigest()}"


def digest_of_made(image: Image, attempt: Attempt) -> str:
    """The same for two drafts that made the same objects in the same order."""
    objects = [[[name, to_wire(value, image.reference)] for name, value in owner._slots.items()] for owner in attempt.created.values()]
    return hashlib.sha256(encode(TrialOutcome(kind="ok", result=objects))).hexdigest() if objects else ""


def uncommitted(image: Image, attempt: Attempt) -> dict[bytes, bytes]:
    """The records of what the attempt changed or made so far."""
    pending = [owner for owner, *_ in attempt.before.values()] + list(attempt.created.values())
    records: dict[bytes, bytes] = {}
    for changed in pending:
        oid = image.reference(changed).oid
        if oid not in records:
            writer = ObjectWriter(changed)
            records[oid] = writer.serialize(changed)
            pending.extend(new for new in writer if isinstance(new, UvmObject))
    return records
