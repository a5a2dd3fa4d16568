"""Who wrote which methods, so that all of an author's can be found at once.

An author is an adapter (its digest), a persona, or, of offered and imported methods, the principal and the session that did so.
Layout: table `authors`, key `<kind>:<name>` → head with `methods`: BTree, oid → [method, oid of the object that it was installed on first].
Two processes that enter different methods of one author merge. Called within a transaction.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, get_args

from BTrees.OOBTree import OOBTree

from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import IMPORTED
from uvm.image.queries import reachable
from uvm.objects import ABSENT, KIND, UvmObject

Kind = Literal["adapter", "persona", "principal", "session"]
_AHEAD: Final = 256
"""Methods that are asked for at once."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Author(NamedTuple):
    """Whose methods they are."""

    kind: Kind
    name: str

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"


def authors_of(method: UvmObject) -> list[Author]:
    """Who wrote a method, as its proof says; nobody for what the kernel made."""
    proof = method.own("proof")
    if not isinstance(proof, dict) or "mode" not in proof:
        return []
    if proof["mode"] == "offered":
        return offering(str(proof.get("principal", "")), str(proof.get("session", "")))
    if proof["mode"] == IMPORTED:
        return [*offering(str(proof.get("principal", "")), str(proof.get("session", ""))), *_claimed(proof)]
    adapter = str(proof.get("adapter", "")).rpartition("@")[2]
    return [*([Author("adapter", adapter)] if adapter else []), Author("persona", str(method.own("author")))]


def _claimed(proof: dict[str, Any]) -> list[Author]:
    """The adapter that an imported method is said to be by: a claim that counts against it alone, so it is taken at its word."""
    claimed = proof.get("claimed")
    first = claimed.get("proof") if isinstance(claimed, dict) else None
    adapter = str(first.get("adapter", "")).rpartition("@")[2] if isinstance(first, dict) else ""
    return [Author("adapter", adapter)] if adapter else []


def offering(principal: str, session: str) -> list[Author]:
    """Who is behind what a tool offers."""
    offered: list[tuple[Kind, str]] = [("principal", principal), ("session", session)]
    return [Author(kind, name) for kind, name in offered if name]


def enter(image: Image, method: UvmObject, holder: bytes) -> None:
    """A method was written, and installed on the object of this oid."""
    oid = image.reference(method).oid
    for author in authors_of(method):
        head = image.shard("authors", author.key).own(author.key)
        if head is ABSENT:
            head = UvmObject({KIND: "author", "methods": OOBTree()})
            image.enter("authors", author.key, head)
        head.own("methods")[oid] = [method, holder]


def leave(image: Image, method: UvmObject) -> bytes:
    """A method object is about to be somebody else's; the oid of the object that it was installed on first."""
    home = b""
    for author in authors_of(method):
        _, home = _methods(image, author).pop(method._p_oid, (method, home))
    return home


def methods_of(image: Image, author: Author) -> Iterator[tuple[UvmObject, bytes]]:
    """All methods of an author, in the order of their objects' ids, each with the oid of the object that it was installed on first."""
    entered = iter(_methods(image, author).values())
    while portion := list(islice(entered, _AHEAD)):
        # Asked for one by one, records cost a round trip to the server each.
        image.connection.prefetch([oid for method, home in portion for oid in (method._p_oid, home) if oid])
        yield from portion


def count(image: Image, author: Author) -> int:
    """How many methods an author wrote."""
    return len(_methods(image, author))


def has_written(image: Image, author: Author) -> bool:
    """Whether an author ever wrote a method of this image."""
    return image.shard("authors", author.key).own(author.key) is not ABSENT


def gather(image: Image) -> int:
    """Enter the methods of an image of an earlier version; how many there are."""
    entered = 0
    for method, holder in _all_methods(image):
        if authors_of(method):
            enter(image, method, holder)
            entered += 1
    return entered


def _methods(image: Image, author: Author) -> Any:
    head = image.shard("authors", author.key).own(author.key)
    return {} if head is ABSENT else head.own("methods")


def _all_methods(image: Image) -> Iterator[tuple[UvmObject, bytes]]:
    """Methods that are in force, and then those that they replaced, each once."""
    visited: set[bytes] = set()
    older: list[Any] = []
    for method, holder in _mentioned(image):
        if image.reference(method).oid not in visited:
            visited.add(image.reference(method).oid)
            older.append(method.own("replaced"))
            yield method, holder
    for replaced in older:
        method = replaced
        while is_method(method) and image.reference(method).oid not in visited:
            visited.add(image.reference(method).oid)
            yield method, b""
            method = method.own("replaced")


def _mentioned(image: Image) -> Iterator[tuple[UvmObject, bytes]]:
    """Methods in message objects, in the library, and in the slots of objects that somebody can come to."""
    for table in ("messages", "library"):
        for leaf in image.shards(table):
            for record in map(leaf.own, leaf.names()):
                method = record.own("method") if type(record) is UvmObject and not is_method(record) else record
                if is_method(method):
                    holder = record.own("installed_on")
                    yield method, image.reference(holder).oid if type(holder) is UvmObject else b""
    leased = (leaf.own(key)[0] for leaf in image.shards("nursery") for key in leaf.names())
    for holder in reachable([*image.names.values(), *leased], []):
        for name in holder.names():
            if is_method(value := holder.own(name)):
                yield value, image.reference(holder).oid
