"""What the window knows, and what it asks for: events in, a new view and instructions out. Pure: no clock, socket or toolkit.

Called by the window's main thread. The view starts from a snapshot and follows the state updates with larger
transaction ids (the gap rule of the protocol); after a broken connection it asks for a new snapshot.
"""

import shlex
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ui_client import morphs, story, values
from ui_client.choices import OfferedChoice, in_words
from ui_client.morphs import Column, Field, Graph, Items, Label, Morph
from uvm.protocol import STAGES, ObjectState, Progress, Reference, StateUpdate

FACE_INTERVAL_S = 1.0
"""Least time between two questions for the face."""
STATUS_INTERVAL_S = 2.0
"""Time between two questions for the bridge's status; a failed one means that the connection is gone."""
STATUS_PATIENCE_S = 4.0
"""Time after which an unanswered one means the same."""
NO_FACE = "genesis_obj does not understand display_yourself yet: send it below, and its method is written"
MAX_OBJECTS = 5000
"""Most objects the list shows."""


class Linked(Struct, frozen=True):
    """The bridge answered; `uvms` of them are alive."""

    uvms: int


class Unlinked(Struct, frozen=True):
    """The bridge did not answer."""

    reason: str


class Gap(Struct, frozen=True):
    """Published events were lost."""


class Snapshot(Struct, frozen=True):
    """All named objects and what they reach, as of one transaction."""

    tid: bytes
    objects: list[ObjectState]


class FaceSeen(Struct, frozen=True):
    """What genesis_obj answered to display_yourself; `understood` is False where it has no such method yet."""

    value: Any
    understood: bool = True


class FaceFailed(Struct, frozen=True):
    """It could not answer."""

    reason: str


class Replied(Struct, frozen=True):
    """The answer to a message that the person sent."""

    message: str
    value: Any


class Refusal(Struct, frozen=True):
    """Why a message of the person, or a question about an object, has no answer."""

    message: str
    reason: str
    question: "AskedBack | None" = None


class AskedBack(Struct, frozen=True):
    """Which of its choices is right: what a refusal asks back, and the message that is sent again with the answer."""

    target: Reference | str
    selector: str
    args: tuple[Any, ...]
    choices: tuple[OfferedChoice, ...]


class Inspected(Struct, frozen=True):
    """The object that the person clicked. `entropy`: of the autotelic loop's object, the metric's newest measurements, the newest last."""

    state: ObjectState
    entropy: tuple[float, ...] = ()


class Sending(Struct, frozen=True):
    """A message of the person is on its way."""

    message: str


class ClockTick(Struct, frozen=True):
    """Time passes."""


Event = (
    Linked
    | Unlinked
    | Gap
    | Snapshot
    | FaceSeen
    | FaceFailed
    | Replied
    | Refusal
    | Inspected
    | Sending
    | ClockTick
    | StateUpdate
    | Progress
)


class AskStatus(Struct, frozen=True):
    """Ask the bridge how it is."""


class AskSnapshot(Struct, frozen=True):
    """Ask for the whole state."""


class AskFace(Struct, frozen=True):
    """Send display_yourself to genesis_obj, if it understands it."""


Instruction = AskStatus | AskSnapshot | AskFace


class ListedObject(Struct, frozen=True):
    """One line of the list of objects."""

    reference: Reference
    names: tuple[str, ...]
    slots: int

    @property
    def title(self) -> str:
        return f"{', '.join(self.names) or self.reference}  ({self.slots})"


class View(Struct, frozen=True):
    """Everything that is shown, and what has been asked for. Times are seconds of the caller's clock."""

    link: Literal["connecting", "connected", "reconnecting"] = "connecting"
    tid: bytes = b""
    uvms: int = 0
    rows: dict[Reference, ListedObject] = {}
    synced: bool = False
    waiting: tuple[StateUpdate, ...] = ()
    face: Morph | None = None
    face_note: str = "asking genesis_obj for its face …"
    inspected: Morph | None = None
    reply: str = ""
    question: AskedBack | None = None
    generation: str = ""
    snapshot_asked: bool = False
    status_asked: bool = False
    status_at: float = float("-inf")
    face_stale: bool = True
    face_asked: bool = False
    face_at: float = float("-inf")

    @property
    def names(self) -> dict[Reference, str]:
        return {row.reference: row.names[0] for row in self.rows.values() if row.names}

    @property
    def status(self) -> str:
        """The status line."""
        tid = self.tid.hex().lstrip("0") or "0"
        fields = [self.link, f"transaction {tid}", f"{len(self.rows)} objects", f"{self.uvms} UVMs"]
        return "   ".join([*fields, self.generation] if self.generation else fields)

    def in_order(self) -> list[ListedObject]:
        """Named objects by name, then the others by reference."""
        return sorted(self.rows.values(), key=lambda row: (not row.names, row.names, row.reference.oid))[:MAX_OBJECTS]


def step(view: View, event: Event, now: float) -> tuple[View, list[Instruction]]:
    """The view after `event`, and what to do."""
    return _plan(_take(view, event), now)


