"""The bridge, replaced without anybody waiting for it: a second one follows it, and is followed by the one that stays.

Called by the upgrader's one thread. supervisord knows a program by its name, and the bridge is `bridge` before and after. So another one,
`bridge-beside`, is started from the new environment beside it; once that waits for its turn, the old one is stopped, and it serves
(`uvm.bridge.succession`: it has the listening sockets by then). In the same way the new `bridge` follows that one. Whoever dies on
the way is followed, or forgotten: the other one serves. Everything may be done again, from wherever it was cut off.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from deploy import service
from deploy.service import ServiceError
from deploy.settings import Configuration
from deploy.supervision import BESIDE, BRIDGE
from deploy.upgrader.health import Pulse

READY_S: Final = 40.0
"""Longest a bridge may take to be ready for its turn, or to serve when it has come, seconds."""
_END_S: Final = 20.0
_PAUSE_S: Final = 0.02

log = structlog.get_logger()


class HandoverFailed(Exception):
    """The bridge could not be handed over; the message says why. Somebody may serve, under either name."""


class BridgeHandover:
    """One replacement of the bridge; `begin` it, then `carry_out`. supervisord has been told how to run both programs."""

    def __init__(self, configuration: Configuration, pulse: Callable[[], Pulse | None], stopped: Callable[[], bool]) -> None:
        self._configuration = configuration
        self._pulse = pulse
        self._stopped = stopped

    def begin(self) -> bool:
        """Start what is to serve meanwhile; it needs a moment. False: it cannot be started, or who serves now cannot be followed."""
        pulse = self._pulse()
        if pulse is None or pulse.successor is None:
            return False
        try:
            if pulse.bridge != self._pid(BESIDE):  # otherwise it serves: a handover was cut off there
                self._start_anew(BESIDE)
        except ServiceError as error:
            log.warning("nothing can be started beside the bridge", reason=str(error))
            return False
        return True

    def carry_out(self) -> float:
        """Replace the bridge; the longest time that nobody served, seconds. Raises HandoverFailed, ServiceError."""
        away_s = 0.0
        pulse = self._pulse()
        if pulse is None or pulse.bridge != self._pid(BESIDE):
            away_s = self._follow(BRIDGE, BESIDE)
        self._start_anew(BRIDGE)
        return max(away_s, self._follow(BESIDE, BRIDGE))

    def _follow(self, ending: str, successor: str) -> float:
        """Have one program followed by another, which has been started; how long nobody served."""
        self._wait(successor, lambda pulse: (pulse.successor, pulse.bridge), f"{successor} is not ready to follow {ending}")
        began = time.monotonic()
        service.take_down(self._configuration, [ending], _END_S)
        self._wait(successor, lambda pulse: (pulse.bridge,), f"{successor} did not follow {ending}")
        return time.monotonic() - began

    def _start_anew(self, name: str) -> None:
        service.take_down(self._configuration, [name], _END_S)
        service.bring_up(self._configuration, [name])

    def _wait(self, name: str, there: Callable[[Pulse], tuple[int | None, ...]], why: str) -> None:
        """Wait until the process of a program is one of those that a pulse has `there`."""
        ends = time.monotonic() + READY_S
        while True:
            pulse, pid = self._pulse(), self._pid(name)
            if pulse is not None and pid and pid in there(pulse):
                return
            if self._stopped():
                raise HandoverFailed("the upgrader is to end")
            if time.monotonic() > ends:
                raise HandoverFailed(why)
            time.sleep(_PAUSE_S)

    def _pid(self, name: str) -> int:
        return next((status.pid for status in service.statuses(self._configuration) if status.name == name), 0)


def settle(configuration: Configuration) -> None:
    """Stop what a handover that was cut off has left beside the bridge; if it serves, the bridge follows it."""
    with suppress(ServiceError):
        names = {status.name for status in service.statuses(configuration) if status.pid}
        if names >= {BRIDGE, BESIDE}:
            service.take_down(configuration, [BESIDE], _END_S)
