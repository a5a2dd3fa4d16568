"""A real bridge and fake UVMs as processes in a home of their own: `with Service(home) as service: …`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.settings import Configuration, load
from tests.uvm.bridge.fake_uvm import create_image, image
from ui_client.client.client import Client, ClientError

ROOT = Path(__file__).parents[3]
LIMIT_S = 20.0


class Service:
    """Starts and stops the processes; `log` is the bridge's."""

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._environment = {"BATOS_HOME": str(home), "BATOS_METRICS_BASE_PORT": "0", **(settings or {})}
        self.configuration: Configuration = load(self._environment, home)
        self.configuration.home.ensure()
        create_image(home)
        self._uvms: dict[str, subprocess.Popen[bytes]] = {}
        self._clients: list[Client] = []
        self._successors: list[subprocess.Popen[bytes]] = []
        self.log = home / "bridge.log"
        self.bridge = self.start_bridge()

    def start_bridge(self) -> "subprocess.Popen[bytes]":
        """Start the bridge and wait until it answers."""
        with self.log.open("ab") as log:
            self.bridge = self._start(["-m", "uvm.bridge"], stderr=log)
        try:
            with Client(configuration=self.configuration, connect_timeout=LIMIT_S) as client:
                client.status()
        except ClientError:
            self.bridge.kill()
            self.bridge.wait(LIMIT_S)
            raise
        return self.bridge

    def start_successor(self) -> "subprocess.Popen[bytes]":
        """Start a bridge beside the one that serves, and wait until it waits for its turn."""
        with self.log.open("ab") as log:
            successor = self._start(["-m", "uvm.bridge", "--take-over"], stderr=log)
        self._successors.append(successor)
        until(lambda: self.client().status()["successor"] == successor.pid, "the successor is ready")
        return successor

    def swap_bridge(self) -> None:
        """Replace the bridge by one that follows it."""
        successor = self.start_successor()
        ending, self.bridge = self.bridge, successor
        ending.terminate()
        assert ending.wait(LIMIT_S) == 0

    def start_uvm(self, name: str) -> "subprocess.Popen[bytes]":
        """Start a fake UVM and wait until the bridge has it on its list."""
        self._uvms[name] = process = self._start(["-m", "tests.uvm.bridge.fake_uvm", name])
        until(lambda: any(uvm["pid"] == process.pid for uvm in self.client().status()["uvms"]), f"{name} is ready")
        return process

    def client(self, **options: Any) -> Client:
        """A client of this service; the one without options is shared."""
        if not options and self._clients:
            return self._clients[0]
        client = Client(configuration=self.configuration, **options)
        if options:
            self._clients.append(client)
        else:
            self._clients.insert(0, client)
        return client

    def kill(self, name: str) -> None:
        """kill -9, and wait for the process to be gone."""
        process = self._uvms.pop(name)
        process.kill()
        process.wait(LIMIT_S)

    def pid(self, name: str) -> int:
        """The process of a UVM."""
        return self._uvms[name].pid

    def ended(self, name: str) -> int:
        """Wait for a UVM that somebody else ends; its exit status."""
        return self._uvms.pop(name).wait(LIMIT_S)

    def stop(self, name: str) -> None:
        """A clean stop."""
        process = self._uvms.pop(name)
        process.terminate()
        process.wait(LIMIT_S)

    def stop_bridge(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the bridge; its exit status."""
        self.bridge.send_signal(number)
        return self.bridge.wait(LIMIT_S)

    def runs(self, selector: str) -> list[tuple[Any, ...]]:
        """Every execution of a selector: uvm, pid, session, seq, floor, selector, alone."""
        database = image(self.home)
        try:
            return database.execute("select * from runs where selector = ? order by rowid", (selector,)).fetchall()
        finally:
            database.close()

    def counted(self) -> int:
        """How often `count` had its effect."""
        database = image(self.home)
        try:
            return int(database.execute("select count(*) from counter").fetchone()[0])
        finally:
            database.close()

    def _start(self, arguments: list[str], stderr: Any = None) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **self._environment}, stderr=stderr)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_error: object) -> None:
        for client in self._clients:
            client.close()
        for process in [*self._uvms.values(), self.bridge, *self._successors]:
            process.kill()
            process.wait(LIMIT_S)


def until(true: Callable[[], bool], what: str) -> None:
    """Ask again and again, at most for LIMIT_S. What is asked takes its own time, so nothing sleeps here."""
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            if true():
                return
        except ClientError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT_S} s: {what}")
