"""Programs that a command waits for, and the steps that it tells meanwhile."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from deploy.settings import Configuration, load
from ui_client import child, steps
from ui_client.report import Failure
from ui_client.steps import Steps


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load({"BATOS_HOME": str(tmp_path)}, tmp_path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that children can run as `played`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "played.py"


def run(configuration: Configuration, log: Path, deadline_s: float = 30.0) -> list[str]:
    heard: list[str] = []
    child.run("played", ["a"], configuration=configuration, log=log, deadline_s=deadline_s, on_line=heard.append, on_tick=lambda: None)
    return heard


def test_every_line_is_heard_also_one_without_an_end(configuration: Configuration, program: Path, tmp_path: Path) -> None:
    program.write_text("import os, sys\nprint(sys.argv[1])\nprint(os.environ['BATOS_HOME'])\nprint('last', end='')")
    assert run(configuration, tmp_path / "log") == ["a", str(tmp_path), "last"]


def test_a_failure_carries_the_end_of_this_runs_log(configuration: Configuration, program: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an older run\n")
    program.write_text("import sys\nprint('why it failed', file=sys.stderr)\nsys.exit(3)")
    with pytest.raises(Failure, match="ended with status 3") as failed:
        run(configuration, tmp_path / "log")
    assert failed.value.tail == "why it failed"


def test_a_program_that_takes_too_long_is_killed(configuration: Configuration, program: Path, tmp_path: Path) -> None:
    program.write_text("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('hanging')\nsignal.pause()")
    with pytest.raises(Failure, match="was not done after 1 s"):
        run(configuration, tmp_path / "log", deadline_s=1.0)


def test_work_in_the_background_ticks_and_returns_or_raises() -> None:
    ticked = threading.Event()
    assert child.in_background(lambda: ticked.wait(20), ticked.set) is True

    def fail() -> None:
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        child.in_background(fail, lambda: None)


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_long_step_is_told_while_it_runs_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(steps, "time", clock)
    written = io.StringIO()
    progress = Steps(Console(file=written, width=100))
    with progress.phase("Prototypal Awakening"):
        with progress.step("quick") as step:
            step.outcome = "fine"
        with progress.step("slow") as step:
            for second in range(40):
                clock.now = 101.0 + second
                progress.tick(step, f"part {second}")
    assert written.getvalue().splitlines() == [
        "Prototypal Awakening",
        "  ✓ quick: fine  0.0 s",
        "  … slow  2 s  part 1",
        "  … slow  17 s  part 16",
        "  … slow  32 s  part 31",
        "  ✓ slow  40.0 s",
    ]
    assert [(phase.name, [step.text for step in phase.steps]) for phase in progress.phases] == [("Prototypal Awakening", ["quick", "slow"])]


def test_a_step_that_fails_is_marked_and_the_error_goes_on() -> None:
    written = io.StringIO()
    progress = Steps(Console(file=written, width=100))
    with pytest.raises(OSError, match="disk"), progress.step("writing"):
        raise OSError("disk")
    assert written.getvalue().startswith("  ✗ writing")
