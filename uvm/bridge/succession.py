"""One bridge follows another: the new one starts beside the old one, is given its listeners, and takes its turn when that one ends.

Owned by each bridge's one thread. They meet at the listener `succession` in the run directory, which no other process of the service
sees. A connection there is the succession itself, and ends with either of the two:

    successor → predecessor   connects
    predecessor → successor   Inheritance, with the descriptors: of the lock, then of the listeners in the order of their names
    successor → predecessor   Awaiting: it has everything that it needs, and waits
    the end of the connection: the successor begins, or is forgotten

So there is nothing to be agreed on when the old one ends, however it ends: a killed one is followed at once, and one whose successor is
killed serves on. Nothing else is handed over: tools and UVMs connect again, and what was not answered is sent again, as after any restart.
"""

import os
import select
import socket as network
import time
from contextlib import suppress
from typing import Final

import msgspec
import structlog
import zmq
from msgspec import Struct

from deploy.settings import Configuration, SettingsError
from uvm.bridge.listeners import SUCCESSION, Listeners, addresses, kind

DRAIN_S: Final = 0.15
"""Seconds that an ending bridge with a successor waits for answers of UVMs: meanwhile nobody is served."""

RETRY_MS: Final = 50
"""After so many milliseconds a tool comes again that an ending bridge with a successor turns away."""

_ANSWER_S: Final = 5.0
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.05
_WORD: Final = 4096
_MOST_DESCRIPTORS: Final = 16


class Inheritance(Struct, tag_field="op", tag="Inheritance", frozen=True, forbid_unknown_fields=True):
    """What a successor is given: listeners of these addresses, by name; `pid` gives them."""

    pid: int
    addresses: dict[str, str]


class Awaiting(Struct, tag_field="op", tag="Awaiting", frozen=True, forbid_unknown_fields=True):
    """The process `pid` is ready to serve."""

    pid: int


class Succession:
    """The serving bridge's side, from `begin` on: who follows. `successor` is the process that waits to, 0 for nobody."""

    def __init__(self, listeners: Listeners, configuration: Configuration, poller: zmq.Poller) -> None:
        self._listeners = listeners
        self._addresses = addresses(configuration)
        self._poller = poller
        self._door = listeners[SUCCESSION].fileno()
        self._heir: network.socket | None = None
        self._begun = False
        self._log = structlog.get_logger("bridge")
        self.successor = 0

    def begin(self) -> None:
        """This bridge serves, and can be followed."""
        self._begun = True
        self._poller.register(self._door, zmq.POLLIN)

    @property
    def last(self) -> bool:
        """Whether nobody else has the listeners, or may go on with them."""
        return self._begun and self._heir is None

    def look(self, ready: dict[object, int]) -> None:
        """What came since the last poll."""
        if self._heir is not None and self._heir.fileno() in ready:
            self._hear(self._heir)
        if self._door in ready:
            with suppress(BlockingIOError):
                self._give(self._listeners[SUCCESSION].accept()[0])

    def close(self) -> None:
        """Let the successor begin."""
        if self._begun:
            self._poller.unregister(self._door)
        self._forget()

    def _give(self, heir: network.socket) -> None:
        if self._heir is not None:
            heir.close()  # there is one; whoever comes may try again
            return
        heir.setblocking(False)
        letter = msgspec.msgpack.encode(Inheritance(os.getpid(), self._addresses))
        try:
            network.send_fds(heir, [letter], self._listeners.descriptors)
        except OSError as error:
            self._log.warning("the listeners could not be given to a successor", reason=str(error))
            heir.close()
            return
        self._heir = heir
        self._poller.register(heir.fileno(), zmq.POLLIN)

    def _hear(self, heir: network.socket) -> None:
        try:
            word = heir.recv(_WORD)
            self.successor = msgspec.msgpack.decode(word, type=Awaiting).pid if word else 0
        except (OSError, msgspec.DecodeError) as error:
            self._log.warning("the successor cannot be understood", reason=str(error))
            word = b""
        if word:
            self._log.info("a successor waits", pid=self.successor)
        else:
            self._log.warning("the successor is gone")
            self._forget()

    def _forget(self) -> None:
        self.successor = 0
        if self._heir is not None:
            self._poller.unregister(self._heir.fileno())
            self._heir.close()
            self._heir = None


class Predecessor:
    """The following bridge's side: who serves until it is its turn, and the listeners that it was given."""

    def __init__(self, connection: network.socket, pid: int, given: Listeners) -> None:
        self._connection = connection
        self.pid = pid
        self.listeners = given

    def await_end(self, stop: int) -> bool:
        """Say that everything is ready, and wait until the other one ends; false: this one is to end before, by the descriptor `stop`."""
        with suppress(OSError):  # it has ended by now
            self._connection.send(msgspec.msgpack.encode(Awaiting(os.getpid())))
        ready, _, _ = select.select([self._connection.fileno(), stop], [], [])
        self.close()
        return stop not in ready

    def close(self) -> None:
        """Be its successor no longer."""
        self._connection.close()


def take_over(configuration: Configuration) -> Predecessor | None:
    """Become the successor of the bridge that serves; None: there is none. Raises SettingsError where it cannot be followed."""
    until = time.monotonic() + _PATIENCE_S
    why = "it has another successor"
    while time.monotonic() < until:
        connection = network.socket(network.AF_UNIX, kind(SUCCESSION))
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(addresses(configuration)[SUCCESSION].removeprefix("ipc://"))
            letter, descriptors, _, _ = network.recv_fds(connection, _WORD, _MOST_DESCRIPTORS, network.MSG_CMSG_CLOEXEC)
            if letter:
                return _inherit(configuration, connection, letter, descriptors)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except TimeoutError:
            why = "it does not answer"
        except OSError as error:  # it has ended just now
            why = str(error)
        connection.close()
        time.sleep(_PAUSE_S)
    raise SettingsError(f"the bridge that serves {configuration.home.path} cannot be followed: {why}")


def _inherit(configuration: Configuration, connection: network.socket, letter: bytes, descriptors: list[int]) -> Predecessor:
    try:
        inheritance = msgspec.msgpack.decode(letter, type=Inheritance)
        wanted = addresses(configuration)
        if inheritance.addresses != wanted:
            raise SettingsError(f"the bridge that serves listens at other addresses than configured, {wanted}; restart it")
        if len(descriptors) != 1 + len(wanted):
            raise SettingsError(f"the bridge that serves gave {len(descriptors)} descriptors for {len(wanted)} listeners; restart it")
    except (msgspec.DecodeError, SettingsError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        connection.close()
        raise SettingsError(str(error)) from error
    lock, *sockets = descriptors
    given = {name: network.socket(fileno=descriptor) for name, descriptor in zip(sorted(wanted), sockets, strict=True)}
    return Predecessor(connection, inheritance.pid, Listeners(lock, given))
