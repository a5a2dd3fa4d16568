"""How a process comes to the image: a ZEO client over the Unix socket, with an allow-list for what a record may name."""

import errno
from pathlib import Path

# ZEO imports it at the first connection. A confined process can load no library any more, and would get the slow one in Python.
import msgpack  # noqa: F401
from ZEO.ClientStorage import ClientStorage

from deploy.settings import Configuration
from uvm.image.image import Database, Image


class ImageUnreachable(Exception):
    """The ZEO server did not answer in time; the message says where it was looked for."""


class ImageClient(ClientStorage):
    """ZEO's client, which gives new objects only numbers that the server it is connected to has handed out.

    A server counts on from the largest number that was stored: one that was started anew hands out again what the one before it
    had handed out and nobody had stored yet. ZEO's client keeps such numbers over a reconnection (up to 100 of them), and each of
    them that another client has used by then is a lost conflict of its own.
    """

    _handed_out_in = 0

    def new_oid(self) -> bytes:
        """The number of a new object. Called by the thread that owns the image."""
        generation = self._connection_generation
        if generation != self._handed_out_in:
            self._oids.clear()
            self._handed_out_in = generation
        oid: bytes = super().new_oid()
        return oid


def open_image(configuration: Configuration, wait_s: float | None = None) -> Image:
    """Connect to the ZEO server. Raises ImageUnreachable after `wait_s` (default `image.wait_timeout_s`) seconds."""
    settings = configuration.settings.image
    wait = settings.wait_timeout_s if wait_s is None else wait_s
    try:
        storage = ImageClient(
            str(configuration.home.zeo_socket),
            wait_timeout=wait,
            cache_size=settings.cache_mb * 1_000_000,
            blob_dir=str(configuration.home.blobs),
            shared_blob_dir=True,
            server_sync=True,
        )
    except Exception as error:
        raise ImageUnreachable(
            f"no image answers at {configuration.home.zeo_socket}: {error}; batos up starts it, batos logs image tells more"
        ) from error
    # A lost server must not block a commit for long: the message is retried, or answered with an error.
    storage._server.timeout = settings.wait_timeout_s
    return Image(Database(storage, cache_size=1_000_000, cache_size_bytes=settings.object_cache_mb * 1_000_000))


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file appear at `target`: a hard link, or a copy across file systems or where links are not allowed."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        with source.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(1 << 22):
                writer.write(chunk)
