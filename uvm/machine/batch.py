"""One transaction: drained messages run in savepoints of their own, one commit, and only then answers.

Owned by the UVM's main thread. `run` gives one outcome per message, all true of one committed transaction. What a message does is in
`execution`, what is written of it in `bookkeeping`; here are conflicts, and commits of which it is not known whether they happened.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import structlog
from transaction.interfaces import NoTransaction, TransientError
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError, ReadConflictError, StorageError

from deploy.settings import BridgeSettings, UvmSettings
from uvm.errors import Contention, ImageFull
from uvm.image.image import Image
from uvm.image.transactor import back_off, disk_full
from uvm.machine.bookkeeping import Bookkeeping
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome, fault
from uvm.machine.execution import Execution
from uvm.machine.stopwatch import Stopwatch
from uvm.runtime.runtime import Runtime

LONG_S: Final = 0.05
"""A batch that took so many seconds begins no further message: those that are done wait for the commit."""
TRIES: Final = 12
"""How often a batch is tried; from the third conflict on, its messages run one by one."""

log = structlog.get_logger()

Settled = tuple[Delivery, Outcome, bytes]
"""A message, what came of it, and the transaction that holds that; empty when nothing was written."""


class BatchUndecided(Exception):
    """The ZEO server does not answer; nothing is decided yet, and the batch is to be run again later."""


class _Undecided(NamedTuple):
    """A commit whose acknowledgement has not come: its name in the journal, and the outcomes by their delivery's identity."""

    batch: str
    outcomes: dict[int, Outcome]


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
        self._between = between
        self.books = Bookkeeping(image, uvm, frame)
        self.execution = Execution(image, runtime, settings, self.books, between, frame)
        self._undecided: _Undecided | None = None
        self._full = False
        self.conflicts = 0
        self.commits = 0

    def run(self, deliveries: Sequence[Delivery]) -> list[Settled]:
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
            if full is not None and self._undecided is not None:
                return self._not_written(deliveries, full)
            raise BatchUndecided(str(error)) from error

    def _run(self, deliveries: list[Delivery], tried: int) -> list[Settled]:
        if tried >= 2 and len(deliveries) > 1:
            return self._one_by_one(deliveries, tried)
        while True:
            outcomes: list[Outcome] = []
            self.books.begin()
            try:
                self._image.manager.begin()
                watch = Stopwatch()
                long = watch.now + LONG_S
                for delivery in deliveries:
                    self._between()
                    outcomes.append(self.execution.outcome(delivery))
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
                log.exception("a transaction could not be stored", deliveries=[delivery.number for delivery in deliveries])
                if len(deliveries) > 1:
                    return self._one_by_one(deliveries, tried)
                return [(deliveries[0], Failed(fault(error)), b"")]

    def _one_by_one(self, deliveries: list[Delivery], tried: int) -> list[Settled]:
        ended: list[Settled] = []
        long = time.monotonic() + LONG_S
        for delivery in deliveries:
            try:
                ended += self._run([delivery], tried)
            except (ClientDisconnected, StorageError, TransientError):
                if not ended:
                    raise
                # Those before it are done; whether this one is will be looked up when it is run again.
                self._abort()
                break
            if time.monotonic() > long:
                break
        return ended

    def _commit(self, deliveries: list[Delivery], outcomes: list[Outcome]) -> list[Settled]:
        first = next((outcome for outcome in outcomes if isinstance(outcome, Answered) and outcome.changed), None)
        if first is None:
            self._abort()
            return [(delivery, outcome, b"") for delivery, outcome in zip(deliveries, outcomes, strict=True)]
        batch = uuid.uuid4().hex
        self.books.write(batch)
        # The changes are the transaction's; they are published with the first message that made any.
        first.changes = changes = self.books.changes.collected()
        self._undecided = _Undecided(batch, {id(delivery): outcome for delivery, outcome in zip(deliveries, outcomes, strict=True)})
        try:
            self._image.manager.commit()
        except ConflictError:
            self._undecided = None
            raise
        except (ClientDisconnected, TransientError, StorageError):
            raise
        except BaseException:
            self._undecided = None
            raise
        self._undecided = None
        self._full = False
        self.books.committed()
        self.commits += 1
        first.changes = self.books.changes.settled(changes)
        tid = self.books.journal.tid
        return [(delivery, outcome, tid) for delivery, outcome in zip(deliveries, outcomes, strict=True)]

    def _settle(self, deliveries: Sequence[Delivery]) -> list[Settled] | None:
        """After a commit whose acknowledgement was lost: the outcomes, if it happened."""
        if self._undecided is None:
            return None
        batch, outcomes = self._undecided
        self._image.manager.begin()
        happened, tid = self.books.journal.batch == batch, self.books.journal.tid
        self._image.manager.abort()
        self._undecided = None
        if not self._full:
            log.warning("looked up a commit whose acknowledgement was lost", batch=batch, happened=happened)
        if not happened:
            return None
        for outcome in outcomes.values():
            if isinstance(outcome, Answered) and outcome.changes:
                outcome.changes = self.books.changes.settled(outcome.changes)
        return [(delivery, outcomes[id(delivery)], tid) for delivery in deliveries if id(delivery) in outcomes]

    def _not_written(self, deliveries: Sequence[Delivery], full: ImageFull) -> list[Settled]:
        """The server answered that it could not write: what the transaction would have changed fails, once it is sure that it did not."""
        if not self._full:
            self._full = True  # an outage is one line of the log, however many messages it costs
            log.error("the image's disk is full", error=full.message)
        outcomes = self._undecided.outcomes if self._undecided else {}
        try:
            settled = self._settle(deliveries)
        except (ClientDisconnected, StorageError, TransientError) as error:
            self._abort()
            raise BatchUndecided(str(error)) from error
        if settled is not None:
            return settled
        changing = {identity for identity, outcome in outcomes.items() if isinstance(outcome, Answered) and outcome.changed}
        return [(delivery, Failed(full), b"") for delivery in deliveries if id(delivery) in changing]

    def _abort(self) -> None:
        self._runtime.attempt.forget_changes()
        with suppress(NoTransaction):
            self._image.manager.abort()
