"""Statements, displays, items and slices; and single operations on values as long as the language lets them be."""

from collections.abc import Iterator

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    BYTES,
    LINE,
    MANY,
    NUMBERS,
    PAGE,
    PAIRS,
    WORDS,
    with_holes,
)


def statements() -> Iterator[Case]:
    yield Case("while", "empty", "pass", times=1)
    yield Case("for", "list", "for x in a:\n  pass", (NUMBERS,), 1)
    yield Case("for", "range", "for x in range(1000):\n  pass", times=1)
    yield Case("for", "dict", "for x in a:\n  pass", (dict.fromkeys(WORDS),), 1)
    yield Case("for", "dict with holes", "for x in a:\n  break", (with_holes(dict.fromkeys(range(50_000))),), 1)
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
