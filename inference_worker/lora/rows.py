"""Which rows of the batch belong to which slot: made once a step, read by every module of the model."""

from typing import Any

import numpy
import torch

NONE = -1
"""The slot of a row without an adapter, as vLLM writes it."""


class StepRows:
    """The rows of one step by slot, as Python reads them and, at fixed addresses, as kernel.c does (`batch_t` there).

    serial: changes with each step's mapping. rows: how many the mapping was made for. groups: slot → its rows, for slots
    that have any, or None where they are all rows there are.
    """

    def __init__(self, capacity: int) -> None:
        self.serial = 0
        self.rows = 0
        self.groups: dict[int, torch.Tensor | None] = {}
        self._head = numpy.zeros(2 + 3 * capacity, dtype=numpy.int64)
        self._rows = numpy.zeros(capacity, dtype=numpy.int64)
        self.head_address = self._head.ctypes.data
        self.rows_address = self._rows.ctypes.data

    def fill(self, slots: "numpy.ndarray[Any, numpy.dtype[numpy.int64]]") -> None:
        """`slots`: the slot of each row, or NONE."""
        self.serial += 1
        self.rows = len(slots)
        order = numpy.argsort(slots, kind="stable")
        numbers, counts = numpy.unique(slots, return_counts=True)
        begins = numpy.cumsum(counts) - counts
        self._rows[: len(order)] = order
        self.groups = {}
        for slot, begin, count in zip(numbers.tolist(), begins.tolist(), counts.tolist(), strict=True):
            if slot == NONE:
                continue
            self._head[2 + 3 * len(self.groups) :][:3] = slot, begin, count
            self.groups[slot] = None if count == self.rows else torch.from_numpy(order[begin : begin + count])
        self._head[:2] = len(self.groups), self.rows
