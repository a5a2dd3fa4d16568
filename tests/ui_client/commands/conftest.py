"""A real bridge with a scripted UVM, and the `batos` command as a process and within this one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from typer.testing import CliRunner

from tests.uvm.bridge.service import ROOT, Service, until
from ui_client.cli import app


class Answer(Struct):
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of stdout, parsed; nothing else may be there."""
        (line,) = self.out.splitlines()
        return json.loads(line)


class ScriptedService(Service):
    """The service of the bridge's tests, with UVMs of tests.ui_client.commands.scripted_uvm."""

    def start_scripted(self, name: str) -> None:
        self._uvms[name] = process = self._start(["-m", "tests.ui_client.commands.scripted_uvm", name])
        until(lambda: any(uvm["pid"] == process.pid for uvm in self.client().status()["uvms"]), f"{name} is ready")


Command = Callable[..., Answer]


def run_command(home: Path, *arguments: str, stdin: str = "", timeout: float = 60.0, settings: Mapping[str, str] | None = None) -> Answer:
    """`batos` as a process of its own, in `home`."""
    done = subprocess.run(
        [sys.executable, "-m", "ui_client.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(home), "COLUMNS": "120", **(settings or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedService]:
    """A bridge with one scripted UVM, `uvm-1`, for all tests of a module."""
    with ScriptedService(tmp_path_factory.mktemp("home")) as started:
        started.start_scripted("uvm-1")
        yield started


def invoke(home: Path, *arguments: str, stdin: str = "") -> Answer:
    """`batos` within this process, in `home`: much faster, for all that does not depend on a process of its own."""
    result = CliRunner().invoke(app, list(arguments), input=stdin, env={"BATOS_HOME": str(home), "COLUMNS": "120"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def batos(service: ScriptedService) -> Command:
    """The command, run against the scripted image."""
    return lambda *arguments, **options: invoke(service.home, *arguments, **options)


@pytest.fixture
def batos_process(service: ScriptedService) -> Command:
    """The command as a process of its own, run against the scripted image."""
    return lambda *arguments, **options: run_command(service.home, *arguments, **options)


@pytest.fixture
def batos_alone(tmp_path: Path) -> Command:
    """The command, run in an empty home."""
    return lambda *arguments, **options: invoke(tmp_path, *arguments, **options)
