"""A real service without a model, in a home of its own: image, bridge, UVMs and heartbeat under supervisord, awakened."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from deploy import service, supervision
from deploy.settings import Configuration, load
from ui_client import Client

ROOT = Path(__file__).parents[1]
START_S = 90.0


class Running:
    """The service; a context manager. `toml` is its configuration, `without` the programs that are left out."""

    def __init__(
        self, home: Path, toml: str = "", *, without: Iterable[str] = ("inference", "upgrader"), model: Path | None = None
    ) -> None:
        """`model`: a directory that the image takes in as its model when it is born; None, it has none."""
        self._model = ("--model", str(model)) if model is not None else ()
        home.mkdir(parents=True, exist_ok=True)
        (home / "batos.toml").write_text(f"{toml}\n[metrics]\nbase_port = 0\n")
        self._without = frozenset(without)
        self.configuration: Configuration = load({"BATOS_HOME": str(home)}, home)

    def __enter__(self) -> Self:
        chosen = [program for program in supervision.programs(self.configuration) if program.name not in self._without]
        service.start(self.configuration, chosen)
        try:
            self._awaken()
            self._wait_for_uvms()
        except BaseException:
            service.stop(self.configuration)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        service.stop(self.configuration)

    def _awaken(self) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "uvm.awakening", "--wait", str(START_S), *self._model],
            env=supervision.environment(self.configuration, dict(os.environ)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=2 * START_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the awakening failed: {done.stderr}")

    def _wait_for_uvms(self) -> None:
        until = time.monotonic() + START_S
        with self.client() as client:
            while len(client.status()["uvms"]) < self.configuration.settings.uvm.processes:
                if time.monotonic() > until:
                    raise RuntimeError(f"the UVMs did not come: {self.log('uvm-1')[-2000:]}")
                time.sleep(0.05)

    def client(self) -> Client:
        """A client of its own."""
        return Client(configuration=self.configuration, connect_timeout=START_S)

    def log(self, program: str) -> str:
        """The log of a program."""
        path = self.configuration.home.logs / f"{program}.log"
        return path.read_text() if path.exists() else ""

    def pids(self) -> dict[str, int]:
        """The process id of each program; 0 while it does not run."""
        return {status.name: status.pid for status in service.statuses(self.configuration)}

    def resident_mb(self) -> dict[str, float]:
        """Resident memory of each program, MB."""
        return {name: psutil.Process(pid).memory_info().rss / 1e6 for name, pid in self.pids().items() if pid}
