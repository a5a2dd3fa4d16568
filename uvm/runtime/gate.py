"""The gate: the one place where what a message has changed is looked at, at its end and before anything of it is stored.

Whatever way a value came into a slot, by assignment, in place, or through another name that a method kept for it, here it is read
again as it is now: deeply, counted as often as it is reached, and copied, so that nothing outside its slot can change it later. What
a record may not hold, or what is too much, fails this message alone. Who may change what was decided when it was done (`authority`);
an object that was changed without a note of it is held to the strictest of them here.

The cost is in proportion to what was written. Called in the transaction of the message, by whoever ran it.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from uvm.errors import BadValue, NotAllowed, QuotaExceeded
from uvm.image.image import Image
from uvm.image.methods import VERSION
from uvm.image.stored import Growth, charged
from uvm.objects import ABSENT, CHARGED, KIND, NAMES, UvmObject
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_change
from uvm.values.slot_values import Charge, Scale

RECORD_BYTES: Final = 16_000_000
"""Bytes of one object's record: it is read and written as a whole."""
_OBJECT: Final = 64
"""Bytes that an object weighs, besides its slots."""
_SLOT: Final = 8
"""Bytes that a slot weighs, besides its name and its value."""


class Weight(Struct, frozen=True):
    """What a message stores: bytes of all records that it changed or made, and how many those are.

    `grown`: by how much each of them grew, where somebody is charged for that (`uvm.image.stored`).
    """

    bytes: int = 0
    objects: int = 0
    grown: list[Growth] = []


def look(image: Image, attempt: Attempt) -> Weight:
    """Look at everything that the attempt changed or made. Raises BadValue, NotAllowed, QuotaExceeded; the caller rolls back."""
    return _Look(image, attempt).all()


def weight(target: UvmObject) -> int:
    """About the bytes that an object takes, as they are charged."""
    return _OBJECT + sum(_SLOT + len(name) + _weight(value) for name, value in target._slots.items() if name != CHARGED)


class _Look:
    def __init__(self, image: Image, attempt: Attempt) -> None:
        self._image = image
        self._attempt = attempt
        self._limits = attempt.limits
        # An attempt that has ended, in a miss, spends no more ticks.
        self._charge = attempt.walk if attempt.end is None else lambda eighths: None
        self._scale = Scale(attempt.limits.bytes, self._charge)
        self._seen: set[int] = set()
        self._bytes = 0
        self._grown: list[Growth] = []

    def all(self) -> Weight:
        changed: dict[int, tuple[UvmObject, list[str]]] = {}
        for owner, slot, *_ in self._attempt.before.values():
            changed.setdefault(id(owner), (owner, []))[1].append(slot)
        created = self._attempt.created
        for identity, (owner, slots) in changed.items():
            if identity not in created and owner._p_jar is not None:
                self._changed(owner, slots)
            elif NAMES in slots:
                self._new(owner)  # it may be reached through its name alone
        for target in self._image.changed():
            if id(target) in created:
                self._new(target)
            elif id(target) not in self._seen and type(target) is UvmObject and KIND not in target._slots:
                # A mark alone, or a change that nobody noted: it is looked at as a whole, and may only be what every method might do.
                check_change(self._image, target, self._attempt.policy_throughout)
                self._changed(target, list(target._slots), noted=False)
            elif id(target) not in self._seen and type(target) is UvmObject and target.own(KIND) == "codex":
                # Of what is the kernel's it changes most in messages; this never.
                raise NotAllowed(f"{target!r} is the codex of the image, and no message changes it")
        while self._scale.references:
            target = self._scale.references.pop()
            if target._p_jar is None or id(target) in created:
                self._new(target)
        return Weight(self._bytes, len(self._seen), self._grown)

    def _changed(self, owner: UvmObject, slots: list[str], noted: bool = True) -> None:
        """An object of the image: its record was as long as it was, and its changed slots are other ones now. `noted`: that they were.

        Of what is the kernel's, only a method's version is any message's to change: an undo's, which the kernel itself carries out.
        """
        self._count(owner)
        if owner.own(KIND) is not ABSENT and slots != [VERSION]:
            raise NotAllowed(f"{owner!r} is a {owner.own(KIND)} of the image and is changed by the kernel alone")
        before, now = owner._p_estimated_size, self._slots(owner, slots)
        self._weighed(owner, before + now)
        if self._limits.stored or CHARGED in owner._slots:
            now += _names(owner, slots)
            # Of a change that nobody noted the whole was looked at: more than that is never charged, however often it comes.
            before = self._held(owner, slots) if noted else min(now, max(before, charged(owner)))
            self._grown.append((owner, now - before))

    def _held(self, owner: UvmObject, slots: Iterable[str]) -> int:
        """What changed slots weighed before."""
        total = 0
        for slot in slots:
            value = self._attempt.before[id(owner), slot][2]
            if value is not ABSENT:
                total += _SLOT + len(slot)
                with suppress(BadValue):  # an image of an earlier version may have it still, and it must be possible to remove it
                    total += _weight(value, self._charge)
        return total

    def _new(self, target: UvmObject) -> None:
        if id(target) in self._seen:
            return
        self._count(target)
        length = _OBJECT + self._slots(target, list(target._slots))
        self._weighed(target, length)
        if self._limits.stored:
            self._grown.append((target, length + _names(target, target._slots)))

    def _slots(self, owner: UvmObject, slots: Iterable[str]) -> int:
        """Read slots again and store them un-aliased; how many bytes they weigh."""
        before = self._scale.bytes
        for slot in slots:
            value = owner.own(slot)
            if value is ABSENT:
                continue
            copy = self._scale.copy(value)
            if copy is not value:
                owner.replace(slot, copy)
        return self._scale.bytes - before

    def _count(self, target: UvmObject) -> None:
        self._seen.add(id(target))
        if len(self._seen) > self._limits.objects:
            raise QuotaExceeded(f"a message may change or make {self._limits.objects:,} objects", "do it in several messages")

    def _weighed(self, owner: UvmObject, length: int) -> None:
        if length > min(RECORD_BYTES, self._limits.bytes - self._bytes):
            # What a changed slot held before was counted too: now exactly.
            length = _OBJECT + sum(_weight(owner.own(name)) for name in owner._slots)
        if length > RECORD_BYTES:
            raise QuotaExceeded(f"the record of {owner!r} would take {length:,} bytes; {RECORD_BYTES:,} are allowed", "use several objects")
        self._bytes += length
        if self._bytes > self._limits.bytes:
            raise QuotaExceeded(f"a message may store {self._limits.bytes:,} bytes, not {self._bytes:,}", "store less at once")


def _names(owner: UvmObject, slots: Iterable[str]) -> int:
    return sum(_SLOT + len(slot) for slot in slots if slot in owner._slots)


def _weight(value: object, charge: Charge = lambda eighths: None) -> int:
    scale = Scale(2 * RECORD_BYTES, charge)
    scale.weigh(value)
    return scale.bytes
