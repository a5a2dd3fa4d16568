"""What every process does about its own life: stopping on a signal, and dying with its parent.

Called from the main thread of a process's `main()`.
"""

import ctypes
import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Self

_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_SET_NO_NEW_PRIVS = 38


class Stop:
    """Turns SIGTERM and SIGINT into a request that a loop can ask for, or poll.

    `requested` becomes true, and `fileno()` readable and stays so. `signal` is the number that arrived, 0 before.
    """

    def __init__(self, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.signal = 0
        for number in signals:
            signal.signal(number, self._arrived)

    @property
    def requested(self) -> bool:
        return self.signal != 0

    def request(self) -> None:
        """Ask for the stop from within; safe in any thread."""
        self._arrived(signal.SIGTERM, None)

    def fileno(self) -> int:
        """A descriptor that is readable once the stop is requested."""
        return self._reader

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            return
        self.signal = number
        os.write(self._writer, b"s")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._reader)
        os.close(self._writer)


def die_with_parent(number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Have the kernel send this process `number` when its parent's thread ends.

    `parent`: the process id of the parent as known before the fork. If it is gone already, SystemExit is raised,
    since the signal would never come. Raises OSError when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_PDEATHSIG, {number}): {os.strerror(code)}")
    if parent is not None and os.getppid() != parent:
        raise SystemExit(f"the parent process {parent} ended before its child began")


def parent_death_signal() -> int:
    """The signal that `die_with_parent` asked for, 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_int(0)
    if libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_GET_PDEATHSIG): {os.strerror(code)}")
    return number.value


def no_new_privileges() -> None:
    """Give up, for good, that running a program could add privileges. Raises OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(code)}")
