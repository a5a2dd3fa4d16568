"""Arguments for a method that nobody has given any: values that its parameters are likely to take, and some at the edges. Pure.

What a parameter takes is seen in the source: which slot or constant it is compared or combined with, what is sent to it, where it is
passed on; then in the examples, its default and its name. The choice follows from the source alone, so that a trial can be repeated.
"""

import ast
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from uvm.language.value_methods import METHODS
from uvm.objects import Merging, UvmObject
from uvm.protocol import Example, Reference
from uvm.trial.protocol import Call

CALLS: Final = 8
"""Calls that are made up for one method."""

_CONSTANTS: Final = 6
_LONGEST: Final = 200
_ITEMS: Final = 3
_DEEPEST: Final = 2
_WORDS: Final = {
    "name": "selector slot",
    "text": "name text title label word key message line note tag color colour prefix suffix string",
    "number": "number count amount index size limit price quantity factor rate total width height age",
    "list": "items list values rows names numbers pairs words lines texts objects",
    "dict": "dict map table mapping options row record",
    "bool": "flag done enabled active",
    "object": "other object thing item owner friend who parent child target receiver message",
}
"""What a parameter of such a name is likely to be."""
_NAMING: Final = frozenset({"setSlot_value_", "removeSlot_", "slot_", "perform_", "respondsTo_", "explain_", "mirror_"})
_TAKES: Final = {
    **dict.fromkeys(("range", "round", "abs", "divmod"), "number"),
    **dict.fromkeys(("sum", "sorted", "enumerate", "min", "max"), "list"),
}
_EITHER: Final = ("number", "text", "object", "list", "dict", "nothing", "bool")
"""Kinds that are tried where nothing says what a parameter takes."""

_EDGES: Final[dict[str, tuple[Any, ...]]] = {
    "number": (1, 2, 0, 7, -1, 2.5, 12, 100),
    "text": ("a", "red", "", "some words of text", "é", "12", "A b", "x" * 300),
    "list": ([1, 2, 3], ["a", "b"], [], [0.5, -1], [[1, 2], [3, 4]], list(range(50))),
    "dict": ({"a": 1, "b": 2}, {"name": "a"}, {}, {"a": [1], "b": "c"}),
    "bool": (True, False),
    "nothing": (None,),
    "name": (),
    "object": (),
}


def made_up(method: ast.FunctionDef, slots: Mapping[str, Any], examples: Sequence[Example], receiver: Reference) -> list[Call]:
    """Calls of a method with all its parameters; none for one that has no parameter.

    `slots`: the receiver's data, as wire values; `examples`: what its author expects of it.
    """
    names = [parameter.arg for parameter in method.args.args[1:]]
    if not names:
        return []
    # The tree and not the text, so that comments and blanks do not change what is tried.
    chance = random.Random(hashlib.sha256(ast.dump(method).encode()).digest())
    choices = []
    for position, name in enumerate(names):
        values_shown = [_of_example(example, position, name) for example in examples]
        parameter = _Parameter(method, name, slots, [value for value, there in values_shown if there])
        choices.append(parameter.values(receiver, chance))
    return [Call([values[number % len(values)] for values in choices]) for number in range(min(CALLS, max(map(len, choices))))]


def _of_example(example: Example, position: int, name: str) -> tuple[Any, bool]:
    if position < len(example.args):
        return example.args[position], True
    return example.kwargs.get(name), name in example.kwargs


