"""The ZEO server over the image: one asyncio loop in the main thread; packs run in threads of ZEO's own.

`ImageServer.run` serves until `stop` is called (from a signal handler), then ends in order: no new connections, the
clients' connections closed (which aborts what they had not finished), packs waited for, the storage closed.
"""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import structlog

from deploy.settings import ImageSettings
from zeo_server.connection import BoundedAcceptor, BoundedServer, Turns
from zeo_server.storage import ImageStorage

STORAGE_NAME = "1"
_CLIENTS_CLOSE_S = 2.0
_PACK_ENDS_S = 20.0


class ImageServer:
    """Owns the storage, the socket and the loop. Everything here happens in the thread that calls `run`."""

    def __init__(self, storage: ImageStorage, socket: Path, settings: ImageSettings) -> None:
        self._storage = storage
        self._socket = socket
        # Whoever holds the storage's lock owns the socket's path: what lies there is a dead server's.
        socket.unlink(missing_ok=True)
        before = os.umask(0o077)
        try:
            self._server = BoundedServer(
                str(socket),
                {STORAGE_NAME: storage},
                invalidation_queue_size=settings.invalidation_queue,
                Acceptor=BoundedAcceptor,
                msgpack=True,
                most_record_bytes=settings.record_mb * 1_000_000,
            )
        finally:
            os.umask(before)
        self._acceptor = self._server.acceptor
        self._loop: asyncio.AbstractEventLoop = self._acceptor.event_loop
        self._server.lock_managers[STORAGE_NAME].timeout = Turns(self._loop, settings.transaction_timeout_s)
        self._ending: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; then close everything."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._wait_for_packs()
            self._storage.close()
            self._socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask `run` to end. Called in the loop's thread; a second call changes nothing."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    def statistics(self) -> dict[str, float]:
        """Counts since the start, and sizes. Callable from any thread."""
        stats = self._server.stats[STORAGE_NAME]
        return {
            "connections": len(stats.connections),
            "transactions_open": stats.active_txns,
            "commits": stats.commits,
            "aborts": stats.aborts,
            "loads": stats.loads,
            "stores": stats.stores,
            "conflicts_resolved": self._storage.resolved,
            "conflicts_refused": self._storage.unresolved,
            "waiting": len(self._server.lock_managers[STORAGE_NAME].waiting),
            "image_bytes": self._storage.getSize(),
            "objects": len(self._storage),
        }

    async def _end(self) -> None:
        self._acceptor.server.close()
        clients: list[Any] = self._server.zeo_storages_by_storage_id[STORAGE_NAME]
        for client in list(clients):
            client.notify_disconnected()
            client.connection.close()
        # The transports close in later rounds of the loop.
        deadline = self._loop.time() + _CLIENTS_CLOSE_S
        while len(asyncio.all_tasks(self._loop)) > 1 and self._loop.time() < deadline:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._loop.stop()

    def _wait_for_packs(self) -> None:
        deadline = time.monotonic() + _PACK_ENDS_S
        for thread in threading.enumerate():
            if thread.name.startswith("SlowMethodThread"):
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    structlog.get_logger().warning("ended during a pack; it has no effect", thread=thread.name)
