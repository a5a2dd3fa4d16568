"""The bridge's events: the XPUB socket and the numbers by which a subscriber notices what it missed.

Owned by the bridge's one thread. An event is three frames: topic, payload, position. The position is 16 bytes, two
big-endian 64-bit numbers: the stream (new with each bridge) and the event's number in its topic, counted from 1.
"""

import struct
from collections import Counter

import msgspec
import structlog
import zmq
from msgspec import Struct

from uvm import protocol

_POSITION = struct.Struct(">QQ")


class _Tid(Struct):
    tid: bytes


_tid = msgspec.msgpack.Decoder(_Tid)


class Publisher:
    """Publishes on `socket`, an XPUB, in the stream numbered `stream`; `newest_tid` is the newest it has published."""

    def __init__(self, socket: zmq.Socket[bytes], stream: int) -> None:
        self._socket, self._stream = socket, stream
        self._numbers: Counter[str] = Counter()
        self._log = structlog.get_logger("bridge")
        self.newest_tid = b""

    def publish(self, topic: bytes, payload: bytes) -> bool:
        """Send an event to the topic's subscribers. False: it was not sent, because it is none."""
        name = topic.decode("utf-8", "replace")
        if topic not in protocol.TOPICS:
            self._log.error("an event has an unknown topic", topic=name)
            return False
        if topic == protocol.TOPIC_STATE:
            try:
                self.newest_tid = max(self.newest_tid, _tid.decode(payload).tid)
            except ValueError as error:
                self._log.error("a state update cannot be read", reason=str(error))
                return False
        self._numbers[name] += 1
        self._socket.send_multipart([topic, payload, _POSITION.pack(self._stream, self._numbers[name])])
        return True

    def leave_a_hole(self) -> None:
        """State updates may have been lost: skip a number, so that subscribers look for themselves."""
        self._numbers[protocol.TOPIC_STATE.decode()] += 1

    def subscribed(self, frames: list[bytes]) -> None:
        """A subscription arrived: who asks for `ready.` and a word of its own is told the topics' last numbers."""
        topic = frames[0][1:]
        if frames[0][:1] == b"\x01" and topic.startswith(protocol.TOPIC_READY) and len(topic) <= 128:
            names = [topic.decode() for topic in protocol.TOPICS]
            numbers = msgspec.msgpack.encode({name: self._numbers[name] for name in names})
            self._socket.send_multipart([topic, numbers, _POSITION.pack(self._stream, 0)])
