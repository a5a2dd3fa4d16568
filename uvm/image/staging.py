"""Where files wait on their way into the image: one import at a time, and nothing is left of one that died.

`staging` is held by the importer while it works. Whoever finds the place without its holder, the next importer or the heartbeat, empties
it: an import that was killed did not happen. What ZODB had already moved among the blobs by then is found by its name and removed as
well, once it is old enough to be nobody's who is committing.

Files: `blobs/tmp/import` (on the blobs' file system, so that a file becomes a blob by a rename), and `tmp/import.lock`.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.settings import Home
from uvm.errors import ImageError

_COMMITTING_S: Final = 600.0
"""How long a blob's temporary name may be that of a commit under way, seconds since it was given."""


class ImportUnderWay(ImageError):
    """Models and adapters come into an image one after another, and one is on its way."""


@contextmanager
def staging(home: Home) -> Iterator[Path]:
    """An empty directory of this process's own; what is in it at the end is removed. Raises ImportUnderWay."""
    with _locked(home) as mine:
        if not mine:
            raise ImportUnderWay("another import is under way in this home", "wait for its end, then import again")
        directory = _directory(home)
        _empty(home)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def sweep_staging(home: Home) -> bool:
    """Remove what an import that died has left; whether there was anything. Costs one look where nothing is."""
    if not _directory(home).is_dir():
        return False
    with _locked(home) as mine:
        return mine and _empty(home)


def _directory(home: Home) -> Path:
    return home.blobs / "tmp" / "import"


def _empty(home: Home) -> bool:
    directory = _directory(home)
    if not directory.is_dir():
        return False
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    # The place itself stays, as the sign that there may be more, until none of the blobs' temporary names is young.
    if not _sweep_blobs(home.blobs):
        directory.rmdir()
    return True


def _sweep_blobs(blobs: Path) -> bool:
    """Remove the files that ZODB had renamed to be blobs of a commit that never came; whether some may still be of one that comes."""
    young = False
    for directory, _, names in os.walk(blobs):
        for name in names:
            if name.endswith((".tmp", ".tmp-")):
                file = Path(directory, name)
                if time.time() - file.stat().st_ctime > _COMMITTING_S:
                    file.unlink()
                else:
                    young = True
    return young


@contextmanager
def _locked(home: Home) -> Iterator[bool]:
    """Hold the import's lock, if nobody else does; whether it is held."""
    lock = home.path / "tmp" / "import.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
