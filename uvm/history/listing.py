"""Pages of history, as plain values and references: the whole image's, or one object's or slot's, the newest entry first.

A page looks at `LOOKED` entries at most, so that what happened long ago costs many pages and no long message. `next` is the id of the
entry that it looked at last; a page that begins there goes on with the one that came before it.
"""

from typing import Any, Final

from uvm.errors import BadArguments
from uvm.history import entries, marks
from uvm.history.entries import Recorded
from uvm.history.takings import Charge, Taking
from uvm.history.undo import Obstacle, Restoring, UndoPlan
from uvm.image import left
from uvm.image.image import Image
from uvm.image.large import loaded, weight
from uvm.objects import ABSENT, UvmObject
from uvm.values.slot_values import copied

LOOKED: Final = 4000
"""Entries that one page looks at."""
LISTED: Final = 200
"""Entries that one page has at most."""
CHANGES: Final = 32
"""Changes that are shown of an entry; `more` says how many there are besides."""
VALUE: Final = 512
"""Bytes of a value that is shown; of a larger one only how many it has."""
SLOTS: Final = 500
"""Slots that are shown of an undo; `more` says how many there are besides."""
_LOOK: Final = 20
_SHOW: Final = 100
"""Units that an entry costs: looking at it, and showing it."""


def page(
    image: Image,
    charge: Charge,
    target: UvmObject | None = None,
    slot: str = "",
    before: str = "",
    limit: int = 50,
    chronicle: bool = False,
) -> dict[str, Any]:
    """`entries`, and `next`, which is empty on the last page. Raises BadArguments, Expired."""
    if type(limit) is not int or not 1 <= limit <= LISTED:
        raise BadArguments(f"a page of history has 1 to {LISTED} entries, not {limit!r:.50}")
    if type(slot) is not str or type(before) is not str:
        raise BadArguments("a slot is named by a text, and the entry to go on from as well")
    listed: list[dict[str, Any]] = []
    for count, recorded in enumerate(entries.newest_first(image, before, chronicle), 1):
        charge(_LOOK)
        if target is None or _concerns(recorded, target, slot):
            charge(_SHOW)
            listed.append(shown(image, recorded, target, slot))
        if len(listed) == limit or count == LOOKED:
            return {"entries": listed, "next": recorded.id}
    return {"entries": listed, "next": ""}


def _concerns(recorded: Recorded, target: UvmObject, slot: str) -> bool:
    entry = recorded.entry
    if any(effect[0] is target and slot in ("", effect[1]) for effect in entry.get("effects", ())):
        return True
    if entry.get("object") is target or entry.get("method") is target:
        return slot in ("", entry.get("slot", ""))
    return False


def shown(image: Image, recorded: Recorded, target: UvmObject | None = None, slot: str = "") -> dict[str, Any]:
    """An entry with its changes, or those of one object or slot."""
    entry = recorded.entry
    undone = marks.taken_back(image, recorded.id)
    effects = [
        (number, effect)
        for number, effect in enumerate(entry.get("effects", ()))
        if (target is None or effect[0] is target or entry.get("method") is target) and slot in ("", effect[1])
    ]
    row: dict[str, Any] = {
        "entry": recorded.id,
        "tid": recorded.tid.hex(),
        "at": entry.get("at", 0),
        "kind": entry.get("kind", "") if recorded.chronicled else "message",
        "author": entry.get("author", "") if recorded.chronicled else entry.get("principal", ""),
    }
    if not recorded.chronicled:
        row |= {"selector": entry.get("selector", ""), "session": entry.get("session", ""), "seq": entry.get("seq", 0)}
        if "undid" in entry:
            row["undid"] = [id for id, _ in loaded(entry["undid"])[:SLOTS]]
    row |= {name: entry[name] for name in ("cause", "object", "slot", "method") if name in entry}
    if "facts" in entry:
        row["facts"] = copied(loaded(entry["facts"]))
    if effects:
        row["changes"] = [{**_change(effect), **({"undone": True} if number in undone else {})} for number, effect in effects[:CHANGES]]
    if len(effects) > CHANGES:
        row["more"] = len(effects) - CHANGES
    if effects and all(number in undone for number, _ in effects):
        row["undone"] = True
    return row


def _change(effect: list[Any]) -> dict[str, Any]:
    """`before` and `after` where the slot was there; `left` in place of a larger value, of which the journal keeps a digest."""
    owner, slot, had, before, method, *left_there = effect
    change: dict[str, Any] = {"object": owner, "slot": slot}
    if had:
        change |= _value("before", loaded(before))
    if left_there[:1] != ["-"]:
        after = left.shown(left_there)
        change |= _value("after", after) if after is not ABSENT else {"left": True}
    if method is not None:
        change["method"] = method
        change["version"] = method.own("digest", "")
    return change


def _value(name: str, value: Any) -> dict[str, Any]:
    """A value under its name, or how many bytes it has."""
    octets = weight(value, 16 * VALUE)
    return {name: copied(value)} if octets <= VALUE else {f"{name}_bytes": octets}


# --- of an undo ------------------------------------------------------------------------------------------------------


def plan(undo_plan: UndoPlan, data_takings: list[Taking], cut: bool, with_data: bool) -> dict[str, Any]:
    """A plan as it is shown: `slots` with what they hold and would hold, `conflicts`, and `data`, what a method wrote besides.

    `cut`: it may have written more.
    """
    answer: dict[str, Any] = {
        "undoes": sorted(undo_plan.undone),
        "slots": [_step(step) for step in undo_plan.steps[:SLOTS]],
        "conflicts": conflicts(undo_plan.obstacles),
    }
    if len(undo_plan.steps) > SLOTS:
        answer["more"] = len(undo_plan.steps) - SLOTS
    if data_takings:
        changes = [
            {"entry": taking.recorded.id, **_change(taking.recorded.entry["effects"][number])}
            for taking in data_takings
            for number in taking.numbers
        ]
        answer |= {"data": changes[:SLOTS], "data_changes": len(changes), "with_data": with_data}
    if cut:
        answer["data_cut"] = True
    return answer


def conflicts(obstacles: list[Obstacle]) -> list[dict[str, Any]]:
    """What stands against an undo, slot by slot."""
    return [
        {
            "object": obstacle.owner,
            "slot": obstacle.slot,
            "entry": obstacle.id,
            "why": obstacle.why,
            **({"later": obstacle.later} if obstacle.later else {}),
        }
        for obstacle in obstacles[:SLOTS]
    ]


def _step(step: Restoring) -> dict[str, Any]:
    row: dict[str, Any] = {"object": step.owner, "slot": step.slot}
    for name, value in (("now", step.now), ("becomes", step.value)):
        if value is not ABSENT:
            row |= _value(name, value)
    return row
