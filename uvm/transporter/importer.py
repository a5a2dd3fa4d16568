"""An import: the bundle is read, a plan is made, and the plan is carried out, all in the transaction of one message.

Where methods come in that have examples, it is carried out twice: first for what they are tried on, which is taken back, and once they hold
(`uvm.transporter.contracts`) to stay. What it changes goes through the attempt, as what a method changes does: so the gate weighs it, the
journal has it, quotas bound it, and a failure takes all of it back.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec
from ZODB.blob import Blob

from uvm.errors import BadArguments, BadExport, NotAllowed, QuotaExceeded
from uvm.history import chronicle
from uvm.image import authors, contract, model_registry
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.stored import Growth
from uvm.objects import ABSENT, NAMES, PARENTS, UvmObject, same_value
from uvm.protocol import Bundle, Import, decode_bundle
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_change
from uvm.transporter import blobs, contracts, plan, uploads
from uvm.transporter.contracts import Contracts, ImportVerdict, UntestedImport
from uvm.transporter.methods import Importing
from uvm.transporter.parts import referents
from uvm.transporter.plan import Arrival, ImportOptions, ImportPlan

LISTED: Final = 1000
"""Names, methods and changed objects that an answer lists."""


class Imported:
    """What came of an import: what is answered, new objects that nothing refers to but the tool, and what its files weigh."""

    def __init__(self, answer: dict[str, Any], roots: list[UvmObject], grown: list[Growth]) -> None:
        self.answer = answer
        self.roots = roots
        self.grown = grown


def take_in(
    image: Image,
    attempt: Attempt,
    request: Import,
    principal: str,
    session: str,
    alive: Callable[[], None],
    verdict: ImportVerdict | None = None,
) -> Imported:
    """Carry out an Import; one with `preview` is to be taken back by the caller. `verdict`: of an earlier attempt's test.

    Raises UntestedImport, what `plan.plan_of` and `contracts.contracts` do, QuotaExceeded, NoSuchObject.
    """
    if "send" not in attempt.rights:
        raise NotAllowed("importing objects needs the right `send` beside `create`, as it changes objects", "import it with both")
    upload = None if request.upload is None else uploads.of(image, request.upload, principal)
    if (upload is None) == (not request.bundle):
        raise BadArguments("an Import has a bundle, or an upload with one", "send the one or the other")
    encoded = request.bundle if upload is None else uploads.bundle(upload)
    bundle = _bundle(encoded)
    by = Importing(principal, session, attempt.rights, attempt.now, bundle.image, bundle.tid)
    uploaded = uploads.files(upload) if upload is not None else {}
    if sum(uploaded.values()) > attempt.limits.bytes:
        raise QuotaExceeded(
            f"files of {sum(uploaded.values()):,} bytes; a message may store {attempt.limits.bytes:,}", "import fewer at a time"
        )
    attempt.touch()
    here = _Files(image, upload, uploaded, alive, request.preview)
    planned = plan.plan_of(image, bundle, by, ImportOptions(request.rename, request.replace), here.find, alive)
    changes = {arrival.key: _carry_out(image, attempt, arrival, alive) for arrival in planned.arrivals}
    tested = contracts.contracts(image, planned.arrivals, attempt.is_new)
    if tested.tests and not contracts.stands(image, verdict, digest := contracts.digest_of(encoded)):
        gate.look(image, attempt)
        raise UntestedImport(contracts.to_test(image, attempt, tested.tests, digest))
    contracts.note(tested)
    if request.preview:
        gate.look(image, attempt)
        return Imported(_answer(planned, changes, tested, preview=True), [], [])
    if upload is not None:
        uploads.forget(image, upload)
    if any(arrival.new or changes[arrival.key] for arrival in planned.arrivals):
        for proxy in planned.used:
            model_registry.take(proxy)
        facts = {"image": bundle.image, "tid": bundle.tid.hex(), "objects": len(planned.arrivals), "methods": len(planned.behaviours)}
        names = [name for arrival in planned.arrivals for name in arrival.names]
        chronicle.record(image, "import", author=principal, cause=attempt.message, facts={**facts, "names": names[:LISTED]})
    grown = [(upload, -upload.own("bytes"))] if upload is not None else []
    grown += [(arrival.object, size) for arrival in planned.arrivals if (size := here.size_in(arrival))]
    return Imported(_answer(planned, changes, tested, preview=False), planned.roots, grown)


class _Files:
    """Files by digest: those that were uploaded, or those that the image has."""

    def __init__(self, image: Image, upload: UvmObject | None, sizes: dict[str, int], alive: Callable[[], None], preview: bool) -> None:
        self._image = image
        self._upload = upload
        self._sizes = sizes
        self._alive = alive
        self._preview = preview
        self._new: dict[int, int] = {}
        self._in_image: dict[str, Blob] | None = None

    def find(self, digest: str) -> Blob | None:
        """Raises BadExport for an uploaded file that has another digest."""
        if digest in self._sizes and self._upload is not None:
            if self._preview:
                return Blob()
            blob = uploads.file(self._image, self._upload, digest)
            self._new[id(blob)] = self._sizes[digest]
            return blob
        if self._in_image is None:
            self._in_image = blobs.in_image(self._image, self._alive)
        return self._in_image.get(digest)

    def size_in(self, arrival: Arrival) -> int:
        """Bytes of new files that an object holds; each is counted once."""
        return sum(self._new.pop(id(referent), 0) for referent in referents(list(arrival.slots.values())) if isinstance(referent, Blob))


def _bundle(encoded: bytes) -> Bundle:
    try:
        return decode_bundle(encoded)
    except msgspec.DecodeError as error:
        raise BadExport(f"the bundle cannot be read: {error}", "export again with this version") from error


def _carry_out(image: Image, attempt: Attempt, arrival: Arrival, alive: Callable[[], None]) -> list[str]:
    """Have an object become what it is to be; the names of its slots that changed."""
    alive()
    owner, slots = arrival.object, arrival.slots
    for value in slots.values():
        if is_method(value) and value._p_jar is None and not attempt.is_new(value):
            attempt.made(value)
    if arrival.new:
        attempt.made(owner)
        owner._slots[PARENTS] = arrival.parents
        owner._slots.update(slots)
        changed = list(slots)
    else:
        changed = _replaced(image, attempt, arrival)
    for value in slots.values():
        if is_method(value) and attempt.is_new(value) and value._p_jar is None:  # its first object's
            authors.enter(image, value, image.reference(owner).oid)
    for name in arrival.names:
        if name not in image.names_of(owner):
            attempt.writing(owner, NAMES)
            image.give_name(owner, name)
    return changed


def _replaced(image: Image, attempt: Attempt, arrival: Arrival) -> list[str]:
    owner, slots = arrival.object, arrival.slots
    changed = _differences(arrival)
    moved = owner.parents() != arrival.parents
    order = [name for name in owner.names() if name in slots] + [name for name in slots if name not in owner._slots]
    if not changed and not moved and order == list(slots):
        return []
    check_change(image, owner, attempt.policy)
    for name in changed:
        attempt.writing(owner, name)
        before, after = owner.own(name), slots.get(name)
        if isinstance(before, UvmObject) and isinstance(after, UvmObject) and is_method(before) and attempt.is_new(after):
            # What a method had to satisfy stays with what takes its place.
            contract.keep(after, contract.clauses_of(before), image.visible, image.reference)
        if slots.get(name, ABSENT) is ABSENT:
            owner.drop(name)
        else:
            owner.put(name, slots[name])
    if moved:
        image.read_current(ancestor for parent in arrival.parents for ancestor in parent.chain())
        attempt.writing(owner, PARENTS)
        owner.put(PARENTS, arrival.parents)
    structure = {name: value for name, value in owner._slots.items() if name.endswith("*")}
    owner._slots = {**structure, **{name: owner._slots[name] for name in slots}}
    return changed + ([PARENTS] if moved else [])


def _answer(planned: ImportPlan, changes: dict[str, list[str]], tested: Contracts, *, preview: bool) -> dict[str, Any]:
    """What a tool is told, as a value."""
    new = [arrival for arrival in planned.arrivals if arrival.new]
    examples = {(test.on, test.selector): len(test.clauses) for test in tested.tests}
    named = [(name, arrival) for arrival in planned.arrivals for name in arrival.names]
    return {
        "preview": preview,
        "objects": len(planned.arrivals),
        "new": len(new),
        "methods": len(planned.behaviours),
        "held": len(tested.tests),
        "untested": tested.untested,
        "out_of_use": tested.out_of_use,
        "names": [name for name, _ in named[:LISTED]],
        "replaced": {arrival.key: changes[arrival.key] for arrival in islice((one for one in planned.arrivals if not one.new), LISTED)},
        "claims": [
            {**msgspec.to_builtins(behaviour), "examples": 0 if behaviour.kept else examples.get((behaviour.on, behaviour.selector), 0)}
            for behaviour in planned.behaviours[:LISTED]
        ],
        "left_out": planned.left_out[:LISTED],
        "roots": [] if preview else list(planned.roots),
    }


def _differences(arrival: Arrival) -> list[str]:
    """The slots in which an object that is there differs from what it is to be."""
    owner, slots = arrival.object, arrival.slots
    return [name for name in owner.names() if name not in slots] + [name for name in slots if not same_value(owner.own(name), slots[name])]
