"""The worker's small parts by themselves: what order a lane keeps, who has left a socket, and when to come back."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import zmq
import zmq.asyncio

from deploy.settings import Home
from inference_worker import metrics as measures
from inference_worker.engine.engine import Engine
from inference_worker.engine.fake_engine import FakeEngine, Script
from inference_worker.engine.host import EngineHost
from inference_worker.errors import EngineDied, EngineStartFailed
from inference_worker.loading.serial import SerialExecutor
from inference_worker.protocol import AskHealth, Generate, Warm
from inference_worker.server.backpressure import Pressure
from inference_worker.server.liveness import Presence
from inference_worker.tiers.statistics import Statistics
from tests.inference_worker import files

P = ParamSpec("P")


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test as a function that runs it, for 20 s at most."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **named), 20))

    return run


WORK = Generate(id="g", model="0" * 64, prompt="x")
BACKGROUND = Generate(id="g", model="0" * 64, prompt="x", priority="background")


# --- when to come back ------------------------------------------------------------------------------------------------


def test_background_work_leaves_a_quarter_of_the_queue_and_questions_get_in_for_longer() -> None:
    pressure = Pressure(queue=8)
    admitted = {
        name: next(pending for pending in range(100) if pressure.is_full(pending, request))
        for name, request in {"background": BACKGROUND, "work": WORK, "warm": Warm("w", "0" * 64), "health": AskHealth("h")}.items()
    }
    assert admitted == {"background": 6, "work": 8, "warm": 8, "health": 16}


def test_a_client_is_sent_away_for_longer_when_more_wait_and_when_answers_come_slower() -> None:
    waits = {}
    for interval_s in (0.1, 1.0):
        pressure = Pressure(queue=256)
        for n in range(100):
            pressure.answered(n * interval_s, pending=256)
        waits[interval_s] = [pressure.retry_after_ms(pending) for pending in (8, 256)]
    assert waits == {0.1: [100, 3200], 1.0: [1000, 32_000]}


def test_a_pause_without_requests_is_not_taken_for_slowness() -> None:
    pressure = Pressure(queue=8)
    for at, pending in ((0.0, 1), (0.1, 0), (1000.0, 1), (1000.1, 1)):
        pressure.answered(at, pending)
    assert pressure.retry_after_ms(8) == 100


# --- order ------------------------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_lane_waits_for_what_must_end_and_not_for_what_runs_beside() -> None:
    done: list[str] = []
    lane, slow = SerialExecutor(), asyncio.Event()

    async def note(name: str, until: asyncio.Event | None = None) -> None:
        if until is not None:
            await until.wait()
        done.append(name)

    last = asyncio.Event()

    async def finish() -> None:
        last.set()

    lane.then(lambda: note("first"))
    lane.then_beside(lambda: note("beside", slow))
    lane.then(lambda: note("second"))
    lane.then(finish)
    await last.wait()
    assert done == ["first", "second"]
    slow.set()
    lane.then_beside(lambda: note("cancelled", asyncio.Event()))
    await asyncio.sleep(0)
    await lane.close()
    assert "cancelled" not in done


# --- who has left -----------------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_client_that_leaves_is_named_and_a_newcomer_on_its_connection_number_is_not(tmp_path: Path) -> None:
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    presence = Presence(router)
    router.bind(endpoint := f"ipc://{tmp_path}/p.sock")
    try:
        names: list[bytes] = []
        for _ in range(5):
            client = context.socket(zmq.DEALER)
            client.connect(endpoint)
            await client.send(b"hello")
            name, _ = await router.recv_multipart(copy=False)
            assert presence.left() == set(), "those before have been told already"
            presence.connected(name.bytes, name)
            client.close(0)
            await presence.change()
            assert presence.left() == {name.bytes}
            names.append(name.bytes)
        assert len(set(names)) == 5
    finally:
        presence.close()
        context.destroy(linger=0)


# --- the engine's host ------------------------------------------------------------------------------------------------


class Stubborn(FakeEngine):
    """An engine whose work does not notice that it is dead."""

    async def probe(self) -> None:
        await asyncio.Event().wait()


def host_of(tmp_path: Path, engine: Engine, died: list[str]) -> tuple[EngineHost, str]:
    model = files.put(files.toy_model(tmp_path / "source"), tmp_path / "models")
    return EngineHost(lambda: engine, Home(tmp_path), lambda model, reason: died.append(reason)), model


@in_a_loop
async def test_work_ends_with_the_engine_even_if_it_does_not_notice(tmp_path: Path) -> None:
    died: list[str] = []
    engine = Stubborn(Script())
    host, model = host_of(tmp_path, engine, died)
    await host.start(model)
    task = asyncio.create_task(host.run(engine, engine.probe()))
    await asyncio.sleep(0)
    host.lost(engine, "it was shot")
    host.lost(engine, "it was shot again")
    with pytest.raises(EngineDied, match=r"it was shot$"):
        await task
    assert died == ["the engine died: it was shot"]
    assert (host.state, host.engine) == ("failed", None)
    with pytest.raises(EngineDied):
        await host.run(engine, engine.probe())
    await host.stop()


@in_a_loop
async def test_a_start_that_is_told_to_end_ends(tmp_path: Path) -> None:
    host, model = host_of(tmp_path, FakeEngine(Script(start_s=60)), [])
    starting = asyncio.create_task(host.start(model))
    while host.starts == 0:
        await asyncio.sleep(0)
    assert host.state == "starting"
    seconds, step = host.start_under_way
    assert 0 <= seconds < 60 and step == "reading the script"
    await host.stop()
    assert host.start_under_way == (0.0, "")
    with pytest.raises(EngineStartFailed):
        await starting
    assert host.state == "unloaded"


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_nothing_is_told_of_tiers_before_there_are_any() -> None:
    collector = measures.TierCollector()
    assert list(collector.collect()) == []
    empty = Statistics(
        policy="lru", tiers=[], adapters=[], registered=0, waiting=0, running=0, streams=0, waits={}, prefetched=3, prefetched_used=1
    )
    collector.show(empty, quarantined=2)
    samples = {(sample.name, *sample.labels.values()): sample.value for metric in collector.collect() for sample in metric.samples}
    assert samples["batos_inference_tier_prefetches_total", "no"] == 2
    assert samples["batos_inference_tier_quarantined",] == 2
