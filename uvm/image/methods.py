"""Methods as objects: how one is made, put into a slot, and explained.

A method's slots: `source`, `selector`, `positional`, `keywords`, `defaults` (names of parameters with a default),
`digest` (sha256 of the source), `author`, `born` (UTC), `proof` (see docs/architecture.md) and `replaced`, the method that it replaced.
With a slot `quarantined`, which says why, it is out of use: it stays to be read, and is not run. Only the kernel sets that slot.
"""

import ast
import hashlib
import time
from typing import Any, Final

from uvm.errors import LONGEST
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Reference
from uvm.values.slot_values import copied

BORN: Final = "primordial"
"""The author of the methods that the kernel brought."""
QUARANTINED: Final = "quarantined"
"""The slot of a method that is out of use: why."""


def primitive(selector: str, shown: str = "") -> UvmObject:
    """A method that the kernel carries out. `shown`: what a prompt shows, where it stands as data does."""
    made = UvmObject(
        {KIND: "method", "selector": selector, "primitive": selector, "author": "kernel", "positional": [], "keywords": [], "defaults": []}
    )
    if shown:
        made.put("shown", shown)
    return made


def method(selector: str, source: str, positional: int, author: str, proof: dict[str, Any], policy: bool = False) -> UvmObject:
    """A method from audited source. `positional`: how many parameters after `self` are given by place.

    `policy`: it may change primordial objects, in messages of senders who may.
    """
    function = ast.parse(source).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"the source of {selector} is no function; the audit lets nothing else through")
    arguments = function.args
    names = [one.arg for one in arguments.args[1:]]
    return UvmObject(
        {
            KIND: "method",
            "selector": selector,
            "source": source,
            "positional": names[:positional],
            "keywords": names[positional:] + [one.arg for one in arguments.kwonlyargs],
            "defaults": names[len(names) - len(arguments.defaults) :] if arguments.defaults else [],
            "digest": hashlib.sha256(source.encode()).hexdigest(),
            "author": author,
            "born": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "proof": proof,
            **({"policy": True} if policy else {}),
        }
    )


def may_change_policy(one: UvmObject) -> bool:
    """Whether a method may change primordial objects: those that the image was born with may, others where it was recorded with them."""
    # Images of 0.1.0 have no `policy` on their first methods.
    return one.own("policy") is True or is_born(one)


def is_born(one: UvmObject) -> bool:
    """Whether the kernel brought a method with a source: its author is no principal, and no message put it there."""
    proof = one.own("proof")
    # The mode is in every proof of a method that came with a message.
    return one.own("author") == BORN and isinstance(proof, dict) and "mode" not in proof


def quarantine(one: UvmObject, reason: str) -> None:
    """Put a method out of use, in the current transaction: it stays to be read, and whoever sends it is told the reason."""
    one.put(QUARANTINED, reason[:LONGEST])


def release(one: UvmObject) -> None:
    """Put a method back into use, in the current transaction."""
    if one.own(QUARANTINED) is not ABSENT:
        one.drop(QUARANTINED)


def quarantined(one: UvmObject) -> str:
    """Why a method is out of use; nothing if it is in use."""
    reason: str = one.own(QUARANTINED, "")
    return reason


def install(holder: UvmObject, one: UvmObject) -> None:
    """Put a method into the slot of its selector; what was there stays reachable from it."""
    selector = one.own("selector")
    before = holder.own(selector)
    if type(before) is UvmObject and before.own(KIND) == "method":
        one.put("replaced", before)
    holder.put(selector, one)


def written_for(one: UvmObject) -> tuple[bytes, str] | None:
    """The oid of the message that the model wrote this method for, and the persona; None for what a tool or the kernel wrote."""
    proof = one.own("proof")
    if not isinstance(proof, dict) or proof.get("mode", "offered") in ("offered", "found"):
        return None
    return Reference.parse(proof["message"]).oid, one.own("author")


def explanation(holder: UvmObject, one: UvmObject) -> dict[str, Any]:
    """Everything known about a method, as plain values."""
    history: list[dict[str, Any]] = []
    older = one.own("replaced")
    while older is not ABSENT and len(history) < 100:
        history.append({key: older.own(key) for key in ("source", "author", "born", "digest") if older.own(key) is not ABSENT})
        older = older.own("replaced")
    shown = ("selector", "source", "author", "born", "digest", "policy", QUARANTINED, "proof")
    told = {key: copied(one.own(key)) for key in shown if one.own(key) is not ABSENT}
    if one.own("primitive") is not ABSENT:
        told["primitive"] = one.own("primitive")
        told["source"] = f"# {one.own('primitive')} is a primitive of the kernel\n"
    return {**told, "installed_on": holder, "history": history}
