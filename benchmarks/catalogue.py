"""Ten thousand adapters registered: the memory of the catalogue, and the time until it is open, cold and warm.

The floor of the memory is what must be known of each adapter, its digest and its size, as raw bytes; the floor of the time is a
process that lists the directory. Each opening is a process of its own. The weights are one file, linked.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import structlog

from inference_worker.adapters.catalogue import Catalogue

COUNT = 10_000
ROUNDS = 3
RAW = 32 + 8
"""Bytes of a digest and a size."""

CONFIG = '{{"peft_type": "LORA", "r": {rank}, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": null}}'


def make(directory: Path) -> None:
    """Directories that look like adapters; nothing reads their weights here."""
    weights = directory.parent / "adapter_model.safetensors"
    weights.write_bytes(bytes(4096))
    for number in range(COUNT):
        place = directory / f"{number:064x}"
        place.mkdir(parents=True)
        (place / "adapter_config.json").write_text(CONFIG.format(rank=8 << number % 3))
        (place / "adapter_model.safetensors").hardlink_to(weights)


def opening(directory: Path, index: Path) -> float:
    """Seconds from the call until the catalogue is open, in a new process; it is saved afterwards."""
    done = subprocess.run([sys.executable, __file__, str(directory), str(index)], capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def listing(directory: Path) -> float:
    """Seconds to list the directory and keep the digests as bytes."""
    began = time.perf_counter()
    with os.scandir(directory) as entries:
        digests = {bytes.fromhex(entry.name) for entry in entries if re.fullmatch("[0-9a-f]{64}", entry.name)}
    seconds = time.perf_counter() - began
    if len(digests) != COUNT:
        raise RuntimeError(f"{len(digests)} directories are there instead of {COUNT}")
    return seconds


def memory(directory: Path, index: Path) -> int:
    """Bytes that an open catalogue holds."""
    tracemalloc.start()
    catalogue = Catalogue.open(directory, index)
    octets = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    if len(catalogue) != COUNT:
        raise RuntimeError(f"the catalogue has {len(catalogue)} adapters instead of {COUNT}")
    return octets


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if len(sys.argv) == 3:
        began = time.perf_counter()
        catalogue = Catalogue.open(Path(sys.argv[1]), Path(sys.argv[2]))
        print(time.perf_counter() - began)
        catalogue.save()
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory, index = Path(scratch) / "adapters", Path(scratch) / "adapters.index"
        make(directory)
        floor = min(listing(directory) for _ in range(ROUNDS))
        cold = opening(directory, index)
        warm = sorted(opening(directory, index) for _ in range(ROUNDS))[ROUNDS // 2]
        octets, raw, saved = memory(directory, index), COUNT * RAW, index.stat().st_size
        print(f"{COUNT:,} adapters registered")
        print(
            f"memory  {octets / 1e6:8.2f} MB, {octets / raw:5.1f} × the raw bytes of digests and sizes"
            f" ({octets / COUNT:.0f} bytes an adapter)"
        )
        print(f"index   {saved / 1e6:8.2f} MB, {saved / raw:5.1f} × the raw bytes")
        print(f"cold    {cold:8.3f} s,  {cold / floor:5.1f} × listing the directory")
        print(f"warm    {warm:8.3f} s,  {warm / floor:5.1f} × listing the directory, {cold / warm:.0f} × faster than cold")


if __name__ == "__main__":
    main()
