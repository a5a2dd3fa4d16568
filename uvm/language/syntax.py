"""What of Python is in the language: a source is parsed within limits, and each construct outside is a finding.

Pure functions of the source, safe for text from strangers: its size and nesting are limited before Python's parser and
anything recursive sees it. RestrictedPython's verdict comes on top (`uvm/language/compiler.py`); this module says which subset
of what it would let through is the covenant's, and says why in words.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from uvm.language import bounds
from uvm.language import source_limits as limits
from uvm.language.builtins import ERRORS, NAMES
from uvm.language.source_limits import Finding


class Parsed(Struct, frozen=True):
    """A method's syntax tree; None when a finding forbids even to look at it."""

    module: ast.Module | None
    findings: list[Finding]

    @property
    def method(self) -> ast.FunctionDef | None:
        """The one function."""
        body = self.module.body if self.module is not None else []
        return body[0] if len(body) == 1 and isinstance(body[0], ast.FunctionDef) else None


def parse(source: str, selector: str) -> Parsed:
    """The syntax tree of `source`, and everything in it that is not in the language."""
    findings = list(limits.of_text(source))
    if findings:
        return Parsed(None, findings)
    try:
        with warnings.catch_warnings():
            # A doubtful escape is the author's business; the pattern of the text decides nothing here.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested to be parsed"
        return Parsed(None, [Finding(line, "syntax", f"not Python: {reason}")])
    findings = list(limits.of_tree(module)) or list(_one_function(module, selector))
    if findings:
        return Parsed(None, findings)
    method = module.body[0]
    if isinstance(method, ast.FunctionDef):
        checker = _Checker(method)
        checker.check()
        findings = limits.listed(sorted(checker.findings, key=lambda finding: finding.line))
    return Parsed(module, findings)


def _one_function(module: ast.Module, selector: str) -> Iterator[Finding]:
    if len(module.body) != 1 or not isinstance(module.body[0], ast.FunctionDef):
        others = [node for node in module.body if not isinstance(node, ast.FunctionDef)] or module.body[1:]
        yield Finding(others[0].lineno if others else 0, "one function", "a method is exactly one function and nothing beside it")
        return
    if selector.startswith("_"):
        yield Finding(module.body[0].lineno, "selector", f"the selector {selector} begins with _")
    if module.body[0].name != selector:
        yield Finding(module.body[0].lineno, "selector", f"the function is named {module.body[0].name}, the selector is {selector}")


_ALLOWED: Final = (
    *(ast.Assign, ast.AugAssign, ast.If, ast.For, ast.While, ast.Break, ast.Continue, ast.Return, ast.Pass, ast.Try, ast.ExceptHandler),
    *(ast.Raise, ast.Expr, ast.Assert, ast.Delete),
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Lambda, ast.IfExp, ast.Dict, ast.Set, ast.List, ast.Tuple, ast.ListComp, ast.SetComp),
    *(ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Compare, ast.Call, ast.keyword, ast.FormattedValue, ast.JoinedStr),
    *(ast.Constant, ast.Attribute, ast.Subscript, ast.Starred, ast.Name, ast.Slice, ast.expr_context, ast.arguments, ast.arg),
    *(ast.boolop, ast.unaryop, ast.cmpop),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift, ast.BitOr, ast.BitXor, ast.BitAnd),
)

_WORDS: Final[dict[type[ast.AST], str]] = {
    ast.FunctionDef: "a function inside the method; use a lambda of one expression or send a message",
    ast.AsyncFunctionDef: "async",
    ast.ClassDef: "a class; clone an object",
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.Global: "global; state is self.slot",
    ast.Nonlocal: "nonlocal; state is self.slot",
    ast.With: "with",
    ast.AsyncWith: "async",
    ast.AsyncFor: "async",
    ast.Await: "await",
    ast.Yield: "yield; return a list",
    ast.YieldFrom: "yield; return a list",
    ast.Match: "match; use if",
    ast.NamedExpr: ":=; assign in a statement of its own",
    ast.AnnAssign: "an annotation",
    ast.TryStar: "except*",
    ast.MatMult: "@",
}

