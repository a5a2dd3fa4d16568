"""What a client of the image's server may do: speak MessagePack, in messages and records of bounded size, and hold the commit lock briefly.

Everything here happens in the server's one thread.
"""

import asyncio
from typing import Any, Final

# ZEO imports it at the first connection. A confined process can load no library any more, and would get the slow one in Python.
import msgpack  # noqa: F401
import structlog
from ZEO.asyncio.server import Acceptor, ServerProtocol
from ZEO.StorageServer import StorageServer, ZEOStorage
from ZODB.utils import u64

MOST_CONNECTIONS: Final = 256
_AROUND = 1_000_000
"""Bytes of a message around the record in it; invalidations and lists of oids fit as well."""
_HEADER = 4

log = structlog.get_logger()


class FrameLengths:
    """Watches the lengths in a stream of messages, each after its length in four bytes, before anything of them is kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = 0
        self._header = b""

    def fit(self, data: bytes) -> bool:
        """Take the next bytes of the stream; false once a message claims to be too long."""
        if self._header:
            data = self._header + data
        position, end = self._left, len(data)
        while position + _HEADER <= end:
            length = int.from_bytes(data[position : position + _HEADER])
            if length > self._most:
                return False
            position += _HEADER + length
        self._left, self._header = max(0, position - end), data[position:]
        return True


class BoundedStorage(ZEOStorage):
    """One client's transactions. A record that is too large fails the transaction that has it, with a TypeError that names it.

    Nobody waits for an answer when a record is sent: an error would end the connection, and the client would try again. So what is
    wrong with one is kept until the client asks for its transaction.
    """

    _wrong: Exception | None = None

    def tpc_begin(self, *arguments: Any, **keywords: Any) -> Any:
        self._wrong = None
        return super().tpc_begin(*arguments, **keywords)

    def storea(self, oid: bytes, serial: bytes, data: bytes, id: Any) -> Any:
        most = self.server.most_record_bytes
        if len(data) > most:
            self._wrong = TypeError(f"the record of @{u64(oid):x} has {len(data)} bytes, and the image takes {most}")
        if self._wrong is not None:
            return None
        try:
            return super().storea(oid, serial, data, id)
        except OSError as error:  # no room for it
            self._wrong = error
            return None

    def vote(self, tid: Any) -> Any:
        if self._wrong is not None:
            raise self._wrong
        return super().vote(tid)


class BoundedServer(StorageServer):
    """Gives each client a BoundedStorage."""

    def __init__(self, *arguments: Any, most_record_bytes: int, **keywords: Any) -> None:
        self.most_record_bytes = most_record_bytes
        self.open: set[BoundedProtocol] = set()
        super().__init__(*arguments, **keywords)

    def create_client_handler(self) -> BoundedStorage:
        return BoundedStorage(self, self.read_only)


class BoundedProtocol(ServerProtocol):
    """A connection that speaks MessagePack only, in messages that are not too long. A client that does otherwise is hung up on."""

    data_received: Any

    def connection_made(self, transport: Any) -> None:
        self._server: BoundedServer = self.zeo_storage.server
        super().connection_made(transport)
        self._server.open.add(self)
        receive, frames = self.data_received, FrameLengths(self._server.most_record_bytes + _AROUND)

        def bounded(data: bytes) -> None:
            if frames.fit(data):
                receive(data)
            else:
                log.error("a client sends a message that is too long, refused", most=self._server.most_record_bytes + _AROUND)
                self.data_received = _ignored
                self.close()

        self.data_received = bounded
        if len(self._server.open) > MOST_CONNECTIONS:
            log.error("too many clients, one more is refused", most=MOST_CONNECTIONS)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self)
        super().connection_lost(exc)

    def finish_connection(self, protocol_version: bytes) -> None:
        if protocol_version[:1] == b"M" or protocol_version == b"ruok":
            super().finish_connection(protocol_version)
        else:
            log.error("a client asked for another protocol than MessagePack, refused", protocol=repr(protocol_version[:16]))
            self.close()

    def close(self) -> None:
        """Hang up; what the client had begun is aborted, which ZEO itself leaves to nobody."""
        if not self.closed and self.zeo_storage.connected:
            self.zeo_storage.notify_disconnected()
        super().close()


def _ignored(data: bytes) -> None:
    """A connection that is being closed may still get bytes."""


class BoundedAcceptor(Acceptor):
    def factory(self) -> BoundedProtocol:
        return BoundedProtocol(self.event_loop, self.addr, self.storage_server.create_client_handler(), self.msgpack)


class Turns:
    """Ends the connection of a client that has the commit lock for too long: one that voted, and neither finishes nor aborts.

    Takes the place of ZEO's thread for it. In the loop, the time that the server itself takes (a slow fsync in the client's own commit)
    never counts against the client: when the loop gets to the alarm, the turn is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self, client: BoundedStorage) -> None:
        self._alarm = self._loop.call_later(self._seconds, self._late, client)

    def end(self, client: BoundedStorage) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def is_alive(self) -> bool:
        return True

    def _late(self, client: BoundedStorage) -> None:
        log.error("a client voted and went silent; its transaction is aborted", seconds=self._seconds, client=client.log_label)
        client.connection.close()
