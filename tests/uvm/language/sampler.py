"""Draws random sentences of a grammar in xgrammar's EBNF (the part of it that `uvm.language.grammar` writes)."""

import ast
import re
from collections.abc import Callable
from random import Random
from typing import Any

Draw = Callable[[Random, int], str]
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\[(?:[^\]\\]|\\.)*\])|([A-Za-z_]\w*)|(\{\d+,\d+\})|([()|*+?]))')


class Sampler:
    """Rules as functions that draw a text. After `size` rules the shortest way out is taken."""

    def __init__(self, grammar: str, fixed: dict[str, list[str]] | None = None, size: int = 300) -> None:
        self._rules: dict[str, list[list[tuple[str, Any, tuple[int, int]]]]] = {}
        self._fixed = fixed or {}
        self._size = size
        self._drawn = 0
        for line in grammar.splitlines():
            name, _, right = line.partition(" ::= ")
            tokens = _tokens(right)
            self._rules[name] = _alternatives(tokens)
            if tokens:
                raise ValueError(f"rule {name}: {tokens} left over")
        self._cost = self._costs()

    def draw(self, random: Random, rule: str = "root") -> str:
        """One sentence."""
        self._drawn = 0
        return self._rule(rule, random)

    def _costs(self) -> dict[str, float]:
        """How many rules deep the shallowest sentence of each rule is."""
        cost = dict.fromkeys(self._rules, float("inf"))
        for _ in self._rules:
            for name, choices in self._rules.items():
                cost[name] = min(cost[name], 1 + self._cheapest(choices, cost))
        return cost

    def _cheapest(self, choices: list[list[tuple[str, Any, tuple[int, int]]]], cost: dict[str, float]) -> float:
        return min(max((self._of(symbol, cost) for symbol in choice if symbol[2][0] > 0), default=0) for choice in choices)

    def _of(self, symbol: tuple[str, Any, tuple[int, int]], cost: dict[str, float]) -> float:
        kind, content, _ = symbol
        if kind == "rule":
            return cost[str(content)]
        return self._cheapest(content, cost) if kind == "group" else 0

    def _rule(self, name: str, random: Random) -> str:
        self._drawn += 1
        if name in self._fixed and random.random() < 0.95:
            return random.choice(self._fixed[name])
        return self._choices(self._rules[name], random)

    def _choices(self, choices: list[list[tuple[str, Any, tuple[int, int]]]], random: Random) -> str:
        over = self._drawn > self._size
        choice = min(choices, key=lambda alternative: self._cheapest([alternative], self._cost)) if over else random.choice(choices)
        return "".join(self._symbol(symbol, random) for symbol in choice)

    def _symbol(self, symbol: tuple[str, Any, tuple[int, int]], random: Random) -> str:
        kind, content, (low, high) = symbol
        times = low if self._drawn > self._size or random.random() < 0.4 else random.randint(low, min(high, low + 2))
        parts = []
        for _ in range(times):
            if kind == "text":
                parts.append(str(content))
            elif kind == "class":
                parts.append(random.choice(str(content)))
            elif kind == "rule":
                parts.append(self._rule(str(content), random))
            else:
                parts.append(self._choices(content, random))
        return "".join(parts)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not EBNF: {text[at : at + 40]}")
        kinds = ("text", "class", "rule", "times", "sign")
        tokens += [(kind, group) for kind, group in zip(kinds, match.groups(), strict=True) if group is not None]
        at = match.end()
    return tokens


def _alternatives(tokens: list[tuple[str, str]]) -> list[list[tuple[str, Any, tuple[int, int]]]]:
    choices: list[list[tuple[str, Any, tuple[int, int]]]] = [[]]
    while tokens and tokens[0] != ("sign", ")"):
        kind, text = tokens.pop(0)
        if (kind, text) == ("sign", "|"):
            choices.append([])
            continue
        content: object = text
        if (kind, text) == ("sign", "("):
            kind, content = "group", _alternatives(tokens)
            if not tokens or tokens.pop(0) != ("sign", ")"):
                raise ValueError("a group is not closed")
        elif kind == "text":
            content = ast.literal_eval(f'"{text}"')
        elif kind == "class":
            content = _members(text[1:-1])
        times = (1, 1)
        if tokens and tokens[0][0] == "times":
            low, high = tokens.pop(0)[1][1:-1].split(",")
            times = (int(low), int(high))
        elif tokens and tokens[0] in (("sign", "*"), ("sign", "+"), ("sign", "?")):
            times = {"*": (0, 99), "+": (1, 99), "?": (0, 1)}[tokens.pop(0)[1]]
        choices[-1].append((kind, content, times))
    return choices


def _members(text: str) -> str:
    """The characters of a class; of a wide range only its ends."""
    units = re.findall(r"\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\\.|.", text)
    single = [ast.literal_eval(f'"{unit}"') if unit[0] == "\\" and unit[1] in "uxnt" else unit[-1] for unit in units]
    members, index = "", 0
    while index < len(single):
        if index + 2 < len(single) and units[index + 1] == "-":
            first, last = ord(single[index]), ord(single[index + 2])
            members += "".join(map(chr, range(first, last + 1))) if last - first < 128 else chr(first) + "é" + chr(last)
            index += 3
        else:
            members += single[index]
            index += 1
    return members
