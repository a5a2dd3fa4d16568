"""The bridge's ZeroMQ sockets: what bounds them, who may connect, and how their frames are read. Used by the bridge's one thread."""

import socket as network
from collections.abc import Mapping
from socket import AF_INET, AF_INET6, SOCK_DGRAM

import zmq

from deploy import keys
from deploy.settings import Configuration, is_tcp
from uvm.bridge import principals
from uvm.bridge.listeners import OVER_TCP, Listeners

LINGER_MS = 1000

NOBLOCK = int(zmq.NOBLOCK)
MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: to join two of pyzmq's flags anew for each frame costs as much as to send it."""

_ANYWHERE = ("0.0.0.0", "[::]", "*")

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]
Options = Mapping[zmq.SocketOption, int | bytes]


def prepare(configuration: Configuration) -> None:
    """Make what the bridge may only read once it is confined: the server's key, where it listens over TCP."""
    if is_tcp(configuration.settings.bridge.endpoint) or is_tcp(configuration.settings.bridge.events):
        keys.server_pair(configuration.home, zmq.curve_keypair)


def for_tools(context: Context, configuration: Configuration) -> Socket:
    """The ROUTER that tools connect to. A frame up to four times the limit is read, to be refused in words; a larger one cuts the
    connection. Who may connect is `uvm.bridge.principals`'."""
    limit = 4 * configuration.settings.bridge.max_frame_bytes
    options: Options = {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: limit, zmq.RCVHWM: 4, zmq.SNDHWM: 1000, zmq.ZAP_DOMAIN: principals.TOOLS}
    return _socket(context, zmq.ROUTER, options)


def for_uvms(context: Context, configuration: Configuration) -> Socket:
    """The ROUTER that UVMs connect to. A UVM may have all messages; a new connection of the same process takes over at once."""
    room = configuration.settings.bridge.queue + 1000
    return _socket(context, zmq.ROUTER, {zmq.ROUTER_MANDATORY: 1, zmq.ROUTER_HANDOVER: 1, zmq.SNDHWM: room, zmq.RCVHWM: 100_000})


def for_subscribers(context: Context) -> Socket:
    """The XPUB that events are published on. A subscriber that is 10,000 events behind loses some, and can tell."""
    return _socket(context, zmq.XPUB, {zmq.XPUB_VERBOSE: 1, zmq.MAXMSGSIZE: 4096, zmq.SNDHWM: 10_000, zmq.ZAP_DOMAIN: principals.EVENTS})


def serve(socket: Socket, name: str, listeners: Listeners, configuration: Configuration) -> str:
    """Accept what comes to the listener `name`, and over TCP from those with a key; the TCP address, if it has one."""
    listeners.lend(name, socket)
    if name + OVER_TCP not in listeners:
        return ""
    socket.curve_secretkey = keys.server_pair(configuration.home, zmq.curve_keypair)[1]
    socket.curve_server = True
    return listeners.lend(name + OVER_TCP, socket)


def as_seen_from(configuration: Configuration, listening: str, peer: str) -> str:
    """The address under which a tool at the address `peer` finds what listens at `listening`, which may be a wildcard."""
    host, _, port = listening.removeprefix("tcp://").rpartition(":")
    host = configuration.settings.bridge.host or (host if host not in _ANYWHERE else _way_to(peer))
    return f"tcp://{host}:{port}"


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


def _socket(context: Context, kind: int, options: Options) -> Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket


def rest(socket: Socket, first: bytes) -> list[bytes]:
    """All frames of a message but the identity, of which the first has been read: after an identity there is one always."""
    frames = [first]
    while socket.get(zmq.RCVMORE):
        frames.append(socket.recv())
    return frames
