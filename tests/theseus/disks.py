"""A small disk in a directory's place: a file system of its own in memory, which really fills up. It needs a host that lets us mount."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIES = 50


class NoMount(Exception):
    """This host lets us mount nothing."""


@contextmanager
def small_disk(place: Path, octets: int) -> Iterator[None]:
    """Have a directory lie on a disk of so many bytes, until the end of the block; then the directory is gone. Raises NoMount."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={octets},mode=0755", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        place.rmdir()
        raise NoMount(done.stderr.decode(errors="replace").strip())
    try:
        yield
    finally:
        for _ in range(_TRIES):  # whoever had a file open there is ending
            if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.2)
        shutil.rmtree(place, ignore_errors=True)
