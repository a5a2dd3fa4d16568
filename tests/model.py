"""The real language model for tests: the default model, converted once into `.cache/model` of the checkout and reused."""

import fcntl
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
_CONVERSION_S = 180


def converted_model() -> Path:
    """The directory of the default model; the first call takes about 15 s, also when several processes make it."""
    CACHE.mkdir(exist_ok=True)
    directory = CACHE / "model"
    with (CACHE / "model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            made = subprocess.run(
                [sys.executable, "-m", "inference_worker.convert", str(directory)],
                cwd=CACHE.parent,
                capture_output=True,
                text=True,
                timeout=_CONVERSION_S,
            )
            if made.returncode != 0:
                raise RuntimeError(f"the default model cannot be converted: {made.stderr.strip()}")
    return directory
