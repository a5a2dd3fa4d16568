"""Journals and chronicle as one story: every entry has an id that names it for good, and the newest comes first.

An id is `<writer>/<page>.<place>` for an entry of a journal, `<writer>/c<page>.<place>` for one of the chronicle. Entries of the
chronicle of earlier versions, which had no pages, are `earlier/c0.<place>`, the oldest first.
"""

import heapq
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from uvm.errors import Expired, NotRecorded
from uvm.image import pages
from uvm.image.image import Image
from uvm.image.pages import Located, Position
from uvm.objects import UvmObject

EARLIER: Final = "earlier/c"
_ID: Final = re.compile(r"(?P<book>[^/]{1,128}/c?)(?P<page>[0-9]{1,18})\.(?P<place>[0-9]{1,9})")


class Recorded(NamedTuple):
    """An entry of one of the books."""

    book: str
    position: Position
    tid: bytes
    entry: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.book}{self.position.page}.{self.position.offset}"

    @property
    def chronicled(self) -> bool:
        """Whether it is of the chronicle, not of a journal."""
        return self.book.endswith("/c")


class _Book(NamedTuple):
    name: str
    before: Callable[[Position | None], Iterator[Located]]
    at: Callable[[Position], Located | None]
    end_of: Callable[[bytes], Position]


def is_id(text: str) -> bool:
    """Whether a text has the form of an entry's id."""
    return _ID.fullmatch(text) is not None


def find(image: Image, id: str) -> Recorded:
    """The entry of that id. Raises NotRecorded."""
    matched = _ID.fullmatch(id)
    if matched is not None:
        position = Position(int(matched["page"]), int(matched["place"]))
        book = next((book for book in _books(image) if book.name == matched["book"]), None)
        located = book.at(position) if book is not None else None
        if located is not None:
            return Recorded(matched["book"], position, located.tid, located.entry)
    raise NotRecorded(
        f"no journal has an entry {id:.200}",
        "`batos history` shows those that there are; the oldest ones go when a journal is full",
        entry=id[:200],
    )


def newest_first(image: Image, before: str = "", chronicle: bool = False) -> Iterator[Recorded]:
    """All entries, or those that come after the entry `before`; `chronicle`: those of the chronicle alone. Raises Expired."""
    cursor = None
    if before:
        try:
            cursor = find(image, before)
        except NotRecorded as error:
            raise Expired(
                f"the entry {before:.200}, after which the next page begins, is not kept any more", "ask for the first page again"
            ) from error
    streams = [_stream(book, cursor) for book in _books(image) if book.name.endswith("/c") or not chronicle]
    return heapq.merge(*streams, key=_order, reverse=True)


def of_transaction(image: Image, tid: bytes) -> list[Recorded]:
    """What a transaction wrote, the newest first."""
    written = []
    for book in _books(image):
        for located in book.before(book.end_of(tid)):
            if located.tid != tid:
                break
            written.append(Recorded(book.name, *located))
    return sorted(written, key=_order, reverse=True)


def _order(recorded: Recorded) -> tuple[bytes, str]:
    return recorded.tid, recorded.book


def _stream(book: _Book, cursor: Recorded | None) -> Iterator[Recorded]:
    begin = None
    if cursor is not None and book.name == cursor.book:
        begin = cursor.position
    elif cursor is not None:
        # Of one transaction, a book whose name comes later in the alphabet comes first.
        begin = book.end_of(cursor.tid if book.name < cursor.book else _before(cursor.tid))
    for located in book.before(begin):
        if cursor is None or book.name == cursor.book or (located.tid, book.name) < _order(cursor):
            yield Recorded(book.name, *located)


def _before(tid: bytes) -> bytes:
    return (int.from_bytes(tid) - 1).to_bytes(8) if tid and any(tid) else b""


def _books(image: Image) -> list[_Book]:
    books = [
        _of_head(f"{writer}/", head) for leaf in image.shards("journals") for writer, head in _records(leaf) if isinstance(head, UvmObject)
    ]
    earlier: list[dict[str, Any]] = []
    for leaf in image.shards("chronicle"):
        for writer, record in _records(leaf):
            if isinstance(record, UvmObject):
                books.append(_of_head(f"{writer}/c", record))
            elif isinstance(record, dict):
                earlier.append(record)
    if earlier:
        books.append(_of_earlier(earlier))
    return books


def _records(leaf: UvmObject) -> list[tuple[str, Any]]:
    return [(key, leaf.own(key)) for key in leaf.names()]


def _of_head(name: str, head: UvmObject) -> _Book:
    return _Book(
        name,
        lambda before: pages.newest_first(head, before),
        lambda position: pages.at(head, position),
        lambda tid: pages.end_of(head, tid),
    )


def _of_earlier(records: list[dict[str, Any]]) -> _Book:
    """A book of what earlier versions wrote: `at` (a text), `kind`, and facts."""
    ordered = sorted(records, key=lambda record: float(record.get("at", 0)))
    entries = [
        {
            "kind": record.get("kind", ""),
            "at": int(float(record.get("at", 0))),
            "author": record.get("author", ""),
            "facts": {name: value for name, value in record.items() if name not in ("kind", "at", "author")},
        }
        for record in ordered
    ]

    def before(position: Position | None) -> Iterator[Located]:
        end = len(entries) if position is None else min(position.offset, len(entries))
        return (Located(Position(0, offset), pages.UNKNOWN, entries[offset]) for offset in reversed(range(end)))

    def at(position: Position) -> Located | None:
        there = position.page == 0 and position.offset < len(entries)
        return Located(position, pages.UNKNOWN, entries[position.offset]) if there else None

    return _Book(EARLIER, before, at, lambda tid: Position(0, len(entries)))
