"""The running of a draft's calls: each in a fresh image out of the request's records, with the draft in its place, stored as in service.

Runs in the trial child's only thread. It owns the images, which live as long as their call, and the one runtime, whose compiled methods
stay; it asks for records through a function, and nothing here knows where they come from.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from uvm.errors import TooLarge
from uvm.image.image import Database, Image
from uvm.image.message_object import is_method
from uvm.image.methods import correct, install, method, shared_with
from uvm.image.tally import count
from uvm.objects import UvmObject
from uvm.protocol import EXAMPLE_SLOTS, Reference
from uvm.runtime.attempt import Attempt
from uvm.runtime.gate import look
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime
from uvm.trial.effects import amnesia, digest_of_made, effects_of, in_place_of
from uvm.trial.failures import bounded
from uvm.trial.protocol import Call, TrialOutcome, TrialRequest
from uvm.trial.storage import Records, Stored, TrialStorage
from uvm.values.crossing import NoRoom, Room, from_wire, to_wire
from uvm.values.slot_values import checked

LoadRecord = Callable[[bytes], Stored | None]
"""An object's record as of the trial's transaction; None where there is none."""

EMPTY: Mapping[str, Any] = MappingProxyType({})
"""No slots."""
_LIVE_OBJECTS = 1_000_000  # the connection must not drop an object before it has been compared with what was stored


class TrialAttempt(Attempt):
    """An attempt whose clock can be put back, and that goes on where another one ended. `made_before`: oids of what that one had made."""

    made_before: frozenset[bytes] = frozenset()

    def is_new(self, target: UvmObject) -> bool:
        return super().is_new(target) or target._p_oid in self.made_before

    def extend(self, seconds: float) -> None:
        """Do not count these seconds."""
        self._until += seconds


class TrialRuntime(Runtime):
    """A runtime in which the flag alone makes a change inside a value last: that is what is being tried. It knows what a run looked at."""

    _watched: tuple[UvmObject | None, str] = (None, "")
    _looked: dict[str, None] | None = None

    def watch(self, receiver: UvmObject, selector: str) -> None:
        """The message `selector` is about to be sent to the receiver, and what it looks at is to be known."""
        self._watched, self._looked = (receiver, selector), {}

    def looked(self) -> list[str] | None:
        """The data slots of the receiver that were looked at since; None if anything else was, or more than are counted."""
        return None if self._looked is None or len(self._looked) > EXAMPLE_SLOTS else list(self._looked)

    def send(self, receiver: Any, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if type(receiver) is UvmObject and self._looked is not None and (self.attempt.frames or selector != self._watched[1]):
            if receiver is self._watched[0] and not is_method(receiver.lookup(selector)):
                self._looked[selector] = None
            else:
                self._looked = None
        return super().send(receiver, selector, args, kwargs)

    def changed(self, receiver: Any) -> None:
        super().changed(receiver)
        receiver._p_changed = True


class TrialRunner:
    """The calls of one request. `load` gives the records, `waited` the seconds spent on them; `image` and `attempt` are the last call's."""

    def __init__(self, request: TrialRequest, load: LoadRecord, waited: Callable[[], float]) -> None:
        self.request = request
        self.waited = waited
        self.image: Image | None = None
        self.attempt: TrialAttempt | None = None
        self.ticks_used = 0
        self._load = load
        self._records = Records(request.tid, request.overlay, self._record)
        self._runtime: TrialRuntime | None = None

    def looked(self) -> list[str] | None:
        """The data slots of the receiver that the last call looked at; None if it looked at anything else, or nothing was called."""
        return self._runtime.looked() if self._runtime is not None else None

    def was_read(self, owner: UvmObject) -> bool:
        """Whether a call has looked at the object as it is stored."""
        return self._records.was_read(owner._p_oid)

    def _record(self, oid: bytes) -> Stored | None:
        """The record of an object; the draft's time stands still meanwhile."""
        before = self.waited()
        record = self._load(oid)
        if self.attempt is not None:
            self.attempt.extend(self.waited() - before)
        return record

    def carry_out(self, call: Call, slots: Mapping[str, Any] = EMPTY, subject: bytes = b"") -> TrialOutcome:
        """One call, carried out and stored as service would, on `subject`, or the receiver, on which `slots` have these values."""
        image, attempt, result = self._run(call, slots, subject or self.request.receiver)
        answer = self.answer(image, result)
        attempt.unflagged()
        look(image, attempt)
        changed = attempt.effects()
        effects = effects_of(image, attempt, changed)
        created, digest = len(attempt.created), digest_of_made(image, attempt)
        owners = {id(owner): owner for owner in [*(owner for owner, *_ in changed), *attempt.created.values()]}
        image.manager.commit()
        forgotten = amnesia(image, list(owners.values()))
        return bounded(TrialOutcome(kind="ok", result=answer, effects=effects, made=created, made_digest=digest, amnesia=forgotten))

    def answer(self, image: Image, result: Any) -> Any:
        """The result as the answer would carry it. Raises BadValue, TooLarge."""
        room = Room(self.request.answer_bytes)
        try:
            return to_wire(result, image.reference, room)
        except NoRoom:
            raise TooLarge(f"the answer would have more than {room.limit:,} bytes", "ask for less") from None

    def _run(self, call: Call, slots: Mapping[str, Any], subject: bytes) -> tuple[Image, Attempt, Any]:
        """Send the message to `subject` in a fresh image; its transaction is left open."""
        image = self.prepare(slots, subject)
        image.manager.begin()
        attempt = self.begin(image, self.request.ticks, self.request.seconds)
        return image, attempt, self.send(image, attempt, image.at(Reference(subject)), call)

    def begin(self, image: Image, ticks: int, seconds: float) -> Attempt:
        """A fresh attempt in an image."""
        request = self.request
        self.image = image
        runtime = self._runtime = self._runtime or TrialRuntime(image, PRIMITIVES)
        runtime.image = image  # compiled methods stay; the objects are new
        attempt = self.attempt = TrialAttempt(
            ticks=ticks,
            seconds=seconds,
            thoughts=request.thoughts,
            now=request.now,
            examples=list(request.examples),
            guarded=False,
            rights=request.rights,
            limits=request.limits,
        )
        attempt.made_before = self._made_before()
        return attempt

    def send(self, image: Image, attempt: Attempt, receiver: UvmObject, call: Call) -> Any:
        """Send the message."""
        if self._runtime is None:
            raise RuntimeError("an attempt begins before anything is sent")
        runtime, ticks = self._runtime, attempt.ticks
        runtime.watch(receiver, self.request.selector)
        values = tuple(from_wire(value, image.visible) for value in call.args)
        named = {name: from_wire(value, image.visible) for name, value in call.kwargs.items()}
        try:
            return runtime.run(attempt, receiver, self.request.selector, values, named)
        finally:
            self.ticks_used += ticks - attempt.ticks

    def prepare(self, slots: Mapping[str, Any], subject: bytes) -> Image:
        """The image of the request's transaction as it will be once the draft is installed (`uvm.generation.installer.Installer.put`).

        On `subject`, `slots` have these values in it.
        """
        request = self.request
        database = Database(TrialStorage(self._records), cache_size=_LIVE_OBJECTS)
        image = Image(database)
        image.manager.begin()
        holder = image.at(Reference(request.holder))
        if request.source:
            self._place(image, holder)
        receiver = image.at(Reference(subject))
        for name, value in slots.items():
            receiver.put(name, in_place_of(receiver.lookup(name), checked(from_wire(value, image.visible))))
        image.manager.commit()
        return image

    def _place(self, image: Image, holder: UvmObject) -> None:
        """Put the draft where it is to be."""
        request = self.request
        draft = method(request.selector, request.source, request.positional, request.author, {}, request.policy)
        shared = None if request.alone else shared_with(holder, request.selector)
        if shared is not None:
            correct(shared, draft)
        else:
            install(holder, draft)
        if request.holder in request.overlay:
            self._reorder(image, holder)
        count(image, "methods")

    def _reorder(self, image: Image, holder: UvmObject) -> None:
        """The message will run again from its start and find the method there: slots that it makes come after it."""
        record = self._records.committed(self.request.holder)
        if record is None:
            return
        before = image.connection._reader.getState(record[0])["_slots"]
        slots = dict(holder._slots)
        first = [name for name in slots if name in before]
        for name in dict.fromkeys([*first, self.request.selector, *slots]):
            holder._slots[name] = holder._slots.pop(name)
        holder._p_changed = True

    def _made_before(self) -> frozenset[bytes]:
        """The objects that the attempt had made before it missed the message: a method may assign to them as to its own."""
        return frozenset(oid for oid in self.request.overlay if self._records.committed(oid) is None)
