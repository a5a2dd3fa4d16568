"""An engine that is a server elsewhere: what it asks for, and what becomes of everything that a server can do wrong."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy import endpoint
from deploy.endpoint import Endpoint
from deploy.settings import Home, InferenceSettings, SettingsError, load
from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.engine.endpoint_client import LARGEST_ANSWER, EndpointClient, Unreachable
from inference_worker.engine.endpoint_engine import EndpointEngine
from inference_worker.engine.openai_wire import question, step
from inference_worker.errors import BadAdapter, BadGrammar, BadRequest, EndpointFailed, EngineDied, EngineStartFailed, InferenceFailure
from inference_worker.protocol import Generate, Output, Sampling
from tests.inference_worker.openai_server import OpenAiServer, event, free_port, refused, spoken, streamed

DIGEST = "5e" * 32
MODEL = BaseModel(digest=DIGEST, path=Path("/nowhere"), tensors={}, config={})
ADAPTER = Adapter(digest="ad" * 32, path=Path("/nowhere"), rank=4, size=1000)
CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""A key and a certificate for 127.0.0.1 that it signed itself."""

KEY = "sk-nobody-may-see-this"
WHOLE = spoken(" a", " b", " c")


def request_of(**fields: Any) -> Generate:
    return Generate(id="r", model=DIGEST, prompt="def", **fields)


@contextlib.asynccontextmanager
async def engine_of(server: OpenAiServer, home: Path = Path("/home"), **fields: Any) -> AsyncIterator[EndpointEngine]:
    fields = {"endpoint": server.url, "endpoint_patience_s": 0.5, "endpoint_silence_s": 5.0} | fields
    settings = msgspec.convert(fields, InferenceSettings)
    engine = EndpointEngine(endpoint.endpoint(settings), settings, Home(home))
    try:
        await engine.start(MODEL)
        yield engine
    finally:
        await engine.stop()


async def output(engine: EndpointEngine, **fields: Any) -> Output:
    return (await engine.generate(request_of(**fields), None, lambda index, text: None)).outputs[0]


def retries() -> float:
    """How often anything was asked again."""
    return REGISTRY.get_sample_value("batos_inference_endpoint_retries_total", {"reason": "pause"}) or 0.0


def with_server(scenario: Callable[[OpenAiServer], Awaitable[None]], **fields: Any) -> None:
    async def run() -> None:
        async with OpenAiServer(**fields) as server:
            await scenario(server)

    asyncio.run(run())


async def failure(awaitable: Awaitable[object]) -> InferenceFailure:
    with pytest.raises(InferenceFailure) as caught:
        await awaitable
    return caught.value


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_all_that_a_request_says_is_asked_of_vllm() -> None:
    request = request_of(max_tokens=9, grammar='root ::= "a"', stop=["\n"], priority="background")
    path, body = question(request, Sampling(temperature=0.7, top_p=0.9, seed=2**63 - 1), "served", vllm=True, priorities=True)
    assert path == "/v1/completions"
    assert body == {
        "model": "served",
        "prompt": "def",
        "max_tokens": 9,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 2**63 - 1,
        "stop": ["\n"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "logprobs": 0,
        "priority": 2,
        "structured_outputs": {"grammar": 'root ::= "a"'},
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


def test_another_server_is_asked_for_nothing_that_openai_has_not() -> None:
    path, body = question(request_of(grammar='root ::= "a"', chat=True), Sampling(), "served", vllm=False, priorities=False)
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "def"}]
    _, body = question(request_of(chat=True, system="Be brief."), Sampling(), "served", vllm=False, priorities=False)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "def"}]
    assert set(body) == {"model", "messages", "max_tokens", "temperature", "top_p", "stream", "stream_options", "logprobs"}


def test_an_event_of_a_chat_is_read_like_one_of_a_completion() -> None:
    chunk = step(b'{"choices":[{"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi","logprob":-0.25}]},"finish_reason":"stop"}]}')
    assert (chunk.text, chunk.logprobs, chunk.finish) == ("Hi", [-0.25], "stop")


# --- what a sound server does -----------------------------------------------------------------------------------------


