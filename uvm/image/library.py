"""The method library: for each selector and shape (`uvm.image.message_object.shape`) the method that objects of that shape are given.

Layout: table `library`, key of the shape → an entry, whose slots are `method`, the one to be given (none: the next miss has one written),
and `withdrawn`: of each that was taken back or corrected `meaning` (`uvm.language.audit.meaning` of its source), `why`, `by`, `at` and
`method`. Of these the newest `KEPT` are kept. In images of earlier versions a record may be the method itself.

A method that is withdrawn is not found again, and no draft that means the same is taken for that message, unless the message comes with an
example and the draft passes: what somebody did not want is wanted again only by who says what for. Objects that have the method keep it.

Called within a transaction.
"""

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from uvm.errors import ImageError
from uvm.image import authors
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.message_object import is_method, shape
from uvm.image.methods import IMPORTED, SHAPE, become, is_imported, now, runs, version_of
from uvm.language.audit import meaning
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Reference
from uvm.values.slot_values import copied

COUNTED: Final = 20_000
"""Entries that counting them looks at."""
KEPT: Final = 16
"""Withdrawn methods that an entry keeps in mind, the newest."""


def current(image: Image, key: str) -> UvmObject | None:
    """The method that objects of a shape are given; None where one is to be written."""
    method = _method(image, key)
    return method if runs(method) else None


def extent(image: Image) -> tuple[int, int]:
    """How many shapes have a method, and how many distinct sources these are; of the first `COUNTED` entries."""
    entries = islice((leaf.own(key) for leaf in image.shards("library") for key in leaf.names()), COUNTED)
    methods = (entry if is_method(entry) else entry.own("method") for entry in entries if type(entry) is UvmObject)
    sources = [method.own("digest") for method in methods if runs(method)]
    return len(sources), len(set(sources))


def withdrawn(image: Image, key: str) -> dict[str, str]:
    """What no draft may mean again: `meaning` → why."""
    return {record["meaning"]: record["why"] for record in _withdrawn(image, key)}


def has(image: Image, key: str) -> bool:
    """Whether a method was ever given to objects of this shape."""
    return image.shard("library", key).own(key) is not ABSENT


def publish(image: Image, key: str, method: UvmObject) -> None:
    """Have objects of a shape be given this method."""
    entry = _entry(image, key)
    entry.put("method", method)
    left = [record for record in _withdrawn(image, key) if record["meaning"] != meaning(method.own("source"))]
    if len(left) < len(_withdrawn(image, key)):
        entry.put("withdrawn", left)
    if method.own(SHAPE) != key:
        method.put(SHAPE, key)


def withdraw(image: Image, key: str, method: UvmObject, by: str, why: str) -> None:
    """Have nobody be given this method again."""
    entry, meant = _entry(image, key), meaning(method.own("source"))
    in_force = entry.own("method")
    if is_method(in_force) and meaning(in_force.own("source")) == meant:
        entry.drop("method")
    record = {"meaning": meant, "why": why, "by": by, "at": now(), "method": method}
    remaining = [withdrawal for withdrawal in _withdrawn(image, key) if withdrawal["meaning"] != meant]
    entry.put("withdrawn", [*remaining, record][-KEPT:])


def reinstate(image: Image, key: str, method: UvmObject) -> None:
    """A method that was withdrawn is there again: it is given again, unless another one has come in its place."""
    meant = meaning(method.own("source"))
    left = [record for record in _withdrawn(image, key) if record["meaning"] != meant]
    if len(left) == len(_withdrawn(image, key)):
        return
    entry = _entry(image, key)
    entry.put("withdrawn", left)
    if not runs(entry.own("method")):
        entry.put("method", method)


def turn(image: Image, shared: UvmObject, version: UvmObject, by: str, why: str) -> None:
    """Have a method be another version, for all who use it; what it was is withdrawn, and what it becomes is wanted again."""
    before = version_of(shared)
    home = authors.leave(image, shared)
    authors.enter(image, before, home)
    authors.leave(image, version)
    become(shared, version)
    authors.enter(image, shared, home)
    key = str(shared.own(SHAPE))
    if meaning(before.own("source")) != meaning(version.own("source")):
        withdraw(image, key, before, by, why)
        reinstate(image, key, shared)


def note(image: Image, effects: Iterable[Effect], by: str, cause: str) -> None:
    """What a message did to slots reaches the library: a method that it removed is withdrawn, one that it put back is given again.

    An imported method is its object's own, and says nothing of what the others have.
    """
    for owner, slot, before, after, _ in effects:
        if before is after:
            continue
        if is_method(after) and (key := key_of(owner, after)) and has(image, key):
            reinstate(image, key, after)
        if is_method(before) and not is_imported(after) and (key := key_of(owner, before)) and has(image, key):
            why = f"{slot} was removed from {image.reference(owner)} by {by or 'the image'}"
            withdraw(image, key, before, by, f"{why}, in {cause}" if cause else why)


def key_of(holder: UvmObject, method: UvmObject) -> str:
    """The shape for which a method was written; empty for one that was written for its object alone."""
    key = method.own(SHAPE)
    if key is not ABSENT:
        return str(key)
    proof = method.own("proof")
    if not isinstance(proof, dict) or proof.get("mode", "offered") in ("offered", IMPORTED):
        return ""
    # Methods of earlier versions do not say it.
    return shape(holder, method.own("selector"), len(method.own("positional")), method.own("keywords"))


def keys_for(image: Image, holder: UvmObject, method: UvmObject) -> list[str]:
    """The shapes for which the library has an entry, and which an offered method can answer for."""
    names, defaults = method.own("positional"), method.own("defaults")
    least = len([name for name in names if name not in defaults])
    # What a tool offers has parameters with defaults after those that it must be given.
    most = len(names) + len([name for name in method.own("keywords") if name in defaults])
    selector, required = method.own("selector"), [name for name in method.own("keywords") if name not in defaults]
    keys = [shape(holder, selector, number, required) for number in range(least, most + 1)]
    return [key for key in keys if has(image, key)]


def arrival(image: Image, holder: UvmObject, method: UvmObject) -> dict[str, Any] | None:
    """How the library's method came to an object: the round of its message, when, for whom, and the trial there.

    None for the object that it was written for, and where the message does not remember it any more.
    """
    proof = method.own("proof")
    try:
        message = image.at(Reference.parse(proof["message"]))
    except (ImageError, KeyError, TypeError, ValueError):  # of an earlier version, or packed away
        return None
    for past in [message, *reversed(message.own("rounds", []))]:
        if past.own("installed_on") is holder and past.own("method") is method:
            drafts = past.own("drafts")
            if len(drafts) != 1 or drafts[0]["mode"]:
                return None  # it was written then
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past.own("ended")))
            return {"round": past.own("round"), "at": at, "for": past.own("principal", ""), "trial": copied(drafts[0]["trial"])}
    return None


def _method(image: Image, key: str) -> Any:
    record = image.shard("library", key).own(key)
    return record.own("method") if type(record) is UvmObject and record.own(KIND) != "method" else record


def _withdrawn(image: Image, key: str) -> list[dict[str, Any]]:
    record = image.shard("library", key).own(key)
    return list(record.own("withdrawn", [])) if type(record) is UvmObject else []


def _entry(image: Image, key: str) -> UvmObject:
    record = image.shard("library", key).own(key)
    if type(record) is UvmObject and record.own(KIND) == "entry":
        return record
    entry = UvmObject({KIND: "entry", "withdrawn": [], **({"method": record} if is_method(record) else {})})
    image.enter("library", key, entry)
    return entry
