"""One message is carried out: one attempt at it, and what came of that.

Called by the batch within its transaction, in the UVM's main thread. What a message did wrong is an outcome; what makes the transaction run
again, or wait, is raised.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from transaction.interfaces import TransientError
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError

from deploy.settings import UvmSettings
from uvm.errors import AttemptEnded, BadArguments, BadValue, DeadlineExceeded, ImageError
from uvm.generation.misses import method_request
from uvm.image import nursery, queries
from uvm.image.image import Image
from uvm.machine import offers, previews
from uvm.machine.bookkeeping import Bookkeeping
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome, Thinking, fault
from uvm.machine.expected import Untested, answered_unwritten, expect, revise_contract
from uvm.objects import UvmObject
from uvm.protocol import (
    Changing,
    Contract,
    CreateMethod,
    Export,
    GetFullState,
    Import,
    Inspect,
    Read,
    Reference,
    Release,
    Result,
    Send,
    Step,
    Transaction,
    Upload,
    encode_value,
)
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt, Miss, Thought
from uvm.runtime.runtime import Runtime
from uvm.transporter import importer, uploads
from uvm.transporter.contracts import UntestedImport
from uvm.transporter.exporter import Exports
from uvm.values.crossing import Room, answerable, from_wire
from uvm.values.slot_values import copied

log = structlog.get_logger()


class Execution:
    """Carries out messages, one at a time. `between` is called where one takes long, so that it is no silence."""

    def __init__(
        self, image: Image, runtime: Runtime, settings: UvmSettings, books: Bookkeeping, between: Callable[[], None], frame: int
    ) -> None:
        """`frame`: the most bytes that an answer may have."""
        self._image = image
        self._runtime = runtime
        self._settings = settings
        self._books = books
        self._between = between
        self._frame = frame
        self._capacity = queries.capacity(frame)
        self._snapshots = queries.Snapshots(image, frame)
        self._exports = Exports(image, self._snapshots, frame, between)
        self._savepoint: Any = None

    def outcome(self, delivery: Delivery) -> Outcome:
        """Make one attempt at a message. Never raises for what the message itself did wrong."""
        remaining_s = delivery.deadline - time.monotonic()
        if remaining_s <= 0:
            return Failed(DeadlineExceeded("the message's deadline passed before it could run", "give it more time, or try again"))
        self._savepoint = None
        outcome: Outcome
        attempt = self._runtime.attempt = Attempt(
            ticks=min(self._settings.ticks, delivery.limits.ticks),
            rights=delivery.rights,
            limits=delivery.limits,
            principal=delivery.principal,
            message=f"{delivery.session}/{delivery.seq}" if delivery.exactly_once else "",
            seconds=min(self._settings.message_limit_s, remaining_s),
            before_write=self._before_write,
            thoughts=delivery.thoughts,
            now=delivery.now,
        )
        try:
            outcome = self._carry_out(delivery, attempt)
            if not attempt.preview:
                return outcome
        except Miss as miss:
            outcome = self._missed(delivery, attempt, miss)
        except Untested as test:
            outcome = test.request
        except UntestedImport as untested:
            outcome = untested.test
        except Thought as thought:
            outcome = Thinking(thought, self._image.reference(thought.persona).oid)
        except (ImageError, AttemptEnded) as error:
            outcome = Failed(error)
        except (ConflictError, ClientDisconnected, TransientError):
            raise
        except Exception as error:  # a fault of ours fails one message, and must not end the process
            log.exception("a fault while a message was run", delivery=delivery.number)
            outcome = Failed(fault(error))
        if self._savepoint is not None:
            self._savepoint.rollback()
        attempt.forget_changes()
        return outcome

    def _before_write(self) -> None:
        self._savepoint = self._image.manager.savepoint(optimistic=True)

    def _missed(self, delivery: Delivery, attempt: Attempt, miss: Miss) -> Outcome:
        """What the message did until it missed a method goes to the trial as records, and so has to be what records may hold."""
        if attempt.preview and not previews.writes(delivery.request, miss):
            return Failed(previews.one_method_alone(delivery.request, attempt, miss))
        try:
            attempt.unflagged()
            gate.look(self._image, attempt)
            return method_request(self._image, attempt, miss, delivery.now, delivery.principal)
        except ImageError as error:
            return Failed(error)
        except (ConflictError, ClientDisconnected, TransientError):
            raise
        except Exception as error:  # an object that nothing refers to may hold what cannot be stored
            log.exception("a fault while a missing method was noted", delivery=delivery.number)
            return Failed(fault(error))

    # --- by request -----------------------------------------------------------------------------------------------------

    def _carry_out(self, delivery: Delivery, attempt: Attempt) -> Outcome:
        request = delivery.request
        if not isinstance(request, Changing):
            return self._look(request, attempt)
        if delivery.exactly_once:
            receipt = self._books.receipt(delivery)
            if receipt is not None:
                return Answered(receipt.result, replayed_tid=receipt.tid)
        if isinstance(request, CreateMethod):
            return offers.carry_out(self._image, self._books, delivery, attempt, request, Room(self._capacity))
        if isinstance(request, Upload):
            return self._upload(delivery, attempt, request)
        if isinstance(request, Import):
            return self._import(delivery, attempt, request)
        if isinstance(request, Contract):
            return revise_contract(self._image, self._runtime, self._books, delivery, attempt, request, Room(self._capacity))
        new_objects: list[UvmObject] = []
        room = Room(self._capacity)
        if isinstance(request, Send | Transaction) and request.preview:
            return self._preview(delivery, attempt, request, room)
        accepted = None
        if isinstance(request, Send) and request.accept:
            attempt.touch()
            accepted, installed = previews.accept(self._image, self._books.accounts, delivery, attempt.message, request)
            self._books.changes.take({}, [installed])
        if isinstance(request, Transaction):
            answer = self._send_all(delivery, attempt, request, new_objects, room)
        else:
            answer = self._answer(self._send(delivery, attempt, request, self._resolve), attempt, new_objects, room)
        answered = self._books.conclude(delivery, attempt, encode_value(answer), new_objects)
        answered.accepted = accepted
        return answered

    def _look(self, request: GetFullState | Read | Inspect | Export | Release, attempt: Attempt) -> Answered:
        """What sends nothing."""
        if isinstance(request, Export):
            return Answered(state=self._exports.part(request))
        if isinstance(request, GetFullState):
            return Answered(state=self._snapshots.page(request))
        if isinstance(request, Read):
            return Answered(state=self._snapshots.part(request))
        if isinstance(request, Inspect):
            target = self._image.target(request.target)
            return Answered(encode_value(queries.inspected(self._image, target, queries.view_tid(self._image), self._frame)))
        attempt.touch()
        released = nursery.release(self._image, [value.oid for value in request.references if isinstance(value, Reference)])
        return Answered(encode_value(released), changed=released > 0)

    def _upload(self, delivery: Delivery, attempt: Attempt, request: Upload) -> Answered:
        attempt.touch()
        upload = uploads.add(self._image, request, delivery.principal, delivery.limits)
        self._books.charge(delivery, [(upload, len(request.data))])
        result = encode_value(self._image.reference(upload))
        self._books.keep(delivery, result)
        return Answered(result, changed=True, stored=len(request.data), bytes_held=self._books.bytes_held(delivery))

    def _import(self, delivery: Delivery, attempt: Attempt, request: Import) -> Answered:
        def alive() -> None:
            self._between()
            attempt.look()

        attempt.preview = request.preview
        imported = importer.take_in(self._image, attempt, request, delivery.principal, delivery.session, alive, delivery.verdict)
        new_objects: list[UvmObject] = []
        result = encode_value(self._answer(imported.answer, attempt, new_objects, Room(self._capacity)))
        if request.preview:
            return Answered(result)
        for growth in imported.grown:
            self._books.charge(delivery, [growth])
        return self._books.conclude(delivery, attempt, result, new_objects)

    # --- sends ------------------------------------------------------------------------------------------------------------

    def _send(self, delivery: Delivery, attempt: Attempt, step: Send | Step, resolve: Callable[[Any], Any], number: int = 0) -> Any:
        attempt.step, attempt.clauses, attempt.examples, attempt.anew, attempt.risk = number, [], [], None, step.risk or 0.0
        if not attempt.preview:
            self._books.count(step.selector)
        receiver = resolve(step.target) if isinstance(step.target, Result) else self._image.target(step.target)
        if type(receiver) is not UvmObject:
            raise BadArguments(f"{step.target!r}, the target of {step.selector}, is a {queries.kind_of(receiver)}; a target is an object")
        unwritten = expect(self._image, attempt, delivery, receiver, step) if step.examples else None
        args = tuple([from_wire(value, resolve) for value in step.args])
        kwargs = {name: from_wire(value, resolve) for name, value in step.kwargs.items()} if step.kwargs else {}
        result = self._runtime.run(attempt, receiver, step.selector, args, kwargs)
        if unwritten is not None:
            answered_unwritten(self._image, attempt, delivery, receiver, step.selector, unwritten)
        return result

    def _send_all(self, delivery: Delivery, attempt: Attempt, request: Transaction, new_objects: list[UvmObject], room: Room) -> list[Any]:
        results: list[Any] = []
        answer: list[Any] = []

        def resolve(value: Reference | Result) -> Any:
            if isinstance(value, Result) and value.number < len(results):
                return results[value.number]
            return self._resolve(value, len(results))

        for number, step in enumerate(request.sends):
            result = self._send(delivery, attempt, step, resolve, number)
            answer.append(self._answer(result, attempt, new_objects, room))
            # A later send gets the value: what it does to its argument must not change a slot that the value came from.
            results.append(copied(result, attempt.walk))
        return answer

    def _resolve(self, value: Reference | Result, number: int = 0) -> Any:
        """What stands for an object in send `number`, where no result of an earlier one does."""
        if isinstance(value, Reference):
            return self._image.visible(value)
        raise BadValue(f"{value!r} stands in send {number}; a send may have the results of earlier sends of its Transaction")

    def _answer(self, result: Any, attempt: Attempt, new_objects: list[UvmObject], room: Room) -> Any:
        """A result as it is answered; those that the attempt made go to `new_objects`. Raises BadValue, TooLarge."""

        def refer(target: UvmObject) -> Reference:
            if attempt.is_new(target):
                new_objects.append(target)
            return self._image.reference(target)

        return answerable(result, refer, room)

    def _preview(self, delivery: Delivery, attempt: Attempt, request: Send | Transaction, room: Room) -> Answered:
        """What the message would do. It is carried out like any other, and then all of it is taken back."""
        attempt.touch()  # all that is made from here on goes with the savepoint, new objects too
        attempt.preview = True
        proposal = None
        answer: dict[str, Any]
        if isinstance(request, Transaction):
            answer = {"results": self._send_all(delivery, attempt, request, [], room)}
        else:
            proposal = previews.written(self._image, request)
            if proposal is not None:
                previews.put_in_place(self._image, proposal, delivery, previews.key_of(self._image.target(request.target), request))
                request = msgspec.structs.replace(request, examples=[])  # the method was tried on them
            answer = {"result": self._answer(self._send(delivery, attempt, request, self._resolve), attempt, [], room)}
        attempt.unflagged()
        gate.look(self._image, attempt)
        answer |= self._answer(previews.effect(self._image, attempt), attempt, [], room)
        return Answered(encode_value(answer | previews.method_shown(proposal)))
