"""The files of an image as of any transaction: what is broken, the last transaction that boots, and what going back to it would lose.

`python -m uvm.awakening.rewind check | list | find | at TID`, run by `batos image check` and `batos image rollback`, prints one JSON value.
It reads the files alone, whoever has them open, trusts no index, and changes nothing; `python -m zeo_server.image rollback` goes back.
Exit status: 0 it boots or there is a way back, 1 it does not, 2 it could not be looked at.
"""

import argparse
import hashlib
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, field
from ZODB._compat import PersistentUnpickler
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileIterator, packed_version
from ZODB.POSException import POSError, POSKeyError
from ZODB.TimeStamp import TimeStamp
from ZODB.utils import z64

from deploy.settings import Home, SettingsError, load
from uvm.awakening.check import BACK, Checked, check
from uvm.errors import ImageError
from uvm.image.image import Database, Image, allowed_class
from uvm.objects import KIND

_LISTED = 500
_NEWEST = 20
_RESTORE = "restore a backup: `batos image restore DIR --force` sets what is there aside"


class Message(Struct, frozen=True):
    """A message that changed something, as the journal has it. `at`: seconds since the epoch."""

    session: str
    seq: int
    selector: str
    at: int


class LostAfter(Struct):
    """What would be gone: everything after a transaction. Times are UTC, `unread` the bytes that nothing can be read of."""

    transactions: int = 0
    first: str = ""
    last: str = ""
    messages: list[Message] = field(default_factory=list)
    more_messages: int = 0
    names: list[str] = field(default_factory=list)
    unread: int = 0


class Way(Struct, frozen=True):
    """A way back: the transaction that would be the newest one, in hex, its time (UTC), and what is after it."""

    tid: str
    time: str
    lost: LostAfter


class _Files(FileStorage):
    """The file itself: an index beside it may be as damaged as what it is an index of, and is a pickle."""

    def __init__(self, file: Path, end: int | None) -> None:
        self._file: Any = None
        self._end = end
        try:
            super().__init__(str(file), read_only=True)
        except BaseException:
            if self._file is not None:
                self._file.close()
            raise

    def _restore_index(self) -> None:
        # Called between opening the file and reading it. ZODB's own `stop` would read on, into what may be damaged.
        if self._end is not None:
            self._file = _Beginning(self._file, self._end)


class _Beginning:
    """The first bytes of a file, as if it had no others."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._end = end
        self.name = file.name
        self.close = file.close
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(self._end + offset) if whence == os.SEEK_END else self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._end - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


@contextmanager
def image_at(home: Home, tid: bytes | None = None) -> Iterator[Image | None]:
    """The image as of a transaction, read only; None when it has no root yet. Raises what broken files make ZODB raise."""
    _expect_image(home.image_file)
    storage = _Files(home.image_file, None if tid is None else _end_of(home.image_file, tid))
    try:
        try:
            storage.load(z64)
        except POSKeyError:
            yield None
            return
        image = Image(Database(storage))
        try:
            image.manager.begin()
            yield image
        finally:
            image.close()
    finally:
        storage.close()


def look(home: Home, tid: bytes | None = None, *, thorough: bool = False) -> Checked:
    """Check the image as of a transaction. `thorough`: the digests of its blobs as well. Raises FileNotFoundError."""
    try:
        with image_at(home, tid) as image:
            return Checked() if image is None else check(image, home.blobs, _digest if thorough else None)
    except FileNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file makes ZODB raise anything
        broken = Checked()
        broken.add(str(home.image_file), f"cannot be opened: {type(error).__name__}: {error}", _way_out(error), fatal=True)
        return broken


def find(home: Home) -> bytes | None:
    """The newest transaction after which the image boots, and after the next of which it does not; None where there is none.

    Steps back by 1, 2, 4, … transactions and then halves: an image of a million transactions is opened some forty times.
    """
    tids = transactions(home)

    broken, step = len(tids), 1
    while broken > 0:
        candidate = max(0, broken - step)
        if _boots(home, tids[candidate]):
            good = candidate
            while broken - good > 1:
                middle = (good + broken) // 2
                good, broken = (middle, broken) if _boots(home, tids[middle]) else (good, middle)
            return tids[good]
        broken, step = candidate, step * 2
    return None


def _boots(home: Home, tid: bytes) -> bool:
    checked = look(home, tid)
    return checked.awake and checked.boots


def transactions(home: Home) -> list[bytes]:
    """The transactions of the file, oldest first, as far as it can be read."""
    return [transaction.tid for transaction in _readable(home.image_file)]


def lost_after(home: Home, tid: bytes) -> LostAfter:
    """What is in the file after a transaction, as far as it can be read."""
    lost = LostAfter()
    entries: dict[bytes, list[Any]] = {}
    end = 0
    for transaction in _readable(home.image_file):
        end = transaction._tend + 8
        if transaction.tid <= tid:
            continue
        lost.transactions += 1
        lost.last = utc(transaction.tid)
        lost.first = lost.first or lost.last
        for record in transaction:
            if (page := _journal_page(record.data)) is not None:
                entries[record.oid] = page
    lost.unread = home.image_file.stat().st_size - end
    with image_at(home, tid) as image:
        if image is None:
            return lost
        messages = [message for oid, page in entries.items() for message in page[_entry_count(image, oid) :]]
        names = set(image.names) if "names" in image.root else set()
    known_messages = [message for message in map(_message, messages) if message is not None]
    lost.messages = sorted(known_messages, key=lambda message: message.at)[-_LISTED:]
    lost.more_messages = len(known_messages) - len(lost.messages)
    lost.names = sorted(_newest_names(home) - names)
    return lost


def utc(tid: bytes) -> str:
    """The time of a transaction."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(TimeStamp(tid).timeTime()))


