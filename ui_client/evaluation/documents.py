"""A task's objects as an import brings them: exactly the slots that the suite says, in one message, with references to each other. Pure.

For each case of a task there is a receiver with its prototypes and its others, of their own. The farthest prototype delegates to an empty
object that no other task has: so no object is of the shape of another task's, and none is given the method that another task had written
(`docs/protocol.md`, objects of one shape share a method). An import gives objects methods as well, untried: that is how drafts are judged.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ui_client.evaluation.suite import SELF, SuiteCase, SuiteTask, reference
from uvm.protocol import Bundle, MethodDocument, ObjectDocument, Reference, encode

_ORIGIN: Final = "origin."
_KIN: Final = ("traits_obj", "pLLM_obj")
"""What a clone of genesis_obj delegates to."""
_EXACT: Final = 2**53


def object_names(task: SuiteTask) -> list[str]:
    """What the objects of a case are called, in the order in which an import of it answers their references."""
    return [SELF, *(f"parent{number}" for number in range(1, len(task.parents) + 1)), *task.others]


def bundle(task: SuiteTask, cases: Sequence[SuiteCase], methods: Sequence[MethodDocument] = ()) -> Bundle:
    """The objects of some cases, of whose receivers each has `methods`."""
    names = object_names(task)
    documents = [ObjectDocument(_ORIGIN, parents=[{"ref": name} for name in _KIN])]
    roots: list[str] = []
    home = _key(SELF, 0)
    for number, case in enumerate(cases):
        own = {name: _key(name, number) for name in names}
        keys = list(own.values())
        chain = [*keys[1 : 1 + len(task.parents)], _ORIGIN]
        slots = [case.slots, *task.parents, *case.others.values()]
        parents = [chain[0], *chain[1:], *(_ORIGIN for _ in case.others)]
        for key, own_slots, parent in zip(keys, slots, parents, strict=True):
            values = {name: _tree(value, own) for name, value in own_slots.items()}
            documents.append(ObjectDocument(key, parents=[{"ref": parent}], slots=values))
        roots += keys
        receiver = documents[-len(keys)]
        receiver.slots.update({method.selector: {"method": [home, method.selector]} for method in methods})
        if not number:
            receiver.methods.update({method.selector: method for method in methods})
    return Bundle("", b"", roots, [encode(document) for document in documents])


def method_document(selector: str, source: str, positional: int | None = None) -> MethodDocument:
    """A method as an import takes it. `positional`: how many arguments it is given by place; None: all that it has."""
    return MethodDocument(selector, source, _positional(source) if positional is None else positional)


def wire(value: Any, references: Mapping[str, Reference]) -> Any:
    """A suite's value as a message carries it."""
    name = reference(value)
    if name is not None and name in references:
        return references[name]
    if isinstance(value, Mapping):
        return {key: wire(element, references) for key, element in value.items()}
    return [wire(element, references) for element in value] if isinstance(value, list) else value


def written(value: Any, names: Mapping[Reference, str]) -> Any:
    """A value of the image as a suite writes it; an object that is none of the task's by its reference."""
    if isinstance(value, Reference):
        return {"@": names.get(value, str(value))}
    if isinstance(value, Mapping):
        return {key: written(element, names) for key, element in value.items()}
    return [written(element, names) for element in value] if isinstance(value, list | tuple) else value


def _key(name: str, number: int) -> str:
    return f"{name}.{number}"


def _tree(value: Any, keys: Mapping[str, str]) -> Any:
    """A suite's value in the exact form of exports (docs/export.md); `keys`: what the objects of its own case are called in the import."""
    name = reference(value)
    if name is not None and name in keys:
        return {"ref": keys[name]}
    if isinstance(value, Mapping):
        if len(value) == 1:  # it could look like a tag
            return {"map": [[key, _tree(element, keys)] for key, element in value.items()]}
        return {key: _tree(element, keys) for key, element in value.items()}
    if isinstance(value, list):
        return [_tree(element, keys) for element in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -_EXACT <= value <= _EXACT:
        return {"integer": str(value)}
    return value


def _positional(source: str) -> int:
    try:
        function = ast.parse(source).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return 0
    return max(0, len(function.args.args) - 1) if isinstance(function, ast.FunctionDef) else 0
