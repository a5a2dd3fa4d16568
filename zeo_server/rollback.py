"""Going back to an earlier transaction: a copy of the image's file that ends there takes its place; what was there is set aside, whole.

Which transaction is worth going back to, `python -m uvm.awakening.rewind` says.
"""

import os
import shutil
from pathlib import Path

from msgspec import Struct
from ZODB.FileStorage.FileStorage import FileIterator
from ZODB.POSException import POSError

from deploy.settings import Home
from zeo_server.backup import BackupError, save_blobs, set_aside, unused
from zeo_server.verify import SayProgress

_CHUNK = 1 << 22


class RolledBack(Struct, frozen=True):
    """The newest transaction now, in hex; how many are gone from the image; and where the image as it was lies, with its blobs."""

    tid: str
    transactions_gone: int
    database_bytes: int
    before: str


def rollback(home: Home, tid: bytes, progress: SayProgress = lambda *_: None) -> RolledBack:
    """Make `tid` the newest transaction. The service must be down. Raises BackupError, ImageInUse, OSError.

    The blobs stay: those that later transactions named are dropped by the next pack, and kept by what was set aside.
    """
    if not home.image_file.exists():
        raise BackupError(f"there is no image at {home.image_file}")
    with unused(home):
        end, gone = _end_of(home.image_file, tid)
        staged = home.path / "rolling-back.fs"
        _copy(home.image_file, staged, end, progress)
        aside = set_aside(home, "before-rollback", blobs=False)
        save_blobs(home.blobs, Path(aside) / home.blobs.name, False, progress)
        staged.rename(home.image_file)
        _sync_directory(home.path)
    return RolledBack(tid.hex(), gone, end, aside)


def _end_of(file: Path, tid: bytes) -> tuple[int, int]:
    """Where the transaction ends in the file, and how many readable ones follow."""
    end = following = 0
    try:
        for transaction in FileIterator(str(file)):
            if transaction.tid == tid:
                end, following = transaction._tend + 8, 0
            elif end:
                following += 1
    except (POSError, ValueError) as error:
        if not end:
            raise BackupError(f"{file} cannot be read as far as transaction {tid.hex()}: {error}; restore a backup") from error
    if not end:
        raise BackupError(f"{file} has no transaction {tid.hex()}; `batos image rollback --list` shows those there are")
    return end, following


def _copy(source: Path, target: Path, end: int, progress: SayProgress) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < end:
        raise BackupError(f"{target.parent} has {free} bytes free, and the image as of then takes {end}; make room and try again")
    with source.open("rb") as reader, target.open("wb") as writer:
        while (done := writer.tell()) < end:
            progress("copying", done, end)
            writer.write(reader.read(min(_CHUNK, end - done)))
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(source.stat().st_mode & 0o777)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
