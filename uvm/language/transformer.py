"""The guards: RestrictedPython's walk over a method's tree, with the language's own calls put in the place of operations.

A pure transformation. RestrictedPython refuses what it does not know; what it knows becomes here: `x.m(…)` a send, other
`x.a` a read, `x.a = v` an assign, `self._p_changed = True` changed, `x[k] = v` a guarded store, an operator a call that
measures first. `charging` puts the ticks between them. The guards' names begin with `_`, which no name of a source may do;
`uvm/language/compiler.py` binds them.
"""

import ast
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, cast

from RestrictedPython.transformer import IOPERATOR_TO_STR

from uvm.language import syntax
from uvm.language.builtins import NAMES
from uvm.language.charging import Charging, name_of
from uvm.language.weights import CALL, CALLS, CONSTANTS, MEMBER, PART, SENDS

OPERATOR_GUARDS: Final = {
    **{"+": "_add_", "-": "_subtract_", "*": "_multiply_", "/": "_divide_", "//": "_floor_divide_", "%": "_modulo_", "**": "_power_"},
    **{"<<": "_shift_left_", ">>": "_shift_right_", "&": "_and_", "|": "_or_", "^": "_xor_"},
}


def _constants(parts: Iterable[ast.expr]) -> int:
    """Units for the constants in a display, which are copied all at once."""
    return sum(isinstance(part, ast.Constant) for part in parts) // CONSTANTS


class Guarding(Charging):
    """RestrictedPython's walk with the language's guards. `syntax` has already refused what is not in the language."""

    # --- messages ------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        plain_name = name in NAMES and name not in self._shadowed
        args = [self._argument(arg, lazy=plain_name) for arg in node.args]
        if plain_name:
            self._units += CALLS.get(name, CALL)
            node.args = args
            node.keywords = [ast.keyword(pair.arg, self.visit(pair.value)) for pair in node.keywords]
            return node
        packed = ast.Tuple(args, ast.Load())
        named = ast.Dict([ast.Constant(pair.arg) for pair in node.keywords], [self.visit(pair.value) for pair in node.keywords])
        if isinstance(node.func, ast.Attribute):
            self._check_attribute(node.func)
            self._units += SENDS.get(node.func.attr, 0)
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
            return self._statement(node, self._guard(node.value, "_changed_", name_of("self")))
        value = self.visit(node.value)
        if len(node.targets) == 1:
            return self._store(node, node.targets[0], value)
        shared = self.gen_tmp_name()
        first = ast.Assign([ast.Name(shared, ast.Store())], value)
        ast.copy_location(first, node)
        return [first, *(part for target in node.targets for part in self._store(node, target, name_of(shared)))]

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
        elif isinstance(target, ast.Tuple | ast.List) and all(isinstance(element, ast.Name) for element in target.elts):
            new = ast.Assign([self.visit(target)], self._guard(target, "_iterated_", value))
        elif isinstance(target, ast.Tuple | ast.List):
            names = [self.gen_tmp_name() for _ in target.elts]
            row = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
            new = ast.Assign([row], self._guard(target, "_iterated_", value))
            ast.copy_location(new, node)
            stores = [self._store(node, element, name_of(name)) for element, name in zip(target.elts, names, strict=True)]
            return [new, *chain.from_iterable(stores)]
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
            return name_of(name)

        target = node.target
        if isinstance(target, ast.Name):
            current = self.visit(ast.copy_location(name_of(target.id), target))
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

    def visit_Dict(self, node: ast.Dict) -> Any:
        self._units += MEMBER * len(node.keys) + _constants(node.values)
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if key is None:
                node.values[index] = self._guard(value, "_spread_pairs_", self.visit(value))
            else:
                node.keys[index] = self._weighed(key, "_key_")
                node.values[index] = self.visit(value)
        return node

    def visit_List(self, node: ast.List) -> Any:
        self._units += _constants(node.elts)
        return super().visit_List(node)

    def visit_Set(self, node: ast.Set) -> Any:
        self._units += MEMBER * len(node.elts)
        node.elts = [self._spread_members(part) if isinstance(part, ast.Starred) else self._weighed(part, "_key_") for part in node.elts]
        return node

    def _spread_members(self, node: ast.Starred) -> ast.Starred:
        node.value = self._guard(node.value, "_spread_members_", self.visit(node.value))
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        self._units += PART * len(node.values)
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

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc.args = [self._guard(node.exc, "_error_text_", self.visit(arg)) for arg in node.exc.args]
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        node.test = self.visit(node.test)
        if node.msg is not None:
            node.msg = self._guard(node.msg, "_error_text_", self.visit(node.msg))
        return node
