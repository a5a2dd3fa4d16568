"""How many bytes of the image a principal holds: the quota `stored_mb`. Within the current transaction of whoever calls.

Who makes an object or has it grow is charged for that, and the object says so, in its slot `charged*`: principal → bytes. When it shrinks,
by whomever, the bytes go back: the sender's own first, then those of others. So a principal's account is the sum of what the objects of
the image say, nobody gains room by emptying what others have filled, and nobody grows at another's cost. Principals without the quota
are not charged, and write nothing of this. What no object refers to any more is there until a pack; once it is gone, `drift` finds its
bytes in the accounts still, and the heartbeat takes them out.

Two UVMs that charge one object merge (`uvm.objects`), and so do two that move one account. They may then each have let a last message in
that the other did not know of.

Layout: table `accounts`, key name of the principal → object with the counter `bytes`: a record of its own, which no other principal writes.
"""

from collections import Counter as Sums
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from ZODB.POSException import POSKeyError

from uvm.errors import QuotaExceeded
from uvm.image import views
from uvm.image.image import Image
from uvm.objects import ABSENT, CHARGED, KIND, Counter, UvmObject

QUOTA: Final = "stored_mb"

Growth = tuple[UvmObject, int]
"""An object, and by how many bytes it grew."""


def bytes_held(image: Image, principal: str) -> int:
    """Bytes that a principal holds."""
    account = image.shard("accounts", principal).own(principal)
    return 0 if account is ABSENT else max(0, int(views.counted(account, "bytes")))


def charged(owner: UvmObject) -> int:
    """Bytes of an object that somebody is charged for."""
    return sum(views.slot(owner, CHARGED, dict, {}).values())


class Accounts:
    """What one transaction adds to the accounts, which are written once, at its end."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._moved: Sums[str] = Sums()

    def bytes_held(self, principal: str) -> int:
        """Bytes that the principal holds, with what is not written yet."""
        return bytes_held(self._image, principal) + self._moved[principal]

    def charge(self, principal: str, allowed: int, grown: Sequence[Growth], settled: bool = False) -> None:
        """What a message of the principal did to these objects. `allowed`: bytes that it may hold; 0: it is not charged.

        Raises QuotaExceeded, before anything is noted, where it would hold more than that, and more than before; not where it is `settled`
        that this is stored.
        """
        moved: Sums[str] = Sums()
        charges: list[tuple[UvmObject, dict[str, int]]] = []
        for owner, growth in grown:
            before = views.slot(owner, CHARGED, dict, {})
            after = _charged(before, principal if allowed else "", growth)
            if after != before:
                moved.update(after)
                moved.subtract(before)
                charges.append((owner, after))
        if moved[principal] > 0 and not settled:
            self.check(principal, allowed, moved[principal])
        for owner, after in charges:
            if after:
                owner.put(CHARGED, after)
            else:
                owner.drop(CHARGED)
        self._moved.update(moved)

    def check(self, principal: str, allowed: int, growth: int) -> None:
        """Raises QuotaExceeded where the principal would hold more than `allowed` with so much besides; 0: it may hold any."""
        used = self.bytes_held(principal) if allowed else 0
        if allowed and used + growth > allowed:
            raise QuotaExceeded(
                f"{QUOTA}: {principal} holds {used:,} bytes of the image, and this adds {growth:,}; {allowed:,} are allowed",
                f"empty what is not needed, or have quotas.{QUOTA} raised",
                quota=QUOTA,
                used=used,
                allowed=allowed,
            )

    def write(self) -> None:
        """Add it all to the accounts."""
        for principal, moved in self._moved.items():
            if moved:
                add(self._image, principal, moved)
        self._moved.clear()


def add(image: Image, principal: str, moved: int) -> None:
    """Add to an account, or take from it."""
    account = image.shard("accounts", principal).own(principal)
    if account is ABSENT:
        account = UvmObject({KIND: "account", "bytes": Counter()})
        image.enter("accounts", principal, account)
    account.own("bytes").add(moved)
    account._p_changed = True


def _charged(before: dict[str, int], principal: str, growth: int) -> dict[str, int]:
    """Whose bytes an object holds that grew, or shrank."""
    after = dict(before)
    if growth > 0:
        if principal:
            after[principal] = after.get(principal, 0) + growth
        return after
    for name in sorted(after, key=lambda name: name != principal):
        refund = min(after[name], -growth)
        after[name] -= refund
        growth += refund
    return {name: bytes for name, bytes in after.items() if bytes}


def accounts(image: Image) -> dict[str, int]:
    """Everybody's bytes, by name."""
    return {name: int(views.counted(leaf.own(name), "bytes")) for leaf in image.shards("accounts") for name in leaf.names()}


def drift(image: Image, tid: bytes, counted: dict[str, int]) -> dict[str, int]:
    """How many bytes more than that the objects of the image hold, by principal: less than 0, where some are there no more.

    `counted`: the accounts as of that transaction. Reads every record; what is committed meanwhile changes nothing of it.
    """
    sums: Sums[str] = Sums()
    for record in _records(image.database.storage, tid):
        if CHARGED.encode() in record:
            state = image.connection._reader.getState(record)
            slots = state.get("_slots", {}) if isinstance(state, dict) else {}
            sums.update(msgspec.convert(slots.get(CHARGED, {}), dict[str, int]))
    return {name: sums[name] - bytes for name, bytes in counted.items() if sums[name] != bytes}


def _records(storage: Any, tid: bytes) -> Iterator[bytes]:
    """Every record as of a transaction."""
    following = None
    while True:
        oid, serial, record, following = storage.record_iternext(following)
        if serial <= tid:
            yield record
        else:
            try:
                earlier = storage.loadBefore(oid, (int.from_bytes(tid) + 1).to_bytes(8))
            except POSKeyError:
                earlier = None
            if earlier is not None:
                yield earlier[0]
        if following is None:
            return
