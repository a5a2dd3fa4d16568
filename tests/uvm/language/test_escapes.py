"""Known ways out of a Python sandbox: each is refused by the audit, or ends in a bounded error."""

import time

import pytest

from tests.uvm.language.plain_hooks import PlainHooks, PlainObject, body, run
from uvm.errors import AttemptEnded, AuditRefused, TicksSpent, TooDeep
from uvm.language.audit import audit
from uvm.language.compiler import compile_method

REFUSED = {
    "dunder attribute": "return self.__class__",
    "class walk": "return ().__class__.__bases__[0].__subclasses__()",
    "globals of a function": "return len.__globals__",
    "single underscore": "return self._slots",
    "persistence internals": "return self._p_jar",
    "flag read": "return self._p_changed",
    "flag cleared": "self._p_changed = False",
    "flag of another": "a._p_changed = True",
    "flag augmented": "self._p_changed += 1",
    "flag in a tuple": "self._p_changed, x = True, 1",
    "flag chained": "x = self._p_changed = True",
    "underscore name": "_ = 1\nreturn _",
    "guard by name": "return _send_(self, 'x', (), {})",
    "guard rebound": "_charge_ = lambda n: None",
    "wide underscore": "return self.＿＿class＿＿",
    "frame of a generator": "return (x for x in self.tags)",
    "gi_frame": "g = [x for x in self.tags]\nreturn g.gi_frame",
    "traceback": "try:\n    return 1 / 0\nexcept Exception as e:\n    return e.__traceback__",
    "tb_frame": "try:\n    return 1 / 0\nexcept Exception as e:\n    return e.tb_frame",
    "import": "import os",
    "import from": "from os import *",
    "dunder import": "return __import__('os')",
    "exec": "exec('1')",
    "eval": "return eval('1')",
    "type": "return type(self)",
    "getattr": "return getattr(self, 'x')",
    "open": "return open('/etc/passwd')",
    "print": "print(1)",
    "vars": "return vars()",
    "super": "return super()",
    "walrus": "return (x := 5)",
    "class": "class A:\n    pass",
    "nested def": "def f():\n    return 1\nreturn f()",
    "decorated": "@a\ndef f():\n    return 1",
    "async": "async def f():\n    return 1",
    "await": "return await a",
    "yield": "yield 1",
    "yield from": "yield from self.tags",
    "global": "global x\nx = 1",
    "with": "with a as b:\n    pass",
    "match": "match a:\n    case str(__class__=c):\n        return c",
    "except star": "try:\n    pass\nexcept* Exception:\n    pass",
    "bare except": "try:\n    self.x()\nexcept:\n    pass",
    "BaseException": "try:\n    self.x()\nexcept BaseException:\n    pass",
    "computed except": "try:\n    self.x()\nexcept self.errors:\n    pass",
    "return in finally": "try:\n    self.x()\nfinally:\n    return 1",
    "return deep in finally": "try:\n    self.x()\nfinally:\n    if a:\n        for i in a:\n            return 1",
    "break in finally": "for i in a:\n    try:\n        self.x()\n    finally:\n        break",
    "continue in finally": "for i in a:\n    try:\n        self.x()\n    finally:\n        continue",
    "raise anything": "raise self.error",
    "raise SystemExit": "raise SystemExit()",
    "raise from": "raise ValueError('x') from None",
    "error as a value": "return ValueError",
    "error class walk": "return Exception.with_traceback",
    "computed format": "return f'{1:{10**9}}'",
    "wide format": "return f'{1:100000000}'",
    "lambda default": "f = lambda x=self.tags: x\nreturn f()",
    "lambda star": "f = lambda *x: x\nreturn f()",
    "double star call": "return dict(**self.stock)",
    "call of a call": "return self.f()()",
    "call of an item": "return self.tags[0]()",
    "self rebound": "self = a",
    "self in a lambda": "f = lambda self: self.x\nreturn f(a)",
    "self in a loop": "for self in a:\n    pass",
    "self in a comprehension": "return [1 for self in a]",
    "error rebound": "ValueError = a",
    "del name": "x = 1\ndel x",
    "del attribute": "del self.tags",
    "annotation": "x: int = 1",
    "loop into a slot": "for self.x in a:\n    pass",
    "loop into an item": "for self.stock['x'] in a:\n    pass",
    "comprehension into a slot": "return [1 for self.x in a]",
    "bytes": "return b'x'",
    "ellipsis": "return ...",
    "matrix product": "return a @ a",
    "huge constant": f"return {10**400}",
    "comprehension scope": "x = [y for y in a]\nreturn undefined_name",
    "reraise nothing": "raise",
    "unmatched break": "break",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_audit_refuses(name: str) -> None:
    verdict = audit(body(REFUSED[name], "a"), "m", 1)
    assert not verdict.ok
    assert all(finding.fatal for finding in verdict.findings)
    assert any(finding.message for finding in verdict.findings)
    with pytest.raises(AuditRefused):
        compile_method(body(REFUSED[name], "a"), "m")


SIGNATURES = [
    "@len\ndef m(self):\n    return 1\n",
    "def m(self: int):\n    return 1\n",
    "def m(self) -> int:\n    return 1\n",
    "def m(self, x=[]):\n    return 1\n",
    "def m(self, x=len('a')):\n    return 1\n",
    "def m(self, *args):\n    return 1\n",
    "def m(self, **kwargs):\n    return 1\n",
    "def m(self, /):\n    return 1\n",
    "def m(self, *, k):\n    return 1\n",
    "def m(this):\n    return 1\n",
    "def m():\n    return 1\n",
    "def other(self):\n    return 1\n",
    "def m(self):\n    return 1\nx = 1\n",
    "def m(self):\n    return 1\ndef n(self):\n    return 1\n",
    "m = lambda self: 1\n",
    "async def m(self):\n    return 1\n",
    "class m:\n    pass\n",
    "",
    "# nothing\n",
    "def m(self):\n",
    "def m(self):\n    return 1\x00\n",
    "def m(self):\n    return '\u202e'\n",
]


@pytest.mark.parametrize("source", SIGNATURES)
def test_only_one_plain_function_is_a_method(source: str) -> None:
    assert not audit(source, "m", 0).ok


HOSTILE = {
    "parentheses": "(" * 5000 + ")" * 5000,
    "unclosed parentheses": "(" * 16000,
    "brackets": "[" * 300 + "]" * 300,
    "calls": "len(" * 150 + ")" * 150,
    "minus": "-" * 15000 + "1",
    "not": "not " * 3500 + "1",
    "sum": "+".join(["1"] * 7000),
    "attributes": "self" + ".a" * 7000,
    "subscripts": "a" + "[0]" * 4000,
    "lambdas": "lambda: " * 1500 + "1",
    "conditions": "1 if 1 else " * 1200 + "1",
    "powers": "**".join(["2"] * 5000),
    "comparisons": "<".join(["1"] * 7000),
    "texts": "'a'" * 5000,
    "f-strings": "f'{" * 50 + "1" + "}'" * 50,
    "comprehensions": "[x " + "for x in [1] " * 1000 + "]",
    "too long": "'" + "a" * 20_000 + "'",
    "many nodes": "[" + "1," * 5000 + "]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_shapes_are_refused_quickly_and_crash_nothing(name: str) -> None:
    began = time.process_time()
    verdict = audit(body("return " + HOSTILE[name]), "m", 0)
    assert not verdict.ok or name in {"texts", "comparisons"}
    assert time.process_time() - began < 2


def test_deep_blocks_are_refused() -> None:
    lines = [" " * depth + "if 1:" for depth in range(120)]
    verdict = audit(body("\n".join([*lines, " " * 120 + "pass"])), "m", 0)
    assert not verdict.ok


BOUNDED = {
    "power": "return 10 ** 10 ** 8",
    "tower": "x = 9\nfor i in range(99):\n    x = x ** x\nreturn x",
    "squares": "x = 7\nwhile True:\n    x = x * x",
    "squares in place": "x = 7\nwhile True:\n    x *= x",
    "shift": "return 1 << 10 ** 9",
    "long text": "return 'a' * 10 ** 10",
    "long text reversed": "return 10 ** 10 * 'a'",
    "long list": "return [[]] * 10 ** 9",
    "doubled text": "x = 'a'\nwhile True:\n    x = x + x",
    "doubled text in place": "x = 'a'\nwhile True:\n    x += x",
    "doubled list": "x = [1]\nwhile True:\n    x += x",
    "extended by itself": "x = [1]\nwhile True:\n    x.extend(x)",
    "doubled by f-string": "x = 'a'\nwhile True:\n    x = f'{x}{x}{x}'",
    "replaced": "x = 'a' * 1000\nwhile True:\n    x = x.replace('a', 'aaaa')",
    "joined": "return ('b' * 100000).join(['a'] * 100000)",
    "padded": "return 'a'.ljust(10 ** 9)",
    "centred": "return 'a'.center(10 ** 9)",
    "zero-filled": "return '1'.zfill(10 ** 9)",
    "range to list": "return list(range(10 ** 12))",
    "range summed": "return sum(range(10 ** 12))",
    "range searched": "return [].index(range(10 ** 12)) in range(10 ** 12)",
    "range in a loop": "for i in range(10 ** 12):\n    pass",
    "numeral": "return int('9' * 100000)",
    "rounded": "return round(5, -10 ** 9)",
    "percent": "return '%1000000000d' % 1",
    "while": "while True:\n    pass",
    "while test": "while len('a'):\n    continue",
    "growing loop": "x = [1]\nfor i in x:\n    x.append(i)",
    "growing comprehension": "x = [1]\nreturn [x.append(i) for i in x]",
    "nested comprehensions": "return [1 for a in range(9999) for b in range(9999) for c in range(9999)]",
    "empty comprehension": "return [1 for a in range(10 ** 12) if False]",
    "generator": "return any(False for a in range(10 ** 12))",
    "laughs shown": "x = ['ha']\nfor i in range(40):\n    x = [x] * 10\nreturn str(x)",
    "laughs in an f-string": "x = ['ha']\nfor i in range(40):\n    x = [x] * 10\nreturn f'{x}'",
    "laughs compared": "x = [1]\ny = [1]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nreturn x == y",
    "laughs hashed": "x = (1,)\nfor i in range(60):\n    x = (x, x)\nreturn {x: 1}",
    "laughs in a set": "x = (1,)\nfor i in range(60):\n    x = (x, x)\nreturn {x}",
    "laughs added": "x = (1,)\nfor i in range(60):\n    x = (x, x)\ns = set()\ns.add(x)\nreturn s",
    "laughs as a key": "x = (1,)\nfor i in range(60):\n    x = (x, x)\nd = {}\nd[x] = 1\nreturn d",
    "laughs read as a key": "x = (1,)\nfor i in range(60):\n    x = (x, x)\nreturn {}[x]",
    "laughs sorted": "x = [1]\ny = [1]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nreturn sorted([x, y])",
    "laughs from a key": "x = [1]\nfor i in range(60):\n    x = [x, x]\nreturn max([1, 2], key=lambda i: x)",
    "laughs searched": "x = [1]\ny = [1]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nreturn [x].index(y)",
    "laughs raised": "x = ['ha']\nfor i in range(40):\n    x = [x] * 10\nraise ValueError(x)",
    "holds itself": "x = []\nx.append(x)\nreturn str(x)",
    "deep tuple hashed": "x = ()\nfor i in range(100000):\n    x = (x,)\nreturn {x: 1}",
    "deep list shown": "x = []\nfor i in range(100000):\n    x = [x]\nreturn str(x)",
    "deep list compared": "x = []\ny = []\nfor i in range(100000):\n    x = [x]\n    y = [y]\nreturn x == y",
    "send to itself": "return self.m()",
    "lambda to itself": "f = lambda n: f(n + 1)\nreturn f(0)",
    "lambda by a key": "f = lambda n: sorted([n], key=f)\nreturn f(0)",
    "lambda by max": "f = lambda n: max([n, n], key=f)\nreturn f(0)",
    "caught and again": "while True:\n    try:\n        while True:\n            pass\n    except Exception:\n        pass",
    "caught recursion": "try:\n    return self.m()\nexcept Exception:\n    return 'swallowed'",
    "replaced in finally": "try:\n    while True:\n        pass\nfinally:\n    x = 1 / 0",
    "bound method read": "return self.tags.append",
    "method of a function": "return len.upper()",
    "str.format": "return '{0.__class__}'.format(self)",
    "format_map": "return '{x.__class__}'.format_map({'x': 1})",
    "encode": "return 'a'.encode()",
    "error arguments": "try:\n    return 1 / 0\nexcept Exception as e:\n    return e.args",
    "with_traceback": "try:\n    return 1 / 0\nexcept Exception as e:\n    return e.with_traceback(None)",
    "mro": "return (1).mro()",
    "function shown": "return str(len)",
    "function in a list shown": "return str([len])",
    "hostile sort": "x = [3, 2, 1]\nx.sort(key=lambda i: x.append(i))\nreturn x",
    "item of a tuple": "t = (1, 2)\nt[0] = 5",
    "call of a number": "f = 5\nreturn f()",
    "call of a text": "f = 'os'\nreturn f('x')",
    "call of an object": "f = self\nreturn f('x')",
    "complex": "return (-8) ** 0.5",
    "float overflow": "return 1e200 ** 2",
    "infinite integer": "return int(1e308 * 10)",
}


@pytest.mark.parametrize("name", BOUNDED)
def test_running_it_ends_soon_in_an_error(name: str) -> None:
    began = time.process_time()
    with pytest.raises((ValueError, TypeError, KeyError, AttemptEnded)) as caught:
        run(body(BOUNDED[name]), {"tags": [1]}, ticks=300_000)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - began < 3


def test_what_ends_the_attempt_goes_through_every_handler() -> None:
    for ending in ("while True:\n        pass", "decline('no')", "self.m()"):
        source = body(f"try:\n    {ending}\nexcept (ValueError, Exception):\n    return 'swallowed'\nfinally:\n    self.x = 1")
        with pytest.raises(AttemptEnded):
            run(source, ticks=20_000)


def test_an_error_in_finally_cannot_hide_the_end_of_the_attempt() -> None:
    inner = "    try:\n        while True:\n            pass\n    finally:\n        [][0]"
    source = body(f"try:\n{inner}\nexcept IndexError:\n    return 'swallowed'")
    with pytest.raises(TicksSpent):
        run(source, ticks=20_000)


def test_an_error_in_finally_does_not_leave_the_method_in_its_place() -> None:
    source = body("try:\n    while True:\n        pass\nfinally:\n    x = 1 / 0")
    with pytest.raises(TicksSpent):
        run(source, ticks=20_000)


def test_a_fault_of_the_database_is_not_a_methods_to_catch() -> None:
    class Conflict(KeyError):
        """As ZODB's POSKeyError is one."""

    class Faulty(PlainHooks):
        def read(self, receiver: object, name: str) -> object:
            raise Conflict("lost")

    source = body("try:\n    return self.x\nexcept KeyError:\n    return 'swallowed'\nexcept Exception:\n    return 'swallowed'")
    with pytest.raises(Conflict):
        Faulty().run(PlainObject({}, {"m": source}), "m")


def test_running_out_of_stack_ends_the_attempt() -> None:
    with pytest.raises(TooDeep):
        run(body("try:\n    f = lambda n: min([n], key=f)\n    return f(0)\nexcept Exception:\n    return 'swallowed'"))
