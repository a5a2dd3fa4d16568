"""People's lessons, which must prove themselves: a body is run on every example that its own prompt has. Called by the process that trains.

A lesson is text in the prompt's format (`render`). What is in it is parsed as literals, never evaluated; the body must be in the
language's subset, and runs on stand-ins with a limit of time. A lesson without an example proves nothing, and one whose example it does
not keep to is wrong: neither is learned.
"""

import ast
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from msgspec import Struct

from deploy.orders import TaughtPair
from inference_worker.forge import standin, subset

LIMIT_S: Final = 2.0
_DEFINITION: Final = re.compile(r"def ([A-Za-z][A-Za-z0-9_]*)\(self(?:, [a-z][A-Za-z0-9_]*)*\):")


class Unproven(Exception):
    """Why a lesson is not learned."""


class Case(Struct, frozen=True):
    """What an example line says: the call, the slots before it, and the result, the changes or the error that it ends in."""

    args: list[Any]
    kwargs: dict[str, Any]
    slots: dict[str, Any]
    result: Any = None
    has_result: bool = False
    changed: dict[str, Any] | None = None
    raises: str = ""


class ParsedPrompt(Struct, frozen=True):
    """A prompt in its parts."""

    slots: dict[str, Any]
    signature: str
    selector: str
    cases: list[Case]


def prove(lesson: TaughtPair) -> ParsedPrompt:
    """Run a lesson on its examples; the parsed prompt. Raises Unproven."""
    prompt = parsed(lesson.prompt)
    if not prompt.cases:
        raise Unproven("no example proves it")
    if not right(prompt, lesson.answer):
        raise Unproven("it does not keep to its own example")
    return prompt


def right(prompt: ParsedPrompt, body: str) -> bool:
    """Whether a body does what every example says."""
    source = f"{prompt.signature}\n{body}"
    if subset.finding(source):
        return False
    try:
        with limited():
            return all(_keeps(case, prompt, source) for case in prompt.cases)
    except (OutOfTime, RecursionError, MemoryError, SyntaxError):
        return False


def parsed(text: str) -> ParsedPrompt:
    """The parts of a prompt. Raises Unproven for another text, or one with values that are cut short or are no data."""
    lines = text.rstrip("\n").split("\n")
    definition = _DEFINITION.fullmatch(lines[-1])
    if definition is None or "Object:" not in lines:
        raise Unproven("it is no prompt for a method")
    selector, slots, cases = definition[1], dict[str, Any](), list[Case]()
    for line in lines[lines.index("Object:") + 1 : -1]:
        if line.startswith("Message: "):
            continue
        if line.startswith("Example: "):
            cases.append(_case(line.removeprefix("Example: "), selector))
            continue
        name, equals, literal = line.partition(" = ")
        if not equals or not name.isidentifier():
            raise Unproven("it is no prompt for a method")
        slots[name] = _value(literal)
    return ParsedPrompt(slots, lines[-1], selector, cases)


def _value(literal: str) -> Any:
    if literal.startswith("<"):
        return standin.StandIn({})
    if "…" in literal:
        raise Unproven("a value is cut short")
    try:
        return ast.literal_eval(literal)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Unproven("a value is no data") from error


def _case(line: str, selector: str) -> Case:
    """`with price=2: total(3) -> 6, then price=6`, its first and last part where they are, or ` raises T` at the end."""
    before, colon, rest = line.partition(": ") if line.startswith("with ") else ("", "", line)
    slots = _assignments(before.removeprefix("with ")) if colon else {}
    changed: dict[str, Any] | None = None
    body, then, after = rest.rpartition(", then ")
    if then:
        rest, changed = body, {} if after == "nothing changed" else _assignments(after)
    call, arrow, result = rest.partition(") -> ")
    raises = ""
    if not arrow:
        call, _, raises = rest.partition(") raises ")
    called = _expression(call + ")" if not call.endswith(")") else call)
    if not isinstance(called, ast.Call) or not isinstance(called.func, ast.Name) or called.func.id != selector:
        raise Unproven("an example is of another message")
    kwargs = {keyword.arg: _literal(keyword.value) for keyword in called.keywords if keyword.arg}
    return Case(
        [_literal(argument) for argument in called.args], kwargs, slots, _value(result) if arrow else None, bool(arrow), changed, raises
    )


def _assignments(text: str) -> dict[str, Any]:
    called = _expression(f"f({text})")
    if not isinstance(called, ast.Call) or called.args:
        raise Unproven("an example cannot be read")
    return {keyword.arg: _literal(keyword.value) for keyword in called.keywords if keyword.arg}


def _expression(text: str) -> ast.expr:
    if "…" in text:
        raise Unproven("a value is cut short")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unproven("an example cannot be read") from error


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise Unproven("a value is no data") from error


def _keeps(case: Case, prompt: ParsedPrompt, source: str) -> bool:
    slots = {name: standin.replicate(value) for name, value in (prompt.slots | case.slots).items()}
    before = standin.plain(standin.replicate(slots))
    outcome = standin.run(source, prompt.selector, slots, case.args, case.kwargs)
    if case.raises or outcome.error:
        return bool(case.raises) and outcome.error == case.raises
    if case.has_result and not standin.same(standin.plain(outcome.result), standin.plain(case.result)):
        return False
    return case.changed is None or standin.same(standin.plain(outcome.slots), before | standin.plain(case.changed))


class OutOfTime(BaseException):
    """A body ran too long; not an Exception, so that no body can catch it."""


def _expire(signum: int, frame: FrameType | None) -> None:
    raise OutOfTime


@contextmanager
def limited() -> Iterator[None]:
    """Raises OutOfTime in what runs longer than `LIMIT_S`; in the main thread alone."""
    earlier = signal.signal(signal.SIGALRM, _expire)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
