"""What every engine must do behind the protocol: the same tests over the fake one and the real one."""

import math

import msgspec
import pytest

from inference_worker.protocol import AskHealth, Completed, Generate, Health, RequestFailed, Sampling, WorkerBusy
from tests.inference_worker import files
from tests.inference_worker.conftest import LONG, QUEUE, Scene
from tests.inference_worker.service import drawn

ABSENT = "0" * 64


def failure(answer: object) -> str:
    assert isinstance(answer, RequestFailed), answer
    assert answer.message
    return answer.type


def test_all_outputs_come_in_one_answer_in_the_order_of_the_samplings(scene: Scene) -> None:
    answer = scene.client.generate(scene.model, LONG, samplings=[Sampling(), *drawn(2), Sampling()], max_tokens=12)
    assert isinstance(answer, Completed)
    assert len(answer.outputs) == 4
    assert answer.outputs[0].text == answer.outputs[3].text != ""
    assert answer.prompt_tokens > 4
    for output in answer.outputs:
        assert 0 < output.tokens <= 12
        assert output.finish == "length"
        assert output.logprob < 0 and math.isfinite(output.logprob)


def test_the_same_seed_draws_the_same_text(scene: Scene) -> None:
    first, second = (scene.client.text(scene.model, LONG, samplings=drawn(1, 0.8), max_tokens=16) for _ in range(2))
    assert first == second


def test_deltas_add_up_to_the_outputs(scene: Scene) -> None:
    name = scene.client.start(scene.model, LONG, samplings=[Sampling(), *drawn(1)], max_tokens=16, stream=True)
    answer, deltas = scene.client.finish(name)
    assert isinstance(answer, Completed)
    assert len(deltas) > 4
    for index, output in enumerate(answer.outputs):
        assert "".join(delta.text for delta in deltas if delta.index == index) == output.text


def test_a_stop_text_ends_the_output_before_it(scene: Scene) -> None:
    whole = scene.client.text(scene.model, LONG, max_tokens=16)
    stop = whole.split()[3]
    answer = scene.client.generate(scene.model, LONG, max_tokens=16, stop=[stop])
    assert isinstance(answer, Completed)
    assert answer.outputs[0].text == whole[: whole.index(stop)]
    assert answer.outputs[0].finish == "stop"


def test_an_adapter_changes_what_is_said_and_each_one_differently(scene: Scene) -> None:
    texts = {scene.client.text(scene.model, LONG, adapter=adapter, max_tokens=12) for adapter in [None, *scene.adapters]}
    assert len(texts) == 1 + len(scene.adapters)
    assert set(scene.adapters) <= set(scene.client.health().adapters)


def test_with_more_adapters_than_slots_and_requests_without_one_all_say_what_they_say_alone(scene: Scene) -> None:
    kinds = [None, *scene.adapters]
    alone = [scene.client.text(scene.model, LONG, adapter=adapter, max_tokens=24) for adapter in kinds]
    mixed = [adapter for _ in range(2) for adapter in kinds]
    names = [scene.client.start(scene.model, LONG, adapter=adapter, max_tokens=24) for adapter in mixed]
    answers = [scene.client.finish(name)[0] for name in names]
    for adapter, answer in zip(mixed, answers, strict=True):
        assert isinstance(answer, Completed)
        assert answer.outputs[0].text == alone[kinds.index(adapter)]
    hot, warm = scene.client.adapters().tiers[:2]
    assert (hot.name, hot.adapters, warm.name) == ("hot", 2, "warm")
    assert warm.adapters >= 1 and hot.left >= 1


def test_an_answer_says_where_its_adapter_was_how_it_was_computed_and_when_it_began(scene: Scene) -> None:
    scene.client.text(scene.model, LONG, adapter=scene.adapters[0], max_tokens=1)
    adapted = scene.client.completed(scene.model, LONG, adapter=scene.adapters[0], max_tokens=16)
    plain = scene.client.completed(scene.model, LONG, max_tokens=2)
    assert (adapted.found, plain.found, plain.mode) == ("hot", "", "base")
    assert adapted.mode in ("adapter", "merged")
    assert 0 < adapted.first_token_s < adapted.queued_s + adapted.engine_s


def test_log_probabilities_of_each_token_come_where_they_are_asked_for(scene: Scene) -> None:
    answered = scene.client.completed(scene.model, LONG, max_tokens=8, logprobs=True).outputs[0]
    assert len(answered.logprobs) == answered.tokens == 8
    assert math.isclose(sum(answered.logprobs) / 8, answered.logprob, rel_tol=1e-3)
    assert scene.client.completed(scene.model, LONG, max_tokens=8).outputs[0].logprobs == []


def test_an_unknown_model_is_refused_by_name(scene: Scene) -> None:
    answer = scene.client.generate(ABSENT, LONG)
    assert failure(answer) == "UnknownModel"
    assert isinstance(answer, RequestFailed) and ABSENT in answer.message


def test_a_missing_adapter_is_refused_and_the_engine_goes_on(scene: Scene) -> None:
    assert failure(scene.client.generate(scene.model, LONG, adapter=ABSENT)) == "BadAdapter"
    assert scene.client.text(scene.model, LONG, max_tokens=2)


