"""Which clients are still there: a ROUTER socket tells nobody that a client has left, unless something is sent to it.

The worker's event loop owns it. A message says by which connection it came (ZMQ_SRCFD), and the socket's monitor says which
connections ended; together they name the clients that are gone. Connections' numbers are used again, so the endings that
happened before a message arrived must be taken in before the message is: libzmq reports an ending before it
closes the descriptor, and so before a newcomer can have its number.

A client that ends, or whose host or network does, is noticed: the first at once, the second when it answers none of ZMQ's
own heartbeats. A client that stands still, with its process stopped, is only noticed by the heartbeats.
"""

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

HEARTBEAT_S = 10.0
"""How often a silent connection is asked for a sign, seconds; after three times that it is closed."""


class Presence:
    """The clients of one ROUTER socket, by connection. Create it before the socket is bound."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(HEARTBEAT_S * 1000))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(3 * HEARTBEAT_S * 1000))
        self._socket = socket
        self._monitor: zmq.asyncio.Socket = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        # The same monitor, read without waiting and without a future for each look.
        self._now: zmq.Socket[bytes] = zmq.Socket.shadow(self._monitor.underlying)
        self._clients: dict[int, set[bytes]] = {}

    def connected(self, client: bytes, frame: zmq.Frame) -> None:
        """A message of the client arrived, of which `frame` is a part. Take `left` in first."""
        descriptor = frame.get(zmq.SRCFD)
        if isinstance(descriptor, int) and descriptor >= 0:
            self._clients.setdefault(descriptor, set()).add(client)

    def left(self) -> set[bytes]:
        """The clients whose connections ended since this was asked last; never waits."""
        departed: set[bytes] = set()
        while self._now.poll(0):
            event = parse_monitor_message(self._now.recv_multipart(zmq.NOBLOCK))
            departed |= self._clients.pop(int(event["value"]), set())
        return departed

    async def change(self) -> None:
        """Wait until a connection has ended."""
        await self._monitor.poll()

    def close(self) -> None:
        """Before the socket is closed."""
        self._socket.disable_monitor()
        self._monitor.close(0)
