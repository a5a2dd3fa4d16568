"""The morph tree: what an object answers to `display_yourself`, as types that every interface renders.

A morph is a plain map with the key `morph`, made in the image by `column`, `row`, `label`, `field`, `button`, `items`
and `graph`. `parse` turns such a map into the structs below, or says where it is wrong. Nothing here runs code of the
image, touches a socket or knows a toolkit; any thread may call it.

| morph | keys |
| --- | --- |
| column, row | children: morphs |
| label | text |
| field | name, value, target? (the object whose slot it shows) |
| button | text, selector, target?, args? (the message it sends) |
| list | title, values |
| graph | title, numbers |
| image | width, height, png or caption |

Texts may be any plain scalar and are shown by `str`; other keys are ignored, so that newer images show in older tools.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from uvm.protocol import Reference, Selector

MAX_DEPTH = 32
"""Most containers inside each other, morphs and plain values alike."""
MAX_NODES = 2000
"""Most morphs in one tree."""
MAX_VALUES = 50_000
"""Most plain values in one tree: items of lists, entries of maps."""

Pixels = Annotated[int, Meta(ge=1, le=8192)]


class MorphError(ValueError):
    """A value that is no morph tree. `path` is where, as `$.children[2].text`; the message says what was seen and allowed."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"not a morph at {path}: {problem}")
        self.path = path
        self.problem = problem


class Column(Struct, tag_field="morph", tag="column", frozen=True):
    """Children one below the other."""

    children: list["Morph"] = []


class Row(Struct, tag_field="morph", tag="row", frozen=True):
    """Children side by side."""

    children: list["Morph"] = []


class Label(Struct, tag_field="morph", tag="label", frozen=True):
    """A text."""

    text: Any = ""

    def __post_init__(self) -> None:
        _as_text(self, "text")


class Field(Struct, tag_field="morph", tag="field", frozen=True):
    """A named value; `target` is the object it belongs to, if it says so."""

    name: Any
    value: Any = None
    target: Any = None

    def __post_init__(self) -> None:
        _as_text(self, "name")
        _check_target(self.target)


class Button(Struct, tag_field="morph", tag="button", frozen=True):
    """Sends `selector` with `args` to `target` (without one: to the object that was displayed)."""

    text: Any
    selector: Selector
    target: Any = None
    args: Annotated[list[Any], Meta(max_length=64)] = []

    def __post_init__(self) -> None:
        _as_text(self, "text")
        _check_target(self.target)


class Items(Struct, tag_field="morph", tag="list", frozen=True):
    """Values one below the other under a title."""

    title: Any = ""
    values: list[Any] = []

    def __post_init__(self) -> None:
        _as_text(self, "title")


class Graph(Struct, tag_field="morph", tag="graph", frozen=True):
    """Numbers as a curve."""

    title: Any = ""
    numbers: list[float] = []

    def __post_init__(self) -> None:
        _as_text(self, "title")


class Picture(Struct, tag_field="morph", tag="image", frozen=True):
    """A picture of PNG bytes, or its caption where there are none."""

    width: Pixels
    height: Pixels
    png: bytes = b""
    caption: Any = ""

    def __post_init__(self) -> None:
        _as_text(self, "caption")


Morph = Column | Row | Label | Field | Button | Items | Graph | Picture

_KINDS = ("column", "row", "label", "field", "button", "list", "graph", "image")


def parse(value: object) -> Morph:
    """The morph tree that `value` describes.

    Raises MorphError, naming the place, for what is no morph, deeper than MAX_DEPTH or larger than MAX_NODES.
    """
    if not isinstance(value, Mapping):
        raise MorphError("$", f"a {type(value).__name__}; a morph is a map with the key 'morph'")
    _check_size(value)
    try:
        tree: Morph = msgspec.convert(value, Morph)
    except msgspec.ValidationError as error:
        problem, separator, path = str(error).partition(" - at ")
        where = path.strip("`") if separator else "$"
        if where.endswith(".morph"):
            problem += f"; allowed: {', '.join(_KINDS)}"
        raise MorphError(where, problem) from error
    return tree


def is_morph(value: object) -> bool:
    """Does `value` claim to be a morph? It may still be a broken one."""
    return isinstance(value, Mapping) and isinstance(value.get("morph"), str)


def walk(morph: Morph) -> Iterator[Morph]:
    """The morph and everything in it, in the order of reading."""
    yield morph
    if isinstance(morph, Column | Row):
        for child in morph.children:
            yield from walk(child)


def _check_size(root: Mapping[Any, Any]) -> None:
    # Iterative, and before msgspec looks: a value nested a thousand deep must not meet anybody's recursion.
    pending: list[tuple[object, str, int]] = [(root, "$", 1)]
    morphs = values = 0
    while pending:
        value, path, depth = pending.pop()
        values += 1
        if isinstance(value, Mapping):
            morphs += "morph" in value
            inside = [(child, f"{path}.{key}") for key, child in value.items()]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            inside = [(child, f"{path}[{index}]") for index, child in enumerate(value)]
        else:
            continue
        # The list of a morph's children is part of that morph, not a level of its own.
        deeper = depth + (not path.endswith(".children"))
        if deeper > MAX_DEPTH + 1:
            raise MorphError(path, f"nested deeper than {MAX_DEPTH}")
        if morphs > MAX_NODES or values + len(pending) + len(inside) > MAX_VALUES:
            raise MorphError(path, f"more than {MAX_NODES} morphs or {MAX_VALUES} values in one tree")
        pending += [(child, where, deeper) for child, where in inside]


def _as_text(morph: Struct, name: str) -> None:
    value = getattr(morph, name)
    if isinstance(value, str):
        return
    if not (value is None or isinstance(value, bool | int | float | Reference)):
        raise ValueError(f"{name} is a {type(value).__name__}; a text, a number or a reference is allowed")
    msgspec.structs.force_setattr(morph, name, "" if value is None else str(value))


def _check_target(target: object) -> None:
    if not (target is None or isinstance(target, Reference) or (isinstance(target, str) and target)):
        raise ValueError(f"target is a {type(target).__name__}; a reference or a name is allowed")