def _take(view: View, event: Event) -> View:
    change = msgspec.structs.replace
    match event:
        case Linked(uvms=uvms):
            if view.link == "connected":
                return change(view, uvms=uvms, status_asked=False)
            # What was published while we were away is lost to us: start again from a snapshot.
            return change(view, link="connected", uvms=uvms, status_asked=False, synced=False, face_stale=True)
        case Unlinked():
            # Questions that are on their way are given up: their answers may never come.
            return change(
                view, link="reconnecting", uvms=0, status_asked=False, snapshot_asked=False, face_asked=False, synced=False, waiting=()
            )
        case Gap():
            return change(view, synced=False)
        case Snapshot(tid=tid, objects=objects):
            rows = {state.reference: ListedObject(state.reference, tuple(state.names), len(state.slots)) for state in objects}
            waiting = [update for update in view.waiting if update.tid > tid]
            view = change(view, rows=rows, tid=max(view.tid, tid), snapshot_asked=False, synced=True, waiting=(), face_stale=True)
            for update in waiting:
                view = _apply(view, update)
            return view
        case StateUpdate():
            return _apply(view, event) if view.synced else _hold(view, event)
        case Progress():
            ended = event.stage in STAGES[-1:] or event.stage == "refused"
            reasons = story.describe(event.detail) if event.stage == "refused" else ""
            return change(view, generation=f"{event.selector}: {event.stage} {reasons}".rstrip(), face_stale=view.face_stale or ended)
        case FaceSeen(value=value, understood=understood):
            return _show_face(change(view, face_asked=False), value, understood)
        case FaceFailed(reason=reason):
            return change(view, face_asked=False, face_note=reason)
        case Sending(message=message):
            return change(view, reply=f"> {message}\n…", question=None)
        case Replied(message=message, value=value):
            return change(view, reply=f"> {message}\n{values.show(value, view.names)}", question=None)
        case Refusal(message=message, reason=reason, question=question):
            return change(view, reply=f"> {message}\n{values.showable(reason)}", question=question)
        case Inspected(state=state, entropy=entropy):
            return change(view, inspected=object_morph(state, entropy))
        case ClockTick():
            return view


def _hold(view: View, update: StateUpdate) -> View:
    # Between asking for a snapshot and having it, updates wait: those the snapshot lacks are applied after it.
    waiting = (*view.waiting, update)[-1000:]
    return msgspec.structs.replace(view, tid=max(view.tid, update.tid), waiting=waiting)


def _apply(view: View, update: StateUpdate) -> View:
    rows = dict(view.rows)
    for changed in update.changes:
        if changed.quarantined is not None:
            continue  # of a method: whether it is in use
        before = rows.get(changed.reference)
        names = tuple(changed.names) or (before.names if before else ())
        # The count is a hint between snapshots: an update says what was set, not whether it was new.
        slots = max(before.slots if before else 0, len(changed.slots)) - len(changed.removed)
        rows[changed.reference] = ListedObject(changed.reference, names, max(0, slots))
    return msgspec.structs.replace(view, rows=rows, tid=max(view.tid, update.tid), face_stale=True)


def _show_face(view: View, value: Any, understood: bool) -> View:
    change = msgspec.structs.replace
    if not understood:
        return change(view, face=None, face_note=NO_FACE)
    if not morphs.is_morph(value):
        return change(view, face=Label(values.show(value, view.names)), face_note="")
    try:
        return change(view, face=morphs.parse(value), face_note="")
    except morphs.MorphError as error:
        return change(view, face=None, face_note=str(error))


def _plan(view: View, now: float) -> tuple[View, list[Instruction]]:
    asks: list[Instruction] = []
    change = msgspec.structs.replace
    if view.status_asked and view.link == "connected" and now - view.status_at > STATUS_PATIENCE_S:
        view = _take(view, Unlinked("no answer"))
    if not view.status_asked and now - view.status_at >= STATUS_INTERVAL_S:
        view = change(view, status_asked=True, status_at=now)
        asks.append(AskStatus())
    if view.link != "connected":
        return view, asks
    if not view.synced and not view.snapshot_asked:
        view = change(view, snapshot_asked=True)
        asks.append(AskSnapshot())
    if view.face_stale and not view.face_asked and now - view.face_at >= FACE_INTERVAL_S:
        view = change(view, face_stale=False, face_asked=True, face_at=now)
        asks.append(AskFace())
    return view, asks


def object_morph(state: ObjectState, entropy: tuple[float, ...] = ()) -> Morph:
    """An object as a tree: its slots, parents and methods; of the autotelic loop's object the metric as a curve."""
    heading = ", ".join(state.names) or str(state.reference)
    children: list[Morph] = [Label(heading), Field("reference", str(state.reference), state.reference)]
    if entropy:
        children.append(Graph(f"Composite Entropy Metric, now {entropy[-1]:.3f}", list(entropy)))
    children += [Field(name, value, state.reference) for name, value in state.slots.items()]
    children.append(Items("parents", list(state.parents)))
    children.append(Items("methods", [f"{name} (out of use)" if name in state.quarantined else name for name in sorted(state.methods)]))
    return Column(children)


def answers(view: View) -> list[str]:
    """What the buttons say that answer the question, in the order of its choices; none where nothing is asked."""
    return [in_words(choice, view.names) for choice in view.question.choices] if view.question is not None else []


def command(text: str) -> tuple[Reference | str, str, list[Any]]:
    """`TARGET SELECTOR ARGS…` of the message field: arguments as on the command line, quoted as in a shell.

    Raises BadArgument.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise values.BadArgument(f"{error}; close the quotes") from error
    if len(words) < 2:
        raise values.BadArgument("write TARGET SELECTOR ARGUMENTS…, such as: genesis_obj clone")
    return values.target(words[0]), words[1], [values.argument(word) for word in words[2:]]
