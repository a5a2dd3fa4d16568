"""Limits of a source's size and shape, checked before anything recursive sees it; and what a finding is.

Pure functions, safe for text from strangers: neither Python's parser nor a walk over the tree can be made to overflow
or to run long by a source that passes them.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

SOURCE_BYTES: Final = 16_384
DEPTH: Final = 100
"""Deepest nesting of a method's syntax tree."""
NODES: Final = 4000
BRACKETS: Final = 60
"""Deepest nesting of brackets, and the longest run of prefix operators."""


class Finding(Struct, frozen=True):
    """One thing that the audit saw. `line` counts from 1; 0 where there is none. A `fatal` one refuses the method."""

    line: Annotated[int, Meta(ge=0)]
    rule: str
    message: str
    fatal: bool = True


FINDINGS: Final = 20
"""Findings that are named; a source can have thousands."""


def listed(findings: Sequence[Finding]) -> list[Finding]:
    """The first findings, and how many more there are."""
    more = len(findings) - FINDINGS
    if more <= 0:
        return list(findings)
    fatal = any(finding.fatal for finding in findings[FINDINGS:])
    return [*findings[:FINDINGS], Finding(0, "size", f"and {more:,} more findings", fatal)]


def of_text(source: str) -> Iterator[Finding]:
    """What is wrong with the text before it is parsed: its length, its characters, its nesting."""
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        yield Finding(0, "size", "the source is no valid Unicode text")
        return
    if size > SOURCE_BYTES:
        yield Finding(0, "size", f"the source has {size:,} bytes; at most {SOURCE_BYTES:,}")
        return
    control = _CONTROL.search(source)
    if control:
        line = source.count("\n", 0, control.start()) + 1
        yield Finding(line, "syntax", f"the control character {control.group()!r} is not in the language")
    if _bracket_depth(source) > BRACKETS or _PREFIXES.search(source):
        yield Finding(0, "size", f"more than {BRACKETS} brackets or prefix operators within each other")


# Control characters but newline and tab, and those that make a text read in another order than it is written.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# Possessive, and of bounded parts, so that the search is linear. A lambda whose parameters are longer is found by its depth.
_PREFIXES: Final = re.compile(r"(?:[-+~]\s*+|\bnot\s++|\blambda\b[^:\n]{0,80}+:\s*+){" + str(BRACKETS) + "}")


def _bracket_depth(source: str) -> int:
    """Deepest nesting of brackets; those in texts count as well, which errs on the safe side."""
    depth = deepest = 0
    for bracket in re.findall(r"[()\[\]{}]", source):
        depth = depth + 1 if bracket in "([{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def of_tree(module: ast.Module) -> Iterator[Finding]:
    """What is wrong with the size of the tree."""
    level: list[ast.AST] = [module]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > NODES:
            yield Finding(0, "size", f"more than {NODES:,} syntax nodes")
            return
        if depth > DEPTH:
            yield Finding(getattr(level[0], "lineno", 0), "size", f"nested more than {DEPTH} deep")
            return
        level = [child for node in level for child in ast.iter_child_nodes(node)]
