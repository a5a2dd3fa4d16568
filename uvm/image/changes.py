"""What a transaction changed, as its StateUpdate tells it: complete, or with an explicit `again`. Owned by the process's one thread.

What a message did is known from its attempt (`take`), what the kernel's own transactions did from the records (`of_records`). The
changes are `collected` before the commit, and `settled` after it. Whether a method is in use is told of the method itself, since nobody
knows all the objects that have it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from deploy.settings import BridgeSettings
from uvm.errors import BadValue, DamagedRecord
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.message_object import is_method
from uvm.image.methods import QUARANTINED, VERSION, runs
from uvm.image.queries import object_state, referenced
from uvm.objects import ABSENT, KIND, NAMES, PARENTS, Merging, UvmObject, same_value
from uvm.protocol import Change, StateUpdate, encode
from uvm.values.crossing import NoRoom, Room, to_wire

_CHANGE_BYTES: Final = 64
_UNSAVED: Final = bytes(8)
_NAMES_SHOWN: Final = 16
MOST: Final = 1000
"""Changes in one StateUpdate, and new objects of one transaction that are carried whole."""


def updates(tid: bytes, process: str, changes: Sequence[Change]) -> Iterator[bytes]:
    """The encoded StateUpdates of a transaction: one, or several where it changed many objects."""
    for begin in range(0, len(changes), MOST):
        yield encode(StateUpdate(tid, process, list(changes[begin : begin + MOST])))


class Changes:
    """The changes of one transaction; what is carried of them has at most half as many bytes as a frame."""

    def __init__(self, image: Image, frame: int = BridgeSettings().max_frame_bytes) -> None:
        self._image = image
        self._limit = frame // 2
        self._written: dict[int, tuple[UvmObject, dict[str, Any]]] = {}
        self._created: dict[int, UvmObject] = {}
        self._merging: dict[int, UvmObject] = {}
        self._uses: dict[int, UvmObject] = {}

    def take(self, created: Mapping[int, UvmObject], effects: Iterable[Effect], judged: Iterable[UvmObject] = ()) -> None:
        """What a message did, at its end: the objects that its attempt made, by identity, and its effects.

        `judged`: methods that it put out of use, or back.
        """
        self._created.update(created)
        self._uses.update((id(method), method) for method in judged)
        for owner, slot, before, _, _ in effects:
            self._note(owner, slot, before)

    def of_records(self) -> list[Change]:
        """What the current transaction has written, by comparing with what is stored; for transactions without savepoints."""
        connection = self._image.connection
        for owner in self._image.changed():
            if type(owner) is not UvmObject or (KIND in owner._slots and not is_method(owner)):
                continue
            if owner._p_serial == _UNSAVED:
                self._created[id(owner)] = owner
                continue
            before = connection._reader.getState(connection._storage.load(owner._p_oid)[0])["_slots"]
            if KIND in owner._slots:
                if (QUARANTINED in before) is not (QUARANTINED in owner._slots):
                    self._uses[id(owner)] = owner
                continue
            for slot in {**before, **owner._slots}:
                was = before.get(slot, ABSENT)
                if not same_value(was, owner.own(slot)):
                    self._note(owner, slot, was)
        return self.collected()

    def _note(self, owner: UvmObject, slot: str, before: Any) -> None:
        _, slots = self._written.setdefault(id(owner), (owner, {}))
        slots.setdefault(slot, before)

    def collected(self) -> list[Change]:
        """The changes, in the current transaction, before its commit."""
        room = Room(self._limit)
        changes: list[Change] = []
        pending: list[UvmObject] = []
        for owner, slots in self._written.values():
            if owner.own(KIND) is not ABSENT:
                if VERSION in slots and is_method(owner):
                    self._uses[id(owner)] = owner  # it is another version by now, which may be out of use where the other was not
                continue
            if id(owner) not in self._created:
                changes.append(self._change(owner, slots, room, pending))
            if NAMES in slots and not slots[NAMES]:
                pending.append(owner)
        changes += self._reached(pending, room)
        return changes + [Change(self._image.reference(method), [], {}, [], quarantined=not runs(method)) for method in self._uses.values()]

    def settled(self, changes: list[Change]) -> list[Change]:
        """After the commit: a counter or a set that was merged with another process's is not what was carried."""
        # A record that the server merged was dropped from memory, and is loaded anew when it is needed.
        merged = {owner._p_oid for owner in self._merging.values() if owner._p_changed is None}
        if not merged:
            return changes
        return [
            Change(change.reference, change.names[:_NAMES_SHOWN], {}, [], again=True) if change.reference.oid in merged else change
            for change in changes
        ]

    def _change(self, owner: UvmObject, slots: dict[str, Any], room: Room, reached: list[UvmObject]) -> Change:
        reference, names = self._image.reference(owner), self._image.names_of(owner)
        before = room.left
        sets: dict[str, Any] = {}
        methods: dict[str, Any] = {}
        removed: list[str] = []
        parents = None
        try:
            room.take(_CHANGE_BYTES + sum(len(name.encode()) + 3 for name in [*names, *slots]))
            for slot, was in slots.items():
                value = owner.own(slot)
                if objects := list(referenced(value)):
                    old = {id(target) for target in referenced(was)}
                    reached.extend(target for target in objects if id(target) not in old)
                if slot == PARENTS:
                    parents = to_wire(owner.parents(), self._image.reference, room)
                elif slot.endswith("*"):
                    continue
                elif value is ABSENT:
                    removed.append(slot)
                elif is_method(value):
                    methods[slot] = to_wire(value, self._image.reference, room)
                    self._note_use(value)
                else:
                    sets[slot] = to_wire(value, self._image.reference, room)
                    if isinstance(value, Merging):
                        self._merging[id(owner)] = owner
        except (NoRoom, BadValue):
            room.left = before
            return self._again(owner)
        return Change(reference, names, sets, removed, parents, methods, renamed=NAMES in slots)

    def _reached(self, pending: list[UvmObject], room: Room) -> list[Change]:
        """Of the objects that something refers to now: the new ones whole; the others may be new to a follower, unless they have names."""
        changes: list[Change] = []
        visited: set[int] = set()
        while pending:
            owner = pending.pop()
            if id(owner) in visited:
                continue
            visited.add(id(owner))
            try:
                if owner.own(KIND) is not ABSENT:
                    continue
                change = self._whole(owner, room) if id(owner) in self._created and len(changes) < MOST else None
                if change is not None:
                    changes.append(change)
                    pending.extend(target for value in owner._slots.values() for target in referenced(value))
                elif not self._has_had_names(owner):
                    changes.append(self._again(owner))
            except DamagedRecord:
                continue
        return changes

    def _has_had_names(self, owner: UvmObject) -> bool:
        names = owner.own(NAMES, [])
        written = self._written.get(id(owner))
        return bool(names) and (written is None or bool(written[1].get(NAMES, names)))

    def _whole(self, owner: UvmObject, room: Room) -> Change | None:
        before = room.left
        try:
            state = object_state(self._image, owner, room)
        except NoRoom:
            state = None
        if state is None or state.cut or state.large or state.damaged:
            room.left = before
            return None
        for selector in state.quarantined:
            self._note_use(owner.own(selector))
        return Change(state.reference, state.names, state.slots, [], state.parents, state.methods, renamed=True, whole=True)

    def _note_use(self, method: UvmObject) -> None:
        """A method comes to stand in a slot: that it is out of use may be new to a follower, and has to be so still at the commit."""
        if QUARANTINED in method._slots:
            self._uses[id(method)] = method
            if method._p_serial != _UNSAVED and not method._p_changed:
                self._image.read_current([method])

    def _again(self, owner: UvmObject) -> Change:
        return Change(self._image.reference(owner), self._image.names_of(owner)[:_NAMES_SHOWN], {}, [], again=True)
