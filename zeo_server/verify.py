"""Verifying an image: every record, every reference, every blob. Reads the files alone, also while a server runs.

What it finds: a file whose structure is broken; records that do not unpickle, or that name a class that the image does
not store (nothing foreign is imported on the way); references to objects that are gone; blobs that are missing, and
blobs whose bytes differ from the digest that their owner recorded. Bytes changed inside a text in a record change
nothing of that, and are found by comparing with a backup.

An owner records digests in two slots: `blobs`, relative path → blob, and `digests`, relative path → SHA-256 in hex.
"""

import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ZODB._compat
from msgspec import Struct, field
from ZODB.blob import Blob
from ZODB.FileStorage.FileStorage import FileIterator
from ZODB.FileStorage.format import TRANS_HDR, TRANS_HDR_LEN, CorruptedError
from ZODB.POSException import POSError
from ZODB.utils import u64

from deploy.settings import Home
from uvm.objects import UvmObject
from zeo_server.unpickling import stored_class

_CHUNK = 1024 * 1024
_MOST_PROBLEMS = 1000
_PACKS = 3


class Damage(Struct, frozen=True):
    """One thing that is wrong: `where` names the object, transaction or file."""

    where: str
    what: str


class Report(Struct):
    """What was looked at, and what is wrong with it. `problems` ends at 1000; `more` counts the rest."""

    transactions: int = 0
    records: int = 0
    objects: int = 0
    references: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    digests: int = 0
    problems: list[Damage] = field(default_factory=list)
    more: int = 0

    def add(self, where: str, what: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Damage(where, what))
        else:
            self.more += 1


SayProgress = Callable[[str, int, int], None]
"""Called with the step's name, how much of it is done, and how much it has."""


class _Record(Struct):
    kind: Any
    state: Any
    references: list[bytes]


def verify(home: Home, progress: SayProgress = lambda *_: None) -> Report:
    """Walk the whole image, as it was when this began. Raises FileNotFoundError when there is none.

    A pack puts another file in the image's place and removes blobs; where one ended meanwhile, the new file is walked.
    """
    if not home.image_file.exists():
        raise FileNotFoundError(f"there is no image at {home.image_file}")
    for _ in range(_PACKS):
        file = home.image_file.stat().st_ino
        report = Report()
        current = _walk_transactions(home, report, progress)
        _check_references(current, report)
        _check_blobs(home, current, report, progress)
        if home.image_file.stat().st_ino == file:
            break
    return report


class _Current(Struct):
    """What the walk keeps of every object's newest revision."""

    transactions: dict[bytes, bytes] = field(default_factory=dict)
    references: dict[bytes, list[bytes]] = field(default_factory=dict)
    blobs: set[bytes] = field(default_factory=set)
    digests: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    owned: dict[bytes, list[tuple[bytes, str, str]]] = field(default_factory=dict)


def _walk_transactions(home: Home, report: Report, progress: SayProgress) -> _Current:
    current = _Current()
    file = home.image_file
    try:
        # The file's own iterator, not a storage's: it trusts no index.
        transactions = FileIterator(str(file))
    except (POSError, ValueError, OSError) as error:
        report.add(str(file), f"is no image: {type(error).__name__}: {error}")
        return current
    total = transactions._file_size
    try:
        for transaction in transactions:
            report.transactions += 1
            progress("records", transaction._tpos, total)
            for record in transaction:
                report.records += 1
                _take(current, record.oid, record.tid, record.data, report)
        if not _ends(file, transactions._pos):
            report.add(str(file), f"cannot be read past byte {transactions._pos} of {total}")
    except (POSError, CorruptedError, ValueError, OSError) as error:
        report.add(str(file), f"is broken after {report.transactions} transactions: {type(error).__name__}: {error}")
    finally:
        transactions.close()
    report.objects = len(current.transactions)
    return current


def _ends(file: Path, position: int) -> bool:
    """Whether the readable part ended where the file did, or where a running server was writing a transaction.

    Of that one the header may be there in part, or say that it is not complete; or it is whole by now.
    """
    with file.open("rb") as stream:
        stream.seek(position)
        header = stream.read(TRANS_HDR_LEN)
        if len(header) < TRANS_HDR_LEN:
            return True
        _, length, status, *lengths = struct.unpack(TRANS_HDR, header)
        if status == b"c":
            return True
        if length < TRANS_HDR_LEN + sum(lengths) or position + length > stream.seek(0, os.SEEK_END):
            return False
        stream.seek(position + length)
        trailer = stream.read(8)
    return trailer == struct.pack(">Q", length)


