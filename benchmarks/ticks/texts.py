"""Methods of texts."""

from collections.abc import Iterator

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    FULL,
    GREEK,
    HOSTILE,
    LINE,
    PAGE,
    WORDS,
)


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
