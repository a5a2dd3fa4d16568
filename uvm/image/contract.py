"""Where a method keeps the examples that it has to satisfy, and in which state an example is given.

Used inside a transaction by whoever tests, installs or shows a method. Layout: a method's slot `examples` is a map with `next`, the number
of the next one, and `kept`, a list of maps, one an example: `number`, `args`, `kwargs`, `slots` (those that the sender named), `held` (what
the receiver's other data slots held then: of another state the example says nothing), what it has of `result`, `changed` and `raises`, and
`looked`: the receiver's slots that a run of it looked at, where that was all it did; else nil. Objects are references to them, so that a
pack keeps them. The whole is in a record of its own where it is large (`uvm.image.large`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from uvm.errors import BadValue, ImageError
from uvm.image.large import loaded, stored, weight
from uvm.image.message_object import is_method
from uvm.objects import VERSION, UvmObject
from uvm.protocol import Example, Reference
from uvm.values.crossing import from_wire, to_wire
from uvm.values.examples import Clause, line, merged
from uvm.values.slot_values import copied, literal

Refer = Callable[[UvmObject], Reference]

KEPT: Final = 32
"""Examples that a method keeps."""
BYTES: Final = 65_536
"""About how many bytes they take together."""
HELD: Final = 16_384
"""About how many bytes of a receiver's state are kept with an example; its largest slots are left out first."""

_INNER: Final = frozenset({"looked", "held"})
_CALL: Final = frozenset({"args", "kwargs"})
_UNSAVED: Final = b"\0" * 8


def clause(receiver: UvmObject, example: Example) -> Clause:
    """An example as it is given for a receiver as it is now."""
    named = example.slots or {}
    data = [(name, receiver.own(name)) for name in receiver.names() if name not in named and not is_method(receiver.own(name))]
    left, held = HELD, {}
    for size, name, value in sorted(((weight(value, left), name, value) for name, value in data), key=lambda one: one[:2]):
        left -= size
        if left < 0:
            break
        try:
            held[name] = to_wire(value, _committed)
        except ImageError:  # a blob, or what refers to an object that is only being made
            continue
    return Clause(example, held)


def prompted(receiver: UvmObject, clauses: Sequence[Clause]) -> list[Example]:
    """The examples as a prompt is to show them beside this receiver: with the slots in which it differs by now."""
    return [_beside(receiver, one) for one in clauses]


def kept(method: UvmObject, refer: Refer | None = None) -> list[Clause]:
    """The examples that a method keeps; one that is damaged counts as none, and one that refers to what is only being made, unless `refer`
    says what that is called."""
    loaded = (_loaded(entry, refer or _committed) for entry in _record(method)["kept"])
    return [one for one in loaded if one is not None]


def legible(method: UvmObject, refer: Refer) -> bool:
    """Whether all that a method keeps as examples are some."""
    record = loaded(method.own("examples", None))
    return record is None or (record == _record(method) and len(kept(method, refer)) == len(record["kept"]))


def room(method: UvmObject, clauses: Sequence[Clause]) -> bool:
    """Whether a method can keep these as well."""
    together = merged(kept(method), clauses)
    return len(together) <= KEPT and _weight(together) <= BYTES


def keep(method: UvmObject, clauses: Sequence[Clause], visible: Callable[[Reference], UvmObject], refer: Refer | None = None) -> None:
    """Have a method keep these as well, in the current transaction: those that another one kept first, and as far as there is room."""
    record = _record(method)
    together = before = kept(method, refer)
    for one in sorted(clauses, key=lambda one: not one.number):
        if any(one.same(other) for other in together):
            continue
        taken = {other.number for other in together}
        free = max([record["next"], *(number + 1 for number in taken)])
        longer = [*together, msgspec.structs.replace(one, number=free if one.number in taken or not one.number else one.number)]
        if len(longer) <= KEPT and _weight(longer) <= BYTES:
            together = longer
    if len(together) != len(before):
        _write(method, max(record["next"], together[-1].number + 1), together, visible)


def remove(method: UvmObject, numbers: Sequence[int], visible: Callable[[Reference], UvmObject]) -> None:
    """Take kept examples away, in the current transaction. Raises BadValue for a number that is none."""
    before = kept(method)
    unknown = sorted(set(numbers) - {one.number for one in before})
    if unknown:
        known = ", ".join(str(one.number) for one in before) or "none"
        raise BadValue(f"{method.own('selector')} keeps no example {unknown[0]}", f"those that it keeps: {known}")
    _write(method, _record(method)["next"], [one for one in before if one.number not in numbers], visible)


def described(method: UvmObject) -> list[dict[str, Any]]:
    """The kept examples as a tool gets them: as they were given, with the number and a line for people."""
    told = []
    for entry in _record(method)["kept"]:
        one = _loaded(entry, _committed)
        if one is not None:
            said = {name: copied(value) for name, value in entry.items() if name not in _INNER and (value or name not in _CALL)}
            told.append({**said, "line": line(method.own("selector"), one.example)})
    return told


# --- inside ------------------------------------------------------------------------------------------------------------


def _committed(one: UvmObject) -> Reference:
    if one._p_oid is None or one._p_jar is None or one._p_serial == _UNSAVED:
        raise BadValue("an object that is only being made")
    return Reference(one._p_oid)


def _record(method: UvmObject) -> dict[str, Any]:
    record = loaded(method.own("examples", None))
    if type(record) is not dict or type(record.get("next")) is not int or type(record.get("kept")) is not list:
        return {"next": 1, "kept": []}
    return record


def _loaded(entry: Any, refer: Refer) -> Clause | None:
    try:
        told = to_wire(entry, refer)
        parts = {name: told.pop(name) for name in ("held", "number", "looked") if name in told}
        return Clause(msgspec.convert(told, Example), **parts)
    except (ImageError, msgspec.ValidationError, AttributeError, TypeError):
        return None


def _write(method: UvmObject, number: int, clauses: Sequence[Clause], visible: Callable[[Reference], UvmObject]) -> None:
    entries = []
    for one in clauses:
        told = {name: getattr(one.example, name) for name in ("args", "kwargs", "slots", "result", "changed", "raises")}
        told |= {"held": one.held, "number": one.number, "looked": one.looked}
        entries.append(from_wire({name: value for name, value in told.items() if value is not UNSET}, visible))
    record = stored({"next": number, "kept": entries})
    version = method.own(VERSION)
    for one in (method, *([version] if type(version) is UvmObject else [])):
        one.put("examples", record)


def _weight(clauses: Sequence[Clause]) -> int:
    return sum(len(one.situation) + len(one.expectation) for one in clauses)


def _beside(receiver: UvmObject, one: Clause) -> Example:
    differing = {name: value for name, value in one.held.items() if literal(receiver.own(name, None)) != literal(value)}
    slots = {**differing, **(one.example.slots or {})} if one.number else one.example.slots
    return msgspec.structs.replace(one.example, slots=slots or UNSET)
