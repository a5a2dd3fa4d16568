"""Which adapters lie in the home: ten thousand of them in a few megabytes, known again at once after a restart.

Any thread may call it; a lock guards the table, and no file is read while it is held. The worker's event loop asks `lookup` and
`refresh`; `check`, which reads whole adapters, is for the thread that loads.

An adapter whose bytes passed all checks is remembered by the identity of its files (device, inode, size, times of change of each):
while that stays, its bytes are not hashed again, in this process or the next. What is remembered lies in one file, which is a cache:
deleted, damaged or of another version, it is ignored, and everything is looked at again.

    the file: MessagePack [version, sha256 of body, body], body: MessagePack [mtime of the directory in ns, [entry…]]
    an entry: [digest (32 bytes), bytes on disk, rank, fetched, identity (16 bytes, empty when not verified)]
"""

import hashlib
import os
import re
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from inference_worker.adapters.adapter import CONFIG, LARGEST_JSON, Adapter, BaseModel, Unsound, check_adapter
from inference_worker.adapters.quarantine import Quarantine
from inference_worker.errors import BadAdapter

log = structlog.get_logger(__name__)

FETCHED = ".fetched"
"""Name of the file that marks an adapter as fetched from a peer; it holds the peer's address and is no part of the digest."""

MOST = 1_000_000
"""Adapters that one catalogue holds; further ones are not listed."""

_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A change within one tick of the file system's clock after a scan does not show in the directory's time.
_TICK_NS = 2_000_000_000
_LARGEST_RANK = 65_535


class _Entry(Struct, array_like=True, frozen=True, gc=False):
    size: int
    rank: int
    fetched: bool
    identity: bytes


class _Saved(Struct, array_like=True, frozen=True, gc=False):
    digest: bytes
    size: int
    rank: int
    fetched: bool
    identity: bytes


class _Body(Struct, array_like=True, frozen=True):
    directory_ns: int
    entries: list[_Saved]


class _File(Struct, array_like=True, frozen=True):
    version: int
    checksum: bytes
    body: bytes


class CatalogueEntry(Struct, frozen=True):
    """One adapter on this disk. `size`: bytes of its files; `rank`: what its configuration says, 0 when that cannot be read.

    `verified`: its bytes passed all checks once and its files are, as far as was last seen, the same. `fetched`: it came from a peer.
    """

    digest: str
    size: int
    rank: int
    verified: bool
    fetched: bool


class CatalogueChanges(Struct, frozen=True):
    """What `refresh` found: adapters that appeared, and digests of those that vanished; not what `lookup` and `check` told before."""

    appeared: list[CatalogueEntry]
    vanished: list[str]


