"""Short transactions of the kernel: retried on conflicts, patient with a ZEO server that is away, and sure of what happened.

Owned by the UVM's main thread. A commit whose acknowledgement was lost is looked up in the UVM's journal, never guessed.
"""

import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from transaction.interfaces import NoTransaction, TransientError
from ZEO.Exceptions import ClientDisconnected, ServerException
from ZODB.POSException import ConflictError, POSKeyError, StorageError

from uvm.errors import ImageFull
from uvm.image.changes import Changes
from uvm.image.image import Image
from uvm.image.journal import Journal
from uvm.protocol import Change

PATIENCE_S: Final = 60.0
"""How long the ZEO server may be away before the process gives up and is started anew."""
TRIES: Final = 40
FULL_TRIES: Final = 6
FULL_S: Final = (0.25, 0.5)
"""How often a transaction is tried on a disk without room, and the seconds between, least and most."""

log = structlog.get_logger()

_T = TypeVar("_T")

Publish = Callable[[bytes, list[Change]], None]
"""Publishes what a transaction changed."""


class ImageAway(Exception):
    """The ZEO server stayed away."""


def disk_full(error: Exception) -> ImageFull | None:
    """What a commit's error means, if it is that the server could not write."""
    if not isinstance(error, ServerException) or error.args[:1] != ("builtins.OSError",):
        return None
    reason = error.args[1][-1] if len(error.args) > 1 and error.args[1] else "an error of the disk"
    return ImageFull(f"the image's disk takes nothing more: {reason}", "nothing changed; make room on that disk, and send it again")


def back_off(tried: int) -> None:
    """Wait before a transaction that lost `tried` conflicts is tried again.

    Jitter, so that two processes that collide do not collide again in step; an eighth of a second at most, as others wait meanwhile.
    """
    time.sleep(random.uniform(0, 0.002 * 2 ** min(tried, 6)))


class Transactor:
    """Runs functions in transactions of their own. `idle` is called about four times a second while the image is away, and `publish`
    with what a transaction changed of the objects that tools see, once it is committed."""

    def __init__(self, image: Image, uvm: str, idle: Callable[[], None] = lambda: None, publish: Publish | None = None) -> None:
        self._image = image
        self._image.writer = uvm
        self._journal = Journal(image, uvm)
        self._idle = idle
        self._publish = publish

    def run(self, step: Callable[[], _T]) -> _T:
        """Run and commit. Raises what `step` raises (nothing is changed then), ConflictError after many tries, ImageFull, ImageAway."""
        refused = 0
        for tried in range(TRIES):
            mark = uuid.uuid4().hex
            result: _T
            changes, collected = Changes(self._image), list[Change]()
            try:
                self._image.manager.begin()
                result = step()
                self._journal.mark(mark)
                collected = changes.of_records() if self._publish is not None else []
                self._image.manager.commit()
                self._publish_changes(changes.settled(collected))
                return result
            except ConflictError:
                self.abort()
                if tried == TRIES - 1:
                    raise
                back_off(tried)
            except (ClientDisconnected, TransientError, StorageError) as error:
                self.abort()
                if isinstance(error, POSKeyError):
                    raise
                full = disk_full(error)
                if full is None:
                    self.wait_for_image()
                if self.look(lambda: self._journal.batch) == mark:
                    self._publish_changes(changes.settled(collected))
                    return result
                if full is not None:
                    refused += 1
                    self._wait_for_room(full, refused)
            except BaseException:
                self.abort()
                raise
        raise ConflictError("unreachable: the last try raises")

    def _publish_changes(self, changes: list[Change]) -> None:
        if changes and self._publish is not None:
            self._publish(self._journal.tid, changes)

    def look(self, step: Callable[[], _T]) -> _T:
        """Run on the newest state and change nothing."""
        while True:
            try:
                self._image.manager.begin()
                return step()
            except ClientDisconnected:
                self.abort()
                self.wait_for_image()
            finally:
                self.abort()

    def wait_for_image(self) -> None:
        """Wait until the ZEO server answers, and a moment longer: one whose disk is full answers as well. Raises ImageAway."""
        until = time.monotonic() + PATIENCE_S
        log.warning("the image is away; waiting", seconds=PATIENCE_S)
        while time.monotonic() < until:
            self._idle()
            time.sleep(0.1)
            try:
                self._image.manager.begin()  # asks the server, since the storage was opened with server_sync
                return
            except (ClientDisconnected, TransientError, StorageError):
                continue
            finally:
                self.abort()
        raise ImageAway(f"the ZEO server stayed away for {PATIENCE_S:g} s")

    def _wait_for_room(self, full: ImageFull, refused: int) -> None:
        if refused == 1:
            log.error("the image's disk is full", error=full.message)
        if refused >= FULL_TRIES:
            raise full
        self._idle()
        time.sleep(random.uniform(*FULL_S))

    def newest(self) -> bytes:
        """The newest transaction that this process knows of."""
        tid: bytes = self._image.database.storage.lastTransaction()
        return tid

    def record(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes] | None:
        """The record of an object as of a transaction, and the transaction that wrote it; None when there is none. Raises ImageAway."""
        while True:
            try:
                loaded = self._image.database.storage.loadBefore(oid, (int.from_bytes(tid) + 1).to_bytes(8))
            except POSKeyError:
                return None
            except ClientDisconnected:
                self.wait_for_image()
            else:
                return None if loaded is None else (loaded[0], loaded[1])

    def abort(self) -> None:
        """Abort what is open."""
        with suppress(NoTransaction):
            self._image.manager.abort()
