"""The examples that a method has to satisfy: whether they can be tried, in which state each is given, and where the method keeps them.

Used inside a transaction by whoever tests, installs or shows a method. Layout: a method's slot `examples` is a map with `next`, the number
of the next one, and `kept`, a list of maps, one an example: `number`, `args`, `kwargs`, `slots` (those that the sender named), `held` (what
the receiver's other data slots held then: of another state the example says nothing), what it has of `result`, `changed` and `raises`,
`looked`: the receiver's slots that a run of it looked at, where that was all it did, else nil; and `on`: the oid of the object that it was
given for, which may be gone. Other objects are references to them, so that a pack keeps them. The whole is in a record of its own where it
is large (`uvm.image.large`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from uvm.errors import BadExample, BadValue, ImageError
from uvm.image.large import loaded, stored, weight
from uvm.image.message_object import data_slots, is_method
from uvm.objects import ABSENT, VERSION, UvmObject
from uvm.protocol import Example, Reference
from uvm.values.crossing import from_wire, to_wire
from uvm.values.examples import Clause, line, merged
from uvm.values.slot_values import checked, copied, literal

Refer = Callable[[UvmObject], Reference]

KEPT: Final = 32
"""Examples that a method keeps."""
BYTES: Final = 65_536
"""About how many bytes they take together."""
HELD: Final = 16_384
"""About how many bytes of a receiver's state are kept with an example; its largest slots are left out first."""

_INNER: Final = frozenset({"looked", "held", "on"})
_CALL: Final = frozenset({"args", "kwargs"})
_BESIDE: Final = {"held": "state", "number": "number", "looked": "looked", "on": "on"}
"""What is stored beside an example → as what a Clause has it."""
_UNSAVED: Final = b"\0" * 8


def check(receiver: UvmObject, examples: Sequence[Example], visible: Callable[[Reference], UvmObject]) -> None:
    """Whether examples can be tried on a receiver.

    Raises BadExample for the first that names a slot which the receiver has not, or holds a value that no slot could hold.
    """

    def resolve(value: Any) -> Any:
        if isinstance(value, Reference):
            return visible(value)
        raise BadExample(f"example {number} holds {value!r}", "an example is tried by itself: it has no results of other sends")

    for number, example in enumerate(examples, 1):
        slots, changed = example.slots or {}, example.changed or {}
        for name in {**slots, **changed}:
            current = receiver.lookup(name)
            if current is ABSENT or is_method(current) or name.endswith("*"):
                raise BadExample(
                    f"example {number} names the slot {name!r}, which {receiver!r} does not have"
                    + ("" if current is ABSENT else ": it is a method"),
                    f"its slots are {', '.join(data_slots(receiver)[:24]) or 'none'}; setSlot_value_ gives it another one",
                )
        try:
            for value in (example.args, example.kwargs, slots, changed, None if example.result is UNSET else example.result):
                checked(from_wire(value, resolve))
        except BadExample:
            raise
        except ImageError as error:
            raise BadExample(f"example {number} holds what cannot be tried: {error.message}", error.remedy) from error


def clause(receiver: UvmObject, example: Example) -> Clause:
    """An example as it is given for a receiver as it is now."""
    named = example.slots or {}
    values = [(name, receiver.own(name)) for name in receiver.names() if name not in named and not is_method(receiver.own(name))]
    left, state = HELD, {}
    for size, name, value in sorted(((weight(value, left), name, value) for name, value in values), key=lambda row: row[:2]):
        left -= size
        if left < 0:
            break
        try:
            state[name] = to_wire(value, _committed)
        except ImageError:  # a blob, or what refers to an object that is only being made
            continue
    return Clause(example, state, on=receiver._p_oid if _is_committed(receiver) else b"")


def prompted(receiver: UvmObject, clauses: Sequence[Clause]) -> list[Example]:
    """The examples as a prompt is to show them beside this receiver: with the slots in which it differs by now."""
    return [_beside(receiver, clause) for clause in clauses]


def clauses_of(method: UvmObject, refer: Refer | None = None) -> list[Clause]:
    """The examples that a method keeps; one that is damaged counts as none, and one that refers to what is only being made, unless `refer`
    says what that is called."""
    clauses = (_loaded(entry, refer or _committed) for entry in _record(method)["kept"])
    return [clause for clause in clauses if clause is not None]


def legible(method: UvmObject, refer: Refer) -> bool:
    """Whether all that a method keeps as examples are some."""
    record = loaded(method.own("examples", None))
    return record is None or (record == _record(method) and len(clauses_of(method, refer)) == len(record["kept"]))


def binding(method: UvmObject, receiver: bytes) -> list[Clause]:
    """Those of them that a method for this object alone (its oid) has to satisfy as well.

    What was given for another object, and looked at more than its data, may be true of that object alone.
    """
    return [clause for clause in clauses_of(method) if clause.looked is not None or clause.on in (b"", receiver)]