class Catalogue:
    """The adapters in one directory. Make it with `open`."""

    def __init__(self, directory: Path, index: Path, quarantine: Quarantine) -> None:
        self._directory = directory
        self._index = index
        self._quarantine = quarantine
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        # Of the last scan; 0 when it cannot be trusted to tell whether something changed.
        self._directory_ns = 0
        self._dirty = False

    @classmethod
    def open(cls, directory: Path, index: Path, quarantine: Quarantine | None = None) -> "Catalogue":
        """The catalogue of `directory`, as `index` remembers it and the disk has it now. Raises OSError when there is no such directory."""
        catalogue = cls(directory, index, quarantine or Quarantine(directory))
        began = time.monotonic()
        for place in directory.glob(".deleting-*"):
            shutil.rmtree(place, ignore_errors=True)
        remembered = catalogue._load()
        catalogue.refresh()
        count = len(catalogue._entries)
        log.info("catalogue of adapters opened", adapters=count, remembered=remembered, seconds=round(time.monotonic() - began, 3))
        return catalogue

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterator[CatalogueEntry]:
        """All adapters, in no order."""
        with self._lock:
            pairs = list(self._entries.items())
        return (_public(digest, entry) for digest, entry in pairs)

    def lookup(self, digest: str) -> CatalogueEntry | None:
        """One adapter; its owner may have put it there just now. None when it is not there."""
        key = bytes.fromhex(digest)
        if (entry := self._entries.get(key)) is None:
            if (entry := _look(self._directory / digest)) is None:
                return None
            self._set(key, entry)
        return _public(key, entry)

    def refresh(self) -> CatalogueChanges:
        """Take up what appeared and drop what vanished since the last time; cheap when the directory did not change."""
        now, changed = time.time_ns(), self._directory.stat().st_mtime_ns
        if changed == self._directory_ns:
            return CatalogueChanges([], [])
        with os.scandir(self._directory) as entries:
            here = {bytes.fromhex(entry.name) for entry in entries if _DIGEST.fullmatch(entry.name)}
        with self._lock:
            missing = self._entries.keys() - here
        # What `lookup` found after the scan is there all the same.
        vanished = [key for key in missing if not (self._directory / key.hex()).is_dir()]
        for key in vanished:
            self._drop(key)
        appeared = []
        for key in here - self._entries.keys():
            if (entry := _look(self._directory / key.hex())) is not None and self._set(key, entry):
                appeared.append(_public(key, entry))
        self._directory_ns = changed if now - changed > _TICK_NS else 0
        self._dirty = True
        return CatalogueChanges(appeared, [key.hex() for key in vanished])

    def check(self, digest: str, model: BaseModel, max_rank: int) -> Adapter:
        """Read and check an adapter for a base model; its bytes are read only once while its files stay what they are.

        Raises BadAdapter. One whose bytes are wrong is moved to quarantine and leaves the catalogue.
        """
        path, key = self._directory / digest, bytes.fromhex(digest)
        before = file_identity(path)
        entry = self._entries.get(key)
        verified = before is not None and entry is not None and entry.identity == before
        try:
            adapter = check_adapter(path, digest, model, max_rank, verified)
        except Unsound as error:
            if self._quarantine.put(digest, str(error)):
                self._drop(key)
            raise
        except BadAdapter:
            if before is None:
                self._drop(key)
            raise
        # Files that changed while they were read were not those that were checked.
        if not verified and before is not None and before == file_identity(path) and (current := _look(path)) is not None:
            self._set(key, _Entry(current.size, adapter.rank, current.fetched, before))
        return adapter

    def delete(self, digest: str) -> bool:
        """Delete an adapter that was fetched from a peer. False, and nothing is done, when it is none such: another owns it."""
        path = self._directory / digest
        if not (path / FETCHED).is_file() or path.is_symlink():
            return False
        going = self._directory / f".deleting-{digest}"
        shutil.rmtree(going, ignore_errors=True)
        path.rename(going)
        shutil.rmtree(going, ignore_errors=True)
        self._drop(bytes.fromhex(digest))
        return True

    def save(self) -> None:
        """Write the index if something changed. A failure is logged: the next start then looks at everything again."""
        if not self._dirty:
            return
        with self._lock:
            self._dirty = False
            entries = [_Saved(digest, entry.size, entry.rank, entry.fetched, entry.identity) for digest, entry in self._entries.items()]
        body = msgspec.msgpack.encode(_Body(self._directory_ns, entries))
        scratch = self._index.with_name(f"{self._index.name}.{os.getpid()}")
        try:
            self._index.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(msgspec.msgpack.encode(_File(_VERSION, hashlib.sha256(body).digest(), body)))
            scratch.replace(self._index)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            log.warning("the index of adapters is not written; the next start takes longer", file=str(self._index), error=str(error))

    def statistics(self) -> dict[str, int]:
        """Counts and bytes on disk."""
        with self._lock:
            entries = list(self._entries.values())
        return {
            "registered": len(entries),
            "verified": sum(1 for entry in entries if entry.identity),
            "fetched": sum(1 for entry in entries if entry.fetched),
            "bytes": sum(entry.size for entry in entries),
        }

    def _load(self) -> int:
        try:
            # An entry takes about 70 bytes; a file far beyond that is not ours.
            if self._index.stat().st_size > 200 * MOST:
                raise ValueError(f"it is larger than {200 * MOST} bytes")
            file = msgspec.msgpack.decode(self._index.read_bytes(), type=_File)
            if file.version != _VERSION or hashlib.sha256(file.body).digest() != file.checksum:
                raise ValueError("it is of another version or damaged")
            body = msgspec.msgpack.decode(file.body, type=_Body)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            log.warning("the index of adapters is ignored", file=str(self._index), reason=str(error))
            return 0
        self._directory_ns = body.directory_ns
        self._entries = {saved.digest: _Entry(saved.size, saved.rank, saved.fetched, saved.identity) for saved in body.entries}
        return len(self._entries)

    def _set(self, key: bytes, entry: _Entry) -> bool:
        with self._lock:
            if len(self._entries) >= MOST and key not in self._entries:
                return False
            self._entries[key] = entry
            self._dirty = True
        return True

    def _drop(self, key: bytes) -> None:
        with self._lock:
            self._dirty |= self._entries.pop(key, None) is not None


def _public(key: bytes, entry: _Entry) -> CatalogueEntry:
    return CatalogueEntry(key.hex(), entry.size, entry.rank, bool(entry.identity), entry.fetched)


def _look(path: Path) -> _Entry | None:
    """A directory as its files' sizes and its configuration show it; nothing is judged here. None when it is no directory."""
    try:
        with os.scandir(path) as entries:
            # A link is no adapter's, wherever it leads: it is counted as what it is, and refused when the files are checked.
            sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries if not entry.is_dir(follow_symlinks=False)}
    except OSError:
        return None
    size = sum(size for name, size in sizes.items() if not name.startswith("."))
    return _Entry(size, _rank(path / CONFIG) if sizes.get(CONFIG, 0) <= LARGEST_JSON else 0, FETCHED in sizes, b"")


class _Ranks(Struct):
    r: int = 0
    rank_pattern: dict[str, int] | None = None


_ranks = msgspec.json.Decoder(_Ranks)


def _rank(config: Path) -> int:
    try:
        ranks = _ranks.decode(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return 0
    return min(max(0, ranks.r, *(ranks.rank_pattern or {}).values()), _LARGEST_RANK)


def file_identity(path: Path) -> bytes | None:
    """16 bytes that change when a file of the directory is replaced or written to; None when there is no directory."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                status = entry.stat()
                digest.update(os.fsencode(entry.name) + b"\0")
                digest.update(struct.pack("<2Q3q", status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except OSError:
        return None
    return digest.digest()
