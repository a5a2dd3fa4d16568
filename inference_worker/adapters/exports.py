"""What peers may read of the adapters here: the list of an adapter's files, and parts of them.

Called in the threads that serve, any of them; a lock guards the lists. Only files that the adapter's own list names are opened,
and only adapters whose files have their digest are given away.
"""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from deploy.digest import file_digest, listing_digest
from inference_worker.adapters.adapter import list_files
from inference_worker.adapters.catalogue import file_identity
from inference_worker.errors import BadAdapter
from inference_worker.protocol import File

LARGEST_CHUNK = 1 << 20
"""Bytes given at a time."""

_LISTS_KEPT = 1024


class Shelf:
    """The adapters of `directory`, for peers to read. Any thread may call it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._lists: OrderedDict[str, tuple[bytes | None, list[File]]] = OrderedDict()

    def files(self, digest: str) -> list[File]:
        """The list of an adapter's files, hashed once while they stay what they are. Raises BadAdapter."""
        path = self._directory / digest
        identity = file_identity(path)
        with self._lock:
            listing = self._lists.get(digest)
            if listing is not None and listing[0] == identity and identity is not None:
                self._lists.move_to_end(digest)
                return listing[1]
        try:
            sizes = list_files(path)
            listed = [File(path=name, size=sizes[name], sha256=file_digest(path / name)) for name in sorted(sizes)]
        except BadAdapter as error:
            raise BadAdapter(f"adapter {digest} is not given to peers: {error}") from error
        except OSError as error:
            raise BadAdapter(f"adapter {digest} cannot be read: {error}") from error
        if (actual := listing_digest({file.path: file.sha256 for file in listed})) != digest:
            raise BadAdapter(f"adapter {digest} is not given to peers: its files have the digest {actual}; they are damaged here")
        with self._lock:
            self._lists[digest] = (identity, listed)
            while len(self._lists) > _LISTS_KEPT:
                self._lists.popitem(last=False)
        return listed

    def read(self, digest: str, path: str, offset: int, length: int) -> bytes:
        """A part of one of its files, shorter than `length` at the end. Raises BadAdapter."""
        if all(file.path != path for file in self.files(digest)):
            raise BadAdapter(f"adapter {digest} has no file {path[:120]!r}; ask for the list of its files")
        try:
            handle = os.open(self._directory / digest / path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                return os.pread(handle, min(length, LARGEST_CHUNK), offset)
            finally:
                os.close(handle)
        except OSError as error:
            raise BadAdapter(f"adapter {digest}: {path} cannot be read: {error}") from error
