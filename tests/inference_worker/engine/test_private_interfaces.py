"""What we use of vLLM and is not promised by it is there, as we use it, in the version that is pinned: one test a name."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.settings import InferenceSettings
from inference_worker.engine.memory_plan import padded_rank
from inference_worker.engine.vllm_arguments import engine_arguments
from inference_worker.engine.vllm_interfaces import INTERFACES, Interface
from tests.inference_worker.engine.test_vllm_arguments import SMALL

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.inference_worker.look_up", *(interface.name for interface in INTERFACES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        pytest.fail(f"vLLM cannot be looked at: {done.stderr[-3000:]}")
    parameters: dict[str, Any] = json.loads(done.stdout)
    return parameters


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.name)
def test_vllm_still_has(interface: Interface, installed: dict[str, Any]) -> None:
    actual = installed[interface.name]
    assert not isinstance(actual, str), f"{actual}; we need it: {interface.why}"
    expected = None if interface.parameters is None else list(interface.parameters)
    assert actual == expected, f"{interface.name} takes {actual}, not {expected}; we need it: {interface.why}"


@pytest.mark.parametrize("cpu", [True, False])
def test_vllm_knows_every_argument_that_it_is_given(cpu: bool, installed: dict[str, Any]) -> None:
    settings = InferenceSettings(quantization="bitsandbytes", vram_gib=0.0 if cpu else 8.0)
    assert set(engine_arguments(settings, SMALL, cpu)) <= set(installed["facts"]["arguments"])


def test_slots_have_only_ranks_that_vllm_takes(installed: dict[str, Any]) -> None:
    assert {padded_rank(rank) for rank in range(1, 513)} <= set(installed["facts"]["ranks"])


def test_each_interface_is_listed_once_and_says_what_it_is_for() -> None:
    names = [interface.name for interface in INTERFACES]
    assert len(names) == len(set(names))
    assert all(interface.why for interface in INTERFACES)


def test_the_list_in_the_documentation_is_the_list_under_test() -> None:
    page = (ROOT / "docs" / "vllm.md").read_text()
    assert not [interface.name for interface in INTERFACES if f"`{interface.name}`" not in page]
