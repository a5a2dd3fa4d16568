"""Files of the image by their digest: read, looked for, and put together. Within the current transaction."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from ZODB.blob import Blob

from uvm.errors import BadExport
from uvm.image import model_registry, views
from uvm.image.image import Image
from uvm.objects import UvmObject
from uvm.transporter.parts import reached, referents

_CHUNK = 1 << 20


def digest_of(blob: Blob) -> str:
    """sha256 of a file's bytes."""
    with blob.open("r") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def piece(blob: Blob, offset: int, most: int) -> tuple[bytes, bool]:
    """At most so many bytes of a stored file from an offset, and whether there are more."""
    with blob.open("r") as file:
        file.seek(offset)
        octets = file.read(most)
        return octets, bool(file.read(1))


def joined(image: Image, digest: str, pieces: Sequence[Blob]) -> Blob:
    """A new file of uploaded pieces. Raises BadExport when it does not have the digest."""
    hasher = hashlib.sha256()
    for chunk in _chunks(pieces):
        hasher.update(chunk)
    if hasher.hexdigest() != digest:
        raise BadExport(f"the file {digest} has the digest {hasher.hexdigest()}", "it was damaged on the way: import again", object=digest)
    return written(image, _chunks(pieces))


def _chunks(pieces: Iterable[Blob]) -> Iterator[bytes]:
    for blob in pieces:
        with blob.open("r") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def written(image: Image, chunks: Iterable[bytes]) -> Blob:
    """A new file of these bytes. It is synced here, before the commit that makes it part of the image: ZODB never syncs blobs."""
    blob = Blob()
    image.connection.add(blob)  # so that it is written where the image's files are, and becomes one of them by a rename
    with blob.open("w") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return blob


def in_image(image: Image, alive: Callable[[], None]) -> dict[str, Blob]:
    """The files that the image has, by digest: those in slots, and those of models and adapters."""
    files: dict[str, Blob] = {}
    for owner in reached(owner for owner in image.names.values() if type(owner) is UvmObject):
        for value in owner._slots.values():
            for referent in referents(value):
                if isinstance(referent, Blob):
                    alive()
                    files.setdefault(digest_of(referent), referent)
    for kind in model_registry.KINDS:
        for proxy in model_registry.proxies(image, kind):
            files |= _weights(proxy)
    return files


def _weights(owner: UvmObject) -> dict[str, Blob]:
    """The files of a model or an adapter, whose digests the kernel has written down."""
    blobs = views.slot(owner, "blobs", dict, {})
    digests = views.slot(owner, "digests", dict, {}).items()
    return {digest: blobs[path] for path, digest in digests if isinstance(blobs.get(path), Blob)}
