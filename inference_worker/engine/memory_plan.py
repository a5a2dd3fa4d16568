"""Where the bytes of an engine go: adapter slots, KV cache, and on a GPU the weights and what the framework takes.

Pure functions of the settings and of what the model's files say; nothing here imports vLLM or looks at a device. The
sizes of weights, slots and KV cache follow from the model's shapes; what the framework takes is an estimate.
"""

import math
from typing import Any

from msgspec import Struct

from deploy.settings import InferenceSettings
from inference_worker.adapters.adapter import BaseModel
from inference_worker.adapters.safetensors_file import Tensor
from inference_worker.errors import EngineStartFailed

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
# What is not settled is a plan for another machine, with a GPU: see deploy/data_type.py.
_DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 2}
_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")

BATCHED_TOKENS = 2048
"""Tokens of one step where the memory is planned: longer prompts are taken in pieces, so that the activations are bounded."""

FRAMEWORK = 500 * 2**20
"""CUDA context, kernels' workspaces and the allocator's slack, bytes: an estimate, to be set right on the first GPU."""

# NF4 holds a weight in 4 bits and one float32 scale for 64 weights (QLoRA, https://arxiv.org/abs/2305.14314).
_IN_FLIGHT_BITS = {"bitsandbytes": 4.5}


class MemoryPlan(Struct, frozen=True):
    """Bytes of VRAM by use, for one engine. `slot`: one adapter slot; `slots`: how many fit; `tokens`: that the KV cache holds."""

    budget: int
    weights: int
    overhead: int
    slot: int
    slots: int
    kv_cache: int
    tokens: int


def padded_rank(rank: int) -> int:
    """The rank that every slot is made for: vLLM takes only some."""
    return next((allowed for allowed in _RANKS if allowed >= rank), _RANKS[-1])


def slot_bytes(settings: InferenceSettings, model: BaseModel) -> int:
    """Bytes of one hot slot: A and B of every linear layer, padded to the rank, in the engine's data type."""
    per_rank = sum(inputs + outputs for outputs, inputs in _linear_shapes(model).values())
    return per_rank * padded_rank(settings.max_lora_rank) * _width(settings)


def target_modules(model: BaseModel) -> list[str] | None:
    """The layers that get slots: the model's linear ones; None leaves the choice to vLLM, where the names are unfamiliar.

    Validation refuses adapters of the embedding, so slots for it would be filled with zeros and multiplied at each token.
    """
    modules = {name.rsplit(".", 2)[-2] for name in _linear_names(model)}
    return sorted(modules) if modules and modules <= set(_LINEAR) else None


def gpu_memory_plan(settings: InferenceSettings, model: BaseModel) -> MemoryPlan:
    """How `vram_gib` is used: weights and framework first, then room for one full context, then slots, then more KV cache.

    As many slots as `max_loras`, fewer where they do not fit. Raises EngineStartFailed when not even one slot and one full
    context do, naming the bytes of each.
    """
    budget = int(settings.vram_gib * 2**30)
    weights, overhead, slot = _weight_bytes(settings, model), _overhead(settings, model), slot_bytes(settings, model)
    context, per_token = _context(settings, model), kv_token_bytes(settings, model)
    left = budget - weights - overhead - context * per_token
    slots = min(settings.max_loras, left // slot if slot else settings.max_loras)
    if slots < 1:
        raise EngineStartFailed(
            f"model {model.digest} does not fit in inference.vram_gib = {settings.vram_gib}: weights {_gib(weights)}, framework"
            f" {_gib(overhead)}, {context} tokens of KV cache {_gib(context * per_token)}, one adapter slot {_gib(slot)}; raise"
            f" vram_gib, or lower max_model_len or max_lora_rank, or take a model in fewer bits"
        )
    kv_cache = budget - weights - overhead - slots * slot
    return MemoryPlan(budget, weights, overhead, slot, slots, kv_cache, kv_cache // per_token)


def kv_token_bytes(settings: InferenceSettings, model: BaseModel) -> int:
    """Bytes of KV cache for one token: keys and values of all layers."""
    heads = _number(model.config, "num_attention_heads", 1)
    head = _number(model.config, "head_dim", _number(model.config, "hidden_size", 1) // heads)
    keys = _number(model.config, "num_key_value_heads", heads) * head
    return 2 * _number(model.config, "num_hidden_layers", 1) * keys * _width(settings)


def _weight_bytes(settings: InferenceSettings, model: BaseModel) -> int:
    """As the files have it where they are packed already; else in the engine's type, linear layers in the plugin's bits."""
    bits = _IN_FLIGHT_BITS.get(settings.quantization) if "quantization_config" not in model.config else None
    linear = {name for name in _linear_names(model) if not name.endswith("lm_head.weight")}
    total = 0.0
    for name, tensor in model.tensors.items():
        if tensor.dtype not in _BYTES:
            total += tensor.end - tensor.begin
        elif bits is not None and name in linear:
            total += math.prod(tensor.shape) * bits / 8
        else:
            total += math.prod(tensor.shape) * _width(settings)
    return math.ceil(total)


def _overhead(settings: InferenceSettings, model: BaseModel) -> int:
    """The framework, the activations of one step (the widest layer's input and output twice), and the logits in float32."""
    hidden, inner = _number(model.config, "hidden_size", 1), _number(model.config, "intermediate_size", 1)
    activations = BATCHED_TOKENS * 2 * (hidden + 2 * inner) * _width(settings)
    logits = 2 * settings.max_streams * _number(model.config, "vocab_size", 1) * 4
    return FRAMEWORK + activations + logits


def _linear_names(model: BaseModel) -> list[str]:
    """Names of the weights of linear layers, however they are packed."""
    return [name for name, tensor in model.tensors.items() if name.endswith((".weight", "qweight")) and _is_linear(name, tensor)]


def _is_linear(name: str, tensor: Tensor) -> bool:
    return len(tensor.shape) == 2 and "embed" not in name.rsplit(".", 2)[-2]


def _linear_shapes(model: BaseModel) -> dict[str, tuple[int, int]]:
    """Name → (outputs, inputs). A packed weight's shape says nothing, so that it follows from the configuration."""
    shapes = {}
    for name in _linear_names(model):
        tensor = model.tensors[name]
        if tensor.dtype in _BYTES:
            shapes[name] = (tensor.shape[0], tensor.shape[1])
        elif (shape := _configured_shape(name.rsplit(".", 2)[-2], model.config)) is not None:
            shapes[name] = shape
    return shapes


def _configured_shape(module: str, config: dict[str, Any]) -> tuple[int, int] | None:
    hidden, inner, heads = (_number(config, key, 1) for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    head = _number(config, "head_dim", hidden // heads)
    query, key = heads * head, _number(config, "num_key_value_heads", heads) * head
    return {
        "q_proj": (query, hidden),
        "k_proj": (key, hidden),
        "v_proj": (key, hidden),
        "o_proj": (hidden, query),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
        "lm_head": (_number(config, "vocab_size", 1), hidden),
    }.get(module)


def _context(settings: InferenceSettings, model: BaseModel) -> int:
    return min(settings.max_model_len, _number(model.config, "max_position_embeddings", settings.max_model_len))


def _width(settings: InferenceSettings) -> int:
    return _DTYPES[settings.dtype]


def _number(config: dict[str, Any], key: str, otherwise: int) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else otherwise


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
