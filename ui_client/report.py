"""How the `batos` command speaks: results on stdout, everything else on stderr, errors as one line with a remedy.

Used by every command, in its one thread. With `--json`, stdout gets exactly one line: `{"result": …}` with exit status 0,
or `{"error": {"type", "message", "remedy", "details"}}` with exit status 1.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from deploy.service import ServiceError
from deploy.settings import SettingsError
from ui_client import values
from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError

_PIPE_WIDTH = 140

Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON: a result or an error.")]


def _console(*, stderr: bool) -> Console:
    # A pipe has no width; rich would take 80 columns, and break lines of code that fit on most screens.
    piped = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, highlight=False, markup=False, width=_PIPE_WIDTH if piped else None)


out = _console(stderr=False)
err = _console(stderr=True)


class Failure(Exception):
    """A command that cannot do its work. `remedy` says what the person can do; `tail` is the end of a log to show."""

    def __init__(self, kind: str, message: str, remedy: str = "", *, tail: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.tail = tail
        self.details = details or {}


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turn what can go wrong into an answer and exit status 1 (2 for an argument that cannot be read)."""
    try:
        yield
    except values.BadArgument as error:
        raise typer.BadParameter(str(error)) from error
    except (Failure, ClientError, SettingsError, ServiceError, OSError, RecursionError) as error:
        failure = _failure(error)
        if as_json:
            details = failure.details | ({"log": failure.tail} if failure.tail else {})
            described = {"type": failure.kind, "message": failure.message, "remedy": failure.remedy, "details": details}
            _print_json({"error": values.to_json(described)})
        else:
            _print_failure(failure)
        raise typer.Exit(1) from error


def result(value: Any) -> None:
    """Print `{"result": value}` for a program."""
    _print_json({"result": values.to_json(value)})


def note(text: str, style: str = "dim") -> None:
    """One line on stderr."""
    err.print(Text(values.showable(text), style=style), soft_wrap=True)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def _print_failure(failure: Failure) -> None:
    line = Text(values.showable(f"{failure.kind}: {failure.message}"), style="red")
    if failure.remedy:
        line.append(f" — {values.showable(failure.remedy)}", style="default")
    if failure.tail:
        err.print(Text(values.showable(failure.tail.rstrip()), style="dim"), soft_wrap=True)
    err.print(line, soft_wrap=True)


def _failure(error: BaseException) -> Failure:
    match error:
        case Failure():
            return error
        case RemoteError():
            return Failure(error.type, error.message, error.remedy, details=error.details)
        case BridgeUnreachable():
            return Failure("BridgeUnreachable", str(error), "start the service with `batos up`; `batos doctor` says what is missing")
        case BridgeBusy():
            return Failure("BridgeBusy", str(error), "the image is under load; try again in a moment")
        case ClientError():
            return Failure(type(error).__name__, str(error))
        case SettingsError():
            return Failure("SettingsError", str(error), "`batos config` lists every key once the configuration can be read")
        case ServiceError():
            return Failure(type(error).__name__, str(error), "`batos doctor` says what is missing; `batos logs` what happened")
        case RecursionError():
            return Failure("TooDeep", "the reply is nested too deeply to be printed", "ask for a part of it")
        case OSError():
            return Failure(type(error).__name__, str(error), "")
    return Failure(type(error).__name__, str(error))
