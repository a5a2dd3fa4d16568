"""Trials as a UVM sees them: the server that forks the children, and one draft being tried in one of them.

Used by the UVM's only thread. `TrialServer.start` comes first in its `main()`, before it opens or confines anything;
`begin` starts a trial, whose descriptor the UVM's loop polls. Nothing here ever blocks, and nothing that a child says
is more than the outcome of its own trial: types, sizes and order of what it says are checked, and what was read, what
confines it and how it was killed is known from elsewhere.

Once the server is gone no trial can begin any more, and a confined UVM cannot start another one: it ends cleanly, to be
started anew.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64

from deploy.confinement import Layer, sufficient
from deploy.settings import TrialSettings
from uvm.trial.protocol import (
    LONGEST_SAID,
    Ask,
    Confined,
    Effect,
    Ended,
    Fork,
    Frames,
    FromChild,
    Kill,
    Need,
    NeededThought,
    ProtocolViolation,
    Record,
    TrialError,
    TrialOutcome,
    TrialRequest,
    encode,
    framed,
    said_by_child,
    said_by_server,
)
from uvm.trial.records import readable

MOST = 16
"""Trials that one UVM may have at a time."""

START_S = 60.0
"""Seconds that a child may take to say its first word: the first one waits for the server's own start."""

_STOP_S = 5.0
_CHUNK = 1 << 18
_ROUNDS = 32  # questions answered before the UVM gets to do something else
_LONGEST_PACKET = 4096

Load = Callable[[bytes, bytes], tuple[bytes, bytes] | None]
"""(oid, tid) → the newest record of the object not after that transaction, and the transaction that wrote it."""


class TrialUnavailable(Exception):
    """No trial can begin: the server is gone, or takes no request; the text says which."""


class TrialsBusy(TrialUnavailable):
    """As many trials run as may at a time: one can begin when another one has ended."""


def loader(storage: Any) -> Load:
    """Records out of a ZODB storage."""

    def load(oid: bytes, tid: bytes) -> tuple[bytes, bytes] | None:
        try:
            found = storage.loadBefore(oid, p64(u64(tid) + 1))
        except POSKeyError:
            return None
        return None if found is None else (found[0], found[1])

    return load


