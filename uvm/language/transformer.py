"""The guards: RestrictedPython's walk over a method's tree, with the language's own calls put in the place of operations.

A pure transformation. RestrictedPython refuses what it does not know; what it knows becomes here: `x.m(…)` a send, other
`x.a` a read, `x.a = v` an assign, `self._p_changed = True` changed, `x[k] = v` a guarded store, an operator a call that
measures first. Each function, lambda and round of a loop or comprehension begins with a charge for what stands in it, so
that no source can run without ticks. The guards' names begin with `_`, which no name of a source may do; `uvm/language/compiler.py`
binds them.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from RestrictedPython.transformer import IOPERATOR_TO_STR, RestrictingNodeTransformer

from uvm.language import syntax
from uvm.language.builtins import NAMES
from uvm.language.weights import (
    BRANCH,
    CALL,
    CALLS,
    COMPREHENSION,
    CONSTANTS,
    GUARDS,
    LAMBDA,
    MEMBER,
    NODE,
    OPERATOR,
    PART,
    RAISED,
    ROUND,
    SENDS,
)

OPERATOR_GUARDS: Final = {
    **{"+": "_add_", "-": "_subtract_", "*": "_multiply_", "/": "_divide_", "//": "_floor_divide_", "%": "_modulo_", "**": "_power_"},
    **{"<<": "_shift_left_", ">>": "_shift_right_", "&": "_and_", "|": "_or_", "^": "_xor_"},
}

_FREE: Final = (ast.Constant, ast.Expr, ast.If, ast.IfExp, ast.BoolOp, ast.Try)
"""Nodes that cost nothing besides what they hold."""


def _constants(parts: Iterable[ast.expr]) -> int:
    """Units for the constants in a display, which are copied all at once."""
    return sum(isinstance(part, ast.Constant) for part in parts) // CONSTANTS


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _call(guard: str, *args: ast.expr) -> ast.Call:
    return ast.Call(_name(guard), list(args), [])


class Guarding(RestrictingNodeTransformer):
    """RestrictedPython's walk with the language's guards. `syntax` has already refused what is not in the language."""

    def __init__(self, errors: list[str], warnings: list[str]) -> None:
        super().__init__(errors, warnings)
        self._work = ROUND
        self._shadowed: set[str] = set()

    # --- ticks ---------------------------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr | ast.stmt) and not isinstance(node, _FREE) and not isinstance(getattr(node, "ctx", None), ast.Store):
            self._work += NODE
        return super().visit(node)

    def _measured(self, visit: Callable[[], Any]) -> tuple[Any, int]:
        """Visit a part that runs apart from what surrounds it, and count the guards in it."""
        outer, self._work = self._work, ROUND
        result = visit()
        work, self._work = self._work, outer
        return result, work

    def _guard(self, node: ast.expr, guard: str, *args: ast.expr) -> ast.Call:
        self._work += GUARDS.get(guard, OPERATOR)
        new = _call(guard, *args)
        ast.copy_location(new, node)
        return new

    @staticmethod
    def _tick(work: int) -> ast.Call:
        return _call("_charge_", ast.Constant(work))

    def _visit_all(self, nodes: Iterable[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for node in nodes:
            new = self.visit(node)
            result.extend(new if isinstance(new, list) else [new])
        return result

    def _charged(self, nodes: list[ast.stmt], more: int = 0) -> list[ast.stmt]:
        body, work = self._measured(lambda: self._visit_all(nodes))
        tick = ast.Expr(self._tick(work + more))
        ast.copy_location(tick, nodes[0])
        return [tick, *body]

    def _branch(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        """Statements that may be passed by: many are charged where they are run, few with what surrounds them."""
        measured = self._measured(lambda: self._visit_all(nodes))
        body: list[ast.stmt] = measured[0]
        work = measured[1]
        if work <= BRANCH:
            self._work += work - ROUND
            return body
        tick = ast.Expr(self._tick(work))
        ast.copy_location(tick, nodes[0])
        return [tick, *body]

    # --- functions -----------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._shadowed = {name for part in ast.walk(node) if (name := syntax.bound_name(part))}
        self.check_name(node, node.name)
        self.check_function_argument_names(node)
        node.args = self.node_contents_visit(node.args)
        guarded = ast.Try(self._charged(node.body), self._last_handlers(), [], [])
        ast.copy_location(guarded, node.body[0])
        node.body = [guarded]
        return node

    @staticmethod
    def _last_handlers() -> list[ast.ExceptHandler]:
        # They cost nothing until something is raised.
        return [
            ast.ExceptHandler(_name("_RecursionError_"), None, [ast.Expr(_call("_too_deep_"))]),
            ast.ExceptHandler(_name("Exception"), None, [ast.Expr(_call("_leaving_")), ast.Raise()]),
        ]

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.check_function_argument_names(node)
        node.args = self.node_contents_visit(node.args)
        self._work += LAMBDA
        body, work = self._measured(lambda: self.visit(node.body))
        charged = ast.BoolOp(ast.Or(), [self._tick(work), body])
        ast.copy_location(charged, node.body)
        node.body = charged
        return node

    # --- loops ---------------------------------------------------------------------------------------------------

    def visit_For(self, node: ast.For) -> ast.For:
        node.iter = self._guard(node.iter, "_iterated_", self.visit(node.iter))
        node.target = self.visit(node.target)
        node.body = self._charged(node.body)
        node.orelse = self._branch(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.While:
        test, work = self._measured(lambda: self.visit(node.test))
        # The test runs once more often than the body, and where the body is left early: so it pays for itself.
        node.test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self._tick(work)), test])
        ast.copy_location(node.test, test)
        node.body = self._charged(node.body)
        node.orelse = self._branch(node.orelse)
        return node

    def visit_If(self, node: ast.If) -> ast.If:
        node.test = self.visit(node.test)
        node.body = self._branch(node.body)
        node.orelse = self._branch(node.orelse)
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Any:
        for generator in node.generators:
            generator.iter = self._guard(generator.iter, "_iterated_", self.visit(generator.iter))
            generator.target = self.visit(generator.target)

        def each() -> None:
            for generator in node.generators:
                generator.ifs = [self.visit(test) for test in generator.ifs]
            if isinstance(node, ast.DictComp):
                node.key = self._weighed(node.key, "_key_")
                node.value = self.visit(node.value)
            elif isinstance(node, ast.SetComp):
                node.elt = self._weighed(node.elt, "_key_")
            else:
                node.elt = self.visit(node.elt)

        _, work = self._measured(each)
        self._work += COMPREHENSION
        for generator in node.generators:
            # `_charge_` answers None, and `not None` lets the round go on.
            tick = ast.UnaryOp(ast.Not(), self._tick(work))
            ast.copy_location(tick, generator.target)
            generator.ifs.insert(0, tick)
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = _comprehension

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehension(node)

    # --- messages ------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        plain_name = name in NAMES and name not in self._shadowed
        args = [self._argument(arg, lazy=plain_name) for arg in node.args]
        if plain_name:
            self._work += CALLS.get(name, CALL)
            node.args = args
            node.keywords = [ast.keyword(pair.arg, self.visit(pair.value)) for pair in node.keywords]
            return node
        packed = ast.Tuple(args, ast.Load())
        named = ast.Dict([ast.Constant(pair.arg) for pair in node.keywords], [self.visit(pair.value) for pair in node.keywords])
        if isinstance(node.func, ast.Attribute):
            self._check_attribute(node.func)
            self._work += SENDS.get(node.func.attr, 0)
            return self._guard(node, "_send_", self.visit(node.func.value), ast.Constant(node.func.attr), packed, named)
        return self._guard(node, "_call_", self.visit(node.func), packed, named)

    def _argument(self, node: ast.expr, lazy: bool) -> ast.expr:
        if isinstance(node, ast.GeneratorExp) and not lazy:
            # Only the vocabulary's functions know what to do with a generator; a message gets a list.
            eager = ast.ListComp(node.elt, node.generators)
            ast.copy_location(eager, node)
            node = eager
        return cast(ast.expr, self.visit(node))

    def visit_Starred(self, node: ast.Starred) -> ast.Starred:
        node.value = self._guard(node.value, "_spread_", self.visit(node.value))
        return node

    def _check_attribute(self, node: ast.Attribute) -> None:
        # RestrictedPython's own checks of the name: its verdict stands even where the node is replaced.
        probe = ast.Attribute(ast.copy_location(ast.Constant(None), node), node.attr, ast.Load())
        super().visit_Attribute(ast.copy_location(probe, node))

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self._check_attribute(node)
        return self._guard(node, "_read_", self.visit(node.value), ast.Constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        container = self.visit(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._guard(node, "_cut_", container, *self._slice(node.slice))
        return self._guard(node, "_item_", container, self.visit(node.slice))

    def _slice(self, node: ast.Slice) -> list[ast.expr]:
        return [ast.Constant(None) if part is None else self.visit(part) for part in (node.lower, node.upper, node.step)]

    # --- assignment ----------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> Any:
        if syntax.is_mark(node):
            return self._statement(node, self._guard(node.value, "_changed_", _name("self")))
        value = self.visit(node.value)
        if len(node.targets) == 1:
            return self._store(node, node.targets[0], value)
        shared = self.gen_tmp_name()
        first = ast.Assign([ast.Name(shared, ast.Store())], value)
        ast.copy_location(first, node)
        return [first, *(part for target in node.targets for part in self._store(node, target, _name(shared)))]

    def _store(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        """The statements that put `value` (already visited) into a target of any kind."""
        new: ast.stmt
        if isinstance(target, ast.Name):
            new = ast.Assign([self.visit(target)], value)
        elif isinstance(target, ast.Attribute):
            self._check_attribute(target)
            return self._statement(node, self._guard(target, "_assign_", self.visit(target.value), ast.Constant(target.attr), value))
        elif isinstance(target, ast.Subscript):
            return self._statement(node, self._guard(target, "_set_item_", self.visit(target.value), self.visit(target.slice), value))
        elif isinstance(target, ast.Tuple | ast.List) and all(isinstance(item, ast.Name) for item in target.elts):
            new = ast.Assign([self.visit(target)], self._guard(target, "_iterated_", value))
        elif isinstance(target, ast.Tuple | ast.List):
            names = [self.gen_tmp_name() for _ in target.elts]
            row = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
            new = ast.Assign([row], self._guard(target, "_iterated_", value))
            ast.copy_location(new, node)
            return [new, *(part for item, name in zip(target.elts, names, strict=True) for part in self._store(node, item, _name(name)))]
        else:
            self.not_allowed(target)
            return []
        ast.copy_location(new, node)
        return [new]

    def _statement(self, node: ast.stmt, call: ast.Call) -> list[ast.stmt]:
        new = ast.Expr(call)
        ast.copy_location(new, node)
        return [new]

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        symbol = ast.Constant(IOPERATOR_TO_STR[type(node.op)].removesuffix("="))
        before: list[ast.stmt] = []

        def once(value: ast.expr) -> ast.expr:
            """The value's name, so that it is computed only once though it is read and written."""
            if isinstance(value, ast.Name | ast.Constant):
                return cast(ast.expr, self.visit(value))
            name = self.gen_tmp_name()
            new = ast.Assign([ast.Name(name, ast.Store())], self.visit(value))
            ast.copy_location(new, node)
            before.append(new)
            return _name(name)

        target = node.target
        if isinstance(target, ast.Name):
            current = self.visit(ast.copy_location(_name(target.id), target))
            changed = self._guard(node.value, "_in_place_", symbol, current, self.visit(node.value))
            return self._store(node, target, changed)
        owner = once(target.value)
        if isinstance(target, ast.Attribute):
            self._check_attribute(target)
            name = ast.Constant(target.attr)
            current = self._guard(target, "_read_", owner, name)
            changed = self._guard(target, "_in_place_", symbol, current, self.visit(node.value))
            return [*before, *self._statement(node, self._guard(target, "_assign_", owner, name, changed))]
        key = once(target.slice)
        current = self._guard(target, "_item_", owner, key)
        changed = self._guard(target, "_in_place_", symbol, current, self.visit(node.value))
        return [*before, *self._statement(node, self._guard(target, "_set_item_", owner, key, changed))]

    def visit_Delete(self, node: ast.Delete) -> Any:
        new: list[ast.stmt] = []
        for target in node.targets:
            if not isinstance(target, ast.Subscript):
                self.not_allowed(target)
                continue
            container = self.visit(target.value)
            if isinstance(target.slice, ast.Slice):
                new += self._statement(node, self._guard(target, "_delete_cut_", container, *self._slice(target.slice)))
            else:
                new += self._statement(node, self._guard(target, "_delete_item_", container, self.visit(target.slice)))
        return new

    # --- operators -----------------------------------------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        symbol = IOPERATOR_TO_STR[type(node.op)].removesuffix("=")
        return self._guard(node, OPERATOR_GUARDS[symbol], self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            return self._guard(node, "_minus_", self.visit(node.operand))
        return self.node_contents_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        if all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            return self.node_contents_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            guard = "_equal_" if isinstance(node.ops[0], ast.Eq | ast.NotEq) else "_contains_"
            new: ast.expr = self._guard(node, guard, self.visit(node.left), self.visit(node.comparators[0]))
            if isinstance(node.ops[0], ast.NotEq | ast.NotIn):
                new = ast.copy_location(ast.UnaryOp(ast.Not(), new), node)
            return new
        node.left = self._weighed(node.left)
        node.comparators = [self._weighed(part) for part in node.comparators]
        return node

    def _weighed(self, node: ast.expr, guard: str = "_weighed_") -> Any:
        new = self.visit(node)
        return new if isinstance(node, ast.Constant) else self._guard(node, guard, new)

    def visit_Dict(self, node: ast.Dict) -> Any:
        self._work += MEMBER * len(node.keys) + _constants(node.values)
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if key is None:
                node.values[index] = self._guard(value, "_spread_pairs_", self.visit(value))
            else:
                node.keys[index] = self._weighed(key, "_key_")
                node.values[index] = self.visit(value)
        return node

    def visit_List(self, node: ast.List) -> Any:
        self._work += _constants(node.elts)
        return super().visit_List(node)

    def visit_Set(self, node: ast.Set) -> Any:
        self._work += MEMBER * len(node.elts)
        node.elts = [self._spread_members(part) if isinstance(part, ast.Starred) else self._weighed(part, "_key_") for part in node.elts]
        return node

    def _spread_members(self, node: ast.Starred) -> ast.Starred:
        node.value = self._guard(node.value, "_spread_members_", self.visit(node.value))
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        self._work += PART * len(node.values)
        return self._guard(node, "_joined_", *(self.visit(part) for part in node.values))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Any:
        value = self.visit(node.value)
        if node.conversion in (ord("r"), ord("a")):
            value = self._guard(node, "_represented_", value)
        elif node.conversion == ord("s") or node.format_spec is None:
            value = self._guard(node, "_text_", value)
        if node.format_spec is None:
            return value
        parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
        spec = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
        return self._guard(node, "_formatted_", value, ast.Constant(spec))

    # --- errors --------------------------------------------------------------------------------------------------

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.check_name(node, node.name)
        check = ast.Expr(_call("_caught_"))
        ast.copy_location(check, node)
        node.type = cast(ast.expr, self.visit(node.type)) if node.type is not None else None
        node.body = [check, *self._charged(node.body, RAISED)]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc.args = [self._guard(node.exc, "_error_text_", self.visit(arg)) for arg in node.exc.args]
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        node.test = self.visit(node.test)
        if node.msg is not None:
            node.msg = self._guard(node.msg, "_error_text_", self.visit(node.msg))
        return node
