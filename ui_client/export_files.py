"""An export as a directory of files; docs/export.md is the format. Used by `batos export` and `import`, in their one thread.

    manifest.json                       written last: a directory without its end says so
    objects/shop/object.json            names, parents, slots
    objects/shop/methods/total_price.py     the source of a method, as it is
    objects/shop/methods/total_price.json   and everything else that is known of it
    blobs/<sha256>                      a file that an object has, once
    adapters/<digest>/…                 the files of an adapter that something refers to
    models/<digest>/…                   and of a model

`objects`, `blobs`, `adapters` and `models` belong to the export as a whole; what else is in the directory, such as `.git`, is left alone.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from deploy.digest import listing_digest
from ui_client.report import Failure
from uvm.protocol import Bundle, MethodDocument, ObjectDocument, encode

_T = TypeVar("_T")

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_PLACES: Final = {"model": "models", "adapter": "adapters"}
_OWN: Final = ("objects", "blobs", *_PLACES.values())
_ATTRIBUTES: Final = (".gitattributes", "* -text\n")
"""Digests hold for bytes: git must not change the ends of lines."""
_LONGEST_NAME: Final = 150
_LARGEST: Final = 256_000_000
"""Bytes of one file of text that is read."""


class WeightsEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A model or an adapter that the objects refer to. `base`: digest of an adapter's model. `along`: with its files."""

    kind: Literal["model", "adapter"]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    name: str
    base: str = ""
    along: bool = False

    @property
    def place(self) -> str:
        """Where its files are, or would be."""
        return f"{_PLACES[self.kind]}/{self.digest}"

    @property
    def reference(self) -> str:
        """What the image calls it where it is missing."""
        return f"{self.kind} {self.digest}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}@{self.digest[:12]}"


class ExportManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What an export says of itself. `files`: path → sha256. `unfinished`: it was not written to its end. `without`: blobs left out.
    `weights`: models and adapters, with their files or without."""

    format: int
    image: str = ""
    transaction: str = ""
    roots: list[str] = []
    without: list[str] = []
    weights: list[WeightsEntry] = []
    files: dict[str, str] = {}
    unfinished: bool = False


class Contents(Struct, frozen=True):
    """An export as it was read: what an Import takes in, and files by digest. `weights`: models and adapters, those that are here with the
    directory of their files."""

    bundle: Bundle
    blobs: dict[str, Path]
    methods: int
    weights: list[tuple[WeightsEntry, Path | None]] = []


class ExportWriter:
    """Writes one export into a directory, in place of the one that was there."""

    def __init__(self, directory: Path) -> None:
        """Raises Failure for a directory that holds something else where an export's files go."""
        self._directory = directory
        self._files: dict[str, str] = {}
        if any((directory / name).exists() for name in _OWN) and not (directory / MANIFEST).exists():
            raise Failure(
                "NotAnExport",
                f"{directory} has {', '.join(_OWN[:-1])} or {_OWN[-1]}, and no {MANIFEST}",
                "export into an empty directory, or an earlier export",
            )
        if (directory / MANIFEST).exists():
            _manifest(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self._write_manifest(ExportManifest(FORMAT, unfinished=True))
        if not (directory / _ATTRIBUTES[0]).exists():
            (directory / _ATTRIBUTES[0]).write_text(_ATTRIBUTES[1])

    def add(self, document: ObjectDocument) -> None:
        """Write an object with its methods."""
        place = f"objects/{file_name(document.key)}"
        fields = {"object": document.key, "names": document.names, "parents": document.parents, "slots": document.slots}
        self._put(f"{place}/object.json", _json(fields))
        for label, method in document.methods.items():
            described = {
                name: value for name, value in msgspec.structs.asdict(method).items() if name != "source" and value not in (None, "")
            }
            self._put(f"{place}/methods/{file_name(label)}.py", method.source.encode())
            self._put(f"{place}/methods/{file_name(label)}.json", _json({"label": label, **described}))

    @contextmanager
    def blob(self, digest: str) -> Iterator[BinaryIO | None]:
        """Where the bytes of a file go; none: they are here already. Raises Failure when they have another digest."""
        with self._file(f"blobs/{digest}", digest) as file:
            yield file

    @contextmanager
    def weights(self, entry: WeightsEntry, path: str, digest: str) -> Iterator[BinaryIO | None]:
        """Likewise, of a file of a model or an adapter. Raises Failure for one that would stand somewhere else."""
        parts = PurePosixPath(path).parts
        if not parts or any(part.startswith((".", "/")) for part in parts) or "/".join(parts) != path:
            raise Failure(
                "BrokenExport", f"{entry} has a file {path!r:.200}, which is no name of one", "batos image verify checks the image"
            )
        with self._file(f"{entry.place}/{path}", digest) as file:
            yield file

    @contextmanager
    def _file(self, path: str, digest: str) -> Iterator[BinaryIO | None]:
        target = self._directory / path
        self._files[path] = digest
        if target.is_file() and _digest(target) == digest:
            yield None
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_name(f".{digest}")
        with staging.open("wb") as file:
            yield file
        if (actual := _digest(staging)) != digest:
            staging.unlink()
            raise Failure(
                "BrokenExport", f"the file {digest} came with the digest {actual}", "export again; batos image verify checks the image"
            )
        staging.replace(target)

    def end(self, image: str, tid: bytes, roots: list[str], without: list[str], weights: Sequence[WeightsEntry] = ()) -> None:
        """Remove what an earlier export had besides, and write the manifest."""
        for path in _files_in(self._directory):
            if path not in self._files:
                (self._directory / path).unlink()
        for name in _OWN:
            _remove_empty(self._directory / name)
        listed = sorted(weights, key=lambda entry: (entry.kind, entry.digest))
        files = dict(sorted(self._files.items()))
        self._write_manifest(ExportManifest(FORMAT, image, tid.hex(), roots, sorted(without), listed, files))

    def _put(self, path: str, content: bytes) -> None:
        if path in self._files:
            raise Failure("BrokenExport", f"two things would be written to {path}", "please report it")
        target = self._directory / path
        self._files[path] = hashlib.sha256(content).hexdigest()
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def _write_manifest(self, manifest: ExportManifest) -> None:
        encoded = msgspec.to_builtins(manifest)
        fields = {name: value for name, value in encoded.items() if value or name not in ("unfinished", "weights")}
        staging = self._directory / f".{MANIFEST}"
        with staging.open("wb") as file:
            file.write(_json(fields))
            file.flush()
            os.fsync(file.fileno())
        staging.replace(self._directory / MANIFEST)


def read(directory: Path, *, edited: bool = False) -> Contents:
    """An export, checked file by file. `edited`: files may differ from what was exported, and be more or fewer.

    Raises Failure: `NotAnExport` for a directory that is none, `BrokenExport` for one that is cut off, or changed.
    """
    manifest = _manifest(directory)
    if manifest.unfinished:
        raise Failure("BrokenExport", f"the export in {directory} was cut off before its end", "export again")
    present = set(_files_in(directory))
    digests = {path: _digest(directory / path) for path in sorted(present)}
    if not edited:
        _compare(directory, manifest.files, digests)
    for path in present:
        if path.startswith("blobs/") and digests[path] != path.removeprefix("blobs/"):
            raise Failure("BrokenExport", f"{directory / path} does not have the digest that is its name", "export again")
    weights = [(entry, _weights(directory, entry, digests)) for entry in manifest.weights]
    documents = [_object(directory, path, present) for path in sorted(present) if _is_object(path)]
    try:
        tid = bytes.fromhex(manifest.transaction)
    except ValueError as error:
        raise Failure("BrokenExport", f"{directory / MANIFEST} names no transaction: {error}", "export again") from error
    return Contents(
        Bundle(manifest.image, tid, manifest.roots, [encode(document) for document in documents]),
        {path.removeprefix("blobs/"): directory / path for path in sorted(present) if path.startswith("blobs/")},
        sum(len(document.methods) for document in documents),
        weights,
    )


def _weights(directory: Path, entry: WeightsEntry, digests: Mapping[str, str]) -> Path | None:
    """The directory with the files of a model or an adapter, if they are along: whole, also where the files were edited."""
    if not entry.along:
        return None
    files = {path.removeprefix(f"{entry.place}/"): digest for path, digest in digests.items() if path.startswith(f"{entry.place}/")}
    if listing_digest(files) != entry.digest:
        raise Failure(
            "BrokenExport",
            f"{directory / entry.place} is not the {entry}: its files are changed, or not all there",
            "export again, or take `along` out of its entry in the manifest and have the image import it",
            details={"kind": entry.kind, "digest": entry.digest},
        )
    return directory / entry.place


def blobs_of(documents: list[ObjectDocument]) -> list[str]:
    """Digests of the files that exported objects have."""
    digests: dict[str, None] = {}
    pending: list[Any] = [document.slots for document in documents]
    pending += [method.examples for document in documents for method in document.methods.values()]
    while pending:
        tree = pending.pop()
        if isinstance(tree, Mapping):
            if set(tree) == {"blob"} and isinstance(tree["blob"], str):
                digests[tree["blob"]] = None
            pending.extend(tree.values())
        elif isinstance(tree, list):
            pending.extend(tree)
    return sorted(digests)


def file_name(text: str) -> str:
    """What an object's or a method's files are called: readable, one for each text, and nothing that leads elsewhere."""
    name = quote(text, safe="@")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return name


def _compare(directory: Path, listed: dict[str, str], actual: dict[str, str]) -> None:
    lost = sorted(set(listed) - set(actual))
    more = sorted(set(actual) - set(listed))
    altered = sorted(path for path in set(listed) & set(actual) if listed[path] != actual[path])
    if lost:
        raise Failure(
            "BrokenExport",
            f"{len(lost)} files of the export are not in {directory}: {', '.join(lost[:5])}",
            "export again, or copy it as a whole",
            details={"missing": lost[:100]},
        )
    if more or altered:
        raise Failure(
            "BrokenExport",
            f"{len(more) + len(altered)} files in {directory} are not as they were exported: {', '.join([*altered, *more][:5])}",
            "`--edited` imports them as they are now",
            details={"changed": altered[:100], "added": more[:100]},
        )


def _manifest(directory: Path) -> ExportManifest:
    path = directory / MANIFEST
    if not path.is_file():
        raise Failure(
            "NotAnExport", f"{directory} has no {MANIFEST}: it is no export, or a part of one", "name the directory that batos export wrote"
        )
    try:
        manifest = msgspec.convert(_parsed(path), ExportManifest)
    except msgspec.ValidationError as error:
        raise Failure(
            "NotAnExport", f"{path} is no manifest of an export: {error}", "name the directory that batos export wrote"
        ) from error
    if manifest.format != FORMAT:
        raise Failure("NotAnExport", f"{path} is of format {manifest.format}; this version reads {FORMAT}", "export it with this version")
    return manifest


def _object(directory: Path, path: str, present: set[str]) -> ObjectDocument:
    fields = _fields(directory / path)
    place = f"{PurePosixPath(path).parent}/methods/"
    methods: dict[str, MethodDocument] = {}
    for description in sorted(file for file in present if file.startswith(place) and file.endswith(".json")):
        described = _fields(directory / description)
        source = description.removesuffix(".json") + ".py"
        if source not in present:
            raise Failure("BrokenExport", f"{directory / source} is missing: the source of a method", "export again")
        label = described.pop("label", None)
        if not isinstance(label, str) or "source" in described:
            raise Failure("BrokenExport", f"{directory / description} has no label, or a source", "docs/export.md says what stands in it")
        methods[label] = _converted(directory / description, {**described, "source": _text(directory / source)}, MethodDocument)
    key = fields.pop("object", None)
    return _converted(directory / path, {"key": key, "methods": methods, **fields}, ObjectDocument)


def _converted(path: Path, fields: dict[str, Any], kind: type[_T]) -> _T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Failure("BrokenExport", f"{path}: {error}", "docs/export.md says what stands in it") from error


def _fields(path: Path) -> dict[str, Any]:
    parsed = _parsed(path)
    if not isinstance(parsed, dict):
        raise Failure("BrokenExport", f"{path} is no JSON object", "docs/export.md says what stands in it")
    return parsed


def _parsed(path: Path) -> Any:
    try:
        return json.loads(_text(path), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Failure("BrokenExport", f"{path} cannot be read: {error}", "export again, or mend the file") from error


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise Failure("BrokenExport", f"{path} has more than {_LARGEST:,} bytes", "export again")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Failure("BrokenExport", f"{path} is no text: {error}", "export again") from error


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f'{name} is no value; a float that JSON cannot say is {{"number": "nan"}}')


def _is_object(path: str) -> bool:
    return path.startswith("objects/") and path.endswith("/object.json") and path.count("/") == 2


def _files_in(directory: Path) -> Iterator[str]:
    """The export's files, as paths with slashes. Raises Failure for what an export has none of: it may lead elsewhere."""
    for name in _OWN:
        for root, folders, files in os.walk(directory / name):
            for entry in [*folders, *files]:
                if (Path(root) / entry).is_symlink():
                    raise Failure("BrokenExport", f"{Path(root) / entry} is a link, and no file of an export", "remove it")
            for file in files:
                yield (Path(root) / file).relative_to(directory).as_posix()


def _remove_empty(directory: Path) -> None:
    for root, _, _ in list(os.walk(directory, topdown=False)):
        if not any(Path(root).iterdir()):
            Path(root).rmdir()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
