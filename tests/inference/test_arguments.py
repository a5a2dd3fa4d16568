"""What vLLM is told on a CPU and on a GPU, without either."""

from pathlib import Path

import pytest

from deploy.settings import InferenceSettings
from inference_worker.adapter import BaseModel
from inference_worker.arguments import WARM_ADAPTERS, context_length, engine_arguments, engine_environment

MODEL = BaseModel(digest="d" * 64, path=Path("/models/d"), tensors={}, config={"max_position_embeddings": 4096})


def test_on_a_cpu_the_cache_has_the_size_in_the_settings_and_nothing_is_compiled() -> None:
    arguments = engine_arguments(InferenceSettings(kv_cache_gib=0.5), MODEL, cpu=True)
    assert arguments["kv_cache_memory_bytes"] == 2**29
    assert arguments["enforce_eager"] is True
    assert "gpu_memory_utilization" not in arguments


def test_on_a_gpu_the_cache_takes_the_share_in_the_settings() -> None:
    arguments = engine_arguments(InferenceSettings(gpu_memory_utilization=0.7, quantization="bitsandbytes"), MODEL, cpu=False)
    assert arguments["gpu_memory_utilization"] == 0.7
    assert arguments["quantization"] == "bitsandbytes"
    assert "enforce_eager" not in arguments and "kv_cache_memory_bytes" not in arguments


def test_the_engine_never_evicts_an_adapter_by_itself() -> None:
    arguments = engine_arguments(InferenceSettings(max_loras=4), MODEL, cpu=True)
    assert arguments["max_cpu_loras"] > WARM_ADAPTERS >= arguments["max_loras"] == 4


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (4, 8), (16, 16), (17, 32), (512, 512)])
def test_the_rank_is_rounded_up_to_one_that_the_engine_takes(asked: int, given: int) -> None:
    assert engine_arguments(InferenceSettings(max_lora_rank=asked), MODEL, cpu=True)["max_lora_rank"] == given


def test_the_context_is_no_longer_than_the_model_was_made_for() -> None:
    assert context_length(InferenceSettings(max_model_len=8192), MODEL) == 4096
    assert context_length(InferenceSettings(max_model_len=1024), MODEL) == 1024


def test_nothing_is_fetched_or_reported_and_what_the_administrator_set_for_threads_stays() -> None:
    environment = engine_environment({"VLLM_CPU_OMP_THREADS_BIND": "0-1", "GOMP_SPINCOUNT": "9"})
    assert environment["HF_HUB_OFFLINE"] == "1" and environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"
    assert environment["GOMP_SPINCOUNT"] == "9"
    assert engine_environment({})["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
