"""Why a trial failed: errors in the words of its outcome, short and such that they can be carried. Pure."""

from msgspec.structs import replace

from uvm.errors import (
    AttemptEnded,
    BadArguments,
    BadValue,
    Declined,
    ImageError,
    MethodFailed,
    NoSuchObject,
    NotAllowed,
    NotUnderstood,
    ParentCycle,
)
from uvm.image.image import Image
from uvm.objects import UvmObject
from uvm.trial.protocol import LONGEST_SAID, Call, TrialError, TrialOutcome, encode
from uvm.values.slot_values import literal

_TEXT = 500


def failed(error: TrialError) -> TrialOutcome:
    """The outcome of a trial that failed so."""
    return TrialOutcome(kind="failed", error=error)


def bounded(outcome: TrialOutcome) -> TrialOutcome:
    """The outcome, or why it cannot be said."""
    try:
        size = len(encode(outcome))
    except (TypeError, ValueError, OverflowError) as error:  # text that is not UTF-8, for one
        return failed(TrialError("BadValue", printable(f"result or effects cannot be carried: {error}")))
    if size <= LONGEST_SAID:
        return outcome
    return failed(TrialError("TooLarge", f"result and effects take {size} bytes; {LONGEST_SAID} are allowed"))


def explained(error: BaseException) -> TrialError:
    """An error as an outcome tells of it, with the line of the draft where it came about."""
    if isinstance(error, MethodFailed):
        return TrialError(str(error.details.get("error", error.type)), printable(error.message), int(error.details.get("line", 0)))
    if isinstance(error, AttemptEnded | ImageError):
        findings = error.details.get("findings")
        line = findings[0].get("line", 0) if findings else line_of(error)
        return TrialError(error.type, printable(error.message), line)
    line = error.lineno or 0 if isinstance(error, SyntaxError) else line_of(error)
    return TrialError(type(error).__name__, printable(str(error)), line)


def printable(text: str) -> str:
    """The text, short, and such that it can be encoded."""
    return text[:_TEXT].encode("utf-8", "replace").decode()


def line_of(error: BaseException) -> int:
    """The line of the innermost method that the error passed."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<method "):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def call_text(call: Call) -> str:
    """The arguments of a call as one writes them."""
    return f"({', '.join([*map(literal, call.args), *(f'{name}={literal(value)}' for name, value in call.kwargs.items())])})"


def in_call(call: Call, error: TrialError) -> TrialError:
    """The error, with the made-up arguments that brought it about."""
    return replace(error, message=printable(f"with made-up arguments {call_text(call)}: {error.message}"))


def is_ordinary(error: AttemptEnded | ImageError, shown_how: bool) -> bool:
    """Whether an error may be the answer to arguments that make no sense, and not harm. `shown_how`: examples do make sense."""
    if isinstance(error, MethodFailed):
        return error.details.get("error") != MemoryError.__name__
    nonsense = (BadArguments, NotUnderstood, NoSuchObject, ParentCycle, Declined)
    return isinstance(error, (*nonsense, NotAllowed, BadValue) if shown_how else nonsense)


def literal_of(image: Image, target: UvmObject) -> str:
    """How an error names an object."""
    name = target.own("name")
    return f"{name} {image.reference(target)}" if isinstance(name, str) else str(image.reference(target))
