"""Values as exports write them: trees of what JSON can say, exactly, with tags for the rest. Pure; the table is in docs/export.md.

A tag is a map of one pair whose key is one of `TAGS`. A map that would look like one, or has other keys than texts, is itself written with
a tag, so that no value is taken for another. What is not a value but named by it, an object or a file, is named by whoever calls.
"""

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any, Final

from ZODB.blob import Blob

from uvm.errors import BadExport, BadValue
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, MergingVector, UvmObject
from uvm.values.slot_values import DEPTH

NAMED: Final = frozenset({"ref", "method", "primordial", "message", "model", "adapter", "blob"})
"""Tags of what is named: objects and files."""
TAGS: Final = NAMED | {"bytes", "number", "integer", "text", "map", "tuple", "counter", "set", "queue", "vector"}

_EXACT: Final = 2**53
"""Whole numbers of JSON are those of a float in many programs."""
_LINE: Final = 60
"""Characters from which a text of several lines is written line by line."""
_DEEPEST: Final = 4 * DEPTH
"""A value takes up to three maps and arrays in each other for one of its own."""

Tree = Any
Name = Callable[[Any], dict[str, Any]]
"""An object or a blob → its tag. Raises BadValue."""
Find = Callable[[str, Any], Any]
"""A tag of `NAMED` and what it holds → the object or the blob. Raises BadExport."""


def tagged(value: Any, name: Name) -> Tree:
    """The tree of a value. Raises BadValue for what no slot holds, and what `name` raises."""
    return _tree(value, name, 0)


def untagged(tree: Tree, find: Find) -> Any:
    """The value of a tree. Raises BadExport for what is none, and what `find` raises."""
    return _value(tree, find, 0)


def _tree(value: Any, name: Name, depth: int) -> Tree:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value)
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else {"integer": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {"number": str(value)}
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if kind is UvmObject or kind is Blob:
        return name(value)
    if depth >= DEPTH:
        raise BadValue(f"a value is nested more than {DEPTH} deep, or contains itself")
    if kind is list:
        return [_tree(element, name, depth + 1) for element in value]
    if kind is tuple:
        return {"tuple": [_tree(element, name, depth + 1) for element in value]}
    if kind is dict:
        if all(type(key) is str for key in value) and not _looks_tagged(value):
            return {key: _tree(element, name, depth + 1) for key, element in value.items()}
        return {"map": [[_tree(key, name, depth + 1), _tree(element, name, depth + 1)] for key, element in value.items()]}
    if isinstance(value, Merging):
        return _merging(value, name, depth + 1)
    raise BadValue(f"a {kind.__name__} is no value of a slot")


def _text(text: str) -> Tree:
    """A long text of several lines as its lines, so that a change of one is a change of one."""
    if len(text) < _LINE or "\n" not in text:
        return text
    *lines, last = text.split("\n")
    return {"text": [f"{line}\n" for line in lines] + ([last] if last else [])}


def _merging(value: Merging, name: Name, depth: int) -> Tree:
    if type(value) is Counter:
        return {"counter": _tree(value.total, name, depth)}
    if type(value) is MergingSet:
        return {"set": [_tree(member, name, depth) for member in value.members]}
    if type(value) is MergingQueue:
        return {"queue": {"taken": value.taken, "items": [_tree(element, name, depth) for element in value.items]}}
    if type(value) is MergingVector:
        return {"vector": {"length": len(value), "numbers": {str(position): number for position, number in value.plain().items()}}}
    raise BadValue(f"a {type(value).__name__} is no value of a slot")


def _looks_tagged(pairs: dict[Any, Any]) -> bool:
    return len(pairs) == 1 and next(iter(pairs)) in TAGS


def _value(tree: Tree, find: Find, depth: int) -> Any:
    kind = type(tree)
    if tree is None or kind is bool or kind is str or kind is float:
        return tree
    if kind is int:
        if not -_EXACT <= tree <= _EXACT:
            raise BadExport(f"the number {str(tree)[:30]} is not exact in JSON", 'write it as {"integer": "…"}')
        return tree
    if depth >= _DEEPEST:
        raise BadExport(f"a value is nested more than {DEPTH} deep")
    if kind is list:
        return [_value(element, find, depth + 1) for element in tree]
    if kind is not dict or not all(type(key) is str for key in tree):
        raise BadExport(f"a {kind.__name__} where a value of JSON should be")
    if not _looks_tagged(tree):
        return {key: _value(element, find, depth + 1) for key, element in tree.items()}
    ((tag, content),) = tree.items()
    try:
        return find(tag, content) if tag in NAMED else _TAGGED[tag](content, find, depth + 1)
    except (ValueError, TypeError, binascii.Error, OverflowError) as error:
        raise BadExport(f"{{{tag!r}: {content!r:.80}}} is no value: {error}", "docs/export.md has the table of tags") from error


def _bytes(content: Any, find: Find, depth: int) -> bytes:
    return base64.b64decode(_of(str, content), validate=True)


def _number(content: Any, find: Find, depth: int) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise ValueError("nan, inf and -inf are written so")
    return float(content)


def _integer(content: Any, find: Find, depth: int) -> int:
    if len(_of(str, content)) > 20:
        raise ValueError("an integer has at most 64 bits")
    return int(content)


def _lines(content: Any, find: Find, depth: int) -> str:
    return "".join(_of(str, line) for line in _of(list, content))


def _map(content: Any, find: Find, depth: int) -> dict[Any, Any]:
    pairs: dict[Any, Any] = {}
    for pair in _of(list, content):
        key, element = (_value(part, find, depth + 1) for part in _of(list, pair))
        if key in pairs:
            raise ValueError(f"the key {key!r:.40} stands twice")
        pairs[key] = element
    return pairs


def _tuple(content: Any, find: Find, depth: int) -> tuple[Any, ...]:
    return tuple(_value(element, find, depth) for element in _of(list, content))


def _counter(content: Any, find: Find, depth: int) -> Counter:
    total = _value(content, find, depth)
    if type(total) not in (int, float):
        raise ValueError("a counter holds a number")
    return Counter(total)


def _set(content: Any, find: Find, depth: int) -> MergingSet:
    members = [_value(member, find, depth) for member in _of(list, content)]
    merging = MergingSet(members)
    if len(merging) != len(members):
        raise ValueError("a member stands twice")
    return merging


def _queue(content: Any, find: Find, depth: int) -> MergingQueue:
    parts = _of(dict, content)
    if set(parts) != {"taken", "items"} or _of(int, parts["taken"]) < 0:
        raise ValueError("a queue has taken, a number, and items")
    return MergingQueue([_value(element, find, depth) for element in _of(list, parts["items"])], parts["taken"])


def _vector(content: Any, find: Find, depth: int) -> MergingVector:
    parts = _of(dict, content)
    if set(parts) != {"length", "numbers"}:
        raise ValueError("a vector has length and numbers")
    vector = MergingVector(_of(int, parts["length"]))
    for position, number in _of(dict, parts["numbers"]).items():
        if not position.isdecimal() or int(position) >= len(vector):
            raise ValueError(f"{position:.20} is no position of it")
        vector.numbers[int(position)] = _of(int, number)
    return vector


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__} was expected, not a {type(value).__name__}")
    return value


_TAGGED: Final[dict[str, Callable[[Any, Find, int], Any]]] = {
    "bytes": _bytes,
    "number": _number,
    "integer": _integer,
    "text": _lines,
    "map": _map,
    "tuple": _tuple,
    "counter": _counter,
    "set": _set,
    "queue": _queue,
    "vector": _vector,
}