_FORMAT: Final = re.compile(r"(?:[^{}]?[<>=^])?[-+ ]?#?0?(?:[0-9]{1,3})?[,_]?(?:\.[0-9]{1,2})?[bdeEfFgGnosxX%]?")


class _Checker:
    """Walks a method once, iteratively where the tree is deep, and collects findings."""

    def __init__(self, method: ast.FunctionDef) -> None:
        self.findings: list[Finding] = []
        self._method = method
        self._names_in_reach = set(NAMES)
        self._only_arguments: set[int] = set()
        self._error_places: set[int] = set()
        self._calls: set[int] = set()
        self._mark: set[int] = set()

    def check(self) -> None:
        self._signature()
        for node in ast.walk(self._method):
            self._binds(node)
            self._notes(node)
        for statement in self._method.body:
            for node in ast.walk(statement):
                self._node(node)
        self._jumps(self._method.body, loop=False, final=False)
        self._rethrows(self._method.body, handling=False)

    def _refuse(self, node: ast.AST, rule: str, message: str) -> None:
        self.findings.append(Finding(getattr(node, "lineno", self._method.lineno), rule, message))

    def _signature(self) -> None:
        method = self._method
        if method.decorator_list:
            self._refuse(method, "signature", "decorators are not in the language")
        if method.returns is not None or any(arg.annotation for arg in ast.walk(method.args) if isinstance(arg, ast.arg)):
            self._refuse(method, "signature", "annotations are not in the language; leave them out")
        self._arguments(method.args, method)
        names = [arg.arg for arg in (*method.args.posonlyargs, *method.args.args)]
        if not names or names[0] != "self":
            self._refuse(method, "signature", "the first parameter is self")
        if "self" in names[1:] + [arg.arg for arg in method.args.kwonlyargs]:
            self._refuse(method, "signature", "only the first parameter is named self")

    def _arguments(self, arguments: ast.arguments, node: ast.AST) -> None:
        if arguments.vararg or arguments.kwarg:
            self._refuse(node, "signature", "*args and **kwargs are not in the language; name each parameter")
        if arguments.posonlyargs or arguments.kwonlyargs:
            self._refuse(node, "signature", "/ and * in a signature are not in the language")
        for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
            value = default.operand if isinstance(default, ast.UnaryOp) and isinstance(default.op, ast.USub) else default
            if not isinstance(value, ast.Constant):
                self._refuse(default, "signature", "a default is a constant")

    def _binds(self, node: ast.AST) -> None:
        """Collect the names that the method itself makes, wherever it makes them."""
        name = bound_name(node)
        if not name:
            return
        self._names_in_reach.add(name)
        if name.startswith("_"):
            self._refuse(node, "names", f"the name {name} begins with _")
        elif name in ERRORS or (name == "self" and not isinstance(node, ast.arg)):
            self._refuse(node, "names", f"{name} cannot be given another meaning")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            self._refuse(node, "names", f"del {name}: only items can be deleted")

    def _notes(self, node: ast.AST) -> None:
        """Remember which nodes stand where only such nodes may."""
        if isinstance(node, ast.Call):
            self._calls.add(id(node.func))
            if len(node.args) == 1 and not node.keywords:
                self._only_arguments.add(id(node.args[0]))
            self._only_arguments.update(id(arg) for arg in node.args if isinstance(arg, ast.Starred))
        elif isinstance(node, ast.List | ast.Tuple | ast.Set) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            self._only_arguments.update(id(element) for element in node.elts if isinstance(element, ast.Starred))
        elif isinstance(node, ast.ExceptHandler) and node.type is not None:
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            self._error_places.update(id(kind) for kind in kinds)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            self._error_places.add(id(node.exc.func if isinstance(node.exc, ast.Call) else node.exc))
        elif is_mark(node):
            self._mark.add(id(node.targets[0]))  # type: ignore[attr-defined]  # is_mark says that it is an Assign

    def _node(self, node: ast.AST) -> None:
        if not isinstance(node, _ALLOWED):
            construct = _WORDS.get(type(node), type(node).__name__)
            self._refuse(node, "language", f"not in the language: {construct}")
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Constant):
            self._constant(node)
        elif isinstance(node, ast.FormattedValue):
            self._format(node)
        elif isinstance(node, ast.Raise):
            self._raise(node)
        elif isinstance(node, ast.Try):
            for handler in node.handlers:
                self._handler(handler)
        elif isinstance(node, ast.Lambda):
            self._arguments(node.args, node)
            if any(arg.arg == "self" for arg in node.args.args):
                self._refuse(node, "names", "self cannot be given another meaning")
        elif isinstance(node, ast.comprehension) and node.is_async:
            self._refuse(node.target, "language", "not in the language: async")
        elif isinstance(node, ast.For | ast.comprehension):
            self._targets(node.target)
            if isinstance(node, ast.For) and node.type_comment:
                self._refuse(node, "language", "not in the language: a type comment")
        elif isinstance(node, ast.GeneratorExp) and id(node) not in self._only_arguments:
            self._refuse(node, "language", "a generator expression may only be the one argument of a call; use [ … ]")
        elif isinstance(node, ast.Starred) and id(node) not in self._only_arguments:
            self._refuse(node, "language", "* may only stand in a call or a list")
        elif isinstance(node, ast.keyword):
            self._keyword(node)
        elif isinstance(node, ast.Slice | ast.Subscript):
            self._subscript(node)
        elif isinstance(node, ast.Compare):
            if len(node.ops) > 1 and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
                self._refuse(node, "language", "in stands in no chain of comparisons; put them together with and")
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                if not isinstance(target, ast.Subscript | ast.Name):
                    self._refuse(node, "language", "only items can be deleted; self.removeSlot_('name') removes a slot")
        elif isinstance(node, ast.Call) and not isinstance(node.func, ast.Name | ast.Attribute):
            self._refuse(node, "language", "only a name or a message can be called")

    def _name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        if node.id in ERRORS:
            if id(node) not in self._error_places:
                self._refuse(node, "names", f"{node.id} may only be raised or caught")
        elif node.id.startswith("_"):
            self._refuse(node, "names", f"the name {node.id} begins with _")
        elif node.id not in self._names_in_reach:
            vocabulary = ", ".join(sorted(NAMES))
            self._refuse(node, "names", f"{node.id} is not known here; there are the parameters, own variables, and {vocabulary}")

    def _attribute(self, node: ast.Attribute) -> None:
        if not node.attr.startswith("_") or id(node) in self._mark:
            return
        hint = "; the only use is the statement self._p_changed = True" if node.attr == "_p_changed" else ""
        self._refuse(node, "names", f"the attribute {node.attr} begins with _{hint}")

    def _constant(self, node: ast.Constant) -> None:
        if node.value is ... or isinstance(node.value, bytes | complex):
            self._refuse(node, "language", f"not in the language: a constant of type {type(node.value).__name__}")
        elif isinstance(node.value, int) and abs(node.value) > bounds.LARGEST:
            self._refuse(node, "bounds", f"an integer of more than {bounds.INT_BITS} bits")

    def _format(self, node: ast.FormattedValue) -> None:
        if node.format_spec is None:
            return
        parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else [node.format_spec]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if len(texts) != len(parts) or not _FORMAT.fullmatch("".join(texts)):
            self._refuse(node, "language", "the format of an f-string is a short constant such as :.2f or :>10")

    def _raise(self, node: ast.Raise) -> None:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if node.cause is not None:
            self._refuse(node, "errors", "raise … from … is not in the language")
        if error is not None and not (isinstance(error, ast.Name) and error.id in ERRORS):
            self._refuse(node, "errors", f"only these can be raised: {', '.join(ERRORS)}")
        if isinstance(node.exc, ast.Call):
            texts = [arg for arg in node.exc.args if not isinstance(arg, ast.Starred | ast.GeneratorExp)]
            if len(texts) > 1 or len(texts) != len(node.exc.args) or node.exc.keywords:
                self._refuse(node, "errors", "an error takes one text")

    def _handler(self, handler: ast.ExceptHandler) -> None:
        if handler.type is None:
            self._refuse(handler, "errors", "bare except is not in the language: write except Exception")
            return
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        for kind in kinds:
            if not (isinstance(kind, ast.Name) and kind.id in ERRORS):
                self._refuse(kind, "errors", f"only these can be caught: {', '.join(ERRORS)}")

    def _targets(self, target: ast.expr) -> None:
        for part in ast.walk(target):
            if not isinstance(part, ast.Name | ast.Tuple | ast.List | ast.expr_context):
                self._refuse(part, "language", "a loop's variable is a name or a tuple of names")
                return

    def _keyword(self, node: ast.keyword) -> None:
        if node.arg is None:
            self._refuse(node.value, "language", "**values in a call is not in the language; name each keyword")
        elif node.arg.startswith("_"):
            self._refuse(node.value, "names", f"the name {node.arg} begins with _")

    def _subscript(self, node: ast.Slice | ast.Subscript) -> None:
        if not isinstance(node, ast.Subscript):
            return
        index = node.slice
        if isinstance(index, ast.Tuple) and any(isinstance(part, ast.Slice | ast.Starred) for part in index.elts):
            self._refuse(node, "language", "a slice inside a tuple of indices is not in the language")
        if isinstance(index, ast.Slice) and isinstance(node.ctx, ast.Store):
            self._refuse(node, "language", "a slice cannot be assigned; build a new list")

    def _jumps(self, body: list[ast.stmt], loop: bool, final: bool) -> None:
        """Jumps out of a `finally` would swallow the end of an attempt; `break` and `continue` outside a loop are no Python."""
        for node in body:
            if isinstance(node, ast.Return) and final:
                self._refuse(node, "errors", "return inside finally is not in the language")
            elif isinstance(node, ast.Break | ast.Continue) and not loop:
                word = "break" if isinstance(node, ast.Break) else "continue"
                where = "that leaves finally is not in the language" if final else "stands outside a loop"
                self._refuse(node, "errors", f"{word} {where}")
            elif isinstance(node, ast.For | ast.While):
                self._jumps(node.body, True, final)
                self._jumps(node.orelse, loop, final)
            elif isinstance(node, ast.If):
                self._jumps(node.body, loop, final)
                self._jumps(node.orelse, loop, final)
            elif isinstance(node, ast.Try):
                for part in (node.body, node.orelse, *(handler.body for handler in node.handlers)):
                    self._jumps(part, loop, final)
                self._jumps(node.finalbody, False, True)

    def _rethrows(self, body: list[ast.stmt], handling: bool) -> None:
        for node in body:
            if isinstance(node, ast.Raise) and node.exc is None and not handling:
                self._refuse(node, "errors", "raise alone stands only where an error is being handled")
            for name in ("body", "orelse", "finalbody"):
                self._rethrows(getattr(node, name, []), handling)
            for handler in getattr(node, "handlers", []):
                self._rethrows(handler.body, True)


def bound_name(node: ast.AST) -> str:
    """The name that a node makes or takes away: a parameter, a variable, a caught error; '' for other nodes."""
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return node.id
    return node.name or "" if isinstance(node, ast.ExceptHandler) else ""


def is_mark(node: ast.AST) -> bool:
    """Whether a statement is exactly `self._p_changed = True`."""
    return (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr == "_p_changed"
        and isinstance(node.targets[0].value, ast.Name)
        and node.targets[0].value.id == "self"
        and isinstance(node.value, ast.Constant)
        and node.value.value is True
    )


def as_details(findings: list[Finding]) -> list[dict[str, object]]:
    """Findings as the details of an error carry them."""
    return [msgspec.to_builtins(finding) for finding in findings]
