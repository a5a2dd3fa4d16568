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
def findings(directory: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((directory / "engine.json").read_text())["findings"]
    return read


def check(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same text and log probabilities, up to a step at which the reference itself had a near tie."""
    ties = [step for step, margin in enumerate(expected["margins"]) if margin < NEAR_TIE]
    end = ties[0] if ties else len(expected["margins"])
    if ties:
        assert answer["text"].startswith(expected["begins"][end].rstrip("�"))
    else:
        assert answer["text"] == expected["text"]
    assert answer["logprobs"][:end] == pytest.approx(expected["logprobs"][:end], abs=LOGPROB)


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


def test_what_decodes_is_not_changed_by_adapters_that_come_and_go(scenes: Any, reference: Any, findings: Any) -> None:
    assert findings["moves while others decode"] >= 2
    for name, answers in scenes["while others load"].items():
        for prompt in range(len(PROMPTS)):
            check(answers[prompt], reference[name][prompt])


def test_the_adapters_of_this_test_say_different_things(reference: Any) -> None:
    assert len({tuple(answer["text"] for answer in answers) for answers in reference.values()}) == len(NAMES) + 1


def test_our_own_operations_computed_all_this(findings: Any) -> None:
    assert findings["operations"]["computes"]
    assert findings["operations"]["layers"] == 4 * 30, "q, k, v together, o, gate and up together, and down, in each layer of the model"


def test_reloading_put_adapters_where_others_had_been(findings: Any) -> None:
    assert findings["registered after drops"] == []
    assert any(findings["slots after"][number] != slot for number, slot in findings["slots before"].items())


def test_the_bytes_of_an_adapter_in_ram_are_those_of_its_weights(findings: Any) -> None:
    weights = ROOT / "inference_worker" / "shipped" / SHIPPED / "adapter_model.safetensors"
    # The shipped one is in bfloat16; float32 takes twice as much. The header is small.
    assert findings["sizes"][SHIPPED] == pytest.approx(2 * weights.stat().st_size, rel=0.02)


def test_what_cannot_be_read_or_committed_is_refused_and_changes_nothing(findings: Any) -> None:
    assert "absent" in findings["absent"]
    assert "Safetensor" in findings["broken"] or "header" in findings["broken"].lower()
    assert "read it first" in findings["not read"]
    assert "in no slot" in findings["not hot"]
    assert "no slot is free" in findings["no slot"]
    assert "already" in findings["twice"]
    assert findings["slots unchanged"]


def test_an_adapter_may_vanish_right_after_its_request_was_cancelled(scenes: Any, reference: Any, findings: Any) -> None:
    slots, second = findings["hot after aborts"]
    assert set(slots) == {str(second)}, "only what the scheduler committed is hot"
    for name, answers in scenes["after aborts"].items():
        for prompt in range(len(PROMPTS)):
            check(answers[prompt], reference[name][prompt])


def test_the_death_of_the_process_with_the_model_is_noticed_and_ends_all_calls(findings: Any) -> None:
    assert findings["death noticed after s"] < 2
    for call in ("request under death", "read after death", "probe after death"):
        assert findings[call].startswith("EngineDied"), call
    assert findings["stopped after s"] < 3, "who is dead is not waited for"
