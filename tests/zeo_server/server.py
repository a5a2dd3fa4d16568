"""A real ZEO server on a home of its own, for the whole suite: `with running_server(home) as server: …`."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import transaction
import ZEO
import ZODB

from deploy.settings import Home

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0


class Server:
    """The server's process. `events` has every line that it logged, as dicts."""

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = Home(home)
        self.process: subprocess.Popen[bytes]
        self.events: list[dict[str, Any]] = []
        self._settings = dict(settings or {})
        self._logged = threading.Condition()
        self._over = True

    @property
    def address(self) -> str:
        return str(self.home.zeo_socket)

    def start(self) -> None:
        """Start the process and wait until it listens."""
        with self._logged:
            self._over = False
            since = len(self.events)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zeo_server"],
            cwd=ROOT,
            env={**os.environ, "BATOS_HOME": str(self.home.path), "BATOS_METRICS_BASE_PORT": "0", **self._settings},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        self.wait_for("listening", since)

    def wait_for(self, event: str, since: int = 0) -> dict[str, Any]:
        """The first event of that name logged after `since` others; waits for it."""
        with self._logged:
            self._logged.wait_for(lambda: self._over or self.find(event, since), LIMIT_S)
            found = self.find(event, since)
            assert found, f"the server never logged {event!r}: {self.events[since:]}"
            return found

    def find(self, event: str, since: int = 0) -> dict[str, Any] | None:
        return next((one for one in self.events[since:] if one["event"] == event), None)

    def client(self, kind: type[ZODB.DB] = ZODB.DB, **options: Any) -> ZODB.DB:
        """A database over a connection of its own."""
        settings = {"wait_timeout": 10, "blob_dir": str(self.home.blobs), "shared_blob_dir": True, "server_sync": True, **options}
        return kind(ZEO.client(self.address, **settings))

    def stop(self) -> int:
        """End it as supervisord does; return the exit status."""
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        try:
            return self.process.wait(LIMIT_S)
        finally:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(LIMIT_S)
            self._reader.join(LIMIT_S)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with self._logged:
                    try:
                        self.events.append(json.loads(line))
                    except ValueError:
                        self.events.append({"event": line.decode(errors="replace").rstrip()})
                    self._logged.notify_all()
        with self._logged:
            self._over = True
            self._logged.notify_all()


@contextmanager
def fresh_root(database: ZODB.DB) -> Iterator[Any]:
    """The root as of now, in a transaction that is committed with the block.

    Opening a connection does not ask the server what is new; beginning a transaction on an open one does.
    """
    manager = transaction.TransactionManager(explicit=True)
    connection = database.open(manager)
    try:
        with manager:
            yield connection.root()
    finally:
        connection.close()


@contextmanager
def running_server(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server on `home`, with BATOS_ variables in `settings`; ended with the block."""
    server = Server(home, settings)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
