"""`batos adapters` and `batos simulate`, as a person runs them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from deploy.settings import Home
from inference_worker import protocol
from inference_worker.protocol import Adapters, AdapterState, AskAdapters, TierState
from tests.inference_worker import files
from tests.inference_worker.service import running_worker
from tests.ui_client.commands.conftest import run_command

DIGEST = "c0ffee" + "0" * 58


def answer(request: AskAdapters) -> Adapters:
    """What a worker with two adapters would say."""
    return Adapters(
        id=request.id,
        policy="cost",
        tiers=[
            TierState(name="hot", adapters=1, used=1_500_000, budget=3_000_000, found=12, entered=3, left=2, move_s=0.0123),
            TierState(name="warm", adapters=0, used=1_500_000, budget=0, found=4),
        ],
        adapters=[
            AdapterState(adapter=DIGEST, tier="hot", size=1_500_000, rank=16, uses=9, load_s=0.25, idle_s=3.0),
            AdapterState(adapter="bad" + "1" * 61, tier="quarantined", size=10, rank=0, detail="its digest is another"),
        ][: request.limit],
        registered=10_000,
        quarantined=1,
        waits={"p50": 0.001, "p99": 1.5},
        prefetched=7,
        prefetched_used=5,
    )


@contextmanager
def scripted_worker(home: Path) -> Iterator[None]:
    """Answers one AskAdapters at the address that `home` has by default."""
    run = Home(home).inference_run
    run.mkdir(parents=True)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.LINGER, 1000)
        socket.bind(f"ipc://{run}/inference.sock")

        def serve() -> None:
            if socket.poll(30_000):
                client, frame = socket.recv_multipart()
                request = protocol.decode_request(frame)
                assert isinstance(request, AskAdapters)
                socket.send_multipart([client, protocol.encode(answer(request))])

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(35)


def test_adapters_shows_the_tiers_and_where_each_adapter_is(tmp_path: Path) -> None:
    with scripted_worker(tmp_path):
        answered = run_command(tmp_path, "adapters")
    assert answered.status == 0, answered.err
    assert "10,000 registered, 1 quarantined; policy cost; wait for admission: p50 1 ms, p99 1.5 s" in answered.out
    assert "7 moves begun before anybody asked, 5 of them used" in answered.out
    hot, listed, bad = (line.split() for line in answered.out.splitlines() if line.startswith(("hot", "c0ffee", "bad")))
    assert hot == ["hot", "1", "1.5", "MB", "3", "MB", "12", "3", "2", "12.3", "ms"]
    assert listed == [DIGEST[:16], "hot", "1.5", "MB", "16", "9", "250", "ms", "3", "s"]
    assert bad[1] == "quarantined" and " ".join(bad).endswith("its digest is another")


def test_adapters_of_a_running_worker_are_its_own_account(tmp_path: Path) -> None:
    base = files.toy_model(tmp_path / "source" / "model")
    model = files.put(base, tmp_path / "models")
    used, idle = (
        files.put(files.random_adapter(tmp_path / "source" / f"a{n}", files.read(base), seed=n), tmp_path / "adapters") for n in range(2)
    )
    (tmp_path / "script.json").write_text("{}")
    with running_worker(tmp_path, "--engine", "fake", "--script", str(tmp_path / "script.json")) as worker, worker.client() as client:
        client.text(model, "go on", adapter=used)
        answered = run_command(tmp_path, "adapters", "--endpoint", worker.endpoint)
    assert answered.status == 0, answered.err
    lines = {line.split()[0]: line.split() for line in answered.out.splitlines() if line.strip()}
    assert lines[used[:16]][1] == "hot" and lines[idle[:16]][1] == "cold"
    assert "2 registered; policy predictive" in answered.out


def test_adapters_in_json_is_the_protocols_answer(tmp_path: Path) -> None:
    with scripted_worker(tmp_path):
        reported = run_command(tmp_path, "adapters", "--limit", "1", "--json").json["result"]
    assert [adapter["adapter"] for adapter in reported["adapters"]] == [DIGEST] and reported["registered"] == 10_000


def test_adapters_without_an_address_to_connect_to_is_one_line_and_a_remedy(tmp_path: Path) -> None:
    answered = run_command(tmp_path, "adapters", "--endpoint", "nonsense", "--json")
    assert answered.status == 1
    assert "batos up" in answered.json["error"]["remedy"]


def test_simulate_compares_policies_and_passes_its_options_on(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text("".join(f'{{"at": {at}, "adapter": "a{at % 3}", "prompt_tokens": 5, "tokens": 5}}\n' for at in range(20)))
    answered = run_command(tmp_path, "simulate", str(trace), "--machine", "here", "--skip", "10")
    assert answered.status == 0, answered.err
    assert answered.out.splitlines()[0].startswith("here: 3 adapters, 4 slots") and "; 10 requests" in answered.out
    assert answered.out.splitlines()[1].split() == ["stock", "lru", "cost", "predictive"]
    (outcome,) = run_command(tmp_path, "simulate", str(trace), "--policy", "cost", "--json").json["result"]["outcomes"]
    assert outcome["policy"] == "cost" and outcome["machine"] == "seed" and outcome["requests"] == 20


def test_simulate_with_a_wrong_trace_is_status_1_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"at": "noon"}\n')
    answered = run_command(tmp_path, "simulate", str(tmp_path / "t.jsonl"))
    assert answered.status == 1 and answered.out == ""
    assert answered.err.startswith("TraceError: ") and "line 1" in answered.err
