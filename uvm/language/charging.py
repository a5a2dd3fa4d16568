"""Ticks in a method's tree: what charges for what is run, so that no source can run without any.

A pure transformation, the lower half of `transformer`. Each function, lambda and round of a loop or comprehension begins with a charge for
what stands in it; a branch with few nodes is charged with what surrounds it.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from RestrictedPython.transformer import RestrictingNodeTransformer

from uvm.language import syntax
from uvm.language.weights import BRANCH, COMPREHENSION, GUARDS, LAMBDA, NODE, OPERATOR, RAISED, ROUND

_FREE: Final = (ast.Constant, ast.Expr, ast.If, ast.IfExp, ast.BoolOp, ast.Try)
"""Nodes that cost nothing besides what they hold."""


def name_of(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def call_of(guard: str, *args: ast.expr) -> ast.Call:
    return ast.Call(name_of(guard), list(args), [])


class Charging(RestrictingNodeTransformer):
    """RestrictedPython's walk, in which whatever runs by itself begins with a charge for what stands in it."""

    def __init__(self, errors: list[str], warnings: list[str]) -> None:
        super().__init__(errors, warnings)
        self._units = ROUND
        self._shadowed: set[str] = set()

    # --- ticks ---------------------------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr | ast.stmt) and not isinstance(node, _FREE) and not isinstance(getattr(node, "ctx", None), ast.Store):
            self._units += NODE
        return super().visit(node)

    def _measured(self, visit: Callable[[], Any]) -> tuple[Any, int]:
        """Visit a part that runs apart from what surrounds it, and count the guards in it."""
        outer, self._units = self._units, ROUND
        result = visit()
        units, self._units = self._units, outer
        return result, units

    def _guard(self, node: ast.expr, guard: str, *args: ast.expr) -> ast.Call:
        self._units += GUARDS.get(guard, OPERATOR)
        new = call_of(guard, *args)
        ast.copy_location(new, node)
        return new

    def _weighed(self, node: ast.expr, guard: str = "_weighed_") -> Any:
        new = self.visit(node)
        return new if isinstance(node, ast.Constant) else self._guard(node, guard, new)

    @staticmethod
    def _tick(units: int) -> ast.Call:
        return call_of("_charge_", ast.Constant(units))

    def _visit_all(self, nodes: Iterable[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for node in nodes:
            new = self.visit(node)
            result.extend(new if isinstance(new, list) else [new])
        return result

    def _charged(self, nodes: list[ast.stmt], more: int = 0) -> list[ast.stmt]:
        body, units = self._measured(lambda: self._visit_all(nodes))
        tick = ast.Expr(self._tick(units + more))
        ast.copy_location(tick, nodes[0])
        return [tick, *body]

    def _branch(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        """Statements that may be passed by: many are charged where they are run, few with what surrounds them."""
        measured = self._measured(lambda: self._visit_all(nodes))
        body: list[ast.stmt] = measured[0]
        units = measured[1]
        if units <= BRANCH:
            self._units += units - ROUND
            return body
        tick = ast.Expr(self._tick(units))
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
            ast.ExceptHandler(name_of("_RecursionError_"), None, [ast.Expr(call_of("_too_deep_"))]),
            ast.ExceptHandler(name_of("Exception"), None, [ast.Expr(call_of("_leaving_")), ast.Raise()]),
        ]

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.check_function_argument_names(node)
        node.args = self.node_contents_visit(node.args)
        self._units += LAMBDA
        body, units = self._measured(lambda: self.visit(node.body))
        charged = ast.BoolOp(ast.Or(), [self._tick(units), body])
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
        test, units = self._measured(lambda: self.visit(node.test))
        # The test runs once more often than the body, and where the body is left early: so it pays for itself.
        node.test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self._tick(units)), test])
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

        def visit_round() -> None:
            for generator in node.generators:
                generator.ifs = [self.visit(test) for test in generator.ifs]
            if isinstance(node, ast.DictComp):
                node.key = self._weighed(node.key, "_key_")
                node.value = self.visit(node.value)
            elif isinstance(node, ast.SetComp):
                node.elt = self._weighed(node.elt, "_key_")
            else:
                node.elt = self.visit(node.elt)

        _, units = self._measured(visit_round)
        self._units += COMPREHENSION
        for generator in node.generators:
            # `_charge_` answers None, and `not None` lets the round go on.
            tick = ast.UnaryOp(ast.Not(), self._tick(units))
            ast.copy_location(tick, generator.target)
            generator.ifs.insert(0, tick)
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = _comprehension

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehension(node)

    # --- errors --------------------------------------------------------------------------------------------------

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.check_name(node, node.name)
        check = ast.Expr(call_of("_caught_"))
        ast.copy_location(check, node)
        node.type = cast(ast.expr, self.visit(node.type)) if node.type is not None else None
        node.body = [check, *self._charged(node.body, RAISED)]
        return node
