"""The morph tree in a terminal: `render` turns it into something that rich prints. Pure; any thread may call it.

Texts of the image are never read as rich's markup, and their control characters are made visible.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ui_client import morphs, values
from ui_client.morphs import Button, Column, Field, Graph, Items, Label, Morph, Picture, Row
from uvm.protocol import Reference

_BARS = "▁▂▃▄▅▆▇█"
_GRAPH_WIDTH = 60
_ITEMS_SHOWN = 50

Names = Mapping[Reference, str]


def render(tree: Morph, names: Names | None = None, title: str = "") -> Panel:
    """The whole tree in a frame; `names` gives references the names that people know."""
    heading = Text(values.showable(title)) if title else None
    return Panel(_morph(tree, names or {}), title=heading, box=box.ROUNDED, expand=False, padding=(0, 1))


def render_value(value: Any, names: Names | None = None, title: str = "") -> RenderableType:
    """Any value: a tree as a tree, everything else as a line; a broken tree as its plain value with what is wrong."""
    if not morphs.is_morph(value):
        return Text(values.show(value, names))
    try:
        return render(morphs.parse(value), names, title)
    except morphs.MorphError as error:
        return Group(Text(values.show(value, names)), Text(values.showable(str(error)), style="yellow"))


def sparkline(numbers: Sequence[float], width: int = _GRAPH_WIDTH) -> str:
    """The numbers as a line of bars, at most `width` wide (neighbours are averaged); what is not finite is a space."""
    bins = _binned(numbers, width)
    finite = [number for number in bins if math.isfinite(number)]
    if not finite:
        return " " * len(bins)
    low, high = min(finite), max(finite)
    # Halved, because the difference of two finite floats can be infinite.
    span = high / 2 - low / 2

    def bar(number: float) -> str:
        if not math.isfinite(number):
            return " "
        return _BARS[3] if span == 0 else _BARS[round((number / 2 - low / 2) / span * (len(_BARS) - 1))]

    return "".join(bar(number) for number in bins)


def _binned(numbers: Sequence[float], width: int) -> list[float]:
    if len(numbers) <= width:
        return list(numbers)
    edges = [index * len(numbers) // width for index in range(width + 1)]
    return [_mean(numbers[first:last]) for first, last in pairwise(edges)]


def _mean(numbers: Sequence[float]) -> float:
    # Divided first, because the sum of finite floats can be infinite.
    return math.fsum(number / len(numbers) for number in numbers) if all(map(math.isfinite, numbers)) else math.nan


def _morph(morph: Morph, names: Names) -> RenderableType:
    match morph:
        case Column():
            return _column(morph.children, names)
        case Row():
            return _row(morph.children, names)
        case Label():
            return Text(values.showable(morph.text), style="bold")
        case Field():
            return _fields([morph], names)
        case Button():
            return Text(f"[ {values.showable(morph.text)} ]", style="bold cyan")
        case Items():
            return _items(morph, names)
        case Graph():
            return _graph(morph)
        case Picture():
            caption = f": {values.showable(morph.caption)}" if morph.caption else ""
            return Text(f"(image, {morph.width} by {morph.height} pixels{caption})", style="italic")


def _column(children: Sequence[Morph], names: Names) -> RenderableType:
    # Fields that follow each other share one grid, so that their values stand below each other.
    lines: list[RenderableType] = []
    fields: list[Field] = []
    for child in children:
        if isinstance(child, Field):
            fields.append(child)
            continue
        if fields:
            lines.append(_fields(fields, names))
            fields = []
        lines.append(_morph(child, names))
    if fields:
        lines.append(_fields(fields, names))
    return Group(*lines)


def _row(children: Sequence[Morph], names: Names) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for _ in children:
        grid.add_column()
    grid.add_row(*(_morph(child, names) for child in children))
    return grid


def _fields(fields: Sequence[Field], names: Names) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for field in fields:
        grid.add_row(Text(f"{values.showable(field.name)}:"), Text(values.show(field.value, names)))
    return grid


def _items(items: Items, names: Names) -> RenderableType:
    lines: list[RenderableType] = [Text(values.showable(items.title), style="bold")] if items.title else []
    lines += [Text(f"• {values.show(value, names)}") for value in items.values[:_ITEMS_SHOWN]]
    if not items.values:
        lines.append(Text("(none)", style="dim"))
    if len(items.values) > _ITEMS_SHOWN:
        lines.append(Text(f"… and {len(items.values) - _ITEMS_SHOWN} more", style="dim"))
    return Group(*lines)


def _graph(graph: Graph) -> RenderableType:
    finite = [number for number in graph.numbers if math.isfinite(number)]
    scale = f"  {min(finite):g} … {max(finite):g}" if finite else "  no numbers"
    return Group(Text(values.showable(graph.title), style="bold"), Text(sparkline(graph.numbers)).append(scale, style="dim"))
