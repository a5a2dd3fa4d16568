"""The compiler: a method's source becomes code in which everything that could leave the language goes through a guard.

`uvm/language/syntax.py` says what is in the language, `uvm/language/transformer.py` puts the guards in; here the code is made and linked to
the machine that runs it. Pure until `link`; linked functions run in the thread that carries out the message, and reach
the image through `Hooks` alone. Code is never pickled.
"""

import ast
import functools
import sys
import warnings
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any, Final, NoReturn, Protocol, cast

from uvm.errors import AttemptEnded, AuditRefused, ImageError, TooDeep
from uvm.language import bounds, syntax
from uvm.language.builtins import ERRORS, Vocabulary
from uvm.language.keys import Keys
from uvm.language.operators import Operators
from uvm.language.source_limits import Finding, listed
from uvm.language.transformer import OPERATOR_GUARDS, Guarding

POLICY: Final = 1
"""The version of what methods may say. It is raised by one with whatever makes a source fail the audit that has passed it: a word, a
construct or a method of a value leaves the language, a bound becomes narrower, a rule stricter. What only adds to the language, or charges
other ticks, raises nothing. An image that was audited under another version has all its methods audited again by its next awakening.
"""

LAMBDA_DEPTH: Final = 50
"""How deep lambdas of one method may call each other."""


