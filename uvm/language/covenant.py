"""The persistence covenant: a change inside a value that `self` holds is followed by `self._p_changed = True`.

Pure functions of a syntax tree. An assignment to `self.slot` marks the object by itself; an in-place change does not,
and would be forgotten by the image. Here such changes are found, through simple aliases and loops, and the places
where the mark is missing are named; `uvm/language/audit.py` inserts it there. What this analysis cannot see (a value handed to
another method and changed there) the trial and the guard at run time catch.
"""

import ast
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct

from uvm.language.syntax import is_mark
from uvm.language.value_methods import MUTATORS

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


class MissingMark(Struct, frozen=True):
    """A mark that is missing: `site` is the statement that changes something, `before` says that the mark belongs in
    front of `anchor`, else behind it."""

    site: ast.stmt
    anchor: ast.stmt
    before: bool


def missing_marks(method: ast.FunctionDef, slots: Mapping[str, str] | None = None, near: bool = False) -> list[MissingMark]:
    """Where marks must be inserted so that each in-place change is followed by one. `slots` gives the kinds of known slots.

    One mark at the end of a block serves all its changes; `near` puts one right behind each change instead.
    """
    flow = _Flow(Aliases(method, slots or {}))
    flow.follow(method.body)
    return flow.missing(near)


# --- what is reached from self -------------------------------------------------------------------------------------


_SAME: Final = (Reach.FREE, Reach.CONTENTS, Reach.HELD)
_CONTAINS: Final = (Reach.FREE, Reach.CONTENTS, Reach.CONTENTS)
_TAKES: Final = (Reach.FREE, Reach.HELD, Reach.HELD)
"""What a part's tie makes of the whole: the same, a container of it, or something taken out of it."""

_Place = ast.expr | str
_Link = tuple[_Place, tuple[Reach, ...]]


