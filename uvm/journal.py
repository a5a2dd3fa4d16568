"""What each changing message changed: the ground for undo, blame and lineage. And the chronicle of what mattered.

One journal per UVM name, so that two UVMs never write the same record. The head holds the id of its newest batch: after a
commit whose acknowledgement was lost, that id says whether it happened. Entries go to pages of `PAGE`; the newest `PAGES` are kept.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from uvm.entropy import Spoken
from uvm.image import Image
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.values import copied

PAGE: Final = 64
PAGES: Final = 2000
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

    @property
    def batch(self) -> str:
        """The id of the newest batch that this journal's UVM committed."""
        head = self._image.shard("journals", self._uvm).own(self._uvm)
        return "" if head is ABSENT else head.own("batch")

    def mark(self, batch: str, sent: Mapping[str, int] | None = None) -> None:
        """Say that the current transaction is this batch; `sent` is added to the tally of selectors."""
        head = self._head()
        head.put("batch", batch)
        if sent:
            tally = dict(head.own("tally", {}))
            for selector, count in sent.items():
                if selector in tally or len(tally) < TALLIED:
                    tally[selector] = tally.get(selector, 0) + count
            head.put("tally", tally)

    def spoke(self, spoken: Spoken, asked: Mapping[str, int]) -> None:
        """Add to the tally what the model said, and how many drafts each persona wrote."""
        head = self._head()
        before = head.own("spoken", {})
        head.put("spoken", msgspec.to_builtins(msgspec.convert(before, Spoken) + spoken))
        drafts = dict(head.own("asked", {}))
        for persona, count in asked.items():
            if persona in drafts or len(drafts) < ASKED:
                drafts[persona] = drafts.get(persona, 0) + count
        head.put("asked", drafts)

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Append the entries of a batch; once per transaction, since each time writes the newest page anew."""
        head = self._head()
        pages: list[UvmObject] = head.own("pages")
        while entries:
            if not pages or len(pages[-1].own("entries")) >= PAGE:
                pages = [*pages, UvmObject({KIND: "journal", "entries": []})][-PAGES:]
                head.put("pages", pages)
            written = pages[-1].own("entries")
            fitting, entries = entries[: PAGE - len(written)], entries[PAGE - len(written) :]
            pages[-1].put("entries", [*written, *fitting])

    def entries(self) -> Iterable[dict[str, Any]]:
        """All entries that are kept, newest first."""
        head = self._image.shard("journals", self._uvm).own(self._uvm)
        for page in reversed(head.own("pages") if head is not ABSENT else []):
            yield from reversed(page.own("entries"))

    def _head(self) -> UvmObject:
        shard = self._image.shard("journals", self._uvm)
        known = shard.own(self._uvm)
        head: UvmObject = known
        if known is ABSENT:
            head = UvmObject({KIND: "journal", "batch": "", "pages": []})
            shard.put(self._uvm, head)
        return head


def entry(message: dict[str, Any], effects: Iterable[Effect], made: Iterable[UvmObject]) -> dict[str, Any]:
    """One message with its effects: object, slot, whether there was a value and which, and the method that did it.

    Of a new object only that it was made is worth keeping, and the nursery or its parents show that.
    """
    new = set(map(id, made))
    kept = [
        [owner, slot, before is not ABSENT, None if before is ABSENT else copied(before), method]
        for owner, slot, before, _, method in effects
        if id(owner) not in new
    ]
    return {**message, "effects": kept}


def tallies(image: Image, slot: Literal["tally", "asked"] = "tally") -> dict[str, int]:
    """How often each selector was sent (`tally`), or how many drafts each persona wrote (`asked`), as far as the journals know."""
    counted: dict[str, int] = {}
    for head in _heads(image):
        for name, count in head.own(slot, {}).items():
            counted[name] = counted.get(name, 0) + count
    return counted


def said(image: Image) -> Spoken:
    """What the model said in drafts, as far as the journals know."""
    return sum((msgspec.convert(head.own("spoken", {}), Spoken) for head in _heads(image)), Spoken())


def _heads(image: Image) -> Iterator[UvmObject]:
    for shard in image.shards("journals"):
        for name in shard.names():
            yield shard.own(name)


def chronicle(image: Image, kind: str, **facts: Any) -> None:
    """Write down what mattered: a birth, an install, an undo. A pack does not erase it."""
    moment = f"{time.time():.6f}"
    image.shard("chronicle", moment).put(f"{moment}:{kind}", {"at": moment, "kind": kind, **facts})
