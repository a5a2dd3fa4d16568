"""The database under a trial: what the UVM sends of the real one, below what the trial itself commits, which stays in memory.

Used by the trial child's only thread. ZODB does the rest: connections, serialization, transactions are the real ones.
"""

from collections.abc import Callable
from typing import Any

from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import newTid, p64, u64

FIRST_NEW_OID = 1 << 62
"""Oids from here on belong to objects made in a trial. They are given out in order, so that equal drafts make equal references."""

Stored = tuple[bytes, bytes]
"""A record and the transaction that wrote it."""


class Records:
    """The records of the real objects as of one transaction: the overlay's first, each other one asked for once."""

    def __init__(self, tid: bytes, overlay: dict[bytes, bytes], ask: Callable[[bytes], Stored | None]) -> None:
        self.tid = tid
        self._committed: dict[bytes, Stored | None] = {}
        self._overlay = overlay
        self._by_oid: dict[bytes, Stored | None] = {oid: (record, tid) for oid, record in overlay.items()}
        self._ask = ask

    def committed(self, oid: bytes) -> Stored | None:
        """The record below the overlay's; None for an object that the overlay made."""
        if oid not in self._overlay:
            return self.get(oid)
        if oid not in self._committed:
            self._committed[oid] = self._ask(oid)
        return self._committed[oid]

    def get(self, oid: bytes) -> Stored | None:
        if oid not in self._by_oid:
            # An oid of the trial's own cannot be in the database: nothing to ask for.
            self._by_oid[oid] = None if u64(oid) >= FIRST_NEW_OID else self._ask(oid)
        return self._by_oid[oid]

    def was_read(self, oid: bytes | None) -> bool:
        """Whether the record was looked at before."""
        return oid is not None and self._by_oid.get(oid) is not None

    def first_new_oid(self) -> int:
        """The first oid that neither the database nor the overlay uses."""
        first: int = max([FIRST_NEW_OID - 1, *(u64(oid) for oid in self._by_oid)]) + 1
        return first


class TrialStorage(MappingStorage):
    """A storage in memory over `Records`."""

    def __init__(self, records: Records) -> None:
        super().__init__("trial")
        self._records = records
        self._ltid = records.tid
        self._oid = records.first_new_oid() - 1

    def loadBefore(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        """The newest record before `tid`: (record, its transaction, the next one's). Raises POSKeyError."""
        own: tuple[bytes, bytes, bytes | None] | None = super().loadBefore(oid, tid) if oid in self._data else None
        if own is not None:
            return own
        stored = self._records.get(oid)
        if stored is None:
            raise POSKeyError(oid)
        return (*stored, None)

    def load(self, oid: bytes, version: str = "") -> Stored:
        """The newest record."""
        stored = self.loadBefore(oid, p64(u64(self._ltid) + 1))
        if stored is None:
            raise POSKeyError(oid)
        return stored[:2]

    def loadBlob(self, oid: bytes, serial: bytes) -> str:
        """Raises POSKeyError: a trial has records, and no files. What is read there is not for methods."""
        raise POSKeyError(oid)

    def getTid(self, oid: bytes) -> bytes:
        """The transaction that wrote the newest record."""
        return self.load(oid)[1]

    def tpc_begin(self, transaction: Any, tid: bytes | None = None) -> None:
        """Begin a commit that is later than what the trial may see."""
        super().tpc_begin(transaction, tid or newTid(self._ltid))
