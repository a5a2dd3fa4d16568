"""Backing an image up, and restoring it: ZODB's repozo for the transactions, plain files for the blobs.

A backup directory holds `database/`, repozo's full and incremental files, and `blobs/`, the blobs under the names that
they have in the image. Both only grow: a restore can name any time since the first backup. Works while a server runs.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import zc.lockfile
from msgspec import Struct
from ZODB.scripts import repozo

from deploy.settings import Home
from zeo_server.storage import ImageInUse, holder
from zeo_server.verify import Report, SayProgress, verify

_STALE_TEMPORARY = ".part"


class BackupError(Exception):
    """A backup or a restore that cannot be done; the message says why, and what can be done."""


class BackedUp(Struct, frozen=True):
    """What a backup added. `kind`: full, incremental or unchanged."""

    kind: str
    database_bytes: int
    blobs: int
    blob_bytes: int


class Restored(Struct, frozen=True):
    """What a restore put in place, and where what was there before has gone (empty: nothing was)."""

    database_bytes: int
    blobs: int
    objects: int
    before: str


class _Options:
    """What repozo's functions take. Its names."""

    def __init__(self, repository: str, file: str | None = None, output: str | None = None, date: str | None = None) -> None:
        self.repository = repository
        self.file = file
        self.output = output
        self.date = date
        self.full = False
        self.quick = False
        self.gzip = False
        self.killold = False
        self.withverify = True


def backup(home: Home, directory: Path, *, copy: bool = False, progress: SayProgress = lambda *_: None) -> BackedUp:
    """Add to the backup in `directory`, or begin one, what changed since the last time.

    Blobs are hard-linked where the file systems allow it, since they never change; `copy` makes copies, which outlive a
    disk that damages the file itself. Raises BackupError, OSError.
    """
    if not home.image_file.exists():
        raise BackupError(f"there is no image at {home.image_file}")
    database = directory / "database"
    database.mkdir(parents=True, exist_ok=True)
    with maintenance(home):
        # Before: a blob that a transaction names is in place when the transaction is in the file. After: what was
        # committed in between. So nothing that the saved transactions name can be missing.
        first = save_blobs(home.blobs, directory / "blobs", copy, progress)
        kind, size = _save_database(home, database, progress)
        second = save_blobs(home.blobs, directory / "blobs", copy, progress)
    return BackedUp(kind, size, first[0] + second[0], first[1] + second[1])


def restore(
    home: Home, directory: Path, *, force: bool = False, at: str = "", progress: SayProgress = lambda *_: None
) -> tuple[Restored, Report]:
    """Put the image of a backup into the home, verified; `at` is UTC, `yyyy-mm-dd[-hh[-mm[-ss]]]`, default the newest.

    Raises BackupError when there is an image and not `force` (which sets it aside, under a name of its own), and when
    what was restored does not verify; ImageInUse while a server runs.
    """
    database = directory / "database"
    if not database.is_dir():
        raise BackupError(f"{directory} holds no backup: it has no directory `database`")
    home.ensure()
    with unused(home):
        existing = home.image_file.exists()
        if existing and not force:
            raise BackupError(f"there is an image at {home.image_file}; with --force it is set aside, and the backup takes its place")
        staging = home.path / "restoring"
        shutil.rmtree(staging, ignore_errors=True)
        staged = Home(staging)
        staged.blobs.mkdir(parents=True, mode=0o700)
        _recover(database, staged.image_file, at, progress)
        blobs, _ = save_blobs(directory / "blobs", staged.blobs, True, progress)
        report = verify(staged, progress)
        if report.problems:
            raise BackupError(f"the backup does not verify ({report.problems[0].where}: {report.problems[0].what}); it lies in {staging}")
        before = set_aside(home, "before-restore") if existing else ""
        size = staged.image_file.stat().st_size
        _move_in(staged, home)
    return Restored(size, blobs, report.objects, before), report


