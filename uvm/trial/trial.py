"""A trial as a UVM sees it: one draft being tried in a child, which asks for records and ends with an outcome.

Used by the UVM's only thread, whose loop polls the trial's descriptor. Nothing here ever blocks, and nothing that a child says is more than
the outcome of its own trial: types, sizes and order of what it says are checked, and what was read, what confines it and how it was killed
is known from elsewhere.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from deploy.confinement import Layer, sufficient
from deploy.settings import TrialSettings
from uvm.trial.protocol import (
    LONGEST_SAID,
    Ask,
    Confined,
    Frames,
    FromChild,
    ProtocolViolation,
    Record,
    TrialOutcome,
    TrialRequest,
    framed,
    said_by_child,
)
from uvm.trial.records import readable

START_S = 60.0
"""Seconds that a child may take to say its first word: the first one waits for the server's own start."""

_CHUNK = 1 << 18
_ROUNDS = 32  # questions answered before the UVM gets to do something else

Load = Callable[[bytes, bytes], tuple[bytes, bytes] | None]
"""(oid, tid) → the newest record of the object not after that transaction, and the transaction that wrote it."""


class Liveness(Protocol):
    """What a trial wants of the server that has forked its child."""

    def alive(self) -> bool:
        """Whether there still is one."""

    def done(self, number: int) -> None:
        """The UVM wants nothing more from this child."""

    def how_it_ended(self, number: int) -> str:
        """Why a child is gone whose stream is at its end."""


class Trial:
    """One draft being tried. Ends once, with one outcome, and closes its descriptor then."""

    def __init__(
        self, server: Liveness, number: int, end: socket.socket, request: TrialRequest, load: Load, settings: TrialSettings
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
        self._records = self._record_bytes = 0
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
                chunk = self._socket.recv(_CHUNK)
                if not chunk:
                    return self._killed(self._server.how_it_ended(self._number))
                self._heard(self._frames.feed(chunk))
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

    def _understood(self, message: FromChild, last: bool) -> None:
        if self._layers is None:
            if not isinstance(message, Confined):
                raise ProtocolViolation("the first word must tell what confines the child")
            self._layers = message.layers
            self._until = time.monotonic() + self._settings.wall_s
        elif not last:
            raise ProtocolViolation("a word that did not wait for its answer")
        elif isinstance(message, Ask):
            self._serve(message.oid)
        elif isinstance(message, TrialOutcome):
            if message.kind == "killed":
                raise ProtocolViolation("a child cannot say that it was killed")
            self._end(message)
        else:
            raise ProtocolViolation(f"{type(message).__name__} is not due")

    def _serve(self, oid: bytes) -> None:
        self._records += 1
        if self._records > self._settings.records:
            self._killed(f"trial.records, {self._settings.records}")
            return
        if self._outgoing:
            raise ProtocolViolation("a question before the answer to the last one was read")
        try:
            stored = self._load(oid, self._tid)
        except Exception:
            self.cancel()
            raise
        if stored is not None and not readable(stored[0]):
            stored = None
        self._record_bytes += len(stored[0]) if stored is not None else 0
        if self._record_bytes > self._settings.read_mb * 1_000_000:
            self._killed(f"trial.read_mb, {self._settings.read_mb}")
            return
        if stored is not None and oid not in self._overlay and oid not in self._subjects:
            self._read[oid] = stored[1]
        self._outgoing.append(memoryview(framed(Record(oid, *(stored or (None,))))))
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
