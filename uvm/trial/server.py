"""The trial server: forks a confined child for each draft, reaps it, and ends it when it takes too long.

A process of one thread, started by a UVM as an interpreter of its own before that UVM opened anything, so that a child
inherits nothing worth having. It imports what a trial needs, carries out one rehearsal to wake what is imported late, and
from then on forks. Its socket to the UVM is standard input; the end of that socket is its own end.

A child's socket stays open here until the child is reaped and the UVM has been told how it ended: so the UVM finds
`Ended` in the control socket once the trial's stream is at its end.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog
import transaction
from BTrees.OOBTree import OOBTree
from msgspec import Struct
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import POSKeyError

from deploy import confinement, profiles
from deploy.logs import start as start_logs
from deploy.process import Stop, die_with_parent
from deploy.settings import TrialSettings
from uvm.image.image import Database
from uvm.image.methods import primitive
from uvm.objects import PARENTS, Counter, UvmObject
from uvm.protocol import Example
from uvm.runtime.primitives import TRAITS
from uvm.trial.child import live
from uvm.trial.experiment import carry_out
from uvm.trial.protocol import Ended, Fork, Kill, ParentGone, ProtocolViolation, TrialOutcome, TrialRequest, encode, said_to_server

CONTROL = 0
_OWN_MB = 1024  # what the server itself may take beyond what it has, with the tables of many children
_LONGEST_PACKET = 4096
_CHILD_END = 3


class Start(Struct, frozen=True):
    """What the UVM tells the server on its command line, as JSON.

    `hard_s`: wall time after which a child is killed without being asked. `run`: the directory to say in what confines the server,
    as `name`; `view`: whether it is to have a view of its own.
    """

    parent: int
    settings: TrialSettings
    hard_s: float
    log_level: str = "info"
    name: str = "trials"
    run: str = ""
    view: bool = True


class _Child:
    """A child that runs: its end of the trial's socket is kept until it is reaped."""

    def __init__(self, number: int, pid: int, end: socket.socket, until: float) -> None:
        self.number = number
        self.pid = pid
        self.watch = os.pidfd_open(pid)
        self.end = end
        self.until = until
        self.hard_limit = False

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)  # it is not reaped yet, so the number is still its own


