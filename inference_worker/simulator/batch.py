"""The simulated engine's batch: continuous batching, one step at a time, and what a step costs.

A step writes one token for each sequence that is decoded, and takes in up to `batch_tokens` tokens of new prompts; a
request's first token comes with the last of its prompt. The tokens of the KV cache that a request may come to need are
set aside when it enters (vLLM gives them out one block at a time and takes them back from the youngest when they run out; a
simulation that sets them aside waits a little more and never recomputes).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeVar

from inference_worker.simulator.machine import LoraCost, SimulatedMachine
from inference_worker.trace import TraceRecord

Key = TypeVar("Key", str, int)


@dataclass(eq=False, slots=True)
class SimulatedRequest:
    """One request on its way. Times are seconds of the virtual clock, -1 until they happen.

    `arrival_tier`: where its adapter was when it arrived; empty without adapter.
    """

    number: int
    record: TraceRecord
    arrived: float
    rank: int = 0
    arrival_tier: str = ""
    admitted: float = -1.0
    first: float = -1.0
    done: float = -1.0
    refused: str = ""
    unread: int = field(init=False)

    def __post_init__(self) -> None:
        self.unread = self.record.prompt_tokens

    @property
    def adapter(self) -> str | None:
        return self.record.adapter

    @property
    def kv_tokens(self) -> int:
        """What it takes of the KV cache at its longest; outputs share the prompt's blocks."""
        return self.record.prompt_tokens + self.record.streams * self.record.tokens


class RunningBatch:
    """The requests inside the engine. `lora`: what adapters cost in it."""

    def __init__(self, machine: SimulatedMachine, lora: LoraCost) -> None:
        self._machine = machine
        self._lora = lora
        self._reading: deque[SimulatedRequest] = deque()
        self._ending: dict[int, list[SimulatedRequest]] = {}
        self._steps = 0
        self._kv_free = machine.kv_tokens
        self._decoding = 0
        self._decoding_with_adapter = 0
        self._context = 0
        self._ranks: Counter[int] = Counter()
        self.adapters: Counter[str] = Counter()
        """Requests inside for each adapter."""
        self.streams = 0
        """Sequences inside, prompts still being read included."""
        self.tokens = 0
        """Tokens written so far."""

    def ever_fits(self, request: SimulatedRequest) -> bool:
        """Whether the request fits into an empty engine."""
        return request.kv_tokens <= self._machine.kv_tokens

    def fits(self, request: SimulatedRequest) -> bool:
        """Whether the KV cache has room for the request now."""
        return request.kv_tokens <= self._kv_free

    def enter(self, request: SimulatedRequest) -> None:
        """The request, which fits, is part of the next step."""
        self._kv_free -= request.kv_tokens
        self.streams += request.record.streams
        self._reading.append(request)
        if request.adapter is not None:
            self.adapters[request.adapter] += 1
            self._ranks[request.rank] += 1

    def step(self) -> tuple[float, list[SimulatedRequest], list[SimulatedRequest]]:
        """One step: its seconds, the requests that got their first token, and those that got their last."""
        machine = self._machine
        read, read_with_adapter, first = self._read()
        tokens_with_adapter = self._decoding_with_adapter + read_with_adapter
        seconds = (
            machine.step_s
            + machine.stream_s * self._decoding
            + machine.context_token_s * self._context
            + machine.prefill_token_s * read
            + self._lora.seconds(len(self.adapters), tokens_with_adapter, max(self._ranks, default=0))
        )
        self._steps += 1
        self.tokens += self._decoding
        self._context += self._decoding
        finished = self._ending.pop(self._steps, [])
        for request in finished:
            self._decoded(request, -1)
        for request in first:
            self.tokens += request.record.streams
            if request.record.tokens == 1:
                finished.append(request)
                continue
            self._decoded(request, 1)
            self._ending.setdefault(self._steps + request.record.tokens - 1, []).append(request)
        for request in finished:
            self._leave(request)
        return seconds, first, finished

    def _read(self) -> tuple[int, int, list[SimulatedRequest]]:
        """Take in prompt tokens in the order of entering; how many, how many of them under an adapter, whose prompt ended."""
        left, with_adapter = self._machine.batch_tokens, 0
        first: list[SimulatedRequest] = []
        while self._reading and left:
            request = self._reading[0]
            tokens = min(left, request.unread)
            request.unread -= tokens
            left -= tokens
            if request.adapter is not None:
                with_adapter += tokens
            if not request.unread:
                first.append(self._reading.popleft())
        return self._machine.batch_tokens - left, with_adapter, first

    def _decoded(self, request: SimulatedRequest, sign: int) -> None:
        """The request joins (1) or leaves (-1) those that are decoded."""
        streams = sign * request.record.streams
        written = 1 if sign > 0 else request.record.tokens
        self._decoding += streams
        self._context += streams * (request.record.prompt_tokens + written)
        if request.adapter is not None:
            self._decoding_with_adapter += streams

    def _leave(self, request: SimulatedRequest) -> None:
        self._kv_free += request.kv_tokens
        self.streams -= request.record.streams
        if request.adapter is not None:
            _less(self.adapters, request.adapter)
            _less(self._ranks, request.rank)


def _less(counter: "Counter[Key]", key: Key) -> None:
    """One fewer, and no entry for none."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