class TrialServer:
    """The handle on the server's process."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, settings: TrialSettings) -> None:
        self._process = process
        self._control = control
        self._settings = settings
        self._number = 0
        self._over = False
        self._ended: dict[int, Ended] = {}
        self._pending: set[int] = set()

    @classmethod
    def start(
        cls,
        settings: TrialSettings,
        home: Path | None = None,
        log_level: str = "info",
        *,
        name: str = "trials",
        run: Path | None = None,
        view: bool = True,
    ) -> "TrialServer":
        """Start the server; it is ready some time later, and trials that begin before wait for it. `home`: its working directory.

        `run`: where it says, as `name`, what confines it; `view`: whether it is to have a view of its own.
        Raises OSError when no process can be started.
        """
        root = Path(__file__).parents[2]
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = {
            "parent": os.getpid(),
            "settings": settings,
            "hard_s": START_S + 10 * settings.wall_s,
            "log_level": log_level,
            "name": name,
            "run": str(run or ""),
            "view": view,
        }
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        with other:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "uvm.trial.server", msgspec.json.encode(told).decode()],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=home or root,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # a signal to the UVM's group is the UVM's to act on; the server ends with the UVM
            )
        mine.setblocking(False)
        return cls(process, mine, settings)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when a child ended or the server did; `alive` then finds out which."""
        return self._control.fileno()

    def alive(self) -> bool:
        """Whether trials can still begin. Once false, it stays so."""
        self._listen()
        if not self._over and self._process.poll() is not None:
            self._over = True
        return not self._over

    def statistics(self) -> dict[str, int]:
        """Trials so far, and those that run."""
        return {"begun": self._number, "running": len(self._pending), "alive": int(not self._over)}

    def begin(self, request: TrialRequest, load: Load) -> "Trial":
        """Have a child forked and the draft tried in it. Raises TrialUnavailable."""
        if not self.alive():
            raise TrialUnavailable("the trial server is gone; this process must be started anew")
        if len(self._pending) >= MOST:
            raise TrialsBusy(f"{MOST} trials run already; wait for one to end")
        mine, other = socket.socketpair()
        number = self._number + 1
        try:
            with other:
                socket.send_fds(self._control, [encode(Fork(number))], [other.fileno()])
        except OSError as error:
            mine.close()
            raise TrialUnavailable(f"the trial server takes no request: {error}") from error
        self._number = number
        self._pending.add(number)
        return Trial(self, number, mine, request, load, self._settings)

    def stop(self) -> None:
        """End the server and every child. Waits for at most a few seconds."""
        self._over = True
        self._control.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):  # a confined UVM may signal nobody; the server ends with it
                self._process.kill()
                self._process.wait(_STOP_S)

    # --- for the trials ------------------------------------------------------------------------------------------------

    def done(self, number: int) -> None:
        """The UVM wants nothing more from this child: whatever it does now, it ends."""
        self._pending.discard(number)
        if self._ended.pop(number, None) is None and not self._over:
            try:
                self._control.send(encode(Kill(number)))
            except OSError:
                self._listen()  # the server reads nothing or is gone: its own time limit, or the end of its socket, ends the child

    def how_it_ended(self, number: int) -> str:
        """Why a child is gone whose stream is at its end."""
        self._listen()
        ended = self._ended.get(number)
        if ended is None:
            return "the trial server ended" if not self.alive() else "the trial ended without a word"
        if ended.hard_limit:
            return "the trial server's time limit"
        if ended.status < 0:
            return _SIGNALS.get(-ended.status, f"signal {-ended.status}")
        return _STATUSES.get(ended.status, f"the child ended with status {ended.status}")

    def _listen(self) -> None:
        while not self._over:
            try:
                packet = self._control.recv(_LONGEST_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._over = True
                return
            ended = said_by_server(packet)
            if ended.number in self._pending:
                self._ended[ended.number] = ended


_SIGNALS = {
    int(signal.SIGXCPU): "trial.cpu_s: its processor time is over",
    int(signal.SIGKILL): "a kill from outside, or the machine ran out of memory",
    int(signal.SIGSEGV): "a crash of the interpreter, as when memory ends",
}
_STATUSES = {3: "trial.memory_mb: its memory is full", 255: "no process could be started for it"}


class Trial:
    """One draft being tried. Ends once, with one outcome, and closes its descriptor then."""

    def __init__(
        self, server: TrialServer, number: int, end: socket.socket, request: TrialRequest, load: Load, settings: TrialSettings
    ) -> None:
        end.setblocking(False)
        self._server = server
        self._number = number
        self._socket = end
        self._load = load
        self._settings = settings
        self._tid = request.tid
        self._overlay = frozenset(request.overlay)
        # Whoever shares a method goes on changing while it is corrected; the state of an example's object is the example's.
        self._subjects = frozenset(request.subjects) - {request.receiver, request.holder}
        self._frames = Frames(LONGEST_SAID)
        self._outgoing: deque[memoryview] = deque([memoryview(framed(request))])
        self._read: dict[bytes, bytes] = {}
        self._asked = self._asked_bytes = 0
        self._layers: list[Layer] | None = None
        self._looked = self._began = time.monotonic()
        self._until = self._began + START_S
        self.outcome: TrialOutcome | None = None
        self._flush()

    def fileno(self) -> int:
        """What to poll; -1 once the trial has ended."""
        return self._socket.fileno()

    def events(self) -> int:
        """What to poll it for: `select.POLLIN`, and `POLLOUT` while something waits to be sent."""
        return select.POLLIN | (select.POLLOUT if self._outgoing else 0)

    def on_readable(self) -> TrialOutcome | None:
        """Hear the child and answer it, as far as that goes without waiting. The outcome, if the trial has ended.

        To be called when any of `events` happened. An error of `load` cancels the trial and is raised.
        """
        if self.outcome is not None:
            return self.outcome
        self._flush()
        try:
            for _ in range(_ROUNDS):
                data = self._socket.recv(_CHUNK)
                if not data:
                    return self._killed(self._server.how_it_ended(self._number))
                self._heard(self._frames.feed(data))
                if self.outcome is not None:
                    break
        except BlockingIOError:
            pass
        except ConnectionResetError:
            return self._killed(self._server.how_it_ended(self._number))
        except ProtocolViolation as error:
            return self._killed(f"a violation of the protocol: {error}")
        self._looked = time.monotonic()
        return self.outcome

    def expired(self, now: float) -> TrialOutcome | None:
        """End the trial if its wall time is over or the server is gone. `now`: monotonic seconds. To be called on each round of the loop.

        Time during which this process did not look, while the child waited for it, does not count.
        """
        outcome = self.on_readable()
        if outcome is not None:
            return outcome
        if now >= self._until:
            started = self._layers is not None
            return self._killed(f"trial.wall_s, {self._settings.wall_s:g}" if started else f"no sign of life in {START_S:g} s")
        if not self._server.alive():
            return self._killed("the trial server ended")
        return None

    def cancel(self) -> TrialOutcome:
        """Nobody wants the outcome any more."""
        return self.outcome or self._killed("cancelled")

    # --- what the child says -------------------------------------------------------------------------------------------

    def _heard(self, frames: list[bytes]) -> None:
        for number, frame in enumerate(frames, 1):
            self._understood(said_by_child(frame), number == len(frames))

    def _understood(self, said: FromChild, last: bool) -> None:
        if self._layers is None:
            if not isinstance(said, Confined):
                raise ProtocolViolation("the first word must tell what confines the child")
            self._layers = said.layers
            self._until = time.monotonic() + self._settings.wall_s
        elif not last:
            raise ProtocolViolation("a word that did not wait for its answer")
        elif isinstance(said, Ask):
            self._serve(said.oid)
        elif isinstance(said, TrialOutcome):
            if said.kind == "killed":
                raise ProtocolViolation("a child cannot say that it was killed")
            self._end(said)
        else:
            raise ProtocolViolation(f"{type(said).__name__} is not due")

    def _serve(self, oid: bytes) -> None:
        self._asked += 1
        if self._asked > self._settings.records:
            self._killed(f"trial.records, {self._settings.records}")
            return
        if self._outgoing:
            raise ProtocolViolation("a question before the answer to the last one was read")
        try:
            found = self._load(oid, self._tid)
        except Exception:
            self.cancel()
            raise
        if found is not None and not readable(found[0]):
            found = None
        self._asked_bytes += len(found[0]) if found is not None else 0
        if self._asked_bytes > self._settings.read_mb * 1_000_000:
            self._killed(f"trial.read_mb, {self._settings.read_mb}")
            return
        if found is not None and oid not in self._overlay and oid not in self._subjects:
            self._read[oid] = found[1]
        self._outgoing.append(memoryview(framed(Record(oid, *(found or (None,))))))
        # The child may have waited since this process looked last; that is not the child's time.
        now = time.monotonic()
        self._until += now - self._looked
        self._looked = now
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                first = self._outgoing[0]
                sent = self._socket.send(first)
                if sent < len(first):
                    self._outgoing[0] = first[sent:]
                else:
                    self._outgoing.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()  # the child is gone; the end of its stream says so

    # --- how it ends ---------------------------------------------------------------------------------------------------

    def _killed(self, why: str) -> TrialOutcome:
        return self._end(TrialOutcome(kind="killed", killed_by=why, seconds=time.monotonic() - self._began))

    def _end(self, outcome: TrialOutcome) -> TrialOutcome:
        layers = self._layers or []
        self.outcome = replace(
            outcome,
            read=dict(self._read),
            layers=layers,
            fully_confined=bool(layers) and sufficient(layers),
            killed_by=outcome.killed_by if outcome.kind == "killed" else "",
        )
        self._outgoing.clear()
        self._socket.close()
        self._server.done(self._number)
        return self.outcome


__all__ = [
    "MOST",
    "Effect",
    "Load",
    "Need",
    "NeededThought",
    "Trial",
    "TrialError",
    "TrialOutcome",
    "TrialRequest",
    "TrialServer",
    "TrialUnavailable",
    "TrialsBusy",
    "loader",
]
