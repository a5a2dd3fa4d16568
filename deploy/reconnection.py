"""Connections that come back quickly, and say so: for those who connect to a bridge, which may be replaced while they talk to it.

ZeroMQ connects again by itself and tells nobody; what was on its way is lost, and what was not sent yet goes to whoever listens then.
`quickly` sets how long it waits between two tries. `Reconnections` tells whoever owns the socket, in its own thread.
"""

from contextlib import suppress
from typing import Any, Final

import zmq

FIRST_MS: Final = 10
"""Milliseconds before the first try: one bridge that follows another listens already."""
LONGEST_MS: Final = 250
"""Milliseconds between two tries at most: it doubles until then."""


def quickly(socket: Any) -> None:
    """Have a socket that is not connected yet come back as soon as somebody listens again."""
    socket.setsockopt(zmq.RECONNECT_IVL, FIRST_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, LONGEST_MS)


class Reconnections:
    """Every connection of a connecting socket but its first. Made before the socket connects; `socket` is there to be polled."""

    def __init__(self, connecting: "zmq.Socket[bytes]") -> None:
        self._connecting = connecting
        self._connected = False
        self.socket: zmq.Socket[bytes] = connecting.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def again(self) -> bool:
        """Whether it was connected anew since the last look."""
        times = 0
        with suppress(zmq.Again):
            while True:
                self.socket.recv_multipart(zmq.NOBLOCK)
                times += 1
        again = times > (0 if self._connected else 1)
        self._connected = self._connected or times > 0
        return again

    def close(self) -> None:
        """Listen no longer. Called before the socket is closed."""
        self._connecting.disable_monitor()
        self.socket.close(0)
