"""The result: rows of figures, each with its goal, and whether it was met; drawn by rich, written as JSON."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.serving.loads import median


class Row(Struct, frozen=True, kw_only=True):
    """One line. `stock` and `ours`: what is shown. `met` is None when there is no goal, or nothing to judge. `raw`: every figure."""

    name: str
    stock: str = "–"
    ours: str = "–"
    goal: str = "–"
    met: bool | None = None
    note: str = ""
    raw: dict[str, Any] = {}


def ratio_row(
    name: str, unit: str, values: dict[str, list[float]], better: str, goal: float | None, note: str = "", scale: float = 1.0
) -> Row:
    """Ratios to `base`, round by round, so that what slows the machine for a while touches both; the median, and the range.

    `better`: higher or lower. A round in which a contestant has no figure does not count.
    """
    cells: dict[str, str] = {}
    medians: dict[str, float] = {}
    for contestant in ("stock", "ours"):
        ratios = [mine / base for mine, base in zip(values.get(contestant, []), values["base"], strict=False)]
        medians[contestant] = median(ratios)
        if ratios:
            own = median(values[contestant]) * scale
            cells[contestant] = f"{medians[contestant]:.2f}  ({min(ratios):.2f}–{max(ratios):.2f})  {own:.3g} {unit}"
    sign = "≥" if better == "higher" else "≤"
    ours = medians["ours"]
    met = None if goal is None or math.isnan(ours) else (ours >= goal if better == "higher" else ours <= goal)
    return Row(
        name=name,
        stock=cells.get("stock", "–"),
        ours=cells.get("ours", "not measured"),
        goal=f"{sign} {goal:g} × base" if goal is not None else "–",
        met=met,
        note=note or f"base {median(values['base']) * scale:.3g} {unit}",
        raw={"unit": unit, "scale": scale, "values": values},
    )


def draw(rows: Sequence[Row], title: str) -> None:
    """The table, to standard output."""
    table = Table(title=title, title_justify="left")
    for column in ("measured", "stock", "ours", "goal", "met", "note"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.name, row.stock, row.ours, row.goal, {True: "yes", False: "NO", None: "–"}[row.met], row.note)
    Console(width=None if Console().is_terminal else 190).print(table)


def write(rows: Sequence[Row], machine: dict[str, Any], file: Path) -> None:
    """All figures, as JSON."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": machine, "rows": rows}), indent=1) + b"\n")
