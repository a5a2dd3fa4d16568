"""What the image can say of its history, and take back, as messages: primitives like those of `uvm.runtime.primitives`, for tools alone.

A method that saw what became of messages could tell its trial from service, and so none is shown any of it. An undo is a message like
any other: it changes slots of an attempt, through the same rules, the gate and the journal, and so can be undone itself.
"""

from typing import Any, Final

from uvm.errors import BadArguments, ImageError, NotAllowed, ParentCycle, UndoConflict
from uvm.history import chronicle, difference, entries, listing, marks, takings, undo
from uvm.history.takings import Taking
from uvm.history.undo import Restoring, UndoPlan
from uvm.image import library
from uvm.image.message_object import is_method
from uvm.image.methods import VERSION, decline
from uvm.objects import ABSENT, NAMES, PARENTS, Counter, UvmObject
from uvm.runtime import authority
from uvm.runtime.runtime import Primitive, Runtime

COUNTED: Final = "clones"
"""A counter that the kernel keeps of what everybody does, also on objects that not everybody may change."""
_SLOT: Final = 200
"""Units that a slot costs that is taken back."""
_FORMS: Final = (
    "what to undo is an entry (uvm-1/17.3), a message (SESSION/SEQ), a transaction (16 hexadecimal digits), a method object, "
    "or [object, selector]"
)


def history(runtime: Runtime, receiver: UvmObject, slot: str = "", before: str = "", limit: int = 50) -> dict[str, Any]:
    """A page of what the receiver's slots were, who changed them and when, the newest first."""
    _for_tools(runtime)
    return listing.page(runtime.image, runtime.attempt.charge, receiver, slot, before, limit)


def recent(runtime: Runtime, receiver: UvmObject, before: str = "", limit: int = 50, chronicle: bool = False) -> dict[str, Any]:
    """A page of what happened in the image, the newest first; `chronicle`: of what mattered alone."""
    _for_tools(runtime)
    return listing.page(runtime.image, runtime.attempt.charge, None, "", before, limit, chronicle is True)


def diff(runtime: Runtime, receiver: UvmObject, first: str, second: str) -> list[dict[str, Any]]:
    """What differed of the receiver between two transactions, slot by slot."""
    _for_tools(runtime)
    if type(first) is not str or type(second) is not str:
        raise BadArguments("diff_ takes two transactions, texts of 16 hexadecimal digits")
    runtime.attempt.charge(1000)
    return difference.between(runtime.image, receiver, first, second)


def take_back(
    runtime: Runtime, receiver: UvmObject, what: Any, preview: bool = False, also_data: bool = False, where_possible: bool = False
) -> dict[str, Any]:
    """Take back what a message, a method or a transaction did; all of it, or none, unless `where_possible`.

    `preview`: say what would be done. `also_data`: of a method, also what it wrote. Raises NotRecorded, UndoConflict.
    """
    _for_tools(runtime)
    if not all(type(flag) is bool for flag in (preview, also_data, where_possible)):
        raise BadArguments("preview, also_data and where_possible are true or false")
    image, charge = runtime.image, runtime.attempt.charge
    requested, method = _requested(runtime, what)
    data, cut = takings.written_by(image, method, requested, charge) if method is not None else ([], False)
    chosen = [*data, *requested] if also_data else requested
    plan = undo.make(image, chosen, lambda *change: _why_not(runtime, *change))
    charge(_SLOT * (len(plan.steps) + len(plan.obstacles)))
    undo.name_the_later(image, plan, charge)
    answer = listing.plan(plan, data, cut, also_data)
    if preview:
        return {**answer, "preview": True}
    if cut and also_data:
        raise UndoConflict(
            f"{method!r} wrote more than the newest {takings.LOOKED:,} entries show", "undo the method alone, then its messages in portions"
        )
    if plan.obstacles and not (where_possible and plan.undone):
        raise _conflict(runtime, plan)
    if plan.steps:  # else all of it was taken back in other ways, and there is nothing to write
        _carry_out(runtime, plan)
    return answer


def _requested(runtime: Runtime, subject: Any) -> tuple[list[Taking], UvmObject | None]:
    """What is to be taken back; and the method, where it is one."""
    image, charge = runtime.image, runtime.attempt.charge
    if is_method(subject):
        return takings.of_method(image, None, "", subject, charge), subject
    if isinstance(subject, list) and len(subject) == 2 and type(subject[0]) is UvmObject and type(subject[1]) is str:
        holder, selector = subject
        method = holder.own(selector)
        if not is_method(method):
            raise BadArguments(f"{selector!r:.140} is no method of {holder!r}'s own", "batos inspect shows where a method stands")
        return takings.of_method(image, holder, selector, method, charge), method
    if type(subject) is not str:
        raise BadArguments(_FORMS)
    if entries.is_id(subject):
        recorded = takings.behind(image, entries.find(image, subject))
        return [takings.whole(image, recorded)], _installed(recorded)
    session, slash, seq = subject.rpartition("/")
    if slash:
        if not session or not seq.isdecimal() or len(seq) > 16:
            raise BadArguments(_FORMS)
        return [takings.whole(image, takings.of_message(image, session, int(seq), runtime.attempt.principal, charge))], None
    return takings.of_transaction(image, takings.tid_of(subject)), None