def test_the_answer_says_what_was_written_how_likely_it_was_and_by_whom() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            heard: list[str] = []
            answer = await engine.generate(request_of(logprobs=True), None, lambda index, text: heard.append(text))
        assert answer.outputs == [Output(" a b c", 3, -0.5, "stop", [-0.5, -0.5, -0.5])]
        assert (answer.prompt_tokens, answer.mode, answer.endpoint, answer.endpoint_model) == (7, "base", server.url, "served")
        assert heard == [" a", " b", " c"]

    with_server(scenario, answers=[WHOLE])


def test_each_output_is_a_request_of_its_own() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            samplings = [Sampling(), Sampling(temperature=1.0, seed=3)]
            answer = await engine.generate(request_of(samplings=samplings), None, lambda index, text: None)
        assert len(answer.outputs) == 2
        assert sorted(body.get("seed", 0) for body in server.bodies("/v1/completions")) == [0, 3]

    with_server(scenario, answers=[WHOLE])


def test_a_server_that_neither_counts_nor_tells_probabilities_nor_says_done_is_understood() -> None:
    silent = streamed(": alive\n\n", event(" a"), event(" b", finish="length"), done=False)

    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_dialect="openai") as engine:
            assert await output(engine, logprobs=True) == Output(" a b", 2, 0.0, "length", [])

    with_server(scenario, answers=[silent])


def test_cancelling_closes_the_connection_so_that_the_server_ends_the_output() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            begun = asyncio.Event()
            writing = asyncio.create_task(engine.generate(request_of(), None, lambda index, text: begun.set()))
            await asyncio.wait_for(begun.wait(), 5)
            writing.cancel()
            await asyncio.wait_for(server.left.wait(), 5)
            assert writing.cancelled() or (await asyncio.wait([writing]))

    with_server(scenario, answers=[streamed(event(" a"), hold=True)])


# --- what a server can do wrong ---------------------------------------------------------------------------------------

REFUSALS = {
    "a prompt that is too long": (refused(400, "maximum context length is 8 tokens"), BadRequest, ["8 tokens"]),
    "a grammar": (refused(400, "Invalid grammar specification."), BadGrammar, ["grammar"]),
    "a grammar, within the stream": (streamed({"error": {"message": "Invalid grammar.", "code": 400}}), BadGrammar, ["grammar"]),
    "a wrong key": (refused(401, f"Incorrect key {KEY}"), EndpointFailed, ["401", "inference.endpoint_key"]),
    "a request of this kind": (refused(404, "Not Found"), EndpointFailed, ["404", "plan['chat']"]),
    "no room, for ever": (refused(503, "overloaded"), EndpointFailed, ["503", "inference.endpoint_patience_s"]),
    "a fault of its own, twice": (refused(500, "CUDA error"), EndpointFailed, ["500", "CUDA error"]),
    "another address": (refused(307, Location="http://elsewhere/v1"), EndpointFailed, ["http://elsewhere/v1", "inference.endpoint"]),
    "a page": (streamed("<html>", kind="text/html"), EndpointFailed, ["text/html", "inference.endpoint"]),
    "what is no JSON": (streamed("data: {nonsense\n\n"), EndpointFailed, ["protocol"]),
    "JSON of another kind": (streamed('data: {"choices": "none"}\n\n'), EndpointFailed, ["choices"]),
    "a line without end": (streamed(f"data: {'x' * (LARGEST_ANSWER + 10)}"), EndpointFailed, ["protocol"]),
    "more than was asked for": (streamed(*[": " + "x" * 1000 + "\n\n"] * 200), EndpointFailed, ["longer"]),
    "an end that is none": (streamed(event(" a", finish="abort")), EndpointFailed, ["abort"]),
    "a cut connection, twice": (streamed(event(" a"), cut=True), EndpointFailed, ["twice"]),
    "an end too early, twice": (streamed(event(" a"), done=False), EndpointFailed, ["twice"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_goes_wrong_is_a_failure_with_a_type_and_a_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, kind, words = REFUSALS[name]
    monkeypatch.setenv("SOME_KEY", KEY)

    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_key="env:SOME_KEY") as engine:
            raised = await failure(output(engine, max_tokens=2, grammar='root ::= "a"' if kind is BadGrammar else ""))
            assert type(raised) is kind, raised
            assert all(word in str(raised) for word in [*words, server.url]), raised
            assert KEY not in str(raised)
            server.answers = [WHOLE]
            assert (await output(engine)).text == " a b c"

    with_server(scenario, answers=[handler])


def test_a_server_that_stalls_is_given_up_after_the_silence_that_is_allowed() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_silence_s=0.2) as engine:
            raised = await failure(output(engine))
            assert isinstance(raised, EndpointFailed) and "inference.endpoint_silence_s" in str(raised)
            await asyncio.wait_for(server.left.wait(), 5)

    with_server(scenario, answers=[streamed(event(" a"), hold=True)])


def test_an_output_whose_connection_breaks_is_asked_for_again_and_its_text_not_sent_twice() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            heard: list[str] = []
            answer = await engine.generate(request_of(), None, lambda index, text: heard.append(text))
        assert answer.outputs[0].text == " a b c"
        assert heard == [" a"]

    with_server(scenario, answers=[streamed(event(" a"), cut=True), WHOLE])


def test_a_server_without_room_is_waited_for() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_patience_s=10.0) as engine:
            assert (await output(engine)).text == " a b c"

    with_server(scenario, answers=[refused(429), refused(503), WHOLE])


