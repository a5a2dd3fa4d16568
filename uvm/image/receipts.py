"""Receipts: what makes a message exactly-once above the acknowledged floor.

A receipt is written in the transaction of its effect. Layout: table `receipts`, key `<principal>/<session>`:

- While a session has one receipt above its floor, as with a tool that sends one message after the other, the record is the list
  `[seen, floor, number, payload digest, packed result, entry]`.
- Then it is a session object with the slots `floor`, `seen` and `page:N` → page object, whose slots are numbers: `[payload digest, packed
  result, entry]`. Pages are objects of their own, so that two UVMs that write receipts of one session merge; the same number conflicts.

`entry` is the id of the message's entry in a journal; it is left out where there is none, as in receipts of earlier versions. A large
result has a record of its own (`uvm.image.large`).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from uvm.errors import BadArguments, Expired, PayloadMismatch
from uvm.image import clock as image_time
from uvm.image.image import Image
from uvm.image.large import loaded, stored
from uvm.image.tables import SHARDS
from uvm.objects import ABSENT, KIND, UvmObject

PAGE: Final = 64
PAGES: Final = 256
"""A session keeps the newest 16,384 receipts; older ones expire as if the tool had acknowledged them."""


class Receipt(msgspec.Struct, frozen=True):
    """A recorded reply: the packed result, and a transaction in which the effect is visible."""

    result: bytes
    tid: bytes


class Ledger:
    """The receipts of one image, within the current transaction."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def look(self, principal: str, session: str, seq: int, digest: bytes) -> Receipt | None:
        """The receipt of a message that was carried out before.

        Raises Expired below the floor, PayloadMismatch when the number was used for another payload.
        """
        floor, receipt, holder = self._find(principal, session, seq)
        if seq <= floor:
            raise Expired(
                f"message {seq} of session {session} is at or below the acknowledged floor {floor}",
                "its receipt is gone; use a new number for a new message",
            )
        if receipt is None:
            return None
        recorded, result, *_ = receipt
        if recorded != digest:
            raise PayloadMismatch(
                f"message {seq} of session {session} was sent before with another payload", "use a new number for a new message"
            )
        return Receipt(loaded(result), holder._p_serial)

    def entry(self, principal: str, session: str, seq: int) -> str:
        """The id of a message's entry in a journal, as far as its receipt is there and says it."""
        _, receipt, _ = self._find(principal, session, seq)
        return str(receipt[2]) if receipt is not None and len(receipt) > 2 else ""

    def _find(self, principal: str, session: str, seq: int) -> tuple[int, list[Any] | None, Any]:
        """The floor of a session, the receipt of a number, if there is one, and the object in which that is."""
        key = f"{principal}/{session}"
        holder: Any = self._image.shard("receipts", key)
        record: Any = holder.own(key)
        if record is ABSENT:
            return -1, None, holder
        if isinstance(record, list):
            _, floor, number, *written = record
            return floor, written if number == seq else None, holder
        page = record.own(f"page:{seq // PAGE}")
        return record.own("floor"), page.own(str(seq), None) if page is not ABSENT else None, page

    def record(self, principal: str, session: str, seq: int, digest: bytes, result: bytes, floor: int, entry: str = "") -> None:
        """Write the receipt and raise the floor, in the current transaction. `entry`: the message's in the journal."""
        key, last_seen = f"{principal}/{session}", image_time.now(self._image)
        record: Any = self._image.shard("receipts", key).own(key)
        if record is ABSENT or (isinstance(record, list) and record[2] <= floor):
            before = record[1] if isinstance(record, list) else 0
            self._image.enter("receipts", key, [last_seen, max(floor, before), seq, *_receipt(digest, result, entry)])
            return
        if isinstance(record, list):
            _, before, number, *written = record
            record = UvmObject({KIND: "session", "floor": before, "seen": last_seen})
            self._image.enter("receipts", key, record)
            _write(record, number, written, last_seen)
        _write(record, seq, _receipt(digest, result, entry), last_seen)
        _forget(record, max(floor, (seq // PAGE - PAGES) * PAGE - 1), seq // PAGE)

    @staticmethod
    def check(seq: int, floor: int) -> None:
        """Raises BadArguments for a floor at or above the message's own number."""
        if floor >= seq:
            raise BadArguments(
                f"floor {floor} acknowledges message {seq} itself, which is only being sent",
                "send the highest number below which every reply arrived",
            )

    def sessions(self) -> int:
        """How many sessions have receipts."""
        return sum(len(leaf.names()) for leaf in self._image.shards("receipts"))

    def expire(self, before: int, shards: Iterable[int] = range(SHARDS)) -> int:
        """Forget sessions of these shards that began their newest page before that moment of the image's time (seconds)."""
        old = [(leaf, key) for leaf in self._image.shards("receipts", shards) for key, last_seen in _last_seen(leaf) if last_seen < before]
        for leaf, key in old:
            leaf.drop(key)
        return len(old)


def _last_seen(leaf: UvmObject) -> Iterator[tuple[str, int]]:
    for key in leaf.names():
        record = leaf.own(key)
        yield key, record[0] if isinstance(record, list) else record.own("seen")


def _receipt(digest: bytes, result: bytes, entry: str) -> list[Any]:
    return [digest, stored(result), *([entry] if entry else [])]


def _write(record: UvmObject, seq: int, written: list[Any], last_seen: int) -> None:
    page = record.own(f"page:{seq // PAGE}")
    if page is ABSENT:
        page = UvmObject({KIND: "receipts"})
        record.put(f"page:{seq // PAGE}", page)
        record.put("seen", last_seen)
    page.put(str(seq), written)


def _forget(record: UvmObject, floor: int, written: int) -> None:
    """Raise the floor; drop whole pages below it, and what is below it on the page that is written anyway."""
    if floor <= record.own("floor"):
        return
    record.put("floor", floor)
    for name in [name for name in record.names() if name.startswith("page:") and (int(name[5:]) + 1) * PAGE <= floor + 1]:
        record.drop(name)
    page = record.own(f"page:{written}")
    for seq in [seq for seq in page.names() if int(seq) <= floor]:
        page.drop(seq)
