"""Measures every case, prints the table, and writes docs/ticks.md where all was measured. See the package."""

import gc
import sys
from pathlib import Path
from typing import Final

from benchmarks.ticks.bench import BUDGET, Bench
from benchmarks.ticks.case import Case
from benchmarks.ticks.coverage import ELSEWHERE, cases
from uvm.language import weights

ROUNDS: Final = 3
"""How often each case is measured; the least counts."""


def main() -> None:
    """Print the table."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    bench = Bench()
    chosen = cases(part)
    # The values of the cases are no part of what an operation makes Python look through.
    gc.collect()
    gc.freeze()
    # The rounds stand apart, so that what else the machine does at one time is not taken for a case's own.
    rounds = [[bench.seconds(case) for case in chosen] for _ in range(ROUNDS)]
    rows = sorted(((min(measured), case) for case, *measured in zip(chosen, *rounds, strict=True)), key=lambda row: row[0])
    for seconds, case in rows:
        print(f"{seconds:8.2f} s  {case.covers:<28} {case.shape}")
    print(summary(rows))
    if not part:
        write(rows)


def summary(rows: list[tuple[float, Case]]) -> str:
    """How far the cases are apart; `rows` are sorted."""
    least, low, high, largest = (rows[place][0] for place in (0, len(rows) // 20, -1 - len(rows) // 20, -1))
    apart = f"least {least:.2f} s, largest {largest:.2f} s, largest / least = {largest / least:.1f}"
    return f"{len(rows)} cases: {apart}; without a twentieth at either end {low:.2f} to {high:.2f} s"


def write(rows: list[tuple[float, Case]]) -> None:
    """Write docs/ticks.md."""
    about = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in about if line.startswith("model name")), "a processor without a name")
    text = [
        "# What ticks cost",
        "",
        f"CPU seconds for {BUDGET:,} ticks, the default budget of a message, spent in each operation of the language on small, large and",
        f"hostile values. Written by `python -m benchmarks.ticks` on {cpu}, Python {sys.version.split()[0]};",
        f"{summary(rows)}.",
        f"A tick is {weights.TICK} units of work; the charges are in `uvm/language/weights.py`, those by size with what they are for.",
        "What the table leaves out, since it ends the attempt or needs more than a method has: "
        + ", ".join(f"`{name.removeprefix('primitive ')}`" for name in ELSEWHERE)
        + ".",
        "",
        "| operation | values | seconds |",
        "| --- | --- | --- |",
        *(f"| `{case.covers}` | {case.shape} | {seconds:.2f} |" for seconds, case in sorted(rows, key=lambda row: row[1][:2])),
        "",
    ]
    (Path(__file__).parents[2] / "docs" / "ticks.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