def test_a_server_that_goes_away_in_the_middle_of_a_draft_is_a_dead_engine() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            begun = asyncio.Event()
            writing = asyncio.create_task(engine.generate(request_of(), None, lambda index, text: begun.set()))
            await asyncio.wait_for(begun.wait(), 5)
            await server.close()
            raised = await failure(asyncio.wait_for(writing, 10))
            assert isinstance(raised, EngineDied) and server.url in str(raised)
            assert server.url in await asyncio.wait_for(engine.died(), 1)
            assert isinstance(await failure(engine.probe()), EngineDied)

    with_server(scenario, answers=[streamed(event(" a"), hold=True)])


def test_a_model_that_is_gone_is_a_dead_engine_so_that_another_is_looked_for() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            server.models = [{"id": "another"}]
            raised = await failure(output(engine))
            assert isinstance(raised, EngineDied) and "'served'" in str(raised)

    with_server(scenario, answers=[refused(404, "The model `served` does not exist.")])


def test_what_was_waited_for_is_sent_as_it_is_written() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_patience_s=10.0) as engine:
            heard: list[str] = []
            await engine.generate(request_of(), None, lambda index, text: heard.append(text))
        assert heard == [" a", " b", " c"]

    with_server(scenario, answers=[refused(503), WHOLE])


def test_a_server_without_priorities_is_not_asked_for_them_again() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            for _ in range(2):
                assert (await output(engine, priority="background")).text == " a b c"
        assert ["priority" in body for body in server.bodies("/v1/completions")] == [True, False, False]

    with_server(scenario, answers=[refused(400, "Got priority 2 but priority scheduling is not enabled"), WHOLE])


# --- its start --------------------------------------------------------------------------------------------------------


def test_nobody_at_the_address_is_a_failed_start_that_says_so() -> None:
    async def scenario() -> None:
        nobody = OpenAiServer(port=free_port())
        with pytest.raises(EngineStartFailed, match=rf"{nobody.url} does not answer.*inference\.endpoint"):
            async with engine_of(nobody):
                pass

    asyncio.run(scenario())


def test_a_server_that_comes_while_it_is_waited_for_is_found() -> None:
    async def scenario() -> None:
        late = OpenAiServer(port=free_port(), answers=[WHOLE])

        async def come() -> None:
            before = retries()
            while retries() == before:
                await asyncio.sleep(0)
            await late.open()

        coming = asyncio.create_task(come())
        async with engine_of(late, endpoint_patience_s=20.0) as engine:
            assert (await output(engine)).text == " a b c"
        await coming
        await late.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("models", "named", "served"),
    [
        ([{"id": "llama"}], "", "llama"),
        ([{"id": "llama"}, {"id": DIGEST}], "", DIGEST),
        ([{"id": "llama"}, {"id": "qwen"}], "qwen", "qwen"),
        ([{"id": "llama", "root": "/m"}, {"id": "alias", "root": "/m"}, {"id": "lora", "root": "/l", "parent": "llama"}], "", "llama"),
        ([{"id": "llama", "root": "/m"}, {"id": "qwen", "root": "/q"}], "", "name one of these in inference.endpoint_model"),
        ([{"id": "llama"}], "qwen", "llama, and no 'qwen'"),
        ([], "", "no model"),
        ([{"id": "a\nb"}], "", "no list of models"),
    ],
)
def test_the_models_name_at_the_server_is_the_one_configured_or_the_digest_or_the_only_one(
    models: list[dict[str, Any]], named: str, served: str
) -> None:
    async def scenario(server: OpenAiServer) -> None:
        try:
            async with engine_of(server, endpoint_model=named) as engine:
                assert (await engine.generate(request_of(), None, lambda index, text: None)).endpoint_model == served
        except EngineStartFailed as error:
            assert served in str(error), error

    with_server(scenario, models=models, answers=[WHOLE])


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_the_settings_name_is_not() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)

    async def scenario(server: OpenAiServer) -> None:
        with pytest.raises(EngineStartFailed, match=r"certificate.*inference\.endpoint_ca"):
            async with engine_of(server):
                pass
        async with engine_of(server, endpoint_ca=str(CERTIFICATE)) as engine:
            assert (await output(engine)).text == " a b c"

    with_server(scenario, tls=tls, answers=[WHOLE])


