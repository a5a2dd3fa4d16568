"""Receipts: what makes a message exactly-once above the acknowledged floor.

A receipt is written in the transaction of its effect. Layout: `receipts` shard of the session → session object with the slots
`floor`, `oldest` (page) and `page:N` → page object, whose slots are sequence numbers: `[payload digest, packed result]`.
Pages are objects of their own, so that two UVMs that write receipts of one session merge; the same number conflicts.
"""

import time
from typing import Final

import msgspec

from uvm.errors import BadArguments, Expired, PayloadMismatch
from uvm.image import Image
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
        record = self._session(principal, session)
        if record is None:
            return None
        if seq <= record.own("floor"):
            raise Expired(
                f"message {seq} of session {session} is at or below the acknowledged floor {record.own('floor')}",
                "its receipt is gone; use a new number for a new message",
            )
        page = record.own(f"page:{seq // PAGE}")
        found = page.own(str(seq)) if page is not ABSENT else ABSENT
        if found is ABSENT:
            return None
        if found[0] != digest:
            raise PayloadMismatch(
                f"message {seq} of session {session} was sent before with another payload", "use a new number for a new message"
            )
        return Receipt(found[1], page._p_serial)

    def record(self, principal: str, session: str, seq: int, digest: bytes, result: bytes, floor: int) -> None:
        """Write the receipt and raise the floor, in the current transaction."""
        record = self._session(principal, session) or self._begin(principal, session)
        number = seq // PAGE
        page = record.own(f"page:{number}")
        if page is ABSENT:
            page = UvmObject({KIND: "receipts"})
            record.put(f"page:{number}", page)
            record.put("seen", int(time.time()))
        page.put(str(seq), [digest, result])
        self._forget(record, max(floor, (number - PAGES) * PAGE - 1))

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
        return sum(len(shard.names()) for shard in self._image.shards("receipts"))

    def expire(self, before: int) -> int:
        """Forget sessions that began their newest page before that time (seconds since the epoch)."""
        gone = 0
        for shard in self._image.shards("receipts"):
            for key in [key for key in shard.names() if shard.own(key).own("seen") < before]:
                shard.drop(key)
                gone += 1
        return gone

    def _session(self, principal: str, session: str) -> UvmObject | None:
        key = f"{principal}/{session}"
        found = self._image.shard("receipts", key).own(key)
        return None if found is ABSENT else found

    def _begin(self, principal: str, session: str) -> UvmObject:
        key = f"{principal}/{session}"
        record = UvmObject({KIND: "session", "floor": 0, "seen": int(time.time())})
        self._image.shard("receipts", key).put(key, record)
        return record

    def _forget(self, record: UvmObject, floor: int) -> None:
        if floor <= record.own("floor"):
            return
        record.put("floor", floor)
        for name in [name for name in record.names() if name.startswith("page:") and (int(name[5:]) + 1) * PAGE <= floor + 1]:
            record.drop(name)
