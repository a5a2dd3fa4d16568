"""The simulator and the real worker, on one and the same requests: what the worker recorded is what the simulator says."""

import json
import random

import pytest
from msgspec.structs import replace

from inference_worker.protocol import Completed
from inference_worker.simulator.machine import SimulatedMachine, Speed
from inference_worker.simulator.tiered import TieredWorker
from inference_worker.trace import Trace, read_trace
from tests.inference_worker import files
from tests.inference_worker.service import running_worker

SLOTS, IN_RAM, ADAPTERS, REQUESTS = 2, 4, 7, 40

RANK = 4
SIZE = 2 * 2 * RANK * (8 + 6) * 4
"""Bytes of a toy adapter: two modules in each of two layers, 8 outputs and 6 inputs, in float32."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """What a worker with a fake engine did with requests that came one after the other."""
    home = tmp_path_factory.mktemp("recorded")
    base = files.toy_model(home / "source" / "model")
    model = files.put(base, home / "models")
    adapters = [
        files.put(files.random_adapter(home / "source" / f"a{n}", files.read(base), seed=n), home / "adapters") for n in range(ADAPTERS)
    ]
    (home / "script.json").write_text(json.dumps({"slots": SLOTS, "default": "one two three four"}))
    trace = home / "trace.jsonl"
    options = {"max_loras": SLOTS, "ram_gib": (IN_RAM + 0.5) * SIZE / 2**30, "policy": "lru"}
    arguments = ["--engine", "fake", "--script", str(home / "script.json"), "--trace", str(trace)]
    draw = random.Random(7)
    with running_worker(home, *arguments, **options) as worker, worker.client() as client:
        for _ in range(REQUESTS):
            adapter = adapters[min(int(draw.expovariate(0.4)), ADAPTERS - 1)]
            assert isinstance(client.generate(model, "go on", adapter=adapter, session="s"), Completed)
        assert worker.terminate() == 0
    return read_trace(trace)


def test_a_worker_records_every_request_with_what_it_did(recorded: Trace) -> None:
    assert len(recorded.records) == REQUESTS
    assert {record.found for record in recorded.records} == {"cold", "warm", "hot"}
    assert all(record.adapter and record.rank == RANK and record.size == SIZE and record.tokens == 4 for record in recorded.records)
    assert all(0 < record.first_token_s <= record.total_s + 0.01 for record in recorded.records)


def test_the_simulator_finds_each_adapter_where_the_worker_found_it(recorded: Trace) -> None:
    machine = SimulatedMachine(
        name="fake",
        step_s=0.001,
        kv_tokens=10_000,
        slots=SLOTS,
        rank_bytes=SIZE / RANK,
        max_rank=RANK,
        ranks=[RANK],
        ram=int((IN_RAM + 0.5) * SIZE),
        read=Speed(bytes_s=1e9),
        commit=Speed(bytes_s=1e9),
    )
    # One a second, so that nothing of a request is left when the next one comes, as it was with the worker.
    apart = [replace(record, at=float(second)) for second, record in enumerate(recorded.records)]
    simulated = TieredWorker(machine, Trace(apart), "lru")
    simulated.run()
    assert [request.arrival_tier for request in simulated.requests] == [record.found for record in recorded.records]
