"""The LoRA operations without an engine: right for each row, whatever is in the batch, compiled and in Python."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm.distributed.device_communicators import shm_broadcast
from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms.cpu import CpuPlatform

from inference_worker.lora import kernel, plugin
from inference_worker.lora.punica import GroupedLoRA

SLOTS, COLUMNS, CAPACITY = 3, 16, 512
NUMBERS: list[int | None] = [11, 12, None]
"""The adapters in the slots; 0 is none."""


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATOS_KERNELS", str(tmp_path_factory.mktemp("kernels")))
        kernel.load.cache_clear()
        yield
        kernel.load.cache_clear()


def operations(how: str) -> Any:
    if how == "stock":
        return PunicaWrapperCPU(CAPACITY, 8, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATOS_LORA", how)
        wrapper = GroupedLoRA(CAPACITY, 8, "cpu")
    assert wrapper.statistics()["computes"].startswith("python" if how == "python" else "compiled")
    return wrapper


def step(
    wrapper: Any, adapters: list[int], sampled: list[int] | None = None, numbers: list[int | None] = NUMBERS, prefill: bool = True
) -> None:
    mapping = SimpleNamespace(index_mapping=tuple(adapters), prompt_mapping=tuple(sampled or adapters), is_prefill=prefill)
    wrapper.update_metadata(mapping, numbers, SLOTS + 1, 100)


class Layer:
    """Weights of a layer as vLLM stacks them, and what it should add, in float64."""

    punica_wrapper: Any  # vLLM's layers are given it once they are made

    def __init__(self, inputs: int, outputs: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.lora_a_stacked: Any = tuple(torch.zeros(SLOTS, 1, COLUMNS, inputs, dtype=dtype) for _ in outputs)
        self.lora_b_stacked: Any = tuple(torch.zeros(SLOTS, 1, size, COLUMNS, dtype=dtype) for size in outputs)

    def fill(self, slot: int, ranks: tuple[int, ...]) -> None:
        for a, b, rank in zip(self.lora_a_stacked, self.lora_b_stacked, ranks, strict=True):
            a[slot] = b[slot] = 0
            a[slot, 0, :rank] = self.normal(rank, self.inputs) / self.inputs**0.5
            b[slot, 0, :, :rank] = self.normal(b.shape[2], rank)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.random).to(self.dtype)

    def reference(self, y: torch.Tensor, x: torch.Tensor, slots: list[int]) -> torch.Tensor:
        expected = y.double()
        for row, slot in enumerate(slots):
            if slot >= 0:
                deltas = [
                    b[slot, 0].double() @ (a[slot, 0].double() @ x[row].double())
                    for a, b in zip(self.lora_a_stacked, self.lora_b_stacked, strict=True)
                ]
                expected[row] += torch.cat(deltas)
        return expected

    def add(self, wrapper: Any, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        wrapper.add_lora_linear(y, x, self.lora_a_stacked, self.lora_b_stacked, 1.0, self.outputs)
        return y


def close(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    # bfloat16 keeps 8 bits: one rounding between the products and one or two after them, of values around 4.
    tolerance = {"rtol": 0.02, "atol": 0.08} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(actual.double(), expected, **tolerance)


@pytest.mark.parametrize("how", ["auto", "python"])
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0, 11, 12]), min_size=1, max_size=40),
    st.sampled_from([(32, (16,)), (7, (5,)), (70, (64, 24, 24)), (576, (48, 17))]),
    st.lists(st.integers(0, COLUMNS), min_size=6, max_size=6),
    st.sampled_from([torch.bfloat16, torch.float32]),
    st.booleans(),
)
def test_each_row_gets_its_own_adapter_and_one_without_is_left_alone(
    how: str, adapters: list[int], shape: tuple[int, tuple[int, ...]], ranks: list[int], dtype: torch.dtype, prefill: bool
) -> None:
    layer = Layer(*shape, dtype)
    for slot in range(2):
        layer.fill(slot, tuple(ranks[3 * slot :][: len(layer.outputs)]))
    layer.fill(2, (COLUMNS,) * len(layer.outputs))  # retired, but its weights are there still
    wrapper = operations(how)
    step(wrapper, adapters, prefill=prefill)
    y, x = layer.normal(len(adapters), sum(layer.outputs)), layer.normal(len(adapters), layer.inputs)
    slots = [{0: -1, 11: 0, 12: 1}[adapter] for adapter in adapters]
    before, expected = y.clone(), layer.reference(y, x, slots)
    close(layer.add(wrapper, y, x), expected, dtype)
    untouched = [row for row, slot in enumerate(slots) if slot < 0]
    assert torch.equal(y[untouched], before[untouched])


@pytest.mark.parametrize("how", ["auto", "python"])
@pytest.mark.parametrize("rows", [1, 3, 17, 300])
def test_long_prompts_and_rows_that_do_not_lie_next_to_each_other(how: str, rows: int) -> None:
    layer = Layer(64, (32,), torch.bfloat16)
    layer.fill(0, (16,))
    wrapper = operations(how)
    step(wrapper, [11] * rows)
    y, x = layer.normal(rows, 40)[:, 4:36], layer.normal(rows, 96)[:, 16:80]
    expected = layer.reference(y, x, [0] * rows)
    close(layer.add(wrapper, y, x), expected, torch.bfloat16)


def test_on_threads_the_results_are_bit_for_bit_those_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for parallel in (0, 2**60):
        monkeypatch.setattr("inference_worker.lora.modules.PARALLEL", parallel)
        layer = Layer(64, (32, 16), torch.bfloat16)
        layer.fill(0, (16, 8))
        layer.fill(1, (5, 3))
        wrapper = operations("auto")
        step(wrapper, [11, 0, 12] * 60)
        results.append(layer.add(wrapper, layer.normal(180, 48), layer.normal(180, 64)))
    assert torch.equal(*results)


@pytest.mark.parametrize("how", ["auto", "python"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_slot_that_gets_another_adapter_answers_with_it(how: str, announced: bool) -> None:
    layer = Layer(32, (16,), torch.bfloat16)
    wrapper = operations(how)
    manager = SimpleNamespace(lora_index_to_id=list(NUMBERS), modules={"layer": layer})
    layer.punica_wrapper = wrapper
    y, x = layer.normal(2, 16), layer.normal(2, 32)
    for slot, rank in ((0, 16), (1, 4), (0, 8), (1, 16), (0, 0)):
        layer.fill(slot, (rank,))
        manager.lora_index_to_id[slot] = 11 + slot
        if announced:
            wrapper.prepare(slot, manager)
        step(wrapper, [11, 12])
        close(layer.add(wrapper, y.clone(), x), layer.reference(y, x, [0, 1]), torch.bfloat16)


@pytest.mark.parametrize("how", ["auto", "python"])
def test_a_slot_that_was_written_unannounced_is_noticed_when_another_one_is_announced(how: str) -> None:
    layer = Layer(32, (16,), torch.float32)
    wrapper = operations(how)
    layer.punica_wrapper = wrapper
    y, x = layer.normal(2, 16), layer.normal(2, 32)
    layer.fill(1, (16,))
    wrapper.prepare(1, SimpleNamespace(lora_index_to_id=[None, 12, None], modules={"layer": layer}))
    step(wrapper, [12, 12], numbers=[None, 12, None])
    layer.add(wrapper, y.clone(), x)
    layer.fill(1, (8,))
    layer.fill(0, (4,))
    wrapper.prepare(0, SimpleNamespace(lora_index_to_id=[11, 13, None], modules={"layer": layer}))
    step(wrapper, [11, 13], numbers=[11, 13, None])
    close(layer.add(wrapper, y.clone(), x), layer.reference(y, x, [0, 1]), torch.float32)


@pytest.mark.parametrize("how", ["auto", "python"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_logits_go_by_the_adapter_of_the_request_that_is_sampled(how: str, dtype: torch.dtype) -> None:
    layer = Layer(32, (48,), dtype)
    layer.fill(0, (16,))
    layer.fill(1, (6,))
    wrapper = operations(how)
    step(wrapper, [11] * 5 + [0] * 4 + [12], sampled=[11, 0, 12])
    y, x = layer.normal(3, 48), layer.normal(3, 32)
    expected = layer.reference(y, x, [0, -1, 1])
    wrapper.add_lora_logits(y, x, layer.lora_a_stacked[0], layer.lora_b_stacked[0], 1.0)
    close(y, expected, dtype)


@pytest.mark.parametrize("how", ["auto", "python"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_embeddings_go_by_the_adapter_of_each_token(how: str, dtype: torch.dtype) -> None:
    layer = Layer(32, (48,), dtype)
    layer.fill(0, (16,))
    layer.fill(1, (6,))
    wrapper = operations(how)
    step(wrapper, [11, 0, 12])
    y, shrunk = layer.normal(3, 48), layer.normal(3, COLUMNS)
    expected = y.double()
    for row, slot in ((0, 0), (2, 1)):
        expected[row] += layer.lora_b_stacked[0][slot, 0].double() @ shrunk[row].double()
    wrapper.add_lora_embedding(y, shrunk, layer.lora_b_stacked[0])
    close(y, expected, dtype)


@pytest.mark.parametrize("how", ["auto", "python"])
def test_the_two_products_one_after_the_other_are_the_same_as_both_at_once(how: str) -> None:
    layer = Layer(32, (16, 24), torch.float32)
    layer.fill(0, (16, 4))
    layer.fill(1, (2, 8))
    wrapper = operations(how)
    step(wrapper, [11, 0, 12, 11])
    y, x = layer.normal(4, 40), layer.normal(4, 32)
    at_once = layer.add(wrapper, y.clone(), x)
    shrunk = torch.zeros(2, 4, COLUMNS)
    wrapper.add_shrink(shrunk, x, layer.lora_a_stacked, 1.0)
    wrapper.add_expand(y, shrunk, layer.lora_b_stacked, layer.outputs)
    torch.testing.assert_close(y, at_once)


def test_the_original_gives_a_row_without_adapter_that_of_the_last_slot_and_ours_does_not() -> None:
    layer = Layer(32, (16,), torch.float32)
    layer.fill(0, (16,))
    layer.fill(2, (16,))
    y, x = layer.normal(2, 16), layer.normal(2, 32)
    answers = {}
    for how in ("stock", "auto", "python"):
        wrapper = operations(how)
        step(wrapper, [11, 0], numbers=[11, None, 13])
        answers[how] = layer.add(wrapper, y.clone(), x)
    close(answers["stock"], layer.reference(y, x, [0, 2]), torch.float32)
    for how in ("auto", "python"):
        close(answers[how], layer.reference(y, x, [0, -1]), torch.float32)


@pytest.mark.parametrize("how", ["auto", "python"])
def test_a_layer_that_has_fewer_rows_or_columns_than_the_adapters_is_refused_before_memory_is_touched(how: str) -> None:
    layer = Layer(32, (16,), torch.float32)
    layer.fill(0, (16,))
    wrapper = operations(how)
    step(wrapper, [11, 11])
    with pytest.raises(ValueError, match="2 rows, but the layer was given 1"):
        layer.add(wrapper, layer.normal(1, 16), layer.normal(1, 32))
    with pytest.raises(ValueError, match="turn 32 values into 16, but the layer has 32 and 12"):
        layer.add(wrapper, layer.normal(2, 12), layer.normal(2, 32))


@pytest.mark.parametrize("flags", [("-march=x86-64",), ("-mno-avx512bf16",), ("-mno-avx512f",)])
def test_a_kernel_for_a_lesser_processor_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("flags of x86-64")
    lesser = kernel.built(tmp_path, flags=flags)
    assert not lesser.pairs
    monkeypatch.setattr(kernel, "load", lambda: lesser)
    for dtype in (torch.bfloat16, torch.float32):
        layer = Layer(70, (64, 17), dtype)
        layer.fill(0, (16, 5))
        wrapper = operations("auto")
        step(wrapper, [11, 0, 11])
        y, x = layer.normal(3, 81), layer.normal(3, 70)
        expected = layer.reference(y, x, [0, -1, 0])
        close(layer.add(wrapper, y, x), expected, dtype)


def test_without_gcc_adapters_are_computed_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    kernel.load.cache_clear()
    try:
        assert GroupedLoRA(CAPACITY, 8, "cpu").statistics()["computes"] == "python"
    finally:
        kernel.load.cache_clear()


def test_a_kernel_is_compiled_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.built(tmp_path)
    files = sorted(tmp_path.iterdir())
    monkeypatch.setattr(kernel, "_compile", lambda *_: pytest.fail("compiled again"))
    kernel.built(tmp_path)
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(("setting", "ours"), [(None, False), ("stock", False), ("auto", True), ("python", True)])
def test_vllm_is_left_as_it_is_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch, setting: str | None, ours: bool) -> None:
    # Put back afterwards, whatever `register` does.
    monkeypatch.setattr(CpuPlatform, "get_punica_wrapper", CpuPlatform.get_punica_wrapper)
    monkeypatch.setattr(shm_broadcast, "SpinCondition", SpinCondition)
    if setting is None:
        monkeypatch.delenv("BATOS_LORA", raising=False)
    else:
        monkeypatch.setenv("BATOS_LORA", setting)
    plugin.register()
    assert (CpuPlatform.get_punica_wrapper() == plugin.OPERATIONS) == ours
    assert (shm_broadcast.SpinCondition is not SpinCondition) == ours
