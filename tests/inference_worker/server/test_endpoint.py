"""A worker whose texts are written elsewhere: it outlives that server, is back when the server is, and reaches nothing else."""

import json
from collections.abc import Iterator

import pytest

from deploy.settings import Home
from inference_worker.protocol import Completed, Delta, RequestFailed
from tests.inference_worker import files
from tests.inference_worker.conftest import LONG, Scene
from tests.inference_worker.openai_server import OpenAiServer, ThreadedServer, event, in_a_thread, refused, spoken, streamed
from tests.inference_worker.service import running_worker

KEY = "sk-nobody-may-see-this"
BEGUN = streamed(event(" once"), hold=True)
WHOLE = spoken(" upon", " a", " time")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ThreadedServer]:
    with in_a_thread(OpenAiServer()) as server:
        yield server


@pytest.fixture(scope="module")
def scene(elsewhere: ThreadedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("home")
    base = files.toy_model(home / "source" / "model")
    model = files.put(base, home / "models")
    adapter = files.put(files.random_adapter(home / "source" / "a", files.read(base)), home / "adapters")
    key = home / "endpoint.key"
    key.write_text(KEY)
    key.chmod(0o600)
    settings = {"endpoint": elsewhere.server.url, "endpoint_key": key, "endpoint_patience_s": 1, "endpoint_dialect": "openai"}
    with running_worker(home, **settings) as worker, worker.client() as client:
        yield Scene(worker, client, model, [adapter], real=False)


def test_a_server_that_goes_away_in_the_middle_of_a_draft_is_a_typed_failure_and_the_worker_is_back_when_it_is(
    scene: Scene, elsewhere: ThreadedServer
) -> None:
    elsewhere.server.answers = [BEGUN]
    name = scene.client.start(scene.model, LONG, stream=True)
    assert scene.client.first_delta(name).text == " once"
    elsewhere.do(elsewhere.server.close())
    answer, _ = scene.client.finish(name)
    assert isinstance(answer, RequestFailed)
    assert answer.type == "EngineStartFailed"
    assert elsewhere.server.url in answer.message and "inference.endpoint" in answer.message
    health = scene.client.health_until(10, engine="failed")
    assert elsewhere.server.url in health.detail
    assert scene.worker.process.poll() is None
    elsewhere.server.answers = [WHOLE]
    elsewhere.do(elsewhere.server.open())
    assert scene.client.text(scene.model, LONG) == " upon a time"
    assert scene.client.health().engine == "ready"


def test_a_server_that_is_back_in_time_is_only_noticed_by_the_deltas_that_end(scene: Scene, elsewhere: ThreadedServer) -> None:
    elsewhere.server.answers = [BEGUN]
    name = scene.client.start(scene.model, LONG, stream=True)
    scene.client.first_delta(name)
    elsewhere.do(elsewhere.server.close())
    elsewhere.server.answers = [WHOLE]
    elsewhere.do(elsewhere.server.open())
    answer, deltas = scene.client.finish(name)
    assert isinstance(answer, Completed)
    assert (answer.outputs[0].text, deltas) == (" upon a time", [])


def test_what_only_one_request_meets_fails_that_one_alone(scene: Scene, elsewhere: ThreadedServer) -> None:
    elsewhere.server.answers = [BEGUN, refused(401, f"Incorrect key {KEY}"), WHOLE]
    watched = scene.client.start(scene.model, LONG, stream=True)
    assert isinstance(scene.client.first_delta(watched), Delta)
    failed = scene.client.generate(scene.model, LONG)
    assert isinstance(failed, RequestFailed)
    assert failed.type == "EndpointFailed" and "inference.endpoint_key" in failed.message
    health = scene.client.health()
    assert (health.engine, health.running) == ("ready", 1)
    scene.client.cancel(watched)
    assert isinstance(scene.client.finish(watched)[0], RequestFailed)
    assert scene.client.text(scene.model, LONG) == " upon a time"


def test_an_adapter_of_the_images_model_is_refused_where_another_model_is_served(scene: Scene, elsewhere: ThreadedServer) -> None:
    elsewhere.server.answers = [WHOLE]
    refusal = scene.client.generate(scene.model, LONG, adapter=scene.adapters[0])
    assert isinstance(refusal, RequestFailed)
    assert refusal.type == "BadAdapter" and "'served'" in refusal.message and "--served-model-name" in refusal.message


def test_the_answer_names_the_server_and_its_model_and_nothing_names_the_key(scene: Scene, elsewhere: ThreadedServer) -> None:
    elsewhere.server.answers = [WHOLE]
    answer = scene.client.completed(scene.model, LONG)
    assert (answer.endpoint, answer.endpoint_model, answer.mode) == (elsewhere.server.url, "served", "base")
    assert KEY not in scene.worker.log.read_text()


def test_the_worker_has_no_engines_rights(scene: Scene, elsewhere: ThreadedServer) -> None:
    report = json.loads((Home(scene.home).run / "confinement" / "inference.json").read_text())
    layers = {layer["name"]: layer for layer in report["layers"]}
    if "too old" not in layers["tcp"]["reason"]:
        assert layers["tcp"]["in_force"] and layers["tcp"]["reason"].endswith(f"only the ports {elsewhere.server.port}")
    assert not scene.worker.descendants()
