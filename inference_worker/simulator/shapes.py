"""Language models that are not here, by their shapes: what the memory plan needs to know, without the files. Pure.

Sizes follow from a model's configuration. So the simulated machine divides its VRAM with the very function that the engine
is started with (`memory_plan.gpu_memory_plan`).
"""

from pathlib import Path

from msgspec import Struct

from inference_worker.adapters.adapter import BaseModel
from inference_worker.adapters.safetensors_file import Tensor


class Shape(Struct, frozen=True):
    """A Llama-like model, as its config.json has it. `tied`: the head is the embedding."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool = False

    def linears(self) -> dict[str, tuple[int, int]]:
        """A layer's linear modules: name → (outputs, inputs)."""
        query, key = self.heads * self.head, self.kv_heads * self.head
        attention = {"q": (query, self.hidden), "k": (key, self.hidden), "v": (key, self.hidden), "o": (self.hidden, query)}
        inner = {"gate": (self.intermediate, self.hidden), "up": (self.intermediate, self.hidden), "down": (self.hidden, self.intermediate)}
        return {f"self_attn.{name}_proj": shape for name, shape in attention.items()} | {
            f"mlp.{name}_proj": shape for name, shape in inner.items()
        }

    @property
    def rank_bytes(self) -> int:
        """Bytes of an adapter on all linear layers for each unit of its rank, 16-bit."""
        return 2 * self.layers * sum(outputs + inputs for outputs, inputs in self.linears().values())

    @property
    def kv_bytes(self) -> int:
        """Bytes of the KV cache for each token, 16-bit: keys and values."""
        return 2 * 2 * self.layers * self.kv_heads * self.head

    def model(self, linear_bits: float = 16, head_bits: float = 16) -> BaseModel:
        """The model's files with so many bits a weight of the linear layers and of the head; 16 is bfloat16, which the embedding has."""
        tensors = {}
        for layer in range(self.layers):
            for name, shape in self.linears().items():
                tensors.update(_tensor(f"model.layers.{layer}.{name}", shape, linear_bits))
        tensors.update(_tensor("model.embed_tokens", (self.vocabulary, self.hidden), 16))
        if not self.tied:
            tensors.update(_tensor("lm_head", (self.vocabulary, self.hidden), head_bits))
        config = {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 131_072,
        }
        packed: dict[str, object] = {"quantization_config": {}} if linear_bits < 16 else {}
        return BaseModel("simulated", Path(), tensors, config | packed)


def _tensor(module: str, shape: tuple[int, int], bits: float) -> dict[str, Tensor]:
    size = round(shape[0] * shape[1] * bits / 8)
    if bits == 16:
        return {f"{module}.weight": Tensor("BF16", shape, 0, size)}
    # As GPTQ and AWQ name what they pack; its shape says nothing about the layer's.
    return {f"{module}.qweight": Tensor("I32", (size // 4, 1), 0, size)}


LLAMA_8B = Shape(layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, head=128, vocabulary=128_256)
"""Llama-3.1-8B-Instruct."""

SMOLLM2_135M = Shape(layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, head=64, vocabulary=49_152, tied=True)
"""SmolLM2-135M-Instruct, the default model."""
