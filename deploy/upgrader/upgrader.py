"""The upgrader, `python -m deploy.upgrader`, under supervisord: takes one wish after the other, and carries each to its end.

One thread; watchdog has another, which only wakes it. It begins by going on with what it finds unfinished, so that it may end at any
moment. It runs as whoever started the service, not confined: it installs packages and tells supervisord what to start. So it takes
nothing but signed wishes, in a format that has no room for commands.
"""

import fcntl
import os
import select
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from deploy import logs, settings
from deploy.home import Home
from deploy.process import Stop
from deploy.settings import Configuration, SettingsError
from deploy.upgrader import door, instructions, journal
from deploy.upgrader.events import Event, RecordOutcome, UpgradeInstruction, UpgraderStarted, UpgradeStepFailed, WishRefused, WishSeen
from deploy.upgrader.instructions import BadInstructions
from deploy.upgrader.journal import UpgradeJournal
from deploy.upgrader.process import InvalidUpgradeEvent, UpgradeProcess
from deploy.upgrader.pulse import BridgeWatch
from deploy.upgrader.switching import Switchboard
from deploy.upgrader.works import Works

RECORDS: Final = 200
"""Upgrades whose journals are kept; the oldest go first."""
RECEIPT_TRIES: Final = 20
_LOOK_S: Final = 5.0
_PAUSE_S: Final = 3.0

log = structlog.get_logger()


class InstructionCarrier(Protocol):
    """Who carries instructions out: `deploy.upgrader.works.Works`, or a test's own."""

    def carry_out(self, number: int, instruction: UpgradeInstruction, tell: Callable[[Event], None]) -> Event | None: ...


class Upgrader:
    """Takes wishes from a home. `works` carries out; `stopped` says that the process is to end."""

    def __init__(self, home: Home, works: InstructionCarrier, stopped: Callable[[], bool], pause_s: float = _PAUSE_S) -> None:
        self.let_in: Callable[[], WishRefused | None] = lambda: None
        """Has a wish of the image's own wait like anybody's, and says what was refused: `deploy.upgrader.door`."""
        self._home = home
        self._works = works
        self._stopped = stopped
        self._pause_s = pause_s

    def go_on(self) -> None:
        """Carry every upgrade that is unfinished to its end."""
        for number in journal.numbers(self._home):
            directory = journal.directory_of(self._home, number)
            try:
                process = journal.replayed(directory)
            except InvalidUpgradeEvent as error:
                log.error("an upgrade's journal cannot be read, and is left", number=number, error=str(error))
                continue
            if process.stage == "new":  # its wish was not written down yet, and is still there
                shutil.rmtree(directory)
            elif not process.settled and not self._stopped():
                log.warning("going on with an upgrade", number=number, stage=process.stage)
                self._carry(process, UpgradeJournal(directory), UpgraderStarted(at=time.time()))

    def look(self) -> bool:
        """Take a wish, if there is one, and carry it to its end; whether there was one."""
        if refused := self.let_in():
            self._begin(refused, b"", lambda: None)
            return True
        path = self._home.upgrades / instructions.FILE
        content = b""
        event: WishSeen | WishRefused
        try:
            content = instructions.read(path)
            event = WishSeen(at=time.time(), wish=instructions.verified(self._home, content))
        except FileNotFoundError:
            return False
        except BadInstructions as bad:
            event = WishRefused(at=time.time(), why=str(bad)[:1000])
        if isinstance(event, WishSeen) and journal.wished(self._home, event.wish.id) is not None:
            path.unlink(missing_ok=True)  # it was taken before, by an upgrader that ended before it could say so
            return True
        self._begin(event, content, lambda: _take_away(path, journal.directory_of(self._home, self._newest())))
        return True

    def _begin(self, event: WishSeen | WishRefused, content: bytes, taken: Callable[[], None]) -> None:
        """A new upgrade, from what came on. `content`: the file of the wish; `taken`: once it is written down."""
        number = self._newest() + 1
        record = UpgradeJournal(journal.directory_of(self._home, number))
        (record.directory / instructions.FILE).write_bytes(content)
        log.info("a wish", number=number, refused=event.why if isinstance(event, WishRefused) else "")
        self._carry(UpgradeProcess(number), record, event, taken)
        self._forget_oldest()

    def _newest(self) -> int:
        return max(journal.numbers(self._home), default=0)

    def rollback_asked(self) -> str:
        """Who asks for an earlier environment now; such a wish is taken with that. Nobody: an empty text."""
        path = self._home.upgrades / instructions.FILE
        with suppress(FileNotFoundError, BadInstructions):
            wish = instructions.verified(self._home, instructions.read(path))
            if wish.back_to is not None:
                path.unlink(missing_ok=True)
                return wish.asked_by or "somebody"
        return ""

    def _carry(self, process: UpgradeProcess, record: UpgradeJournal, event: Event, taken: Callable[[], None] = lambda: None) -> None:
        """From an event on, until nothing more is to be done or the upgrader is to end. `taken`: once the event is written down."""

        def take(happened: Event) -> list[UpgradeInstruction]:
            told = process.handle(happened)
            record.append(happened)
            log.info(type(happened).__name__, number=process.number, stage=process.stage)
            return told

        pending = deque(take(event))
        taken()
        tries = 0
        while pending and not self._stopped():
            instruction = pending.popleft()
            came = self._works.carry_out(process.number, instruction, lambda happened: pending.extend(take(happened)))
            if came is None:
                continue
            if isinstance(came, UpgradeStepFailed):
                log.warning("a step failed", number=process.number, stage=process.stage, why=came.why)
                if self._stopped():
                    return
                if isinstance(instruction, RecordOutcome):
                    tries += 1
                    if tries < RECEIPT_TRIES:
                        pending.appendleft(instruction)
                        time.sleep(self._pause_s)
                    continue
            pending.extend(take(came))
        if process.ended:
            record.release()

    def _forget_oldest(self) -> None:
        numbers = journal.numbers(self._home)
        for number in numbers[: max(0, len(numbers) - RECORDS)]:
            shutil.rmtree(journal.directory_of(self._home, number), ignore_errors=True)