class Hooks(Protocol):
    """What a compiled method asks of the machine that runs it. Each may raise an AttemptEnded."""

    def send(self, receiver: Any, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`receiver.selector(*args, **kwargs)`, whatever the receiver is."""

    def read(self, receiver: Any, name: str) -> Any:
        """`receiver.name` without a call."""

    def assign(self, receiver: Any, name: str, value: Any) -> None:
        """`receiver.name = value`."""

    def changed(self, receiver: Any) -> None:
        """`self._p_changed = True`."""

    def mutating(self, container: Any) -> None:
        """An operator is about to change this list, dict or set in place."""

    @property
    def keys(self) -> Keys:
        """The keys that the message has hashed."""

    def charge(self, units: int) -> None:
        """Spend units of work (`uvm/language/weights.py`). Raises TicksSpent."""

    def receiver(self) -> Any:
        """The object whose method runs now: the target of fields and buttons."""


def compile_method(source: str, selector: str) -> CodeType:
    """The code of a method. Raises AuditRefused, whose `details["findings"]` have line, rule and message."""
    code, findings = examine(source, selector)
    if code is None:
        first = findings[0]
        raise AuditRefused(
            f"{selector}, line {first.line}: {first.message}" + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""),
            "see docs/language.md for what a method may say",
            findings=syntax.as_details(findings),
        )
    return code


def examine(source: str, selector: str) -> tuple[CodeType | None, list[Finding]]:
    """The code, or None and what is wrong with the source."""
    parsed = syntax.parse(source, selector)
    if parsed.module is None or parsed.findings:
        return None, parsed.findings
    errors: list[str] = []
    notes: list[str] = []
    try:
        policy = Guarding(errors, notes)
        policy.visit(parsed.module)
        findings = listed([_finding(error) for error in errors])
        if findings:
            return None, findings
        tree = ast.fix_missing_locations(parsed.module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return compile(tree, filename(selector), "exec", dont_inherit=True, optimize=0), []
    except (RecursionError, MemoryError):
        return None, [Finding(0, "size", "too deeply nested to be compiled")]
    except (SyntaxError, ValueError) as error:
        line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
        return None, [Finding(line, "syntax", f"not Python: {error.msg if isinstance(error, SyntaxError) else error}")]


def filename(selector: str) -> str:
    """The file name in tracebacks and in the code of a method."""
    return f"<method {selector}>"


def _finding(error: str) -> Finding:
    # RestrictedPython reports "Line 3: …" as text only.
    where, _, reason = error.partition(": ")
    number = where.removeprefix("Line ")
    return Finding(int(number) if number.isdigit() else 0, "RestrictedPython", reason or error)


_ORDINARY: Final = frozenset(
    {*ERRORS.values(), AssertionError, NameError, UnboundLocalError, OverflowError, UnicodeError, UnicodeEncodeError, UnicodeDecodeError}
)
"""Exactly these classes: a subclass, such as the database's KeyError, is a fault of the machine."""


def _leaving() -> None:
    """Runs when an error leaves a method: one that was raised in a `finally` cannot stand for the end of the attempt."""
    raised = sys.exc_info()[1]
    while raised is not None:
        if isinstance(raised, AttemptEnded):
            raise raised
        raised = raised.__context__


def _caught() -> None:
    """Begins each handler: what ends the attempt, a fault of the machine or of the database goes on, whatever caught it."""
    _leaving()
    error = sys.exc_info()[1]
    if error is not None and type(error) not in _ORDINARY and not isinstance(error, ImageError):
        raise error


def _too_deep() -> NoReturn:
    raise TooDeep("calls are nested too deep", "write a loop instead")


class _Calls:
    """Calls of what is in a variable: lambdas of methods and functions of the vocabulary, and nothing else."""

    def __init__(self, vocabulary: Iterable[Callable[..., Any]]) -> None:
        self._vocabulary = frozenset(vocabulary)
        self._depth = 0

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _is_lambda(function) and not (callable(function) and type(function) is _BOUND and function in self._vocabulary):
            raise TypeError(f"a {bounds.kind_of(function)} cannot be called")
        if self._depth >= LAMBDA_DEPTH:
            raise TooDeep(f"lambdas call each other more than {LAMBDA_DEPTH} deep", "write a loop instead")
        self._depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            self._depth -= 1


_BOUND: Final = type(_Calls([]).call)


def _is_lambda(function: Any) -> bool:
    return type(function) is FunctionType and function.__name__ == "<lambda>" and function.__code__.co_filename.startswith("<method ")


class Linker:
    """Links code to one set of hooks. The guards are made once; each function gets globals of its own."""

    def __init__(self, hooks: Hooks) -> None:
        charge = hooks.charge
        operators = Operators(hooks, hooks.mutating)
        functions = Vocabulary(hooks, hooks.receiver, operators).table()
        self._globals: dict[str, Any] = {
            "__builtins__": {},
            **functions,
            **ERRORS,
            "_send_": hooks.send,
            "_read_": hooks.read,
            "_assign_": hooks.assign,
            "_changed_": hooks.changed,
            "_charge_": charge,
            "_call_": _Calls(functions.values()).call,
            "_iterated_": operators.iterated,
            "_spread_": operators.spread,
            "_spread_members_": operators.spread_members,
            "_spread_pairs_": operators.spread_pairs,
            "_item_": operators.get_item,
            "_cut_": operators.cut,
            "_set_item_": operators.set_item,
            "_delete_item_": operators.delete_item,
            "_delete_cut_": operators.delete_cut,
            "_in_place_": operators.in_place,
            "_minus_": operators.minus,
            "_weighed_": operators.weighed,
            "_key_": operators.key,
            "_equal_": operators.equal,
            "_contains_": operators.contains,
            "_text_": operators.text,
            "_represented_": operators.represented,
            "_formatted_": operators.formatted,
            "_joined_": operators.joined,
            "_error_text_": operators.error_text,
            "_caught_": _caught,
            "_leaving_": _leaving,
            "_too_deep_": _too_deep,
            "_RecursionError_": RecursionError,
            **{guard: functools.partial(operators.binary, symbol) for symbol, guard in OPERATOR_GUARDS.items()},
            OPERATOR_GUARDS["+"]: operators.add,
            OPERATOR_GUARDS["*"]: operators.multiply,
            OPERATOR_GUARDS["**"]: operators.power,
            OPERATOR_GUARDS["<<"]: operators.shift_left,
        }

    def link(self, code: CodeType) -> Callable[..., Any]:
        """The function whose module code is `code`, as `compile_method` made it."""
        namespace = dict(self._globals)
        exec(code, namespace)
        selector = code.co_filename.removeprefix("<method ").removesuffix(">")
        function = namespace.pop(selector)
        if selector in self._globals:
            # Within a method that is named `max`, the plain name `max` still means the vocabulary's.
            namespace[selector] = self._globals[selector]
        return cast(Callable[..., Any], function)


def link(code: CodeType, hooks: Hooks) -> Callable[..., Any]:
    """The callable method: its first argument is the receiver. One function serves all messages of the same hooks."""
    return Linker(hooks).link(code)
