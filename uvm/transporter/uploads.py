"""What is uploaded for an import waits here: an object of the kernel's, held in the nursery until the import takes it in or a day is over.

Layout: slots `owner` (the principal), `bytes`, `bundle` (list of objects with a piece each in `data`), `blobs` (digest → bytes, and a list
of ZODB blobs, a piece each). It is for who uploaded it alone, and its bytes are charged to them for as long as it is there. Within the
current transaction.
"""

from typing import Any, Final

from ZODB.blob import Blob

from uvm.errors import BadArguments, NoSuchObject, QuotaExceeded
from uvm.image import nursery
from uvm.image.image import Image
from uvm.objects import KIND, UvmObject
from uvm.protocol import Reference, Upload
from uvm.rights import Limits
from uvm.transporter import blobs

LEASE_S: Final = 86_400
TIMES: Final = 4
"""How many times what a message may store an upload may have: documents are longer than records, and files come on top."""
_KIND: Final = "upload"


def add(image: Image, request: Upload, principal: str, limits: Limits) -> UvmObject:
    """Add a piece. Raises BadArguments for one that does not follow on, QuotaExceeded, NoSuchObject."""
    upload = _new(image, principal) if request.upload is None else of(image, request.upload, principal)
    total = upload.own("bytes") + len(request.data)
    if total > TIMES * limits.bytes:
        raise QuotaExceeded(
            f"an upload has at most {TIMES * limits.bytes:,} bytes, {TIMES} times what a message may store",
            "import fewer objects at a time, or have quotas.transaction_mb raised",
        )
    before = _length(upload, request.blob)
    if request.offset != before:
        raise BadArguments(f"the piece is for byte {request.offset:,}; the next one is {before:,}", "upload pieces one after the other")
    if request.blob:
        files = dict(upload.own("blobs"))
        piece = blobs.written(image, [request.data])
        size, pieces = files.get(request.blob, [0, []])
        files[request.blob] = [size + len(request.data), [*pieces, piece]]
        upload.put("blobs", files)
    else:
        upload.put("bundle", [*upload.own("bundle"), UvmObject({KIND: _KIND, "bytes": len(request.data), "data": request.data})])
    upload.put("bytes", total)
    return upload


def of(image: Image, reference: Any, principal: str) -> UvmObject:
    """What was uploaded under a reference. Raises NoSuchObject where there is nothing, or it is another principal's."""
    upload = image.at(reference) if isinstance(reference, Reference) else None
    if upload is None or upload.own(KIND) != _KIND or upload.own("owner", None) != principal:
        raise NoSuchObject(
            f"{reference!s:.40} is no upload of {principal}", "it was imported, or forgotten after a day: import again from the files"
        )
    return upload


def bundle(upload: UvmObject) -> bytes:
    """The pieces of the bundle in one."""
    return b"".join(piece.own("data") for piece in upload.own("bundle"))


def file(image: Image, upload: UvmObject, digest: str) -> Blob:
    """An uploaded file. Raises BadExport when its bytes are not those of the digest."""
    return blobs.joined(image, digest, upload.own("blobs")[digest][1])


def files(upload: UvmObject) -> dict[str, int]:
    """Bytes of the uploaded files, by digest."""
    return {digest: size for digest, (size, _) in upload.own("blobs").items()}


def forget(image: Image, upload: UvmObject) -> None:
    """It was taken in."""
    nursery.release(image, [upload._p_oid])


def _new(image: Image, principal: str) -> UvmObject:
    upload = UvmObject({KIND: _KIND, "owner": principal, "bytes": 0, "bundle": [], "blobs": {}})
    nursery.keep(image, [upload], LEASE_S)
    return upload


def _length(upload: UvmObject, digest: str) -> int:
    """How much of the bundle, or of a file, there is."""
    if digest:
        return int(upload.own("blobs").get(digest, [0])[0])
    return sum(piece.own("bytes") for piece in upload.own("bundle"))
