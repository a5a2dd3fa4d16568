"""How the commands of this package answer, those that the `batos` command runs with its own streams.

Results go to stdout, as text or, with `--json`, as one line: `{"result": …}`, or `{"error": {"type", "message", "remedy", "details"}}`;
without it an error is one line on stderr. One thread.
"""

import os
import sys

import msgspec
from rich.console import Console

DONE, FAILED = 0, 1
_PIPE_WIDTH = 140


def console() -> Console:
    """Stdout for people; a pipe, which has no width, gets a wide one."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, markup=False, width=_PIPE_WIDTH if piped else None)


def result(value: object) -> int:
    """Print `{"result": value}`; returns the exit status."""
    sys.stdout.write(msgspec.json.encode({"result": value}).decode() + "\n")
    return DONE


def failure(error: Exception, remedy: str, as_json: bool) -> int:
    """Print what went wrong and what to do; returns the exit status."""
    kind = type(error).__name__
    if as_json:
        failure = {"error": {"type": kind, "message": str(error), "remedy": remedy, "details": {}}}
        sys.stdout.write(msgspec.json.encode(failure).decode() + "\n")
    else:
        sys.stderr.write(f"{kind}: {error}" + (f" — {remedy}\n" if remedy else "\n"))
    return FAILED


def seconds(value: float) -> str:
    """A time with three digits."""
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def size(value: float) -> str:
    """Bytes in a fitting unit of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
