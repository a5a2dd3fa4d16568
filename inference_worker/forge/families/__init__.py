"""The task families, by group. Each module holds one group; a family is a function of a `Draw` that answers a `Method`."""

from types import ModuleType

from inference_worker.forge.draw import Family
from inference_worker.forge.families import (
    access,
    arithmetic,
    composed,
    conditions,
    counters,
    declining,
    dicts,
    display,
    flags,
    formulas,
    lists,
    moments,
    others,
    pairs,
    rows,
    series,
    text,
)

_MODULES = (
    access,
    arithmetic,
    composed,
    conditions,
    counters,
    declining,
    dicts,
    display,
    flags,
    formulas,
    lists,
    moments,
    others,
    pairs,
    rows,
    series,
    text,
)


def _collect(module: ModuleType) -> dict[str, Family]:
    group = module.__name__.rpartition(".")[2]
    return {f"{group}.{family.__name__}": family for family in module.FAMILIES}


def _weights(module: ModuleType) -> list[str]:
    group = module.__name__.rpartition(".")[2]
    return [f"{group}.{family.__name__}" for family in module.FAMILIES]


FAMILIES: dict[str, Family] = {name: family for module in _MODULES for name, family in _collect(module).items()}
"""Every family by `group.name`."""

WEIGHTED: tuple[str, ...] = tuple(name for module in _MODULES for name in _weights(module))
"""Names of families to draw from, those that deserve more tasks more than once."""