def room(method: UvmObject, clauses: Sequence[Clause]) -> bool:
    """Whether a method can keep these as well."""
    together = merged(clauses_of(method), clauses)
    return len(together) <= KEPT and _weight(together) <= BYTES


def keep(method: UvmObject, clauses: Sequence[Clause], visible: Callable[[Reference], UvmObject], refer: Refer | None = None) -> None:
    """Have a method keep these as well, in the current transaction: those that another one kept first, and as far as there is room."""
    record = _record(method)
    together = before = clauses_of(method, refer)
    for clause in sorted(clauses, key=lambda clause: not clause.number):
        if any(clause.repeats(prior) for prior in together):
            continue
        numbers = {prior.number for prior in together}
        free = max([record["next"], *(number + 1 for number in numbers)])
        longer = [
            *together,
            msgspec.structs.replace(clause, number=free if clause.number in numbers or not clause.number else clause.number),
        ]
        if len(longer) <= KEPT and _weight(longer) <= BYTES:
            together = longer
    if len(together) != len(before):
        _write(method, max(record["next"], together[-1].number + 1), together, visible)


def remove(method: UvmObject, numbers: Sequence[int], visible: Callable[[Reference], UvmObject]) -> None:
    """Take kept examples away, in the current transaction. Raises BadValue for a number that is none."""
    before = clauses_of(method)
    unknown = sorted(set(numbers) - {clause.number for clause in before})
    if unknown:
        numbers_kept = ", ".join(str(clause.number) for clause in before) or "none"
        raise BadValue(f"{method.own('selector')} keeps no example {unknown[0]}", f"those that it keeps: {numbers_kept}")
    _write(method, _record(method)["next"], [clause for clause in before if clause.number not in numbers], visible)


def described(method: UvmObject) -> list[dict[str, Any]]:
    """The kept examples as a tool gets them: as they were given, with the number and a line for people."""
    descriptions = []
    for entry in _record(method)["kept"]:
        clause = _loaded(entry, _committed)
        if clause is not None:
            description = {name: copied(value) for name, value in entry.items() if name not in _INNER and (value or name not in _CALL)}
            descriptions.append({**description, "line": line(method.own("selector"), clause.example)})
    return descriptions


def portable(record: Any) -> Any:
    """What a method keeps, as it is told outside of this image: for which objects it was given means nothing there."""
    if type(record) is not dict or type(record.get("kept")) is not list:
        return record
    entries = [{name: part for name, part in entry.items() if name != "on"} if type(entry) is dict else entry for entry in record["kept"]]
    return {**record, "kept": entries}


# --- inside ------------------------------------------------------------------------------------------------------------


def _is_committed(target: UvmObject) -> bool:
    return target._p_oid is not None and target._p_jar is not None and target._p_serial != _UNSAVED


def _committed(target: UvmObject) -> Reference:
    if target._p_oid is None or not _is_committed(target):
        raise BadValue("an object that is only being made")
    return Reference(target._p_oid)


def _record(method: UvmObject) -> dict[str, Any]:
    record = loaded(method.own("examples", None))
    if type(record) is not dict or type(record.get("next")) is not int or type(record.get("kept")) is not list:
        return {"next": 1, "kept": []}
    return record


def _loaded(entry: Any, refer: Refer) -> Clause | None:
    try:
        wire = to_wire(entry, refer)
        extras = {field: wire.pop(name) for name, field in _BESIDE.items() if name in wire}
        return Clause(msgspec.convert(wire, Example), **extras)
    except (ImageError, msgspec.ValidationError, AttributeError, TypeError):
        return None


def _write(method: UvmObject, number: int, clauses: Sequence[Clause], visible: Callable[[Reference], UvmObject]) -> None:
    entries = []
    for clause in clauses:
        fields = {name: getattr(clause.example, name) for name in ("args", "kwargs", "slots", "result", "changed", "raises")}
        fields |= {"held": clause.state, "number": clause.number, "looked": clause.looked, **({"on": clause.on} if clause.on else {})}
        entries.append(from_wire({name: value for name, value in fields.items() if value is not UNSET}, visible))
    record = stored({"next": number, "kept": entries})
    version = method.own(VERSION)
    for owner in (method, *([version] if type(version) is UvmObject else [])):
        owner.put("examples", record)


def _weight(clauses: Sequence[Clause]) -> int:
    return sum(len(clause.situation) + len(clause.expectation) for clause in clauses)


def _beside(receiver: UvmObject, clause: Clause) -> Example:
    differing = {name: value for name, value in clause.state.items() if literal(receiver.own(name, None)) != literal(value)}
    slots = {**differing, **(clause.example.slots or {})} if clause.number else clause.example.slots
    return msgspec.structs.replace(clause.example, slots=slots or UNSET)
