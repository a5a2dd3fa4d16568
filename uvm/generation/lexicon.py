"""What the words of a selector lead one to expect of a body: a small network over words and signs, which the decision asks. Pure.

A selector is read as words, with the names of the receiver's slots replaced by their kind: `total_of_fares_above` of an object with a list
`fares` is total, of, <list:number>, above. A body is read as signs: the operations in it, and which stands in which. The network says how
likely each sign is for such words, and so how surprising a body is: one that leaves out what a word asks for lacks a sign that is expected.
It knows words, and nothing of the model that wrote the body; `uvm.generation.lexicon_fit` fits it to tasks of the forge.

Width of some tens, hundreds of signs: read in about 1 ms, once a message.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from operator import mul
from typing import Final

import msgspec
from msgspec import Struct

from uvm.generation.naming import stem, words_of

FILE: Final = "lexicon.msgpack"
MOST_WORDS: Final = 40
"""Words of a selector that are read."""
MOST_SIGNS: Final = 400
"""Signs of a body that are read."""

_FIELD: Final = re.compile(r"'([A-Za-z_]\w*)':")


class LexiconFile(Struct, frozen=True):
    """The file. `words` and `signs` in the order of rows; rows of `width` signed bytes, each with its scale."""

    words: list[str]
    signs: list[str]
    width: int
    word_rows: bytes
    word_scales: list[float]
    sign_rows: bytes
    sign_scales: list[float]
    bias: list[float]


class ExpectedSigns(Struct, frozen=True):
    """How likely each sign is, in log odds, and which share of the words is `unknown`."""

    odds: tuple[float, ...]
    unknown: float


class Reading(Struct, frozen=True):
    """How a body meets what was expected, in nats. `surprise`: of all signs; `usual`: what is to be expected of that, as the words are.

    `odd`: the most surprising sign that it has, `lacking`: the most surprising that it has not, each with its nats. `novel`: how many of
    its signs are unknown.
    """

    surprise: float
    usual: float
    odd: tuple[str, float]
    lacking: tuple[str, float]
    novel: int
    unknown: float


NOTHING: Final = Reading(0.0, 0.0, ("", 0.0), ("", 0.0), 0, 0.0)
"""Nothing was expected, and nothing surprises."""


class Lexicon:
    """The network, ready to be asked."""

    def __init__(self, content: LexiconFile) -> None:
        width = content.width
        self._words = {word: row for row, word in enumerate(content.words)}
        self.signs = tuple(content.signs)
        self._number = {sign: row for row, sign in enumerate(content.signs)}
        self._rows = memoryview(content.word_rows).cast("b")
        self._scales = content.word_scales
        self._width = width
        out = memoryview(content.sign_rows).cast("b")
        self._out = [[value * scale for value in out[row * width : (row + 1) * width]] for row, scale in enumerate(content.sign_scales)]
        self._bias = content.bias

    def expects(self, words: Sequence[str]) -> ExpectedSigns:
        """What such words, as `read` has them, lead one to expect."""
        known = [row for row in map(self._words.get, tokens(words)) if row is not None]
        hidden = [0.0] * self._width
        for row in known:
            scale = self._scales[row]
            for place, value in enumerate(self._rows[row * self._width : (row + 1) * self._width]):
                hidden[place] += scale * value
        hidden = [math.tanh(value) for value in hidden]
        odds = tuple(bias + sum(map(mul, row, hidden)) for row, bias in zip(self._out, self._bias, strict=True))
        spoken = [word for word in words if not word.startswith(("<", "/"))]
        missing = sum(word not in self._words for word in spoken)
        return ExpectedSigns(odds, missing / len(spoken) if spoken else 0.0)

    def reads(self, expectation: ExpectedSigns, source: str) -> Reading:
        """How a body meets the expectation."""
        shown = signs(source)
        present = {self._number[sign] for sign in shown if sign in self._number}
        surprise = usual = 0.0
        odd = lacking = ("", 0.0)
        for row, odds in enumerate(expectation.odds):
            there, away = _softplus(-odds), _softplus(odds)  # nats of the sign being there, and of its being away
            chance = 1 / (1 + math.exp(min(60.0, -odds))) if odds < 60 else 1.0
            usual += chance * there + (1 - chance) * away
            if row in present:
                surprise += there
                if there > odd[1]:
                    odd = (self.signs[row], there)
            else:
                surprise += away
                if away > lacking[1]:
                    lacking = (self.signs[row], away)
        return Reading(surprise, usual, odd, lacking, sum(sign not in self._number for sign in shown), expectation.unknown)


@cache
def shipped() -> Lexicon:
    """The lexicon that ships with this package."""
    return Lexicon(msgspec.msgpack.decode(files("uvm.generation").joinpath(FILE).read_bytes(), type=LexiconFile))


def _softplus(value: float) -> float:
    return max(0.0, value) + math.log1p(math.exp(-abs(value)))


# --- words ------------------------------------------------------------------------------------------------------------


def read(selector: str, slots: Mapping[str, str], parameters: int) -> list[str]:
    """The selector's words, stemmed, with slots and fields of rows replaced by their kind; the number of parameters last.

    `slots`: the receiver's, with their values as a prompt shows them.
    """
    spoken = [stem(word) for word in words_of(selector)[:MOST_WORDS]]
    named = [(tuple(map(stem, words_of(name))), f"<{kind(shown)}>") for name, shown in slots.items()]
    named += [(tuple(map(stem, words_of(field))), "<field>") for shown in slots.values() for field in _FIELD.findall(shown)]
    named = sorted(((name, instead) for name, instead in named if name), key=lambda pair: -len(pair[0]))
    heard, place = [], 0
    while place < len(spoken):
        taken, instead = _named(spoken[place:], named) or ((spoken[place],), spoken[place])
        heard.append(instead)
        place += len(taken)
    return [*heard, f"/{parameters}"]


def _named(spoken: Sequence[str], named: Sequence[tuple[tuple[str, ...], str]]) -> tuple[tuple[str, ...], str] | None:
    """The longest name that the words begin with, and its kind."""
    return next(((name, instead) for name, instead in named if tuple(spoken[: len(name)]) == name), None)


def tokens(words: Sequence[str]) -> list[str]:
    """What the network looks up: each word, each pair, the first one, and each with the number of parameters. Each once."""
    spoken, arity = words[:-1], words[-1]
    found = [*words, *(f"{first} {second}" for first, second in pairwise(spoken)), *(f"{word} {arity}" for word in spoken)]
    return list(dict.fromkeys([*found, f"^{spoken[0]}"] if spoken else found))


def kind(shown: str) -> str:
    """The kind of a value, by how a prompt shows it: flag, number, text, list:…, dict:…, object, or other."""
    if shown.startswith("["):
        return f"list:{kind(shown[1:])}"
    if shown.startswith("{"):
        return f"dict:{kind(shown.partition(': ')[2])}"
    if shown.startswith(("'", '"')):
        return "text"
    if shown.startswith(("True", "False")):
        return "flag"
    if shown[:1].isdigit() or shown[:1] == "-":
        return "number"
    return "object" if shown.startswith("<object") else "other"


# --- signs ------------------------------------------------------------------------------------------------------------

_OPERATORS: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Pow: "**", ast.Mod: "%"}
_COMPARISONS: Final = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in",
    ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
_SPECIAL: Final = (0, 1, 2, 3, 10, 24, 60, 100)
_SENT: Final = frozenset(
    "append pop remove insert get keys values items setdefault extend join split upper lower title capitalize strip replace startswith "
    "endswith count index sort reverse clear update format isdigit".split()
)
"""Methods of values, which are signs by name; all others are one sign."""


def signs(source: str) -> set[str]:
    """The operations of a method, each alone and in what it stands; none of what is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    method = tree.body[0] if tree.body and isinstance(tree.body[0], ast.FunctionDef) else None
    parameters = frozenset(argument.arg for argument in method.args.args[1:]) if method else frozenset[str]()
    found: set[str] = set()
    slots: set[str] = set()
    waiting: list[tuple[ast.AST, str]] = [(statement, "") for statement in (method.body if method else tree.body)]
    while waiting and len(found) < MOST_SIGNS:
        node, around = waiting.pop()
        sign = _sign(node, parameters)
        if sign:
            found.add(sign)
            if around and sign != "flag!":
                found.add(f"{around}>{sign}")
            around = sign
        if sign == "self." and isinstance(node, ast.Attribute):
            slots.add(node.attr)
        waiting += [(child, around) for child in ast.iter_child_nodes(node)]
    return found | {f"slots{min(3, len(slots))}"}


