"""Methods as objects: how one is made, put into a slot, corrected for all who use it, kept from running, and explained.

A method's slots: `source`, `selector`, `positional`, `keywords`, `defaults` (names of parameters with a default),
`digest` (sha256 of the source), `author`, `born` (UTC), `proof` (see docs/architecture.md), `examples` (see `uvm.image.contract`) and
`replaced`, the method that it replaced.

One method object may be in the slots of many objects. The library's (`shape`: its key there, `uvm.image.library`) is shared by design: a
correction changes that object, and so reaches all of them. What it was before stays as an object of its own, a version, first in the chain
of `replaced`; `version*` is the version that it is now, once it was ever corrected. Only the library's methods are shared so. They are
never in the slots of primordial objects, and never have `policy`: who may correct them could have changed each of their users.

A method that the kernel brought and that somebody has put back in the place of a later one has `declined`: digests of those that do not
take its place again with the next start.

With a slot `quarantined`, which says why, a method is out of use: it stays to be read, and is not run. Only the kernel sets that slot.
It has no `digest` meanwhile: what is compiled is looked up by that, so that a send that finds nothing asks why, and any other asks no more
than before. With a slot `revoked` (`reason`, `by`, `at` (UTC), and `author`, as in `uvm.image.authors`) it is out of use because its
author is not trusted any more; then a message that comes to it is one that nobody understands, and is written anew.
"""

import ast
import hashlib
import time
from collections.abc import Collection
from typing import Any, Final

from uvm.errors import LONGEST
from uvm.image import contract
from uvm.objects import ABSENT, CHARGED, KIND, UvmObject
from uvm.objects import VERSION as VERSION
from uvm.protocol import Reference
from uvm.values.slot_values import copied

BORN: Final = "primordial"
"""The author of the methods that the kernel brought."""
IMPORTED: Final = "imported"
"""The mode, in its proof, of a method that came in with an import (`uvm.transporter.methods`)."""
SHAPE: Final = "shape"
QUARANTINED: Final = "quarantined"
"""The slot of a method that is out of use: why."""
REVOKED: Final = "revoked"
DECLINED: Final = "declined"
_REVOKED: Final = "revoked: "
"""How the reason begins that a revocation gives."""
_ITS_OWN: Final = frozenset({KIND, SHAPE, VERSION, CHARGED, "replaced"})
"""Slots of a shared method that stay when it is corrected."""
_SHOWN: Final = ("selector", "source", "author", "born", "digest", "policy", DECLINED, QUARANTINED, REVOKED, "proof")
_OLDER: Final = ("source", "author", "born", "digest", QUARANTINED)
_HISTORY: Final = 100
"""Methods that an explanation tells of, of those that a method replaced."""


def primitive(selector: str, shown: str = "") -> UvmObject:
    """A method that the kernel carries out. `shown`: what a prompt shows, where it stands as data does."""
    behaviour = UvmObject(
        {KIND: "method", "selector": selector, "primitive": selector, "author": "kernel", "positional": [], "keywords": [], "defaults": []}
    )
    if shown:
        behaviour.put("shown", shown)
    return behaviour


def method(selector: str, source: str, positional: int, author: str, proof: dict[str, Any], policy: bool = False) -> UvmObject:
    """A method from audited source. `positional`: how many parameters after `self` are given by place.

    `policy`: it may change primordial objects, in messages of senders who may.
    """
    function = ast.parse(source).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"the source of {selector} is no function; the audit lets nothing else through")
    arguments = function.args
    names = [parameter.arg for parameter in arguments.args[1:]]
    return UvmObject(
        {
            KIND: "method",
            "selector": selector,
            "source": source,
            "positional": names[:positional],
            "keywords": names[positional:] + [parameter.arg for parameter in arguments.kwonlyargs],
            "defaults": names[len(names) - len(arguments.defaults) :] if arguments.defaults else [],
            "digest": hashlib.sha256(source.encode()).hexdigest(),
            "author": author,
            "born": now(),
            "proof": proof,
            **({"policy": True} if policy else {}),
        }
    )