class Server:
    """The children, and the loop over them."""

    def __init__(self, control: socket.socket, start: Start, stop: Stop) -> None:
        self._control = control
        self._start = start
        self._stop = stop
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        self._selector.register(stop, selectors.EVENT_READ, None)
        self._children: dict[int, _Child] = {}
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Serve until the UVM closes the control socket or a signal asks for the end."""
        while not self._stop.requested:
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, _Child):
                    self._reap(key.data)
                elif key.fileobj is self._control and not self._obey():
                    return
            self._end_late_ones()

    def close(self) -> None:
        """Kill and reap every child."""
        for child in list(self._children.values()):
            child.kill()
            self._reap(child)
        self._selector.close()

    def _patience(self) -> float | None:
        nearest = min((child.until for child in self._children.values()), default=None)
        return None if nearest is None else max(0.0, nearest - time.monotonic())

    def _obey(self) -> bool:
        """Carry out one command; false at the end of the UVM."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, _LONGEST_PACKET, 1)
        except ConnectionResetError:
            packet = b""  # it closed without having read how the last children ended
        if not packet:
            return False
        command = said_to_server(packet)
        if isinstance(command, Fork) and len(descriptors) == 1:
            self._fork(command.number, socket.socket(fileno=descriptors[0]))
        elif isinstance(command, Kill) and not descriptors:
            child = self._children.get(command.number)
            if child is not None:
                child.kill()
        else:
            raise ProtocolViolation(f"{type(command).__name__} with {len(descriptors)} descriptors")
        return True

    def _fork(self, number: int, end: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._log.error("no child could be forked", number=number, error=str(error))
            self._tell(Ended(number, 255))
            end.close()
            return
        if pid == 0:
            _be_child(end, self._start.settings)
        child = _Child(number, pid, end, time.monotonic() + self._start.hard_s)
        self._children[number] = child
        self._selector.register(child.watch, selectors.EVENT_READ, child)

    def _reap(self, child: _Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(child.watch)
        os.close(child.watch)
        del self._children[child.number]
        self._tell(Ended(child.number, os.waitstatus_to_exitcode(status), child.hard_limit))
        child.end.close()

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.until <= now and not child.hard_limit:
                child.hard_limit = True
                child.until = now + self._start.hard_s
                child.kill()

    def _tell(self, ended: Ended) -> None:
        try:
            self._control.send(encode(ended), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the UVM is gone, and the next round of the loop finds out
        except OSError as error:
            # The UVM does not listen; the end of the trial's stream tells it enough.
            self._log.warning("the end of a child could not be told", number=ended.number, error=str(error))


def _be_child(end: socket.socket, settings: TrialSettings) -> NoReturn:
    """Never returns: this process ends here, without anything that its parent registered for its own end."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        if end.fileno() != _CHILD_END:
            os.dup2(end.fileno(), _CHILD_END, inheritable=False)
        os.closerange(_CHILD_END + 1, os.sysconf("SC_OPEN_MAX"))
        live(socket.socket(fileno=_CHILD_END), settings)
        status = 0
    except (ParentGone, ProtocolViolation):
        status = 2
    except MemoryError:
        status = 3
    finally:
        os._exit(status)


_REHEARSED = """\
def rehearse(self, a):
    twin = self.clone()
    self.tags.append(f"{a}")
    self._p_changed = True
    return self.missing(twin)
"""


def rehearse() -> TrialOutcome:
    """Carry out a trial on a small image, so that everything a trial imports or builds late is there before the first fork."""
    database = Database(MappingStorage())
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = database.open(manager)
    root = connection.root()
    traits = UvmObject({selector: primitive(selector) for selector in TRAITS})
    genesis = UvmObject({PARENTS: [traits], "name": "genesis_obj", "methods": Counter()})
    root["names"], root["message_traits"] = OOBTree({"genesis_obj": genesis}), UvmObject({PARENTS: [traits]})
    root["thing"] = shop = UvmObject({PARENTS: [traits], "name": "thing", "tags": ["old"], "price": 2.5})
    manager.commit()
    oid = shop._p_oid

    def load(oid: bytes) -> tuple[bytes, bytes] | None:
        try:
            record = database.storage.loadBefore(oid, b"\x7f" + b"\xff" * 7)
        except POSKeyError:
            return None
        return None if record is None else record[:2]

    request = TrialRequest(
        tid=database.storage.lastTransaction(),
        receiver=oid,
        holder=oid,
        selector="rehearse",
        source=_REHEARSED,
        positional=1,
        args=["new"],
        examples=[Example("new", ["new"])],
        now=0.0,
        ticks=10_000,
        seconds=5.0,
        author="kernel",
    )
    carry_out(request, load)  # ends in an error: nothing understands `missing`
    outcome = carry_out(msgspec.structs.replace(request, source=_REHEARSED.replace("self.missing(twin)", "a")), load)
    manager.begin()
    manager.abort()
    connection.close()
    database.close()
    return outcome


def main() -> None:
    """`python -m uvm.trial.server JSON`: serve trials over standard input."""
    start = msgspec.json.decode(sys.argv[1], type=Start)
    die_with_parent(signal.SIGTERM, start.parent)
    log = start_logs("trial", start.log_level)
    confinement.preload()  # a child may open no file
    outcome = rehearse()
    if outcome.kind != "ok" or outcome.examples_passed != 1:
        log.error("the rehearsal of a trial failed", outcome=msgspec.to_builtins(outcome, enc_hook=str))
        raise SystemExit("the rehearsal of a trial failed; see the log")
    gc.collect()
    gc.freeze()
    profile = profiles.trial_server_profile(_OWN_MB + start.settings.memory_mb, view=start.view)
    confinement.enter(start.name, profile, Path(start.run) if start.run else None)
    with socket.socket(fileno=os.dup(CONTROL)) as control, Stop() as stop:
        server = Server(control, start, stop)
        try:
            server.run()
        finally:
            server.close()


if __name__ == "__main__":
    main()
