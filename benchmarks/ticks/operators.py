"""Operators and comparisons."""

from collections.abc import Iterator
from typing import Any

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    BIG,
    BYTES,
    FULL,
    HIGH,
    HOSTILE,
    MANY,
    NUMBERS,
    PAGE,
    SHARED,
    WORDS,
)
from uvm.language.transformer import OPERATOR_GUARDS
from uvm.objects import Counter


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
