"""Ways out of a Python sandbox, published ones and our own: each works in plain Python, and is tried on every layer alone.

Data only; `alone.py` tries them. A body is that of a method `attack(self)` of an object of the image with the slots of
`methods.SLOTS`, whose parents are primordial objects. In plain Python, with nothing in the way, it answers what no method may reach (a
class, a frame, a module, a function's globals, `SECRET` as a text), or changes what is not its receiver's. `origin` says
where it is from: an advisory of RestrictedPython, one of another sandbox that runs what strangers or models write, or `ours`.
"""

from collections.abc import Iterator

from msgspec import Struct

SECRET = "the-text-that-no-method-may-read"
"""Stands in the globals of the functions that are tried in plain Python, as a key and its value."""
_TRICKS = "HackTricks, Bypass Python sandboxes"


class Escape(Struct, frozen=True):
    """A way out; `kind` is its row in the table of `docs/security.md`."""

    kind: str
    name: str
    origin: str
    body: str

    @property
    def source(self) -> str:
        return "def attack(self):\n" + "".join(f"    {line}\n" for line in self.body.splitlines())


def _texts() -> Iterator[tuple[str, str, str]]:
    rp = "RestrictedPython CVE-2023-41039"
    yield "format reads a function's globals", rp, "return '{0.__globals__[SECRET]}'.format(lambda: 1)"
    yield "format_map reads a function's globals", rp, "return '{f.__globals__[SECRET]}'.format_map({'f': lambda: 1})"
    yield "format taken from the class of texts", rp, "return str.format('{0.__globals__[SECRET]}', lambda: 1)"
    yield "format_map taken from the class of texts", rp, "return str.format_map('{f.__globals__[SECRET]}', {'f': lambda: 1})"
    yield "format kept in a variable", "Jinja2 CVE-2024-56326", "f = '{0.__globals__[SECRET]}'.format\nreturn f(lambda: 1)"
    yield "format mapped over a list", "Jinja2 CVE-2025-27516", "return list(map('{0.__globals__[SECRET]}'.format, [lambda: 1]))"
    yield "format that is a key function", "ours", "return sorted([lambda: 1], key='{0.__globals__[SECRET]}'.format)[0].__globals__"
    yield (
        "the object of a failed format",
        "RestrictedPython CVE-2024-47532",
        "try:\n    '{0.__globals__.nothing}'.format(lambda: 1)\nexcept Exception as e:\n    return e.obj",
    )
    yield (
        "the object of a failed read",
        "RestrictedPython CVE-2024-47532",
        "try:\n    len.__self__.nothing\nexcept Exception as e:\n    return e.obj",
    )
    yield (
        "the fields of a formatter",
        "RestrictedPython CVE-2024-47532",
        "import string\nreturn string.Formatter().get_field('0.__globals__', [lambda: 1], {})[0]",
    )
    yield "an attribute in an f-string", "asteval CVE-2025-24359", "return f'{(lambda: 1).__globals__}'"
    yield (
        "an f-string in an f-string's format",
        "asteval CVE-2025-24359",
        "return f'{1:{(lambda: 1).__globals__[chr(83)+\"ECRET\"][:0]}}' and type",
    )
    yield (
        "the object of a failed format, by a pattern",
        "n8n CVE-2026-0863",
        (
            "try:\n    '{0.__globals__.x}'.format(lambda: 1)\nexcept AttributeError as e:\n"
            "    match e:\n        case AttributeError(obj=o):\n            return o"
        ),
    )


