"""Tools for the image's files: `python -m zeo_server.image pack | backup DIR | restore DIR | rollback TID | verify [--json]`.

Run by the `batos` command as a process of its own. The result goes to standard output, as text or as one JSON object,
progress to standard error. Exit status: 0 done, 1 the image is damaged, 2 it could not be done.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import ZEO
from msgspec import Struct
from ZODB.POSException import POSError
from ZODB.serialize import referencesf

from deploy import settings
from deploy.settings import Home
from zeo_server.backup import BackupError, backup, maintenance, restore
from zeo_server.rollback import rollback
from zeo_server.storage import ImageInUse, open_storage
from zeo_server.unpickling import close_unpicklers
from zeo_server.verify import Report, verify

_CONNECT_S = 5.0
_REPORT_EVERY_S = 1.0
DONE, DAMAGED, FAILED = 0, 1, 2


class Packed(Struct, frozen=True):
    """Sizes of the image without its blobs, and of the blobs, before and after a pack, bytes."""

    before: int
    after: int
    blobs_before: int
    blobs_after: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    chosen = _parser().parse_args(arguments)
    close_unpicklers()
    try:
        home = settings.load().home
        status, result = chosen.run(home, chosen)
    except (BackupError, ImageInUse, settings.SettingsError, OSError, POSError) as error:
        if chosen.json:
            _put_json({"error": {"type": type(error).__name__, "message": str(error)}})
        else:
            sys.stderr.write(f"{error}\n")
        return FAILED
    if chosen.json:
        _put_json({"result": result})
    else:
        sys.stdout.write(_text(result) + "\n")
    return int(status)


def pack(home: Home, progress: "ProgressLines") -> Packed:
    """Drop what no object refers to, and old revisions; through the server when one runs. Raises ImageInUse, OSError."""
    if not home.image_file.exists():
        raise BackupError(f"there is no image at {home.image_file}")
    with maintenance(home):
        before, blobs_before = home.image_file.stat().st_size, _blob_bytes(home)
        with progress.waiting("packing"):
            storage = _server(home)
            if storage is None:
                storage = open_storage(home)
            try:
                storage.pack(time.time(), referencesf)
            finally:
                storage.close()
        return Packed(before, home.image_file.stat().st_size, blobs_before, _blob_bytes(home))


class ProgressLines:
    """Says on standard error how far a step is, at most once a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _REPORT_EVERY_S

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_EVERY_S
            self._say(f"{step}: {100 * done // max(total, 1)} %")

    @contextlib.contextmanager
    def waiting(self, step: str) -> Iterator[None]:
        """Say that a step of unknown length began, and when it took long, how long."""
        self._say(f"{step} …")
        began = time.monotonic()
        yield
        self._say(f"{step}: {time.monotonic() - began:.1f} s")

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _server(home: Home) -> Any:
    """A connection to the running server; None when none runs."""
    if not home.zeo_socket.exists():
        return None
    from ZEO.Exceptions import ClientDisconnected

    try:
        return ZEO.client(str(home.zeo_socket), wait_timeout=_CONNECT_S)
    except ClientDisconnected:
        return None


def _blob_bytes(home: Home) -> int:
    total = 0
    for file in home.blobs.rglob("*.blob"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


Command = Callable[[Home, argparse.Namespace], tuple[int, Any]]


def _pack(home: Home, _chosen: argparse.Namespace) -> tuple[int, Any]:
    return DONE, pack(home, ProgressLines())


def _backup(home: Home, chosen: argparse.Namespace) -> tuple[int, Any]:
    return DONE, backup(home, Path(chosen.directory).absolute(), copy=chosen.copy, progress=ProgressLines())


def _restore(home: Home, chosen: argparse.Namespace) -> tuple[int, Any]:
    result, _report = restore(home, Path(chosen.directory).absolute(), force=chosen.force, at=chosen.at, progress=ProgressLines())
    return DONE, result


def _rollback(home: Home, chosen: argparse.Namespace) -> tuple[int, Any]:
    return DONE, rollback(home, bytes.fromhex(chosen.tid), ProgressLines())


def _verify(home: Home, _chosen: argparse.Namespace) -> tuple[int, Any]:
    report = verify(home, ProgressLines())
    return (DAMAGED if report.problems else DONE), report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="batos image", description="Tools for the image's files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        one.add_argument("--json", action="store_true", help="print one JSON object")
        return one

    command("pack", _pack, "Drop old revisions, and what no object refers to.")
    saving = command("backup", _backup, "Add what changed to a backup, while the service runs or not.")
    saving.add_argument("directory", metavar="DIR")
    saving.add_argument("--copy", action="store_true", help="copy blobs also where they could be linked")
    putting = command("restore", _restore, "Put the image of a backup into the home; the service must be down.")
    putting.add_argument("directory", metavar="DIR")
    putting.add_argument("--force", action="store_true", help="set an existing image aside")
    putting.add_argument("--at", default="", metavar="UTC", help="as of this time, yyyy-mm-dd[-hh[-mm[-ss]]]")
    going = command("rollback", _rollback, "Make an earlier transaction the newest; the image as it was is set aside.")
    going.add_argument("tid", metavar="TID", help="the transaction, 16 hexadecimal digits")
    command("verify", _verify, "Check every record, every reference and every blob.")
    return parser


def _text(result: Any) -> str:
    if isinstance(result, Report):
        looked = (
            f"{result.transactions} transactions, {result.records} records, {result.objects} objects, {result.references} references, "
            f"{result.blobs} blobs ({result.blob_bytes} bytes), {result.digests} digests checked"
        )
        problems = [f"{problem.where}: {problem.what}" for problem in result.problems]
        if result.more:
            problems.append(f"… and {result.more} more problems")
        return "\n".join([looked, *problems, "damaged" if problems else "sound"])
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in msgspec.structs.asdict(result).items() if value != "")


def _put_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


if __name__ == "__main__":
    sys.exit(main())
