"""vLLM's own server behind `inference.endpoint`, beside the same vLLM embedded: what only the real ones show."""

import time

import pytest

from inference_worker.protocol import RequestFailed
from tests.inference_worker.conftest import LONG, Scene
from tests.inference_worker.vllm_server import KEY, ModelServer

pytestmark = pytest.mark.model


def test_the_server_says_what_the_embedded_engine_says(real_worker: Scene, endpoint_worker: Scene) -> None:
    assert (real_worker.model, real_worker.adapters) == (endpoint_worker.model, endpoint_worker.adapters)
    requests = [
        {"prompt": LONG, "logprobs": True},
        {"prompt": LONG, "adapter": real_worker.adapters[0]},
        {"prompt": "Say hello.", "chat": True},
        {"prompt": "Is water wet?", "grammar": 'root ::= " yes" | " no"'},
    ]
    for fields in requests:
        embedded, elsewhere = (scene.client.completed(scene.model, max_tokens=8, **fields) for scene in (real_worker, endpoint_worker))
        assert elsewhere.outputs[0].text == embedded.outputs[0].text != ""
        assert elsewhere.outputs[0].logprobs == pytest.approx(embedded.outputs[0].logprobs, abs=1e-3)
        assert elsewhere.outputs[0].logprob == pytest.approx(embedded.outputs[0].logprob, abs=1e-3)
        assert elsewhere.prompt_tokens == embedded.prompt_tokens
        assert elsewhere.mode == embedded.mode


def test_an_answer_ends_where_the_context_of_the_server_does(endpoint_worker: Scene) -> None:
    output = endpoint_worker.client.completed(endpoint_worker.model, "word " * 1010, max_tokens=500).outputs[0]
    assert output.tokens <= 1024 - 1010
    assert output.finish == "length"


def test_what_is_cancelled_here_ends_at_the_server(endpoint_worker: Scene, model_server: ModelServer) -> None:
    client = endpoint_worker.client
    name = client.start(endpoint_worker.model, LONG, max_tokens=900, stream=True)
    client.first_delta(name)
    assert model_server.metric("vllm:num_requests_running") == 1
    client.cancel(name)
    assert isinstance(client.finish(name)[0], RequestFailed)
    until = time.monotonic() + 10
    while model_server.metric("vllm:num_requests_running") and time.monotonic() < until:
        client.health()
    assert model_server.metric("vllm:num_requests_running") == 0


def test_the_answer_names_the_server_and_the_model_as_it_is_called_there(endpoint_worker: Scene, model_server: ModelServer) -> None:
    answer = endpoint_worker.client.completed(endpoint_worker.model, LONG, max_tokens=1)
    assert (answer.endpoint, answer.endpoint_model) == (model_server.url, endpoint_worker.model)
    assert KEY not in endpoint_worker.worker.log.read_text()