def _frames() -> Iterator[tuple[str, str, str]]:
    rp = "RestrictedPython CVE-2023-37271"
    yield "a generator that reads its own frame", rp, "g = (g.gi_frame.f_back.f_globals for x in [1])\nreturn list(g)[0]"
    yield "a generator in a list that it walks", rp, "q = []\nq.append(q[0].gi_frame.f_back for x in [1])\nreturn [y for y in q[0]][0]"
    yield "a generator's code", rp, "return (x for x in [1]).gi_code"
    yield "frames up to the first", rp, "g = (g.gi_frame.f_back.f_back for x in [1])\nf = list(g)[0]\nreturn f.f_builtins"
    yield (
        "what a generator yields from",
        rp,
        "def inner():\n    yield 1\ndef outer():\n    yield from inner()\ng = outer()\nnext(g)\nreturn g.gi_yieldfrom",
    )
    yield "a coroutine's frame", rp, "async def later():\n    return 1\nc = later()\nf = c.cr_frame.f_globals\nc.close()\nreturn f"
    yield "an asynchronous generator's frame", rp, "async def later():\n    yield 1\nreturn later().ag_frame.f_globals"
    yield "a traceback's frame", "ours", "try:\n    1 / 0\nexcept Exception as e:\n    return e.__traceback__.tb_frame.f_globals"
    yield (
        "the context of an error",
        "ours",
        "try:\n    try:\n        1 / 0\n    finally:\n        [][0]\nexcept Exception as e:\n    return e.__context__.__traceback__",
    )
    yield "a traceback put on an error", "ours", "try:\n    1 / 0\nexcept Exception as e:\n    return e.with_traceback(None).__reduce__"
    yield (
        "the traceback of the error that is handled",
        "pysandbox, 2013",
        "import sys\ntry:\n    1 / 0\nexcept Exception:\n    return sys.exc_info()[2].tb_frame.f_globals",
    )
    yield "the frame of the caller", _TRICKS, "import sys\nreturn sys._getframe(0).f_globals"
    yield "the frame that is inspected", _TRICKS, "import inspect\nreturn inspect.currentframe()"


def _groups() -> Iterator[tuple[str, str, str]]:
    rp = "RestrictedPython CVE-2025-22153"
    yield "except*", rp, "out = None\ntry:\n    1 / 0\nexcept* ZeroDivisionError as e:\n    out = e\nreturn out"
    yield (
        "except* of a class of its own",
        rp,
        (
            "class Split(Exception):\n    def split(self, kind):\n        return self, self\nout = None\n"
            "try:\n    raise ExceptionGroup('g', [Split()])\nexcept* Split as e:\n    out = e.exceptions[0]\nreturn out"
        ),
    )
    yield (
        "a group's errors",
        rp,
        "try:\n    raise ExceptionGroup('g', [ValueError(self)])\nexcept Exception as e:\n    return e.exceptions[0].__reduce__",
    )
    yield "a group split by a function", rp, "g = ExceptionGroup('g', [ValueError(1)])\nreturn g.split(lambda e: True)[0]"
    yield "a group derived", rp, "return ExceptionGroup('g', [ValueError(1)]).derive([KeyError(self)])"
    yield "a group's subgroup", rp, "return ExceptionGroup('g', [ValueError(1)]).subgroup(ValueError)"


def _classes() -> Iterator[tuple[str, str, str]]:
    yield "the class of the receiver", "ours", "return type(self)"
    yield "a class made by type()", "RestrictedPython 6.2, type() of three", "return type('X', (object,), {'go': lambda s: 1})().go"
    yield "a class statement", "ours", "class X:\n    go = 1\nreturn X"
    yield "all subclasses of object", "PandasAI CVE-2024-12366", "return ().__class__.__base__.__subclasses__()"
    yield "the order of resolution", "PandasAI CVE-2023-39660", "return [].__class__.__mro__[1]"
    yield (
        "the globals of an initializer",
        "PandasAI CVE-2024-12366",
        ("return [c for c in object.__subclasses__() if hasattr(c.__init__, '__globals__')][0].__init__.__globals__"),
    )
    yield (
        "an importer among the subclasses",
        "smolagents CVE-2025-5120",
        ("return [c for c in object.__subclasses__() if c.__name__ == 'BuiltinImporter'][0].find_spec('sys').loader"),
    )
    yield "a class that subscripts by eval", "ours", "class X:\n    __class_getitem__ = eval\nreturn X['len.__self__']"
    yield "a decorator that runs a text", "ours", "@eval\n@(lambda c: 'len.__self__')\nclass X:\n    pass\nreturn X"
    yield "a class in a pattern", "ours", "match self:\n    case object(__class__=c):\n        return c"
    yield "a class as an error's", "ours", "try:\n    raise (lambda: ValueError)()\nexcept Exception as e:\n    return e.__class__"
    yield "super of the receiver", "ours", "return super(type(self), self)"
    yield "instances that subscript by eval", _TRICKS, "class X:\n    __getitem__ = eval\nreturn X()['len.__self__']"
    yield "an operator that runs a text", _TRICKS, "class X:\n    __add__ = eval\nreturn X() + 'len.__self__'"
    yield (
        "an error whose operator runs a text",
        _TRICKS,
        "class X(Exception):\n    __sub__ = eval\ntry:\n    raise X\nexcept X as e:\n    return e - 'len.__self__'",
    )
    yield (
        "a metaclass that subscripts by eval",
        _TRICKS,
        "class M(type):\n    __getitem__ = eval\nclass X(metaclass=M):\n    pass\nreturn X['len.__self__']",
    )
    yield (
        "a class told to its base",
        "ours",
        "seen = []\nclass B:\n    def __init_subclass__(c):\n        seen.append(c)\nclass X(B):\n    pass\nreturn seen[0]",
    )
    yield (
        "the module behind a warning",
        _TRICKS,
        "return [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'catch_warnings'][0]()._module",
    )