def _installed(recorded: entries.Recorded) -> UvmObject | None:
    """The method that an entry of the chronicle put into a slot."""
    method = recorded.entry.get("method") if recorded.chronicled else None
    return method if is_method(method) else None


def _why_not(runtime: Runtime, owner: UvmObject, slot: str, now: Any, value: Any) -> str:
    attempt = runtime.attempt
    try:
        if slot == VERSION:
            authority.check_return(value, attempt.rights)
        elif not (slot == COUNTED and type(now) is type(value) is Counter):
            authority.check_change(runtime.image, owner, attempt.policy)
        if is_method(now) and value is ABSENT:
            authority.check_removal(runtime.image, owner, slot)
        if slot == NAMES:
            for name in _listed(now):
                if name not in _listed(value):
                    authority.check_name_loss(runtime.image, name)
        if slot == PARENTS:
            _check_parents(runtime, owner, _listed(now), _listed(value))
        if is_method(value) and slot != VERSION:
            authority.check_return(value, attempt.rights)
        elif value is not ABSENT:
            authority.check_hiding(runtime.image, owner, slot)
    except ImageError as error:
        return error.message
    return ""


def _check_parents(runtime: Runtime, owner: UvmObject, now: list[Any], value: list[Any]) -> None:
    for parent in value:
        if parent not in now:
            authority.check_new_parent(owner, parent, runtime.attempt.charge)
    for parent in now:
        if parent not in value:
            authority.check_parent_removal(runtime.image, owner, parent)
    if not value:
        raise NotAllowed("an object keeps at least one parent")


def _carry_out(runtime: Runtime, plan: UndoPlan) -> None:
    image, attempt = runtime.image, runtime.attempt
    attempt.touch()
    for step in plan.steps:
        attempt.writing(step.owner, step.slot)
    for step in plan.steps:
        if step.slot == NAMES:
            for name in [name for name in image.names_of(step.owner) if name not in _listed(step.value)]:
                image.take_name(step.owner, name)
    for step in plan.steps:
        _put(runtime, step)
    for step in plan.steps:
        if step.slot == PARENTS:
            _check_cycle(runtime, step.owner)
    for id, numbers in plan.marks.items():
        if numbers != marks.taken_back(image, id):
            marks.put(image, id, numbers)
    attempt.undid += [[id, numbers] for id, numbers in plan.undone.items()]
    chronicle.record(
        image,
        "undo",
        author=attempt.principal,
        cause=attempt.message,
        object=plan.steps[0].owner,
        slot=plan.steps[0].slot,
        facts={"undid": list(plan.undone)[: listing.SLOTS], "slots": len(plan.steps), "conflicts": len(plan.obstacles)},
    )


def _put(runtime: Runtime, step: Restoring) -> None:
    if step.slot == NAMES:
        for name in _listed(step.value):
            if name not in runtime.image.names_of(step.owner):
                runtime.image.give_name(step.owner, name)
    if step.slot == VERSION:
        by = runtime.attempt.principal or "the image"
        library.turn(runtime.image, step.owner, step.value, by, f"it was taken back by {by}")
    elif step.value is ABSENT:
        step.owner.drop(step.slot)
    else:
        step.owner.put(step.slot, step.value)
        if is_method(step.value) and is_method(step.now):
            decline(step.value, step.now)


def _check_cycle(runtime: Runtime, owner: UvmObject) -> None:
    """Two objects that got parents back could each have got the other."""
    for parent in owner.parents():
        ancestors = list(parent.chain())
        if owner in ancestors:
            raise ParentCycle(f"{parent!r} and {owner!r} would delegate to each other; a cycle is refused")
        runtime.image.read_current(ancestors)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _conflict(runtime: Runtime, plan: UndoPlan) -> UndoConflict:
    first = plan.obstacles[0]
    others = f", and {len(plan.obstacles) - 1} more" if len(plan.obstacles) > 1 else ""
    later = next((obstacle.later for obstacle in plan.obstacles if obstacle.later), "")
    return UndoConflict(
        f"{first.slot} of {first.owner!r} cannot be taken back: {first.why}{others}; nothing was done",
        (f"undo {later} first, which came later" if later else "`batos undo … --preview` shows what can be taken back")
        + "; `--where-possible` takes back the rest",
        conflicts=[
            {**conflict, "object": str(runtime.image.reference(conflict["object"]))} for conflict in listing.conflicts(plan.obstacles)
        ],
    )


def _for_tools(runtime: Runtime) -> None:
    if runtime.attempt.frames:
        raise NotAllowed("history is shown to tools, not to methods", "send it directly")


EVERYWHERE: dict[str, Primitive] = {"history_": history, "diff_": diff, "recent_": recent, "undo_": take_back}
