"""An image for one evaluation: the service's own settings and model, in a home of its own that is gone afterwards. The command's thread.

The service is started as `batos up` starts it, in `batos-evaluation-…` under the system's temporary directory, and stopped when the block
is left, however it is left: SIGTERM and SIGINT end it in order. What an evaluation leaves that was killed, the next one takes away: its
home has a lock that its process held.
"""

import fcntl
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

from deploy import service, settings
from deploy.service import ServiceError
from deploy.settings import Configuration, SettingsError
from ui_client import child, startup
from ui_client.steps import Steps

PREFIX: Final = "batos-evaluation-"
STOP_S: Final = 60.0
YOUNG_S: Final = 60.0
"""A home of so few seconds may be one whose process has not locked it yet."""
_LOCK: Final = "evaluation.lock"
_VAR: Final = "var"
_OWN: Final[dict[str, Any]] = {
    # Addresses and ports of its own; and whoever evaluates may do what an evaluation does.
    "bridge.endpoint": "",
    "bridge.events": "",
    "bridge.key": "",
    "bridge.rights": ",".join(settings.RIGHTS),
    "inference.address": "",
    "metrics.base_port": 0,
}


class Interrupted(KeyboardInterrupt):
    """The process was asked to end."""


@contextmanager
def throwaway(configuration: Configuration, overlay: Mapping[str, Any], steps: Steps) -> Iterator[Configuration]:
    """A service that answers, configured like `configuration` but for `overlay` (`section.key` → value). Raises Failure, SettingsError."""
    sweep()
    with _orderly(), _home() as home, _environment(_variables(configuration, home / _VAR, overlay)):
        own = settings.load()
        try:
            startup.awaken(own, steps)
            yield own
        finally:
            with _undisturbed(), steps.step("service of the evaluation") as step:
                child.in_background(lambda: service.stop(own, STOP_S), lambda: steps.tick(step))
                for directory in (own.home.run, own.home.scratch):
                    shutil.rmtree(directory, ignore_errors=True)
                step.outcome = "gone"


def sweep(directory: Path | None = None) -> list[Path]:
    """Stop and remove what evaluations left that were killed; which homes those were."""
    removed = []
    for home in sorted((directory or Path(tempfile.gettempdir())).glob(f"{PREFIX}*")):
        with suppress(OSError, ServiceError, SettingsError):
            status = home.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or time.time() - status.st_mtime < YOUNG_S:
                continue
            descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left = settings.load({"BATOS_HOME": str(home / _VAR)}, home)
                service.stop(left, STOP_S)
                for path in (left.home.run, left.home.scratch, home):
                    shutil.rmtree(path, ignore_errors=True)
                removed.append(home)
            finally:
                os.close(descriptor)
    return removed


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    home.chmod(0o711)  # the account of the service's processes finds its way to what is its own
    descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.close(descriptor)


def _variables(configuration: Configuration, home: Path, overlay: Mapping[str, Any]) -> dict[str, str]:
    """The environment that makes a process find the throwaway's settings. Raises SettingsError for a key that there is not."""
    for key in overlay:
        if key not in configuration.origins:
            raise SettingsError(f"there is no setting {key}; `batos config` lists them")
    variables = {f"BATOS_{key.replace('.', '_').upper()}": str(value) for key, value in {**_OWN, **overlay}.items()}
    file = next((origin for origin in configuration.origins.values() if origin.startswith("/")), "")
    # Relative to where the command runs, a path would mean another place in the service's.
    model = configuration.settings.inference.model
    variables |= {"BATOS_INFERENCE_MODEL": str(Path(model).expanduser().absolute())} if model else {}
    return {**variables, "BATOS_HOME": str(home), **({"BATOS_CONFIG": file} if file else {})}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What takes the service down is not itself interrupted; it has deadlines."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
