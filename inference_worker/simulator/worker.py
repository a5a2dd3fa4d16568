"""The simulator's virtual clock and the engine's turns; what waits for what is the business of its two subclasses.

`TieredWorker` (tiered.py) is the worker, with the tier scheduler's core in it; `StockWorker` (stock.py) is vLLM by itself. One
thread; time passes only from one event of the heap to the next.
"""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable

from msgspec import Struct

from inference_worker.simulator.batch import RunningBatch, SimulatedRequest
from inference_worker.simulator.machine import LoraCost, SimulatedMachine
from inference_worker.trace import Trace

PATIENCE_S = 3600.0
"""Virtual seconds without a first or last token after which the requests left over count as unfinished."""

_TICK_S = 1.0
_PROGRESS_EVERY = 256


class Stall(Struct, frozen=True):
    """The engine stood still while sequences were being decoded: since when, for how long."""

    at: float
    seconds: float


class SimulatedWorker(ABC):
    """One run of a trace on a machine. `begins`: when the trace begins, on the virtual clock."""

    def __init__(self, machine: SimulatedMachine, trace: Trace, lora: LoraCost, begins: float = 0.0) -> None:
        self.machine = machine
        self.batch = RunningBatch(machine, lora)
        self.requests = [
            SimulatedRequest(number, record, begins + record.at, self._rank(record.adapter, record.rank))
            for number, record in enumerate(trace.records)
        ]
        self.begins = begins
        self.now = 0.0
        self.busy_s = 0.0
        self.stalls: list[Stall] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._open = len(self.requests)
        self._moved = begins
        self._standing = True

    def _rank(self, adapter: str | None, rank: int) -> int:
        return 0 if adapter is None else rank or self.machine.rank_of(adapter)

    def size(self, request: SimulatedRequest) -> int:
        """Bytes of the request's adapter."""
        return request.record.size or round(request.rank * self.machine.rank_bytes)

    def run(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """Until every request has ended. `progress` is told now and then what share of the requests has."""
        if self.requests:
            self._arrive(0)
        self.at(_TICK_S, self._tick)
        while self._heap and self._open:
            self.now, _, call = heapq.heappop(self._heap)
            call()
            if self._count % _PROGRESS_EVERY == 0:
                progress(1 - self._open / len(self.requests))
            if self.now - self._moved > PATIENCE_S:
                return

    def at(self, time: float, call: Callable[[], None]) -> None:
        """`call` when the virtual clock shows `time`; what is due together is called in the order of asking."""
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, call))

    # --- what a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def arrived(self, request: SimulatedRequest) -> None:
        """A request arrived."""

    @abstractmethod
    def ended(self, request: SimulatedRequest) -> None:
        """A request wrote its last token."""

    @abstractmethod
    def prepare(self) -> float:
        """Between two steps: let requests enter the batch; returns for how long the engine stands still now, seconds."""

    @abstractmethod
    def prepared(self) -> None:
        """What the engine stood still for is done; a step comes next."""

    @abstractmethod
    def ticked(self) -> None:
        """A second passed."""

    # --- the engine's turns ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to do: begin a step if the engine stands idle."""
        if self._standing:
            self._standing = False
            self.at(self.now, self._turn)

    def refuse(self, request: SimulatedRequest, reason: str) -> None:
        """The request ends without an answer."""
        request.refused = reason
        self._close()

    def _turn(self) -> None:
        others = self.batch.streams
        stall = self.prepare()
        if stall > 0:
            self.busy_s += stall
            if others:
                self.stalls.append(Stall(self.now, stall))
            self.at(self.now + stall, self._resume)
        else:
            self._step()

    def _resume(self) -> None:
        self.prepared()
        if self.batch.streams:
            self._step()
        else:
            self._turn()

    def _step(self) -> None:
        if not self.batch.streams:
            self._standing = True
            return
        seconds, first, finished = self.batch.step()
        self.busy_s += seconds
        self.at(self.now + seconds, lambda: self._stepped(first, finished))

    def _stepped(self, first: list[SimulatedRequest], finished: list[SimulatedRequest]) -> None:
        for request in first:
            request.first = self.now + self.machine.request_s
            self._moved = self.now
        for request in finished:
            request.done = self.now + self.machine.request_s
            self._close()
            self.ended(request)
        self._turn()

    def _close(self) -> None:
        self._open -= 1
        self._moved = self.now

    # --- time ------------------------------------------------------------------------------------------------------------

    def _arrive(self, number: int) -> None:
        """Arrivals are put on the heap one at a time, so that it stays small."""
        request = self.requests[number]

        def call() -> None:
            self._moved = self.now
            if number + 1 < len(self.requests):
                self._arrive(number + 1)
            if self.batch.ever_fits(request):
                self.arrived(request)
            else:
                self.refuse(request, f"{request.kv_tokens} tokens do not fit into a KV cache of {self.machine.kv_tokens}")

        self.at(request.arrived, call)

    def _tick(self) -> None:
        self.ticked()
        self.at(self.now + _TICK_S, self._tick)
