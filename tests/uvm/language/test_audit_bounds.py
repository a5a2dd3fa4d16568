"""The audit of the worst source costs in proportion to its size: counted in function calls, which no machine's speed changes."""

import ast
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvm.language import source_limits as limits
from uvm.language.audit import audit

CALLS_PER_NODE = 350
"""Measured: at most 230, where each line needs a mark and the source is compiled again with the marks in it."""

HEADS = ("for x in self.a:", "while self.a:", "if self.a.pop():", "try:", "for x in self.b.values():")


def calls(source: str) -> int:
    """Python's own function calls during one audit."""
    count = 0

    def count_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(count_call)
    try:
        audit(source, "m", 0, [])
    finally:
        sys.setprofile(None)
    return count


def method(*lines: str) -> str:
    return "def m(self):\n" + "".join(f" {line}\n" for line in lines)


def nested(heads: list[str], leaf: str = "self.a.append(1)") -> str:
    lines = [" " * depth + head for depth, head in enumerate(heads)]
    closing = [f"{' ' * depth}except ValueError:\n  {' ' * depth}{leaf}" for depth, head in enumerate(heads) if head == "try:"]
    return method(*lines, " " * len(heads) + leaf, *reversed(closing))


WORST = {
    "for": nested(["for x in self.a:"] * 18),
    "while": nested(["while self.a:"] * 18),
    "if": nested(["if self.a:"] * 80),
    "try": nested(["try:"] * 18),
    "elif": method("if self.a:", " pass", *["elif self.a.pop():\n  self.a.append(1)"] * 80),
    "comprehension": method("x = [self.a.append(1)" + "".join(f" for x{number} in self.b" for number in range(18)) + "]"),
    "nested comprehensions": method("x = " + "[" * 45 + "self.a.append(1)" + "".join(f" for x{number} in self.b]" for number in range(45))),
    "lambdas": method("x = " + "lambda a: " * 58 + "self.a"),
    "and": method("x = " + "self.a and " * 700 + "1"),
    "comparison": method("x = " + "self.a < " * 700 + "1"),
    "calls within each other": method("x = " + "max(" * 45 + "self.a.append(1)" + ")" * 45),
    "calls after each other": method("x = self.a" + ".pop().append(1)" * 20),
    "sum": method("x = self.a" + " + self.a" * 60),
    "changes": method(*["self.a.append(1)"] * 380),
    "changes on one line": method(";".join(["self.a.append(1)"] * 380)),
    "aliases from the last to the first": method("a0 = self", *[f"a{n} = a{n + 1}" for n in range(600)], "a601 = self.a", "a600 = a601"),
    "unknown names": method(*[f"q{number}(w{number})" for number in range(400)]),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_source_of_its_kind_is_audited_in_proportion_to_its_nodes(name: str) -> None:
    source = WORST[name]
    nodes = sum(1 for _ in ast.walk(ast.parse(source)))
    assert nodes <= limits.NODES
    assert calls(source) < CALLS_PER_NODE * max(nodes, 200)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(HEADS), min_size=1, max_size=18), st.integers(1, 40))
def test_whatever_is_nested_in_whatever(heads: list[str], leaves: int) -> None:
    source = nested(heads, ";".join(["self.a.append(1)"] * leaves))
    nodes = sum(1 for _ in ast.walk(ast.parse(source)))
    assert calls(source) < CALLS_PER_NODE * max(nodes, 200)


def test_a_source_with_a_thousand_faults_names_twenty() -> None:
    findings = audit(WORST["unknown names"], "m", 0, []).findings
    assert len(findings) == limits.FINDINGS + 1
    assert findings[-1].message == "and 780 more findings"
