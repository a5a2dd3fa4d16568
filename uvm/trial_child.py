"""The trial itself, in the child: confine, rebuild the image's objects from records, put the draft on one, run the message.

Runs in the only thread of a process that the trial server forked for one draft. It owns one socket, to the UVM, and
nothing else of the world. What it says is an opinion about one draft: the UVM trusts it for no more than that.
"""

import hashlib
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import transaction
from msgspec import UNSET
from msgspec.structs import replace
from ZODB.serialize import ObjectWriter

from deploy.confinement import confine, sufficient, trial_profile
from deploy.settings import TrialSettings
from uvm.attempt import Attempt, Miss, Thought
from uvm.errors import AttemptEnded, ImageError, MethodFailed
from uvm.gate import look
from uvm.history import install, method
from uvm.image import Database, Image
from uvm.objects import ABSENT, UvmObject, same_value
from uvm.primitives import PRIMITIVES
from uvm.protocol import Example, Reference
from uvm.runtime import Runtime
from uvm.trial_storage import Records, Stored, TrialStorage
from uvm.trial_wire import (
    LONGEST_HEARD,
    LONGEST_SAID,
    Ask,
    Confined,
    Effect,
    FromChild,
    Need,
    NeededThought,
    ProtocolViolation,
    Record,
    ToChild,
    TrialError,
    TrialOutcome,
    TrialRequest,
    encode,
    framed,
    said_to_child,
)
from uvm.values import from_wire, literal, to_wire

Load = Callable[[bytes], Stored | None]

_TEXT = 500
_LIVE_OBJECTS = 1_000_000  # the connection must not drop an object before it has been compared with what was stored


class ParentGone(Exception):
    """The UVM closed the socket: nobody wants the outcome."""


class Line:
    """The child's end of the stream: one struct at a time, waiting for as long as it takes.

    `waited`: seconds spent waiting for the UVM. That it does not wait for ever is the trial server's business.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.waited = 0.0

    def say(self, message: FromChild) -> None:
        """Send one struct. Raises ParentGone."""
        try:
            self._socket.sendall(framed(message))
        except OSError as error:
            raise ParentGone(str(error)) from error

    def hear(self) -> ToChild:
        """The UVM's next struct. Raises ParentGone and ProtocolViolation."""
        since = time.monotonic()
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > LONGEST_HEARD:
            raise ProtocolViolation(f"a frame of {length} bytes; {LONGEST_HEARD} are allowed")
        message = said_to_child(self._exactly(length))
        self.waited += time.monotonic() - since
        return message

    def ask(self, oid: bytes) -> Stored | None:
        """The record of an object as of the trial's transaction."""
        self.say(Ask(oid))
        answer = self.hear()
        if not isinstance(answer, Record) or answer.oid != oid:
            raise ProtocolViolation("another record than the one that was asked for")
        return None if answer.data is None else (answer.data, answer.serial)

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                part = self._socket.recv(min(length - len(data), 1 << 20))
            except OSError as error:
                raise ParentGone(str(error)) from error
            if not part:
                raise ParentGone("the UVM closed the trial")
            data += part
        return bytes(data)


def live(end: socket.socket, settings: TrialSettings) -> None:
    """The whole life of a child. Raises ParentGone and ProtocolViolation."""
    layers = confine(trial_profile(settings.memory_mb, settings.cpu_s))
    line = Line(end)
    line.say(Confined(layers))
    request = line.hear()
    if not isinstance(request, TrialRequest):
        raise ProtocolViolation("the UVM must say what is to be tried before anything else")
    if not (sufficient(layers) or request.unconfined):
        missing = ", ".join(f"{layer.name} ({layer.reason})" for layer in layers if layer.required and not layer.in_force)
        line.say(_failed(TrialError("NotConfined", f"nothing was run: this host lacks {missing}")))
        return
    line.say(bounded(carry_out(request, line.ask, lambda: line.waited)))


def bounded(outcome: TrialOutcome) -> TrialOutcome:
    """The outcome, or why it cannot be said."""
    try:
        size = len(encode(outcome))
    except (TypeError, ValueError, OverflowError) as error:  # text that is not UTF-8, for one
        return _failed(TrialError("BadValue", _printable(f"result or effects cannot be carried: {error}")))
    if size <= LONGEST_SAID:
        return outcome
    return _failed(TrialError("TooLarge", f"result and effects take {size} bytes; {LONGEST_SAID} are allowed"))


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
    """An attempt whose clock can be put back."""

    def extend(self, seconds: float) -> None:
        """Do not count these seconds."""
        self._until += seconds


