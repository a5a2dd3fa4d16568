"""supervisord for real: started, asked, restarted and stopped, with programs that do next to nothing."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import service, settings, supervision
from deploy.service import NotRunning, ProgramStatus, ServiceError
from deploy.settings import Configuration, SettingsError
from deploy.supervision import Program

SLEEPS = (sys.executable, "-c", "import os, signal; print(dict(os.environ), flush=True); signal.pause()")
LIMIT_S = 30.0


@pytest.fixture
def configuration(tmp_path: Path) -> Iterator[Configuration]:
    (tmp_path / "batos.toml").write_text("[uvm]\nprocesses = 3\n")
    configuration = settings.load({"BATOS_HOME": str(tmp_path / "a home, 100% odd")}, tmp_path)
    yield configuration
    service.stop(configuration, 30)


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait for a state of supervisord, which tells nobody when it changes."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.05)
    return True


def status(configuration: Configuration, name: str) -> ProgramStatus:
    return next(program for program in service.statuses(configuration) if program.name == name)


def runs(configuration: Configuration, name: str) -> bool:
    return status(configuration, name).state == "RUNNING"


def test_a_service_starts_answers_restarts_a_program_and_stops(configuration: Configuration) -> None:
    service.start(configuration, [Program("second", SLEEPS, order=2, start_s=0), Program("first", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: runs(configuration, "first") and runs(configuration, "second"))
    before = status(configuration, "first")
    service.restart(configuration, "first")
    assert status(configuration, "first").pid not in (0, before.pid)
    pids = [program.pid for program in service.statuses(configuration)]
    service.stop(configuration, LIMIT_S)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(NotRunning, match="batos up"):
        service.statuses(configuration)


def test_starting_twice_leaves_the_first_as_it_is(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: runs(configuration, "one"))
    pid = status(configuration, "one").pid
    service.start(configuration, [Program("other", SLEEPS, order=1, start_s=0)])
    assert [(program.name, program.pid) for program in service.statuses(configuration)] == [("one", pid)]


def test_a_program_that_dies_is_started_again(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: runs(configuration, "one"))
    pid = status(configuration, "one").pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: status(configuration, "one").pid not in (0, pid))


def test_after_a_kill_of_supervisord_the_next_start_works_over_what_it_left(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: runs(configuration, "one"))
    orphan = status(configuration, "one").pid
    os.kill(int((supervision.directory(configuration) / "supervisord.pid").read_text()), signal.SIGKILL)
    os.kill(orphan, signal.SIGKILL)
    assert eventually(lambda: not _answers(configuration))
    assert configuration.home.supervisor_socket.exists()
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: runs(configuration, "one"))


def test_a_program_finds_the_home_and_the_configuration_file_by_absolute_paths(configuration: Configuration, tmp_path: Path) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    log = configuration.home.logs / "one.log"
    assert eventually(lambda: log.exists() and "BATOS_HOME" in log.read_text())
    assert f"'BATOS_HOME': '{configuration.home.path}'" in log.read_text()
    assert f"'BATOS_CONFIG': '{tmp_path / 'batos.toml'}'" in log.read_text()


def test_texts_hash_alike_in_every_process_at_every_start_and_by_a_secret(configuration: Configuration) -> None:
    log, secret = configuration.home.logs / "one.log", configuration.home.supervision / "hash.seed"
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: log.exists() and f"'PYTHONHASHSEED': '{secret.read_text()}'" in log.read_text())
    assert secret.stat().st_mode & 0o077 == 0
    seed = secret.read_text()
    service.stop(configuration, 30)
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    assert eventually(lambda: log.read_text().count(f"'PYTHONHASHSEED': '{seed}'") == 2)


def test_starting_says_nothing_of_running_as_root(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    text = (configuration.home.logs / "supervisord.log").read_text()
    assert not [line for line in text.splitlines() if " INFO " not in line], text


def test_an_unknown_program_cannot_be_restarted(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    with pytest.raises(ServiceError, match="no program 'two'; the service has one"):
        service.restart(configuration, "two")


def test_who_does_not_know_the_password_cannot_steer_it(configuration: Configuration) -> None:
    service.start(configuration, [Program("one", SLEEPS, order=1, start_s=0)])
    file = supervision.directory(configuration) / "supervisord.conf"
    assert file.stat().st_mode & 0o077 == 0
    assert not file.is_relative_to(configuration.home.run)
    text = file.read_text()
    file.write_text(text.replace("password=", "password=x"))
    with pytest.raises(ServiceError, match="401"):
        service.statuses(configuration)
    file.write_text(text)
    assert service.statuses(configuration)


def test_a_service_that_was_never_started_is_not_running_and_stops_fine(configuration: Configuration) -> None:
    with pytest.raises(NotRunning):
        service.statuses(configuration)
    service.stop(configuration)


def test_the_image_itself_runs_under_it(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATOS_METRICS_BASE_PORT", "0")
    service.start(configuration, [program for program in supervision.programs(configuration) if program.name == "image"])
    assert eventually(configuration.home.zeo_socket.exists)
    assert eventually(lambda: runs(configuration, "image"))
    service.stop(configuration, LIMIT_S)
    assert not configuration.home.zeo_socket.exists()


def test_the_service_has_the_image_first_a_uvm_for_each_number_and_who_replaces_them_last(configuration: Configuration) -> None:
    ordered = sorted(supervision.programs(configuration), key=lambda program: program.order)
    assert [program.name for program in ordered] == ["image", "bridge", "inference", "uvm-1", "uvm-2", "uvm-3", "heartbeat", "upgrader"]
    assert all(program.command[0] == sys.executable for program in ordered)
    assert ordered[4].command[-2:] == ("--number", "2")


def test_a_path_that_supervisord_would_read_as_a_comment_is_refused(tmp_path: Path) -> None:
    configuration = settings.load({"BATOS_HOME": str(tmp_path / "a ;b")}, tmp_path)
    with pytest.raises(SettingsError, match="another path"):
        supervision.render(configuration, [], "p")


def _answers(configuration: Configuration) -> bool:
    try:
        service.statuses(configuration)
    except ServiceError:
        return False
    return True