def _take_away(path: Path, directory: Path) -> None:
    """Remove the file of a wish; whatever else has its name goes to the upgrade's directory."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        path.rename(directory / "refused")


class _Waker(FileSystemEventHandler):
    """Writes into a pipe whenever something happens in the directory."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread."""
        with suppress(BlockingIOError):
            os.write(self._writer, b"w")

    def drain(self) -> None:
        """Forget what has been said so far."""
        with suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass


def watch(upgrader: Upgrader, directory: Path, stop: Stop) -> None:
    """Take wishes until the stop is requested."""
    waker = _Waker()
    observer = Observer()
    try:
        observer.schedule(waker, str(directory))
        observer.start()
    except OSError as error:  # no more inotify watches on this host
        log.warning("the directory is looked at by the second", error=str(error))
        observer = PollingObserver()
        observer.schedule(waker, str(directory))
        observer.start()
    try:
        upgrader.go_on()
        while not stop.requested:
            if not upgrader.look():
                select.select([stop.fileno(), waker.reader], [], [], _LOOK_S)
            waker.drain()
    finally:
        observer.stop()
        observer.join()


def main() -> int:
    """Entry point."""
    try:
        configuration = settings.load()
        configuration.home.ensure()
    except (SettingsError, OSError) as error:
        logs.start("upgrader", "info").error("cannot start", reason=str(error))
        return 2
    logs.start("upgrader", configuration.settings.logs.level)
    records = configuration.home.upgrade_records
    records.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Stop() as stop, (records / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another upgrader serves this home", home=str(configuration.home.path))
            return 1
        serve(configuration, stop)
    log.info("ended")
    return 0


def serve(configuration: Configuration, stop: Stop) -> None:
    """Take wishes for a home until the stop is requested."""

    def stopped() -> bool:
        return stop.requested

    with BridgeWatch(configuration.bridge_socket) as bridge:
        works = Works(configuration, Switchboard(configuration, bridge, stopped), stopped)
        upgrader = Upgrader(configuration.home, works, stopped)
        works.rollback_asked = upgrader.rollback_asked
        upgrader.let_in = lambda: door.let_in(configuration, time.time())
        watch(upgrader, configuration.home.upgrades, stop)
