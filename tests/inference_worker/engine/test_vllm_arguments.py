"""What vLLM is told on a CPU and on a GPU, without either."""

from pathlib import Path
from typing import Any

import pytest

from deploy.settings import InferenceSettings
from inference_worker.adapters.adapter import BaseModel, Tensor
from inference_worker.engine.memory_plan import gpu_memory_plan, kv_token_bytes, slot_bytes, target_modules
from inference_worker.engine.vllm_arguments import PRIORITIES, context_length, engine_arguments, engine_environment, engine_slots
from inference_worker.errors import EngineStartFailed

GB = 10**9


def decoder(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, head: int, vocabulary: int, packed: bool = False) -> BaseModel:
    """A Llama as its files describe it; `packed`: linear layers in 4 bits already, with a 16-bit scale and zero for 128 weights."""
    matrices = {"model.embed_tokens": (vocabulary, hidden), "lm_head": (vocabulary, hidden)}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        matrices |= {f"{at}.self_attn.{name}_proj": (heads * head, hidden) for name in "q"}
        matrices |= {f"{at}.self_attn.{name}_proj": (kv_heads * head, hidden) for name in "kv"}
        matrices |= {f"{at}.self_attn.o_proj": (hidden, heads * head), f"{at}.mlp.down_proj": (hidden, inner)}
        matrices |= {f"{at}.mlp.{name}_proj": (inner, hidden) for name in ("gate", "up")}
    tensors = {}
    for name, (outputs, inputs) in matrices.items():
        if packed and "layers" in name:
            tensors[f"{name}.qweight"] = Tensor("I32", (inputs, outputs // 8), 0, outputs * inputs // 2)
            tensors[f"{name}.scales"] = Tensor("F16", (inputs // 128, outputs), 0, outputs * inputs // 64)
        else:
            tensors[f"{name}.weight"] = Tensor("BF16", (outputs, inputs), 0, 2 * outputs * inputs)
    config: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
    }
    return BaseModel("d" * 64, Path("/models/d"), tensors, config | ({"quantization_config": {"quant_method": "awq"}} if packed else {}))


SMALL = decoder(576, 1536, 2, 9, 3, 64, 49152)
LLAMA = decoder(4096, 14336, 32, 32, 8, 128, 128256)
LLAMA_PACKED = decoder(4096, 14336, 32, 32, 8, 128, 128256, packed=True)
SEED = 6.9 * GB / 2**30
"""6.9 GB of VRAM, in the settings' GiB."""


def test_on_a_cpu_the_cache_has_the_size_in_the_settings_and_nothing_is_compiled() -> None:
    arguments = engine_arguments(InferenceSettings(kv_cache_gib=0.5), SMALL, cpu=True)
    assert arguments["kv_cache_memory_bytes"] == 2**29
    assert arguments["enforce_eager"] is True
    assert "gpu_memory_utilization" not in arguments


def test_on_a_gpu_without_a_budget_the_cache_takes_the_share_in_the_settings() -> None:
    arguments = engine_arguments(InferenceSettings(gpu_memory_utilization=0.7, quantization="bitsandbytes"), SMALL, cpu=False)
    assert arguments["gpu_memory_utilization"] == 0.7
    assert arguments["quantization"] == "bitsandbytes"
    assert "enforce_eager" not in arguments and "kv_cache_memory_bytes" not in arguments


def test_on_a_gpu_with_a_budget_slots_and_cache_are_what_the_plan_says() -> None:
    settings = InferenceSettings(vram_gib=SEED, max_loras=8, max_model_len=2048)
    arguments, plan = engine_arguments(settings, LLAMA_PACKED, cpu=False), gpu_memory_plan(settings, LLAMA_PACKED)
    assert arguments["max_loras"] == plan.slots == engine_slots(settings, LLAMA_PACKED, cpu=False) < 8
    assert arguments["kv_cache_memory_bytes"] == plan.kv_cache
    assert "gpu_memory_utilization" not in arguments
    assert engine_slots(settings, LLAMA_PACKED, cpu=True) == 8


def test_the_extension_moves_adapters_and_people_who_wait_go_first() -> None:
    arguments = engine_arguments(InferenceSettings(), SMALL, cpu=True)
    assert arguments["worker_extension_cls"] == "inference_worker.engine.extension.TierExtension"
    assert arguments["scheduling_policy"] == "priority"
    assert PRIORITIES["interactive"] < PRIORITIES["normal"] < PRIORITIES["background"]


def test_the_engine_never_evicts_an_adapter_by_itself() -> None:
    """The smallest adapter that there can be, of rank 1 on one layer of a small model, has more bytes than are counted for it."""
    settings = InferenceSettings(ram_gib=2, max_loras=4)
    count = engine_arguments(settings, SMALL, cpu=True)["max_cpu_loras"]
    assert count * 4096 >= 2 * 2**30
    assert count >= 4


@pytest.mark.parametrize(("configured", "rounded"), [(1, 1), (4, 8), (16, 16), (17, 32), (512, 512)])
def test_the_rank_is_rounded_up_to_one_that_the_engine_takes(configured: int, rounded: int) -> None:
    assert engine_arguments(InferenceSettings(max_lora_rank=configured), SMALL, cpu=True)["max_lora_rank"] == rounded


def test_slots_are_made_for_linear_layers_and_for_whatever_vllm_takes_where_names_are_unfamiliar() -> None:
    modules = target_modules(SMALL)
    assert modules is not None and "embed_tokens" not in modules and {"q_proj", "down_proj", "lm_head"} <= set(modules)
    assert engine_arguments(InferenceSettings(), SMALL, cpu=True)["lora_target_modules"] == modules
    strange = BaseModel("d" * 64, Path("/models/d"), {"model.layers.0.mixer.weight": Tensor("BF16", (8, 8), 0, 128)}, {})
    assert target_modules(strange) is None
    assert "lora_target_modules" not in engine_arguments(InferenceSettings(), strange, cpu=True)


def test_stock_vllm_is_left_as_it_comes() -> None:
    assert "lora_target_modules" not in engine_arguments(InferenceSettings(lora="stock"), SMALL, cpu=True)
    assert engine_environment({}, "stock")["BATOS_LORA"] == "stock"


def test_the_context_is_no_longer_than_the_model_was_made_for() -> None:
    assert context_length(InferenceSettings(max_model_len=8192), SMALL) == 4096
    assert context_length(InferenceSettings(max_model_len=1024), SMALL) == 1024


def test_nothing_is_fetched_or_reported_and_what_the_administrator_set_for_threads_stays() -> None:
    environment = engine_environment({"VLLM_CPU_OMP_THREADS_BIND": "0-1", "GOMP_SPINCOUNT": "9"})
    assert environment["HF_HUB_OFFLINE"] == "1" and environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"
    assert environment["GOMP_SPINCOUNT"] == "9"
    assert engine_environment({})["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


def test_llama_8b_in_four_bits_has_the_published_sizes() -> None:
    settings = InferenceSettings(vram_gib=24, max_model_len=2048)
    plan = gpu_memory_plan(settings, LLAMA_PACKED)
    # AWQ of Llama-3.1-8B-Instruct is 5.7 GB on disk; rank 16 on all linear layers 42 million parameters, and the head's.
    assert plan.weights == pytest.approx(5.7 * GB, rel=0.02)
    assert plan.slot == pytest.approx(2 * (41.9e6 + 16 * (4096 + 128256)), rel=0.01)
    assert kv_token_bytes(settings, LLAMA_PACKED) == 2 * 32 * 8 * 128 * 2
    assert slot_bytes(settings, LLAMA_PACKED) == slot_bytes(settings, LLAMA), "a packed model's layers have the same shapes"


def test_every_byte_of_the_budget_is_given_to_one_use() -> None:
    plan = gpu_memory_plan(InferenceSettings(vram_gib=SEED, max_loras=8), LLAMA_PACKED)
    assert plan.weights + plan.overhead + plan.slots * plan.slot + plan.kv_cache == plan.budget == int(SEED * 2**30)
    assert plan.tokens >= 2048, "one full context fits"


def test_where_slots_do_not_fit_there_are_fewer_and_where_they_do_the_cache_takes_the_rest() -> None:
    small, large = (gpu_memory_plan(InferenceSettings(vram_gib=vram, max_loras=8), LLAMA_PACKED) for vram in (SEED, 12))
    assert small.slots < 8 == large.slots
    assert large.tokens > 10 * small.tokens


def test_a_model_that_does_not_fit_is_refused_with_its_sizes() -> None:
    with pytest.raises(EngineStartFailed, match=r"inference\.vram_gib = 6\.9.*weights 14\.96 GiB.*adapter slot"):
        gpu_memory_plan(InferenceSettings(vram_gib=6.9), LLAMA)
    in_flight = gpu_memory_plan(InferenceSettings(vram_gib=8, quantization="bitsandbytes"), LLAMA)
    assert in_flight.weights == pytest.approx(6.03 * GB, rel=0.01), "4.5 bits a weight, embedding and head in 16"
