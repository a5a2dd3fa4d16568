"""An engine's processes that end, stop or hang are found out, and those that only work for long are not."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from inference_worker.engine import watchdog as vitals
from inference_worker.engine.watchdog import Vitals

IDLE = [sys.executable, "-c", "import signal; signal.pause()"]
WORKS = [sys.executable, "-c", "while True: pass"]
_LIMIT_S = 20


@pytest.fixture
def children() -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    begun: list[subprocess.Popen[bytes]] = []

    def begin(command: list[str]) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(command))
        return begun[-1]

    yield begin
    for child in begun:
        child.kill()
        child.wait(_LIMIT_S)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "SILENT_S", 1.0)
    monkeypatch.setattr(vitals, "HOPELESS_S", 2.5)
    monkeypatch.setattr(vitals, "_ASK_S", 0.1)
    monkeypatch.setattr(vitals, "_POLL_S", 0.05)


async def silence() -> None:
    await asyncio.get_running_loop().create_future()


async def answer() -> str:
    return "here"


def watch(
    pids: list[int], ask: Callable[[], Awaitable[object]] = answer, busy: bool = True, for_s: float = _LIMIT_S, fault: str = ""
) -> str:
    """The reason of the death that is seen within `for_s`, or ""."""

    async def see() -> str:
        watched = Vitals(pids, lambda: fault, ask, lambda: busy)
        try:
            return await asyncio.wait_for(asyncio.shield(watched.death), for_s)
        except TimeoutError:
            return ""
        finally:
            watched.close()

    return asyncio.run(see())


def test_a_process_that_is_killed_is_noticed_whoever_started_it(children: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
    first, second = children(IDLE), children(IDLE)

    async def see() -> tuple[str, float]:
        watched = Vitals([first.pid, second.pid], lambda: "", answer, lambda: False)
        second.kill()
        began = time.monotonic()
        reason = await asyncio.wait_for(watched.death, _LIMIT_S)
        watched.close()
        return reason, time.monotonic() - began

    reason, took = asyncio.run(see())
    assert str(second.pid) in reason
    assert took < 2


def test_one_that_is_gone_before_the_watch_begins_counts_as_dead(children: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
    ended = children(IDLE)
    ended.kill()
    ended.wait(_LIMIT_S)
    assert str(ended.pid) in watch([ended.pid])


def test_what_the_engine_itself_reports_is_believed(children: Callable[[list[str]], subprocess.Popen[bytes]], impatient: None) -> None:
    assert watch([children(IDLE).pid], fault="it says so") == "it says so"


def test_a_stopped_process_under_a_request_is_dead_in_the_end(
    children: Callable[[list[str]], subprocess.Popen[bytes]], impatient: None
) -> None:
    stopped = children(IDLE)
    stopped.send_signal(signal.SIGSTOP)
    assert "do nothing" in watch([stopped.pid], silence)


def test_a_process_that_answers_or_that_nobody_waits_for_is_left_alone(
    children: Callable[[list[str]], subprocess.Popen[bytes]], impatient: None
) -> None:
    idle = children(IDLE).pid
    assert watch([idle], answer, for_s=2.0) == ""
    assert watch([idle], silence, busy=False, for_s=2.0) == ""


def test_a_process_that_works_has_longer_but_not_for_ever(
    children: Callable[[list[str]], subprocess.Popen[bytes]], impatient: None
) -> None:
    reason = watch([children(WORKS).pid], silence)
    assert reason.startswith("no answer") and "do nothing" not in reason


def test_killing_ends_processes_that_are_stopped(children: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
    stopped = children(IDLE)
    stopped.send_signal(signal.SIGSTOP)

    async def end() -> None:
        watched = Vitals([stopped.pid], lambda: "", answer, lambda: False)
        watched.kill()
        await asyncio.wait_for(watched.death, _LIMIT_S)
        watched.close()

    asyncio.run(end())
    assert stopped.wait(_LIMIT_S) == -signal.SIGKILL
