"""The worker's life, with the fake engine: starting late or early, engines that die, stopping, and being alone."""

import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.settings import Home
from inference_worker.protocol import Completed, Health, RequestFailed, Warm
from tests.inference_worker import files
from tests.inference_worker.conftest import LONG, Scene, fake_scene
from tests.inference_worker.service import drawn, running_worker

DEADLY = "this prompt kills"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    yield from fake_scene(tmp_path, [{"contains": f"{DEADLY} once", "dies": 1, "text": " alive"}, {"contains": DEADLY, "dies": 99}])


def test_the_engine_starts_at_the_first_request_and_not_before(scene: Scene) -> None:
    health = scene.client.health()
    assert (health.engine, health.answers, health.engine_starts) == ("unloaded", False, 0)
    scene.client.text(scene.model, "x")
    assert scene.client.health().engine_starts == 1


def test_warm_starts_it_and_answers_when_it_is_ready(scene: Scene) -> None:
    scene.client.send(Warm(id="w", model=scene.model))
    answer, _ = scene.client.finish("w")
    assert isinstance(answer, Health)
    assert (answer.engine, answer.answers, answer.model) == ("ready", True, scene.model)


def test_eager_starts_the_only_model_by_itself(tmp_path: Path) -> None:
    for eager in fake_scene(tmp_path, [], start="eager"):
        assert eager.client.health_until(10, engine="ready").model == eager.model


def test_a_request_whose_engine_dies_is_answered_by_the_next_one(scene: Scene) -> None:
    assert scene.client.text(scene.model, f"{DEADLY} once") == " alive"
    assert scene.client.health().engine_starts == 2


def test_a_request_that_kills_two_engines_is_given_up_and_the_others_are_answered(scene: Scene) -> None:
    bystanders = [scene.client.start(scene.model, LONG, max_tokens=30) for _ in range(3)]
    deadly = scene.client.start(scene.model, DEADLY)
    answer, _ = scene.client.finish(deadly)
    assert isinstance(answer, RequestFailed)
    assert answer.type == "EngineDied"
    for name in bystanders:
        assert isinstance(scene.client.finish(name)[0], Completed)
    assert scene.client.text(scene.model, "x")


def test_deltas_of_a_second_attempt_are_not_mixed_with_those_of_the_first(scene: Scene) -> None:
    watched = scene.client.start(scene.model, LONG, max_tokens=100, stream=True)
    scene.client.first_delta(watched)
    scene.client.start(scene.model, f"{DEADLY} once")
    answer, deltas = scene.client.finish(watched)
    assert isinstance(answer, Completed)
    assert answer.outputs[0].tokens == 100
    assert len(deltas) < 100


def test_another_model_takes_the_place_of_the_first(scene: Scene) -> None:
    another = files.toy_model(scene.home / "source" / "other")
    (another / "config.json").write_text('{"model_type": "toy", "max_position_embeddings": 99}')
    digest = files.put(another, scene.home / "models")
    scene.client.text(scene.model, "x")
    running = scene.client.start(scene.model, LONG, max_tokens=40)
    assert scene.client.text(digest, "x")
    assert scene.client.health().model == digest
    assert isinstance(scene.client.finish(running)[0], Completed), "what ran on the first model was not cut off"


def test_sigterm_lets_what_runs_finish_refuses_the_rest_and_exits_with_0(scene: Scene) -> None:
    running = scene.client.start(scene.model, LONG, max_tokens=100, stream=True)
    scene.client.first_delta(running)
    scene.worker.process.send_signal(signal.SIGTERM)
    # Until the signal has arrived, requests are still answered.
    answer = next(answer for _ in range(50) if isinstance(answer := scene.client.generate(scene.model, "x", max_tokens=1), RequestFailed))
    assert answer.type == "Stopping"
    assert isinstance(scene.client.finish(running)[0], Completed)
    assert scene.worker.process.wait(10) == 0


def test_sigterm_fails_what_cannot_finish_in_time(scene: Scene) -> None:
    running = scene.client.start(scene.model, LONG * 200, max_tokens=8000, stream=True)
    waiting = scene.client.start(scene.model, LONG, samplings=drawn(16))
    scene.client.first_delta(running)
    scene.worker.process.send_signal(signal.SIGTERM)
    answer, _ = scene.client.finish(waiting)
    assert isinstance(answer, RequestFailed)
    assert answer.type == "Stopping"
    assert scene.worker.process.wait(20) == 0


