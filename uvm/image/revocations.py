"""Authors whose methods are not trusted any more: what they wrote is in quarantine, and nobody asks them for more.

Layout: table `revocations`, key `<kind>:<name>` of the author (`uvm.image.authors`) → `reason`, `by`, `at` (UTC), and `unfinished`
(`revocation` or `restoration`) as long as there are methods that it has still to come to: one transaction does a portion of `MOST`. The
mark of a method (`revoked`, see `uvm.image.methods`) names the author whose revocation put it there, so that restoring one author does not
let run what another one's revocation keeps. Called within a transaction.

Marks are written method by method, so that whoever looks up a method asks no more than before. What is not at its end is gone on with by
the same message, sent again, or else by the heartbeat (`go_on`), whoever died in between.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Literal

from msgspec import Struct

from uvm.errors import ImageError, Revoked
from uvm.image import authors, library, methods, model_registry
from uvm.image.authors import Author
from uvm.image.image import Image
from uvm.image.methods import REVOKED, SHAPE, now, runs
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Reference

MOST: Final = 2000
"""Methods that are put into quarantine, or let out of it, in one transaction."""
UNFINISHED: Final = "unfinished"

Unfinished = Literal["revocation", "restoration"]
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


def trusted_adapter(image: Image, persona: UvmObject) -> UvmObject | None:
    """The nearest adapter up a persona's chain of parents that is not revoked; none where it says with None that it shall speak without."""
    if persona.lookup("adapter") is None:
        return None
    for ancestor in persona.chain():
        adapter = ancestor.own("adapter")
        if type(adapter) is not UvmObject or adapter.own(KIND) != "adapter":
            continue  # somebody's word, as the adapter of a camera
        if find(image, Author("adapter", str(adapter.own("digest")))) is None:
            return adapter
    return None


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


def portion(judged: Iterator[Judged]) -> tuple[list[Judged], bool]:
    """What one transaction does, and whether there is more."""
    first = list(islice(judged, MOST + 1))
    return first[:MOST], len(first) > MOST


def finished(image: Image, author: Author) -> bool:
    """Whether an author is revoked, and nothing is left to be done about it."""
    record = find(image, author)
    return record is not None and UNFINISHED not in record


def revoke(image: Image, author: Author, judged: Iterable[Judged], reason: str, by: str, *, left: bool = False) -> None:
    """Ask an author for nothing more, and keep these methods of its from running. `left`: there are others."""
    record = find(image, author) or {"reason": reason, "by": by, "at": now()}
    _note(image, author, record, "revocation" if left else "")
    if author.kind == "adapter":
        _mark_adapter(model_registry.at(image, "adapter", author.name), "revoked")
    for each in judged:
        methods.revoke(each.method, {**_plain(record), "author": author.key})


def go_on(image: Image) -> tuple[Author, Unfinished, list[Judged]] | None:
    """Do another portion of what is unfinished: of whom, which of the two, and what was done; None where nothing is unfinished."""
    for author, record in everyone(image):
        if record.get(UNFINISHED) == "revocation":
            judged, left = portion(to_quarantine(image, author))
            revoke(image, author, judged, record["reason"], record["by"], left=left)
            return author, "revocation", judged
        if record.get(UNFINISHED) == "restoration":
            judged, left = portion(to_restore(image, author))
            restore(image, author, judged, left=left)
            return author, "restoration", judged
    return None


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


def restore(image: Image, author: Author, judged: Sequence[Judged], *, left: bool = False) -> None:
    """Trust an author again: these of its methods run as before, where nothing has come in their place. `left`: there are others, and until
    these have had their turn nobody asks the author."""
    record = find(image, author)
    if record is not None and left:
        _note(image, author, record, "restoration")
    elif record is not None:
        image.shard("revocations", author.key).drop(author.key)
    if author.kind == "adapter" and not left:
        _mark_adapter(model_registry.at(image, "adapter", author.name), "ready")
    for judgement in judged:
        if judgement.fate == "restored":
            methods.restore(judgement.method)
        elif judgement.fate == "of another revocation":
            co_author = next(
                co_author for co_author in authors.authors_of(judgement.method) if co_author != author and find(image, co_author)
            )
            methods.revoke(judgement.method, {**_plain(find(image, co_author) or {}), "author": co_author.key})
        else:  # it stays to be read; that it is nobody's any more keeps the next restoration from looking at it again
            methods.revoke(judgement.method, {**judgement.method.own(REVOKED), "author": ""})


def _note(image: Image, author: Author, record: dict[str, str], unfinished: str) -> None:
    noted = {**_plain(record), **({UNFINISHED: unfinished} if unfinished else {})}
    if find(image, author) != noted:
        image.enter("revocations", author.key, noted)


def _plain(record: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in record.items() if name != UNFINISHED}


def _mark_adapter(proxy: UvmObject | None, state: Literal["ready", "revoked"]) -> None:
    """Have an adapter that the image keeps say of itself that it is revoked, or is no more; one that was removed says that."""
    if proxy is not None and proxy.own("state", "ready") in ("ready", "revoked") and proxy.own("state", "ready") != state:
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
