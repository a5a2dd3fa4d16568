"""Exports and imports as conversations with the bridge. Nothing here knows of an export's files; `ui_client.export_files` does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from msgspec import Struct

from ui_client.client.conversation import Conversation, TimedRequest, ask, expect
from ui_client.client.errors import ClientError, RemoteError
from uvm.protocol import (
    Answer,
    Bundle,
    Export,
    Exported,
    ExportedWeights,
    Import,
    ObjectDocument,
    Reference,
    Release,
    Reply,
    Upload,
    decode_document,
    encode,
)

_T = TypeVar("_T")

Tell = Callable[[int, int], None]
"""Called with how much is done, and of how much: objects of an export, bytes of an upload."""

PIECE: Final = 1_000_000
"""Bytes of an upload's piece; what is shorter is imported in one frame."""


class ExportedObjects(Struct, frozen=True):
    """What was exported: of the image `image`, as of the transaction `tid`. `roots`: keys of the targets. `weights`: the models and
    adapters that the objects refer to, whose files are exported like those of the objects."""

    image: str
    tid: bytes
    targets: list[Any]
    roots: list[str]
    documents: list[ObjectDocument]
    weights: list[ExportedWeights] = []


def exporting(targets: Sequence[Any], tell: Tell) -> Conversation[ExportedObjects]:
    """All documents of an export."""
    documents: list[ObjectDocument] = []
    weights: list[ExportedWeights] = []
    whole, part = b"", None
    request = Export(0, list(targets))
    while part is None or part.number < part.objects:
        part = yield from ask(Exported, request)
        weights += part.weights
        for position, content in enumerate(part.data, 1):
            whole += content
            if position < len(part.data) or part.offset == 0:
                documents.append(decode_document(whole))
                whole = b""
        tell(len(documents), part.objects)
        request = Export(0, list(targets), tid=part.tid, number=part.number, offset=part.offset)
    return ExportedObjects(part.image, part.tid, list(targets), [document.key for document in documents[: part.roots]], documents, weights)


def exporting_blob(exported: ExportedObjects, digest: str, file: BinaryIO) -> Conversation[None]:
    """Write the bytes of a file that exported objects have, or a model or an adapter that they refer to."""
    offset = 0
    while True:
        part = yield from ask(Exported, Export(0, exported.targets, tid=exported.tid, blob=digest, offset=offset))
        for content in part.data:
            file.write(content)
        if part.offset <= offset:
            return
        offset = part.offset


def importing(
    bundle: Bundle, blobs: Mapping[str, Path], rename: Mapping[str, str], replace: bool, preview: bool, session: str, tell: Tell
) -> Conversation[dict[str, Any]]:
    """Upload what does not fit in a frame, then import all of it, or say what would be done."""
    encoded = encode(bundle)
    if len(encoded) <= PIECE and not blobs:
        return _summary((yield TimedRequest(Import(id=0, bundle=encoded, rename=dict(rename), replace=replace, preview=preview), None)))
    uploading = _Uploading(sum(path.stat().st_size for path in blobs.values()) + len(encoded), tell)
    try:
        for begin in range(0, len(encoded), PIECE):
            yield from uploading.piece("", begin, encoded[begin : begin + PIECE])
        for digest, path in blobs.items():
            with path.open("rb") as file:
                offset = 0
                while content := file.read(PIECE):
                    yield from uploading.piece(digest, offset, content)
                    offset += len(content)
                if not offset:
                    yield from uploading.piece(digest, 0, b"")
        request = Import(id=0, upload=uploading.upload, rename=dict(rename), replace=replace, preview=preview)
        answer = _summary((yield TimedRequest(request, None)))
    except ClientError:
        if uploading.upload is not None:
            yield TimedRequest(Release(0, [uploading.upload], session))
        raise
    if preview:
        yield TimedRequest(Release(0, [uploading.upload], session))
    return answer


class _Uploading:
    def __init__(self, total: int, tell: Tell) -> None:
        self.upload: Reference | None = None
        self._total = total
        self._done = 0
        self._tell = tell

    def piece(self, blob: str, offset: int, content: bytes) -> Conversation[None]:
        answer = yield TimedRequest(Upload(id=0, data=content, upload=self.upload, blob=blob, offset=offset), None)
        self.upload = _expect_reference(answer)
        self._done += len(content)
        self._tell(self._done, self._total)


def _expect_reference(answer: Answer) -> Reference:
    return _expect_value(Reference, answer)


def _summary(answer: Answer) -> dict[str, Any]:
    return _expect_value(dict, answer)


def _expect_value(kind: type[_T], answer: Answer) -> _T:
    result = expect(Reply, answer).result
    if not isinstance(result, kind):
        raise RemoteError("InternalError", f"the bridge answered with a {type(result).__name__}; a {kind.__name__} was expected")
    return result
