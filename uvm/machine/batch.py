"""One transaction: drained messages run in savepoints of their own, one commit, and only then answers.

Owned by the UVM's main thread. `run` gives one outcome per message, all true of one committed transaction.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from transaction.interfaces import NoTransaction, TransientError
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError, ReadConflictError, StorageError

from deploy.settings import BridgeSettings, UvmSettings
from uvm.errors import AttemptEnded, BadArguments, BadValue, Contention, DeadlineExceeded, ImageError, ImageFull, KernelFault, TooLarge
from uvm.generation.misses import method_request
from uvm.generation.request import offered
from uvm.history import chronicle
from uvm.image import contract, examples, library, nursery, queries
from uvm.image.changes import Changes
from uvm.image.image import Image
from uvm.image.journal import TALLIED, Effect, Journal, entry
from uvm.image.large import stored
from uvm.image.message_object import is_method
from uvm.image.methods import explanation, written_for
from uvm.image.receipts import Ledger
from uvm.image.stored import Accounts
from uvm.image.transactor import back_off, disk_full
from uvm.machine import previews
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome, Thinking
from uvm.machine.expected import Untested, expect
from uvm.machine.stopwatch import Stopwatch
from uvm.objects import ABSENT, UvmObject
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
from uvm.runtime.authority import check_offer, check_removed_examples
from uvm.runtime.runtime import Runtime
from uvm.transporter import importer, uploads
from uvm.transporter.exporter import Exports
from uvm.values.crossing import NoRoom, Room, from_wire, to_wire
from uvm.values.examples import agree
from uvm.values.slot_values import copied

LONG_S: Final = 0.05
"""A batch that took so many seconds begins no further message: those that are done wait for the commit."""
TRIES: Final = 12
"""How often a batch is tried; from the third conflict on, its messages run one by one."""

log = structlog.get_logger()


class BatchUndecided(Exception):
    """The ZEO server does not answer; nothing is decided yet, and the batch is to be run again later."""


class Batch:
    """Runs messages in transactions. `between` is called before each message, so that a long batch is no silence."""

    def __init__(
        self,
        image: Image,
        runtime: Runtime,
        settings: UvmSettings,
        uvm: str,
        between: Callable[[], None] = lambda: None,
        frame: int = BridgeSettings().max_frame_bytes,
    ) -> None:
        """`frame`: the most bytes that an answer may have."""
        self._image = image
        self._image.writer = uvm
        self._runtime = runtime
        self._settings = settings
        self._uvm = uvm
        self._between = between
        self._ledger = Ledger(image)
        self._journal = Journal(image, uvm)
        self._frame = frame
        self._capacity = queries.capacity(frame)
        self._snapshots = queries.Snapshots(image, frame)
        self._exports = Exports(image, self._snapshots, frame, between)
        self._changes = Changes(image, frame)
        self._doubtful: tuple[str, list[int], list[Outcome]] | None = None
        self._savepoint: Any = None
        self._full = False
        # Selectors sent since the last commit: what only looks writes nothing, and is counted with the next change.
        self._sent: dict[str, int] = {}
        self._receipts: dict[tuple[str, str, int], tuple[Delivery, bytes]] = {}
        self._entries: list[dict[str, Any]] = []
        self._accounts = Accounts(image)
        self.conflicts = 0
        self.commits = 0

    def run(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Outcome, bytes]]:
        """Run messages; each comes back with its outcome and the transaction that holds it (empty when nothing was written).

        Where the first ones take long, the last ones are not begun, and do not come back: run them again in another batch. So are those
        that change nothing, where the image's disk had no room for what the others did; these come back as failed.

        Raises BatchUndecided: then call again with the same messages. A commit that may or may not have happened is looked up first.
        """
        try:
            settled = self._settle(deliveries)
            if settled is not None:
                return settled
            return self._run(list(deliveries), 0)
        except (ClientDisconnected, StorageError, TransientError) as error:
            self._abort()
            full = disk_full(error)
            if full is not None and self._doubtful is not None:
                return self._not_written(deliveries, full)
            raise BatchUndecided(str(error)) from error

    # --- transactions ------------------------------------------------------------------------------------------------

    def _run(self, deliveries: list[Delivery], tried: int) -> list[tuple[Delivery, Outcome, bytes]]:
        if tried >= 2 and len(deliveries) > 1:
            return self._one_by_one(deliveries, tried)
        while True:
            outcomes: list[Outcome] = []
            self._receipts.clear()
            self._entries = []
            self._accounts = Accounts(self._image)
            self._changes = Changes(self._image, self._frame)
            try:
                self._image.manager.begin()
                watch = Stopwatch()
                long = watch.now + LONG_S
                for delivery in deliveries:
                    self._between()
                    outcomes.append(self._attempt(delivery))
                    delivery.cpu_s += watch.lap()
                    if watch.now > long:
                        break
                return self._commit(deliveries[: len(outcomes)], outcomes)
            except (ConflictError, ReadConflictError) as error:
                self._abort()
                self.conflicts += 1
                tried += 1
                if tried >= TRIES:
                    return [
                        (delivery, Failed(Contention(f"lost a conflict {tried} times: {error}"[:300], "send it again")), b"")
                        for delivery in deliveries
                    ]
                back_off(tried)
                if tried >= 2 and len(deliveries) > 1:
                    return self._run(deliveries, tried)
            except (ClientDisconnected, StorageError, TransientError):
                raise
            except Exception as error:  # a transaction that cannot be stored fails its messages, and must not end the process
                self._abort()
                log.exception("a transaction could not be stored", jobs=[delivery.job for delivery in deliveries])
                if len(deliveries) > 1:
                    return self._one_by_one(deliveries, tried)
                return [(deliveries[0], Failed(fault(error)), b"")]

    def _one_by_one(self, deliveries: list[Delivery], tried: int) -> list[tuple[Delivery, Outcome, bytes]]:
        done: list[tuple[Delivery, Outcome, bytes]] = []
        long = time.monotonic() + LONG_S
        for delivery in deliveries:
            try:
                done += self._run([delivery], tried)
            except (ClientDisconnected, StorageError, TransientError):
                if not done:
                    raise
                # Those before it are done; whether this one is will be looked up when it is run again.
                self._abort()
                break
            if time.monotonic() > long:
                break
        return done

    def _commit(self, deliveries: list[Delivery], outcomes: list[Outcome]) -> list[tuple[Delivery, Outcome, bytes]]:
        if not any(isinstance(one, Answered) and one.changed for one in outcomes):
            self._abort()
            return [(delivery, one, b"") for delivery, one in zip(deliveries, outcomes, strict=True)]
        batch = uuid.uuid4().hex
        floors: dict[tuple[str, str], int] = {}
        for delivery, _ in self._receipts.values():
            session = delivery.principal, delivery.session
            floors[session] = max(floors.get(session, 0), getattr(delivery.request, "floor", 0))
        for delivery, result in self._receipts.values():
            # The floor that the batch comes to, so that each session's page is swept once.
            self._ledger.record(
                delivery.principal, delivery.session, delivery.seq, delivery.digest, result, floors[delivery.principal, delivery.session]
            )
        self._accounts.write()
        self._journal.record(self._entries)
        self._journal.mark(batch, self._sent)
        changes, teller = self._changes.made(), next(one for one in outcomes if isinstance(one, Answered) and one.changed)
        teller.changes = changes
        self._doubtful = (batch, [id(delivery) for delivery in deliveries], outcomes)
        try:
            self._image.manager.commit()
        except ConflictError:
            self._doubtful = None
            raise
        except (ClientDisconnected, TransientError, StorageError):
            raise
        except BaseException:
            self._doubtful = None
            raise
        self._doubtful = None
        self._full = False
        self._sent = {}
        self.commits += 1
        teller.changes = self._changes.settled(changes)
        tid = self._journal.tid
        return [(delivery, one, tid) for delivery, one in zip(deliveries, outcomes, strict=True)]

    def _settle(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Outcome, bytes]] | None:
        """After a commit whose acknowledgement was lost: the outcomes, if it happened."""
        if self._doubtful is None:
            return None
        batch, identities, outcomes = self._doubtful
        self._image.manager.begin()
        happened, tid = self._journal.batch == batch, self._journal.tid
        self._image.manager.abort()
        self._doubtful = None
        if not self._full:
            log.warning("looked up a commit whose acknowledgement was lost", batch=batch, happened=happened)
        if not happened:
            return None
        known = dict(zip(identities, outcomes, strict=True))
        for outcome in outcomes:
            if isinstance(outcome, Answered) and outcome.changes:
                outcome.changes = self._changes.settled(outcome.changes)
        return [(delivery, known[id(delivery)], tid) for delivery in deliveries if id(delivery) in known]

    def _not_written(self, deliveries: Sequence[Delivery], full: ImageFull) -> list[tuple[Delivery, Outcome, bytes]]:
        """The server answered that it could not write: what the transaction would have changed fails, once it is sure that it did not."""
        if not self._full:
            self._full = True  # an outage is one line of the log, however many messages it costs
            log.error("the image's disk is full", error=full.message)
        _, identities, outcomes = self._doubtful or ("", [], [])
        try:
            settled = self._settle(deliveries)
        except (ClientDisconnected, StorageError, TransientError) as error:
            self._abort()
            raise BatchUndecided(str(error)) from error
        if settled is not None:
            return settled
        changing = {identity for identity, one in zip(identities, outcomes, strict=True) if isinstance(one, Answered) and one.changed}
        return [(delivery, Failed(full), b"") for delivery in deliveries if id(delivery) in changing]

    def _abort(self) -> None:
        self._runtime.attempt.forget_changes()
        with suppress(NoTransaction):
            self._image.manager.abort()

    # --- one message -------------------------------------------------------------------------------------------------

    def _attempt(self, delivery: Delivery) -> Outcome:
        """Run one message. Never raises for what the message itself did wrong."""
        left = delivery.deadline - time.monotonic()
        if left <= 0:
            return Failed(DeadlineExceeded("the message's deadline passed before it could run", "give it more time, or try again"))
        self._savepoint = None
        outcome: Outcome
        attempt = self._runtime.attempt = Attempt(
            ticks=min(self._settings.ticks, delivery.limits.ticks),
            rights=delivery.rights,
            limits=delivery.limits,
            principal=delivery.principal,
            message=f"{delivery.session}/{delivery.seq}" if delivery.exactly_once else "",
            seconds=min(self._settings.message_limit_s, left),
            before_write=self._before_write,
            thoughts=delivery.thoughts,
            now=delivery.now,
        )
        try:
            return self._carry_out(delivery, attempt)
        except Miss as miss:
            outcome = self._missed(delivery, attempt, miss)
        except Untested as test:
            outcome = test.request
        except Thought as thought:
            outcome = Thinking(thought, self._image.reference(thought.persona).oid)
        except (ImageError, AttemptEnded) as error:
            outcome = Failed(error)
        except (ConflictError, ClientDisconnected, TransientError):
            raise
        except Exception as error:  # a fault of ours fails one message, and must not end the process
            log.exception("a fault while a message was run", job=delivery.job)
            outcome = Failed(fault(error))
        if self._savepoint is not None:
            self._savepoint.rollback()
        attempt.forget_changes()
        return outcome

    def _before_write(self) -> None:
        self._savepoint = self._image.manager.savepoint(optimistic=True)

    def _missed(self, delivery: Delivery, attempt: Attempt, miss: Miss) -> Outcome:
        """What the message did until it missed a method goes to the trial as records, and so has to be what records may hold."""
        if attempt.preview and miss.reified.own("selector") != _selector(delivery.request):
            return Failed(previews.one_method_alone(delivery.request, miss.reified.own("selector")))
        try:
            attempt.unflagged()
            gate.look(self._image, attempt)
            return method_request(self._image, attempt, miss, delivery.now, delivery.principal)
        except ImageError as error:
            return Failed(error)
        except (ConflictError, ClientDisconnected, TransientError):
            raise
        except Exception as error:  # an object that nothing refers to may hold what cannot be stored
            log.exception("a fault while a missing method was noted", job=delivery.job)
            return Failed(fault(error))

    def _carry_out(self, delivery: Delivery, attempt: Attempt) -> Outcome:
        request = delivery.request
        if not isinstance(request, Changing):
            return self._look(request, attempt)
        if delivery.exactly_once:
            if (delivery.principal, delivery.session, delivery.seq) in self._receipts:
                # The same message twice in one batch: the second one finds the receipt once it is committed.
                raise ConflictError("the same message is in this batch already")
            receipt = self._ledger.look(delivery.principal, delivery.session, delivery.seq, delivery.digest)
            if receipt is not None:
                return Answered(receipt.result, replayed_tid=receipt.tid)
        if isinstance(request, CreateMethod):
            return self._create_method(delivery, attempt, request)
        if isinstance(request, Upload):
            return self._upload(delivery, attempt, request)
        if isinstance(request, Import):
            return self._import(delivery, attempt, request)
        if isinstance(request, Contract):
            return self._contract(delivery, attempt, request)
        shown: list[UvmObject] = []
        room = Room(self._capacity)
        if isinstance(request, Send) and request.preview:
            return self._previewed(delivery, attempt, request, room)
        accepted = None
        if isinstance(request, Send) and request.accept:
            attempt.touch()
            accepted, installed = previews.accept(self._image, self._accounts, delivery, attempt.message, request)
            self._changes.take({}, [installed])
        if isinstance(request, Transaction):
            answer = self._send_all(delivery, attempt, request, shown, room)
        else:
            answer = self._carried(self._send(delivery, attempt, request, self._resolve), attempt, shown, room)
        answered = self._changed(delivery, attempt, encode_value(answer), shown)
        answered.accepted = accepted
        return answered

    def _previewed(self, delivery: Delivery, attempt: Attempt, request: Send, room: Room) -> Answered:
        """What the message would do. It is carried out like any other, and then all of it is taken back."""
        attempt.touch()  # all that is made from here on goes with the savepoint, new objects too
        attempt.preview = True
        proposal = previews.written(self._image, request)
        method, digest = None, ""
        if proposal is not None:
            previews.put_in_place(self._image, proposal, delivery, previews.key_of(self._image.target(request.target), request))
            method, digest = proposal.own("method"), proposal.own("digest")
            request = msgspec.structs.replace(request, examples=[])  # the method was tried on them
        result = self._send(delivery, attempt, request, self._resolve)
        attempt.unflagged()
        gate.look(self._image, attempt)
        told = previews.shown(self._image, attempt, result, method, digest)
        answered = Answered(encode_value(self._carried(told, attempt, [], room)))
        if self._savepoint is not None:
            self._savepoint.rollback()
        attempt.forget_changes()
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
            one = self._image.target(request.target)
            return Answered(encode_value(queries.inspected(self._image, one, queries.view_tid(self._image), self._frame)))
        attempt.touch()
        gone = nursery.release(self._image, [one.oid for one in request.references if isinstance(one, Reference)])
        return Answered(encode_value(gone), changed=gone > 0)

    def _send_all(self, delivery: Delivery, attempt: Attempt, request: Transaction, shown: list[UvmObject], room: Room) -> list[Any]:
        results: list[Any] = []
        answer: list[Any] = []

        def resolve(value: Reference | Result) -> Any:
            if isinstance(value, Result) and value.number < len(results):
                return results[value.number]
            return self._resolve(value, len(results))

        for number, step in enumerate(request.sends):
            result = self._send(delivery, attempt, step, resolve, number)
            answer.append(self._carried(result, attempt, shown, room))
            # A later send gets the value: what it does to its argument must not change a slot that the value came from.
            results.append(copied(result, attempt.walk))
        return answer

    def _resolve(self, value: Reference | Result, number: int = 0) -> Any:
        """What stands for an object in send `number`, where no result of an earlier one does."""
        if isinstance(value, Reference):
            return self._image.visible(value)
        raise BadValue(f"{value!r} stands in send {number}; a send may have the results of earlier sends of its Transaction")

    def _send(self, delivery: Delivery, attempt: Attempt, step: Send | Step, resolve: Callable[[Any], Any], number: int = 0) -> Any:
        attempt.step, attempt.clauses, attempt.examples, attempt.anew, attempt.risk = number, [], [], None, step.risk or 0.0
        if len(self._sent) < TALLIED and not attempt.preview:
            self._sent[step.selector] = self._sent.get(step.selector, 0) + 1
        receiver = resolve(step.target) if isinstance(step.target, Result) else self._image.target(step.target)
        if type(receiver) is not UvmObject:
            raise BadArguments(f"{step.target!r}, the target of {step.selector}, is a {queries.kind_of(receiver)}; a target is an object")
        if step.examples:
            expect(self._image, attempt, delivery, receiver, step)
        args = tuple([from_wire(value, resolve) for value in step.args])
        kwargs = {name: from_wire(value, resolve) for name, value in step.kwargs.items()} if step.kwargs else {}
        return self._runtime.run(attempt, receiver, step.selector, args, kwargs)

    def _carried(self, result: Any, attempt: Attempt, shown: list[UvmObject], room: Room) -> Any:
        """A result as it is answered; new objects in it go to `shown`. Raises BadValue, TooLarge."""

        def refer(one: UvmObject) -> Reference:
            if attempt.is_new(one):
                shown.append(one)
            return self._image.reference(one)

        try:
            return to_wire(result, refer, room)
        except NoRoom:
            raise TooLarge(
                f"the answer would have more than {room.limit:,} bytes",
                "ask for less; what a slot holds is read in parts, with Read or batos get",
                bytes=min(room.used, 2**63 - 1),
                limit=room.limit,
            ) from None

    def _upload(self, delivery: Delivery, attempt: Attempt, request: Upload) -> Answered:
        attempt.touch()
        upload = uploads.add(self._image, request, delivery.principal, delivery.limits)
        self._accounts.charge(delivery.principal, delivery.limits.stored, [(upload, len(request.data))])
        result = encode_value(self._image.reference(upload))
        self._keep(delivery, result)
        held = self._accounts.held(delivery.principal) if delivery.limits.stored else None
        return Answered(result, changed=True, stored=len(request.data), held=held)

    def _import(self, delivery: Delivery, attempt: Attempt, request: Import) -> Answered:
        def alive() -> None:
            self._between()
            attempt.look()

        imported = importer.take_in(self._image, attempt, request, delivery.principal, delivery.session, alive)
        shown: list[UvmObject] = []
        answer = encode_value(self._carried(imported.answer, attempt, shown, Room(self._capacity)))
        for growth in imported.grown:
            self._accounts.charge(delivery.principal, delivery.limits.stored, [growth])
        return self._changed(delivery, attempt, answer, shown)

    def _keep(self, delivery: Delivery, result: bytes, change: dict[str, Any] | None = None) -> None:
        """Remember receipt and journal entry for the end of the batch: written now, every later savepoint would store their pages again."""
        if delivery.exactly_once:
            self._ledger.check(delivery.seq, getattr(delivery.request, "floor", 0))
            self._receipts[delivery.principal, delivery.session, delivery.seq] = (delivery, result)
        if change is not None:
            self._entries.append(change)

    def _changed(self, delivery: Delivery, attempt: Attempt, result: bytes, shown: list[UvmObject]) -> Answered:
        if shown:
            attempt.touch()
            nursery.keep(self._image, shown)
        if not attempt.wrote:
            return Answered(result)
        weight = gate.look(self._image, attempt)
        self._accounts.charge(delivery.principal, delivery.limits.stored, weight.grown)
        effects = attempt.effects()
        self._changes.take(attempt.created, effects)
        said = {
            "principal": delivery.principal,
            "session": delivery.session,
            "seq": delivery.seq,
            "selector": _selector(delivery.request),
            "at": int(delivery.now),
            **({"undid": stored(attempt.undid)} if attempt.undid else {}),
        }
        self._keep(delivery, result, entry(self._image, said, effects, attempt.created.values()))
        library.note(self._image, effects, delivery.principal, attempt.message)
        chronicle.record_effects(self._image, effects, delivery.principal, attempt.message)
        held = self._accounts.held(delivery.principal) if delivery.limits.stored else None
        return Answered(result, changed=True, taken_back=removed_methods(effects), stored=weight.bytes, held=held)

    # --- what methods keep ----------------------------------------------------------------------------------------------

    def _contract(self, delivery: Delivery, attempt: Attempt, request: Contract) -> Answered:
        """Examples that a method keeps: shown, added once they are tested, taken away."""
        target = self._image.target(request.target)
        attempt.sent = attempt.writable = False
        if request.examples:
            expect(self._image, attempt, delivery, target, request, keeping=True)
            if attempt.clauses:  # there is no method, or it does not hold: the first example shows how it is called
                first = request.examples[0]
                args, kwargs = (from_wire(part, self._image.visible) for part in (first.args, first.kwargs))
                self._runtime.run(attempt, target, request.selector, tuple(args), kwargs)
        method = target.lookup(request.selector)
        if not is_method(method):
            raise BadArguments(f"{request.selector} is no method of {target!r}, and keeps no examples", "batos inspect lists the methods")
        if request.remove:
            holder = target.holder(request.selector) or target
            check_removed_examples(self._image, holder, delivery.rights)
            attempt.touch()
            contract.remove(method, request.remove, self._image.visible)
        told = {"selector": request.selector, "method": method, "examples": contract.described(method)}
        result = encode_value(self._carried(told, attempt, [], Room(self._capacity)))
        if request.remove:
            self._keep(delivery, result)
        return Answered(result, changed=bool(request.remove))

    # --- methods that are not there yet --------------------------------------------------------------------------------

    def _create_method(self, delivery: Delivery, attempt: Attempt, request: CreateMethod) -> Outcome:
        target = self._image.target(request.target)
        check_offer(self._image, target, request.selector, delivery.rights, request.policy)
        examples.check(target, request.examples, self._image.visible)
        held = target.own(request.selector)
        clauses = [contract.clause(target, example) for example in request.examples] + (contract.kept(held) if is_method(held) else [])
        key = f"offer:{delivery.token}:{delivery.digest.hex()}"
        message = self._image.shard("messages", key).own(key)
        if message is ABSENT or message.own("stage") not in ("installed", "refused"):
            agree(request.selector, clauses)
            return offered(
                request, key, self._image.reference(target).oid, delivery.now, delivery.rights, delivery.limits, delivery.principal, clauses
            )
        if message.own("stage") == "refused":
            kind = next((one for one in ImageError.__subclasses__() if one.__name__ == message.own("refusal")["type"]), ImageError)
            raise kind(message.own("refusal")["message"], message.own("refusal")["remedy"], **message.own("refusal")["details"])
        method = target.own(request.selector)
        if not is_method(method):
            raise ImageError(f"{request.selector} was installed and has been removed since")
        attempt.touch()
        try:
            told = to_wire(explanation(target, method), self._image.reference, Room(self._capacity))
        except NoRoom:  # it is installed all the same; explain_ and Read have the rest
            told = {}
        result = encode_value({"selector": request.selector, "method": self._image.reference(method), **told})
        if delivery.exactly_once:
            self._keep(delivery, result)
        return Answered(result, changed=delivery.exactly_once)


def removed_methods(effects: Sequence[Effect]) -> list[tuple[bytes, str]]:
    """The generated methods among what was removed: the message that each was written for, and its author."""
    gone = [written_for(before) for _, _, before, after, _ in effects if after is ABSENT and is_method(before)]
    return [one for one in gone if one is not None]


def fault(error: Exception) -> KernelFault:
    """What a message is told of a fault of ours."""
    return KernelFault(f"{type(error).__name__}: {error}"[:500], "batos logs shows it; please report it")


def _selector(request: Any) -> str:
    """What a message sent, for the journal."""
    sends = request.sends if isinstance(request, Transaction) else [request]
    return ",".join(getattr(step, "selector", f"({type(step).__name__})") for step in sends)[:256]
