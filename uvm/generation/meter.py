"""Whose work this thread does: processor seconds by principal, however steps for one begin and end within those for another."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Meter:
    """Owned by one thread. `clock`: its processor seconds."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._used: defaultdict[str, float] = defaultdict(float)
        self._within = 0.0

    @contextmanager
    def of(self, principal: str) -> Iterator[None]:
        """What is done meanwhile is done for a principal, except for what is metered within."""
        before, self._within = self._within, 0.0
        began = self._clock()
        try:
            yield
        finally:
            took = self._clock() - began
            self._used[principal] += took - self._within
            self._within = before + took

    def read(self) -> list[tuple[str, float]]:
        """What was used by whom since this was asked last."""
        used, self._used = self._used, defaultdict(float)
        return [(principal, seconds) for principal, seconds in used.items() if seconds > 0]
