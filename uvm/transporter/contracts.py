"""What the methods of an import have to satisfy: whether it was tested, and what is to be tested before the one commit.

Called by the importer within its transaction, once everything is as it would be stored. Methods with examples that were not tested end the
attempt (`UntestedImport`), which takes all of it back. The machine has each of them tried in a process of its own, on the records that the
attempt would have stored, and runs the import again from its start with the verdict (`ImportVerdict`). That is of this bundle, and of an
image in which what the trials have read is as it was: else they are tested again.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct
from ZODB.serialize import ObjectWriter
from ZODB.utils import z64

from uvm.errors import AttemptEnded, BadExport, QuotaExceeded
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import quarantined
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.rights import Limits, Right
from uvm.runtime.attempt import Attempt
from uvm.transporter.plan import Arrival
from uvm.values.examples import Clause, agree

MOST: Final = 1000
"""Methods with examples that one import brings in."""
_USERS: Final = 64
"""Objects that are looked at, of those that inherit a method, for one that its examples fit."""


class MethodTest(Struct, frozen=True):
    """A method and what it has to satisfy: `on` the object of that key, as a message to `receiver`, an oid."""

    on: str
    selector: str
    receiver: bytes
    clauses: list[Clause]


class ImportTest(Struct, frozen=True, kw_only=True):
    """Everything that is to be tested of an import. `bundle`: its digest. `overlay`: the records that it would store, by oid; `changed`:
    of those of objects that are there, the transaction that wrote what they change."""

    bundle: bytes
    tests: list[MethodTest]
    overlay: dict[bytes, bytes]
    changed: dict[bytes, bytes]
    asked_at: float
    rights: frozenset[Right]
    limits: Limits
    principal: str


class ImportVerdict(Struct, frozen=True):
    """All methods of the bundle do what their examples say, as of the records that were read: oid → transaction."""

    bundle: bytes
    read: dict[bytes, bytes]


class UntestedImport(AttemptEnded):
    """Methods of an import have to be tried on their examples first."""

    def __init__(self, test: ImportTest) -> None:
        super().__init__(f"{len(test.tests)} imported methods are not tested")
        self.test = test


class Contracts(Struct, frozen=True):
    """The methods that came in: those that have to satisfy something, with their tests, and how many have not, or are out of use."""

    methods: list[UvmObject]
    tests: list[MethodTest]
    untested: int
    out_of_use: int


def digest_of(bundle: bytes) -> bytes:
    """What tells a bundle from any other."""
    return hashlib.sha256(bundle).digest()


def contracts(image: Image, arrivals: Sequence[Arrival], is_new: Callable[[UvmObject], bool]) -> Contracts:
    """What the methods that come in have to satisfy; their objects have them already. `is_new`: whether an import has made a method.

    A method is tried on its object or, where the examples name slots that this has not, on the first of those that share or inherit it, and
    have them.
    Raises Contradiction, BadExport for what is no example, and QuotaExceeded for more than MOST.
    """
    users = _users(arrivals)
    seen: set[int] = set()
    behaviours: list[UvmObject] = []
    tests: list[MethodTest] = []
    untested = out_of_use = 0
    for arrival in arrivals:
        for selector, method in arrival.slots.items():
            if not is_method(method) or not is_new(method) or id(method) in seen:
                continue
            seen.add(id(method))
            if not contract.legible(method, image.reference):
                raise BadExport(f"the examples of {selector} of {arrival.key} cannot be read", "export it again, or mend its file")
            clauses = contract.clauses_of(method, image.reference)
            if quarantined(method):
                out_of_use += 1
            elif not clauses:
                untested += 1
            else:
                agree(selector, clauses)
                receiver = next((user for user in users[id(method)] if _fits(user, selector, method, clauses)), arrival.object)
                behaviours.append(method)
                tests.append(MethodTest(arrival.key, selector, image.reference(receiver).oid, clauses))
    if len(tests) > MOST:
        raise QuotaExceeded(
            f"{len(tests):,} of the methods have examples; an import brings in {MOST:,} such methods", "import fewer objects at a time"
        )
    return Contracts(behaviours, tests, untested, out_of_use)


def note(contracts: Contracts) -> None:
    """Have the methods that hold say so; they are new, and the transaction's own."""
    for method, test in zip(contracts.methods, contracts.tests, strict=True):
        method.put("proof", {**method.own("proof"), "trial": f"{len(test.clauses)} examples held in this image"})


def stands(image: Image, verdict: ImportVerdict | None, bundle: bytes) -> bool:
    """Whether a verdict is about this bundle and the image as it is; if it is, the commit fails with a conflict where that changes."""
    if verdict is None or verdict.bundle != bundle:
        return False
    read: list[UvmObject] = []
    for oid, tid in verdict.read.items():
        seen: Any = image.connection.get(oid)
        seen._p_activate()
        if seen._p_serial != tid:
            return False
        read.append(seen)
    image.read_current(read)
    return True


def to_test(image: Image, attempt: Attempt, tests: list[MethodTest], bundle: bytes) -> ImportTest:
    """The test, with what the attempt would store: called before it is rolled back."""
    return ImportTest(
        bundle=bundle,
        tests=tests,
        overlay=_records(image, attempt),
        changed={changed._p_oid: changed._p_serial for changed in image.changed() if _is_stored(changed)},
        asked_at=attempt.now,
        rights=attempt.rights,
        limits=attempt.limits,
        principal=attempt.principal,
    )


def _records(image: Image, attempt: Attempt) -> dict[bytes, bytes]:
    """What the attempt has changed or made, as it would be stored: objects, and the tables that they stand in."""
    # The attempt's first change made a savepoint, so that what is registered now is its own.
    pending: list[Any] = [*image.changed(), *attempt.created.values()]
    records: dict[bytes, bytes] = {}
    while pending:
        changed = pending.pop()
        oid = changed._p_oid if changed._p_oid is not None else image.reference(changed).oid
        if oid not in records:
            writer = ObjectWriter(changed)
            records[oid] = writer.serialize(changed)
            pending.extend(new for new in writer if new._p_serial == z64)
    return records


def _is_stored(changed: Any) -> bool:
    """Whether it is an object that the image has, and none of the kernel's tables."""
    return type(changed) is UvmObject and KIND not in changed._slots and changed._p_serial != z64


def _users(arrivals: Sequence[Arrival]) -> dict[int, list[UvmObject]]:
    """For each method that comes in, the first of the objects that have it in a slot, and then of those that inherit it."""
    holders: dict[int, list[UvmObject]] = {}
    held: dict[int, list[UvmObject]] = {}
    for arrival in arrivals:
        for method in filter(is_method, arrival.slots.values()):
            holders.setdefault(id(method), []).append(arrival.object)
            held.setdefault(id(arrival.object), []).append(method)
    for arrival in arrivals:
        for ancestor in arrival.object.chain():
            for method in held.get(id(ancestor), ()) if ancestor is not arrival.object else ():
                if len(holders[id(method)]) < _USERS:
                    holders[id(method)].append(arrival.object)
    return holders


def _fits(receiver: UvmObject, selector: str, method: UvmObject, clauses: Sequence[Clause]) -> bool:
    """Whether an object understands the message so, and has the slots that the examples name."""
    if receiver.lookup(selector) is not method:
        return False
    named = {name for clause in clauses for name in (*clause.state, *(clause.example.slots or {}), *(clause.example.changed or {}))}
    return all((value := receiver.lookup(name)) is not ABSENT and not is_method(value) for name in named)
