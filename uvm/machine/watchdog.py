"""The end of a UVM that hangs: a timer of the kernel's, which ends the process even inside a call that never returns to Python.

Each sign of life that the bridge gets puts it off, so that both count from the same moment. The signal has no handler, so that nothing
of this process has to run for it to work; the timer goes on while the process is stopped, so one that was stopped past its limit ends
as it is continued, before it can do anything late. The bridge then gives its messages to others, and the supervisor starts it anew.
"""

import signal
from typing import Final

GRACE_S: Final = 1.0
"""Seconds beyond the limit: more than there are between two signs of life."""


class Watchdog:
    """Ends this process by SIGALRM when `put_off` was not called for `limit_s` seconds and a grace."""

    def __init__(self, limit_s: float) -> None:
        self._seconds = limit_s + GRACE_S
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})

    def put_off(self) -> None:
        """A sign of life: the time counts anew. It takes longer than to look at the clock."""
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stop(self) -> None:
        """The loop has ended."""
        signal.setitimer(signal.ITIMER_REAL, 0)
