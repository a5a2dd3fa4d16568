"""Slot values: what may be stored, how it is copied, shown in a prompt, and carried over the bridge. Pure functions."""

from collections.abc import Callable
from typing import Any

from ZODB.blob import Blob

from uvm.errors import BadValue
from uvm.objects import Merging, UvmObject
from uvm.protocol import Reference

DEPTH = 64
_SHOWN_DEPTH = 6
_PLAIN = (type(None), bool, float, str, bytes)


def checked(value: Any, depth: int = 0) -> Any:
    """The value as a slot may hold it; tuples become lists. Raises BadValue saying what was seen and what is allowed."""
    kind = type(value)
    if kind in _PLAIN or kind is UvmObject or isinstance(value, Merging):
        return value
    if kind is int:
        if -(2**63) <= value < 2**64:
            return value
        raise BadValue("an integer in a slot must fit 64 bits", "store large numbers as text")
    if depth >= DEPTH:
        raise BadValue(f"a value is nested more than {DEPTH} deep, or contains itself", "store references to objects instead")
    if kind is list or kind is tuple:
        copy = [checked(item, depth + 1) for item in value]
        # The same list goes in where nothing had to be replaced, so that a method's own name for it stays alive.
        return value if kind is list and all(a is b for a, b in zip(copy, value, strict=True)) else copy
    if kind is dict:
        bad = next((key for key in value if type(key) not in (str, int, bool)), None)
        if bad is not None:
            raise BadValue(f"a dict in a slot has the key {bad!r} of type {type(bad).__name__}; keys are text or integers")
        pairs = {key: checked(item, depth + 1) for key, item in value.items()}
        return value if all(pairs[key] is item for key, item in value.items()) else pairs
    remedy = "use merging_set(values) or a list" if kind in (set, frozenset) else ""
    raise BadValue(f"a slot cannot hold a {kind.__name__}", remedy)


def is_mutable(value: Any) -> bool:
    """Whether the value can change in place without its owner noticing."""
    return type(value) in (list, dict) or isinstance(value, Merging)


def copied(value: Any) -> Any:
    """Containers and merging values copied deeply, references shared: what `clone` does to a slot."""
    if isinstance(value, Merging):
        return value.copied()
    if type(value) is list:
        return [copied(item) for item in value]
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return value


def literal(value: Any, depth: int = 0) -> str:
    """The value as the prompt shows it: a Python literal, long texts and containers cut (docs/language.md, "The prompt")."""
    if isinstance(value, UvmObject):
        return "<object>"
    if isinstance(value, Blob):
        return "<blob>"
    if isinstance(value, Merging):
        value = value.plain()
    if type(value) is str:
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if depth > _SHOWN_DEPTH:
        return "…"
    if type(value) in (list, tuple):
        if value and all(isinstance(item, UvmObject) for item in value):
            return "[<object>, …]"
        shown = [literal(item, depth + 1) for item in value[:4]]
        return "[" + ", ".join(shown + (["…"] if len(value) > 4 else [])) + "]"
    if type(value) is dict:
        pairs = [f"{literal(key)}: {literal(item, depth + 1)}" for key, item in list(value.items())[:4]]
        return "{" + ", ".join(pairs + (["…"] if len(value) > 4 else [])) + "}"
    if type(value) is bytes:
        return "<bytes>"
    return repr(value)


def to_wire(value: Any, refer: Callable[[UvmObject], Reference], depth: int = 0) -> Any:
    """The value as it crosses the bridge: objects as references. Raises BadValue for what MessagePack cannot carry."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is UvmObject:
        return refer(value)
    if depth > DEPTH:
        raise BadValue(f"a result is nested more than {DEPTH} deep, or contains itself")
    if isinstance(value, Merging):
        return to_wire(value.plain(), refer, depth + 1)
    if kind is int:
        return checked(value)
    if kind in (list, tuple, set, frozenset):
        return [to_wire(item, refer, depth + 1) for item in value]
    if kind is dict:
        return {key if type(key) in (str, int, bool) else str(key): to_wire(item, refer, depth + 1) for key, item in value.items()}
    if isinstance(value, Blob):
        return "<blob>"
    raise BadValue(f"a result cannot carry a {kind.__name__}", "return plain values, containers of them, or objects")


def from_wire(value: Any, resolve: Callable[[Reference], UvmObject]) -> Any:
    """A tool's value with its references resolved."""
    if isinstance(value, Reference):
        return resolve(value)
    if type(value) is list:
        return [from_wire(item, resolve) for item in value]
    if type(value) is dict:
        return {key: from_wire(item, resolve) for key, item in value.items()}
    return value