class _Runtime(Runtime):
    """A runtime in which the flag alone makes a change inside a value last: that is what is being tried."""

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
        """Run the message, then the examples. Raises whatever they raise."""
        request = self._request
        outcome = self._message() if request.send else TrialOutcome(kind="ok")
        missed = [text for example in request.examples if (text := self._missed(example)) is not None]
        return replace(
            outcome,
            examples=len(request.examples),
            examples_passed=len(request.examples) - len(missed),
            examples_missed=missed,
        )

    # --- the two ways to run the draft -----------------------------------------------------------------------------

    def _message(self) -> TrialOutcome:
        request = self._request
        image, attempt, result = self._run(request.args, request.kwargs)
        shown = to_wire(result, image.reference)
        attempt.unflagged()
        look(image, attempt)
        changed = attempt.effects()
        effects = [_effect(image, *one) for one in changed if not attempt.is_new(one[0])]
        made, digest = len(attempt.created), _digest(image, attempt)
        changers = {id(one): one for one in [*(owner for owner, *_ in changed), *attempt.created.values()]}
        image.manager.commit()
        forgotten = amnesia(image, list(changers.values()))
        return TrialOutcome(kind="ok", result=shown, effects=effects, made=made, made_digest=digest, amnesia=forgotten)

    def _missed(self, example: Example) -> str | None:
        """None if the draft gives this example's result, else what it gave instead."""
        expected, called = literal(example.result), _call(example)
        try:
            image, _, result = self._run(example.args, example.kwargs)
            shown = to_wire(result, image.reference)
        except (Miss, Thought):
            raise
        except (AttemptEnded, ImageError) as error:
            return _printable(f"{called} ended in {error.type}: {error.message}, not in {expected}")
        return None if same_wire(shown, example.result) else _printable(f"{called} gave {literal(shown)}, not {expected}")

    def _run(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[Image, Attempt, Any]:
        """Send the message in a fresh image; its transaction is left open."""
        request = self._request
        image = self._image = self._prepared()
        runtime = self._runtime = self._runtime or _Runtime(image, PRIMITIVES)
        runtime.image = image  # compiled methods stay; the objects are new
        image.manager.begin()
        attempt = self._attempt = _Attempt(
            ticks=request.ticks,
            seconds=request.seconds,
            thoughts=request.thoughts,
            now=request.now,
            examples=list(request.examples),
            guarded=False,
            rights=request.rights,
        )
        receiver = image.at(Reference(request.receiver))
        values = tuple(from_wire(value, image.at) for value in args)
        named = {name: from_wire(value, image.at) for name, value in kwargs.items()}
        try:
            return image, attempt, runtime.run(attempt, receiver, request.selector, values, named)
        finally:
            self.ticks_used += request.ticks - attempt.ticks

    def _prepared(self) -> Image:
        """The image of the request's transaction with the draft in its place."""
        request = self._request
        database = Database(TrialStorage(self._records), cache_size=_LIVE_OBJECTS)
        image = Image(database)
        image.manager.begin()
        draft = method(request.selector, request.source, request.positional, request.author, {}, request.policy)
        install(image.at(Reference(request.holder)), draft)
        image.manager.commit()
        return image

    # --- what ends it early ------------------------------------------------------------------------------------------

    def interrupted(self, error: BaseException) -> TrialOutcome:
        """The outcome of a trial that was ended by `error`."""
        image, attempt = self._image, self._attempt
        if image is not None and attempt is not None and isinstance(error, Miss):
            return self._need(image, attempt, error)
        if image is not None and isinstance(error, Thought):
            persona = image.reference(error.persona)
            return TrialOutcome(kind="thought", thought=NeededThought(error.key, persona, error.prompt, error.max_tokens))
        return _failed(_explained(error))

    def _need(self, image: Image, attempt: Attempt, miss: Miss) -> TrialOutcome:
        message, receiver = miss.reified, miss.receiver
        selector = str(message.own("selector"))
        if selector == self._request.selector:
            text = f"the method sends {selector} on to {literal_of(image, receiver)}, which has no such method either"
            return _failed(TrialError("NotUnderstood", text, _line(miss)))
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


def same_wire(got: Any, expected: Any) -> bool:
    """Whether a result is the one that an example names. Numbers are compared as numbers: 7 is 7.0, but no truth value is a number."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, int | float) and isinstance(expected, int | float):
        return got == expected or math.isclose(got, expected, rel_tol=1e-9) or (got != got and expected != expected)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(same_wire(a, b) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same_wire(value, expected[key]) for key, value in got.items())
    return type(got) is type(expected) and bool(got == expected)


def _effect(image: Image, owner: UvmObject, slot: str, before: Any, after: Any, _method: UvmObject | None) -> Effect:
    return Effect(
        image.reference(owner),
        slot,
        UNSET if before is ABSENT else to_wire(before, image.reference),
        UNSET if after is ABSENT else to_wire(after, image.reference),
    )


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


def _call(example: Example) -> str:
    return f"({', '.join([*map(literal, example.args), *(f'{name}={literal(value)}' for name, value in example.kwargs.items())])})"


def literal_of(image: Image, one: UvmObject) -> str:
    """How an error names an object."""
    name = one.own("name")
    return f"{name} {image.reference(one)}" if isinstance(name, str) else str(image.reference(one))


def _failed(error: TrialError) -> TrialOutcome:
    return TrialOutcome(kind="failed", error=error)

