"""The trial server as a UVM sees it: the process that forks a child for each draft.

Used by the UVM's only thread. `TrialServer.start` comes first in its `main()`, before it opens or confines anything; `begin` starts a trial
(`uvm.trial.trial`). Nothing here ever blocks, but for `stop`.

Once the server is gone no trial can begin any more, and a confined UVM cannot start another one: it ends cleanly, to be
started anew.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64

from deploy.settings import TrialSettings
from uvm.trial.protocol import Ended, Fork, Kill, TrialRequest, encode, said_by_server
from uvm.trial.trial import START_S, Load, Trial

MOST = 16
"""Trials that one UVM may have at a time."""

_STOP_S = 5.0
_LONGEST_PACKET = 4096


class TrialUnavailable(Exception):
    """No trial can begin: the server is gone, or takes no request; the text says which."""


class TrialsBusy(TrialUnavailable):
    """As many trials run as may at a time: one can begin when another one has ended."""


def loader(storage: Any) -> Load:
    """Records out of a ZODB storage."""

    def load(oid: bytes, tid: bytes) -> tuple[bytes, bytes] | None:
        try:
            record = storage.loadBefore(oid, p64(u64(tid) + 1))
        except POSKeyError:
            return None
        return None if record is None else (record[0], record[1])

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
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        start = {
            "parent": os.getpid(),
            "settings": settings,
            "hard_s": START_S + 10 * settings.wall_s,
            "log_level": log_level,
            "name": name,
            "run": str(run or ""),
            "view": view,
        }
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "uvm.trial.server", msgspec.json.encode(start).decode()],
                stdin=theirs.fileno(),
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

    def begin(self, request: TrialRequest, load: Load) -> Trial:
        """Have a child forked and the draft tried in it. Raises TrialUnavailable."""
        if not self.alive():
            raise TrialUnavailable("the trial server is gone; this process must be started anew")
        if len(self._pending) >= MOST:
            raise TrialsBusy(f"{MOST} trials run already; wait for one to end")
        mine, theirs = socket.socketpair()
        number = self._number + 1
        try:
            with theirs:
                socket.send_fds(self._control, [encode(Fork(number))], [theirs.fileno()])
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
