"""The blob-proxy: a directory of files (a model, an adapter) as an object with blobs, and back as a directory of links.

The digest of a directory is the sha256 of one line per file, sorted by path: `<sha256 of the content>  <path>\\n`; names that begin
with a dot are left out. The inference worker computes the same (docs/inference.md). Called by whoever owns the transaction.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from ZODB.blob import Blob

from deploy.settings import Home
from uvm.image.client import link_or_copy
from uvm.image.image import Image
from uvm.image.views import weights
from uvm.objects import KIND, PARENTS, UvmObject

_UNFINISHED: Final = "BUC"
"""How the names begin of the files in which ZODB keeps blobs until their commit."""
_UNFINISHED_S: Final = 86_400.0


def files_of(directory: Path) -> list[Path]:
    """The files that belong to a model or an adapter, sorted by path."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(files, key=lambda path: path.relative_to(directory).as_posix())


def directory_digest(digests: dict[str, str]) -> str:
    """The digest of a directory from those of its files."""
    return hashlib.sha256("".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()).hexdigest()


def import_directory(
    kind: str, directory: Path, traits: UvmObject, staging: Path, facts: dict[str, Any], report: Callable[[str], None]
) -> UvmObject:
    """The files of a directory as a new object with blobs, in the current transaction. Raises OSError.

    ZODB never syncs blobs, so each file is synced here, before the commit that makes it part of the image.
    """
    staging.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    blobs: dict[str, Blob] = {}
    size = 0
    for path in files_of(directory):
        name = path.relative_to(directory).as_posix()
        report(name)
        copy = staging / f"{os.getpid()}-{len(digests)}"
        with path.open("rb") as reader:
            digests[name] = copy_synced(reader, copy)
        size += copy.stat().st_size
        blobs[name] = Blob()
        blobs[name].consumeFile(str(copy))
    sync_directory(staging)
    return blob_proxy(kind, traits, digests, size, blobs, facts)


def blob_proxy(
    kind: str, traits: UvmObject, digests: dict[str, str], size: int, blobs: dict[str, Blob], facts: Mapping[str, Any]
) -> UvmObject:
    """The object of a model or an adapter: its files as blobs by path, their digests, the sum of their bytes, and what else is known."""
    slots = {KIND: kind, "digest": directory_digest(digests), "bytes": size, "digests": digests, "blobs": blobs}
    return UvmObject({PARENTS: [traits], **slots, **facts})


def materialize(image: Image, proxy: UvmObject, kind: str, home: Path) -> Path:
    """The directory `home/<digest>` with the files of a model or an adapter, made now if it is not there. The transaction must be open.

    Raises BadValue for an object that is none.
    """
    content = weights(proxy, kind)
    target = home / content.digest
    if target.is_dir():
        return target
    staging = home / f".{content.digest}.{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    for name, blob in content.blobs.items():
        link = staging / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(Path(blob.committed()), link)
    try:
        staging.rename(target)
    except OSError:
        # Another process was first; its directory has the same digest.
        shutil.rmtree(staging, ignore_errors=True)
        if not target.is_dir():
            raise
    return target


def materializer(image: Image, home: Home) -> Callable[[UvmObject, str], None]:
    """`materialize` for one process: a function of the proxy and its kind, `model` or `adapter`."""

    def made_available(proxy: UvmObject, kind: str) -> None:
        materialize(image, proxy, kind, home.models if kind == "model" else home.adapters)

    return made_available


def unnamed(named: set[str], home: Path) -> list[Path]:
    """Materialized directories whose digest no object names any more; those that a worker fetched are the worker's."""
    ours = (path for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for path in ours if path.name not in named and not (path / ".fetched").exists()]


def sweep(directories: Iterable[Path]) -> list[str]:
    """Remove materialized directories; the digests of those."""
    swept = list(directories)
    for path in swept:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in swept]


def sweep_unfinished(blobs: Path) -> int:
    """Remove files that a process which died was writing, a day and more ago; how many those were."""
    old = time.time() - _UNFINISHED_S
    abandoned = [path for path in (blobs / "tmp").glob(f"{_UNFINISHED}*") if path.is_file() and path.stat().st_mtime < old]
    for path in abandoned:
        path.unlink(missing_ok=True)
    return len(abandoned)


def copy_synced(reader: BinaryIO, target: Path, report: Callable[[int], None] = lambda octets: None) -> str:
    """Copy a file to one that nobody can write to, safely on the disk; the digest of its bytes. `report`: how many there are so far.

    Raises OSError.
    """
    digest, copied = hashlib.sha256(), 0
    with open(target, "wb", opener=_read_only) as writer:
        while chunk := reader.read(1 << 22):
            digest.update(chunk)
            writer.write(chunk)
            copied += len(chunk)
            report(copied)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _read_only(path: str, flags: int) -> int:
    """Nobody writes a blob again; a confined process cannot change the rights later, so the file is made so."""
    return os.open(path, flags | os.O_EXCL, 0o444)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory safely on the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