def _take(current: _Current, oid: bytes, tid: bytes, data: bytes | None, report: Report) -> None:
    name = f"object @{u64(oid):x} in transaction {tid.hex()}"
    for known in (current.references, current.owned):
        known.pop(oid, None)
    current.blobs.discard(oid)
    if data is None:  # the object was deleted, or its creation undone
        current.transactions.pop(oid, None)
        return
    current.transactions[oid] = tid
    try:
        record = _load(data)
    except Exception as error:  # noqa: BLE001  broken bytes make an unpickler raise anything
        report.add(name, f"does not load: {type(error).__name__}: {error}")
        return
    current.references[oid] = record.references
    report.references += len(record.references)
    if record.kind is Blob:
        current.blobs.add(oid)
    elif record.kind is UvmObject:
        current.owned[oid] = list(_owned(record.state, name, report))


def _owned(state: Any, name: str, report: Report) -> Iterator[tuple[bytes, str, str]]:
    slots = state.get("_slots") if isinstance(state, dict) else None
    if not isinstance(slots, dict):
        report.add(name, "has no slots")
        return
    blobs, digests = slots.get("blobs"), slots.get("digests")
    if not isinstance(blobs, dict) or not isinstance(digests, dict):
        return
    for path, digest in digests.items():
        if isinstance(blobs.get(path), _Reference):
            yield blobs[path].oid, str(path), str(digest)
        else:
            report.add(name, f"has a digest for {path}, and no blob")


class _Reference:
    """Stands for another object in a state that is only looked at."""

    def __init__(self, oid: bytes) -> None:
        self.oid = oid


def _load(data: bytes) -> _Record:
    references: list[bytes] = []

    def reference(stored: Any) -> _Reference:
        oid = stored[0] if isinstance(stored, tuple) else stored
        if isinstance(oid, str):
            oid = oid.encode("ascii")
        if not isinstance(oid, bytes):
            raise ValueError(f"a reference of an unknown form: {stored!r}")
        references.append(oid)
        return _Reference(oid)

    unpickler = ZODB._compat.PersistentUnpickler(stored_class, reference, io.BytesIO(data))
    kind = unpickler.load()
    return _Record(kind[0] if isinstance(kind, tuple) else kind, unpickler.load(), references)


def _check_references(current: _Current, report: Report) -> None:
    for oid, references in current.references.items():
        for other in dict.fromkeys(references):
            if other not in current.transactions:
                report.add(f"object @{u64(oid):x}", f"refers to @{u64(other):x}, which is gone")


def _check_blobs(home: Home, current: _Current, report: Report, progress: SayProgress) -> None:
    digests: dict[bytes, list[tuple[bytes, str, str]]] = {}
    for owner, owned in current.owned.items():
        for oid, path, digest in owned:
            digests.setdefault(oid, []).append((owner, path, digest))
    files = {oid: _blob_file(home, oid, current.transactions[oid]) for oid in sorted(current.blobs)}
    sizes = {oid: file.stat().st_size for oid, file in files.items() if file.is_file()}
    total, done = sum(sizes.values()), 0
    for oid, file in files.items():
        report.blobs += 1
        if oid not in sizes:
            report.add(f"blob @{u64(oid):x}", f"its file {file} is missing")
            continue
        report.blob_bytes += sizes[oid]
        done += sizes[oid]
        if oid not in digests:
            continue
        progress("blobs", done, total)
        seen = _digest(file)
        for owner, path, digest in digests[oid]:
            report.digests += 1
            if seen != digest:
                report.add(f"blob @{u64(oid):x} ({path} of @{u64(owner):x})", f"{file} has digest {seen}, and should have {digest}")
    for oid, owned in digests.items():
        if oid not in current.blobs:
            report.add(f"object @{u64(oid):x}", f"is named as the blob {owned[0][1]} of @{u64(owned[0][0]):x}, and is none")


def _blob_file(home: Home, oid: bytes, tid: bytes) -> Path:
    # The layout that ZODB calls bushy: a directory for each byte of the object's id.
    return home.blobs.joinpath(*(f"0x{byte:02x}" for byte in oid), f"0x{tid.hex()}.blob")


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
