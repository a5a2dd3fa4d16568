"""What an undo would do: a plan, made from journal and chronicle entries and from what is in the slots now. It changes nothing.

An effect is taken back where the slot still is as the message left it: then it gets the value from before. Where it is not, a counter,
a merging set or a merging queue loses the message's own part, if that can be told apart; anything else is an obstacle, with the entry that
came later. Effects are looked at newest first, each on what those before it leave, so that a series of them is taken back as a whole.

An effect is in force, or an undo that is in force has taken it back (`uvm.history.marks`). Taking an undo back brings what it took back
into force again; where that is an undo as well, what it took back is out of force again, and so on.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, field

from uvm.errors import DamagedRecord, NotRecorded
from uvm.history import entries, marks
from uvm.history.entries import Recorded
from uvm.history.takings import Charge, Taking, looked_through
from uvm.image import left
from uvm.image.image import Image
from uvm.image.large import loaded
from uvm.objects import ABSENT, NAMES, UvmObject, same_value

May = Callable[[UvmObject, str, Any, Any], str]
"""Why a slot of an object, that holds the third, may not be made to hold the fourth; empty: it may."""


class Restoring(Struct):
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


class UndoPlan(Struct):
    """What an undo does: slots by object and name, what stands against it, and which effects of which entries it takes back.

    `marks`: of each entry whose effects come into force or out of it, those that are out of it then.
    """

    steps: list[Restoring] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    undone: dict[str, list[int]] = field(default_factory=dict)
    marks: dict[str, set[int]] = field(default_factory=dict)


def make(image: Image, takings: Iterable[Taking], may: May) -> UndoPlan:
    """The plan of taking these back, newest first."""
    return _Planner(image, may).plan(list(takings))


class _Planner:
    def __init__(self, image: Image, may: May) -> None:
        self._image = image
        self._may = may
        self._plan = UndoPlan()
        self._steps: dict[tuple[int, str], Restoring] = {}
        self._holders: dict[str, UvmObject | None] = {}

    def plan(self, takings: list[Taking]) -> UndoPlan:
        for recorded, numbers in ((taking.recorded, taking.numbers) for taking in takings):
            if not recorded.book:  # known from the method alone
                self._take_back(recorded, numbers[0])
                continue
            before = len(self._plan.obstacles)
            undone = [number for number in numbers if number not in self._out_of_force(recorded.id) and self._take_back(recorded, number)]
            if undone:
                self._plan.undone[recorded.id] = undone
                self._out_of_force(recorded.id).update(undone)
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
        owner, slot, had, stored_before, _, *left_there = recorded.entry["effects"][number]
        try:
            now = owner.own(slot)
        except DamagedRecord as error:
            return self._obstacle(owner, slot, recorded, error.message)
        step = self._steps.get((id(owner), slot)) or Restoring(owner, slot, now, now)
        before = loaded(stored_before) if had else ABSENT
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
        names_back, names_now = _texts(value), _texts(current)
        for name in (name for name in names_back if name not in names_now):
            holder = self._holders[name] if name in self._holders else self._image.names.get(name)
            if holder is not None and holder is not owner:
                return f"the name {name!r} is another object's now"
        self._holders.update(dict.fromkeys(names_now, None))
        self._holders.update(dict.fromkeys(names_back, owner))
        return ""


def _texts(names: Any) -> list[str]:
    return [name for name in names if type(name) is str] if isinstance(names, list) else []


def _names_without(current: Any, before: Any, remnant: list[Any]) -> tuple[Any, str]:
    """The names without those that the message gave, and with those that it took."""
    if remnant[0] != "=":
        return ABSENT, "its names were changed since"
    had, got, now = _texts(before), _texts(remnant[1]), _texts(current)
    gained, lost = set(got) - set(had), set(had) - set(got)
    if not gained <= set(now) or lost & set(now):
        return ABSENT, "its names were changed since"
    return sorted({*now, *lost} - gained), ""


def name_the_later(image: Image, plan: UndoPlan, charge: Charge) -> None:
    """Say of each obstacle which entry touched the slot last, as far as the newest entries show."""
    unexplained = list(plan.obstacles)
    if not unexplained:
        return
    for recorded in looked_through(image, charge):
        touched = {(id(owner), slot) for owner, slot, *_ in recorded.entry.get("effects", ())}
        for obstacle in unexplained:
            if obstacle.id != recorded.id and (id(obstacle.owner), obstacle.slot) in touched:
                obstacle.later = recorded.id
        unexplained = [obstacle for obstacle in unexplained if not obstacle.later and obstacle.id != recorded.id]
        if not unexplained:
            return
