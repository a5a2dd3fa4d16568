"""vLLM's LoRA operations on a CPU, replaced: rows grouped by adapter once a step, one call a layer, nothing gathered.

plugin.py puts the class in vLLM's way. vLLM makes one object for each model, in the process that holds it, and calls it
in the thread that runs the model: `update_metadata` before a step whose rows or slots have changed, the `add_…` in each
layer. What is wrong in the original (0.32.0) and right here: a row without an adapter has slot -1, which the original
takes for the last slot, whose adapter then answers requests that named none.

With `$BATOS_LORA` at `python` torch computes the products, otherwise kernel.c where it can be built. The grouping of
rows by adapter is that of Punica (Chen et al., 2023, arXiv:2310.18547) and S-LoRA (Sheng et al., 2023, arXiv:2311.03285).
"""

import os
from typing import Any, TypeAlias

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from inference_worker.lora import kernel
from inference_worker.lora.modules import CompiledModule, Module, PlainModule
from inference_worker.lora.rows import StepRows

Weights: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...]


class GroupedLoRA(PunicaWrapperCPU):
    """What vLLM calls; see PunicaWrapperBase there for the meaning of the arguments."""

    def __init__(self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        self._kernel = None if os.environ.get("BATOS_LORA") == "python" else kernel.load()
        self._rows = StepRows(max_num_batched_tokens)
        self._sampled = StepRows(max_num_batched_tokens)
        # By the identity of the stacked B, which stays as long as the module does.
        self._modules: dict[int, Module] = {}
        self._owners: dict[int, int | None] = {}

    def update_metadata(self, mapping: Any, lora_index_to_id: list[int | None], max_loras: int, vocab_size: int, **kwargs: Any) -> None:
        # Fills the index tensors, which embeddings and classifiers read themselves.
        self._update_base_metadata(mapping, lora_index_to_id, max_loras, vocab_size)
        self._rows.fill(self.token_lora_indices.numpy())
        self._sampled.fill(self.sampler_indices.numpy())
        self.is_prefill = mapping.is_prefill
        self.no_lora = not self._rows.groups

    def prepare(self, slot: int, manager: Any) -> None:
        """Derive what the slot's new weights need now, instead of in the step that uses them first. Takes milliseconds.

        `manager` is vLLM's LoRAModelManager, which has just written the slot. Without this call the results are the same.
        """
        owners: list[int | None] = manager.lora_index_to_id
        changed = {index for index, owner in enumerate(owners) if index != slot and self._owners.get(index) != owner}
        for index in changed:
            self._owners[index] = None
        self._owners[slot] = owners[slot]
        for layer in manager.modules.values():
            if getattr(layer, "punica_wrapper", None) is self and (module := self._of_layer(layer)) is not None:
                module.prepare(slot, changed)
                _shorten(layer)

    def statistics(self) -> dict[str, Any]:
        """How the products are computed, for how many layers, and the bytes that are kept for it beside vLLM's weights."""
        computes = "python" if self._kernel is None else "compiled, bfloat16 pairs" if self._kernel.pairs else "compiled"
        return {"computes": computes, "layers": len(self._modules), "bytes": sum(module.nbytes for module in self._modules.values())}

    # --- what the layers call ---------------------------------------------------------------------------------------

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._rows.groups:
            module = self._modules.get(id(lora_b_stacked))
            if module is None:
                module = self._module(lora_a_stacked, lora_b_stacked, self._rows)
            module.add(y, x, scale)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        *,
        buffer: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        if self._sampled.groups:
            self._module(lora_a_stacked, lora_b_stacked, self._sampled).add(_flat(y), _flat(x), scale)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        if self._rows.groups:
            self._module((), lora_b_stacked, self._rows).add(_flat(y), _flat(x))

    def add_shrink(self, y: Weights, x: torch.Tensor, lora_a_stacked: tuple[torch.Tensor, ...], scale: float, **kwargs: Any) -> None:
        x = _flat(x)
        for index, weights in enumerate(lora_a_stacked):
            into = _flat(y[index])
            for slot, rows in self._rows.groups.items():
                place = slice(self._rows.rows) if rows is None else rows
                a = weights[slot, 0].to(into.dtype)
                into[place] += scale * (x[place].to(into.dtype) @ a.T)

    def add_expand(
        self,
        y: torch.Tensor,
        x: Weights,
        lora_b_stacked: tuple[torch.Tensor, ...],
        output_slices: tuple[int, ...],
        offset_start: int = 0,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        y = _flat(y)
        for index, weights in enumerate(lora_b_stacked):
            columns = slice(offset_start, offset_start + output_slices[index])
            for slot, rows in self._rows.groups.items():
                place = slice(self._rows.rows) if rows is None else rows
                delta = (x[index][place].to(weights.dtype) @ weights[slot, 0].T).to(y.dtype)
                y[place, columns] = y[place, columns] + delta if add_inputs else delta
            offset_start += output_slices[index]

    # --- the layers' weights ----------------------------------------------------------------------------------------

    def _module(self, a: Weights, b: Weights, batch: StepRows) -> Module:
        module = self._modules.get(id(b))
        if module is None:
            shrinks, expands = _tuple(a), _tuple(b)
            if self._kernel is not None and CompiledModule.takes(shrinks, expands):
                module = CompiledModule(self._kernel, shrinks, expands, batch)
            else:
                module = PlainModule(shrinks, expands, batch)
            self._modules[id(b)] = module
        return module

    def _of_layer(self, layer: Any) -> Module | None:
        a, b = getattr(layer, "lora_a_stacked", None), getattr(layer, "lora_b_stacked", None)
        if a is None or b is None:
            return None
        if isinstance(a, tuple):
            return self._module(a, b, self._rows)
        # The input embedding looks its A up by token: [slots, vocabulary, rank]. The output layer's is as in linear ones.
        return self._module((), b, self._rows) if a.dim() == 3 else self._module(a, b, self._sampled)


def _shorten(layer: Any) -> None:
    """Have the layer find its `base_layer` at once.

    vLLM's layers ask for it up to a dozen times in a call, each time through a `__getattr__` written in Python, which is
    asked only for what is not in `__dict__`. That was half of what a layer cost with an adapter. torch takes the entry
    out again when another base layer is set.
    """
    if (base := getattr(layer, "base_layer", None)) is not None:
        layer.__dict__["base_layer"] = base


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(-1, tensor.shape[-1])


def _tuple(weights: Weights) -> tuple[torch.Tensor, ...]:
    return (weights,) if isinstance(weights, torch.Tensor) else weights
