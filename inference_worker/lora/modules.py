"""The adapters' part of one layer of the model: y += x·Aᵀ·Bᵀ, each row with its own adapter's A and B.

Used by punica.py, in the thread that runs the model. The weights are vLLM's: for each slice of the layer's output (q, k
and v, or gate and up, or the one that there is) all slots stacked, filled up with zeros to the largest rank allowed. What
is kept here is derived from them, for the rank that a slot's adapter really has.

It is derived anew when vLLM has written to the weights: torch counts the writes to a tensor (`_version`). The count is
for all slots together, so one that was not announced by `prepare` costs each slot another look.
"""

from abc import ABC, abstractmethod

import numpy
import torch

from inference_worker.lora.kernel import MAX_RANK, Kernel
from inference_worker.lora.rows import StepRows

PARALLEL = 4_000_000
"""Multiplications in one call from which it takes more than one thread; see docs/decisions/0008-lora-on-the-processor.md."""


class Module(ABC):
    """One layer.

    a: for each slice [slots, 1, rank, inputs]; none where x comes as x·Aᵀ already (embeddings). b: for each slice
    [slots, 1, outputs, rank]. batch: whose rows x and y hold.
    """

    def __init__(self, a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...], batch: StepRows) -> None:
        self.a, self.b, self.batch = a, b, batch
        self._inputs = a[0].shape[3] if a else 0
        self._outputs = sum(slice_b.shape[2] for slice_b in b)
        self._written = b[0]
        self._version = -1
        self._serial = -1
        self._derived: set[int] = set()

    @abstractmethod
    def add(self, y: torch.Tensor, x: torch.Tensor, scale: float = 1.0) -> None:
        """y [rows, outputs] += scale · x [rows, inputs] · Aᵀ · Bᵀ, in place. Rows past the batch's are left alone."""

    @abstractmethod
    def _derive(self, slot: int) -> None:
        """Make what is kept for the slot from its weights."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes kept beside vLLM's weights."""

    def prepare(self, slot: int, changed: set[int]) -> None:
        """The slot's weights have just been written; those of the slots in `changed` may have been; no others."""
        self._version = self._written._version
        self._derived -= changed
        self._serial = -1
        self._derive(slot)
        self._derived.add(slot)

    def _current(self) -> None:
        """The batch or the weights have changed since the last call: derive what is missing."""
        if self._version != self._written._version:
            self._version = self._written._version
            self._derived.clear()
        for slot in self.batch.groups.keys() - self._derived:
            self._derive(slot)
            self._derived.add(slot)
        self._serial = self.batch.serial

    def _check(self, y: torch.Tensor, x: torch.Tensor) -> None:
        """Raises ValueError for shapes that the batch and the weights do not fit."""
        (rows, inputs), (into, outputs) = x.shape, y.shape
        if rows < self.batch.rows or into < self.batch.rows:
            raise ValueError(f"the batch names the adapters of {self.batch.rows} rows, but the layer was given {min(rows, into)}")
        if inputs < self._inputs or outputs < self._outputs:
            raise ValueError(f"adapters turn {self._inputs} values into {self._outputs}, but the layer has {inputs} and {outputs}")


