"""A trial's experiment: the image's objects out of records, the draft put on one of them, the message run, and what it did compared.

Runs in the trial child's only thread, confined (`uvm.trial.child`), and asks for records through a function: nothing here knows where they
come from. What it finds is an opinion about one draft.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import Any

import transaction
from msgspec import UNSET
from msgspec.structs import replace
from ZODB.serialize import ObjectWriter

from uvm.errors import (
    AttemptEnded,
    BadArguments,
    BadValue,
    Declined,
    ImageError,
    MethodFailed,
    NoSuchObject,
    NotAllowed,
    NotUnderstood,
    ParentCycle,
    TooLarge,
)
from uvm.image.image import Database, Image
from uvm.image.message_object import is_method
from uvm.image.methods import correct, install, method, shared_with
from uvm.image.tally import count
from uvm.objects import ABSENT, KIND, Counter, Merging, MergingQueue, MergingSet, UvmObject, same_value
from uvm.protocol import EXAMPLE_SLOTS, Example, Reference
from uvm.runtime.attempt import Attempt, Miss, Thought
from uvm.runtime.gate import look
from uvm.runtime.policy import LASTING
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime
from uvm.trial.expectations import ExampleRun, difference
from uvm.trial.likeness import of_failure, of_run
from uvm.trial.protocol import (
    LONGEST_SAID,
    Call,
    Effect,
    Need,
    NeededThought,
    ParentGone,
    ProtocolViolation,
    TrialError,
    TrialOutcome,
    TrialRequest,
    VariedRun,
    encode,
)
from uvm.trial.storage import Records, Stored, TrialStorage
from uvm.trial.variation import Variation
from uvm.values.crossing import NoRoom, Room, from_wire, to_wire
from uvm.values.slot_values import checked, copied, literal

Load = Callable[[bytes], Stored | None]

EMPTY: Mapping[str, Any] = MappingProxyType({})
_TEXT = 500
_LARGE = 65_536
_VARIED_TICKS = 100_000
_VARIED_S = 1.0
"""Ticks of one run on a perturbed copy, and seconds of all of them: what is written for small things may meet large ones there."""
_STRANGE = (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, MemoryError)
"""What values that nobody has chosen may bring about below the method itself."""
_VARIED_SLOTS = 64
_NEIGHBOURS = 8
_TOLD = 4096
"""Bytes of a run that is told in full."""
_LIVE_OBJECTS = 1_000_000  # the connection must not drop an object before it has been compared with what was stored


def bounded(outcome: TrialOutcome) -> TrialOutcome:
    """The outcome, or why it cannot be said."""
    try:
        size = len(encode(outcome))
    except (TypeError, ValueError, OverflowError) as error:  # text that is not UTF-8, for one
        return failed(TrialError("BadValue", _printable(f"result or effects cannot be carried: {error}")))
    if size <= LONGEST_SAID:
        return outcome
    return failed(TrialError("TooLarge", f"result and effects take {size} bytes; {LONGEST_SAID} are allowed"))


def carry_out(request: TrialRequest, ask: Load, waited: Callable[[], float] = lambda: 0.0) -> TrialOutcome:
    """Try the draft. `ask` gives the records of the image, `waited` the seconds spent on them. Whatever the draft does is in the outcome.

    Raises ParentGone and ProtocolViolation when `ask` does.
    """
    began = time.monotonic() - waited()
    trial = _Trial(request, ask, waited)
    try:
        outcome = trial.outcome()
    except (ParentGone, ProtocolViolation):
        raise
    except (AttemptEnded, Exception) as error:  # noqa: BLE001  whatever a draft brings about is its own failure, and is reported
        outcome = trial.interrupted(error)
    return replace(outcome, ticks_used=trial.ticks_used, seconds=time.monotonic() - waited() - began)


class _Attempt(Attempt):
    """An attempt whose clock can be put back, and that goes on where another one ended. `made_before`: oids of what that one had made."""

    made_before: frozenset[bytes] = frozenset()

    def is_new(self, one: UvmObject) -> bool:
        return super().is_new(one) or one._p_oid in self.made_before

    def extend(self, seconds: float) -> None:
        """Do not count these seconds."""
        self._until += seconds


class _Runtime(Runtime):
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


class _Trial:
    """One request being carried out."""

    def __init__(self, request: TrialRequest, ask: Load, waited: Callable[[], float]) -> None:
        self._request = request
        self._ask = ask
        self._waited = waited
        self._records = Records(request.tid, request.overlay, self._asked)
        self._image: Image | None = None
        self._runtime: _Runtime | None = None
        self._attempt: _Attempt | None = None
        self.ticks_used = 0

    def _asked(self, oid: bytes) -> Stored | None:
        """The record of an object; the draft's time stands still meanwhile."""
        before = self._waited()
        found = self._ask(oid)
        if self._attempt is not None:
            self._attempt.extend(self._waited() - before)
        return found

    def outcome(self) -> TrialOutcome:
        """Run the message, the examples, and what was made up. Raises whatever the message raises."""
        request = self._request
        message = self._message() if request.send else None
        missed, looked = [], []
        for number, example in enumerate(request.examples, 1):
            label = request.labels[number - 1] if number <= len(request.labels) else f"example {number}"
            subject = request.subjects[number - 1] if number <= len(request.subjects) else request.receiver
            if subject != request.receiver:
                label += f", on {Reference(subject)}"
            missed += [text] if (text := self._missed(label, example, subject)) else []
            looked.append(self._runtime.looked() if self._runtime is not None else None)
        made_up = self._made_up(alone=message is None and not request.examples)
        fit = made_up.kind == "ok" and not made_up.amnesia
        well = fit and message is not None and message.kind == "ok" and not message.amnesia and not missed
        return replace(
            message if fit and message is not None else made_up,
            varied=self._varied_runs() if well else [],
            made_up=made_up.made_up,
            made_up_ended=made_up.made_up_ended,
            examples=len(request.examples),
            examples_passed=len(request.examples) - len(missed),
            examples_missed=missed,
            looked=looked,
        )

    # --- the ways to run the draft ---------------------------------------------------------------------------------

    def _message(self) -> TrialOutcome:
        """The message itself, which an example may expect to fail. Raises whatever it raises."""
        request = self._request
        try:
            return self._carried(Call(request.args, request.kwargs))
        except (Miss, Thought):
            raise
        except (AttemptEnded, ImageError) as error:
            if request.raises and request.raises in (error.type, _explained(error).type):
                return TrialOutcome(kind="ok")
            raise

    def _carried(self, call: Call, slots: Mapping[str, Any] = EMPTY, subject: bytes = b"") -> TrialOutcome:
        """One call, carried out and stored as service would, on `subject`, or the receiver, on which `slots` have these values."""
        image, attempt, result = self._run(call, slots, subject or self._request.receiver)
        shown = self._answer(image, result)
        attempt.unflagged()
        look(image, attempt)
        changed = attempt.effects()
        effects = [_effect(image, *one) for one in changed if id(one[0]) not in attempt.created]
        made, digest = len(attempt.created), _digest(image, attempt)
        changers = {id(one): one for one in [*(owner for owner, *_ in changed), *attempt.created.values()]}
        image.manager.commit()
        forgotten = amnesia(image, list(changers.values()))
        return bounded(TrialOutcome(kind="ok", result=shown, effects=effects, made=made, made_digest=digest, amnesia=forgotten))

    def _varied_runs(self) -> list[VariedRun]:
        """The message on perturbed copies: one image for all of them, from which each run takes back what it did."""
        request, runs = self._request, list[VariedRun]()
        if not request.varied or request.raises:
            return runs
        image, ticks_used = self._prepared(EMPTY, request.receiver), self.ticks_used
        began = time.monotonic() - self._waited()
        for number in range(request.varied):
            image.manager.begin()
            try:
                left = _VARIED_S - (time.monotonic() - self._waited() - began)
                runs.append(self._varied_run(image, Variation(request.seed, number), left))
            finally:
                if self._attempt is not None:
                    self._attempt.forget_changes()
                image.manager.abort()
        self.ticks_used = ticks_used  # what is told is what the message itself uses
        return runs

    def _varied_run(self, image: Image, variation: Variation, seconds: float) -> VariedRun:
        """The message on one perturbed copy. What it raises, sends to nobody or asks the model tells drafts apart like what it answers."""
        request = self._request
        if seconds <= 0:
            return VariedRun(digest=of_failure("late"), error="late")
        receiver = image.at(Reference(request.receiver))
        held = _data(receiver)
        slots = _wired(image, variation.slots("", held))
        texts = [*slots, *(text for value in slots.values() for text in _texts(value))]
        args = [variation.value(f"({place})", value, texts) for place, value in enumerate(request.args)]
        kwargs = {name: variation.value(f"({name})", value, texts) for name, value in request.kwargs.items()}
        neighbours = self._neighbours(image, receiver, variation)
        others = [(one, _wired(image, variation.slots(str(image.reference(one)), _data(one)))) for one in neighbours]
        for one, values in [(receiver, slots), *others]:
            for name, value in values.items():
                # Copies: rows that came from one are not to stay the same list or map.
                one.put(name, _in_place_of(one.own(name), copied(from_wire(value, image.visible))))
        attempt = self._begin(image, min(request.ticks, _VARIED_TICKS), seconds)
        try:
            result = self._answer(image, self._sent(image, attempt, receiver, Call(copied(args), copied(kwargs))))
            attempt.unflagged()
            effects = [_effect(image, *one) for one in attempt.effects() if id(one[0]) not in attempt.created]
            made = _digest(image, attempt)
        except Miss as miss:
            needed = miss.reified.own("selector")
            return VariedRun(digest=of_failure("NotUnderstood", needed), error="NotUnderstood")
        except Thought as thought:
            return VariedRun(digest=of_failure("Thought", thought.prompt), error="Thought")
        except (AttemptEnded, ImageError, *_STRANGE) as error:
            kind = _explained(error).type
            return VariedRun(digest=of_failure(kind), error=kind)
        run = VariedRun(digest=of_run(result, effects, len(attempt.created), made))
        if neighbours or attempt.created:
            return run
        own = Reference(request.receiver)
        changed = {effect.slot: effect.after for effect in effects if effect.object == own}
        told = replace(run, told=True, slots=slots, args=args, kwargs=kwargs, result=result, changed=changed)
        statable = all(value is not UNSET for value in changed.values()) and len(slots) <= EXAMPLE_SLOTS
        return told if statable and len(encode(told)) <= _TOLD else run

    def _neighbours(self, image: Image, receiver: UvmObject, variation: Variation) -> list[UvmObject]:
        """Other objects whose slots are changed as well: what the receiver inherits from or refers to, and the message has looked at."""
        if not variation.widely:
            return []
        held = [receiver.own(name) for name in receiver.names()]
        near = [*receiver.parents(), *(one for value in held if not is_method(value) for one in _objects(value))]
        seen = [one for one in dict.fromkeys(near) if one is not receiver and self._records.seen(one._p_oid)]
        return [one for one in seen[:_NEIGHBOURS] if not image.is_primordial(one) and one.own(KIND) is ABSENT]

    def _answer(self, image: Image, result: Any) -> Any:
        """The result as the answer would carry it. Raises BadValue, TooLarge."""
        room = Room(self._request.answer_bytes)
        try:
            return to_wire(result, image.reference, room)
        except NoRoom:
            raise TooLarge(f"the answer would have more than {room.limit:,} bytes", "ask for less") from None

    def _missed(self, label: str, example: Example, subject: bytes) -> str:
        """What the draft did otherwise than this example says; nothing if it kept to it."""
        call = Call(example.args, example.kwargs)
        try:
            one = self._carried(call, example.slots or {}, subject)
        except (Miss, Thought):
            raise
        except (AttemptEnded, ImageError) as error:
            run = ExampleRun(error=f"{error.type}: {error.message}", types=frozenset({error.type, _explained(error).type}))
        else:
            if one.error is not None:
                run = ExampleRun(error=f"{one.error.type}: {one.error.message}", types=frozenset({one.error.type}))
            elif one.amnesia:
                return _printable(f"{label}: {_call(call)} would forget its change of {', '.join(one.amnesia)}")
            else:
                run = ExampleRun(result=one.result, effects=one.effects)
        unlike = difference(_as_said(example), Reference(subject), _call(call), run)
        return _printable(f"{label}: {unlike}") if unlike else ""

    def _made_up(self, alone: bool) -> TrialOutcome:
        """Calls with made-up arguments: the first one that had a result, or a failure when one did harm.

        An error of the method's own is no harm, for it was never meant to be called so. But where these calls are all that is known of
        it (`alone`), one at least must have a result.
        """
        request, shown = self._request, TrialOutcome(kind="ok")
        tried, ended, why, began = 0, 0, "", self.ticks_used
        for call in request.made_up:
            if tried and self.ticks_used - began > request.ticks:
                break
            tried += 1
            try:
                one = self._carried(call)
            except Miss as miss:
                why = why or f"{_call(call)} sends {miss.reified.own('selector')}, which nobody understands"
                continue
            except Thought:
                if alone and tried == 1:
                    raise
                continue
            except (AttemptEnded, ImageError) as error:
                if not _ordinary(error, shown_how=bool(request.examples)):
                    return replace(failed(_in_call(call, _explained(error))), made_up=tried, made_up_ended=ended)
                why = why or f"{_call(call)} ended in {error.type}: {error.message}"
                continue
            if one.error is not None:
                return replace(failed(_in_call(call, one.error)), made_up=tried, made_up_ended=ended)
            ended += 1
            if ended == 1 or one.amnesia:
                shown = one
            if one.amnesia:
                break
        # Policy is asked by the kernel alone, about messages and drafts that nothing can make up; offering it takes a right of its own.
        if alone and tried and not ended and request.selector not in LASTING:
            text = f"none of {tried} calls with made-up arguments had a result: {why or 'each asks the model'}"
            return replace(failed(TrialError("NoExample", _printable(text))), made_up=tried)
        return replace(shown, made_up=tried, made_up_ended=ended)

    def _run(self, call: Call, slots: Mapping[str, Any], subject: bytes) -> tuple[Image, Attempt, Any]:
        """Send the message to `subject` in a fresh image; its transaction is left open."""
        image = self._prepared(slots, subject)
        image.manager.begin()
        attempt = self._begin(image, self._request.ticks, self._request.seconds)
        return image, attempt, self._sent(image, attempt, image.at(Reference(subject)), call)

    def _begin(self, image: Image, ticks: int, seconds: float) -> Attempt:
        """A fresh attempt in an image."""
        request = self._request
        self._image = image
        runtime = self._runtime = self._runtime or _Runtime(image, PRIMITIVES)
        runtime.image = image  # compiled methods stay; the objects are new
        attempt = self._attempt = _Attempt(
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

    def _sent(self, image: Image, attempt: Attempt, receiver: UvmObject, call: Call) -> Any:
        """Send the message."""
        if self._runtime is None:
            raise RuntimeError("an attempt begins before anything is sent")
        runtime, ticks = self._runtime, attempt.ticks
        runtime.watch(receiver, self._request.selector)
        values = tuple(from_wire(value, image.visible) for value in call.args)
        named = {name: from_wire(value, image.visible) for name, value in call.kwargs.items()}
        try:
            return runtime.run(attempt, receiver, self._request.selector, values, named)
        finally:
            self.ticks_used += ticks - attempt.ticks

    def _prepared(self, slots: Mapping[str, Any], subject: bytes) -> Image:
        """The image of the request's transaction as it will be once the draft is installed (`uvm.generation.installer.Installer.put`).

        On `subject`, `slots` have these values in it.
        """
        request = self._request
        database = Database(TrialStorage(self._records), cache_size=_LIVE_OBJECTS)
        image = Image(database)
        image.manager.begin()
        holder = image.at(Reference(request.holder))
        if request.source:
            self._place(image, holder)
        receiver = image.at(Reference(subject))
        for name, value in slots.items():
            receiver.put(name, _in_place_of(receiver.lookup(name), checked(from_wire(value, image.visible))))
        image.manager.commit()
        return image

    def _place(self, image: Image, holder: UvmObject) -> None:
        """Put the draft where it is to be."""
        request = self._request
        made = method(request.selector, request.source, request.positional, request.author, {}, request.policy)
        shared = None if request.alone else shared_with(holder, request.selector)
        if shared is not None:
            correct(shared, made)
        else:
            install(holder, made)
        if request.holder in request.overlay:
            self._reorder(image, holder)
        count(image, "methods")

    def _reorder(self, image: Image, holder: UvmObject) -> None:
        """The message will run again from its start and find the method there: slots that it makes come after it."""
        record = self._records.committed(self._request.holder)
        if record is None:
            return
        before = image.connection._reader.getState(record[0])["_slots"]
        slots = dict(holder._slots)
        first = [name for name in slots if name in before]
        for name in dict.fromkeys([*first, self._request.selector, *slots]):
            holder._slots[name] = holder._slots.pop(name)
        holder._p_changed = True

    def _made_before(self) -> frozenset[bytes]:
        """The objects that the attempt had made before it missed the message: a method may assign to them as to its own."""
        return frozenset(oid for oid in self._request.overlay if self._records.committed(oid) is None)

    # --- what ends it early ------------------------------------------------------------------------------------------

    def interrupted(self, error: BaseException) -> TrialOutcome:
        """The outcome of a trial that was ended by `error`."""
        image, attempt = self._image, self._attempt
        if image is not None and attempt is not None and isinstance(error, Miss):
            return self._need(image, attempt, error)
        if image is not None and isinstance(error, Thought):
            persona = image.reference(error.persona)
            return TrialOutcome(kind="thought", thought=NeededThought(error.key, persona, error.prompt, error.max_tokens))
        return failed(_explained(error))

    def _need(self, image: Image, attempt: Attempt, miss: Miss) -> TrialOutcome:
        message, receiver = miss.reified, miss.receiver
        selector = str(message.own("selector"))
        if selector == self._request.selector and image.reference(receiver).oid == self._request.receiver:
            return failed(TrialError("NotUnderstood", f"{literal_of(image, receiver)} does not answer {selector} then"))
        if selector == self._request.selector:
            text = f"the method sends {selector} on to {literal_of(image, receiver)}, which has no such method either"
            return failed(TrialError("NotUnderstood", text, _line(miss)))
        made = attempt.is_new(receiver)
        return TrialOutcome(
            kind="need",
            need=Need(
                receiver=image.reference(receiver),
                selector=selector,
                args=[to_wire(value, image.reference) for value in message.own("arguments")],
                kwargs={name: to_wire(value, image.reference) for name, value in message.own("keywords").items()},
                made=made,
                overlay={**self._request.overlay, **_uncommitted(image, attempt)},
            ),
        )


def _data(one: UvmObject) -> dict[str, Any]:
    """The own data of an object, merging values as what they hold."""
    held = {name: one.own(name) for name in one.names()[:_VARIED_SLOTS]}
    return {name: value.plain() if isinstance(value, Merging) else value for name, value in held.items() if not is_method(value)}


def _wired(image: Image, slots: Mapping[str, Any]) -> dict[str, Any]:
    """Slots as wire values; one that cannot be carried stays as it is."""
    carried: dict[str, Any] = {}
    for name, value in slots.items():
        with suppress(BadValue):
            carried[name] = to_wire(value, image.reference)
    return carried


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Texts that a value holds: what an argument may name."""
    if isinstance(value, str):
        yield value
    elif depth < 3 and isinstance(value, list | dict):
        keys = [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []
        yield from keys[:_VARIED_SLOTS]
        for item in islice(value.values() if isinstance(value, dict) else value, _VARIED_SLOTS):
            yield from _texts(item, depth + 1)


def _objects(value: Any, depth: int = 0) -> Iterator[UvmObject]:
    """The objects that a slot refers to."""
    if isinstance(value, UvmObject):
        yield value
    elif depth < 3 and isinstance(value, list | dict):
        for item in islice(value.values() if isinstance(value, dict) else value, _VARIED_SLOTS):
            yield from _objects(item, depth + 1)


def amnesia(image: Image, changed: list[UvmObject]) -> list[str]:
    """The slots of these objects that differ in what was stored from what is in memory: changes made without the flag."""
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    second = image.database.open(manager)
    forgotten = []
    for one in changed:
        if one._p_oid is None:
            continue  # made, and reachable from nothing that was stored: nobody can miss it
        now, stored = one._slots, second.get(one._p_oid)._slots
        for slot in {**stored, **now}:
            if not same_value(now.get(slot, ABSENT), stored.get(slot, ABSENT)):
                forgotten.append(f"{Reference(one._p_oid)}.{slot}")
    manager.abort()
    second.close()
    return forgotten


def _in_place_of(held: Any, value: Any) -> Any:
    """A value for a slot that holds `held`: what merges goes on to merge."""
    if isinstance(held, Counter) and type(value) in (int, float):
        return Counter(value)
    return type(held)(value) if isinstance(held, MergingSet | MergingQueue) and type(value) is list else value


def _as_said(example: Example) -> Example:
    """The example with large values as effects tell them (`_said`)."""
    if not example.changed:
        return example
    return replace(example, changed={name: _short(value) for name, value in example.changed.items()})


def _effect(image: Image, owner: UvmObject, slot: str, before: Any, after: Any, _method: UvmObject | None) -> Effect:
    return Effect(
        image.reference(owner),
        slot,
        UNSET if before is ABSENT else _said(image, before),
        UNSET if after is ABSENT else _said(image, after),
    )


def _said(image: Image, value: Any) -> Any:
    """A slot's value, or, where it is large, what tells it from another one: service stores more than a trial can say."""
    return _short(to_wire(value, image.reference))


def _short(shown: Any) -> Any:
    packed = encode(TrialOutcome(kind="ok", result=shown))
    return shown if len(packed) <= _LARGE else f"{len(packed):,} bytes, {hashlib.sha256(packed).hexdigest()}"


def _digest(image: Image, attempt: Attempt) -> str:
    """The same for two drafts that made the same objects in the same order."""
    made = [[[name, to_wire(value, image.reference)] for name, value in one._slots.items()] for one in attempt.created.values()]
    return hashlib.sha256(encode(TrialOutcome(kind="ok", result=made))).hexdigest() if made else ""


def _uncommitted(image: Image, attempt: Attempt) -> dict[bytes, bytes]:
    """The records of what the attempt changed or made so far."""
    pending = [owner for owner, *_ in attempt.before.values()] + list(attempt.created.values())
    records: dict[bytes, bytes] = {}
    for one in pending:
        oid = image.reference(one).oid
        if oid not in records:
            writer = ObjectWriter(one)
            records[oid] = writer.serialize(one)
            pending.extend(new for new in writer if isinstance(new, UvmObject))
    return records


def _explained(error: BaseException) -> TrialError:
    if isinstance(error, MethodFailed):
        return TrialError(str(error.details.get("error", error.type)), _printable(error.message), int(error.details.get("line", 0)))
    if isinstance(error, AttemptEnded | ImageError):
        findings = error.details.get("findings")
        line = findings[0].get("line", 0) if findings else _line(error)
        return TrialError(error.type, _printable(error.message), line)
    line = error.lineno or 0 if isinstance(error, SyntaxError) else _line(error)
    return TrialError(type(error).__name__, _printable(str(error)), line)


def _printable(text: str) -> str:
    """The text, short, and such that it can be encoded."""
    return text[:_TEXT].encode("utf-8", "replace").decode()


def _line(error: BaseException) -> int:
    """The line of the innermost method that the error passed."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<method "):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _call(call: Call) -> str:
    return f"({', '.join([*map(literal, call.args), *(f'{name}={literal(value)}' for name, value in call.kwargs.items())])})"


def _in_call(call: Call, error: TrialError) -> TrialError:
    return replace(error, message=_printable(f"with made-up arguments {_call(call)}: {error.message}"))


def _ordinary(error: AttemptEnded | ImageError, shown_how: bool) -> bool:
    """Whether an error may be the answer to arguments that make no sense, and not harm. `shown_how`: examples do make sense."""
    if isinstance(error, MethodFailed):
        return error.details.get("error") != MemoryError.__name__
    nonsense = (BadArguments, NotUnderstood, NoSuchObject, ParentCycle, Declined)
    return isinstance(error, (*nonsense, NotAllowed, BadValue) if shown_how else nonsense)


def literal_of(image: Image, one: UvmObject) -> str:
    """How an error names an object."""
    name = one.own("name")
    return f"{name} {image.reference(one)}" if isinstance(name, str) else str(image.reference(one))


def failed(error: TrialError) -> TrialOutcome:
    return TrialOutcome(kind="failed", error=error)
