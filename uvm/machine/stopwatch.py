"""What each of many short things in a row takes of the processor, measured for less than it costs to ask.

To ask the kernel for a thread's processor time takes as long as to decode a message; the wall clock takes a tenth of that, and no
processor time is longer. So what is short by the wall is told by the wall, and only after something longer the kernel is asked: that
one is told what is not told yet. However often the process had to wait, the sum is its processor time, but for some short ones.
"""

import time
from typing import Final

SHORT_S: Final = 0.000_1
"""As much as the bridge counts for any message at least (`uvm.shares.LEAST_S`): what is shorter is all the same to it."""


class Stopwatch:
    """Runs from its making on. `now`: the monotonic clock at the newest look, which costs nothing to ask again."""

    __slots__ = ("_kernel_s", "_since_kernel_s", "now")

    def __init__(self) -> None:
        self.now = time.monotonic()
        self._kernel_s = time.thread_time()
        # What was told since the kernel was asked.
        self._since_kernel_s = 0.0

    def lap(self) -> float:
        """Processor seconds since the lap before."""
        began, self.now = self.now, time.monotonic()
        spent = self.now - began
        if spent > SHORT_S:
            before, self._kernel_s = self._kernel_s, time.thread_time()
            spent = max(0.0, self._kernel_s - before - self._since_kernel_s)
            self._since_kernel_s = 0.0
        else:
            self._since_kernel_s += spent
        return spent
