"""What a transaction writes of its messages besides their effects: receipts, journal, library, chronicle, accounts, and what changed.

Owned by the UVM's batch, in the main thread. What messages leave is gathered here, and written at the end of the transaction, once: written
with each message, every later savepoint would store the same pages again.
"""

from collections.abc import Sequence
from typing import Any

from ZODB.POSException import ConflictError

from uvm.history import chronicle
from uvm.image import library, nursery
from uvm.image.changes import Changes
from uvm.image.image import Image
from uvm.image.journal import TALLIED, Effect, Journal, entry
from uvm.image.large import stored
from uvm.image.message_object import is_method
from uvm.image.methods import written_for
from uvm.image.receipts import Ledger, Receipt
from uvm.image.stored import Accounts
from uvm.machine.delivery import Answered, Delivery, selectors
from uvm.objects import ABSENT, UvmObject
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt


class Bookkeeping:
    """The books of one UVM, and what the messages of the current transaction leave for them."""

    def __init__(self, image: Image, uvm: str, frame: int) -> None:
        """`frame`: the most bytes that an event may have."""
        self._image = image
        self._frame = frame
        self._ledger = Ledger(image)
        self.journal = Journal(image, uvm)
        # Selectors sent since the last commit: what only looks writes nothing, and is counted with the next change.
        self._sent: dict[str, int] = {}
        self._receipts: dict[tuple[str, str, int], tuple[Delivery, bytes]] = {}
        self.entries: list[dict[str, Any]] = []
        self.accounts = Accounts(image)
        self.changes = Changes(image, frame)

    def begin(self) -> None:
        """A transaction begins: what the last one left is forgotten, but for the selectors that it did not write."""
        self._receipts.clear()
        self.entries = []
        self.accounts = Accounts(self._image)
        self.changes = Changes(self._image, self._frame)

    # --- of one message -------------------------------------------------------------------------------------------------

    def receipt(self, delivery: Delivery) -> Receipt | None:
        """The receipt of a message that has been carried out before. Raises ConflictError, PayloadMismatch, Expired."""
        if (delivery.principal, delivery.session, delivery.seq) in self._receipts:
            # The same message twice in one batch: the second one finds the receipt once it is committed.
            raise ConflictError("the same message is in this batch already")
        return self._ledger.look(delivery.principal, delivery.session, delivery.seq, delivery.digest)

    def count(self, selector: str) -> None:
        """Count a send."""
        if len(self._sent) < TALLIED:
            self._sent[selector] = self._sent.get(selector, 0) + 1

    def keep(self, delivery: Delivery, result: bytes, change: dict[str, Any] | None = None) -> None:
        """Keep a message's receipt and its journal entry for the end of the transaction."""
        if delivery.exactly_once:
            self._ledger.check(delivery.seq, getattr(delivery.request, "floor", 0))
            self._receipts[delivery.principal, delivery.session, delivery.seq] = (delivery, result)
        if change is not None:
            self.entries.append(change)

    def charge(self, delivery: Delivery, grown: Sequence[tuple[UvmObject, int]]) -> None:
        """Charge a message's principal for what its records have grown by. Raises QuotaExceeded."""
        self.accounts.charge(delivery.principal, delivery.limits.stored, grown)

    def bytes_held(self, delivery: Delivery) -> int | None:
        """What a message's principal holds of the image by now, where that is counted."""
        return self.accounts.bytes_held(delivery.principal) if delivery.limits.stored else None

    def conclude(self, delivery: Delivery, attempt: Attempt, result: bytes, new_objects: list[UvmObject]) -> Answered:
        """A message has been carried out: weigh what it changed, and keep what is to be written of it. `new_objects`: those in its answer.

        Raises what the gate and the quotas do.
        """
        if new_objects:
            attempt.touch()
            nursery.keep(self._image, new_objects)
        if not attempt.wrote:
            return Answered(result)
        weight = gate.look(self._image, attempt)
        self.charge(delivery, weight.grown)
        effects = attempt.effects()
        self.changes.take(attempt.created, effects, attempt.judged)
        message = {
            "principal": delivery.principal,
            "session": delivery.session,
            "seq": delivery.seq,
            "selector": selectors(delivery.request),
            "at": int(delivery.now),
            **({"undid": stored(attempt.undid)} if attempt.undid else {}),
        }
        self.keep(delivery, result, entry(self._image, message, effects, attempt.created.values()))
        library.note(self._image, effects, delivery.principal, attempt.message)
        chronicle.record_effects(self._image, effects, delivery.principal, attempt.message)
        return Answered(
            result, changed=True, taken_back=removed_methods(effects), stored=weight.bytes, bytes_held=self.bytes_held(delivery)
        )

    # --- of the transaction ---------------------------------------------------------------------------------------------

    def write(self, batch: str) -> None:
        """Write all that was kept, in the transaction that is about to be committed under this name."""
        floors: dict[tuple[str, str], int] = {}
        for delivery, _ in self._receipts.values():
            session = delivery.principal, delivery.session
            floors[session] = max(floors.get(session, 0), getattr(delivery.request, "floor", 0))
        journalled = zip(self.entries, self.journal.record(self.entries), strict=True)
        ids = {(message["principal"], message["session"], message["seq"]): id for message, id in journalled}
        for number, (delivery, result) in self._receipts.items():
            # The floor that the batch comes to, so that each session's page is swept once.
            floor = floors[delivery.principal, delivery.session]
            self._ledger.record(*number, delivery.digest, result, floor, ids.get(number, ""))
        self.accounts.write()
        self.journal.mark(batch, self._sent)

    def committed(self) -> None:
        """The transaction is committed: the selectors are in its tally."""
        self._sent = {}


def removed_methods(effects: Sequence[Effect]) -> list[tuple[bytes, str]]:
    """The generated methods among what was removed: the message that each was written for, and its author."""
    removed = [written_for(before) for _, _, before, after, _ in effects if after is ABSENT and is_method(before)]
    return [origin for origin in removed if origin is not None]
