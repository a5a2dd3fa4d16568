"""The built-in machines, and where their numbers come from. Derived, not measured, unless a comment says so.

What fits into VRAM is what the engine's own memory plan says. A decode step on a GPU reads every weight once, the embedding
excepted, so it takes their bytes ÷ (memory bandwidth × efficiency); a context token costs its share of the KV cache read, an
adapter its own bytes. Any other machine is a TOML or JSON file with the fields of `SimulatedMachine`; it may say
`like = "seed"` and then name only what differs. Called by the simulator's one thread.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from deploy.settings import InferenceSettings
from inference_worker.adapters.adapter import BaseModel
from inference_worker.engine.memory_plan import gpu_memory_plan
from inference_worker.errors import EngineStartFailed
from inference_worker.simulator.machine import REFERENCE_RANK, LoraCost, MachineError, SimulatedMachine, Speed
from inference_worker.simulator.shapes import LLAMA_8B, SMOLLM2_135M

GB = 1e9
GIB = 2**30

VRAM_GIB = 6.9 * GB / GIB
"""What of an 8 GB card a process can have: 6.9 GB."""

_BANDWIDTH = 256 * GB  # GDDR6, 128 bit, 16 Gbit/s a pin: an RTX 4060 Laptop or its like
_EFFICIENCY = 0.7  # of that, what a matrix-vector product that unpacks 4-bit weights reaches
_PREFILL_TOKENS_S = 1500.0  # 2 × 8e9 operations a token at 24 of the card's 60 dense 16-bit TFLOPS
_LAUNCH_S = 6e-6  # of a CUDA kernel outside a graph


def seed_settings(slots: int = 6, rank: int = REFERENCE_RANK, **more: Any) -> InferenceSettings:
    """The settings of the worker on the seed's machine; slots are `max_loras`."""
    engine = {"max_loras": slots, "max_lora_rank": rank, "max_model_len": 2048}
    room = {"vram_gib": VRAM_GIB, "ram_gib": 20 * GB / GIB, "disk_gib": 800 * GB / GIB}
    return msgspec.convert(engine | room | more, InferenceSettings)


def gpu_machine(name: str, about: str, model: BaseModel, settings: InferenceSettings) -> SimulatedMachine:
    """A model of Llama-3.1-8B's shape on the card above, with its VRAM divided as the engine would divide it.

    Raises MachineError where the plan finds no room for one slot and one full context.
    """
    try:
        plan = gpu_memory_plan(settings, model)
    except EngineStartFailed as error:
        raise MachineError(f"{name}: {error}") from error
    speed = _BANDWIDTH * _EFFICIENCY
    embedding = next(tensor.end - tensor.begin for weight, tensor in model.tensors.items() if "embed" in weight)
    # Two kernels (shrink, expand) a layer for each of the four fused projections.
    lora = LoraCost(
        step_s=LLAMA_8B.layers * 4 * 2 * _LAUNCH_S,
        adapter_s=LLAMA_8B.rank_bytes * REFERENCE_RANK / speed,
        token_s=0.05 / _PREFILL_TOKENS_S,
    )
    return SimulatedMachine(
        name=name,
        about=about,
        step_s=(plan.weights - embedding) / speed,
        stream_s=0.0003,
        context_token_s=LLAMA_8B.kv_bytes / speed,
        prefill_token_s=1 / _PREFILL_TOKENS_S,
        request_s=0.005,
        start_s=40.0,
        lora=lora,
        # The same kernels: on a GPU we change the scheduling and not the arithmetic.
        stock_lora=lora,
        kv_tokens=plan.tokens,
        slots=plan.slots,
        max_rank=settings.max_lora_rank,
        ranks=[rank for rank in (8, 16) if rank <= settings.max_lora_rank],
        rank_bytes=LLAMA_8B.rank_bytes,
        # Of 32 GB the system, the service and the engine's own process keep 12.
        ram=int(settings.ram_gib * GIB),
        disk=int(settings.disk_gib * GIB),
        # NVMe on PCIe 4.0 reads 3.5 to 7 GB/s; sha256 at 2 GB/s and parsing follow one after the other.
        read=Speed(bytes_s=1.2 * GB, latency_s=0.003),
        # PCIe 4.0 x8 moves 16 GB/s; pinned buffers reach three quarters. Some hundred tensors, one copy each.
        commit=Speed(bytes_s=12 * GB, latency_s=0.003),
        fetch=Speed(bytes_s=0.11 * GB, latency_s=0.005),
        max_streams=settings.max_streams,
        reserved_streams=settings.reserved_streams,
        ageing_s=settings.ageing_s,
    )


GPTQ_BITS = 4.16
"""Bits a weight of GPTQ and AWQ in groups of 128: 4, a 16-bit scale and a 4-bit zero for each group."""

SEED = gpu_machine(
    "seed",
    "Llama-3.1-8B, GPTQ in 4 bits with the head packed too (5.0 GB), in 6.9 GB of VRAM; 20 of 32 GB of RAM, NVMe",
    LLAMA_8B.model(GPTQ_BITS, GPTQ_BITS),
    seed_settings(),
)

# NF4, a 32-bit scale for each 64 weights; embedding and head stay in 16 bits: 6.0 GB. Fits only where the 6.9 are GiB.
SEED_BNB = gpu_machine(
    "seed-bnb",
    "the same, quantized by bitsandbytes while it is loaded, in 6.9 GiB of VRAM",
    LLAMA_8B.model(),
    seed_settings(slots=3, quantization="bitsandbytes", vram_gib=6.9),
)

# Two cores, no GPU. Measured with `benchmarks/simulation.py`, rounded; the machine had other work, and another run may differ
# by a factor of two. `stock_lora` is what vLLM's own operations add, from their speed beside the base model's in one run:
# 0.55 of it with one stream and one adapter, 0.41 with eight over two.
HERE = SimulatedMachine(
    name="here",
    about="SmolLM2-135M in bfloat16 on two cores",
    step_s=0.022,
    stream_s=0.001,
    prefill_token_s=0.00065,
    request_s=0.005,
    start_s=25.0,
    lora=LoraCost(step_s=0.001, adapter_s=0.001, token_s=0.0001),
    stock_lora=LoraCost(step_s=0.015, token_s=0.0037),
    kv_tokens=int(0.5 * GIB // SMOLLM2_135M.kv_bytes),
    slots=4,
    rank_bytes=SMOLLM2_135M.rank_bytes,
    ram=GIB,
    read=Speed(bytes_s=0.12 * GB),
    commit=Speed(bytes_s=1 * GB),
)

BUILT_IN = {machine.name: machine for machine in (SEED, SEED_BNB, HERE)}
"""By name."""


def read_machine(name: str) -> SimulatedMachine:
    """A built-in machine by name, or one from a TOML or JSON file. Raises MachineError, OSError."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    file = Path(name)
    if not file.exists():
        raise MachineError(f"there is no machine {name!r}; built in are {', '.join(BUILT_IN)}, else name a TOML or JSON file")
    try:
        text = file.read_text()
        fields: dict[str, Any] = tomllib.loads(text) if file.suffix == ".toml" else msgspec.json.decode(text, type=dict)
        like = fields.pop("like", None)
        if like is not None and like not in BUILT_IN:
            raise MachineError(f"{file}: like = {like!r} is no machine; built in are {', '.join(BUILT_IN)}")
        base = msgspec.to_builtins(BUILT_IN[like]) if like is not None else {}
        return msgspec.convert(_merged(base, fields | {"name": fields.get("name", file.stem)}), SimulatedMachine)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MachineError(f"{file}: {error}") from error


def _merged(base: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in fields.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
