"""The image's storage: ZODB's FileStorage, whose blobs are on the disk before the transaction that names them is.

Opened by the ZEO server's main thread, or by `python -m zeo_server.image` when no server runs; FileStorage's own lock
file lets one process in at a time.
"""

import os
from pathlib import Path
from typing import Any

import zc.lockfile
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError
from ZODB.serialize import ObjectWriter
from ZODB.utils import z64

from deploy.settings import Home
from zeo_server.resolvable import resolvable


class ImageInUse(Exception):
    """Another process has the image open for writing."""


class ImageStorage(FileStorage):
    """FileStorage with durable blobs, and with a count of conflicts.

    ZODB renames a blob into its place and syncs nothing: after a power cut the transaction may be there and the blob
    empty. Here the blob's bytes and the directories that name it are synced before the vote ends.
    """

    resolved = 0
    unresolved = 0

    def storeBlob(self, oid: bytes, oldserial: bytes, data: bytes, blobfilename: str, version: str, transaction: Any) -> None:
        _sync(Path(blobfilename))
        super().storeBlob(oid, oldserial, data, blobfilename, version, transaction)
        directory = Path(self.fshelper.getPathForOID(oid))
        base = Path(self.fshelper.base_dir)
        while directory != base and base in directory.parents:
            _sync(directory)
            directory = directory.parent

    def tryToResolveConflict(self, oid: bytes, committed: bytes, old: bytes, record: bytes, committed_record: bytes = b"") -> Any:
        try:
            if not self._resolvable(oid, committed, old, record):
                raise ConflictError(oid=oid, serials=(committed, old), data=record)
            resolved = super().tryToResolveConflict(oid, committed, old, record, committed_record)
        except ConflictError:
            self.unresolved += 1
            raise
        self.resolved += 1
        return resolved

    def _resolvable(self, oid: bytes, committed: bytes, old: bytes, record: bytes) -> bool:
        try:
            return resolvable(record) and resolvable(self.loadSerial(oid, committed)) and resolvable(self.loadSerial(oid, old))
        except POSKeyError:  # a pack has dropped the revision that both sides began with
            return False


def open_storage(home: Home, *, read_only: bool = False) -> ImageStorage:
    """Open the image for this process; a new one gets its root. Raises ImageInUse when another has it, OSError when it cannot be read."""
    try:
        storage = ImageStorage(str(home.image_file), blob_dir=str(home.blobs), read_only=read_only, pack_keep_old=False)
    except zc.lockfile.LockError as error:
        raise ImageInUse(f"{home.image_file} is open in process {holder(home)}; stop that one, or choose another BATOS_HOME") from error
    if not read_only:
        _make_root(storage)
    return storage


def _make_root(storage: ImageStorage) -> None:
    """Store the empty root of a new image.

    Each client would do so when it connects and finds none, and of several that connect at once all but the first would fail.
    Whoever has the storage open alone does it before anybody can.
    """
    try:
        storage.load(z64)
        return
    except POSKeyError:
        pass
    birth = TransactionMetaData(description="initial database creation")
    storage.tpc_begin(birth)
    try:
        storage.store(z64, z64, ObjectWriter().serialize(PersistentMapping()), "", birth)
        storage.tpc_vote(birth)
        storage.tpc_finish(birth)
    except BaseException:
        storage.tpc_abort(birth)
        raise


def holder(home: Home) -> str:
    """The process id in the image's lock file, or '?'. Stale when nobody holds the lock."""
    try:
        return home.image_file.with_name(home.image_file.name + ".lock").read_text().strip() or "?"
    except OSError:
        return "?"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
