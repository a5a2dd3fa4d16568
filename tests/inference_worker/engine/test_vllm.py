"""The real engine's processes: killed, stopped and orphaned; and what only a real model can show."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inference_worker.protocol import Completed, RequestFailed, Sampling, Warm
from tests.inference_worker.conftest import LONG, Scene, real_scene

pytestmark = pytest.mark.model

YES_OR_NO = 'root ::= "yes" | "no"'


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    yield from real_scene(tmp_path)


def have_ended(processes: list[psutil.Process], within_s: float) -> bool:
    return not psutil.wait_procs(processes, timeout=within_s)[1]


def test_every_output_is_a_sentence_of_the_grammar(real_worker: Scene) -> None:
    drawn = [Sampling(temperature=2.0, seed=seed) for seed in range(4)]
    answer = real_worker.client.generate(real_worker.model, LONG, grammar=YES_OR_NO, samplings=drawn, max_tokens=8)
    assert isinstance(answer, Completed)
    assert {output.text for output in answer.outputs} <= {"yes", "no"}
    assert {output.finish for output in answer.outputs} == {"stop"}


def test_grammars_hold_beside_each_other_under_different_adapters(real_worker: Scene) -> None:
    words = {
        real_worker.client.start(real_worker.model, LONG, grammar=f'root ::= "{word}" [0-9]', adapter=adapter, max_tokens=12): word
        for word, adapter in [("red", None), ("green", real_worker.adapters[0]), ("blue", real_worker.adapters[1]), ("grey", None)]
    }
    for name, word in words.items():
        answer, _ = real_worker.client.finish(name)
        assert isinstance(answer, Completed)
        assert answer.outputs[0].text[:-1] == word and answer.outputs[0].text[-1].isdigit()


@pytest.mark.parametrize("stream", [False, True])
def test_who_asks_gets_the_log_probability_of_each_token(real_worker: Scene, stream: bool) -> None:
    name = real_worker.client.start(
        real_worker.model, LONG, samplings=[Sampling(), Sampling(temperature=1, seed=3)], logprobs=True, stream=stream, max_tokens=16
    )
    answer, _ = real_worker.client.finish(name)
    assert isinstance(answer, Completed)
    for output in answer.outputs:
        assert len(output.logprobs) == output.tokens > 1
        assert output.logprob == pytest.approx(sum(output.logprobs) / output.tokens)
        assert max(output.logprobs) <= 0 > output.logprob
    assert real_worker.client.completed(real_worker.model, LONG, max_tokens=4).outputs[0].logprobs == []


def test_a_grammar_without_a_sentence_is_refused_and_the_engine_goes_on(real_worker: Scene) -> None:
    answer = real_worker.client.generate(real_worker.model, LONG, grammar='root ::= "a" root', max_tokens=8)
    assert isinstance(answer, Completed), "it has no end, but every beginning is allowed"
    endless = real_worker.client.generate(real_worker.model, LONG, grammar='root ::= root "a"', max_tokens=8)
    assert isinstance(endless, RequestFailed)
    assert endless.type == "BadGrammar"
    nested = real_worker.client.generate(real_worker.model, LONG, grammar="root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000)
    assert isinstance(nested, RequestFailed)
    assert nested.type == "BadGrammar"
    assert real_worker.client.text(real_worker.model, LONG, max_tokens=2)
    assert real_worker.client.health().engine_starts == 1


def test_a_grammar_that_breaks_off_is_refused_and_the_engine_goes_on(real_worker: Scene) -> None:
    starts = real_worker.client.health().engine_starts
    refused = real_worker.client.generate(real_worker.model, LONG, grammar='root ::= "a')
    assert isinstance(refused, RequestFailed)
    assert refused.type == "BadGrammar"
    assert real_worker.client.text(real_worker.model, LONG, max_tokens=2)
    assert real_worker.client.health().engine_starts == max(starts, 1)


def test_chat_speaks_in_the_model_s_template(real_worker: Scene) -> None:
    plain = real_worker.client.generate(real_worker.model, "Name a colour.", max_tokens=4)
    chat = real_worker.client.generate(real_worker.model, "Name a colour.", max_tokens=4, chat=True)
    assert isinstance(plain, Completed) and isinstance(chat, Completed)
    assert chat.prompt_tokens > plain.prompt_tokens + 8


def test_a_killed_core_is_rebuilt_its_request_answered_and_sigterm_then_ends_all(scene: Scene) -> None:
    name = scene.client.start(scene.model, LONG, max_tokens=30, stream=True, adapter=scene.adapters[0])
    scene.client.first_delta(name, 120)
    first = scene.worker.descendants()
    first[0].kill()
    answer, _ = scene.client.finish(name, 200)
    assert isinstance(answer, Completed)
    assert answer.outputs[0].tokens == 30
    assert have_ended(first, 5)
    assert scene.client.health().engine_starts == 2

    second = scene.worker.descendants()
    scene.client.start(scene.model, LONG, max_tokens=900)
    began = time.monotonic()
    assert scene.worker.terminate(30) == 0
    assert time.monotonic() - began < 15
    assert have_ended(second, 5)


def test_sigterm_while_the_engine_starts_ends_the_start(scene: Scene) -> None:
    scene.client.send(Warm(id="w", model=scene.model))
    scene.client.health_until(engine="starting")
    scene.worker.process.send_signal(signal.SIGTERM)
    answer, _ = scene.client.finish("w", 20)
    assert isinstance(answer, RequestFailed)
    assert answer.type == "Stopping"
    # Importing the engine cannot be interrupted.
    assert scene.worker.process.wait(60) == 0


def test_a_killed_worker_leaves_no_process_behind(scene: Scene) -> None:
    scene.client.send(Warm(id="w", model=scene.model))
    scene.client.finish("w", 120)
    processes = scene.worker.descendants()
    assert processes
    scene.worker.kill()
    assert have_ended(processes, 5)
