"""What an undo would do: a plan, made from journal and chronicle entries and from what is in the slots now. It changes nothing.

An effect is taken back where the slot still is as the message left it: then it gets the value from before. Where it is not, a counter,
a merging set or a merging queue loses the message's own part, if that can be told apart; anything else is an obstacle, with the entry that
came later. Effects are looked at newest first, each on what those before it leave, so that a series of them is taken back as a whole.

An effect is in force, or an undo that is in force has taken it back (`uvm.history.marks`). Taking an undo back brings what it took back
into force again; where that is an undo as well, what it took back is out of force again, and so on.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct, field

from uvm.errors import BadArguments, DamagedRecord, NotRecorded, UndoConflict
from uvm.history import entries, marks
from uvm.history.entries import Recorded
from uvm.image import left
from uvm.image.image import Image
from uvm.image.large import loaded
from uvm.image.message_object import is_method
from uvm.image.pages import Position
from uvm.objects import ABSENT, NAMES, UvmObject, same_value

LOOKED: Final = 20_000
"""Entries that an undo looks through, the newest first, for a message, for what a method wrote, and for what came later."""
TEXT_TID: Final = 16
"""Characters of a transaction's id."""

May = Callable[[UvmObject, str, Any, Any], str]
"""Why a slot of an object, that holds the third, may not be made to hold the fourth; empty: it may."""
Charge = Callable[[int], None]
_LOOK: Final = 20
"""Units that an entry costs that is looked at."""


class Taking(Struct, frozen=True):
    """An entry of which effects are to be taken back; `numbers` are theirs, newest first."""

    recorded: Recorded
    numbers: tuple[int, ...]


class Step(Struct):
    """A slot that gets another value: `value`, or none where that is ABSENT. `now`: what it holds."""

    owner: UvmObject
    slot: str
    now: Any
    value: Any


class Obstacle(Struct):
    """An effect that cannot be taken back, and why. `later`: the id of the newest entry that touched the slot since."""

    owner: UvmObject
    slot: str
    id: str
    why: str
    later: str = ""


class Plan(Struct):
    """What an undo does: slots by object and name, what stands against it, and which effects of which entries it takes back.

    `marks`: of each entry whose effects come into force or out of it, those that are out of it then. `data`: of a method's undo, the
    effects that the method had, newest first; `cut`: there may be more of them than were looked for.
    """

    steps: list[Step] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    taken: dict[str, list[int]] = field(default_factory=dict)
    marks: dict[str, set[int]] = field(default_factory=dict)
    data: list[Taking] = field(default_factory=list)
    cut: bool = False


def make(image: Image, takings: Iterable[Taking], may: May) -> Plan:
    """The plan of taking these back, newest first."""
    return _Planner(image, may).plan(list(takings))


