"""The upgrader's journals: for each upgrade a directory, `supervision/upgrades/N/`, whose `journal` has its events, one a line, as JSON.

An event is in the file, and the file on the disk, before anything that it leads to is done. A line that was cut off by a death is no
event: it is taken away before the next one is written. Beside it lie `log`, what the steps wrote, and what they need on the way.
`reserve` is room on the disk that is given up when there is no other: an upgrade that filled the disk must be able to go back.
Written by the upgrader's one thread; `UpgradeProcess` of a journal may be read by anybody at any time.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from deploy import durable
from deploy.home import Home
from deploy.upgrader.events import Event
from deploy.upgrader.process import InvalidUpgradeEvent, UpgradeProcess

RESERVE: Final = 1_000_000
"""Bytes kept free for the way back: the journal's lines and supervisord's configuration."""
_JOURNAL: Final = "journal"
_RESERVE: Final = "reserve"
_decoder = msgspec.json.Decoder(Event)


class UpgradeJournal:
    """The journal of one upgrade, to be written. The directory is made with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not directory.exists():
            directory.mkdir(parents=True, mode=0o700)
            durable.sync(directory.parent)
            (directory / _RESERVE).write_bytes(bytes(RESERVE))
        self._path = directory / _JOURNAL

    def append(self, event: Event) -> None:
        """Write an event down; when this returns, it survives a power failure."""
        try:
            self._append(event)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self.release():
                raise
            self._append(event)

    def release(self) -> bool:
        """Give up the room that was kept for the way back; whether there was some."""
        kept = (self.directory / _RESERVE).exists()
        (self.directory / _RESERVE).unlink(missing_ok=True)
        return kept

    def _append(self, event: Event) -> None:
        existed = self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                file.truncate(whole)
            file.seek(whole)
            file.write(msgspec.json.encode(event) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if not existed:
            durable.sync(self.directory)


def read(directory: Path) -> list[Event]:
    """The events of a journal, in order; none where there is no journal yet. Raises InvalidUpgradeEvent for what is none."""
    try:
        content = (directory / _JOURNAL).read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [_decoder.decode(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except msgspec.DecodeError as error:
        raise InvalidUpgradeEvent(f"{directory / _JOURNAL} is damaged: {error}") from error


def replayed(directory: Path) -> UpgradeProcess:
    """The upgrade that a journal tells of. Raises InvalidUpgradeEvent."""
    process = UpgradeProcess(int(directory.name))
    for event in read(directory):
        process.handle(event)
    return process


def numbers(home: Home) -> list[int]:
    """The numbers of all upgrades, oldest first."""
    try:
        return sorted(int(entry.name) for entry in home.upgrade_records.iterdir() if entry.name.isdigit())
    except FileNotFoundError:
        return []


def directory_of(home: Home, number: int) -> Path:
    """Where everything of one upgrade is."""
    return home.upgrade_records / str(number)


def every(home: Home) -> Iterator[UpgradeProcess]:
    """All upgrades, oldest first; those whose journal cannot be read are left out."""
    for number in numbers(home):
        try:
            yield replayed(directory_of(home, number))
        except InvalidUpgradeEvent:
            continue


def wished(home: Home, identifier: str) -> UpgradeProcess | None:
    """The upgrade that carries out the wish of this id, or refused it."""
    return next((upgrade for upgrade in every(home) if upgrade.wish_id == identifier), None)
