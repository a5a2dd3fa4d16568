"""A process that hangs ends itself, inside a call of C and after a stop too."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = "import uvm.machine.watchdog as w; w.GRACE_S = 0.0; dog = w.Watchdog(0.3); dog.put_off(); print('ready', flush=True);"


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, "-c", LIMIT + program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("hang", ["sum(range(10**15))", "import threading; threading.Lock().__enter__(); import time; time.sleep(10**6)"])
def test_a_call_that_does_not_return_is_ended(hang: str) -> None:
    with process(hang) as child:
        assert child.wait(30) == -signal.SIGALRM


def test_a_loop_that_goes_on_lives_and_ends_well() -> None:
    loop = "import time\nuntil = time.monotonic() + 1\nwhile time.monotonic() < until: dog.put_off(); time.sleep(0.01)\ndog.stop()"
    with process(loop) as child:
        assert child.wait(30) == 0


def test_a_process_that_was_stopped_past_its_limit_ends_as_it_is_continued() -> None:
    with process("import time\nwhile True: dog.put_off(); time.sleep(0.01)") as child:
        os.kill(child.pid, signal.SIGSTOP)
        while not _pending(child.pid) >> signal.SIGALRM - 1 & 1:
            assert child.poll() is None
        os.kill(child.pid, signal.SIGCONT)
        assert child.wait(30) == -signal.SIGALRM


def _pending(pid: int) -> int:
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("ShdPnd"))