class _Planner:
    def __init__(self, image: Image, may: May) -> None:
        self._image = image
        self._may = may
        self._plan = Plan()
        self._steps: dict[tuple[int, str], Step] = {}
        self._holders: dict[str, UvmObject | None] = {}

    def plan(self, takings: list[Taking]) -> Plan:
        for recorded, numbers in ((taking.recorded, taking.numbers) for taking in takings):
            if not recorded.book:  # known from the method alone
                self._take_back(recorded, numbers[0])
                continue
            before = len(self._plan.obstacles)
            taken = [number for number in numbers if number not in self._out_of_force(recorded.id) and self._take_back(recorded, number)]
            if taken:
                self._plan.taken[recorded.id] = taken
                self._out_of_force(recorded.id).update(taken)
                if len(self._plan.obstacles) == before:
                    self._turn(recorded, into_force=True)
        self._plan.steps = [step for step in self._steps.values() if not same_value(step.now, step.value)]
        return self._plan

    def _out_of_force(self, id: str) -> set[int]:
        if id not in self._plan.marks:
            self._plan.marks[id] = set(marks.taken_back(self._image, id))
        return self._plan.marks[id]

    def _turn(self, undoing: Recorded, into_force: bool) -> None:
        """What an undo had taken back comes into force again, or goes out of it."""
        for id, numbers in loaded(undoing.entry.get("undid", [])):
            try:
                undone = entries.find(self._image, id)
            except NotRecorded:
                continue
            out_of_force = self._out_of_force(id)
            if into_force:
                out_of_force.difference_update(numbers)
            elif out_of_force.isdisjoint(numbers):
                out_of_force.update(numbers)
            else:
                owner, slot = undone.entry["effects"][numbers[0]][:2]
                self._obstacle(owner, slot, undone, "another undo has taken it back since")
                continue
            self._turn(undone, not into_force)

    def _take_back(self, recorded: Recorded, number: int) -> bool:
        owner, slot, had, kept, _, *left_there = recorded.entry["effects"][number]
        try:
            now = owner.own(slot)
        except DamagedRecord as error:
            return self._obstacle(owner, slot, recorded, error.message)
        step = self._steps.get((id(owner), slot)) or Step(owner, slot, now, now)
        before = loaded(kept) if had else ABSENT
        if not left_there:
            return self._obstacle(owner, slot, recorded, "an earlier version wrote the entry, and did not note what the message left")
        if left.is_there(step.value, left_there, self._image.oid_of):
            value, why = before, ""
        elif slot == NAMES:
            value, why = _names_without(step.value, before, left_there)
        else:
            value = left.without(step.value, before, left_there)
            why = "it was changed since" if value is ABSENT else ""
        why = why or (self._names_taken(owner, step.value, value) if slot == NAMES else "") or self._may(owner, slot, now, value)
        if why:
            return self._obstacle(owner, slot, recorded, why)
        step.value = value
        self._steps[id(owner), slot] = step
        return True

    def _obstacle(self, owner: UvmObject, slot: str, recorded: Recorded, why: str) -> bool:
        self._plan.obstacles.append(Obstacle(owner, slot, recorded.id, why))
        return False

    def _names_taken(self, owner: UvmObject, current: Any, value: Any) -> str:
        """Why the object cannot get its names back; else they are its own from here on."""
        wanted, held = _texts(value), _texts(current)
        for name in (name for name in wanted if name not in held):
            holder = self._holders[name] if name in self._holders else self._image.names.get(name)
            if holder is not None and holder is not owner:
                return f"the name {name!r} is another object's now"
        self._holders.update(dict.fromkeys(held, None))
        self._holders.update(dict.fromkeys(wanted, owner))
        return ""


def _texts(names: Any) -> list[str]:
    return [name for name in names if type(name) is str] if isinstance(names, list) else []


def _names_without(current: Any, before: Any, kept: list[Any]) -> tuple[Any, str]:
    """The names without those that the message gave, and with those that it took."""
    if kept[0] != "=":
        return ABSENT, "its names were changed since"
    had, got, now = _texts(before), _texts(kept[1]), _texts(current)
    gained, lost = set(got) - set(had), set(had) - set(got)
    if not gained <= set(now) or lost & set(now):
        return ABSENT, "its names were changed since"
    return sorted({*now, *lost} - gained), ""


# --- what is to be taken back ----------------------------------------------------------------------------------------


def whole(image: Image, recorded: Recorded) -> Taking:
    """All effects of an entry that were not taken back yet. Raises NotRecorded for one that has none, UndoConflict."""
    count = len(recorded.entry.get("effects", ()))
    if not count:
        raise NotRecorded(
            f"{recorded.id} changed no slot that could be taken back", "what it made stays until nothing refers to it", entry=recorded.id
        )
    gone = marks.taken_back(image, recorded.id)
    numbers = tuple(number for number in reversed(range(count)) if number not in gone)
    if not numbers:
        raise UndoConflict(
            f"{recorded.id} was taken back already",
            "`batos history` shows the undo that did it; undo that one to bring it back",
            entry=recorded.id,
        )
    return Taking(recorded, numbers)


def behind(image: Image, recorded: Recorded) -> Recorded:
    """The message that an entry of the chronicle tells of, where the effects are the message's; else the entry itself."""
    if not recorded.chronicled or recorded.entry.get("effects"):
        return recorded
    messages = [message for message in entries.of_transaction(image, recorded.tid) if not message.chronicled]
    cause = recorded.entry.get("cause", "")
    same = [message for message in messages if cause and f"{message.entry.get('session')}/{message.entry.get('seq')}" == cause]
    return same[0] if same else messages[0] if len(messages) == 1 and not cause else recorded


def of_message(image: Image, session: str, seq: int, principal: str, charge: Charge) -> Recorded:
    """The journal's entry of a message; the principal's own, where several have a session of that name. Raises NotRecorded."""
    others: Recorded | None = None
    for recorded in _looked(image, charge):
        if (recorded.entry.get("session"), recorded.entry.get("seq")) == (session, seq) and not recorded.chronicled:
            if recorded.entry.get("principal", principal) == principal:
                return recorded
            others = others or recorded
    if others is not None:
        return others
    raise NotRecorded(
        f"no message {session}/{seq} is in the newest {LOOKED:,} entries of the journals",
        "it changed nothing, or it was long ago: `batos history` shows what there is; name the entry, as in `batos undo uvm-1/17.3`",
    )


