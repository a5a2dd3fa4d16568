"""Methods of lists, tuples, dicts and sets, and the functions that make them."""

from collections.abc import Iterator

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    FLOATS,
    FULL,
    HIGH,
    MANY,
    NESTED,
    NUMBERS,
    PAGE,
    PAIRS,
    POWERS,
    ROUGH,
    SHARED,
    WORDS,
    colliding_tuples,
)


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