def test_a_damaged_adapter_is_refused_and_the_engine_goes_on(scene: Scene) -> None:
    source = scene.home / "source" / "damaged"
    if not source.exists():
        files.random_adapter(source, files.read(scene.home / "models" / scene.model), seed=9)
    file = source / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    assert failure(scene.client.generate(scene.model, LONG, adapter=files.put(source, scene.home / "adapters"))) == "BadAdapter"
    assert scene.client.text(scene.model, LONG, max_tokens=2)


@pytest.mark.parametrize("grammar", ["this is no grammar", 'start ::= "a"', "start: /a/"])
def test_a_bad_grammar_is_refused_and_the_engine_goes_on(scene: Scene, grammar: str) -> None:
    starts = scene.client.health().engine_starts
    assert failure(scene.client.generate(scene.model, LONG, grammar=grammar)) == "BadGrammar"
    assert scene.client.text(scene.model, LONG, max_tokens=2)
    assert scene.client.health().engine_starts == max(starts, 1)


def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers(scene: Scene) -> None:
    answer = scene.client.generate(scene.model, "word " * 3000)
    assert failure(answer) == "BadRequest"
    assert isinstance(answer, RequestFailed) and "tokens" in answer.message


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"op": "Nonsense", "id": "x"})])
def test_a_bad_frame_is_answered_and_stops_nothing(scene: Scene, frame: bytes) -> None:
    scene.client.send_frames(frame)
    assert failure(scene.client.receive()) == "BadRequest"
    assert isinstance(scene.client.health(), Health)


def test_a_bad_field_is_answered_under_the_id_of_its_request(scene: Scene) -> None:
    scene.client.send_frames(msgspec.msgpack.encode({"op": "Generate", "id": "odd", "model": scene.model, "prompt": "x", "max_tokens": -1}))
    answer = scene.client.receive()
    assert failure(answer) == "BadRequest"
    assert answer.id == "odd"
    assert isinstance(answer, RequestFailed) and "max_tokens" in answer.message


def test_more_than_one_frame_is_answered(scene: Scene) -> None:
    scene.client.send_frames(b"", msgspec.msgpack.encode(AskHealth(id="h")))
    assert failure(scene.client.receive()) == "BadRequest"


def test_a_deadline_ends_a_request_in_time(scene: Scene) -> None:
    scene.client.text(scene.model, LONG, max_tokens=1)
    name = scene.client.start(scene.model, LONG, max_tokens=900, deadline_ms=300)
    answer, _ = scene.client.finish(name, timeout_s=5)
    assert failure(answer) == "DeadlineExceeded"
    assert scene.client.health_until(5, running=0).waiting == 0


def test_cancelling_ends_a_request_and_frees_its_place(scene: Scene) -> None:
    name = scene.client.start(scene.model, LONG, max_tokens=900, stream=True)
    scene.client.first_delta(name)
    scene.client.cancel(name)
    answer, _ = scene.client.finish(name, timeout_s=10)
    assert failure(answer) == "Cancelled"
    assert scene.client.health_until(5, running=0).waiting == 0


def test_a_request_cancelled_at_once_is_answered_too(scene: Scene) -> None:
    name = scene.client.start(scene.model, LONG, max_tokens=900)
    scene.client.cancel(name)
    assert failure(scene.client.finish(name, timeout_s=10)[0]) == "Cancelled"


def test_a_client_that_leaves_takes_its_streaming_requests_with_it(scene: Scene) -> None:
    scene.client.text(scene.model, LONG, max_tokens=1)
    with scene.worker.client() as leaver:
        leaver.first_delta(leaver.start(scene.model, LONG, max_tokens=900, stream=True))
    scene.client.health_until(10, running=0)


def test_past_the_queue_a_client_is_told_to_come_back(scene: Scene) -> None:
    scene.client.text(scene.model, LONG, max_tokens=1)
    names = [scene.client.start(scene.model, LONG, max_tokens=900) for _ in range(QUEUE)]
    answer = scene.client.generate(scene.model, LONG)
    assert isinstance(answer, WorkerBusy)
    assert answer.retry_after_ms > 0
    for name in names:
        scene.client.cancel(name)
    for name in names:
        assert failure(scene.client.finish(name)[0]) == "Cancelled"


def test_the_same_request_twice_is_answered_once_and_another_one_under_its_id_is_refused(scene: Scene) -> None:
    request = Generate(id="twice", model=scene.model, prompt=LONG, max_tokens=900)
    scene.client.send(request)
    scene.client.send(request)
    scene.client.send(msgspec.structs.replace(request, deadline_ms=50_000))
    scene.client.send(Generate(id="twice", model=scene.model, prompt=LONG, max_tokens=899))
    assert failure(scene.client.finish("twice")[0]) == "BadRequest"
    scene.client.cancel("twice")
    assert failure(scene.client.finish("twice")[0]) == "Cancelled"
    scene.client.health_until(5, running=0)


def test_health_asks_the_engine_and_names_what_is_loaded(scene: Scene) -> None:
    scene.client.text(scene.model, LONG, max_tokens=1)
    health = scene.client.health()
    assert (health.engine, health.answers, health.model) == ("ready", True, scene.model)
    assert health.engine_starts == 1