def _sign(node: ast.AST, parameters: frozenset[str]) -> str:
    match node:
        case ast.BinOp(op=operator):
            return _OPERATORS.get(type(operator), "?")
        case ast.AugAssign(op=operator):
            return f"{_OPERATORS.get(type(operator), '?')}="
        case ast.Compare(ops=[comparison, *_]):
            return _COMPARISONS.get(type(comparison), "?")
        case ast.BoolOp(op=operator):
            return "and" if isinstance(operator, ast.And) else "or"
        case ast.UnaryOp(op=ast.Not()):
            return "not"
        case ast.UnaryOp(op=ast.USub()):
            return "negative"
        case ast.Call(func=ast.Name(id=name)):
            return f"{name}()"
        case ast.Call(func=ast.Attribute(attr=name)):
            return f".{name}()" if name in _SENT else ".…()"
        case ast.ListComp(generators=[first, *_]):
            return "[for if]" if first.ifs else "[for]"
        case ast.GeneratorExp(generators=[first, *_]):
            return "(for if)" if first.ifs else "(for)"
        case ast.DictComp(generators=[first, *_]):
            return "{for if}" if first.ifs else "{for}"
        case ast.IfExp():
            return "if else"
        case ast.JoinedStr():
            return "f''"
        case ast.Subscript():
            return _index(node.slice)
        case ast.Constant(value=value):
            return _constant(value)
        case ast.Name(id=name) if name in parameters:
            return "argument"
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return "flag!" if name == "_p_changed" else "self."
        case ast.Attribute():
            return "other."
        case ast.Assign(targets=[target, *_]):
            return "self.=" if isinstance(target, ast.Attribute) else "[]=" if isinstance(target, ast.Subscript) else "="
        case ast.keyword(arg=name):
            return f"{name}="
        case ast.If() | ast.For() | ast.While():
            return type(node).__name__.lower()
    return ""


def _index(index: ast.expr) -> str:
    match index:
        case ast.Slice():
            return "[:]"
        case ast.Constant(value=str()):
            return "[key]"
        case ast.Constant(value=0 | 1 as number):
            return f"[{number}]"
        case ast.UnaryOp():
            return "[-1]"
        case ast.Constant():
            return "[number]"
    return "[…]"


def _constant(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:g}" if value in _SPECIAL else "number"
    if isinstance(value, str):
        return f"'{value}'" if len(value) < 3 else "'text'"
    return ""
