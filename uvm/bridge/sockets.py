"""The bridge's sockets: how they are bound, what bounds them, and how their frames are read. Used by the bridge's one thread."""

import fcntl
import os
import socket as network
from collections.abc import Mapping
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM
from typing import IO

import zmq

from deploy import keys
from deploy.settings import Configuration, SettingsError, is_tcp
from uvm.bridge import principals

LINGER_MS = 1000

NOBLOCK = int(zmq.NOBLOCK)
MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: to join two of pyzmq's flags anew for each frame costs as much as to send it."""

_ANYWHERE = ("0.0.0.0", "[::]", "*")

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]
Options = Mapping[zmq.SocketOption, int | bytes]


def only_bridge(configuration: Configuration) -> IO[str]:
    """Take `bridge.lock` in the run directory, which lasts as long as the file is open.

    Raises SettingsError when another bridge has it: binding alone would take its sockets' names away in silence.
    """
    lock = (configuration.home.run / "bridge.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SettingsError(f"another bridge serves {configuration.home.path}; stop it, or choose another BATOS_HOME") from None
    return lock


def prepare(configuration: Configuration) -> None:
    """Make what the bridge may only read once it is confined: the server's key, where it listens over TCP."""
    if is_tcp(configuration.settings.bridge.endpoint) or is_tcp(configuration.settings.bridge.events):
        keys.server_pair(configuration.home, zmq.curve_keypair)


def for_tools(context: Context, configuration: Configuration) -> tuple[Socket, str]:
    """The ROUTER that tools connect to, and its TCP address, if it has one. A frame up to four times the limit is read, to be refused in
    words; a larger one cuts the connection. Who may connect is `uvm.bridge.principals`'."""
    limit = 4 * configuration.settings.bridge.max_frame_bytes
    options: Options = {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: limit, zmq.RCVHWM: 4, zmq.SNDHWM: 1000, zmq.ZAP_DOMAIN: principals.TOOLS}
    socket = _listen_to_principals(context, zmq.ROUTER, configuration, configuration.bridge_socket, options)
    endpoint = configuration.settings.bridge.endpoint
    return socket, _listen_to_keys(socket, configuration, endpoint) if is_tcp(endpoint) else ""


def for_uvms(context: Context, configuration: Configuration) -> Socket:
    """The ROUTER that UVMs connect to. A UVM may have all messages; a new connection of the same process takes over at once."""
    room = configuration.settings.bridge.queue + 1000
    options: Options = {zmq.ROUTER_MANDATORY: 1, zmq.ROUTER_HANDOVER: 1, zmq.SNDHWM: room, zmq.RCVHWM: 100_000}
    return _listen(context, zmq.ROUTER, configuration.uvms_endpoint, options)


def for_subscribers(context: Context, configuration: Configuration) -> tuple[Socket, str]:
    """The XPUB that events are published on, and its TCP address, if it has one. A subscriber that is 10,000 events behind loses some,
    and can tell."""
    options: Options = {zmq.XPUB_VERBOSE: 1, zmq.MAXMSGSIZE: 4096, zmq.SNDHWM: 10_000, zmq.ZAP_DOMAIN: principals.EVENTS}
    socket = _listen_to_principals(context, zmq.XPUB, configuration, configuration.events_endpoint, options)
    bridge = configuration.settings.bridge
    endpoint = bridge.events or (f"{bridge.endpoint.rpartition(':')[0]}:*" if is_tcp(bridge.endpoint) else "")
    return socket, _listen_to_keys(socket, configuration, endpoint) if is_tcp(endpoint) else ""


def as_seen_from(configuration: Configuration, listening: str, peer: str) -> str:
    """The address under which a tool at the address `peer` finds what listens at `listening`, which may be a wildcard."""
    host, _, port = listening.removeprefix("tcp://").rpartition(":")
    host = configuration.settings.bridge.host or (host if host not in _ANYWHERE else _way_to(peer))
    return f"tcp://{host}:{port}"


def remove_files(configuration: Configuration) -> None:
    """Remove the files of Unix sockets that are closed; only while the lock is held."""
    for endpoint in (configuration.bridge_socket, configuration.uvms_endpoint, configuration.events_endpoint):
        path = endpoint.removeprefix("ipc://")
        if path != endpoint:
            Path(path).unlink(missing_ok=True)


def _listen_to_principals(context: Context, kind: int, configuration: Configuration, endpoint: str, options: Options) -> Socket:
    """A socket outside the closed run directory is for other users as well: each connection is asked who it is.

    It is made so: a confined process cannot change the rights of a file that is there.
    """
    outside = Path(endpoint.removeprefix("ipc://")).parent != configuration.home.run
    before = os.umask(0o111) if outside else None
    try:
        return _listen(context, kind, endpoint, options)
    finally:
        if before is not None:
            os.umask(before)


def _listen_to_keys(socket: Socket, configuration: Configuration, endpoint: str) -> str:
    """Listen on a TCP address as well, for those with a key; the address in full."""
    socket.curve_secretkey = keys.server_pair(configuration.home, zmq.curve_keypair)[1]
    socket.curve_server = True
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise _refused(endpoint, error) from error
    return socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _way_to(peer: str) -> str:
    """The address of this host on the way to `peer`, by the routing table; nothing is sent."""
    family = AF_INET6 if ":" in peer else AF_INET
    with network.socket(family, SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))
        except OSError:
            return network.gethostname()
        address = str(probe.getsockname()[0])
    return f"[{address}]" if family == AF_INET6 else address


def _refused(endpoint: str, error: zmq.ZMQError) -> SettingsError:
    return SettingsError(f"the bridge cannot listen on {endpoint}: {error}; free it, or set another in [bridge]")


def _listen(context: Context, kind: int, endpoint: str, options: Options) -> Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    for option, value in options.items():
        socket.setsockopt(option, value)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise _refused(endpoint, error) from error
    return socket


def rest(socket: Socket, first: bytes) -> list[bytes]:
    """All frames of a message but the identity, of which the first has been read: after an identity there is one always."""
    frames = [first]
    while socket.get(zmq.RCVMORE):
        frames.append(socket.recv())
    return frames
