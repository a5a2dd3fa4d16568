"""The benchmark's side of a contestant: start its process, have it play loads, end it. Called by the one thread of the benchmark."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import psutil
import zmq

from benchmarks.serving.contestant import Specification
from benchmarks.serving.wire import Ask, Call, Called, Command, End, Failure, Play, Played, Ready, Report, Transcript, decode_report, encode
from deploy.process import die_with_parent

ROOT = Path(__file__).parents[2]
_START_S = 180
_END_S = 20
_SEND_MS = 2000


class ContestantFailed(RuntimeError):
    """A contestant ended, did not answer in time, or says that a command failed."""


class Player(Protocol):
    """Whoever can play a load: an engine in a process, or the worker behind its socket."""

    name: str

    def play(self, asks: list[Ask], one_by_one: bool = False, timeout_s: float = 120.0) -> list[Transcript]:
        """How each request went, in order. Raises ContestantFailed when one fails, or nothing comes in time."""


class EngineProcess:
    """One contestant. `wait_ready` must be called before the first load."""

    def __init__(self, specification: Specification, directory: Path) -> None:
        self.name = specification.name
        self.operations = ""
        self._log = directory / f"{self.name}.log"
        endpoint = f"ipc://{directory}/{self.name}.sock"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDTIMEO, _SEND_MS)
        self._socket.bind(endpoint)
        text = msgspec.json.encode(msgspec.structs.replace(specification, endpoint=endpoint)).decode()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.serving.contestant", text],
                cwd=ROOT,
                # vLLM leaves the files of its sockets behind, in the directory for temporary files.
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)},
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def wait_ready(self) -> None:
        """Wait for the engine. Raises ContestantFailed."""
        report = self._receive(_START_S)
        if not isinstance(report, Ready):
            raise ContestantFailed(f"{self.name}: {report}")
        self.operations = report.operations

    def play(self, asks: list[Ask], one_by_one: bool = False, timeout_s: float = 120.0) -> list[Transcript]:
        report = self._ask(Play(asks, one_by_one), timeout_s)
        if not isinstance(report, Played):
            raise ContestantFailed(f"{self.name}: {report}")
        return succeeded(self.name, report.transcripts)

    def call(self, method: str, *arguments: str | int | float | bool) -> str:
        """The worker extension's answer, as text."""
        report = self._ask(Call(method, list(arguments)), 60)
        if not isinstance(report, Called):
            raise ContestantFailed(f"{self.name}: {report}")
        return report.answer

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Only within does the contestant run at all."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def freeze(self) -> None:
        """From now on it runs only while it is `awake`."""
        self._signal(signal.SIGSTOP)

    def used(self) -> "Used":
        return Used.of(self._process.pid)

    def end(self) -> None:
        """End the process, kindly first."""
        self._signal(signal.SIGCONT)
        if self._process.poll() is None:
            with contextlib.suppress(zmq.Again):
                self._socket.send(encode(End()), zmq.NOBLOCK)
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_END_S)
        self._context.destroy(linger=0)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for member in [process, *process.children(recursive=True)]:
                member.send_signal(number)

    def _ask(self, command: Command, timeout_s: float) -> Report:
        try:
            self._socket.send(encode(command))
        except zmq.Again as error:
            raise ContestantFailed(f"{self.name}: it has ended; the end of its log:\n{self._tail()}") from error
        report = self._receive(timeout_s)
        if isinstance(report, Failure):
            raise ContestantFailed(f"{self.name}: {report.error}")
        return report

    def _receive(self, timeout_s: float) -> Report:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self._socket.poll(500):
                report: Report = decode_report(self._socket.recv())
                return report
            if self._process.poll() is not None:
                raise ContestantFailed(f"{self.name}: it ended with status {self._process.returncode}; the end of its log:\n{self._tail()}")
        # Its answer would be taken for that to the next command.
        self._process.kill()
        raise ContestantFailed(f"{self.name}: no answer within {timeout_s:.0f} s; the end of its log:\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class Used(msgspec.Struct, frozen=True):
    """Processor time, seconds, and memory, bytes, of a process and its descendants."""

    cpu_s: float
    memory: int

    @classmethod
    def of(cls, pid: int) -> "Used":
        cpu, memory = 0.0, 0
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            try:
                times = process.cpu_times()
                memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            cpu += times.user + times.system
        return cls(cpu, memory)


def succeeded(name: str, transcripts: list[Transcript]) -> list[Transcript]:
    """All of them. Raises ContestantFailed when one has failed."""
    failed = [transcript.error for transcript in transcripts if transcript.error]
    if failed:
        raise ContestantFailed(f"{name}: {len(failed)} of {len(transcripts)} requests failed: {failed[0]}")
    return transcripts