def test_a_worker_that_was_killed_leaves_its_address_to_the_next(scene: Scene) -> None:
    before = scene.client.health().incarnation
    scene.worker.kill()
    script = str(scene.home / "script.json")
    with running_worker(scene.home, "--engine", "fake", "--script", script) as again, again.client() as client:
        assert client.text(scene.model, "x")
        assert client.health().incarnation not in ("", before)


def test_a_second_worker_on_the_same_home_is_refused(scene: Scene) -> None:
    scene.client.health()
    with running_worker(scene.home, "--engine", "fake", "--script", str(scene.home / "script.json")) as second:
        assert second.process.wait(10) == 2
        assert "another inference worker" in second.log.read_text()
    assert scene.client.health()


@pytest.mark.parametrize(("key", "value"), [("max_streams", "0"), ("no_such_key", "1")])
def test_a_bad_setting_is_said_and_ends_with_2(tmp_path: Path, key: str, value: str) -> None:
    with running_worker(tmp_path, **{key: value}) as worker:
        assert worker.process.wait(10) == 2
        assert key in worker.log.read_text().lower()


def test_stock_operations_are_refused_where_they_answer_wrongly(tmp_path: Path) -> None:
    with running_worker(tmp_path, lora="stock") as worker:
        assert worker.process.wait(10) == 2
        assert "inference.lora is 'stock'" in worker.log.read_text()


def test_what_is_used_is_measured(scene: Scene) -> None:
    scene.client.text(scene.model, "x", adapter=scene.adapters[0], max_tokens=7)
    scene.client.generate("0" * 64, "x")
    expected = {
        'batos_inference_requests_total{outcome="Completed"} 1.0',
        'batos_inference_requests_total{outcome="UnknownModel"} 1.0',
        'batos_inference_tokens_total{kind="output"} 7.0',
        "batos_inference_engine_starts_total 1.0",
        "batos_inference_running 0.0",
        "batos_inference_waiting 0.0",
        'batos_inference_tier_adapters{tier="hot"} 1.0',
        'batos_inference_tier_adapters{tier="cold"} 1.0',
        'batos_inference_tier_found_total{tier="cold"} 1.0',
        'batos_inference_tier_moves_total{move="read"} 1.0',
        'batos_inference_tier_move_seconds_count{move="commit"} 1.0',
        "batos_inference_tier_wait_seconds_count 1.0",
        "batos_inference_tier_quarantined 0.0",
    }
    # The tiers are shown twice a second.
    until = time.monotonic() + 10
    while missing := expected - set(measured(scene.home).splitlines()):
        assert time.monotonic() < until, missing


def measured(home: Path) -> str:
    port = (Home(home).run / "metrics" / "inference.port").read_text().strip()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        text: str = response.read().decode()
    return text


def test_the_log_is_json_lines(scene: Scene) -> None:
    import json

    scene.client.text(scene.model, "x")
    events = [json.loads(line)["event"] for line in scene.worker.log.read_text().splitlines()]
    assert "generated" in events


@pytest.fixture
def hopeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A home with a model, and in the engine's place a package that cannot be imported; the model's digest."""
    package = tmp_path / "packages" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import time; time.sleep(0.3); raise AssertionError('Artifact of type=x already registered')")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return files.put(files.toy_model(tmp_path / "home" / "source"), tmp_path / "home" / "models")


def test_a_worker_whose_libraries_do_not_load_says_so_and_ends_for_the_next_one_to_try(tmp_path: Path, hopeless: str) -> None:
    for ended in (1, 2):
        with running_worker(tmp_path / "home", start="eager") as worker, worker.client() as client:
            assert "already registered" in client.health_until(30, engine="failed").detail, "nobody asked, and it stays"
            answer = client.generate(hopeless, "x")
            assert isinstance(answer, RequestFailed)
            assert (answer.type, "libraries do not load" in answer.message) == ("EngineStartFailed", True)
            assert worker.process.wait(20) == 3
            assert worker.log.read_text().count("inference worker ends, to be started anew") == ended


def test_all_that_wait_for_an_engine_that_cannot_be_had_are_answered(tmp_path: Path, hopeless: str) -> None:
    with running_worker(tmp_path / "home") as worker, worker.client() as client:
        for name in [client.start(hopeless, f"x{number}") for number in range(3)]:
            answer, _ = client.finish(name)
            assert isinstance(answer, RequestFailed)
            assert answer.type == "EngineStartFailed"
        assert worker.process.wait(20) == 3
