"""The persistence covenant: a change inside a value that `self` holds is followed by `self._p_changed = True`.

Pure functions of a syntax tree. An assignment to `self.slot` marks the object by itself; an in-place change does not,
and would be forgotten by the image. Here such changes are found, through simple aliases and loops, and the places
where the mark is missing are named; `uvm/audit.py` inserts it there. What this analysis cannot see (a value handed to
another method and changed there) the trial and the guard at run time catch.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct

from uvm.plain import MUTATORS
from uvm.syntax import is_mark

_MUTATORS: Final = frozenset().union(*MUTATORS.values())
_MUTABLE: Final = frozenset({"list", "dict", "set", "counter", "merging_set", "merging_queue"})
_INSIDE: Final = frozenset({"get", "setdefault", "pop"})
_VIEWS: Final = frozenset({"values", "items", "keys", "copy"})
_REGROUPED: Final = frozenset({"list", "tuple", "set", "dict", "sorted", "reversed", "enumerate", "zip", "items"})
_PICKED: Final = frozenset({"min", "max"})


class Reach(IntEnum):
    """How a value is tied to the receiver: not, by what it contains, or itself."""

    FREE = 0
    CONTENTS = 1
    HELD = 2


class Missing(Struct, frozen=True):
    """A mark that is missing: `site` is the statement that changes something, `before` says that the mark belongs in
    front of `anchor`, else behind it."""

    site: ast.stmt
    anchor: ast.stmt
    before: bool


def missing_marks(method: ast.FunctionDef, slots: Mapping[str, str] | None = None, near: bool = False) -> list[Missing]:
    """Where marks must be inserted so that each in-place change is followed by one. `slots` gives the kinds of known slots.

    One mark at the end of a block serves all its changes; `near` puts one right behind each change instead.
    """
    flow = _Flow(_aliases(method, slots))
    flow.follow(method.body)
    return flow.missing(near)


# --- what is reached from self -------------------------------------------------------------------------------------


class Aliases(Struct):
    """How local names are tied to the receiver (the strongest tie anywhere in the method), and the slots' kinds."""

    names: dict[str, Reach]
    slots: Mapping[str, str]

    def reach(self, node: ast.expr) -> Reach:
        """How the value of an expression is tied to the receiver."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, Reach.FREE)
        if isinstance(node, ast.Attribute):
            return self._slot(node)
        if isinstance(node, ast.Subscript):
            inside = self.reach(node.value)
            if isinstance(node.slice, ast.Slice):
                return min(inside, Reach.CONTENTS)
            return Reach.HELD if inside else Reach.FREE
        if isinstance(node, ast.IfExp):
            return max(self.reach(node.body), self.reach(node.orelse))
        if isinstance(node, ast.BoolOp):
            return max(map(self.reach, node.values))
        if isinstance(node, ast.BinOp):
            return min(max(self.reach(node.left), self.reach(node.right)), Reach.CONTENTS)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return self._containing(node.elts)
        if isinstance(node, ast.Starred):
            return self.reach(node.value)
        if isinstance(node, ast.Dict):
            return self._containing(node.values)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return self._containing([node.elt])
        if isinstance(node, ast.DictComp):
            return self._containing([node.value])
        if isinstance(node, ast.Call):
            return self._call(node)
        return Reach.FREE

    def _slot(self, node: ast.Attribute) -> Reach:
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            return Reach.FREE
        kind = self.slots.get(node.attr)
        return Reach.HELD if kind is None or kind in _MUTABLE else Reach.FREE

    def _containing(self, parts: Iterable[ast.expr]) -> Reach:
        return Reach.CONTENTS if any(self.reach(part) for part in parts) else Reach.FREE

    def _call(self, node: ast.Call) -> Reach:
        if isinstance(node.func, ast.Name):
            if node.func.id in _REGROUPED:
                return self._containing(node.args)
            if node.func.id in _PICKED and any(self.reach(arg) for arg in node.args):
                return Reach.HELD
            return Reach.FREE
        if isinstance(node.func, ast.Attribute):
            owner = self.reach(node.func.value)
            if node.func.attr in _INSIDE and owner:
                return Reach.HELD
            if node.func.attr in _VIEWS and owner:
                return Reach.CONTENTS
            if not node.args and not node.keywords:
                # `self.tags()` is `self.tags`.
                return self._slot(node.func)
        return Reach.FREE


def _aliases(method: ast.FunctionDef, slots: Mapping[str, str] | None) -> Aliases:
    aliases = Aliases({}, slots or {})
    bindings = list(_bindings(method))
    # Each round can only strengthen ties, so as many rounds as there are bindings are enough.
    for _ in bindings:
        before = dict(aliases.names)
        for target, value, walked in bindings:
            reach = aliases.reach(value)
            if walked:
                reach = Reach.HELD if reach else Reach.FREE
            _tie(aliases, target, reach)
        if aliases.names == before:
            break
    return aliases


def _bindings(method: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr, bool]]:
    """(target, value, whether the target goes through what the value contains)."""
    for node in ast.walk(method):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if not isinstance(target, ast.Tuple | ast.List):
                    yield target, node.value, False
                elif isinstance(node.value, ast.Tuple | ast.List) and len(target.elts) == len(node.value.elts):
                    yield from ((part, value, False) for part, value in zip(target.elts, node.value.elts, strict=True))
                else:
                    yield target, node.value, True
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter, True


def _tie(aliases: Aliases, target: ast.expr, reach: Reach) -> None:
    for part in ast.walk(target):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.id != "self":
            aliases.names[part.id] = max(reach, aliases.names.get(part.id, Reach.FREE))


# --- what changes it ------------------------------------------------------------------------------------------------


def _changes(node: ast.AST, aliases: Aliases) -> bool:
    """Whether an expression or simple statement changes something that the receiver holds."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            if part.func.attr in _MUTATORS and aliases.reach(part.func.value) is Reach.HELD:
                return True
        elif isinstance(part, ast.Subscript) and not isinstance(part.ctx, ast.Load):
            if aliases.reach(part.value) is Reach.HELD:
                return True
        elif isinstance(part, ast.AugAssign) and _grows(part, aliases):
            return True
    return False


