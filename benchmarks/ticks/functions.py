"""The language's functions."""

from collections.abc import Iterator

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    BIG,
    FAR,
    FLOATS,
    FULL,
    LINE,
    MANY,
    NESTED,
    NUMBERS,
    PAGE,
    SHARED,
)
from uvm.objects import Counter


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
