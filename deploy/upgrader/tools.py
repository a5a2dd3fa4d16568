"""Programs of an environment that the upgrader runs and waits for: pip, and our own tools for the image.

Called by the upgrader's one thread. They are children that end with it, in the background of the service's processes.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from deploy import supervision
from deploy.environment import Interpreter
from deploy.process import die_with_parent
from deploy.settings import Configuration

_MB: Final = 1024 * 1024
_NICE: Final = 10
_OWN: Final = frozenset({"PYTHONPATH", "PYTHONHASHSEED", "PYTHONHOME"})


class ToolRun(Struct, frozen=True):
    """What became of a program: its exit status (None: it took too long), and what it wrote."""

    status: int | None
    out: str
    err: str

    @property
    def log(self) -> str:
        """The end of all that it wrote."""
        return "\n".join(filter(None, (self.out, self.err)))[-8000:]


def run(
    command: Sequence[str],
    ends: float,
    *,
    settled: Mapping[str, str],
    stdin: str = "",
    memory_mb: int = 0,
    directory: Path | None = None,
) -> ToolRun:
    """Run a program until `ends`, monotonic seconds. `settled`: its environment; `memory_mb`: its address space, 0 for any."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(0.1, ends - time.monotonic()),
            check=False,
            env=dict(settled),
            cwd=directory,
            preexec_fn=_begins(os.getpid(), memory_mb),
        )
    except subprocess.TimeoutExpired as late:
        return ToolRun(None, _text(late.stdout), _text(late.stderr))
    return ToolRun(done.returncode, done.stdout, done.stderr)


def module(interpreter: Interpreter, name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of an environment."""
    return (interpreter.python, "-P", "-m", name, *arguments)


def environment_of(interpreter: Interpreter, configuration: Configuration, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What our tools find in their environment: the home, and our packages from where that interpreter has them."""
    settled = supervision.environment(configuration, {**os.environ, **(more or {})})
    if interpreter.path is not None:
        settled["PYTHONPATH"] = interpreter.path
    return settled


def plain_environment() -> dict[str, str]:
    """The upgrader's own environment, without what would lead a Python of another environment here."""
    return {name: value for name, value in os.environ.items() if name not in _OWN}


def _begins(parent: int, memory_mb: int) -> Callable[[], None]:
    def begin() -> None:
        die_with_parent(signal.SIGKILL, parent)
        os.nice(_NICE)
        if memory_mb:
            resource.setrlimit(resource.RLIMIT_AS, (memory_mb * _MB, memory_mb * _MB))

    return begin


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