def _end_of(file: Path, tid: bytes) -> int:
    for transaction in _readable(file):
        if transaction.tid == tid:
            return int(transaction._tend) + 8
    raise ValueError(f"it has no transaction {tid.hex()} that can be read")


def _expect_image(file: Path) -> None:
    with file.open("rb") as stream:
        begins = stream.read(len(packed_version))
    if begins != packed_version:
        raise ValueError(f"it begins with {begins!r}, and an image with {packed_version!r}")


def _readable(file: Path) -> Iterator[Any]:
    try:
        _expect_image(file)
        transactions = FileIterator(str(file))
        try:
            yield from transactions
        finally:
            transactions.close()
    except FileNotFoundError:
        raise
    except (POSError, ValueError, OSError):
        return  # what follows cannot be told apart


def _journal_page(record: bytes | None) -> list[Any] | None:
    """The entries of a record that is a page of a journal."""
    if record is None:
        return None
    unpickler = PersistentUnpickler(allowed_class, lambda reference: None, io.BytesIO(record))
    try:
        unpickler.load()
        slots = unpickler.load()["_slots"]
        entries = slots["entries"] if slots[KIND] == "journal" else None
    except Exception:  # noqa: BLE001  broken bytes make an unpickler raise anything
        return None
    return entries if isinstance(entries, list) else None


def _entry_count(image: Image, oid: bytes) -> int:
    """How many entries of a page are there already; entries are only ever appended."""
    try:
        return len(image.connection.get(oid).own("entries", []))
    except (POSError, ImageError):
        return 0


def _message(entry: Any) -> Message | None:
    try:
        return msgspec.convert(entry, Message)
    except msgspec.ValidationError:
        return None


def _newest_names(home: Home) -> set[str]:
    try:
        with image_at(home) as image:
            return set() if image is None else {name for name in image.names if isinstance(name, str)}
    except Exception:  # noqa: BLE001  the newest state may be broken in any way; then its names are not known
        return set()


def _way_out(error: Exception) -> str:
    return _RESTORE if isinstance(error, POSError | ValueError) else BACK


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Look at the files of an image, as of any transaction.")
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("check", help="what of the newest state is broken")
    commands.add_parser("list", help="the newest transactions, and after which of them the image boots")
    commands.add_parser("find", help="the last transaction that boots, and what is after it")
    commands.add_parser("at", help="whether the image boots as of a transaction, and what is after it").add_argument("tid")
    options = parser.parse_args()
    try:
        home = load().home
        if options.command == "check":
            checked = look(home, thorough=True)
            _put({"boots": checked.boots, **msgspec.to_builtins(checked)})
            return 1 if checked.problems else 0
        if options.command == "list":
            newest = transactions(home)[: -_NEWEST - 1 : -1]
            _put([{"tid": tid.hex(), "time": utc(tid), "boots": _boots(home, tid)} for tid in newest])
            return 0
        tid = find(home) if options.command == "find" else bytes.fromhex(options.tid)
        if tid is None or (options.command == "at" and tid not in transactions(home)):
            _put(None)
            return 1
        _put({"boots": _boots(home, tid), **msgspec.to_builtins(Way(tid.hex(), utc(tid), lost_after(home, tid)))})
    except (SettingsError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _put(value: Any) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
