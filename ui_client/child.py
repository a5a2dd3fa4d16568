"""Programs of ours that the `batos` command runs and waits for. Each has a deadline and a log; used by one thread."""

import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from deploy.settings import Configuration
from ui_client.report import Failure

_TICK_S = 0.1
_TAIL_LINES = 15
_TAIL_BYTES = 16_384

Result = TypeVar("Result")


def run(
    module: str,
    arguments: Sequence[str],
    *,
    configuration: Configuration,
    log: Path,
    deadline_s: float,
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
    stdin: bytes = b"",
) -> None:
    """`python -m module arguments`: each line of its stdout goes to `on_line`, its stderr to the file `log`. `stdin`: what it reads.

    Raises Failure with the end of the log when it fails or takes longer than `deadline_s` seconds (it is killed then).
    """
    ends = time.monotonic() + deadline_s
    with log.open("ab") as errors, tempfile.TemporaryFile() as reads:
        start = errors.tell()
        reads.write(stdin)
        reads.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=reads,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"BATOS_HOME": str(configuration.home.path), "PYTHONUNBUFFERED": "1"},
        )
    try:
        _follow(child, ends, on_line, on_tick)
        code = child.wait(timeout=max(_TICK_S, ends - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise Failure(
            "TookTooLong", f"{module} was not done after {deadline_s:.0f} s", f"its log is {log}", tail=tail(log, since=start)
        ) from error
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()
    if code != 0:
        raise Failure("ChildFailed", f"{module} ended with status {code}", f"its log is {log}", tail=tail(log, since=start))


def _follow(child: "subprocess.Popen[bytes]", ends: float, on_line: Callable[[str], None], on_tick: Callable[[], None]) -> None:
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe for its stdout")
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            on_tick()
            if time.monotonic() > ends:
                raise TimeoutError
            if not selector.select(_TICK_S):
                continue
            read = os.read(child.stdout.fileno(), 65_536)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                on_line(line.decode(errors="replace"))
            if not read:
                if rest:
                    on_line(rest.decode(errors="replace"))
                return


def tail(log: Path, since: int = 0, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log, from byte `since` on; empty when there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def in_background(call: Callable[[], Result], on_tick: Callable[[], None]) -> Result:
    """Run `call`, which has a deadline of its own, on a thread, and `on_tick` meanwhile; what it returns or raises."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    while True:
        try:
            return future.result(timeout=_TICK_S)
        except TimeoutError:
            # Done: the work itself ran into a timeout, or ended just now.
            if future.done():
                return future.result()
            on_tick()


def wait_until(ready: Callable[[], bool], deadline_s: float, on_tick: Callable[[], None], every_s: float = _TICK_S) -> bool:
    """Ask `ready` until it says yes; False when `deadline_s` seconds went by."""
    ends = time.monotonic() + deadline_s
    while not ready():
        if time.monotonic() > ends:
            return False
        on_tick()
        time.sleep(every_s)
    return True
