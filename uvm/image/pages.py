"""A book of entries in the order in which they were written, in pages: what a journal and a chronicle are made of.

A book has one writer, so that two processes never write one page. Layout of its head: `pages` (BTree: number → page) and `bytes` (of all
pages). A page has the slots `entries`, `bytes` and `tids`; it is full with `PAGE` bytes, so that an entry costs about half of that. What
one transaction writes stands on one page up to `BATCH` bytes: a record costs the image's server and its readers more than its bytes do.
Entries are only ever appended, pages only removed from the old end: a `Position` names an entry for good.

The transaction of an entry is not known while it is written. `tids` says it of all but the newest ones, as pairs [number of entries,
transaction] that each stand for the entries since the pair before; the newest ones are of the transaction that wrote the page last.
Pages of earlier versions lack `tids`, and of their entries no transaction is known.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from BTrees.OOBTree import OOBTree

from uvm.objects import ABSENT, KIND, UvmObject

PAGE: Final = 2048
"""Bytes from which a page is full: the next transaction begins another one."""
BATCH: Final = 16_384
"""Bytes from which a page is full for the transaction that fills it. A batch's entries make one record, and are never written again."""
UNKNOWN: Final = b""
"""The transaction of an entry of an earlier version: older than any other."""
_UNSAVED: Final = bytes(8)


class Position(NamedTuple):
    """Where an entry stands: the number of the page, and its place there."""

    page: int
    offset: int


class Located(NamedTuple):
    """An entry with its place and the transaction that wrote it."""

    position: Position
    tid: bytes
    entry: dict[str, Any]


class Appended(NamedTuple):
    """What became of entries that were written: where they stand, in order, and the numbers of the old pages that went for them."""

    positions: list[Position]
    dropped: list[int]


def append(head: UvmObject, entries: Sequence[tuple[dict[str, Any], int]], most_pages: int, most_bytes: int) -> Appended:
    """Write entries, each with about how many bytes it takes."""
    pages: OOBTree = head.own("pages")
    page: UvmObject | None = pages[pages.maxKey()] if pages else None
    if page is not None and page.own("bytes", PAGE) < PAGE:
        _stamp(page)
    first = 0
    positions: list[Position] = []
    while first < len(entries):
        if page is None or page.own("bytes", PAGE) >= PAGE:
            page = UvmObject({KIND: head.own(KIND), "entries": [], "bytes": 0, "tids": []})
            pages[pages.maxKey() + 1 if pages else 0] = page
        end, octets = first, page.own("bytes")
        while end < len(entries) and octets < BATCH:
            octets += entries[end][1]
            end += 1
        written = len(page.own("entries"))
        positions += [Position(pages.maxKey(), written + number) for number in range(end - first)]
        page.put("entries", [*page.own("entries"), *(entry for entry, _ in entries[first:end])])
        page.put("bytes", octets)
        first = end
    total = head.own("bytes", 0) + sum(octets for _, octets in entries)
    dropped: list[int] = []
    while len(pages) > most_pages or (total > most_bytes and len(pages) > 1):
        dropped.append(pages.minKey())
        total -= pages.pop(dropped[-1]).own("bytes", 0)
    head.put("bytes", total)
    return Appended(positions, dropped)


def newest_first(head: UvmObject, before: Position | None = None) -> Iterator[Located]:
    """The entries, all or those that stand before a position."""
    pages = _pages(head)
    for number in reversed(list(pages.keys(max=before.page) if before is not None else pages.keys())):
        page = pages[number]
        entries = page.own("entries")
        end = before.offset if before is not None and before.page == number else len(entries)
        for offset in reversed(range(min(end, len(entries)))):
            yield Located(Position(number, offset), _tid(page, offset), entries[offset])


def at(head: UvmObject, position: Position) -> Located | None:
    """The entry at a position; None when it is not there any more, or yet."""
    page = _pages(head).get(position.page)
    entries = page.own("entries") if page is not None else []
    return Located(position, _tid(page, position.offset), entries[position.offset]) if position.offset < len(entries) else None


def end_of(head: UvmObject, tid: bytes) -> Position:
    """The position before which all entries up to a transaction stand, the transaction's own among them."""
    pages = _pages(head)
    numbers = list(pages.keys())
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if _tid(pages[numbers[middle]], 0) <= tid:
            low = middle + 1
        else:
            high = middle
    if not low:
        return Position(0, 0)
    page = pages[numbers[low - 1]]
    return Position(numbers[low - 1], sum(1 for offset in range(len(page.own("entries"))) if _tid(page, offset) <= tid))


def _pages(head: UvmObject) -> Any:
    """The pages by number; in heads of earlier versions they are a list."""
    pages = head.own("pages")
    return OOBTree(dict(enumerate(pages))) if isinstance(pages, list) else pages


def _stamp(page: UvmObject) -> None:
    """Before more is written to a page: its newest entries are of the transaction that wrote it last."""
    tids, written, serial = page.own("tids"), len(page.own("entries")), page._p_serial
    if tids is ABSENT:
        page.put("tids", [[written, UNKNOWN], [written, serial]])
    elif serial != _UNSAVED and (not tids or tids[-1][1] != serial):
        page.put("tids", [*tids, [written, serial]])


def _tid(page: UvmObject, offset: int) -> bytes:
    tids = page.own("tids")
    if tids is ABSENT:
        return UNKNOWN
    serial: bytes = page._p_serial
    return next((tid for written, tid in tids if offset < written), serial)