def _builtins() -> Iterator[tuple[str, str, str]]:
    yield "__import__", "LangChain CVE-2023-29374", "return __import__('os')"
    yield "an import", "LangChain CVE-2023-36258", "import os\nreturn os"
    yield "an import of a name", "LangChain CVE-2023-36258", "from os import system\nreturn system"
    yield "an import of what is allowed, for what it holds", "smolagents CVE-2025-5120", "import statistics\nreturn statistics.sys"
    yield "an import within a module that was passed", "smolagents CVE-2025-5120", "import random\nreturn random._os"
    yield "eval of a text", "LangChain CVE-2023-36095", "return eval('len.__self__')"
    yield "exec of a text", "LangChain CVE-2023-36095", "out = {}\nexec('import os', out)\nreturn out['os']"
    yield "compiled code", "ours", "return compile('1', 'x', 'eval')"
    yield "a builtin's module", "ours", "return len.__self__"
    yield "getattr with a name made at run time", "smolagents CVE-2025-9959", "return getattr(self, '_' + '_class_' + '_')"
    yield "globals()", "ours", "return globals()"
    yield "locals() of a function", "ours", "return (lambda: vars())() or vars()['self'].__class__"
    yield "open", "ours", "f = open('/dev/null')\nf.close()\nreturn f"
    yield "the builtins of the globals", "ours", "return (lambda: 1).__globals__['__builtins__']"
    yield "a bound method of the interpreter's", "ours", "return [].append"
    yield "a wide letter", "numexpr CVE-2023-39631", "return self.__cl\uff41ss__"
    yield "help's printer", "ours", "return help.__class__.__call__"
    yield "the license's printer", _TRICKS, "return license._Printer__setup.__globals__"
    yield "__import__ of the builtins", "LangChain CVE-2023-44467", "return __builtins__.__import__('os')"
    yield "the loader of the builtins", _TRICKS, "return __builtins__.__loader__.find_spec('sys').loader"
    yield "what builds a class", _TRICKS, "return __builtins__.__build_class__"
    yield "all modules", _TRICKS, "import sys\nreturn sys.modules"
    yield "all objects", "ours", "import gc\nreturn [x for x in gc.get_objects() if type(x) is dict and SECRET in x][0]"
    yield "a pickle that names a function", _TRICKS, "import pickle\nreturn pickle.loads(b'cposix\\nsystem\\n.')"
    yield "code in bytes", _TRICKS, "import marshal\nreturn marshal.loads(marshal.dumps((lambda: 1).__code__))"
    yield "a getter of attributes", "ours", "import operator\nreturn operator.attrgetter('__class__')(self)"
    yield "a partial getattr", "ours", "import functools\nreturn functools.partial(getattr, self, '__class__')()"


