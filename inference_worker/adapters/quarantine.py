"""Where damaged adapters go: moved out of the way with the reason, so that nobody reads them again and somebody can look.

    $BATOS_HOME/adapters/.quarantine/<digest>-<n>/reason.txt    when, and what was wrong
    $BATOS_HOME/adapters/.quarantine/<digest>-<n>/files/        the directory as it was found

Moving is one rename on one file system: a file that is a link to one of the image's blobs stays that link, and is neither written
nor copied. `n` counts how often files under this digest were refused; only the last of them are kept, and of
all digests the last `MOST`. A digest that is quarantined is not condemned: what its owner puts under it again is read and
judged anew (docs/adapters.md, repair). Several threads may call it; the directory is the state, so that it survives the worker.
"""

import contextlib
import os
import re
import shutil
import threading
import time
from pathlib import Path

import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)

MOST = 32
"""Entries kept; the oldest goes first."""

DIRECTORY = ".quarantine"
_ENTRY = re.compile(r"(?P<digest>[0-9a-f]{64})-(?P<times>[1-9][0-9]{0,8})")
_LONGEST_REASON = 4000


class Quarantined(Struct, frozen=True):
    """One entry. `times`: how often files under this digest were refused; `at`: seconds since the epoch; `size`: bytes."""

    digest: str
    times: int
    at: float
    reason: str
    size: int


class Quarantine:
    """The quarantine of one directory of adapters. Entries that a crash left without files or reason are swept at the start."""

    def __init__(self, adapters: Path) -> None:
        self._adapters = adapters
        self._directory = adapters / DIRECTORY
        self._lock = threading.Lock()
        for place, _, _ in self._places():
            if not (place / "reason.txt").is_file() or not os.path.lexists(place / "files"):
                shutil.rmtree(place, ignore_errors=True)

    def put(self, digest: str, reason: str) -> bool:
        """Move the adapter here; False when it is not there (any more) or cannot be moved, which is logged."""
        source = self._adapters / digest
        with self._lock:
            if not os.path.lexists(source):
                return False
            earlier = [times for _, refused, times in self._places() if refused == digest]
            place = self._directory / f"{digest}-{max(earlier, default=0) + 1}"
            try:
                place.mkdir(parents=True)
                _write_synced(place / "reason.txt", f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n{reason[:_LONGEST_REASON]}\n")
                _move(source, place / "files")
            except OSError as error:
                shutil.rmtree(place, ignore_errors=True)
                log.error("adapter is damaged and cannot be moved to quarantine", adapter=digest, reason=reason, error=str(error))
                return False
            self._prune(digest, place)
        log.warning("adapter quarantined", adapter=digest, reason=reason, place=str(place))
        return True

    def entries(self) -> list[Quarantined]:
        """What is here, the latest last."""
        entries = []
        for place, digest, times in self._places():
            with contextlib.suppress(OSError):
                lines = (place / "reason.txt").read_text(errors="replace").split("\n", 1)
                at = (place / "reason.txt").stat().st_mtime
                entries.append(Quarantined(digest, times, at, lines[-1].strip(), _size(place / "files")))
        return sorted(entries, key=lambda entry: (entry.at, entry.times))

    def reason(self, digest: str) -> str | None:
        """Why files under this digest were refused last; None when none were."""
        return next((entry.reason for entry in reversed(self.entries()) if entry.digest == digest), None)

    def _places(self) -> list[tuple[Path, str, int]]:
        try:
            names = sorted(entry.name for entry in self._directory.iterdir())
        except FileNotFoundError:
            return []
        matches = ((name, _ENTRY.fullmatch(name)) for name in names)
        return [(self._directory / name, match["digest"], int(match["times"])) for name, match in matches if match]

    def _prune(self, digest: str, newest: Path) -> None:
        places = self._places()
        dated = sorted((place for place, _, _ in places), key=lambda place: place.stat().st_mtime)
        surplus = dated[: max(0, len(dated) - MOST)]
        repeated = [place for place, refused, _ in places if refused == digest]
        for place in {*surplus, *repeated} - {newest}:
            shutil.rmtree(place, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except PermissionError:
        # A directory that changes its parent must be writable itself.
        source.chmod(0o755)
        source.rename(target)
    for directory in (target.parent, source.parent):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_synced(file: Path, text: str) -> None:
    with file.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _size(directory: Path) -> int:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    return 0