def now() -> str:
    """UTC, as methods and what befalls them are dated."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def may_change_policy(method: UvmObject) -> bool:
    """Whether a method may change primordial objects: those that the image was born with may, others where it was recorded with them."""
    # Images of 0.1.0 have no `policy` on their first methods.
    return method.own("policy") is True or is_born(method)


def is_born(method: UvmObject) -> bool:
    """Whether the kernel brought a method with a source: its author is no principal, and no message put it there."""
    proof = method.own("proof")
    # The mode is in every proof of a method that came with a message.
    return method.own("author") == BORN and isinstance(proof, dict) and "mode" not in proof


def decline(method: UvmObject, other: UvmObject) -> None:
    """A method was put back in the place of another one, in the current transaction: between two of the kernel's that is decided then."""
    if is_born(method) and is_born(other):
        declined = [digest for digest in method.own(DECLINED, []) if digest != digest_of(other)]
        method.put(DECLINED, [*declined, digest_of(other)][-_HISTORY:])


def takes(method: UvmObject, positional: int, keywords: Collection[str]) -> bool:
    """Whether a method can be called with so many arguments by place and these by name."""
    names = [*method.own("positional"), *method.own("keywords")]
    by_place = names[:positional]
    if positional > len(names) or not set(keywords) <= set(names[positional:]):
        return False
    return all(name in by_place or name in keywords or name in method.own("defaults") for name in names)


# --- in slots ---------------------------------------------------------------------------------------------------------


def install(holder: UvmObject, method: UvmObject) -> None:
    """Put a method into the slot of its selector; what was there stays reachable from it."""
    selector = method.own("selector")
    before = holder.own(selector)
    if type(before) is UvmObject and before.own(KIND) == "method":
        method.put("replaced", before)
    holder.put(selector, method)


def is_shared(value: Any) -> bool:
    """Whether a slot's value is a method of the library, which other objects may use."""
    return type(value) is UvmObject and value.own(KIND) == "method" and value.own(SHAPE) is not ABSENT


def shared_with(holder: UvmObject, selector: str) -> UvmObject | None:
    """The method in an object's slot, if others may have it in theirs: then an offer corrects it for all of them."""
    value = holder.own(selector)
    return value if is_shared(value) and isinstance(value, UvmObject) else None


def correct(shared: UvmObject, method: UvmObject) -> None:
    """Have a shared method be like another one, for all who use it."""
    become(shared, correction(shared, method))


def correction(shared: UvmObject, method: UvmObject) -> UvmObject:
    """The version of a shared method that is like another one; before it comes the one that it is now."""
    newer = _version(method)
    newer.put("replaced", version_of(shared))
    return newer


def version_of(shared: UvmObject) -> UvmObject:
    """What a method is now, as an object that stays so."""
    version = shared.own(VERSION)
    if type(version) is not UvmObject:
        version = _version(shared)
        shared.put(VERSION, version)
    return version


def become(shared: UvmObject, version: UvmObject) -> None:
    """Have a shared method be one of its versions."""
    now = version_of(shared)
    if shared.own(CHARGED) is not ABSENT:  # who is charged for a method is charged for what it was
        now.put(CHARGED, {**now.own(CHARGED, {}), **shared.own(CHARGED)})
        shared.drop(CHARGED)
    for name in [name for name in shared._slots if name not in _ITS_OWN and name not in version._slots]:
        shared.drop(name)
    for name, value in version._slots.items():
        if name not in _ITS_OWN:
            shared.put(name, copied(value))
    shared.put(VERSION, version)
    if version.own("replaced") is not ABSENT:
        shared.put("replaced", version.own("replaced"))
    elif shared.own("replaced") is not ABSENT:
        shared.drop("replaced")


def _version(method: UvmObject) -> UvmObject:
    return UvmObject({name: copied(value) for name, value in method._slots.items() if name not in (SHAPE, VERSION, CHARGED)})


