"""Stock vLLM with the same slots and the same RAM: what it does by itself about adapters.

As vLLM's scheduler and LRU caches of adapters do: first come, first served; a waiting request whose adapter would be one
more than there are slots in use by what runs is passed over; an adapter that is not in its slot is read and copied inside the step
that needs it first, and every sequence waits for that. `max_cpu_loras` is what fits into the RAM; both caches evict the
longest unused that nothing running needs. No priorities, no prefetch, no tiers beyond the own disk.
"""

from collections import OrderedDict, deque

from inference_worker.simulator.batch import SimulatedRequest
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.worker import SimulatedWorker
from inference_worker.trace import Trace

NAME = "stock"


class StockWorker(SimulatedWorker):
    """One run of a trace on stock vLLM. `entered`, `evicted`: adapters that got or lost a slot (hot), or a place in RAM (warm)."""

    def __init__(self, machine: SimulatedMachine, trace: Trace) -> None:
        super().__init__(machine, trace, machine.stock_lora)
        self._waiting: deque[SimulatedRequest] = deque()
        self._slots: OrderedDict[str, None] = OrderedDict()
        self._ram: OrderedDict[str, None] = OrderedDict()
        # A count, whatever the ranks: vLLM knows no bytes here.
        self._ram_slots = max(machine.slots, machine.ram // machine.slot_bytes) if machine.ram else len(trace.adapters)
        self._changed = False
        self.entered = {"hot": 0, "warm": 0}
        self.evicted = {"hot": 0, "warm": 0}

    @property
    def places(self) -> dict[str, int]:
        """Adapters in slots, and in RAM but in no slot."""
        return {"hot": len(self._slots), "warm": len(self._ram) - len(self._slots)}

    def arrived(self, request: SimulatedRequest) -> None:
        if request.adapter is not None:
            request.arrival_tier = "hot" if request.adapter in self._slots else "warm" if request.adapter in self._ram else "cold"
        self._waiting.append(request)
        self._changed = True
        self.wake()

    def ended(self, request: SimulatedRequest) -> None:
        self._changed = True

    def prepare(self) -> float:
        if not self._changed:
            return 0.0
        self._changed = False
        seconds = 0.0
        passed: list[SimulatedRequest] = []
        while self._waiting:
            request = self._waiting[0]
            streams = request.record.streams
            if self.batch.streams + streams > max(self.machine.max_streams, streams) or not self.batch.fits(request):
                break
            self._waiting.popleft()
            is_new = request.adapter is not None and request.adapter not in self.batch.adapters
            if is_new and len(self.batch.adapters) >= self.machine.slots:
                passed.append(request)
                continue
            seconds += self._load(request)
            request.admitted = self.now
            self.batch.enter(request)
        self._waiting.extendleft(reversed(passed))
        return seconds

    def prepared(self) -> None:
        """Nothing: who the loads were for has entered."""

    def ticked(self) -> None:
        """Nothing: vLLM has no clock of its own."""

    def _load(self, request: SimulatedRequest) -> float:
        """Bring the request's adapter into a slot, with everybody waiting; returns for how long, seconds."""
        adapter = request.adapter
        if adapter is None:
            return 0.0
        seconds = 0.0
        if adapter not in self._ram:
            seconds += self.machine.read.seconds(self.size(request))
            self.entered["warm"] += 1
            if len(self._ram) >= self._ram_slots:
                self._evict(self._ram, "warm")
        self._ram[adapter] = None
        self._ram.move_to_end(adapter)
        if adapter not in self._slots:
            seconds += self.machine.commit.seconds(self.size(request))
            self.entered["hot"] += 1
            if len(self._slots) >= self.machine.slots:
                self._evict(self._slots, "hot")
        self._slots[adapter] = None
        self._slots.move_to_end(adapter)
        return seconds

    def _evict(self, cache: "OrderedDict[str, None]", tier: str) -> None:
        victim = next(adapter for adapter in cache if adapter not in self.batch.adapters)
        del cache[victim]
        if cache is self._ram:
            self._slots.pop(victim, None)
        self.evicted[tier] += 1
