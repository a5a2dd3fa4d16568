"""What each changing message changed: the ground for undo, blame and lineage.

One journal per UVM name, so that two UVMs never write the same record. Layout: table `journals`, key name of the UVM → head of a book
(`uvm.image.pages`) with the slots `batch`, `tally` (BTree: selector → count), `spoken` and `asked` besides. The id of the newest
batch says, after a commit whose acknowledgement was lost, whether it happened. A large value has a record of its own (`uvm.image.large`).

An entry has `principal`, `session`, `seq`, `selector`, `at` (seconds since the epoch), `undid` where it took something back
(`uvm.history.marks`), and `effects`: lists of the object, the slot, whether there was a value, which, the method that did it, and what was
left in the slot (`uvm.image.left`). Entries of earlier versions lack `principal` and what was left.

In images of earlier versions `pages` is a list and `tally` a dict until the journal is written.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
from BTrees.OOBTree import OOBTree

from uvm.image import left, pages
from uvm.image.entropy import Spoken
from uvm.image.image import Image
from uvm.image.large import loaded, stored, weight
from uvm.objects import ABSENT, KIND, NAMES, UvmObject
from uvm.values.slot_values import copied

_ENTRY: Final = 96
_EFFECT: Final = 64
"""Bytes of an entry and of an effect in it, besides their texts and values."""
PAGES: Final = 8000
KEPT: Final = 64_000_000
"""Pages and bytes that a journal keeps; the oldest pages go first, and what they tell of can be undone no longer."""
TALLIED: Final = 1000
"""Selectors that a journal counts; later ones are left out of the entropy."""
ASKED: Final = 64
"""Personas that a journal counts."""

Effect = tuple[UvmObject, str, Any, Any, UvmObject | None]
"""Owner, slot, before, after, and the method that did it."""


class Journal:
    """The journal of one UVM, within the current transaction."""

    def __init__(self, image: Image, uvm: str) -> None:
        self._image = image
        self._uvm = uvm
        self._written: UvmObject | None = None

    @property
    def batch(self) -> str:
        """The id of the newest batch that this journal's UVM committed."""
        head = self._image.shard("journals", self._uvm).own(self._uvm)
        self._written = None if head is ABSENT else head
        return "" if head is ABSENT else head.own("batch")

    @property
    def tid(self) -> bytes:
        """The transaction of the newest batch, once it is committed. Newer ones of other processes may have happened by then."""
        if self._written is None or self._written._p_changed is None:
            newest: bytes = self._image.database.storage.lastTransaction()
            return newest
        serial: bytes = self._written._p_serial
        return serial

    def mark(self, batch: str, sent: Mapping[str, int] | None = None) -> None:
        """Say that the current transaction is this batch; `sent` is added to the tally of selectors."""
        head = self._written = self._head()
        head.put("batch", batch)
        tally: OOBTree = head.own("tally")
        for selector, count in (sent or {}).items():
            if selector in tally or len(tally) < TALLIED:
                tally[selector] = tally.get(selector, 0) + count

    def spoke(self, spoken: Spoken, draft_counts: Mapping[str, int]) -> None:
        """Add to the tally what the model said, and how many drafts each persona wrote."""
        head = self._head()
        before = head.own("spoken", {})
        head.put("spoken", msgspec.to_builtins(msgspec.convert(before, Spoken) + spoken))
        drafts = dict(head.own("asked", {}))
        for persona, count in draft_counts.items():
            if persona in drafts or len(drafts) < ASKED:
                drafts[persona] = drafts.get(persona, 0) + count
        head.put("asked", drafts)

    def record(self, entries: list[dict[str, Any]]) -> list[str]:
        """Append the entries of a batch; once per transaction, since each time writes the newest page anew. Answers their ids."""
        if not entries:
            return []
        appended = pages.append(self._head(), [(written, _bytes(written)) for written in entries], PAGES, KEPT)
        for number in appended.dropped:
            self._image.strike("undone", f"{self._uvm}/{number}")
        return [f"{self._uvm}/{position.page}.{position.offset}" for position in appended.positions]

    def entries(self) -> Iterable[dict[str, Any]]:
        """All entries that are kept, newest first."""
        head = self._image.shard("journals", self._uvm).own(self._uvm)
        return (located.entry for located in pages.newest_first(head)) if head is not ABSENT else ()

    def _head(self) -> UvmObject:
        head: UvmObject = self._image.shard("journals", self._uvm).own(self._uvm)
        if head is ABSENT:
            head = UvmObject({KIND: "journal", "batch": "", "pages": OOBTree(), "tally": OOBTree()})
            self._image.enter("journals", self._uvm, head)
        if isinstance(head.own("pages"), list):
            head.put("pages", OOBTree(dict(enumerate(head.own("pages")))))
            head.put("tally", OOBTree(head.own("tally", {})))
        return head


def entry(image: Image, message: dict[str, Any], effects: Iterable[Effect], created: Iterable[UvmObject]) -> dict[str, Any]:
    """One message with its effects, in the layout above.

    Of a new object only that it was made is worth keeping, and the nursery or its parents show that; and its names, by which an undo
    lets go of it.
    """
    new = set(map(id, created))
    return {**message, "effects": effects_kept(image, [effect for effect in effects if id(effect[0]) not in new or effect[1] == NAMES])}


def effects_kept(image: Image, effects: Iterable[Effect]) -> list[list[Any]]:
    """Effects as an entry keeps them."""
    return [
        [
            owner,
            slot,
            before is not ABSENT,
            None if before is ABSENT else stored(copied(before)),
            method,
            *left.of(before, after, image.oid_of),
        ]
        for owner, slot, before, after, method in effects
    ]


def _bytes(written: dict[str, Any]) -> int:
    """About what an entry takes, with the large values that have records of their own."""
    total = _ENTRY + sum(len(value) for value in written.values() if type(value) is str) + weight(loaded(written.get("undid", 0)), KEPT)
    for _, slot, _, before, _, *left_there in written["effects"]:
        if type(before) is UvmObject and before._p_jar is None:
            before = loaded(before)
        total += _EFFECT + len(slot) + weight(before, KEPT) + weight(left_there, KEPT)
    return total


def tallies(image: Image, slot: Literal["tally", "asked"] = "tally") -> dict[str, int]:
    """How often each selector was sent (`tally`), or how many drafts each persona wrote (`asked`), as far as the journals know."""
    counted: dict[str, int] = {}
    for head in _heads(image):
        for name, count in head.own(slot, {}).items():
            counted[name] = counted.get(name, 0) + count
    return counted


def spoken_in_drafts(image: Image) -> Spoken:
    """What the model said in drafts, as far as the journals know."""
    return sum((msgspec.convert(head.own("spoken", {}), Spoken) for head in _heads(image)), Spoken())


def _heads(image: Image) -> Iterator[UvmObject]:
    for shard in image.shards("journals"):
        for name in shard.names():
            yield shard.own(name)