def of_transaction(image: Image, tid: bytes) -> list[Taking]:
    """What a transaction did, newest first, as far as it was not taken back. Raises NotRecorded, UndoConflict."""
    changing = [recorded for recorded in entries.of_transaction(image, tid) if recorded.entry.get("effects")]
    if not changing:
        raise NotRecorded(
            f"no journal has anything of the transaction {tid.hex()}", "`batos history` shows the transactions of messages, as `tid`"
        )
    if all(len(marks.taken_back(image, recorded.id)) == len(recorded.entry["effects"]) for recorded in changing):
        raise UndoConflict(f"all of {tid.hex()} was taken back already", "`batos history` shows by which undo")
    return [Taking(recorded, tuple(reversed(range(len(recorded.entry["effects"]))))) for recorded in changing]


def of_method(image: Image, holder: UvmObject | None, selector: str, method: UvmObject, charge: Charge) -> list[Taking]:
    """The installations of a method that are in force: on the holder, or, without one, wherever it was put. Raises NotRecorded.

    Where the chronicle does not have it any more, the method itself knows what it replaced.
    """
    takings: list[Taking] = []
    places: set[tuple[int, str]] = set()
    for recorded in _looked(image, charge, chronicle=True):
        for number, (owner, slot, _, _, _, *left_there) in enumerate(recorded.entry.get("effects", ())):
            place = id(owner), slot
            wanted = left_there == ["=", method] and (holder is None or (owner is holder and slot == selector))
            if wanted and place not in places and owner.own(slot) is method and number not in marks.taken_back(image, recorded.id):
                places.add(place)
                takings.append(Taking(recorded, (number,)))
        if takings and holder is not None:
            return takings
    if holder is not None:
        replaced = method.own("replaced")
        before = replaced if is_method(replaced) else None
        effect = [holder, selector, before is not None, before, None, "=", method]
        return [Taking(Recorded("", Position(0, 0), b"", {"effects": [effect]}), (0,))]
    if not takings:
        raise NotRecorded(
            f"{method!r} stands in no slot that the chronicle knows of", "name the object and the selector: `batos undo TARGET SELECTOR`"
        )
    return takings


def written_by(image: Image, method: UvmObject, installs: list[Taking], charge: Charge) -> tuple[list[Taking], bool]:
    """The effects that a method had since it was installed, newest first, but those taken back already; and whether there may be more."""
    since = min(taking.recorded.tid for taking in installs)
    takings: list[Taking] = []
    looked = 0
    for recorded in _looked(image, charge):
        looked += 1
        if recorded.tid < since:
            return takings, False
        effects = recorded.entry.get("effects", ()) if not recorded.chronicled else ()
        numbers = tuple(number for number in reversed(range(len(effects))) if effects[number][4] is method)
        if numbers and (numbers := tuple(number for number in numbers if number not in marks.taken_back(image, recorded.id))):
            takings.append(Taking(recorded, numbers))
    return takings, looked >= LOOKED


def name_the_later(image: Image, plan: Plan, charge: Charge) -> None:
    """Say of each obstacle which entry touched the slot last, as far as the newest entries show."""
    unexplained = list(plan.obstacles)
    if not unexplained:
        return
    for recorded in _looked(image, charge):
        touched = {(id(owner), slot) for owner, slot, *_ in recorded.entry.get("effects", ())}
        for obstacle in unexplained:
            if obstacle.id != recorded.id and (id(obstacle.owner), obstacle.slot) in touched:
                obstacle.later = recorded.id
        unexplained = [obstacle for obstacle in unexplained if not obstacle.later and obstacle.id != recorded.id]
        if not unexplained:
            return


def _looked(image: Image, charge: Charge, chronicle: bool = False) -> Iterable[Recorded]:
    for count, recorded in enumerate(entries.newest_first(image, chronicle=chronicle)):
        if count >= LOOKED:
            return
        charge(_LOOK)
        yield recorded


def tid_of(text: str) -> bytes:
    """A transaction's id as people write it. Raises BadArguments."""
    try:
        tid = bytes.fromhex(text)
    except ValueError:
        tid = b""
    if len(text) != TEXT_TID or len(tid) != TEXT_TID // 2:
        raise BadArguments(f"{text!r:.100} is no transaction: that is {TEXT_TID} hexadecimal digits", "`batos history` shows them")
    return tid
