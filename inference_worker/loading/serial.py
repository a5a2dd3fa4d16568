"""Work of the event loop that must be done in the order in which it was given.

The driver owns the lanes and uses them in the worker's event loop. How much waits in one is bounded by who gives it: the
scheduler has a bounded number of moves under way.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

Step = Callable[[], Coroutine[Any, Any, None]]


class SerialExecutor:
    """One after another. A step answers for its own failures: one that escapes it is raised in the event loop's handler."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Step, bool]] = deque()
        self._turn: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()

    def then(self, step: Step) -> None:
        """Do it after all that was given before; what is given later waits for its end."""
        self._give(step, False)

    def then_beside(self, step: Step) -> None:
        """Begin it after all that was given before; what is given later does not wait for it."""
        self._give(step, True)

    async def close(self) -> None:
        """Cancel what is under way, forget what waits, and return when it has ended."""
        self._waiting.clear()
        tasks = [*self._beside, *([self._turn] if self._turn is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _give(self, step: Step, beside: bool) -> None:
        self._waiting.append((step, beside))
        if self._turn is None or self._turn.done():
            self._turn = asyncio.create_task(self._take_turns())

    async def _take_turns(self) -> None:
        while self._waiting:
            step, beside = self._waiting.popleft()
            if beside:
                task = asyncio.create_task(step())
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)
            else:
                await step()
