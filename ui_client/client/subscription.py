"""Events as they are published: where a subscriber stands, and the iterators over them.

`Standing` is pure. An `EventStream` is used by one thread at a time, and may be closed from another; it owns its socket.
Iterating waits as long as nothing happens, also while the bridge is away: the socket connects again by itself, and
`Missed` then says that the bridge is a new one.
"""

import struct
import threading
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Self

import msgspec
import structlog
import zmq
import zmq.asyncio
from msgspec import Struct

from deploy.keys import ClientKey
from deploy.reconnection import quickly
from ui_client.client.channel import prove
from ui_client.client.errors import BridgeUnreachable
from uvm import protocol
from uvm.protocol import Event

_POSITION = struct.Struct(">QQ")
_POLL_MS = 100
_RECEIVE_HWM = 100_000


class Missed(Struct, frozen=True):
    """Events of this topic were lost, or may have been; for `state`: ask for the full state again, and go on from its tid."""

    topic: str


class Standing:
    """Turns arrived frames into events, and notices the holes. `ready` once the subscriptions are in force."""

    def __init__(self, topics: Sequence[str]) -> None:
        allowed = [topic.decode() for topic in protocol.TOPICS]
        unknown = [topic for topic in topics if topic not in allowed]
        if unknown or not topics:
            raise ValueError(f"no such topics: {', '.join(unknown) or 'none given'}; allowed: {', '.join(allowed)}")
        self.ready_topic = protocol.TOPIC_READY + uuid.uuid4().hex.encode()
        self.subscriptions = [*(topic.encode() for topic in topics), self.ready_topic]
        self.ready = False
        self._topics = list(topics)
        self._stream = 0
        self._last: dict[str, int] = {}

    def arrived(self, frames: Sequence[bytes]) -> list[Event | Missed]:
        """The events that these frames bring; frames that are none are logged and dropped."""
        try:
            topic, payload, position = frames
            stream, number = _POSITION.unpack(position)
            if topic == self.ready_topic:
                return self._started(stream, msgspec.msgpack.decode(payload, type=dict[str, int]))
            event = protocol.decode_event(payload)
        except (ValueError, struct.error, msgspec.DecodeError) as error:
            structlog.get_logger("client").warning("the bridge published what is no event", reason=str(error))
            return []
        return self._event(topic.decode(), stream, number, event) if self.ready else []

    def _started(self, stream: int, numbers: dict[str, int]) -> list[Event | Missed]:
        latest = {topic: numbers.get(topic, 0) for topic in self._topics}
        missed = [t for t in self._topics if self.ready and (stream != self._stream or latest[t] > self._last[t])]
        self.ready, self._stream, self._last = True, stream, latest
        return [Missed(topic) for topic in missed]

    def _event(self, topic: str, stream: int, number: int, event: Event) -> list[Event | Missed]:
        hole = stream != self._stream or number > self._last[topic] + 1
        if stream == self._stream:
            self._last[topic] = max(number, self._last[topic])
        # Of another stream: its `ready` is on its way, and says where this subscriber stands in it.
        return [Missed(topic), event] if hole else [event]


class EventStream:
    """Iterates over events. `stop`, when set, ends the iteration within 0.1 s. Without `missed`, Missed is left out."""

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str],
        patience_s: float,
        stop: threading.Event | None,
        missed: bool,
        key: ClientKey | None = None,
    ) -> None:
        self._standing = Standing(topics)
        self._stop = stop
        self._missed = missed
        self._waiting: list[Event | Missed] = []
        self._lock = threading.Lock()
        self._closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        _prepare(self._socket, endpoint, self._standing, key)
        until = time.monotonic() + patience_s
        while not self._standing.ready:
            self._receive()
            if time.monotonic() > until or self._has_ended():
                self.close()
                raise BridgeUnreachable(f"the bridge did not confirm the subscription at {endpoint} within {patience_s:.1f} s")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event | Missed:
        event = self.next()
        if event is None:
            self.close()
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> Event | Missed | None:
        """The next event; None after `timeout` seconds, or when the stream is over."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            while not self._waiting:
                if self._has_ended() or (until is not None and time.monotonic() >= until):
                    return None
                self._receive()
            return self._waiting.pop(0)

    def close(self) -> None:
        """End the stream, also one that another thread waits for. May be called again."""
        self._closed = True
        with self._lock:
            self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _has_ended(self) -> bool:
        return self._closed or (self._stop is not None and self._stop.is_set())

    def _receive(self) -> None:
        if self._socket.poll(_POLL_MS):
            events = self._standing.arrived(self._socket.recv_multipart())
            self._waiting += [event for event in events if self._missed or not isinstance(event, Missed)]


async def stream(
    endpoint: str, topics: Sequence[str], patience_s: float, missed: bool, key: ClientKey | None = None
) -> AsyncIterator[Event | Missed]:
    """The same for asyncio. Closing the iterator closes the socket."""
    standing = Standing(topics)
    context = zmq.asyncio.Context()
    try:
        socket = context.socket(zmq.SUB)
        _prepare(socket, endpoint, standing, key)
        until = time.monotonic() + patience_s
        while True:
            if await socket.poll(_POLL_MS if not standing.ready else 3_600_000):
                for event in standing.arrived(await socket.recv_multipart()):
                    if missed or not isinstance(event, Missed):
                        yield event
            if not standing.ready and time.monotonic() > until:
                raise BridgeUnreachable(f"the bridge did not confirm the subscription at {endpoint} within {patience_s:.1f} s")
    finally:
        context.destroy(linger=0)


def _prepare(socket: zmq.Socket[bytes] | zmq.asyncio.Socket, endpoint: str, standing: Standing, key: ClientKey | None) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, _RECEIVE_HWM)
    quickly(socket)
    prove(socket, key)
    socket.connect(endpoint)
    for topic in standing.subscriptions:
        socket.setsockopt(zmq.SUBSCRIBE, topic)
