"""The inference worker as a contestant: `python -m inference_worker` on a home of its own, reached by its own protocol.

Times are taken here, at the client, from the moment a request was due to the arrival of its first Delta, so that socket, queue and
scheduler are in them. Called by the one thread of the benchmark.
"""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from benchmarks.serving.process import ROOT, ContestantFailed, Used, succeeded
from benchmarks.serving.wire import NO_ADAPTER, Ask, Transcript
from deploy.process import die_with_parent
from inference_worker import protocol
from inference_worker.protocol import AskAdapters, AskHealth, Completed, Delta, Generate, Health, Warm

_START_S = 180
_END_S = 20
_ANSWER_S = 30


class Worker:
    """A worker and its client. `adapters`: digests by number; both they and the model lie in `home` already."""

    name = "ours"

    def __init__(self, home: Path, model: str, adapters: list[str], **settings: object) -> None:
        self._model = model
        self._adapters = adapters
        self._log = home / "worker.log"
        endpoint = f"ipc://{home}/bench.sock"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BATOS_")}
        environment |= {"BATOS_HOME": str(home), "BATOS_METRICS_BASE_PORT": "0", "BATOS_INFERENCE_ADDRESS": endpoint, "TMPDIR": str(home)}
        environment |= {f"BATOS_INFERENCE_{key.upper()}": str(value) for key, value in settings.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inference_worker"], cwd=ROOT, env=environment, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._count = 0
        self._send(Warm(id="warm", model=model))

    def wait_ready(self) -> None:
        """Wait for the engine. Raises ContestantFailed."""
        answer = self._receive("warm", _START_S)
        if not isinstance(answer, Health):
            raise ContestantFailed(f"worker: {answer}")

    def play(self, asks: list[Ask], one_by_one: bool = False, timeout_s: float = 120.0) -> list[Transcript]:
        if one_by_one:
            return succeeded("worker", [transcript for ask in asks for transcript in _Load([ask]).run(self, timeout_s)])
        return succeeded("worker", _Load(asks).run(self, timeout_s))

    def tiers(self) -> protocol.Adapters:
        """The worker's own account of its tiers."""
        self._send(AskAdapters(id="tiers", limit=0))
        answer = self._receive("tiers", _ANSWER_S)
        if not isinstance(answer, protocol.Adapters):
            raise ContestantFailed(f"worker: {answer}")
        return answer

    def health(self) -> Health:
        self._send(AskHealth(id="health"))
        answer = self._receive("health", _ANSWER_S)
        if not isinstance(answer, Health):
            raise ContestantFailed(f"worker: {answer}")
        return answer

    def used(self) -> Used:
        return Used.of(self._process.pid)

    def end(self) -> None:
        """SIGTERM, and its drain; killed when that takes too long."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_END_S)
        self._context.destroy(linger=0)

    def begin(self, ask: Ask) -> str:
        """Send one request and return its id."""
        self._count += 1
        name = f"b{self._count}"
        adapter = None if ask.adapter == NO_ADAPTER else self._adapters[ask.adapter]
        self._send(
            Generate(
                id=name, model=self._model, prompt=ask.prompt, max_tokens=ask.tokens, adapter=adapter, stream=True, session=ask.session
            )
        )
        return name

    def next_answer(self, timeout_s: float) -> protocol.Answer | None:
        """Whatever comes within the time, or None. Raises ContestantFailed when the process has ended."""
        if self._socket.poll(max(0, math.ceil(timeout_s * 1000))):
            return protocol.decode_answer(self._socket.recv())
        if self._process.poll() is not None:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise ContestantFailed(f"worker: it ended with status {self._process.returncode}; the end of its log:\n{tail}")
        return None

    def _send(self, message: Any) -> None:
        self._socket.send(protocol.encode(message))

    def _receive(self, name: str, timeout_s: float) -> protocol.Answer:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            answer = self.next_answer(0.5)
            if answer is not None and answer.id == name:
                return answer
        raise ContestantFailed(f"worker: no answer to {name} within {timeout_s:.0f} s")


class _Load:
    """One load while it is played: what is due, what is under way, what came."""

    def __init__(self, asks: list[Ask]) -> None:
        self._asks = asks
        self._times: list[list[float]] = [[] for _ in asks]
        self._transcripts: list[Transcript | None] = [None] * len(asks)
        self._due = sorted(range(len(asks)), key=lambda index: asks[index].at_s, reverse=True)
        self._names: dict[str, int] = {}

    def run(self, worker: Worker, timeout_s: float) -> list[Transcript]:
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < timeout_s and None in self._transcripts:
            if self._due and self._asks[self._due[-1]].at_s <= now:
                index = self._due.pop()
                self._names[worker.begin(self._asks[index])] = index
                continue
            until = self._asks[self._due[-1]].at_s if self._due else timeout_s
            answer = worker.next_answer(min(until, timeout_s) - now)
            if answer is not None:
                self._came(answer, time.perf_counter() - began)
        late = Transcript(error=f"no answer within {timeout_s:.0f} s")
        return [transcript or late for transcript in self._transcripts]

    def _came(self, answer: protocol.Answer, at_s: float) -> None:
        index = self._names.get(answer.id)
        if index is None:
            return
        if isinstance(answer, Delta):
            self._times[index].append(at_s)
        elif isinstance(answer, Completed):
            # An output whose tokens make no text (half of a character) is first seen when it is complete.
            times = self._times[index] or [at_s]
            self._transcripts[index] = Transcript(
                first_s=times[0] - self._asks[index].at_s,
                times_s=times,
                counts=[1] * len(times),
                prompt_tokens=answer.prompt_tokens,
                arrival_tier=answer.found,
                mode=answer.mode,
            )
        else:
            self._transcripts[index] = Transcript(error=str(answer))