# --- out of use -------------------------------------------------------------------------------------------------------


def runs(value: Any) -> bool:
    """Whether a slot's value is a method, and in use."""
    return type(value) is UvmObject and value.own(KIND) == "method" and QUARANTINED not in value._slots


def quarantined(method: UvmObject) -> str:
    """Why a method is out of use; nothing if it is in use."""
    reason: str = method.own(QUARANTINED, "")
    return reason


def quarantine(method: UvmObject, reason: str) -> None:
    """Put a method out of use, in the current transaction: it stays to be read, and whoever sends it is told the reason."""
    method.put(QUARANTINED, reason[:LONGEST])
    if method.own("digest") is not ABSENT:
        method.drop("digest")


def release(method: UvmObject) -> None:
    """Put a method back into use, in the current transaction."""
    if method.own(QUARANTINED) is not ABSENT:
        method.put("digest", digest_of(method))
        method.drop(QUARANTINED)


def revoke(method: UvmObject, mark: dict[str, str]) -> None:
    """Put a method out of use because of its author; one that is out of use already keeps the reason that it has. `mark`: `revoked`."""
    for version in _with_version(method):
        version.put(REVOKED, dict(mark))
        if not quarantined(version):
            quarantine(version, f"{_REVOKED}{mark['author']}, {mark['reason'] or 'by ' + (mark['by'] or 'the image')}")


def restore(method: UvmObject) -> None:
    """Trust a method's author again; what is out of use for another reason stays so."""
    for version in _with_version(method):
        if version.own(REVOKED) is not ABSENT:
            version.drop(REVOKED)
        if quarantined(version).startswith(_REVOKED):
            release(version)


def digest_of(method: UvmObject) -> str:
    """The digest of a method's source, whether it is in use or not."""
    return hashlib.sha256(method.own("source").encode()).hexdigest()


def _with_version(method: UvmObject) -> list[UvmObject]:
    version = method.own(VERSION)
    return [method, version] if type(version) is UvmObject else [method]


# --- where it comes from ----------------------------------------------------------------------------------------------


def generated(method: UvmObject) -> bool:
    """Whether the image wrote this method: it may write it again."""
    proof = method.own("proof")
    return isinstance(proof, dict) and proof.get("mode", "offered") not in ("offered", IMPORTED)


def is_imported(value: Any) -> bool:
    """Whether a slot's value is a method that came in with an import: what is said of its past was said elsewhere."""
    proof = value.own("proof", None) if type(value) is UvmObject else None
    return isinstance(proof, dict) and proof.get("mode") == IMPORTED


def written_for(method: UvmObject) -> tuple[bytes, str] | None:
    """The oid of the message that the model wrote this method for, and the persona; None for what a tool or the kernel wrote."""
    proof = method.own("proof")
    if not isinstance(proof, dict) or proof.get("mode", "offered") in ("offered", "found", IMPORTED):
        return None
    return Reference.parse(proof["message"]).oid, method.own("author")


def explanation(holder: UvmObject, method: UvmObject) -> dict[str, Any]:
    """Everything known about a method, as plain values."""
    history: list[dict[str, Any]] = []
    older = method.own("replaced")
    while older is not ABSENT and len(history) < _HISTORY:
        history.append({key: copied(older.own(key)) for key in _OLDER if older.own(key) is not ABSENT})
        older = older.own("replaced")
    facts = {key: copied(method.own(key)) for key in _SHOWN if method.own(key) is not ABSENT}
    if quarantined(method):
        facts["digest"] = digest_of(method)
    if method.own("examples") is not ABSENT:
        facts["examples"] = contract.described(method)
    if method.own("primitive") is not ABSENT:
        facts["primitive"] = method.own("primitive")
        facts["source"] = f"# {method.own('primitive')} is a primitive of the kernel\n"
    return {**facts, "shared": is_shared(method), "installed_on": holder, "history": history}
