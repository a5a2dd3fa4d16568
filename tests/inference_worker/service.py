"""A real inference worker in a process of its own, and a client for it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import zmq

from deploy.process import die_with_parent
from inference_worker import protocol
from inference_worker.protocol import Adapters, AskAdapters, AskHealth, CancelRequest, Completed, Delta, Generate, Health, Sampling

ROOT = Path(__file__).resolve().parents[2]


class Client:
    """One DEALER socket. Every wait has a deadline and raises TimeoutError."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._count = 0
        self._unclaimed: list[protocol.Answer] = []

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: msgspec.Struct) -> None:
        self._socket.send(protocol.encode(message))

    def send_frames(self, *frames: bytes) -> None:
        self._socket.send_multipart(list(frames))

    def receive(self, timeout_s: float = 30.0) -> protocol.Answer:
        if not self._socket.poll(int(timeout_s * 1000)):
            raise TimeoutError(f"no answer within {timeout_s} s")
        return protocol.decode_answer(self._socket.recv())

    def name(self) -> str:
        self._count += 1
        return f"r{self._count}"

    def start(self, model: str, prompt: str, **options: Any) -> str:
        """Send a Generate and return its id."""
        name = self.name()
        self.send(Generate(id=name, model=model, prompt=prompt, **options))
        return name

    def finish(self, name: str, timeout_s: float = 120.0) -> tuple[protocol.Answer, list[Delta]]:
        """The answer to request `name` and the Deltas before it; answers to others are kept for their turn."""
        deltas: list[Delta] = []
        until = time.monotonic() + timeout_s
        unclaimed, self._unclaimed = self._unclaimed, []
        answer: protocol.Answer | None = None
        while answer is None:
            received = unclaimed.pop(0) if unclaimed else self.receive(until - time.monotonic())
            if received.id != name:
                self._unclaimed.append(received)
            elif isinstance(received, Delta):
                deltas.append(received)
            else:
                answer = received
        self._unclaimed += unclaimed
        return answer, deltas

    def first_delta(self, name: str, timeout_s: float = 60.0) -> Delta:
        answer = self.receive(timeout_s)
        if not isinstance(answer, Delta) or answer.id != name:
            raise AssertionError(f"expected a Delta of {name}, got {answer}")
        return answer

    def generate(self, model: str, prompt: str, **options: object) -> protocol.Answer:
        return self.finish(self.start(model, prompt, **options))[0]

    def text(self, model: str, prompt: str, **options: object) -> str:
        return self.completed(model, prompt, **options).outputs[0].text

    def cancel(self, name: str) -> None:
        self.send(CancelRequest(id=name))

    def health(self, timeout_s: float = 30.0) -> Health:
        name = self.name()
        self.send(AskHealth(id=name))
        answer, _ = self.finish(name, timeout_s)
        if not isinstance(answer, Health):
            raise AssertionError(f"expected Health, got {answer}")
        return answer

    def adapters(self, limit: int = 100) -> Adapters:
        name = self.name()
        self.send(AskAdapters(id=name, limit=limit))
        answer, _ = self.finish(name)
        if not isinstance(answer, Adapters):
            raise AssertionError(f"expected Adapters, got {answer}")
        return answer

    def tier_of(self, adapter: str) -> str:
        """Where the worker says that an adapter is."""
        return next(state.tier for state in self.adapters().adapters if state.adapter == adapter)

    def completed(self, model: str, prompt: str, **options: object) -> Completed:
        answer = self.generate(model, prompt, **options)
        if not isinstance(answer, Completed):
            raise AssertionError(f"expected Completed, got {answer}")
        return answer

    def health_until(self, timeout_s: float = 60.0, **expected: object) -> Health:
        """Ask until the named fields have the wanted values."""
        until = time.monotonic() + timeout_s
        while True:
            health = self.health(until - time.monotonic() + 5)
            if all(getattr(health, key) == value for key, value in expected.items()):
                return health
            if time.monotonic() > until:
                raise TimeoutError(f"wanted {expected}, last seen {health}")


class WorkerProcess:
    """A started worker. `log` has its stderr."""

    def __init__(self, process: "subprocess.Popen[bytes]", endpoint: str, log: Path, home: Path) -> None:
        self.process = process
        self.endpoint = endpoint
        self.log = log
        self.home = home

    def client(self) -> Client:
        return Client(self.endpoint)

    def descendants(self) -> list[psutil.Process]:
        """The engine's processes (multiprocessing's resource tracker, which ends by itself, is not one)."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def terminate(self, timeout_s: float = 30.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def running_worker(home: Path, *arguments: str, **settings: object) -> Iterator[WorkerProcess]:
    """`python -m inference_worker` on `home`; `settings` are keys of [inference]. Killed at the end if it still runs."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BATOS_")}
    environment |= {"BATOS_HOME": str(home), "BATOS_METRICS_BASE_PORT": "0"}
    environment |= {f"BATOS_INFERENCE_{key.upper()}": str(value) for key, value in settings.items()}
    endpoint = f"ipc://{home}/test.sock"
    environment["BATOS_INFERENCE_ADDRESS"] = endpoint
    home.mkdir(parents=True, exist_ok=True)
    log = home / "worker.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "inference_worker", *arguments], cwd=ROOT, env=environment, stderr=stderr, preexec_fn=die_with_parent
        )
    worker = WorkerProcess(process, endpoint, log, home)
    try:
        yield worker
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def drawn(count: int, temperature: float = 1.0) -> list[Sampling]:
    return [Sampling(temperature=temperature, seed=seed) for seed in range(count)]
