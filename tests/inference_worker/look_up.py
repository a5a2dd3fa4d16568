"""`python -m tests.inference_worker.look_up NAME…`: what the installed packages have under dotted names, as a JSON object on stdout.

For a function its parameters as they are written, null for anything else (also for an attribute that a class's code sets on
its instances), and a sentence for what is not there. A process of its own, since importing vLLM changes the one that does.
"""

import ast
import importlib
import inspect
import json
import sys
import textwrap
import typing
from typing import Any


def look_up(name: str) -> list[str] | str | None:
    """Parameters, or None, or a sentence on what is missing."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        break
    else:
        return f"there is no package {parts[0]}"
    for position, part in enumerate(parts[count:], count):
        try:
            target = inspect.getattr_static(target, part) if inspect.isclass(target) else getattr(target, part)
        except AttributeError:
            if inspect.isclass(target) and position == len(parts) - 1 and part in _instance_attributes(target):
                return None
            return f"{'.'.join(parts[:position])} has no {part}"
    if isinstance(target, classmethod | staticmethod):
        target = target.__func__
    if not inspect.isfunction(target):
        return None
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(parameter.kind, "") + parameter.name for parameter in inspect.signature(target).parameters.values()]


def _instance_attributes(owner: type) -> set[str]:
    """What the code of a class, or of one above it, sets on `self` or declares without a value."""
    names = {name for above in owner.__mro__ for name in inspect.get_annotations(above)}
    for above in owner.__mro__:
        if not above.__module__.startswith("vllm"):
            continue
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(above)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                names |= {node.attr} if node.value.id == "self" else set()
    return names


def facts() -> dict[str, Any]:
    """Lists that our arguments are made from."""
    from vllm.config import lora
    from vllm.engine.arg_utils import AsyncEngineArgs

    return {
        "ranks": list(typing.get_args(lora.MaxLoRARanks)),
        "arguments": list(inspect.signature(AsyncEngineArgs).parameters),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: look_up(name) for name in sys.argv[1:]} | {"facts": facts()}))
