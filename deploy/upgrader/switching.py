"""Replacing the service's processes: each ends as on `batos down`, and starts from another environment, under the same supervisord.

Called by the upgrader's one thread. Everything here may be done again: a process that runs from the wanted environment already is left
alone, so that a switch that was cut off, in either direction, is carried on by doing it once more.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy import service, supervision
from deploy.environment import Interpreter
from deploy.service import ServiceError
from deploy.settings import Configuration
from deploy.upgrader.events import PlankReport
from deploy.upgrader.health import Pulse, absent
from deploy.upgrader.planks import UNCHANGED, SwitchPlan
from deploy.upgrader.pulse import BridgeWatch

_LOOK_S: Final = 0.3
_STOP_S: Final = 60.0
_SUPERVISOR: Final = b"supervisor.supervisord"


class SwitchFailed(Exception):
    """A process could not be replaced; the message says which and why, `log` is the end of what it wrote."""

    def __init__(self, why: str, log: str = "") -> None:
        super().__init__(why)
        self.log = log


class Switchboard:
    """The processes of the service, and the environments that they run from."""

    def __init__(self, configuration: Configuration, watch: BridgeWatch, stopped: Callable[[], bool]) -> None:
        """`stopped`: whether the upgrader is to end; then waiting ends at once, with SwitchFailed."""
        self._configuration = configuration
        self._watch = watch
        self._stopped = stopped

    def programs(self) -> list[str]:
        """The programs that may be replaced, in the order of their start."""
        return [name for name in service.configured(self._configuration) if name not in UNCHANGED]

    def pids(self) -> dict[str, int]:
        """The process of each of them, 0 for none."""
        return {status.name: status.pid for status in service.statuses(self._configuration) if status.name not in UNCHANGED}

    def pulse(self) -> Pulse | None:
        """What the bridge says now."""
        return self._watch.look(_LOOK_S)

    def elsewhere(self, interpreter: Interpreter) -> list[str]:
        """The programs that do not run from this environment: they run from another one, or not at all."""
        return [name for name, pid in self.pids().items() if running_from(pid) != interpreter.python] + self._forgotten()

    def concerned(self, trial: Interpreter) -> list[str]:
        """The programs that run from an environment that is to go, or do not run at all."""
        return [name for name, pid in self.pids().items() if running_from(pid) in ("", trial.python)] + self._forgotten()

    def prefixes(self) -> list[Path]:
        """The environments that anything of the service runs from."""
        return prefixes_in_use(self._configuration)

    def move(
        self,
        interpreter: Interpreter,
        plan: SwitchPlan,
        seconds: float,
        tell: Callable[[PlankReport], None],
        between: Callable[[Sequence[str]], None] = lambda names: None,
    ) -> None:
        """Have the programs of a plan run from an environment, step by step, each being well before the next. Raises SwitchFailed.

        `seconds`: for each step. `between`: called in each step with its programs, when those that were started first are starting.
        """
        chosen = [program for program in supervision.programs(self._configuration, interpreter) if program.name in self.programs()]
        kept = [program for program in supervision.programs(self._configuration) if program.name in UNCHANGED]
        listed = set(service.configured(self._configuration))
        try:
            service.reconfigure(self._configuration, [*chosen, *(program for program in kept if program.name in listed)])
            for step in plan.steps:
                away = set(self.elsewhere(interpreter))
                if names := [name for name in step if name in away]:
                    self._step(names, seconds, tell, between)
        except ServiceError as error:
            raise SwitchFailed(str(error)) from error

    def take_down_clients(self) -> None:
        """Stop whoever writes the image, which stays up itself. Raises ServiceError."""
        clients = [name for name in self.programs() if name.startswith("uvm-") or name == "heartbeat"]
        service.take_down(self._configuration, clients, _STOP_S)

    def await_health(self, seconds: float, concerned: Iterable[str] | None = None) -> None:
        """Wait until programs, by default all, are at work. Raises SwitchFailed."""
        ends = time.monotonic() + seconds
        wanted = None if concerned is None else list(concerned)
        while reasons := absent(self.pulse(), self.pids(), wanted):
            self._wait(ends, reasons)

    def _step(
        self, names: list[str], seconds: float, tell: Callable[[PlankReport], None], between: Callable[[Sequence[str]], None]
    ) -> None:
        ends = time.monotonic() + seconds
        before, gone = self.pids(), dict[str, float]()
        for group in _groups(names):
            service.take_down(self._configuration, group, min(_STOP_S, seconds))
            gone |= dict.fromkeys(group, time.monotonic())
        service.bring_up(self._configuration, names)
        between(names)
        waiting = dict.fromkeys(names)
        while waiting:
            pulse, pids = self.pulse(), self.pids()
            for name in [name for name in waiting if not absent(pulse, pids, [name])]:
                del waiting[name]
                tell(PlankReport(name, time.monotonic() - gone[name], before.get(name, 0), pids[name]))
            if waiting:
                self._wait(ends, absent(pulse, pids, waiting))

    def _wait(self, ends: float, reasons: list[str]) -> None:
        if self._stopped():
            raise SwitchFailed("the upgrader is to end")
        if time.monotonic() > ends:
            raise SwitchFailed("; ".join(reasons), self._logs(reasons))

    def _logs(self, reasons: list[str]) -> str:
        """The ends of the logs of those that a reason names."""
        ends = []
        for name in self.programs():
            if any(name in reason for reason in reasons):
                with suppress(OSError):
                    ends.append(f"{name}: {(self._configuration.home.logs / f'{name}.log').read_text(errors='replace')[-1500:]}")
        return "\n".join(ends)

    def _forgotten(self) -> list[str]:
        """Programs that supervisord was told of and does not have: they were taken down, and not brought up again."""
        there = {status.name for status in service.statuses(self._configuration)}
        return [name for name in self.programs() if name not in there]


def prefixes_in_use(configuration: Configuration) -> list[Path]:
    """The environments that anything of the service runs from. Raises NotRunning."""
    pythons = {running_from(status.pid) for status in service.statuses(configuration) if status.pid}
    return sorted({Path(python).parent.parent for python in pythons if python})


def running_from(pid: int) -> str:
    """The Python that a process was started with; nothing for one that is not there, or that supervisord has only forked."""
    if not pid:
        return ""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return "" if _SUPERVISOR in words else words[0].decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _groups(names: Sequence[str]) -> list[list[str]]:
    """Who ends together: first those that use the image, then the image."""
    others = [name for name in names if name != "image"]
    return [group for group in (others, [name for name in names if name == "image"]) if group]
