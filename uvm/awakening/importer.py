"""Takes a model or an adapter into the image: `python -m uvm.awakening.importer DIR`, with the check's manifest on stdin.

Run by `batos model import` and `batos adapters import`, once, on the service's host, by its owner or root. The files of DIR are opened as
whoever started it, who may read them; then the process confines itself and becomes the service's account. What is copied must be, byte for
byte, what the check saw. One transaction makes it part of the image; before it nothing is left of an import that ends, and after it
everything is there. On stdout a line for each step, {"step", "detail", "done"}, and at the end {"result": …}, or {"error": …}.
"""

import argparse
import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from transaction.interfaces import TransientError
from ZODB.blob import Blob
from ZODB.POSException import StorageError

from deploy import keys, logs, profiles
from deploy.settings import Configuration, SettingsError, load
from inference_worker.protocol import File, Manifest
from uvm.errors import ImageError, ImageFull, NoSuchModel, NotAllowed, QuotaExceeded
from uvm.history import chronicle
from uvm.image import judgement, model_registry
from uvm.image.blobs import blob_proxy, copy_synced, materializer, sync_directory
from uvm.image.client import ImageUnreachable, link_or_copy, open_image
from uvm.image.image import Image
from uvm.image.staging import staging
from uvm.image.transactor import ImageAway, Transactor
from uvm.objects import UvmObject
from uvm.startup import confine, wait_for_files

_TOLD_S: Final = 0.25
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Report = Callable[[str, str, bool], None]


class NameTaken(ImageError):
    """Another model or adapter of the image has this name."""


class SourceChanged(ImageError):
    """A file is not what it was when it was checked, and so is not taken in."""


def bring_in(
    image: Image, configuration: Configuration, manifest: Manifest, sources: Mapping[str, BinaryIO], report: Report
) -> dict[str, Any]:
    """Copy the sources among the blobs, and keep them under their digest; what is then known of it.

    Raises ImageError, ImageAway, TransientError, StorageError, OSError; the image is as it was, and no file is left, then.
    """
    home, transactor = configuration.home, Transactor(image, "import")
    with staging(home) as directory:
        row = transactor.look(lambda: _already_kept(image, configuration, manifest))
        if row is not None:
            report("image", "has it already", True)
            return row
        _check_judgement(manifest, sources)
        with _room(f"{sum(file.size for file in manifest.files) / 1e6:.0f} MB"):
            _copy(manifest, sources, directory, report)
        report("commit", f"{len(manifest.files)} files", False)
        # ZODB puts a blob that is no part of the image yet where temporary files are: it is to go with all the others.
        before, tempfile.tempdir = tempfile.tempdir, str(directory)
        try:
            result = transactor.run(lambda: _enter(image, configuration, manifest, directory))
        finally:
            tempfile.tempdir = before
    report("commit", f"{manifest.kind} {manifest.name} {manifest.digest[:12]}", True)
    transactor.look(lambda: _show(image, configuration, manifest))
    return result


def opened(directory: Path, files: list[File]) -> dict[str, BinaryIO]:
    """The files of a manifest, open. Raises SourceChanged, OSError."""
    sources: dict[str, BinaryIO] = {}
    for file in files:
        if "/" in file.path or file.path.startswith("."):
            raise SourceChanged(f"{file.path!r:.200} is no file of a model or an adapter", "check the directory again")
        source = (directory / file.path).open("rb")
        sources[file.path] = source
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            raise _changed(directory / file.path)
    return sources


def _already_kept(image: Image, configuration: Configuration, manifest: Manifest) -> dict[str, Any] | None:
    """What is known of it, where the image has it already; whether it may come in. Raises ImageError."""
    if not image.awake:
        raise ImageError("the image has no objects yet", "`batos up` awakens it")
    kind = manifest.kind
    proxy = model_registry.at(image, kind, manifest.digest)
    if proxy is not None:
        return {**model_registry.row(proxy, kind, []), "already": True}
    if model_registry.named(image, kind, manifest.name) is not None:
        raise NameTaken(f"another {kind} of the image is called {manifest.name}", "import it under another name: --name")
    if kind == "adapter" and model_registry.at(image, "model", manifest.base or "") is None:
        raise NoSuchModel(f"the adapter belongs to the model {manifest.base}, which the image has not", "import that one first")
    size, before = sum(file.size for file in manifest.files), model_registry.bytes_kept(image)
    most = configuration.settings.image.models_gib * 2**30
    if before + size > most:
        raise QuotaExceeded(
            f"with these {size / 1e9:.1f} GB, models and adapters would take {(before + size) / 2**30:.2f} GiB; "
            f"{configuration.settings.image.models_gib:g} are allowed",
            "remove others, or raise image.models_gib",
        )
    free = shutil.disk_usage(configuration.home.blobs).free
    if size > free:
        raise ImageFull(f"it has {size / 1e6:.0f} MB, and the image's disk has room for {free / 1e6:.0f}", "make room on that disk")
    return None


