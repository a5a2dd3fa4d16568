"""Publishing through the bridge for a process that is no UVM, such as the heartbeat. Owned by that process's one thread."""

from typing import Any

import structlog
import zmq

from deploy.reconnection import quickly
from uvm.bridge import protocol as wire
from uvm.image.changes import updates
from uvm.protocol import TOPIC_STATE, Change


class Announcer:
    """A connection to the bridge on which nothing but Publish is said, under the process's name."""

    def __init__(self, endpoint: str, process: str) -> None:
        self._process = process
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        quickly(self._socket)
        self._socket.connect(endpoint)

    def publish(self, tid: bytes, changes: list[Change]) -> None:
        """Say what a transaction changed. While the bridge is away some is kept; a new bridge's followers look for themselves."""
        try:
            for update in updates(tid, self._process, changes):
                self._socket.send(wire.encode(wire.Publish(TOPIC_STATE, update)), zmq.NOBLOCK)
        except zmq.Again:
            structlog.get_logger().error("the bridge takes nothing; an update is lost", changes=len(changes))

    def close(self) -> None:
        """Close the connection, after at most a second for what is on its way."""
        self._socket.close()
        self._context.term()
