"""The compiled half of the LoRA operations: builds kernel.c with the machine's gcc at first use, and loads it.

Called in the engine's process that holds the model, by the thread that runs it. The result is kept in the directory
named by `$BATOS_KERNELS` (a temporary one, for this process alone, where that is not set), under the digest of the
source, the compiler's version and the processor's features, so that another machine, compiler or release builds its
own. Without gcc, or when it fails, there is no kernel, and punica.py computes the same with torch.
"""

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SOURCE = Path(__file__).with_name("kernel.c")
MAX_RANK = 512
"""Largest rank that the kernel has room for; vLLM allows no larger one."""

_GCC_S = 60
_COMPILE = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-c", "-x", "c")
# The loops are OpenMP's, and no library is linked: the functions are found among those that torch has loaded for itself,
# so that both use one pool of threads. Where torch brought none, the kernel is built without, and computes alone.
_THREADS = ("-fopenmp", "-fopenmp-simd")
_LINK = ("-shared", "-nostartfiles", "-nodefaultlibs")


class Kernel:
    """The functions of a loaded kernel.c; see there."""

    def __init__(self, path: Path) -> None:
        # PyDLL keeps the interpreter's lock: given up and taken back around each of some hundred calls a token, it would
        # go to the thread that parses adapters, which holds it for milliseconds.
        library = ctypes.PyDLL(str(path))
        self.add = library.lora_add
        self.add.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
        self.add.restype = None
        self.rank = library.lora_rank
        self.rank.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        self.rank.restype = ctypes.c_int64
        self.packed = library.lora_packed
        self.packed.argtypes = (ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        self.packed.restype = ctypes.c_int64
        self.pack = library.lora_pack
        self.pack.argtypes = (ctypes.c_void_p, *(ctypes.c_int64,) * 4, ctypes.c_void_p)
        self.pack.restype = None
        self.pairs = bool(library.lora_pairs())


@functools.cache
def load() -> Kernel | None:
    """The kernel of this process, built if need be; None, and a warning in the log, where it cannot be had."""
    configured = os.environ.get("BATOS_KERNELS")
    try:
        if configured:
            return built(Path(configured))
        with tempfile.TemporaryDirectory(prefix="kernels") as directory:
            # Loaded, it needs its file no more.
            return built(Path(directory))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the LoRA kernel cannot be built: adapters are computed in Python, more slowly", error=_reason(error))
        return None


def built(directory: Path, gcc: str = "gcc", flags: tuple[str, ...] = ()) -> Kernel:
    """The kernel in `directory`, compiled unless it lies there already. `flags` come last. Raises OSError and SubprocessError."""
    failure: Exception = OSError("nothing was tried")
    for threads in _THREADS:
        compiling = (*_COMPILE, threads, *flags)
        path = directory / f"lora-{_key(gcc, compiling)}.so"
        try:
            if not path.exists():
                _compile(path, gcc, compiling)
            return Kernel(path)
        except (OSError, subprocess.CalledProcessError) as error:
            failure = error
    raise failure


def _compile(path: Path, gcc: str, flags: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Another process may be building it as well: each renames its own, complete file.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as scratch:
        objects, library = Path(scratch) / "kernel.o", Path(scratch) / path.name
        _run(gcc, *flags, str(SOURCE), "-o", str(objects))
        _run(gcc, *_LINK, str(objects), "-o", str(library))
        library.rename(path)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_GCC_S).stdout


def _key(gcc: str, flags: tuple[str, ...]) -> str:
    parts = (SOURCE.read_text("utf-8"), _run(gcc, "--version"), " ".join(flags), platform.machine(), _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    """The features that `-march=native` goes by."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _reason(error: Exception) -> str:
    return error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) and error.stderr else str(error)