def _functions() -> Iterator[tuple[str, str, str]]:
    yield "a lambda's code", "ours", "return (lambda: 1).__code__"
    yield "a lambda's code put in another's place", "ours", "f = lambda: 1\ng = lambda: type\nf.__code__ = g.__code__\nreturn f()"
    yield "a closure's cell", "ours", "x = self\nreturn (lambda: x).__closure__[0]"
    yield "a default that is evaluated", "ours", "f = lambda x=type: x\nreturn f()"
    yield "a default put on a function", "ours", "f = lambda x=1: x\nf.__defaults__ = (type,)\nreturn f()"
    yield (
        "a function made of another's code",
        "Batchelder, Eval really is dangerous, 2012",
        "return (lambda: 1).__class__((lambda: type).__code__, {'type': type})()",
    )
    yield "code with other constants", _TRICKS, "f = lambda: 'x'\nf.__code__ = f.__code__.replace(co_consts=(type, type))\nreturn f()"
    yield "a function inside", "ours", "def inner():\n    return 1\nreturn inner.__globals__"
    yield "an annotation that is evaluated", "ours", "def inner(x: type):\n    return 1\nreturn inner.__annotations__['x']"
    yield (
        "a generator that is sent a value",
        "ours",
        "def inner():\n    return (yield)\ng = inner()\nnext(g)\ntry:\n    g.send(type)\nexcept StopIteration as e:\n    return e.value",
    )
    yield "a property of a class", "ours", "class X:\n    go = property(lambda s: type(s))\nreturn X().go"
    yield (
        "with a manager of its own",
        "ours",
        (
            "class X:\n    def __enter__(s):\n        return s\n    def __exit__(s, *a):\n        return True\n"
            "with X() as x:\n    pass\nreturn x"
        ),
    )
    yield "a name bound in an expression", "ours", "(f := type)\nreturn f"
    yield "nonlocal state", "ours", "x = 1\ndef inner():\n    nonlocal x\n    x = type\ninner()\nreturn x"
    yield "a global", "ours", "global reached\nreached = type\nreturn reached"


def _internals() -> Iterator[tuple[str, str, str]]:
    yield "the connection", "ours", "return self._p_jar"
    yield "the database", "ours", "return self._p_jar.db()"
    yield "the root of all records", "ours", "return self._p_jar.root()"
    yield "the receiver as a pickle", "ours", "return self.__reduce__()"
    yield "the kind of the receiver", "ours", "self._slots['is*'] = 'codex'\nself._p_changed = True\nreturn 1"
    yield "the structure by assignment", "ours", "self.__dict__.update(x=type)\nreturn self.__dict__"
    yield "a slot that holds a class", "ours", "self.tags = [type]\nreturn 1"
    yield "a slot that holds a function", "ours", "self.put('tags', [lambda: 1])\nreturn 1"
    yield "a stored list with a class slipped in", "ours", "self.tags.append(type)\nself._p_changed = True\nreturn 1"


def _others() -> Iterator[tuple[str, str, str]]:
    yield "a primitive of the traits replaced, flagged", "ours", "self.parents()[0].put('clone', 5)\nreturn 1"
    yield "a primitive of the traits replaced, in place", "ours", "self.parents()[0]._slots['clone'] = 5\nreturn 1"
    yield "all of the traits taken away", "ours", "t = self.parents()[0]\nt._slots.clear()\nt._p_changed = True\nreturn 1"
    yield "the model's drafts", "ours", "o = self._p_jar.root()['names']['pLLM_obj']\no.put('drafts', 10**9)\nreturn 1"
    yield "the Codex rewritten", "ours", "self._p_jar.root()['codex'].put('content', {'identity': 'x'})\nreturn 1"
    yield (
        "the Codex changed in place",
        "ours",
        "c = self._p_jar.root()['codex']\nc._slots['content'].clear()\nc._p_changed = True\nreturn 1",
    )
    yield "a method's source", "ours", "m = self.parents()[0].own('doesNotUnderstand_')\nm.put('source', 'def f(self): pass')\nreturn 1"
    yield "another's parents", "ours", "t = self.parents()[0]\nt.put('parent*', [self])\nreturn 1"


KINDS = {
    "format texts": _texts,
    "frames and tracebacks": _frames,
    "groups of errors, except*": _groups,
    "classes and type()": _classes,
    "imports and builtins": _builtins,
    "functions and their parts": _functions,
    "the record and its storage": _internals,
    "other objects of the image": _others,
}


def corpus() -> list[Escape]:
    """All of them; a name stands once in its kind."""
    return [Escape(kind, name, origin, body) for kind, ways in KINDS.items() for name, origin, body in ways()]
