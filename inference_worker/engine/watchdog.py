"""Whether an engine's processes live: noticed at once when one ends, and in the end when one lives and does nothing.

The worker's event loop owns it. A process that ends makes its pidfd readable, whoever its parent is, so that the process
that holds the model is seen as directly as the one that started it. One that was stopped, or waits for ever, still lives:
while somebody waits for the engine it is asked something now and then, and if it neither answers nor uses the
processor for `SILENT_S`, it counts as dead.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable

import psutil

SILENT_S = 60.0
"""No answer and no processor time for so long is death. A step answers nobody while it runs, and one with a long prompt on
a busy CPU can take minutes, but it computes all the while."""

HOPELESS_S = 600.0
"""No answer for so long is death even if it computes: no request is given so long by default."""

_ASK_S = 5.0
_POLL_S = 0.5
# Less in a whole SILENT_S is what an idle process's housekeeping threads use.
_IDLE_SHARE = 0.001


class Vitals:
    """The processes `pids` of one engine. `fault` says what the engine knows of its own death ("" while it lives);
    `ask` is answered by the process that holds the model; `busy`: somebody waits for the engine."""

    def __init__(self, pids: list[int], fault: Callable[[], str], ask: Callable[[], Awaitable[object]], busy: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fault = fault
        self._ask = ask
        self._busy = busy
        self._pidfds: dict[int, int] = {}
        self.death: asyncio.Future[str] = self._loop.create_future()
        """Resolved with the reason, once."""
        for pid in pids:
            self._follow(pid)
        self._watching = self._loop.create_task(self._watch())

    def declare(self, reason: str) -> None:
        """The engine is dead, or not wanted any more. The first reason stays."""
        if not self.death.done():
            self.death.set_result(reason)

    def kill(self) -> None:
        """End the processes, whatever they do; a pid that was given to another process since is safe."""
        for pidfd in self._pidfds.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching."""
        self._watching.cancel()
        for pidfd in self._pidfds.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()

    def _follow(self, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.declare(f"its process {pid} ended")
            return
        self._pidfds[pid] = pidfd
        self._loop.add_reader(pidfd, self._ended, pid, pidfd)

    def _ended(self, pid: int, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        self.declare(f"its process {pid} ended")

    async def _watch(self) -> None:
        probe: asyncio.Future[object] | None = None
        heard = since = self._loop.time()
        used = 0.0
        try:
            while not self.death.done():
                await asyncio.sleep(_POLL_S)
                if reason := self._fault():
                    return self.declare(reason)
                now = self._loop.time()
                if probe is not None and probe.done():
                    # An error is an answer too; a dead engine's is seen above.
                    probe.cancelled() or probe.exception()
                    probe, heard = None, now
                if probe is None:
                    if self._busy() and now - heard >= _ASK_S:
                        probe, since, used = asyncio.ensure_future(self._ask()), now, self._processor_s()
                    elif not self._busy():
                        heard = now
                elif now - since >= SILENT_S:
                    using = self._processor_s()
                    if using - used <= _IDLE_SHARE * (now - since):
                        return self.declare(f"no answer for {now - heard:.0f} s from processes that do nothing")
                    if now - heard >= HOPELESS_S:
                        return self.declare(f"no answer for {now - heard:.0f} s")
                    since, used = now, using
        finally:
            if probe is not None:
                probe.cancel()

    def _processor_s(self) -> float:
        total = 0.0
        for pid in self._pidfds:
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total