class _Parameter:
    """What a method does with one of its parameters."""

    def __init__(self, method: ast.FunctionDef, name: str, slots: Mapping[str, Any], examples: Sequence[Any]) -> None:
        self._method = method
        self._name = name
        self._slots = slots
        self._examples = examples
        self._near: list[Any] = []
        self._kinds: list[str] = [kind_of(value) for value in examples]
        self._look()

    def values(self, receiver: Reference, chance: random.Random) -> list[Any]:
        """What to pass: what is near to the source and its examples first, then the usual and the edges."""
        kinds = list(dict.fromkeys([*self._kinds, *self._default()])) or self._by_name() or list(_EITHER)
        usual: list[list[Any]] = []
        for kind in kinds:
            pool = [*self._of_kind(kind, receiver), *_EDGES[kind]]
            head, tail = pool[:2], pool[2:]
            chance.shuffle(tail)
            usual.append(head + tail)
        # One of each kind in turn, so that a parameter of unknown kind meets them all.
        turns = [pool[turn] for turn in range(max(map(len, usual))) for pool in usual if turn < len(pool)]
        return _different([*self._near[:_CONSTANTS], *turns])[:CALLS] or [None]

    def _default(self) -> list[str]:
        arguments = self._method.args
        names = [parameter.arg for parameter in arguments.args]
        number = names.index(self._name) - (len(names) - len(arguments.defaults))
        default = arguments.defaults[number] if number >= 0 else None
        return [kind_of(default.value)] if isinstance(default, ast.Constant) and default.value is not None else []

    def _by_name(self) -> list[str]:
        parts = self._name.lower().split("_")
        return [kind for kind, words in _WORDS.items() if not set(parts).isdisjoint(words.split())]

    def _of_kind(self, kind: str, receiver: Reference) -> list[Any]:
        if kind == "name":
            return list(self._slots) or ["a"]
        present = [value for value in self._slots.values() if kind_of(value) == kind]
        return [*present, receiver] if kind == "object" else present[:2]

    # --- what the source says ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        for node in ast.walk(self._method):
            if isinstance(node, ast.Compare):
                self._met(node, [node.left, *node.comparators])
            elif isinstance(node, ast.BinOp):
                self._met(node, [node.left, node.right])
            elif isinstance(node, ast.AugAssign):
                self._met(node, [node.target, node.value])
            elif isinstance(node, ast.Call):
                self._called(node)
            elif isinstance(node, ast.Attribute) and self._is(node.value):
                self._sent(node.attr)
            elif isinstance(node, ast.Subscript):
                self._indexed(node)
            elif isinstance(node, ast.For | ast.comprehension) and self._is(node.iter):
                self._kinds.append("list")

    def _is(self, node: ast.AST | None) -> bool:
        return isinstance(node, ast.Name) and node.id == self._name

    def _slot(self, node: ast.AST) -> Any:
        """The value of the slot that an expression reads, or None."""
        if isinstance(node, ast.Call):
            node = node.func
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return self._slots.get(node.attr)
        return None

    def _met(self, where: ast.Compare | ast.BinOp | ast.AugAssign, parts: list[ast.expr]) -> None:
        """The parameter stands beside other values."""
        if not any(map(self._is, parts)):
            return
        for part in parts:
            constant = _constant(part)
            value = self._slot(part) if constant is None else constant
            if value is None or self._is(part):
                continue
            inside = isinstance(where, ast.Compare) and isinstance(where.ops[0], ast.In | ast.NotIn)
            if inside and isinstance(value, list | dict):
                self._kinds += [kind_of(element) for element in list(value)[:1]]
                self._near += list(value)[:2]
            else:
                self._kinds.append(kind_of(value))
                self._near += _around(value) if isinstance(where, ast.Compare) and constant is not None else []

    def _called(self, node: ast.Call) -> None:
        """The parameter is passed on."""
        places = [number for number, argument in enumerate(node.args) if self._is(argument)]
        if not places:
            return
        if isinstance(node.func, ast.Name) and node.func.id in _TAKES:
            self._kinds.append(_TAKES[node.func.id])
        elif isinstance(node.func, ast.Attribute):
            if node.func.attr in _NAMING and places[0] == 0:
                self._kinds.append("name")
            collection = self._slot(node.func.value)
            if isinstance(collection, list | dict):  # added to a list, or looked up in a dict
                self._kinds += [kind_of(element) for element in list(collection)[:1]]

    def _sent(self, selector: str) -> None:
        """Something is sent to the parameter."""
        understood = [kind for kind in ("text", "list", "dict") if selector in METHODS[_TYPES[kind]]]
        self._kinds += understood or ([] if selector == "is_integer" else ["object"])

    def _indexed(self, node: ast.Subscript) -> None:
        if self._is(node.value):
            key = _constant(node.slice)
            self._kinds.append("dict" if isinstance(key, str) else "list")
            if isinstance(key, str):
                self._near.append({key: 1})
        elif self._is(node.slice):
            collection = self._slot(node.value)
            self._kinds += ["text"] if isinstance(collection, dict) else ["number"] if isinstance(collection, list | str) else []
            self._near += list(collection)[:1] if isinstance(collection, dict) else []


_TYPES: Final[dict[str, type]] = {"text": str, "list": list, "dict": dict}


def sample(value: Any, refer: Callable[[UvmObject], Reference], depth: int = 0) -> Any:
    """A small wire value of the same kind as a slot's value: as much of it as shows what it is made of."""
    if isinstance(value, UvmObject):
        return refer(value)
    if isinstance(value, Merging):
        value = value.plain()
    if isinstance(value, str | bytes):
        return value[:_LONGEST]
    if isinstance(value, list | dict) and depth == _DEEPEST:
        return type(value)()
    if isinstance(value, list):
        return [sample(element, refer, depth + 1) for element in value[:_ITEMS]]
    if isinstance(value, dict):
        return {key: sample(element, refer, depth + 1) for key, element in itertools.islice(value.items(), _ITEMS) if isinstance(key, str)}
    return value if isinstance(value, bool | int | float) else None


def kind_of(value: Any) -> str:
    """The kind of a wire value, as this module counts them."""
    if isinstance(value, bool):
        return "bool"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        ((int, float), "number"),
        (str, "text"),
        (list, "list"),
        (dict, "dict"),
        (Reference, "object"),
    )
    return next((kind for types, kind in kinds if isinstance(value, types)), "nothing")


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        return -value if isinstance(value, int | float) else None
    return node.value if isinstance(node, ast.Constant) else None


def _around(value: Any) -> Iterator[Any]:
    """A constant of the source and what is on either side of it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield value
    else:
        yield from (value, value + 1, value - 1)


def _different(values: Sequence[Any]) -> list[Any]:
    """Each value once; `1`, `1.0` and `True` are three."""
    by_text: dict[str, Any] = {}
    for value in values:
        by_text.setdefault(f"{type(value).__name__}:{value!r}", value)
    return list(by_text.values())