@contextlib.contextmanager
def maintenance(home: Home) -> Iterator[None]:
    """Keep packs and backups of one home apart. Raises BackupError when another one runs."""
    descriptor = os.open(home.path / "maintenance.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(f"a pack or a backup of {home.path} is running; try again when it has ended") from error
    finally:
        os.close(descriptor)


def _save_database(home: Home, database: Path, progress: SayProgress) -> tuple[str, int]:
    before = {file.name for file in database.iterdir()}
    progress("transactions", 0, home.image_file.stat().st_size)
    # repozo separates by spaces the names that it writes down, so they must be relative.
    with contextlib.chdir(database):
        _pass_the_second(before)
        try:
            repozo.do_backup(_Options(repository=".", file=str(home.image_file.absolute())))
        except repozo.RepozoError as error:
            raise BackupError(f"repozo: {error}") from error
    written = [file for file in database.iterdir() if file.name not in before and file.suffix in (".fs", ".deltafs")]
    if not written:
        return "unchanged", 0
    kind = "full" if any(file.suffix == ".fs" for file in written) else "incremental"
    return kind, sum(file.stat().st_size for file in written)


def _pass_the_second(names: set[str]) -> None:
    """Wait until the clock has left the second in which the newest of these files was made.

    repozo names files by the second, and of a full and an incremental one made in the same second it would take the
    full one alone.
    """
    newest = max((name.partition(".")[0] for name in names), default="")
    while time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime()) == newest:
        time.sleep(0.05)


def _recover(database: Path, output: Path, at: str, progress: SayProgress) -> None:
    progress("transactions", 0, 1)
    with contextlib.chdir(database):
        try:
            repozo.do_recover(_Options(repository=".", output=str(output.absolute()), date=at or None))
        except (repozo.RepozoError, KeyError, ValueError, OSError) as error:
            raise BackupError(f"the backup in {database} cannot be restored: {error}") from error


def save_blobs(source: Path, target: Path, copy: bool, progress: SayProgress) -> tuple[int, int]:
    """Make the blobs of one directory appear in another, linked or as copies; returns how many were new, and their bytes."""
    count = size = 0
    files = sorted(source.rglob("*.blob")) if source.is_dir() else []
    for number, file in enumerate(files):
        place = target / file.relative_to(source)
        if place.exists():
            continue
        progress("blobs", number, len(files))
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # a pack took it meanwhile: no transaction that is left names it
            size += _link_or_copy(file, place, copy)
            count += 1
    layout = source / ".layout"
    if layout.exists() and not (target / ".layout").exists():
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(layout, target / ".layout")
    return count, size


def _link_or_copy(file: Path, place: Path, copy: bool) -> int:
    if not copy:
        try:
            place.hardlink_to(file)
            return file.stat().st_size
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or another user's file
            pass
    part = place.with_name(place.name + _STALE_TEMPORARY)
    shutil.copyfile(file, part)
    part.chmod(0o400)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(place)
    return place.stat().st_size


@contextlib.contextmanager
def unused(home: Home) -> Iterator[None]:
    """Hold the image's lock for the block. Raises ImageInUse when another process has it."""
    try:
        lock = zc.lockfile.LockFile(str(home.image_file) + ".lock")
    except zc.lockfile.LockError as error:
        raise ImageInUse(f"{home.image_file} is open in process {holder(home)}; stop the service with `batos down` first") from error
    try:
        yield
    finally:
        lock.close()


def _files_of(home: Home) -> list[Path]:
    index = home.image_file.with_name(home.image_file.name + ".index")
    return [path for path in (home.image_file, index, home.blobs) if path.exists()]


def set_aside(home: Home, why: str, *, blobs: bool = True) -> str:
    """Move the image's files to a directory of their own in the home, `<why>-<time>`; returns its path."""
    aside = home.path / f"{why}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    aside.mkdir()
    for path in _files_of(home):
        if blobs or path != home.blobs:
            path.rename(aside / path.name)
    return str(aside)


def _move_in(staged: Home, home: Home) -> None:
    for leftover in _files_of(home):
        # Blobs without an image: nothing names them.
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    for path in (staged.blobs, *(path for path in _files_of(staged) if path != staged.blobs)):
        path.rename(home.path / path.name)
    shutil.rmtree(staged.path)