class Aliases:
    """How expressions and local names are tied to the receiver: the strongest tie anywhere in the method.

    Each expression is tied as strongly as any of its parts makes it, and a name as strongly as any value that it is bound to. So
    the ties go from the slots along links from part to whole; a place rises at most twice, and each link is followed as often.
    """

    def __init__(self, method: ast.FunctionDef, slots: Mapping[str, str]) -> None:
        self._slots = slots
        self._reach: dict[_Place, Reach] = {}
        self._wholes: dict[_Place, list[_Link]] = {}
        risen: list[_Place] = []
        for node in ast.walk(method):
            if isinstance(node, ast.expr):
                for part, makes in _parts(node):
                    self._wholes.setdefault(part, []).append((node, makes))
                if self._is_held_slot(node):
                    self._reach[node] = Reach.HELD
                    risen.append(node)
            for target, value, makes in _bindings(node):
                names = (part.id for part in ast.walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
                self._wholes.setdefault(value, []).extend((name, makes) for name in names if name != "self")
        while risen:
            part = risen.pop()
            for whole, makes in self._wholes.get(part, ()):
                reach = makes[self._reach[part]]
                if reach > self._reach.get(whole, Reach.FREE):
                    self._reach[whole] = reach
                    risen.append(whole)

    def reach(self, node: ast.expr) -> Reach:
        """How the value of an expression of this method is tied to the receiver."""
        return self._reach.get(node, Reach.FREE)

    def named(self, name: str) -> Reach:
        """How the values of a local name are tied to the receiver."""
        return self._reach.get(name, Reach.FREE)

    def _is_held_slot(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and not node.args and not node.keywords:
            # `self.tags()` is `self.tags`.
            node = node.func
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"):
            return False
        kind = self._slots.get(node.attr)
        return kind is None or kind in _MUTABLE


def _parts(node: ast.expr) -> Iterator[_Link]:
    """The parts that tie the whole to the receiver, and how."""
    if isinstance(node, ast.Name):
        yield node.id, _SAME
    elif isinstance(node, ast.Subscript):
        yield node.value, _CONTAINS if isinstance(node.slice, ast.Slice) else _TAKES
    elif isinstance(node, ast.IfExp):
        yield from ((part, _SAME) for part in (node.body, node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from ((part, _SAME) for part in node.values)
    elif isinstance(node, ast.BinOp):
        yield from ((part, _CONTAINS) for part in (node.left, node.right))
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        yield from ((part, _CONTAINS) for part in node.elts)
    elif isinstance(node, ast.Starred):
        yield node.value, _SAME
    elif isinstance(node, ast.Dict):
        yield from ((part, _CONTAINS) for part in node.values)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        yield node.elt, _CONTAINS
    elif isinstance(node, ast.DictComp):
        yield node.value, _CONTAINS
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in _REGROUPED or node.func.id in _PICKED:
            yield from ((part, _CONTAINS if node.func.id in _REGROUPED else _TAKES) for part in node.args)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _INSIDE | _VIEWS:
        yield node.func.value, _TAKES if node.func.attr in _INSIDE else _CONTAINS


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr, tuple[Reach, ...]]]:
    """(target, value, what the value's tie makes of the target's)."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if not isinstance(target, ast.Tuple | ast.List):
                yield target, node.value, _SAME
            elif isinstance(node.value, ast.Tuple | ast.List) and len(target.elts) == len(node.value.elts):
                yield from ((part, value, _SAME) for part, value in zip(target.elts, node.value.elts, strict=True))
            else:
                yield target, node.value, _TAKES
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.target, node.iter, _TAKES


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
    if not (isinstance(node.target, ast.Name) and aliases.named(node.target.id) is Reach.HELD):
        return False
    displays = ast.List | ast.ListComp | ast.Set | ast.SetComp | ast.Dict | ast.DictComp | ast.Tuple
    return isinstance(node.value, displays) or aliases.reach(node.value) is not Reach.FREE


# --- whether a mark follows ------------------------------------------------------------------------------------------


class _Block(Struct, eq=False):
    """A list of statements. Under `try` it may be left after any of them; where that is `caught`, the method goes on."""

    body: list[ast.stmt]
    guarded: bool = False
    caught: bool = False

    def inner(self, body: list[ast.stmt]) -> "_Block":
        """A block of a statement of this one."""
        return _Block(body, self.guarded, self.caught)


class _Site(Struct, eq=False):
    """A statement that changes something, and where it stands. `head`: the change happens as the statement begins (a
    test, an iterable) or as it leaves (return), so that only a mark in front of it always counts."""

    statement: ast.stmt
    block: _Block
    index: int
    head: bool


_Pending = int
"""The changes that no mark has followed yet, a bit for each; None stands for a path that has ended."""


class _Flow:
    """Follows the paths through a method with the changes that no mark has followed yet. Each statement is visited once."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases
        self._sites: list[_Site | None] = []
        self._unmarked: _Pending = 0

    def missing(self, near: bool) -> list[MissingMark]:
        """One mark for each block of statements that needs one, or for each change where it must be near."""
        marks: list[MissingMark] = []
        last: dict[int, _Site] = {}
        for number, site in enumerate(self._sites):
            if site is None or not self._unmarked >> number & 1:
                continue
            if site.head:
                marks.append(MissingMark(site.statement, site.statement, True))
            elif near or site.block.guarded:
                marks.append(MissingMark(site.statement, site.statement, False))
            else:
                latest = last.setdefault(id(site.block.body), site)
                last[id(site.block.body)] = max(latest, site, key=lambda candidate: candidate.index)
        # The tests of an `if` and its `elif`s share one place.
        return list(dict.fromkeys(marks)) + [_behind(site) for site in last.values()]

    def follow(self, body: list[ast.stmt]) -> None:
        """Go through the whole method: what is unmarked at its end is missing."""
        left = self._walk(_Block(body), 0)
        self._unmarked |= left or 0

    def _walk(self, block: _Block, pending: _Pending) -> _Pending | None:
        for index, statement in enumerate(block.body):
            after = self._statement(statement, block, index, pending)
            if after is None:
                return None
            pending = after
        return pending

    def _new(self, site: _Site | None) -> _Pending:
        self._sites.append(site)
        return 1 << len(self._sites) - 1

    def _head(self, statement: ast.stmt, part: ast.AST, block: _Block, index: int) -> None:
        marked_before = index > 0 and is_mark(block.body[index - 1])
        if not marked_before and _changes(part, self._aliases):
            self._unmarked |= self._new(_Site(statement, block, index, True))

    def _statement(self, statement: ast.stmt, block: _Block, index: int, pending: _Pending) -> _Pending | None:
        if is_mark(statement):
            return 0
        if isinstance(statement, ast.Return | ast.Raise):
            self._head(statement, statement, block, index)
            self._unmarked |= pending
            return None
        if isinstance(statement, ast.Break | ast.Continue):
            # Simpler than following them to where they lead: the mark belongs in front of them.
            self._unmarked |= pending
            return None
        if isinstance(statement, ast.If):
            return self._if(statement, statement, block, index, pending)
        if isinstance(statement, ast.For | ast.While):
            self._head(statement, statement.iter if isinstance(statement, ast.For) else statement.test, block, index)
            return self._loop(statement, block, pending)
        if isinstance(statement, ast.Try):
            return self._try(statement, block, pending)
        if _changes(statement, self._aliases):
            site = self._new(_Site(statement, block, index, False))
            followed = index + 1 < len(block.body) and is_mark(block.body[index + 1])
            if block.caught and not followed:
                # Under a handler, each change needs its mark at once: the next statement may fail.
                self._unmarked |= site
            return pending | site
        return pending

    def _loop(self, statement: ast.For | ast.While, block: _Block, pending: _Pending) -> _Pending:
        # A second round meets what the first one left unmarked. The token goes through the first round in its place: where it is found
        # unmarked, so is all that comes round.
        token = self._new(None)
        first = self._walk(block.inner(statement.body), pending | token) or 0
        joined = (first | pending) & ~token
        if self._unmarked & token:
            self._unmarked |= joined
        # A loop may be left by `break`, past its `else`.
        return joined | (self._walk(block.inner(statement.orelse), joined) or 0)

    def _if(self, statement: ast.If, first: ast.If, block: _Block, index: int, pending: _Pending) -> _Pending | None:
        # Nothing can be inserted in front of an `elif`: what its test changes is marked in front of the first `if`.
        self._head(first, statement.test, block, index)
        body = self._walk(block.inner(statement.body), pending)
        only = statement.orelse[0] if len(statement.orelse) == 1 else None
        if isinstance(only, ast.If) and only.col_offset == statement.col_offset:
            return _joined(body, self._if(only, first, block, index, pending))
        return _joined(body, self._walk(block.inner(statement.orelse), pending))

    def _try(self, statement: ast.Try, block: _Block, pending: _Pending) -> _Pending | None:
        body = self._walk(_Block(statement.body, True, block.caught or bool(statement.handlers)), pending)
        joined = self._walk(block.inner(statement.orelse), body) if body is not None else None
        for handler in statement.handlers:
            joined = _joined(joined, self._walk(block.inner(handler.body), pending))
        final = self._walk(block.inner(statement.finalbody), joined if joined is not None else pending)
        return None if joined is None else final


def _joined(left: _Pending | None, right: _Pending | None) -> _Pending | None:
    """The changes pending where two paths meet."""
    if left is None or right is None:
        return left if right is None else right
    return left | right


def _behind(site: _Site) -> MissingMark:
    """At the end of the block, but in front of what leaves it."""
    body = site.block.body
    for statement in body[site.index + 1 :]:
        if isinstance(statement, ast.Return | ast.Raise | ast.Break | ast.Continue):
            return MissingMark(site.statement, statement, True)
    return MissingMark(site.statement, body[-1], False)
