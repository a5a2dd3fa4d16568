"""CPU seconds for the whole budget of ticks, spent in each operation and method of the language on small, large and hostile values.

`python -m benchmarks.ticks [PART]` prints the table, and writes docs/ticks.md where all was measured. What is listed is taken from the
language's own tables; `missing()` says what of them has no case.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from uvm.awakening.awakening import primordial
from uvm.errors import AttemptEnded
from uvm.image.image import Database, Image
from uvm.image.methods import install, method
from uvm.language import value_methods as plain
from uvm.language import weights
from uvm.language.bounds import kind_of
from uvm.language.builtins import NAMES
from uvm.language.transformer import OPERATOR_GUARDS
from uvm.objects import PARENTS, Counter, MergingQueue, MergingSet, UvmObject
from uvm.rights import Limits
from uvm.runtime import wherefore
from uvm.runtime.attempt import Attempt
from uvm.runtime.personas import PERSONAS
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.prompting import PROMPTS
from uvm.runtime.recollection import EVERYWHERE
from uvm.runtime.revoking import AUTHORS
from uvm.runtime.runtime import Runtime

BUDGET: Final = Limits().ticks
SHARE: Final = 40
"""The part of the budget that is spent in each case; the figure is for the whole."""
ROUNDS: Final = 3
"""How often each case is measured; the least counts."""
PRIME: Final = 2**61 - 1


class Case(NamedTuple):
    """An operation (`covers` names it as the language's tables do), the shape of its values, the statement, and the values a, b, c.

    `times`: how often it stands in the loop; 0 is once and without a loop, and what that took is taken for the whole budget.
    """

    covers: str
    shape: str
    statement: str
    values: tuple[Any, ...] = ()
    times: int = 8


def colliding_tuples(count: int) -> list[tuple[int, int]]:
    """Pairs of whole numbers of the same hash: Python's hash of a tuple can be solved for its last item."""
    mask, first, second, fifth = 2**64 - 1, 11400714785074694791, 14029467366897019727, 2870177450012600261

    def after(state: int, lane: int) -> int:
        state = (state + lane * second) & mask
        return (((state << 31) | (state >> 33)) * first) & mask

    hashed, inverse, pairs = after(fifth, 1) + 5 * second, pow(second, -1, 2**64), []
    number = 0
    while len(pairs) < count:
        number += 1
        last = ((hashed - after(fifth, number)) * inverse) & mask
        if last < PRIME:
            pairs.append((number, last))
    return pairs


WORDS: Final = [f"word{number}" for number in range(1000)]
NUMBERS: Final = [(number * 7919) % 10007 for number in range(1000)]
MANY: Final = [(number * 7919) % 100_003 for number in range(50_000)]
LINE: Final = "the quick brown fox"
PAGE: Final = "the quick brown fox jumps " * 2000
GREEK: Final = "λόγος καὶ ἔργον " * 2000
FULL: Final = "a" * 50_000
HOSTILE: Final = "a" * 40 + "b" + "a" * 40
NESTED: Final[Any] = [[[number, "x"], {"k": [number]}] for number in range(300)]
SHARED: Final[Any] = (lambda start: [start := [start, start] for _ in range(12)][-1])([1])
BIG: Final = 2**999 - 7
BYTES: Final = b"0123456789" * 5000
FLOATS: Final = [number * 1.7e-3 for number in range(50_000)]
FAR: Final = [number * 1.7e290 for number in range(1, 1000)]
POWERS: Final = [float(2**step) * mantissa for mantissa in range(1, 400) for step in range(0, 900, 61)]
ROUGH: Final = [number << 44 for number in range(50_000)]
HIGH: Final = [base + PRIME * times for base in range(2000) for times in range(8)]
PAIRS: Final = [(number, number + 1) for number in range(3000)]


def texts() -> Iterator[Case]:
    shapes: dict[str, tuple[str, ...]] = {"small": (LINE,), "large": (PAGE,), "not ASCII": (GREEK,), "one letter": (FULL,)}
    for name in "lower upper title capitalize isdigit isalpha isalnum isspace".split():
        for shape, values in shapes.items():
            yield Case(f"str.{name}", shape, f"a.{name}()", values)
    for name in ("strip", "lstrip", "rstrip"):
        yield from (Case(f"str.{name}", shape, f"a.{name}()", values) for shape, values in shapes.items())
        yield Case(f"str.{name}", "all stripped", f"a.{name}(b)", (FULL, "bcdefgha"))
        yield Case(f"str.{name}", "of many", f"a.{name}(b)", (FULL, "".join(map(chr, range(1000, 3000))) + "a"))
    for name in ("find", "index", "count"):
        yield Case(f"str.{name}", "small", f"a.{name}(b)", (LINE, "fox"))
        yield Case(f"str.{name}", "at once", f"a.{name}(b)", (PAGE, "quick"))
        yield Case(f"str.{name}", "one letter", f"a.{name}(b)", (PAGE + "z", "z"))
        yield Case(f"str.{name}", "at the end", f"a.{name}(b)", (PAGE + "end", "end"))
        yield Case(f"str.{name}", "not ASCII", f"a.{name}(b)", (GREEK + "ζξψ", "ζξψ"))
        yield Case(f"str.{name}", "hostile", f"a.{name}(b)", (FULL[:20_000] + HOSTILE, HOSTILE))
        yield Case(f"str.{name}", "hostile, long", f"a.{name}(b)", (FULL + HOSTILE * 20, HOSTILE * 20))
    for name in ("split", "rsplit"):
        yield Case(f"str.{name}", "small", f"a.{name}()", (LINE,))
        yield Case(f"str.{name}", "large", f"a.{name}()", (PAGE,))
        yield Case(f"str.{name}", "by a letter", f"a.{name}(b)", (PAGE, "o"))
        yield Case(f"str.{name}", "every letter", f"a.{name}(b)", (FULL, "a"))
        yield Case(f"str.{name}", "hostile", f"a.{name}(b)", (FULL[:20_000], HOSTILE))
        yield Case(f"str.{name}", "hostile, long", f"a.{name}(b, 1)", (FULL, HOSTILE * 20))
    yield Case("str.splitlines", "small", "a.splitlines()", ("a\nb\nc",))
    yield Case("str.splitlines", "large", "a.splitlines()", (PAGE,))
    yield Case("str.splitlines", "many", "a.splitlines()", ("x\n" * 20_000,))
    yield Case("str.join", "small", "a.join(b)", (", ", ["a", "b", "c"]))
    yield Case("str.join", "many", "a.join(b)", (", ", WORDS))
    yield Case("str.join", "large", "a.join(b)", (", ", [PAGE] * 20))
    yield Case("str.replace", "small", "a.replace(b, c)", (LINE, "fox", "dog"))
    yield Case("str.replace", "every letter", "a.replace(b, c)", (FULL, "a", "bc"))
    yield Case("str.replace", "every place", "a.replace(b, c)", (FULL, "", "bc"))
    yield Case("str.replace", "hostile", "a.replace(b, c)", (FULL[:20_000], HOSTILE, "x"))
    for name, part in (("startswith", "the"), ("endswith", "fox")):
        yield Case(f"str.{name}", "small", f"a.{name}(b)", (LINE, part))
        yield Case(f"str.{name}", "long", f"a.{name}(b)", (FULL, FULL[1:]))
        yield Case(f"str.{name}", "many", f"a.{name}(b)", (LINE, tuple(WORDS)))
    for name in ("removeprefix", "removesuffix"):
        yield Case(f"str.{name}", "small", f"a.{name}(b)", (LINE, "the"))
        yield Case(f"str.{name}", "large", f"a.{name}(b)", (PAGE, "the"))
        yield Case(f"str.{name}", "long", f"a.{name}(b)", (FULL, FULL[1:]))
    for name in ("zfill", "center", "ljust", "rjust"):
        yield Case(f"str.{name}", "small", f"a.{name}(30)", (LINE,))
        yield Case(f"str.{name}", "large", f"a.{name}(100000)", (LINE,))


def lists() -> Iterator[Case]:
    yield Case("list.append", "and pop", "a.append(1)\na.pop()", ([],))
    yield Case("list.extend", "small", "a.extend(b)\ndel a[:]", ([], [1, 2, 3]))
    yield Case("list.extend", "large", "a.extend(b)\ndel a[:]", ([], MANY))
    yield Case("list.insert", "small", "a.insert(0, 1)\na.pop()", ([1, 2],))
    yield Case("list.insert", "at the front of many", "a.insert(0, 1)\na.pop()", (MANY * 4,))
    yield Case("list.pop", "first of many", "a.append(1)\na.pop(0)", (MANY * 4,))
    for name in ("index", "count"):
        yield Case(f"list.{name}", "small", f"a.{name}(b)", ([1, 2, 3], 3))
        yield Case(f"list.{name}", "last of many", f"a.{name}(b)", (MANY, MANY[-1]))
        yield Case(f"list.{name}", "texts", f"a.{name}(b)", (WORDS, WORDS[-1]))
        yield Case(f"list.{name}", "nested", f"a.{name}(b)", (NESTED, NESTED[-1]))
        yield Case(f"list.{name}", "shared", f"a.{name}(b)", (SHARED, [SHARED[0]]) if name == "count" else (SHARED, SHARED[0]))
        yield Case(f"tuple.{name}", "small", f"a.{name}(b)", ((1, 2, 3), 3))
        yield Case(f"tuple.{name}", "last of many", f"a.{name}(b)", (tuple(MANY), MANY[-1]))
    yield Case("list.remove", "last of many", "a.remove(b)\na.append(b)", ([*range(20_000), -1], -1))
    yield Case("list.remove", "small", "a.remove(b)\na.append(b)", ([1, 2, -1], -1))
    for name in ("reverse", "copy"):
        yield Case(f"list.{name}", "small", f"a.{name}()", ([1, 2, 3],))
        yield Case(f"list.{name}", "large", f"a.{name}()", (list(MANY),))
    yield Case("list.clear", "small", "x = [1, 2]\nx.clear()")
    yield Case("list.clear", "large", "x = a.copy()\nx.clear()", (MANY,))
    for shape, values in {"small": [3, 1, 2], "sorted": sorted(MANY), "large": MANY, "texts": WORDS, "nested": NESTED[:50]}.items():
        if shape != "nested":
            yield Case("list.sort", shape, "x = a.copy()\nx.sort()", (values,))
            yield Case("sorted", shape, "sorted(a)", (values,))
            yield Case("max", shape, "max(a)", (values,))
            yield Case("min", shape, "min(a)", (values,))
    yield Case("sorted", "key", "sorted(a, key=lambda x: -x)", (NUMBERS,))
    yield Case("sorted", "alike", "sorted(a)", ([FULL[:2000] + str(number) for number in range(200)],))
    yield Case("max", "key", "max(a, key=lambda x: -x)", (NUMBERS,))
    yield Case("max", "two", "max(a, b)", (1, 2))
    yield Case("min", "two", "min(a, b)", (1, 2))


def tables() -> Iterator[Case]:
    small, large = {"a": 1, "b": 2}, dict.fromkeys(WORDS, 1)
    huge = {f"k{number}": number for number in range(50_000)}
    holes = {number: number for number in range(50_000)}
    for number in range(49_990):
        del holes[number]
    for name in ("get", "setdefault"):
        arguments = "b, 1" if name == "setdefault" else "b"
        yield Case(f"dict.{name}", "small", f"a.{name}({arguments})", (small, "a"))
        yield Case(f"dict.{name}", "long key", f"a.{name}({arguments})", ({PAGE: 1}, PAGE))
        yield Case(f"dict.{name}", "new long keys", f"a.{name}(b + str(len(a)), 1)", (dict(small), PAGE))
        yield Case(f"dict.{name}", "pair", f"a.{name}({arguments})", ({(1, 2): 1}, (1, 2)))
        yield Case(f"dict.{name}", "colliding", f"for k in b:\n  a.{name}(k, 1)", (dict.fromkeys(PAIRS[:1], 1), colliding_tuples(100)), 1)
    yield Case("dict.pop", "small", "a['x'] = 1\na.pop('x')", (dict(small),))
    for name in ("keys", "values", "items", "copy"):
        for shape, table in {"small": small, "large": large, "huge": huge, "holes": holes}.items():
            yield Case(f"dict.{name}", shape, f"a.{name}()", (table,))
    yield Case("dict.clear", "small", "x = {'a': 1}\nx.clear()")
    yield Case("dict.clear", "large", "x = a.copy()\nx.clear()", (large,))
    yield Case("dict.update", "small", "x = {}\nx.update(a)", (small,))
    yield Case("dict.update", "large", "x = {}\nx.update(a)", (large,))
    yield Case("dict.update", "pairs", "x = {}\nx.update(a)", ([[word, 1] for word in WORDS],))
    yield Case("dict", "small", "dict(a)", (small,))
    yield Case("dict", "huge", "dict(a)", (huge,))
    yield Case("dict", "pairs", "dict(a)", (PAIRS,))
    kinds = {"small": {1, 2, 3}, "large": set(NUMBERS), "huge": set(MANY), "floats": set(FLOATS), "colliding": set(HIGH)}
    for name in ("union", "intersection", "difference"):
        for shape, values in kinds.items():
            yield Case(f"set.{name}", shape, f"a.{name}(b)", (values, set(values) if shape != "small" else {2, 3, 4}))
    for shape, values in kinds.items():
        yield Case("set.copy", shape, "a.copy()", (values,))
        yield Case("set.update", shape, "x = a.copy()\nx.update(b)", (values, set(values)))
        yield Case("set.clear", shape, "x = a.copy()\nx.clear()", (values,))
    yield Case("set.add", "small", "a.add(b)", ({1}, 2))
    yield Case("set.add", "pairs", "x = {0}\nfor p in a:\n  x.add(p)", (PAIRS,), 1)
    yield Case("set.add", "colliding", "x = {0}\nfor p in a:\n  x.add(p)", (colliding_tuples(200),), 1)
    yield Case("set.discard", "small", "a.discard(b)", ({1}, 2))
    yield Case("set.remove", "small", "a.add(2)\na.remove(2)", ({1},))
    lists = {"small": [1, 2, 3], "large": NUMBERS, "huge": MANY, "floats": FLOATS, "texts": WORDS, "pairs": PAIRS}
    for shape, row in {**lists, "powers": POWERS, "rough": ROUGH, "colliding": HIGH, "colliding pairs": colliding_tuples(200)}.items():
        yield Case("set", shape, "set(a)", (row,))
    yield Case("set", "of a set with holes", "set(a)", (set(list(huge.values())[:10]),))


def functions() -> Iterator[Case]:
    for name, arguments in {"abs": "a", "bool": "a", "round": "a, 2", "float": "a", "int": "a", "str": "a", "divmod": "a, 3"}.items():
        for shape, value in {"int": -7, "float": 2.5, "wide": -BIG}.items():
            yield Case(name, shape, f"{name}({arguments})", (value,))
    yield Case("int", "numeral", "int(a)", ("9" * 300,))
    yield Case("int", "short numeral", "int(a)", ("42",))
    yield Case("float", "numeral", "float(a)", ("1." + "7" * 380,))
    yield Case("float", "small numeral", "float(a)", ("2.5",))
    yield Case("round", "far", "round(a, 300)", (1.7976e-300,))
    yield Case("counter", "small", "counter(a)", (1,))
    yield Case("merging_set", "small", "merging_set(a)", ([1, 2],))
    yield Case("merging_set", "large", "merging_set(a)", (MANY,))
    yield Case("merging_queue", "small", "merging_queue()")
    rows = {"small": [1, 2, 3], "large": MANY, "dict": dict.fromkeys(MANY, 1), "range": range(50_000), "text": FULL}
    for shape, values in rows.items():
        for name in ("list", "tuple", "enumerate", "reversed", "zip", "len", "any", "all"):
            yield Case(name, shape, f"{name}(a, a)" if name == "zip" else f"{name}(a)", (values,))
    yield Case("any", "none", "any(a)", ([0] * 50_000,))
    yield Case("all", "each", "all(a)", ([1] * 50_000,))
    yield Case("any", "generator", "any(x < 0 for x in a)", (NUMBERS,))
    yield Case("list", "generator", "list(x for x in a)", (NUMBERS,))
    yield Case("sum", "small", "sum(a)", ([1, 2, 3],))
    yield Case("sum", "large", "sum(a)", (MANY,))
    yield Case("sum", "wide", "sum(a)", ([BIG >> 20] * 10_000,))
    yield Case("sum", "lists", "sum(a, [])", ([[number] for number in range(300)],))
    yield Case("range", "small", "range(a)", (10,))
    yield Case("isinstance_of", "small", "isinstance_of(a, 'str')", ("x",))
    yield Case("isinstance_of", "counter", "isinstance_of(a, 'int')", (Counter(1),))
    rows = {"numbers": MANY[:5000], "floats": FLOATS[:5000], "far floats": FAR, "nested": NESTED, "shared": SHARED}
    for shape, value in {"text": LINE, "page": PAGE, **rows}.items():
        yield Case("str", shape, "str(a)", (value,))
        yield Case("f-string", shape, "f'{a}'", (value,))
        yield Case("f-string", f"{shape}, !r", "f'{a!r}'", (value,))
    yield Case("f-string", "format", "f'{a:.2f}'", (2.5,))
    yield Case("f-string", "format, far", "f'{a:.99f}'", (1.7e308,))
    yield Case("f-string", "wide", "f'{a:b}'", (BIG,))
    yield Case("f-string", "text, format", "f'{a:>30}'", (PAGE,))
    yield Case("f-string", "parts", "f'{a} {b} {c}'", ("x", "y", "z"))
    morph = {"morph": "label", "text": "x"}
    yield Case("label", "small", "label(a)", ("x",))
    yield Case("field", "small", "field(a, 1)", ("x",))
    yield Case("button", "small", "button(a, 'clone')", ("x",))
    yield Case("items", "small", "items(a, b)", ("x", [1, 2]))
    yield Case("items", "large", "items(a, b)", ("x", MANY))
    yield Case("graph", "small", "graph(a, b)", ("x", [1, 2]))
    yield Case("graph", "large", "graph(a, b)", ("x", MANY))
    for name in ("column", "row"):
        yield Case(name, "small", f"{name}(a, a)", (morph,))
        yield Case(name, "large", f"{name}(*a)", ([morph] * 5000,))
    yield Case("decline", "caught by nothing", "lambda: decline('why')")


def operators() -> Iterator[Case]:
    numbers: dict[str, tuple[Any, Any]] = {
        "int": (7, 3),
        "float": (7.5, 3.25),
        "bool": (True, True),
        "wide": (BIG >> 510, (BIG >> 510) - 3),
        "counter": (Counter(7), Counter(3)),
    }
    for symbol in OPERATOR_GUARDS:
        for shape, values in numbers.items():
            if symbol in ("<<", ">>", "&", "|", "^") and shape == "float":
                continue
            left, right = (values[0], 3) if shape == "wide" and symbol in ("**", "<<", ">>") else values
            left = BIG >> 700 if shape == "wide" and symbol == "**" else left
            yield Case(f"op {symbol}", shape, f"a {symbol} b", (left, right))
            yield Case(f"op {symbol}=", shape, f"x = a\nx {symbol}= b", (left, right))
    yield Case("op **", "many bits", "a ** b", (3, 600))
    yield Case("op **", "one", "a ** b", (1, BIG))
    yield Case("op %", "wide by wide", "a % b", (BIG, BIG >> 500))
    yield Case("op //", "wide by wide", "a // b", (BIG, BIG >> 500))
    yield Case("op +", "texts", "a + b", (PAGE, PAGE))
    yield Case("op +", "short texts", "a + b", ("ab", "cd"))
    yield Case("op +", "lists", "a + b", (MANY, MANY))
    yield Case("op +", "short lists", "a + b", ([1], [2]))
    yield Case("op *", "text", "a * 20000", ("ab",))
    yield Case("op *", "list", "a * 20000", ([1, 2],))
    yield Case("op +=", "list", "x = [0]\nx += a", (MANY,))
    yield Case("op *=", "list", "x = [0]\nx *= 20000")
    yield Case("op +=", "text", "x = 'a'\nx += a", (PAGE,))
    for symbol in "|&-^":
        for shape, values in {"small": {1, 2, 3}, "large": set(NUMBERS), "huge": set(MANY), "colliding": set(HIGH)}.items():
            yield Case(f"op {symbol}", f"sets, {shape}", f"a {symbol} b", (values, set(values)))
            yield Case(f"op {symbol}=", f"sets, {shape}", f"x = a.copy()\nx {symbol}= b", (values, set(values)))
    yield Case("op |", "dicts", "a | b", (dict.fromkeys(WORDS, 1), {1: 2}))
    yield Case("op |=", "dicts", "x = {}\nx |= a", (dict.fromkeys(WORDS, 1),))
    yield Case("minus", "int", "-a", (7,))
    yield Case("not", "int", "not a", (7,))
    yield Case("and", "int", "a and b or c", (7, 8, 9))
    yield Case("if else", "int", "a if b else c", (7, 8, 9))
    yield Case("is", "int", "a is b", (7, 8))
    for symbol in ("==", "!=", "<", "<=", ">", ">="):
        yield Case(symbol, "int", f"a {symbol} b", (7, 8))
        yield Case(symbol, "texts", f"a {symbol} b", ("ab", "cd"))
        yield Case(symbol, "long texts", f"a {symbol} b", (PAGE + "a", (PAGE + "ab")[:-1]))
        yield Case(symbol, "lists", f"a {symbol} b", (MANY, list(MANY)))
        yield Case(symbol, "nested", f"a {symbol} b", ([[1, [2]]] * 9, [[1, [2]]] * 9))
        yield Case(symbol, "shared", f"a {symbol} b", (SHARED, list(SHARED)))
    yield Case("==", "different texts", "a == b", (PAGE, FULL[: len(PAGE)]))
    yield Case("==", "chain", "a < b < c", (1, 2, 3))
    yield Case("==", "sets", "a == b", (set(MANY), set(MANY)))
    yield Case("==", "dicts", "a == b", (dict.fromkeys(WORDS, 1), dict.fromkeys(WORDS, 1)))
    for name in ("in", "not in"):
        many = {"list": MANY, "tuple": tuple(MANY), "set": set(MANY), "dict": dict.fromkeys(MANY), "range": range(10**6)}
        for shape, container in many.items():
            yield Case(name, shape, f"a {name} b", (-1, container))
        yield Case(name, "small", f"a {name} b", (2, [1, 2]))
        yield Case(name, "text", f"a {name} b", ("fix", PAGE))
        yield Case(name, "text, at once", f"a {name} b", ("the", PAGE))
        yield Case(name, "hostile text", f"a {name} b", (HOSTILE, FULL[:20_000]))
        yield Case(name, "bytes", f"a {name} b", (b"0" * 60, BYTES))
        yield Case(name, "texts alike", f"a {name} b", (FULL[:1000] + "x", [FULL[:1000] + "y"] * 200))
        yield Case(name, "fraction in range", f"a {name} b", (1.5, range(10**6)))


def statements() -> Iterator[Case]:
    yield Case("while", "empty", "pass", times=1)
    yield Case("for", "list", "for x in a:\n  pass", (NUMBERS,), 1)
    yield Case("for", "range", "for x in range(1000):\n  pass", times=1)
    yield Case("for", "dict", "for x in a:\n  pass", (dict.fromkeys(WORDS),), 1)
    yield Case("for", "dict with holes", "for x in a:\n  break", (_holes(dict.fromkeys(range(50_000))),), 1)
    yield Case("for", "text", "for x in a:\n  pass", (LINE * 10,), 1)
    yield Case("for", "pairs", "for x, y in a:\n  pass", (PAIRS,), 1)
    yield Case("comprehension", "list", "[x for x in a]", (NUMBERS,), 1)
    yield Case("comprehension", "set", "{x for x in a}", (NUMBERS,), 1)
    yield Case("comprehension", "dict", "{x: x for x in a}", (NUMBERS,), 1)
    yield Case("comprehension", "filtered", "[x for x in a if x > 5]", (NUMBERS,), 1)
    yield Case("comprehension", "short", "[x for x in a]", ([1],))
    yield Case("lambda", "called", "f = lambda x: x\nf(1)")
    yield Case("if", "taken", "if a:\n  x = 1", (True,))
    yield Case("if", "not taken", "if a:\n  x = 1", (False,))
    yield Case("try", "nothing raised", "try:\n  x = 1\nexcept ValueError:\n  x = 2")
    yield Case("raise", "and caught", "try:\n  raise ValueError('x')\nexcept ValueError:\n  x = 2")
    yield Case("raise", "long", "try:\n  raise ValueError(a)\nexcept ValueError as e:\n  x = str(e)", (PAGE,))
    yield Case("raise", "long key", "try:\n  x = a[b]\nexcept KeyError as e:\n  x = str(e)", ({}, PAGE))
    yield Case("assert", "true", "assert a", (True,))
    yield Case("assignment", "name", "x = a", (1,))
    yield Case("assignment", "several", "x, y, z = a", ([1, 2, 3],))
    yield Case("display", "list", "[a, a, a, a]", (1,))
    yield Case("display", "dict", "{'a': a, 'b': a}", (1,))
    yield Case("display", "set", "{1, 2, a}", (1,))
    yield Case("display", "list of 200", "[" + "a, " * 200 + "]", (1,))
    yield Case("display", "constants", str(NUMBERS[:100]))
    yield Case("display", "constant keys", str(dict.fromkeys(WORDS[:100], 1)))
    yield Case("display", "spread", "[*a, *a]", (MANY,))
    yield Case("display", "spread set", "{*a, *a}", (MANY,))
    yield Case("display", "spread dict", "{**a, **a}", (dict.fromkeys(WORDS),))
    yield Case("item", "list", "a[1]", ([1, 2],))
    yield Case("item", "dict", "a['k']", ({"k": 1},))
    yield Case("item", "assigned", "a[1] = 2", ([1, 2],))
    yield Case("item", "key assigned", "a['k'] = 2", ({"k": 1},))
    yield Case("item", "augmented", "a[1] += 2", ([1, 2],))
    yield Case("item", "deleted first of many", "del a[0]\na.append(1)", (MANY * 4,))
    yield Case("item", "key deleted", "a['x'] = 1\ndel a['x']", ({},))
    yield Case("slice", "small", "a[1:2]", ([1, 2, 3],))
    yield Case("slice", "small of many", "a[1:2]", (MANY,))
    yield Case("slice", "large", "a[1:]", (MANY,))
    yield Case("slice", "every second", "a[::2]", (MANY,))
    yield Case("slice", "text", "a[1:]", (PAGE,))
    yield Case("slice", "text, every second", "a[::2]", (PAGE,))
    yield Case("slice", "bytes", "a[1:]", (BYTES * 4,))
    yield Case("slice", "range", "a[1:]", (range(1000),))
    yield Case("slice", "deleted", "x = a[:]\ndel x[::2]", (MANY,))


def longest() -> Iterator[Case]:
    """Values as long as the language lets them be: a single call of these is what a deadline has to wait for."""
    mixed = [(number * 7919) % 1_000_003 for number in range(1_000_000)]
    letters = "the quick brown fox jumps over " * 320_000
    rows, pages = (mixed[:999_999], mixed[:999_999]), (letters, letters[:-1] + "x")
    of_rows = "a.copy()|a + [1]|a * 1|a[::-1]|sum(a)|sorted(a)|set(a)|max(a)|a == b|tuple(a)|enumerate(a)"
    of_pages = "a.upper()|a.count('z')|a.find('zz')|a.replace('o', '0')|a[::2]|a.split('z')|a.strip('the ')|a == b|f'{a}x'"
    for values, statements_of, covers in ((rows, of_rows, "longest list"), (pages, of_pages, "longest text")):
        for statement in statements_of.split("|"):
            yield Case(covers, statement.replace("|", " "), statement, values, 0)


def objects() -> Iterator[Case]:
    yield Case("slot", "read", "self.n")
    yield Case("slot", "read list", "self.tags")
    yield Case("slot", "read large list", "self.large")
    yield Case("slot", "read by sending", "self.n()")
    yield Case("slot", "assigned", "self.n = 1")
    yield Case("slot", "assigned list", "self.tags = [1, 2]")
    yield Case("slot", "assigned large list", "self.large = a", (MANY[:5000],))
    yield Case("slot", "assigned nested", "self.large = a", (NESTED,))
    yield Case("slot", "assigned shared", "self.large = a", (SHARED,))
    yield Case("slot", "augmented", "self.n += 1")
    yield Case("slot", "marked", "self._p_changed = True")
    yield Case("send", "method", "self.one()")
    yield Case("send", "method with argument", "self.same(a)", (1,))
    yield Case("send", "lambda", "f = lambda x: x\nf(1)")
    yield Case("primitive clone", "small", "a.clone()", (_small(),))
    yield Case("primitive clone", "large list", "a.clone()", (_with(MANY[:5000]),))
    yield Case("primitive clone", "nested", "a.clone()", (_with(NESTED),))
    yield Case("primitive clone", "shared", "a.clone()", (_with(SHARED),))
    yield Case("primitive setSlot_value_", "small", "self.setSlot_value_('n', 1)")
    yield Case("primitive setSlot_value_", "refused", "try:\n  self.setSlot_value_(a, 1)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive removeSlot_", "small", "self.setSlot_value_('k', 1)\nself.removeSlot_('k')")
    yield Case("primitive slot_", "small", "self.slot_('n')")
    yield Case("primitive perform_", "small", "self.perform_('same', [1])")
    yield Case("primitive slotNames", "small", "self.slotNames()")
    yield Case("primitive parents", "small", "self.parents()")
    yield Case("primitive addParent_", "small", "x = self.clone()\nx.addParent_(a)", (_small(),))
    yield Case("primitive removeParent_", "small", "x = self.clone()\nx.addParent_(a)\nx.removeParent_(a)", (_small(),))
    yield Case("primitive respondsTo_", "small", "self.respondsTo_('n')")
    yield Case("primitive respondsTo_", "not", "self.respondsTo_('nothing')")
    yield Case("primitive respondsTo_", "long", "self.respondsTo_(a)", (PAGE,))
    yield Case("primitive nameAs_", "refused", "try:\n  self.nameAs_(a)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive forgetName_", "refused", "try:\n  self.forgetName_(a)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive compareAndSet_", "small", "self.compareAndSet_('n', 1, 1)")
    yield Case("primitive names", "small", "self.names()")
    yield Case("primitive now", "small", "self.now()")
    yield Case("primitive explain_", "small", "self.explain_('same')")
    yield Case("primitive mirror_", "small", "self.mirror_('slotNames')")
    yield Case("primitive mirror_", "refused", "try:\n  self.mirror_(a)\nexcept Exception:\n  x = 1", (PAGE,))


def merging() -> Iterator[Case]:
    yield Case("counter.add", "small", "a.add(1)", (Counter(1),))
    yield Case("counter.value", "small", "a.value()", (Counter(1),))
    yield Case("merging_set.add", "small", "a.add(1)", (MergingSet(),))
    yield Case("merging_set.discard", "small", "a.discard(1)", (MergingSet(),))
    yield Case("merging_set.has", "small", "a.has(1)", (MergingSet(),))
    yield Case("merging_set.values", "small", "a.values()", (MergingSet([1]),))
    yield Case("merging_set.values", "large", "a.values()", (MergingSet(MANY),))
    yield Case("merging_queue.put", "and take", "a.put(1)\na.take()", (MergingQueue(),))
    yield Case("merging_queue.take", "first of many", "a.put(1)\na.take()", (MergingQueue(MANY * 4),))
    yield Case("merging_queue.values", "large", "a.values()", (MergingQueue(MANY),))
    yield Case("float.is_integer", "small", "a.is_integer()", (2.5,))


def _holes(table: dict[int, None]) -> dict[int, None]:
    for number in range(len(table) - 10):
        del table[number]
    return table


def _small() -> UvmObject:
    return UvmObject({"n": 1, "tags": [1]})


def _with(value: Any) -> UvmObject:
    return UvmObject({"large": value})


PARTS: Final[tuple[Callable[[], Iterator[Case]], ...]] = (texts, lists, tables, functions, operators, statements, longest, objects, merging)

ELSEWHERE: Final = {
    "primitive objects": "needs genesis_obj; charged per object",
    "primitive decline_": "ends the attempt",
    "primitive infer_": "ends the attempt",
    "primitive beWritten_": "ends the attempt",
    "primitive routed_": "needs a message object; charged per persona",
    "primitive fineTuneWith_": "needs a persona; costs what setSlot_value_ costs",
    **{f"primitive {selector}": "for tools alone; charged by what it looks at" for selector in {**PERSONAS, **PROMPTS, **AUTHORS}},
    **{f"primitive {selector}": "reads the books; charged by what it looks at" for selector in {**EVERYWHERE, **wherefore.EVERYWHERE}},
}
"""What no case can repeat, and why."""


def cases(part: str = "") -> list[Case]:
    """The cases of one part, or of all."""
    return [case for make in PARTS if part in ("", make.__name__) for case in make()]


def listed() -> set[str]:
    """Everything that the language's tables have."""
    names = {f"{kind_of(_sample(kind))}.{name}" for kind, table in plain.METHODS.items() for name in table}
    names |= NAMES | {f"op {symbol}" for symbol in OPERATOR_GUARDS} | {f"op {symbol}=" for symbol in OPERATOR_GUARDS}
    return names | {f"primitive {name}" for name in PRIMITIVES}


def _sample(kind: type) -> Any:
    return kind()


def missing() -> set[str]:
    """What the tables have and no case measures."""
    return listed() - {case.covers for case in cases()} - set(ELSEWHERE)


class Bench:
    """An image in memory, and an object on which each case becomes a method."""

    def __init__(self) -> None:
        self._image = Image(Database(None))
        self._image.manager.begin()
        primordial(self._image)
        self._image.manager.commit()
        self._image.manager.begin()
        self._runtime = Runtime(self._image, PRIMITIVES)
        self._traits = self._image.named("traits_obj")

    def seconds(self, case: Case, share: float = SHARE) -> float:
        """CPU seconds for the whole budget spent in one case. Raises RuntimeError for a case that ends otherwise."""
        lines = [line for _ in range(max(1, case.times)) for line in case.statement.split("\n")]
        head = " while True:\n" if case.times else " if True:\n"
        source = f"def m(self, a=None, b=None, c=None):\n{head}" + "".join(f"  {line}\n" for line in lines)
        receiver = UvmObject({PARENTS: [self._traits], "n": 1, "tags": [1, 2], "large": MANY[:5000]})
        others = (("one", "def one(self):\n return 1\n", 0), ("same", "def same(self, a):\n return a\n", 1))
        for selector, text, positional in (("m", source, 3), *others):
            install(receiver, method(selector, text, positional, "bench", {}))
        for value in case.values:
            if type(value) is UvmObject and PARENTS not in value._slots:
                value.put(PARENTS, [self._traits])
        ticks = int(BUDGET / share) if case.times else BUDGET
        attempt = Attempt(ticks=ticks, seconds=600.0, limits=Limits(objects=10**9))
        self._runtime.function_of(receiver.own("m"))
        began = time.thread_time()
        try:
            self._runtime.run(attempt, receiver, "m", case.values, {})
        except AttemptEnded as end:
            if end.type != "TicksSpent":
                raise RuntimeError(f"{case.covers}, {case.shape}: {end.type}: {end.message}") from end
        except Exception as error:
            raise RuntimeError(f"{case.covers}, {case.shape}: {error}") from error
        spent = time.thread_time() - began
        share = share if case.times else BUDGET / (BUDGET - attempt.ticks)
        self._image.manager.abort()
        self._image.manager.begin()
        return spent * share


def main() -> None:
    """Print the table."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    bench = Bench()
    chosen = cases(part)
    # The values of the cases are no part of what an operation makes Python look through.
    gc.collect()
    gc.freeze()
    # The rounds stand apart, so that what else the machine does at one time is not taken for a case's own.
    rounds = [[bench.seconds(case) for case in chosen] for _ in range(ROUNDS)]
    rows = sorted(((min(measured), case) for case, *measured in zip(chosen, *rounds, strict=True)), key=lambda row: row[0])
    for seconds, case in rows:
        print(f"{seconds:8.2f} s  {case.covers:<28} {case.shape}")
    print(summary(rows))
    if not part:
        write(rows)


def summary(rows: list[tuple[float, Case]]) -> str:
    """How far the cases are apart; `rows` are sorted."""
    least, low, high, largest = (rows[place][0] for place in (0, len(rows) // 20, -1 - len(rows) // 20, -1))
    apart = f"least {least:.2f} s, largest {largest:.2f} s, largest / least = {largest / least:.1f}"
    return f"{len(rows)} cases: {apart}; without a twentieth at either end {low:.2f} to {high:.2f} s"


def write(rows: list[tuple[float, Case]]) -> None:
    """Write docs/ticks.md."""
    about = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in about if line.startswith("model name")), "a processor without a name")
    text = [
        "# What ticks cost",
        "",
        f"CPU seconds for {BUDGET:,} ticks, the default budget of a message, spent in each operation of the language on small, large and",
        f"hostile values. Written by `python -m benchmarks.ticks` on {cpu}, Python {sys.version.split()[0]};",
        f"{summary(rows)}.",
        f"A tick is {weights.TICK} units of work; the charges are in `uvm/language/weights.py`, those by size with what they are for.",
        "What the table leaves out, since it ends the attempt or needs more than a method has: "
        + ", ".join(f"`{name.removeprefix('primitive ')}`" for name in ELSEWHERE)
        + ".",
        "",
        "| operation | values | seconds |",
        "| --- | --- | --- |",
        *(f"| `{case.covers}` | {case.shape} | {seconds:.2f} |" for seconds, case in sorted(rows, key=lambda row: row[1][:2])),
        "",
    ]
    (Path(__file__).parent.parent / "docs" / "ticks.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