def test_a_connection_is_made_to_an_address_of_the_configured_host_alone() -> None:
    """Whatever leads elsewhere, a name or an address, no byte goes there: the other server sees no request."""

    async def scenario(server: OpenAiServer) -> None:
        port = int(server.url.rpartition(":")[2])
        client = EndpointClient(Endpoint(host="localhost", port=port, base=f"http://localhost:{port}"), 2, 1.0, 1.0)
        await client.models()
        asked_before = len(server.requests)
        for elsewhere in (
            Endpoint(host="another", port=port, base=f"http://localhost:{port}"),
            Endpoint(host="127.0.0.2", port=port, base=f"http://127.0.0.1:{port}"),
            Endpoint(host="127.0.0.1", port=port + 1, base=f"http://127.0.0.1:{port}"),
        ):
            astray = EndpointClient(elsewhere, 2, 1.0, 1.0)
            with pytest.raises(Unreachable, match=r"is not (asked|connected to)|Cannot connect"):
                await astray.models()
            await astray.close()
        await client.close()
        assert len(server.requests) == asked_before

    with_server(scenario)


# --- adapters ---------------------------------------------------------------------------------------------------------


def in_turn(*handlers: Any) -> Any:
    left = list(handlers)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def test_an_adapter_is_loaded_by_its_digest_and_unloaded_when_it_is_dropped() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_adapters_path="/shared/adapters") as engine:
            assert await engine.read(ADAPTER) == 1000
            await engine.commit(ADAPTER)
            answer = await engine.generate(request_of(), ADAPTER, lambda index, text: None)
            await engine.retire(ADAPTER)
            await engine.drop(ADAPTER)
        assert answer.mode == "adapter"
        assert server.bodies("/v1/load_lora_adapter") == [{"lora_name": ADAPTER.digest, "lora_path": f"/shared/adapters/{ADAPTER.digest}"}]
        assert server.bodies("/v1/completions")[0]["model"] == ADAPTER.digest
        assert server.bodies("/v1/unload_lora_adapter") == [{"lora_name": ADAPTER.digest}]

    fine = streamed("done", kind="text/plain", done=False)
    with_server(
        scenario, models=[{"id": DIGEST}], answers=[WHOLE], handlers={"/v1/load_lora_adapter": fine, "/v1/unload_lora_adapter": fine}
    )


def test_an_adapter_that_the_server_has_forgotten_is_loaded_again() -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server) as engine:
            await engine.read(ADAPTER)
            await engine.commit(ADAPTER)
            answer = await engine.generate(request_of(), ADAPTER, lambda index, text: None)
        assert answer.outputs[0].text == " a b c"
        assert len(server.bodies("/v1/load_lora_adapter")) == 2

    fine = streamed("done", kind="text/plain", done=False)
    with_server(
        scenario, models=[{"id": DIGEST}], answers=[refused(404, "does not exist"), WHOLE], handlers={"/v1/load_lora_adapter": fine}
    )


