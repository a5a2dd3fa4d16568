"""What the bridge listens on: ordinary listening sockets, made here and lent to ZeroMQ, so that they can outlive one bridge.

Owned by the bridge's one thread. ZeroMQ accepts on a copy of a socket's descriptor (`ZMQ_USE_FD`) and leaves the file of a Unix socket
alone; who made the socket, or was given it (`uvm.bridge.succession`), removes the file in the end. `bridge.lock` goes with them: its lock
lasts as long as any process has the descriptor open, and whoever has it is the bridge of this home, or will be.
"""

import fcntl
import os
import socket as network
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import zmq

from deploy.settings import Configuration, SettingsError, is_tcp

BACKLOG: Final = 1024
"""Connections that wait to be accepted: while one bridge follows another, everybody comes again at once."""

SUCCESSION: Final = "succession"
OVER_TCP: Final = "_tcp"
"""After a listener's name: the same for those who come over TCP."""

_LOCK_PAUSE_S: Final = 0.02


def addresses(configuration: Configuration) -> dict[str, str]:
    """Everything that a bridge of this configuration listens on, by name."""
    settings = configuration.settings.bridge
    listed = {
        "uvms": configuration.uvms_endpoint,
        "events": configuration.events_endpoint,
        "tools": configuration.bridge_socket,
        SUCCESSION: f"ipc://{configuration.home.run}/succession.sock",
    }
    if is_tcp(settings.endpoint):
        listed["tools" + OVER_TCP] = settings.endpoint
    if is_tcp(settings.events):
        listed["events" + OVER_TCP] = settings.events
    elif not settings.events and is_tcp(settings.endpoint):
        listed["events" + OVER_TCP] = f"{settings.endpoint.rpartition(':')[0]}:*"
    return listed


class Listeners:
    """Listening sockets by the names of `addresses`, and the lock that goes with them."""

    def __init__(self, lock: int, sockets: Mapping[str, network.socket]) -> None:
        self._lock = lock
        self._sockets = dict(sockets)

    @classmethod
    def bound(cls, configuration: Configuration, patience_s: float = 0.0) -> Self:
        """New ones. `patience_s`: how long to wait for a bridge that is ending. Raises SettingsError."""
        made = cls(_lock(configuration, patience_s), {})
        try:
            for name, address in addresses(configuration).items():
                outside = not is_tcp(address) and Path(address.removeprefix("ipc://")).parent != configuration.home.run
                made._sockets[name] = _listening(address, kind(name), open_to_all=outside and name != "uvms")
        except SettingsError:
            made.close(remove=True)
            raise
        return made

    @property
    def descriptors(self) -> list[int]:
        """The lock's descriptor, and those of the sockets in the order of their names."""
        return [self._lock, *(self._sockets[name].fileno() for name in self.names)]

    @property
    def names(self) -> Sequence[str]:
        """What there is, sorted."""
        return sorted(self._sockets)

    def __getitem__(self, name: str) -> network.socket:
        return self._sockets[name]

    def __contains__(self, name: str) -> bool:
        return name in self._sockets

    def lend(self, name: str, socket: "zmq.Socket[bytes]") -> str:
        """Have a ZeroMQ socket accept on a listener; the address in full."""
        listener = self._sockets[name]
        socket.setsockopt(zmq.USE_FD, os.dup(listener.fileno()))  # ZeroMQ closes it
        unix = listener.family == network.AF_UNIX
        socket.bind(_ipc(listener.getsockname()) if unix else "tcp://{}:{}".format(*listener.getsockname()))
        return socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def close(self, *, remove: bool) -> None:
        """Close them, and give up the lock. `remove`: the files of Unix sockets as well, while the lock is held: nobody else has them."""
        for socket in self._sockets.values():
            path = socket.getsockname() if socket.family == network.AF_UNIX else ""
            if remove and isinstance(path, str) and path:
                Path(path).unlink(missing_ok=True)
            socket.close()
        os.close(self._lock)


def kind(name: str) -> int:
    """The kind of socket that a listener is: ZeroMQ speaks over streams, bridges among each other in whole words."""
    return network.SOCK_SEQPACKET if name == SUCCESSION else network.SOCK_STREAM


def _lock(configuration: Configuration, patience_s: float) -> int:
    """Take `bridge.lock` in the run directory. Raises SettingsError when another bridge has it: to bind alone would take its sockets'
    names away in silence.
    """
    lock = os.open(configuration.home.run / "bridge.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(_LOCK_PAUSE_S)
                continue
            os.close(lock)
            raise SettingsError(f"another bridge serves {configuration.home.path}; stop it, or choose another BATOS_HOME") from None
        return lock


def _listening(address: str, kind: int, *, open_to_all: bool) -> network.socket:
    """Listen on an address. One outside the closed run directory is for other users as well (each connection is asked who it is), and is
    made so: a confined process cannot change the rights of a file that is there.
    """
    before = os.umask(0o111) if open_to_all else None
    socket = network.socket(network.AF_INET if is_tcp(address) else network.AF_UNIX, kind)
    try:
        if is_tcp(address):
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            socket.setsockopt(network.SOL_SOCKET, network.SO_REUSEADDR, 1)
            socket.bind(("" if host == "*" else host, 0 if port == "*" else int(port)))
        else:
            path = address.removeprefix("ipc://")
            if not path.startswith("@"):
                Path(path).unlink(missing_ok=True)  # what a bridge left that was killed
            socket.bind("\0" + path[1:] if path.startswith("@") else path)
        # Two bridges may be told of the same connection: who comes second must not wait for the next one.
        socket.setblocking(False)
        socket.listen(BACKLOG)
    except (OSError, ValueError) as error:
        socket.close()
        raise SettingsError(f"the bridge cannot listen on {address}: {error}; free it, or set another in [bridge]") from error
    finally:
        if before is not None:
            os.umask(before)
    return socket


def _ipc(name: str | bytes) -> str:
    """ZeroMQ's word for a Unix socket's name."""
    return f"ipc://{name}" if isinstance(name, str) else f"ipc://@{name[1:].decode()}"