def _grows(node: ast.AugAssign, aliases: Aliases) -> bool:
    """Whether an augmented assignment to a name can change a held collection in place, and is no arithmetic."""
    if not (isinstance(node.target, ast.Name) and aliases.reach(node.target) is Reach.HELD):
        return False
    displays = ast.List | ast.ListComp | ast.Set | ast.SetComp | ast.Dict | ast.DictComp | ast.Tuple
    return isinstance(node.value, displays) or aliases.reach(node.value) is not Reach.FREE


# --- whether a mark follows ------------------------------------------------------------------------------------------


class _Block(Struct, eq=False):
    """A list of statements; one under `try` may be left after any of them."""

    body: list[ast.stmt]
    guarded: bool


class _Site(Struct, eq=False):
    """A statement that changes something, and where it stands. `head`: the change happens as the statement begins (a
    test, an iterable) or as it leaves (return), so that only a mark in front of it always counts."""

    statement: ast.stmt
    block: _Block
    head: bool
    missing: bool = False


Pending = list[_Site]


class _Flow:
    """Follows the paths through a method with the changes that no mark has followed yet."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases
        self._sites: dict[int, _Site] = {}

    def missing(self, near: bool) -> list[Missing]:
        """One mark for each block of statements that needs one, or for each change where it must be near."""
        found: list[Missing] = []
        blocks: dict[int, list[_Site]] = {}
        for site in self._sites.values():
            if not site.missing:
                continue
            if site.head:
                found.append(Missing(site.statement, site.statement, True))
            elif near or site.block.guarded:
                found.append(Missing(site.statement, site.statement, False))
            else:
                blocks.setdefault(id(site.block.body), []).append(site)
        for sites in blocks.values():
            found.append(_behind(max(sites, key=lambda site: site.block.body.index(site.statement))))
        return found

    def follow(self, body: list[ast.stmt]) -> None:
        """Go through the whole method: what is unmarked at its end is missing."""
        self._fail(self._walk(body, _Block(body, False), []) or [])

    def _walk(self, body: list[ast.stmt], block: _Block, pending: Pending) -> Pending | None:
        for index, statement in enumerate(body):
            marked_before = index > 0 and is_mark(body[index - 1])
            after = self._statement(statement, block, pending, marked_before)
            if after is None:
                return None
            pending = after
        return pending

    def _fail(self, pending: Iterable[_Site]) -> None:
        for site in pending:
            site.missing = True

    def _site(self, statement: ast.stmt, block: _Block, head: bool) -> _Site:
        return self._sites.setdefault(id(statement), _Site(statement, block, head))

    def _head(self, statement: ast.stmt, part: ast.AST | None, block: _Block, marked_before: bool) -> None:
        if part is not None and not marked_before and _changes(part, self._aliases):
            self._site(statement, block, True).missing = True

    def _statement(self, statement: ast.stmt, block: _Block, pending: Pending, marked_before: bool) -> Pending | None:
        if is_mark(statement):
            return []
        if isinstance(statement, ast.Return | ast.Raise):
            self._head(statement, statement, block, marked_before)
            self._fail(pending)
            return None
        if isinstance(statement, ast.Break | ast.Continue):
            # Simpler than following them to where they lead: the mark belongs in front of them.
            self._fail(pending)
            return None
        if isinstance(statement, ast.If):
            return self._if(statement, statement, block, pending, marked_before)
        if isinstance(statement, ast.For | ast.While):
            self._head(statement, statement.iter if isinstance(statement, ast.For) else statement.test, block, marked_before)
            joined = pending
            for _ in range(2):
                # The second round meets what the first one left unmarked.
                joined = _joined(self._walk(statement.body, _Block(statement.body, block.guarded), joined), joined) or []
            after = self._walk(statement.orelse, _Block(statement.orelse, block.guarded), joined)
            # A loop may be left by `break`, past its `else`.
            return _joined(after, joined)
        if isinstance(statement, ast.Try):
            return self._try(statement, block, pending)
        if _changes(statement, self._aliases):
            return [*pending, self._site(statement, block, False)]
        return pending

    def _if(self, statement: ast.If, first: ast.If, block: _Block, pending: Pending, marked_before: bool) -> Pending | None:
        # Nothing can be inserted in front of an `elif`: what its test changes is marked in front of the first `if`.
        self._head(first, statement.test, block, marked_before)
        body = self._walk(statement.body, _Block(statement.body, block.guarded), pending)
        only = statement.orelse[0] if len(statement.orelse) == 1 else None
        if isinstance(only, ast.If) and only.col_offset == statement.col_offset:
            return _joined(body, self._if(only, first, block, pending, marked_before))
        return _joined(body, self._walk(statement.orelse, _Block(statement.orelse, block.guarded), pending))

    def _try(self, statement: ast.Try, block: _Block, pending: Pending) -> Pending | None:
        caught = bool(statement.handlers)
        body = self._walk(statement.body, _Block(statement.body, True), pending)
        self._fail_unmarked(statement.body, caught)
        otherwise = self._walk(statement.orelse, _Block(statement.orelse, block.guarded), body) if body is not None else None
        ends = [otherwise, *(self._walk(handler.body, _Block(handler.body, block.guarded), pending) for handler in statement.handlers)]
        joined: Pending | None = None
        for end in ends:
            joined = _joined(joined, end)
        final = self._walk(statement.finalbody, _Block(statement.finalbody, block.guarded), joined if joined is not None else pending)
        return None if joined is None else final

    def _fail_unmarked(self, body: list[ast.stmt], caught: bool) -> None:
        """Under a handler, each change needs its mark at once: the next statement may fail."""
        if not caught:
            return
        for part in ast.walk(ast.Module(body, [])):
            for inner in (getattr(part, name, None) for name in ("body", "orelse", "finalbody")):
                if not isinstance(inner, list):
                    continue
                for index, statement in enumerate(inner):
                    site = self._sites.get(id(statement))
                    if site is not None and not site.head and not (index + 1 < len(inner) and is_mark(inner[index + 1])):
                        site.block = _Block(inner, True)
                        site.missing = True


def _joined(one: Pending | None, other: Pending | None) -> Pending | None:
    """The changes pending where two paths meet."""
    if one is None or other is None:
        return one if other is None else other
    return [*one, *(site for site in other if all(site is not seen for seen in one))]


def _behind(site: _Site) -> Missing:
    """At the end of the block, but in front of what leaves it."""
    body = site.block.body
    start = body.index(site.statement)
    for statement in body[start + 1 :]:
        if isinstance(statement, ast.Return | ast.Raise | ast.Break | ast.Continue):
            return Missing(site.statement, statement, True)
    return Missing(site.statement, body[-1], False)
