"""The budget of one message: work, wall time and memory.

Work is charged in units (`uvm/language/weights.py`) before it is done. The clock and the process' memory are looked at each time that
`LOOK` units, some milliseconds, were charged, and before any single call that costs as much: what a call will take is known from its
charge, so that one which would outlast the deadline is not begun.
"""

import os
import time
from typing import Final, NoReturn

from uvm.errors import AttemptEnded, DeadlineExceeded, MemorySpent, TicksSpent
from uvm.language.keys import Keys
from uvm.language.weights import TICK, UNIT_S, WALK

LOOK: Final = 250_000
"""Units between two looks: 2.5 ms, and on a machine eight times slower still 20 ms."""
MEMORY: Final = 192_000_000
"""Bytes by which a message may let the process grow. A look comes at most one operation (about 100 MB) or 25 MB of small ones late."""


class _Resident:
    """Bytes of memory that this process holds. 0 in a child: its own limits hold there, and it may open nothing."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._page = os.sysconf("SC_PAGESIZE")
        # Opened before the process is confined.
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def __call__(self) -> int:
        if os.getpid() != self._process:
            return 0
        return int(os.pread(self._file, 100, 0).split()[1]) * self._page


resident: Final = _Resident()


class Budget:
    """What a message has left. `charge` is the path that everything goes through, so it does one subtraction."""

    # What most messages never change stands here: there are many messages, and a budget for each.
    end: AttemptEnded | None = None
    _left = 0
    _keys: Keys | None = None
    _memory: int | None = None

    def __init__(self, ticks: int, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._rest = ticks * TICK
        self._stretch()

    @property
    def keys(self) -> Keys:
        """The keys that the message hashed; most messages hash none."""
        if self._keys is None:
            self._keys = Keys(self.charge)
        return self._keys

    @property
    def ticks(self) -> int:
        """Ticks that are left."""
        return max(0, self._rest + self._left) // TICK

    def charge(self, units: int) -> None:
        """Spend units of work. Raises TicksSpent, DeadlineExceeded, MemorySpent, or the end that this attempt already came to."""
        self._left -= units
        if self._left < 0:
            self._look(units)

    def look(self) -> None:
        """Look at the clock and at the memory: the kernel's own work for a message is bounded by these. Raises as `charge` does."""
        self._look(0)

    def walk(self, eighths: int) -> None:
        """Spend what a walk through stored values costs, which copies eight values for each of `eighths`."""
        self.charge(eighths * WALK)

    def finish(self, end: AttemptEnded) -> NoReturn:
        """End the attempt for good: every later charge raises the same end."""
        self.end = end
        self._rest, self._left = max(0, self._rest + self._left), -1
        raise end

    def _look(self, units: int) -> None:
        """Begin the next stretch of `LOOK` units; `units` are those that are about to be worked."""
        if self.end is not None:
            self._left = -1
            raise self.end
        self._rest += self._left
        self._left = 0
        if self._rest < 0:
            self.finish(TicksSpent("the message used its budget of ticks", "do less in one message, or raise uvm.ticks"))
        if time.monotonic() + units * UNIT_S > self._until:
            self.finish(DeadlineExceeded(f"the message ran longer than {self._seconds:g} s, or would have", "do less in one message"))
        self._weigh_process()
        self._stretch()

    def _stretch(self) -> None:
        self._left = left = self._rest if self._rest < LOOK else LOOK
        self._rest -= left

    def _weigh_process(self) -> None:
        memory = resident()
        if self._memory is None:
            self._memory = memory
        elif memory - self._memory > MEMORY:
            self.finish(MemorySpent(f"the message made values of more than {MEMORY // 1_000_000} MB", "keep less at a time"))
