"""The real engine's greedy tokens are those of transformers and PEFT in float32, wherever an adapter was and whoever runs beside it.

Two processes do the work once (reference.py, engine_run.py); the tests look at what they wrote.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.inference_worker.reference import ADAPTERS, PROMPTS, SHIPPED
from tests.model import converted_model

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
NAMES = [*ADAPTERS, SHIPPED]
SCENES = ["alone", "with other adapters", "with requests without adapter", "reloaded"]
NEAR_TIE = 1e-4
"""Logits of the two likeliest tokens that are closer than this may change places."""
LOGPROB = 5e-4
"""How far a token's log probability may be off, nats: two ways of adding up float32."""


def run(module: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.inference_worker.{module}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    if done.returncode != 0:
        pytest.fail(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reference")
    run("reference", converted_model(), directory)
    run("engine_run", converted_model(), directory)
    return directory


@pytest.fixture(scope="module")
def reference(directory: Path) -> dict[str, list[dict[str, Any]]]:
    read: dict[str, list[dict[str, Any]]] = json.loads((directory / "reference.json").read_text())
    return read


@pytest.fixture(scope="module")
def scenes(directory: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    read: dict[str, dict[str, list[dict[str, Any]]]] = json.loads((directory / "engine.json").read_text())["scenes"]
    return read


@pytest.fixture(scope="module")
def seen(directory: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((directory / "engine.json").read_text())["seen"]
    return read


def check(said: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same text and log probabilities, up to a step at which the reference itself had a near tie."""
    ties = [step for step, margin in enumerate(expected["margins"]) if margin < NEAR_TIE]
    end = ties[0] if ties else len(expected["margins"])
    if ties:
        assert said["text"].startswith(expected["begins"][end].rstrip("�"))
    else:
        assert said["text"] == expected["text"]
    assert said["logprobs"][:end] == pytest.approx(expected["logprobs"][:end], abs=LOGPROB)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_says_what_peft_says(name: str, scene: str, scenes: Any, reference: Any) -> None:
    for prompt in range(len(PROMPTS)):
        check(scenes[scene][name][prompt], reference[name][prompt])
        assert scenes[scene][name][prompt]["mode"] == "adapter"


@pytest.mark.parametrize("scene", ["alone", "with requests without adapter", "reloaded", "while others load"])
def test_the_base_model_says_what_transformers_says(scene: str, scenes: Any, reference: Any) -> None:
    for prompt in range(len(PROMPTS)):
        check(scenes[scene][""][prompt], reference[""][prompt])
        assert scenes[scene][""][prompt]["mode"] == "base"


def test_what_decodes_is_not_changed_by_adapters_that_come_and_go(scenes: Any, reference: Any, seen: Any) -> None:
    assert seen["moves while others decode"] >= 2
    for name, answers in scenes["while others load"].items():
        for prompt in range(len(PROMPTS)):
            check(answers[prompt], reference[name][prompt])


def test_the_adapters_of_this_test_say_different_things(reference: Any) -> None:
    assert len({tuple(answer["text"] for answer in answers) for answers in reference.values()}) == len(NAMES) + 1


def test_our_own_operations_computed_all_this(seen: Any) -> None:
    assert seen["operations"]["computes"]
    assert seen["operations"]["layers"] == 4 * 30, "q, k, v together, o, gate and up together, and down, in each layer of the model"


def test_reloading_put_adapters_where_others_had_been(seen: Any) -> None:
    assert seen["registered after drops"] == []
    assert any(seen["slots after"][number] != slot for number, slot in seen["slots before"].items())


def test_the_bytes_of_an_adapter_in_ram_are_those_of_its_weights(seen: Any) -> None:
    weights = ROOT / "inference_worker" / "shipped" / SHIPPED / "adapter_model.safetensors"
    # The shipped one is in bfloat16; float32 takes twice as much. The header is small.
    assert seen["sizes"][SHIPPED] == pytest.approx(2 * weights.stat().st_size, rel=0.02)


def test_what_cannot_be_read_or_committed_is_refused_and_changes_nothing(seen: Any) -> None:
    assert "absent" in seen["absent"]
    assert "Safetensor" in seen["broken"] or "header" in seen["broken"].lower()
    assert "read it first" in seen["not read"]
    assert "in no slot" in seen["not hot"]
    assert "no slot is free" in seen["no slot"]
    assert "already" in seen["twice"]
    assert seen["slots unchanged"]


def test_an_adapter_may_vanish_right_after_its_request_was_cancelled(scenes: Any, reference: Any, seen: Any) -> None:
    slots, second = seen["hot after aborts"]
    assert set(slots) == {str(second)}, "only what the scheduler committed is hot"
    for name, answers in scenes["after aborts"].items():
        for prompt in range(len(PROMPTS)):
            check(answers[prompt], reference[name][prompt])


def test_the_death_of_the_process_with_the_model_is_noticed_and_ends_all_calls(seen: Any) -> None:
    assert seen["death noticed after s"] < 2
    for call in ("request under death", "read after death", "probe after death"):
        assert seen[call].startswith("EngineDied"), call
    assert seen["stopped after s"] < 3, "who is dead is not waited for"