class CompiledModule(Module):
    """With kernel.c. Rows that it was not compiled for (another type, scaled) go the way of `PlainModule`."""

    def __init__(self, kernel: Kernel, a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...], batch: StepRows) -> None:
        super().__init__(a, b, batch)
        self._kernel = kernel
        self._dtype = b[0].dtype
        self._wide = int(self._dtype == torch.float32)
        self._slots = b[0].shape[0]
        self._packed: dict[int, list[torch.Tensor]] = {}
        self._plain = PlainModule(a, b, batch)
        # module_t of kernel.c: seven words, then five for each slot and slice.
        self._memory = numpy.zeros(7 + 5 * self._slots * len(b), dtype=numpy.int64)
        self._memory[:7] = self._inputs, len(b), self._slots, self._wide, PARALLEL, batch.head_address, batch.rows_address
        self._table = self._memory[7:].reshape(self._slots, len(b), 5)
        self._address = self._memory.ctypes.data
        self._size = self._written.element_size()
        self._call = kernel.add

    @staticmethod
    def takes(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> bool:
        """Whether the kernel computes with weights like these."""
        dtype = b[0].dtype
        return (
            dtype in (torch.bfloat16, torch.float32)
            and all(tensor.dtype == dtype and tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in (*a, *b))
            and max(tensor.shape[3] for tensor in b) <= MAX_RANK
        )

    def add(self, y: torch.Tensor, x: torch.Tensor, scale: float = 1.0) -> None:
        if self._serial != self.batch.serial or self._version != self._written._version:
            self._current()
        dtype = self._dtype
        x_step, y_step = x.stride(), y.stride()
        if x.dtype is not dtype or y.dtype is not dtype or x_step[1] != 1 or y_step[1] != 1 or scale != 1.0:
            return self._plain.add(y, x, scale)
        self._check(y, x)
        size = self._size
        self._call(self._address, x.data_ptr(), x_step[0] * size, y.data_ptr(), y_step[0] * size)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensors in self._packed.values() for tensor in tensors)

    def _derive(self, slot: int) -> None:
        kernel, wide = self._kernel, self._wide
        self._packed[slot] = []
        offset = 0
        for index, b in enumerate(self.b):
            _, _, outputs, columns = b.shape
            weights = b.data_ptr() + slot * outputs * columns * self._size
            rank = kernel.rank(weights, outputs, columns, wide)
            packed = torch.empty(kernel.packed(outputs, rank, wide), dtype=b.dtype)
            kernel.pack(weights, outputs, columns, rank, wide, packed.data_ptr())
            shrinking = self.a[index].data_ptr() + slot * self.a[index][0].numel() * self._size if self.a else 0
            self._packed[slot].append(packed)
            self._table[slot, index] = rank, outputs, offset, shrinking, packed.data_ptr()
            offset += outputs


class PlainModule(Module):
    """With torch: one product with all slices' A, one with each B, for each adapter of the batch."""

    def __init__(self, a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...], batch: StepRows) -> None:
        super().__init__(a, b, batch)
        # For each slot: all A as [inputs, ranks], and for each slice its columns of x·A, its columns of y, and B as [rank, outputs].
        self._weights: dict[int, tuple[torch.Tensor | None, list[tuple[slice, slice, torch.Tensor]]]] = {}

    def add(self, y: torch.Tensor, x: torch.Tensor, scale: float = 1.0) -> None:
        if self._serial != self.batch.serial or self._version != self._written._version:
            self._current()
        self._check(y, x)
        for slot, rows in self.batch.groups.items():
            shrink, expands = self._weights[slot]
            if not expands:
                continue
            whole = rows is None and y.shape[0] == self.batch.rows
            place = slice(self.batch.rows) if rows is None else rows
            target = y if whole else y[place]
            shrunk = x if whole else x[place]
            if shrink is not None:
                shrunk = shrunk.to(shrink.dtype) @ shrink
            if scale != 1.0:
                shrunk = shrunk * scale
            for among, into, b in expands:
                if target.dtype == b.dtype:
                    target[:, into].addmm_(shrunk[:, among].to(b.dtype), b)
                else:
                    target[:, into] += (shrunk[:, among].to(b.dtype) @ b).to(target.dtype)
            if not whole:
                y[place] = target

    @property
    def nbytes(self) -> int:
        # B is seen where it lies; A is a copy where it was put together of several.
        return sum(shrink.nbytes for shrink, expands in self._weights.values() if shrink is not None and len(expands) > 1)

    def _derive(self, slot: int) -> None:
        shrinks: list[torch.Tensor] = []
        expands: list[tuple[slice, slice, torch.Tensor]] = []
        begin = offset = 0
        for index, b in enumerate(self.b):
            outputs = b.shape[2]
            weights = b[slot, 0]
            used = weights.any(dim=0).nonzero()
            rank = int(used[-1]) + 1 if len(used) else 0
            if rank:
                if self.a:
                    shrinks.append(self.a[index][slot, 0, :rank])
                expands.append((slice(begin, begin + rank), slice(offset, offset + outputs), weights[:, :rank].T))
                begin += rank
            offset += outputs
        shrink = None if not shrinks else shrinks[0].T if len(shrinks) == 1 else torch.cat(shrinks).T
        self._weights[slot] = shrink, expands
