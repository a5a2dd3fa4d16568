"""The bridge is replaced under supervisord while tools count: followed, cut off, killed, and restarted where nothing else is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog.testing

from deploy import service, supervision
from deploy.environment import Interpreter, site_packages
from deploy.settings import Configuration, load
from deploy.supervision import BESIDE, BRIDGE
from deploy.upgrader import handover
from deploy.upgrader.events import PlankReport
from deploy.upgrader.planks import SwitchPlan
from deploy.upgrader.pulse import BridgeWatch
from deploy.upgrader.switching import Switchboard, running_from
from tests.uvm.bridge.fake_uvm import create_image, image
from tests.uvm.bridge.service import LIMIT_S, ROOT, until
from tests.uvm.bridge.test_succession import counting, finish, go_on
from ui_client import Client

PLAN = SwitchPlan("rolling", [[BRIDGE]])
HERE = Interpreter(sys.executable)


class UpgraderDied(Exception):
    """The upgrader is gone at this point."""


class Supervised:
    """A bridge under supervisord and a fake UVM beside it; `there` is another Python for it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        settings = {"BATOS_HOME": str(self.home), "BATOS_METRICS_BASE_PORT": "0"}
        self.configuration: Configuration = load(settings, self.home)
        self.configuration.home.ensure()
        create_image(self.home)
        other = directory / "other" / "bin" / "python"
        other.parent.mkdir(parents=True)
        other.symlink_to(sys.executable)
        self.there = Interpreter(str(other), os.pathsep.join(map(str, [ROOT, *site_packages(Path(sys.prefix))])))
        self.watch = BridgeWatch(self.configuration.bridge_socket)
        chosen = [program for program in supervision.programs(self.configuration) if program.name == BRIDGE]
        service.start(self.configuration, chosen, {**os.environ, **settings})
        self.uvm = subprocess.Popen([sys.executable, "-m", "tests.uvm.bridge.fake_uvm", "uvm-1"], cwd=ROOT, env={**os.environ, **settings})

    def close(self) -> None:
        self.uvm.kill()
        self.uvm.wait(LIMIT_S)
        self.watch.close()
        service.stop(self.configuration)

    def client(self, **options: Any) -> Client:
        return Client(configuration=self.configuration, connect_timeout=LIMIT_S, **options)

    def counted(self) -> int:
        database = image(self.home)
        try:
            return int(database.execute("select count(*) from counter").fetchone()[0])
        finally:
            database.close()

    def move(self, interpreter: Interpreter) -> list[PlankReport]:
        """What the upgrader does for the bridge alone."""
        told: list[PlankReport] = []
        Switchboard(self.configuration, self.watch, lambda: False).move(interpreter, PLAN, LIMIT_S, told.append)
        return told

    def pids(self) -> dict[str, int]:
        return {status.name: status.pid for status in service.statuses(self.configuration)}

    def pid(self, name: str) -> int:
        return self.pids().get(name, 0)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    started = Supervised(tmp_path_factory.mktemp("supervised"))
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(autouse=True)
def tools_count(supervised: Supervised) -> Iterator[None]:
    """While each test runs; none of them is lost, or counted twice."""
    before = supervised.counted()
    threads = counting(supervised, 2)
    yield
    go_on(threads)
    finish(supervised, threads, before)


def runs_alone_from(supervised: Supervised, interpreter: Interpreter) -> bool:
    """The bridge serves from this Python, and nothing is left beside it."""
    pulse, pids = supervised.watch.look(1.0), supervised.pids()
    serves = pulse is not None and pulse.bridge == pids[BRIDGE] and running_from(pids[BRIDGE]) == interpreter.python
    return serves and BESIDE not in pids and service.configured(supervised.configuration) == [BRIDGE]


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], None]) -> None:
    """Do something before the handover tells supervisord something for the time `number`."""
    steps = 0

    def counted(tell: Callable[..., None]) -> Callable[..., None]:
        def told(*arguments: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == number:
                do()
            tell(*arguments)

        return told

    class Told:
        take_down = staticmethod(counted(service.take_down))
        bring_up = staticmethod(counted(service.bring_up))
        statuses = staticmethod(service.statuses)

    monkeypatch.setattr(handover, "service", Told)


def test_the_bridge_is_followed_there_and_back(supervised: Supervised) -> None:
    for interpreter in (supervised.there, HERE):
        before = supervised.pid(BRIDGE)
        with structlog.testing.capture_logs() as logged:
            (report,) = supervised.move(interpreter)
        assert logged == [], "it was not restarted"
        assert (report.program, report.before, report.after) == (BRIDGE, before, supervised.pid(BRIDGE))
        assert report.before != report.after
        assert runs_alone_from(supervised, interpreter)


@pytest.mark.parametrize("step", range(1, 7))
def test_an_upgrader_that_dies_on_the_way_is_undone_by_the_next_one(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def die() -> None:
        raise UpgraderDied

    with monkeypatch.context() as patch, pytest.raises(UpgraderDied):
        before_step(patch, step, die)
        supervised.move(supervised.there)
    supervised.move(HERE)
    assert runs_alone_from(supervised, HERE)


@pytest.mark.parametrize(("step", "program"), [(3, BRIDGE), (3, BESIDE), (4, BESIDE), (6, BESIDE), (6, BRIDGE)])
def test_whoever_is_killed_on_the_way_somebody_serves_and_the_bridge_is_replaced(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, step: int, program: str
) -> None:
    with monkeypatch.context() as patch:
        before_step(patch, step, lambda: os.kill(supervised.pid(program), signal.SIGKILL))
        supervised.move(supervised.there)
    assert runs_alone_from(supervised, supervised.there)
    supervised.move(HERE)


def test_where_the_second_bridge_does_not_come_up_the_bridge_is_restarted(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = supervision.beside

    def broken(programs: Any) -> list[supervision.Program]:
        return [msgspec.structs.replace(program, command=("/bin/false",)) for program in beside(programs)]

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setattr(supervision, "beside", broken)
        patch.setattr(handover, "READY_S", 1.0)
        supervised.move(supervised.there)
    assert ["restarted" in line["event"] for line in logged] == [True]
    assert runs_alone_from(supervised, supervised.there)
    supervised.move(HERE)


def test_a_bridge_that_crashes_after_all_comes_back_by_itself(supervised: Supervised) -> None:
    supervised.move(supervised.there)
    before = supervised.pid(BRIDGE)
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.pid(BRIDGE) not in (0, before), "supervisord has started it")
    supervised.move(HERE)
    assert runs_alone_from(supervised, HERE) and time.monotonic() - began < LIMIT_S
