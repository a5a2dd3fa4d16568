"""The worker, simulated: the tier scheduler's own core decides, and the machine's numbers say how long each move takes.

The core is the one that the real worker runs (`inference_worker.tiers.scheduler`), told the same events. Reads go one after the other
through one disk, fetches side by side; a commit is done between two steps, and the engine stands still for it.
"""

from collections import deque

from inference_worker.simulator.batch import SimulatedRequest
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.worker import SimulatedWorker
from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import (
    Admit,
    Commit,
    Committed,
    EngineGone,
    EngineReady,
    Event,
    Fetch,
    Key,
    Priority,
    ReadAdapter,
    Refuse,
    Registered,
    RequestArrived,
    RequestEnded,
    StartEngine,
    StopEngine,
    Ticked,
    WasFetched,
    WasRead,
)
from inference_worker.tiers.policies.policy import make_policy
from inference_worker.tiers.scheduler import Tiers
from inference_worker.trace import Trace

_MODEL = "model"
_PRIORITIES = {"interactive": Priority.INTERACTIVE, "normal": Priority.NORMAL, "background": Priority.BACKGROUND}
_WARM_UP: Key = (b"", "start")


class TieredWorker(SimulatedWorker):
    """One run of a trace under a policy. The engine is started before the trace begins, and its start is not counted."""

    def __init__(self, machine: SimulatedMachine, trace: Trace, policy: str) -> None:
        super().__init__(machine, trace, machine.lora, begins=machine.start_s + 1)
        self.core = Tiers(
            Budgets(ram=machine.ram, disk=machine.disk),
            make_policy(policy),
            SchedulingLimits(max_streams=machine.max_streams, reserved_streams=machine.reserved_streams, ageing_s=machine.ageing_s),
        )
        self._entering: deque[SimulatedRequest] = deque()
        self._commits: deque[str] = deque()
        self._committing: tuple[str, float] | None = None
        self._disk_free_at = 0.0
        self._sizes: dict[str, int] = {}
        self._register(trace)
        self.at(0.0, lambda: self._tell(RequestArrived(self.now, _WARM_UP, _MODEL)))

    def _register(self, trace: Trace) -> None:
        by_adapter = {request.adapter: request for request in self.requests}
        for adapter in trace.adapters:
            request = by_adapter.get(adapter)
            rank = request.rank if request else self.machine.rank_of(adapter)
            self._sizes[adapter] = self.size(request) if request else round(rank * self.machine.rank_bytes)
            self._tell(Registered(0.0, adapter, self._sizes[adapter], rank, self.machine.only_remote(adapter)))

    # --- events ----------------------------------------------------------------------------------------------------------

    def arrived(self, request: SimulatedRequest) -> None:
        record = request.record
        priority = _PRIORITIES[record.priority]
        client, session = record.client.encode(), record.session
        self._tell(RequestArrived(self.now, _key(request), _MODEL, record.streams, record.adapter, priority, client, session))

    def ended(self, request: SimulatedRequest) -> None:
        self._tell(RequestEnded(self.now, _key(request)))

    def ticked(self) -> None:
        self._tell(Ticked(self.now))

    def _tell(self, event: Event) -> None:
        for instruction in self.core.handle(event):
            match instruction:
                case Admit(key, tier) if key != _WARM_UP:
                    request = self.requests[int(key[1])]
                    request.admitted, request.arrival_tier = self.now, tier.value if tier else ""
                    self._entering.append(request)
                    self.wake()
                case Admit():
                    self.at(self.now, lambda: self._tell(RequestEnded(self.now, _WARM_UP)))
                case Commit(adapter):
                    self._commits.append(adapter)
                    self.wake()
                case ReadAdapter(adapter):
                    self._read(adapter)
                case Fetch(adapter):
                    self._fetch(adapter)
                case StartEngine():
                    self.at(self.now + self.machine.start_s, self._ready)
                case StopEngine():
                    self.at(self.now, lambda: self._tell(EngineGone(self.now, _MODEL)))
                case Refuse(key, kind, reason):
                    self.refuse(self.requests[int(key[1])], f"{kind}: {reason}")
                case _:
                    # Retire, Drop and Delete take no time worth a mention.
                    pass

    def _ready(self) -> None:
        self._tell(EngineReady(self.now, _MODEL, self.machine.slots, self.machine.slot_bytes))

    # --- moves -----------------------------------------------------------------------------------------------------------

    def _read(self, adapter: str) -> None:
        began = self.now
        self._disk_free_at = max(began, self._disk_free_at) + self.machine.read.seconds(self._sizes[adapter])
        self.at(self._disk_free_at, lambda: self._tell(WasRead(self.now, adapter, self._sizes[adapter], self.now - began)))

    def _fetch(self, adapter: str) -> None:
        seconds = self.machine.fetch.seconds(self._sizes[adapter])
        self.at(self.now + seconds, lambda: self._tell(WasFetched(self.now, adapter, self._sizes[adapter], seconds)))

    # --- the engine's turns ----------------------------------------------------------------------------------------------

    def prepare(self) -> float:
        self._enter()
        if not self._commits:
            return 0.0
        adapter = self._commits.popleft()
        self._committing = adapter, self.machine.commit.seconds(self._sizes[adapter])
        return self._committing[1]

    def prepared(self) -> None:
        if self._committing is not None:
            (adapter, seconds), self._committing = self._committing, None
            self._tell(Committed(self.now, adapter, seconds))
            # Who waited for this adapter is part of the very next step.
            self._enter()

    def _enter(self) -> None:
        while self._entering and self.batch.fits(self._entering[0]):
            self.batch.enter(self._entering.popleft())


def _key(request: SimulatedRequest) -> Key:
    return request.record.client.encode(), str(request.number)
