"""The image as one process sees it: a database connection and the kernel's own roots in it.

Owned by one thread. `Image.open` is a ZEO client; the trial child builds an Image on a storage of its own.

Layout of the root: `names` (BTree: name → object), `codex`, and the kernel's tables (`tables`): `receipts`, `messages`, `library`,
`nursery`, `journals`, `chronicle`, `undone`, `accounts`, `models`, `adapters`, `authors`, `revocations`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Final

import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from transaction.interfaces import NoTransaction, TransientError
from ZODB.Connection import Connection
from ZODB.POSException import POSError, POSKeyError, StateLoadError
from ZODB.utils import p64, u64, z64

from uvm.errors import DamagedRecord, NoSuchObject
from uvm.image import tables
from uvm.objects import ABSENT, KIND, NAMES, PARENTS, STORED, UvmObject
from uvm.protocol import Reference

KERNEL_ROOTS: Final = (
    "receipts",
    "messages",
    "library",
    "nursery",
    "journals",
    "chronicle",
    "undone",
    "accounts",
    "models",
    "adapters",
    "authors",
    "revocations",
)


VISIBLE: Final = frozenset({ABSENT, "codex", "method", "message", "model", "adapter"})
"""Kinds of objects that tools and methods may look at; the others are the kernel's books."""


class ForeignRecord(Exception):
    """A record names a class that the image does not store."""


def allowed_class(module: str, name: str) -> type:
    """The class that a record names, if it is one that the image stores. Raises ForeignRecord."""
    if name not in STORED.get(module, ()):
        raise ForeignRecord(f"a record names {module}.{name}, which the image does not store")
    stored_class = getattr(__import__(module, fromlist=[name]), name)
    if not isinstance(stored_class, type):
        raise ForeignRecord(f"{module}.{name} is no class")
    return stored_class


class _Connection(Connection):
    """A connection on which a record that cannot be loaded is an error of its own kind, which names the object."""

    def get(self, oid: bytes) -> Any:
        """The object of that oid. Raises POSKeyError when there is none, DamagedRecord when its class cannot be told."""
        try:
            return super().get(oid)
        except (POSError, TransientError):
            raise
        except Exception as error:
            raise _damaged(oid, error) from error

    def setstate(self, obj: Any) -> None:
        """Load an object's state. Raises DamagedRecord."""
        try:
            super().setstate(obj)
        except StateLoadError as error:
            raise _damaged(obj._p_oid, error.__cause__ or error) from error
        except POSKeyError as error:
            if self.before is not None:
                raise  # the state of a snapshot was packed away
            raise _damaged(obj._p_oid, error) from error
        if type(obj) is UvmObject and (wrong := _misshapen(obj.__dict__)):
            raise _damaged(obj._p_oid, ForeignRecord(wrong))


def _misshapen(state: dict[str, Any]) -> str:
    """What is wrong with the state of a UvmObject; nothing, if it has the format of `uvm.objects`."""
    slots = state.get("_slots")
    if type(slots) is not dict or len(state) != 1:
        return "it is no object with slots"
    if not all(type(name) is str for name in slots):
        return "a slot is not named by a text"
    parents = slots.get(PARENTS, [])
    if type(parents) is not list or not all(type(parent) is UvmObject for parent in parents):
        return "its parents are no list of objects"
    return ""


def _damaged(oid: bytes, error: BaseException) -> DamagedRecord:
    return DamagedRecord(
        f"the record of {Reference(oid)} cannot be loaded: {type(error).__name__}: {error}"[:500],
        "batos image verify lists what is damaged; a backup has it as it was",
        object=str(Reference(oid)),
    )


class Database(ZODB.DB):
    """A database whose records name what the image stores, and nothing else.

    Both are attributes of the class: ZODB opens and pools a connection before its constructor returns, and that one obeys as well.
    """

    klass = _Connection

    def classFactory(self, connection: object, modulename: str, globalname: str) -> type:
        """The class of a record. Raises ForeignRecord."""
        return allowed_class(modulename, globalname)


