"""Where the engine's worker processes report the adapters that they have read: a ZeroMQ PULL socket of the event loop.

It lies beside the worker's own, in a directory that is closed to other users. Each engine has a socket of its own, so that a report
of an engine that is gone reaches nobody.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
import zmq
import zmq.asyncio

from inference_worker.engine.extension import ReadReport

log = structlog.get_logger(__name__)

_engines = itertools.count(1)


class Reports:
    """Listens from its making to `close`. `address` is what the processes are told."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in directory.glob("engine-*.sock"):
            # Of a worker that was killed; there is one worker to a home.
            old.unlink(missing_ok=True)
        self._path = directory / f"engine-{os.getpid()}-{next(_engines)}.sock"
        self.address = f"ipc://{self._path}"
        self._expected: dict[int, asyncio.Queue[ReadReport]] = {}
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.bind(self.address)
        self._listening = asyncio.create_task(self._listen())

    @contextlib.contextmanager
    def expect(self, number: int) -> Iterator[asyncio.Queue[ReadReport]]:
        """The reports on adapter `number` that come while this is open, one from each process."""
        queue: asyncio.Queue[ReadReport] = asyncio.Queue()
        self._expected[number] = queue
        try:
            yield queue
        finally:
            if self._expected.get(number) is queue:
                del self._expected[number]

    def close(self) -> None:
        self._listening.cancel()
        self._socket.close(linger=0)
        self._context.term()
        self._path.unlink(missing_ok=True)

    async def _listen(self) -> None:
        while True:
            frame = await self._socket.recv()
            try:
                report = msgspec.msgpack.decode(frame, type=ReadReport)
            except msgspec.DecodeError as error:
                log.error("the engine sent no report", error=str(error))
                continue
            if (queue := self._expected.get(report.number)) is not None:
                queue.put_nowait(report)
