"""What the bridge says of itself, asked as any tool asks it: one `GetStatus` of docs/protocol.md, again and again.

Owned by the upgrader's one thread. The connection outlives the bridge: whoever listens at the address next answers it.
"""

import itertools
import time
from collections import Counter
from typing import Any, Final, Self

import msgspec
import zmq

from deploy.upgrader.health import Pulse

_AGAIN_MS: Final = 100
_NO_FAILURE: Final = frozenset({"Reply", "Welcome", "Subscribed", "Busy", "State", "Exported"})
"""Kinds of answers that are no errors. Busy asks to come again: the message has not failed."""


class BridgeWatch:
    """A connection on which nothing but GetStatus is asked. Close it, or use it in a `with` statement."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # what a dead bridge would have got is not kept for the next one
        self._socket.connect(endpoint)
        self._ids = itertools.count(1)

    def look(self, seconds: float) -> Pulse | None:
        """What the bridge says now; None when it does not answer within `seconds`."""
        ends = time.monotonic() + seconds
        first = next(self._ids)
        while True:
            if self._socket.poll(0, zmq.POLLOUT):
                self._socket.send(msgspec.msgpack.encode({"op": "GetStatus", "id": next(self._ids)}))
            while self._socket.poll(_AGAIN_MS):
                status = _status(self._socket.recv(), first)
                if status is not None:
                    return status
            if time.monotonic() > ends:
                return None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _status(frame: bytes, after: int) -> Pulse | None:
    try:
        answer = msgspec.msgpack.decode(frame)
        return pulse(answer["result"]) if answer["id"] > after else None
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None  # an answer of another kind, such as an error


def pulse(status: dict[str, Any]) -> Pulse:
    """The figures that are compared. Raises KeyError where they are not there."""
    metrics, replies = status["metrics"], Counter(status["metrics"]["replies"])
    return Pulse(
        bridge=status["pid"],
        uvms={uvm["uvm"]: uvm["pid"] for uvm in status["uvms"]},
        held=status["queue"]["held"],
        answered=metrics["seconds"]["count"],
        waited_s=metrics["seconds"].get("brief_sum", metrics["seconds"]["sum"]),
        failed=sum(count for kind, count in replies.items() if kind not in _NO_FAILURE),
        deaths=metrics["uvms_lost"].get("no", 0),
        replayed=status["counters"].get("replays", 0),
    )