@pytest.mark.parametrize(
    ("models", "how", "answer", "words"),
    [
        ([{"id": "llama"}], "load", None, ["llama", "--served-model-name", "ignore"]),
        ([{"id": DIGEST}], "load", None, ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]),
        ([{"id": DIGEST}], "load", refused(404, "No adapter found for <path>"), ["inference.endpoint_adapters_path"]),
        ([{"id": DIGEST}], "load", refused(500, "rank 64 is greater than 16"), ["rank 64"]),
        ([{"id": DIGEST}], "served", None, ["--lora-modules"]),
    ],
)
def test_an_adapter_that_cannot_be_loaded_is_a_bad_adapter_with_a_remedy(
    models: list[dict[str, Any]], how: str, answer: Any, words: list[str]
) -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_adapters=how) as engine:
            raised = await failure(engine.read(ADAPTER))
            assert isinstance(raised, BadAdapter)
            assert all(word in str(raised) for word in [*words, ADAPTER.digest]), raised
            assert (await output(engine)).text == " a b c"

    with_server(scenario, models=models, answers=[WHOLE], handlers={"/v1/load_lora_adapter": answer} if answer else {})


@pytest.mark.parametrize(
    ("models", "named", "loads"),
    [
        ([{"id": "llama", "root": "/m"}, {"id": DIGEST, "root": "/m"}], "llama", True),
        ([{"id": "llama", "root": "/m"}, {"id": DIGEST, "root": "/other"}], "llama", False),
        ([{"id": "llama"}, {"id": DIGEST}], "llama", False),
        ([{"id": "llama"}, {"id": DIGEST}], "", True),
    ],
)
def test_only_a_model_that_has_the_digest_for_a_name_takes_the_images_adapters(
    models: list[dict[str, Any]], named: str, loads: bool
) -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_model=named) as engine:
            if loads:
                await engine.read(ADAPTER)
            else:
                assert isinstance(await failure(engine.read(ADAPTER)), BadAdapter)

    fine = streamed("done", kind="text/plain", done=False)
    with_server(scenario, models=models, handlers={"/v1/load_lora_adapter": fine, "/v1/unload_lora_adapter": fine})


@pytest.mark.parametrize(("how", "mode", "model"), [("served", "adapter", ADAPTER.digest), ("ignore", "base", "llama")])
def test_an_adapter_that_is_served_already_is_used_and_one_to_be_ignored_is_said_to_be(how: str, mode: str, model: str) -> None:
    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_adapters=how) as engine:
            await engine.read(ADAPTER)
            await engine.commit(ADAPTER)
            assert (await engine.generate(request_of(), ADAPTER, lambda index, text: None)).mode == mode
        assert server.bodies("/v1/completions")[0]["model"] == model

    with_server(scenario, models=[{"id": "llama"}, {"id": ADAPTER.digest, "parent": "llama"}], answers=[WHOLE])


# --- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_of_a_file_is_sent_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)

    async def scenario(server: OpenAiServer) -> None:
        async with engine_of(server, endpoint_key=str(file)) as engine:
            await output(engine)
        assert {received.headers.get("Authorization") for received in server.requests} == {f"Bearer {KEY}"}
        assert KEY not in repr(endpoint.endpoint(InferenceSettings(endpoint=server.url, endpoint_key=str(file))))

    with_server(scenario, answers=[WHOLE])


@pytest.mark.parametrize(("mode", "content", "word"), [(0o644, KEY, "chmod 600"), (0o600, "", "no key"), (0o600, "two words", "no key")])
def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path, mode: int, content: str, word: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=word) as refusal:
        endpoint.endpoint(InferenceSettings(endpoint="http://127.0.0.1:1", endpoint_key=str(file)))
    assert not content or content not in str(refusal.value)


def test_a_key_of_the_environment_is_taken_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    settings = InferenceSettings(endpoint="http://127.0.0.1:1/v1/", endpoint_key="env:SOME_KEY")
    server = endpoint.take(settings)
    assert (server.key, server.base) == (KEY, "http://127.0.0.1:1")
    with pytest.raises(SettingsError, match="SOME_KEY"):
        endpoint.take(settings)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("endpoint = 'ipc:///run/old.sock'", "inference.address"),
        ("endpoint = 'gpu1:8000'", "inference.endpoint"),
        ("endpoint = 'http://user:secret@gpu1'", "inference.endpoint"),
        ("endpoint_key = 'a-key-itself'", "inference.endpoint_key"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_by_the_configuration(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "batos.toml").write_text(f"[inference]\n{text}\n")
    with pytest.raises(SettingsError) as refusal:
        load({}, tmp_path)
    assert word in str(refusal.value)
    assert "secret" not in str(refusal.value) and "a-key-itself" not in str(refusal.value)