class Image:
    """A connection with its own transaction manager."""

    def __init__(self, database: Database, before: bytes | None = None) -> None:
        """`before`: as it was before that transaction; without one, as it is at each `begin`."""
        self.database = database
        self.manager = transaction.TransactionManager(explicit=True)
        self.connection: Connection = database.open(self.manager, before=before)
        self._primordial: frozenset[bytes] | None = None
        self.writer = "kernel"
        """Who writes through this connection: a UVM's name, or a program's. Its books in the image are its own."""

    @contextmanager
    def as_of(self, tid: bytes) -> Iterator["Image"]:
        """The image as that transaction left it, to look at: another connection, closed in the end."""
        view = Image(self.database, p64(u64(tid) + 1))
        view.manager.begin()
        try:
            yield view
        finally:
            view.manager.abort()
            view.connection.close()

    def close(self) -> None:
        """Abort what is open and close connection and database."""
        with suppress(NoTransaction):
            self.manager.abort()
        self.connection.close()
        self.database.close()

    @property
    def root(self) -> Any:
        return self.connection.get(z64)

    @property
    def awake(self) -> bool:
        """Whether the primordial objects are there."""
        return "codex" in self.root

    @property
    def names(self) -> OOBTree:
        names: OOBTree = self.root["names"]
        return names

    def named(self, name: str) -> UvmObject:
        """The object of that name. Raises NoSuchObject with the nearest names."""
        target = self.root["names"].get(name)
        if type(target) is not UvmObject:
            near = [candidate for candidate in islice(self.names.keys(name[:1]), 8) if candidate.startswith(name[:1])]
            raise NoSuchObject(
                f"no object is named {name!r}", f"names like it: {', '.join(near)}" if near else "batos objects lists the names"
            )
        return target

    def names_of(self, owner: UvmObject) -> list[str]:
        """The names under which an object is known, alphabetically."""
        return list(owner.own(NAMES, ()))

    def is_primordial(self, owner: UvmObject) -> bool:
        """Whether the image was born with this object: what `policy` alone changes."""
        if self._primordial is None:
            self._primordial = frozenset(primordial._p_oid for primordial in self.primordial())
        return owner._p_oid in self._primordial

    def primordial(self) -> list[UvmObject]:
        """The objects that the image was born with."""
        root = self.root
        named = [self.names.get(name) for name in root.get("primordial", ())]
        return [born for born in [*named, root.get("message_traits"), root.get("router")] if born is not None]

    def changed(self) -> list[Any]:
        """The objects that would be stored by now, since the newest savepoint; those that they newly refer to are not listed."""
        registered: list[Any] = self.connection._registered_objects
        return registered

    def give_name(self, owner: UvmObject, name: str) -> None:
        """Make an object known by a name, in the current transaction; the caller has checked that it is free."""
        self.names[name] = owner
        owner.put(NAMES, sorted({*self.names_of(owner), name}))

    def take_name(self, owner: UvmObject, name: str) -> None:
        """Take a name away, in the current transaction."""
        del self.names[name]
        owner.put(NAMES, [known_as for known_as in self.names_of(owner) if known_as != name])

    def at(self, reference: Reference) -> UvmObject:
        """The object with that oid. Raises NoSuchObject."""
        try:
            target = self.connection.get(reference.oid)
        except POSKeyError:
            target = None
        if not isinstance(target, UvmObject):
            raise NoSuchObject(
                f"no object has the reference {reference}", "it may have been dropped: references live as long as somebody holds them"
            )
        return target

    def visible(self, reference: Reference) -> UvmObject:
        """The object with that oid, for a tool or a method. Raises NoSuchObject, for the kernel's books as well."""
        target = self.at(reference)
        if target.own(KIND) not in VISIBLE:
            raise NoSuchObject(f"no object has the reference {reference}", "what the kernel keeps for itself is not to be looked at")
        return target

    def target(self, target: str | Reference) -> UvmObject:
        """The object that a tool names. `@2a` is a reference in text."""
        if isinstance(target, Reference):
            return self.visible(target)
        if target.startswith("@"):
            try:
                return self.visible(Reference.parse(target))
            except ValueError as error:
                raise NoSuchObject(str(error)) from error
        return self.named(target)

    def reference(self, target: UvmObject) -> Reference:
        """The reference of an object; a new object gets its oid now."""
        return Reference(self.oid_of(target))

    def oid_of(self, target: Any) -> bytes:
        """The oid of an object; a new one gets it now."""
        if target._p_oid is None:
            self.connection.add(target)
        oid: bytes = target._p_oid
        return oid

    def read_current(self, objects: Iterable[UvmObject]) -> None:
        """Have the commit fail with a conflict if the record of one of these changed meanwhile."""
        for target in objects:
            if target._p_jar is not None:
                target._p_jar.readCurrent(target)

    def shard(self, root: str, key: str) -> UvmObject:
        """The kernel object in whose slots the record of `key` is, if there is one. To add a record, use `enter`."""
        return tables.leaf(self.root[root], key)

    def enter(self, root: str, key: str, value: Any) -> None:
        """Write the record of `key` into a kernel table, in the current transaction."""
        tables.enter(self.root[root], key, value)

    def strike(self, root: str, key: str) -> None:
        """Remove the record of `key` from a kernel table, if there is one, in the current transaction."""
        tables.strike(self.root[root], key)

    def shards(self, root: str, numbers: Iterable[int] = range(tables.SHARDS)) -> Iterator[UvmObject]:
        """All kernel objects of one root that hold records, or those of some of its shards."""
        return tables.leaves(self.root[root], numbers)
