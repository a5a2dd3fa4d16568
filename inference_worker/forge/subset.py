"""The language of methods as a draft is graded by: a short check, far from the image's audit but with its main refusals. Pure."""

import ast

from inference_worker.forge.standin import NAMES

_REFUSED = (
    ast.Import,
    ast.ImportFrom,
    ast.Global,
    ast.Nonlocal,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Yield,
    ast.YieldFrom,
    ast.Await,
    ast.Delete,
    ast.With,
    ast.AsyncWith,
    ast.NamedExpr,
    ast.Match,
)


def finding(source: str) -> str:
    """What is wrong with a method's source; '' when nothing is."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        return f"no Python: {error}"
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        return "not one function"
    function = tree.body[0]
    names = {argument.arg for argument in function.args.args} | set(NAMES)
    names |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {argument.arg for node in ast.walk(function) if isinstance(node, ast.Lambda) for argument in node.args.args}
    for node in ast.walk(function):
        if isinstance(node, _REFUSED) or (isinstance(node, ast.FunctionDef) and node is not function):
            return f"{type(node).__name__} in line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr != "_p_changed":
            return f"the name {node.attr}"
        if isinstance(node, ast.Name) and node.id not in names:
            return f"the unknown name {node.id}"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            return "a bare except"
    return ""