def _check_judgement(manifest: Manifest, sources: Mapping[str, BinaryIO]) -> None:
    """What came with an adapter, to judge its drafts with, can be used. Raises BadJudgement."""
    source = sources.get(judgement.FILE)
    if manifest.kind == "adapter" and source is not None:
        judgement.checked(source.read(judgement.MOST_BYTES + 1), f"{judgement.FILE} of the adapter {manifest.name}")
        source.seek(0)


def _copy(manifest: Manifest, sources: Mapping[str, BinaryIO], directory: Path, report: Report) -> None:
    total, before, reported = sum(file.size for file in manifest.files), 0, time.monotonic()

    def report_copied(octets: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _TOLD_S:
            reported = time.monotonic()
            report("copy", f"{(before + octets) / 1e6:.0f} of {total / 1e6:.0f} MB", False)

    report("copy", f"{len(manifest.files)} files, {total / 1e6:.1f} MB", False)
    for file in manifest.files:
        if copy_synced(sources[file.path], directory / file.path, report_copied) != file.sha256:
            raise _changed(Path(file.path))
        before += file.size
    sync_directory(directory)
    report("copy", f"{total / 1e6:.1f} MB, as they were checked", True)


def _enter(image: Image, configuration: Configuration, manifest: Manifest, directory: Path) -> dict[str, Any]:
    """The one transaction. It may be run again: each time the blobs get links of their own to the staged files."""
    row = _already_kept(image, configuration, manifest)
    if row is not None:
        return row
    blobs: dict[str, Blob] = {}
    for number, file in enumerate(manifest.files):
        consumed = directory / f".{number}"
        consumed.unlink(missing_ok=True)
        link_or_copy(directory / file.path, consumed)
        blobs[file.path] = Blob()
        blobs[file.path].consumeFile(str(consumed))
    facts: dict[str, Any] = {"name": manifest.name, "imported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if manifest.kind == "adapter":
        facts |= {"base": manifest.base, "rank": manifest.rank}
    proxy: UvmObject = blob_proxy(
        manifest.kind,
        image.named("traits_obj"),
        {file.path: file.sha256 for file in manifest.files},
        sum(file.size for file in manifest.files),
        blobs,
        facts,
    )
    if proxy.own("digest") != manifest.digest:
        raise SourceChanged("the manifest's digest is not that of its files", "check the directory again")
    model_registry.enter(image, manifest.kind, proxy)
    imported = {"done": "imported", "name": manifest.name, "digest": manifest.digest}
    chronicle.record(image, manifest.kind, author=keys.LOCAL, cause="import", facts=imported)
    return {**model_registry.row(proxy, manifest.kind, []), "already": False}


def _show(image: Image, configuration: Configuration, manifest: Manifest) -> None:
    """Have its files in the home, where the worker looks; whoever drafts with it would see to that as well."""
    proxy = model_registry.at(image, manifest.kind, manifest.digest)
    if proxy is not None:
        materializer(image, configuration.home)(proxy, manifest.kind)


@contextlib.contextmanager
def _room(size: str) -> Any:
    """What a disk without room means. Raises ImageFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ImageFull(f"the image's disk has no room for {size}: {error}", "make room on that disk, and import again") from error


def _changed(file: Path) -> SourceChanged:
    return SourceChanged(f"{file} is not what it was when it was checked", "import again when nothing writes to the directory any more")


def _may_import(configuration: Configuration) -> None:
    """Whoever runs this reaches the image's socket, and so is its owner; what the owner took from itself holds here as well."""
    records, _ = keys.read(configuration.home, configuration.settings.quotas)
    own = records.get(keys.LOCAL)
    rights = own.rights if own is not None else frozenset(configuration.settings.bridge.rights)
    if "administer" not in rights:
        raise NotAllowed("importing needs the right `administer`, which this home's owner has given up", "bridge.rights, or `batos keys`")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Take a model or an adapter, as it was checked, into the image.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for the ZEO server")
    options = parser.parse_args()
    logs.start("importer", "info")
    try:
        configuration = load()
        manifest = msgspec.json.decode(sys.stdin.buffer.read(), type=Manifest)
        _may_import(configuration)
        sources = opened(options.directory.absolute(), manifest.files)
        if not wait_for_files(configuration, seconds=options.wait):
            raise ImageUnreachable(f"no image answers at {configuration.home.zeo_socket}; batos up starts it, batos logs image tells more")
        confine("importer", configuration, profiles.importer_profile(configuration))
        image = open_image(configuration, options.wait)
        with contextlib.closing(image):
            _write_line({"result": bring_in(image, configuration, manifest, sources, _report)})
    except BrokenPipeError:
        return 1  # whoever started it is gone, and hears nothing any more
    except (ImageError, ImageUnreachable, ImageAway, SettingsError, msgspec.DecodeError, TransientError, StorageError, OSError) as error:
        remedy = error.remedy if isinstance(error, ImageError) else ""
        _write_line({"error": {"type": type(error).__name__, "message": str(error)[:2000], "remedy": remedy}})
        return 1
    return 0


def _report(step: str, detail: str, done: bool) -> None:
    _write_line({"step": step, "detail": detail, "done": done})


def _write_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
