"""Authors whose methods are not trusted any more: what they wrote is in quarantine, and nobody asks them for more.

Layout: table `revocations`, key `<kind>:<name>` of the author (`uvm.image.authors`) → `reason`, `by`, `at` (UTC). The mark of a method
(`revoked`, see `uvm.image.methods`) names the author whose revocation put it there, so that restoring one author does not let run what
another one's revocation keeps. Called within a transaction.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct

from uvm.errors import ImageError, Revoked
from uvm.image import authors, library, methods
from uvm.image.authors import Author
from uvm.image.image import Image
from uvm.image.methods import REVOKED, SHAPE, now, runs
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Reference

MOST: Final = 2000
"""Methods that are put into quarantine, or let out of it, in one transaction."""

Fate = Literal["quarantined", "restored", "replaced", "of another revocation"]


class Judged(Struct, frozen=True):
    """A method and what a revocation or a restoration does to it. `home`: the oid of the object that it was installed on first.
    `successor`: what has come in its place meanwhile."""

    method: UvmObject
    home: bytes
    fate: Fate
    successor: UvmObject | None = None


def find(image: Image, author: Author) -> dict[str, str] | None:
    """The revocation of an author, if there is one."""
    record = image.shard("revocations", author.key).own(author.key)
    return None if record is ABSENT else dict(record)


def check(image: Image, author: Author) -> None:
    """Raises Revoked for an author that is."""
    record = find(image, author)
    if record is not None:
        raise revoked(author, record)


def revoked(author: Author, record: dict[str, str]) -> Revoked:
    """What is said to who asks for an author that is revoked."""
    label = f"{author.name[:12]}…" if author.kind == "adapter" else author.name
    because = f": {record['reason']}" if record["reason"] else ""
    return Revoked(
        f"the {author.kind} {label} was revoked by {record['by'] or 'the image'} at {record['at']}{because}",
        f"batos adapters restore {author.name}" if author.kind == "adapter" else f"batos restore --{author.kind} {author.name}",
        author=author.key,
        **record,
    )


def everyone(image: Image) -> Iterator[tuple[Author, dict[str, str]]]:
    """All authors that are revoked."""
    for leaf in image.shards("revocations"):
        for key in leaf.names():
            kind, _, name = key.partition(":")
            if kind in authors.KINDS:
                yield Author(kind, name), dict(leaf.own(key))


def to_quarantine(image: Image, author: Author) -> Iterator[Judged]:
    """What revoking an author would do, method by method: those that run now."""
    written = authors.methods_of(image, author)
    return (Judged(method, home, "quarantined") for method, home in written if REVOKED not in method._slots)


def revoke(image: Image, author: Author, written: Iterable[UvmObject], reason: str, by: str) -> None:
    """Ask an author for nothing more, and keep these methods of its from running."""
    record = find(image, author)
    if record is None:
        record = {"reason": reason, "by": by, "at": now()}
        image.enter("revocations", author.key, record)
    for method in written:
        methods.revoke(method, {**record, "author": author.key})


def to_restore(image: Image, author: Author) -> Iterator[Judged]:
    """What restoring an author would do, method by method: those that its revocation put into quarantine."""
    for method, home in authors.methods_of(image, author):
        mark = method.own(REVOKED)
        if mark is ABSENT or mark.get("author") != author.key:
            continue
        another = next((co_author for co_author in authors.authors_of(method) if co_author != author and find(image, co_author)), None)
        successor = _successor(image, method, home)
        if another is not None:
            yield Judged(method, home, "of another revocation")
        elif successor is not None:
            yield Judged(method, home, "replaced", successor)
        else:
            yield Judged(method, home, "restored")


def restore(image: Image, author: Author, judged: Iterable[Judged]) -> None:
    """Trust an author again: these of its methods run as before, where nothing has come in their place."""
    if find(image, author) is not None:
        image.shard("revocations", author.key).drop(author.key)
    for judgement in judged:
        if judgement.fate == "restored":
            methods.restore(judgement.method)
        elif judgement.fate == "of another revocation":
            co_author = next(
                co_author for co_author in authors.authors_of(judgement.method) if co_author != author and find(image, co_author)
            )
            methods.revoke(judgement.method, {**(find(image, co_author) or {}), "author": co_author.key})
        else:  # it stays to be read; that it is nobody's any more keeps the next restoration from looking at it again
            methods.revoke(judgement.method, {**judgement.method.own(REVOKED), "author": ""})


def mark_adapter(proxy: UvmObject | None, state: Literal["ready", "revoked"]) -> None:
    """Have an adapter that the image keeps say of itself that it is revoked, or is no more; one that was removed says that."""
    if proxy is not None and proxy.own("state", "ready") in ("ready", "revoked"):
        proxy.put("state", state)


def at_home(image: Image, home: bytes) -> UvmObject | None:
    """The object that a method was installed on first, if it is still there."""
    try:
        return image.at(Reference(home))
    except (ImageError, ValueError):  # packed away, or of an earlier version
        return None


def _successor(image: Image, method: UvmObject, home: bytes) -> UvmObject | None:
    """The method that objects of its shape are given instead, or that was installed where it stood."""
    key = method.own(SHAPE)
    if key is not ABSENT:
        successor = library.current(image, key)
    else:
        holder = at_home(image, home)
        there = holder.own(method.own("selector")) if holder is not None else ABSENT
        successor = there if runs(there) else None
    return successor if successor is not method else None
