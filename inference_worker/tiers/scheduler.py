"""The tier scheduler's decision core: events in, instructions out, with no clock, socket, thread or engine inside.

The worker's event loop owns one and calls it (the simulator another); nobody else does. Call `handle` with each event as it
happens, and carry the instructions out in the order in which they come. `docs/scheduler.md` is the tour.

What the core does not expect it bears, as a driver may be overtaken by events: the end of a request that it does not know, an arrival of
a move that is not under way (its engine died, its adapter was removed), a second registration, and the end of an engine that
is gone already change nothing. `WasFetched` for a remote adapter is believed without a move: so a driver says at its start that
files on its disk came from a peer. A request for an adapter that is not registered is refused. Only what a driver must never
say is a ValueError: a key that waits or runs already, a request of no streams, an adapter of no bytes, a negative
number of slots. After EngineGone the driver reports no read or commit of that engine any more.
"""

from collections import deque
from enum import Enum, auto
from heapq import nlargest
from math import ceil

from inference_worker.tiers.admission import Admission
from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import (
    Admit,
    Committed,
    EngineGone,
    EngineReady,
    Event,
    Instruction,
    MoveFailed,
    Refuse,
    Registered,
    Removed,
    RequestArrived,
    RequestEnded,
    StartEngine,
    StopEngine,
    Ticked,
    Tier,
    WasFetched,
    WasRead,
)
from inference_worker.tiers.moves import Moves
from inference_worker.tiers.places import PlacedAdapter, Places
from inference_worker.tiers.policies.policy import Policy
from inference_worker.tiers.queue import Request, Waiting
from inference_worker.tiers.statistics import AdapterStatistics, Statistics, TierStatistics

_WAITS_KEPT = 1000


class _State(Enum):
    NONE = auto()
    STARTING = auto()
    READY = auto()
    STOPPING = auto()


class Tiers:
    """Where the adapters are, who waits, and who runs."""

    def __init__(self, budgets: Budgets, policy: Policy, limits: SchedulingLimits) -> None:
        self._budgets, self._policy, self._limits = budgets, policy, limits
        self._places = Places()
        self._waiting = Waiting(limits.ageing_s)
        self._moves = Moves(self._places, self._waiting, policy, budgets, limits, self._refuse_adapter)
        self._admission = Admission(self._waiting, self._places, limits, self._refresh)
        self._state = _State.NONE
        self._model: str | None = None
        self._at = self._busy_at = float("-inf")
        self._waits: deque[float] = deque(maxlen=_WAITS_KEPT)
        self._out: list[Instruction] = []
        self._has_refused = False

    def handle(self, event: Event) -> list[Instruction]:
        """What to do now that `event` has happened. Raises ValueError for what no driver may say; nothing has changed then."""
        self._out = []
        self._at = max(self._at, event.at)
        match event:
            case RequestArrived():
                self._arrived(event)
            case RequestEnded():
                self._ended(event)
            case WasRead() | WasFetched() | Committed():
                self._moved(event)
            case MoveFailed():
                self._move_failed(event)
            case Registered():
                self._registered(event)
            case Removed():
                self._removed(event)
            case EngineReady():
                self._engine_ready(event)
            case EngineGone():
                self._engine_gone(event)
            case Ticked():
                pass
        self._settle()
        return self._out

    # --- adapters -----------------------------------------------------------------------------------------------------

    def _registered(self, event: Registered) -> None:
        if event.size <= 0 or event.rank < 0:
            raise ValueError(f"adapter {event.adapter} is registered with {event.size} bytes and rank {event.rank}; it needs bytes")
        adapter = self._places.get(event.adapter)
        if adapter is None:
            self._places.register(event)
            return
        adapter.leaving = False
        if adapter.tier is Tier.REMOTE and not event.remote:
            self._places.abandon(adapter)
            self._places.came_home(adapter)
        self._moves.refresh(adapter)

    def _removed(self, event: Removed) -> None:
        adapter = self._places.get(event.adapter)
        if adapter is None:
            return
        adapter.leaving = True
        self._refuse_adapter(adapter, event.reason)
        self._part(adapter)

    def _part(self, adapter: PlacedAdapter) -> None:
        """Forget an adapter that was removed, once nothing uses or moves it."""
        if adapter.leaving and adapter.is_idle:
            self._out += self._moves.leave(adapter)
            self._moves.forget(adapter)
            self._places.forget(adapter)
            self._policy.forget(adapter.digest)

    def _moved(self, event: WasRead | WasFetched | Committed) -> None:
        adapter = self._places.get(event.adapter)
        goal = Tier.COLD if isinstance(event, WasFetched) else Tier.WARM if isinstance(event, WasRead) else Tier.HOT
        if adapter is not None and goal is Tier.COLD and adapter.tier is Tier.REMOTE and adapter.goal is None:
            # WasFetched before: how a driver tells, after it was started again, that files on its disk came from a peer.
            self._places.begin(adapter, 0)
        if adapter is None or adapter.goal is not goal:
            return
        size = 0 if isinstance(event, Committed) else event.size
        self._places.finish(adapter, event.seconds, size)
        adapter.failed = False
        if goal is Tier.WARM:
            self._policy.loaded(adapter.digest, size, event.seconds)
        self._moves.refresh(adapter)
        if goal is not Tier.HOT:
            self._out += self._moves.too_much(adapter)
        self._part(adapter)

    def _move_failed(self, event: MoveFailed) -> None:
        adapter = self._places.get(event.adapter)
        if adapter is None or adapter.goal is None:
            return
        self._places.abandon(adapter)
        adapter.failed = True
        self._refuse_adapter(adapter, event.reason)
        self._part(adapter)

    def _refuse_adapter(self, adapter: PlacedAdapter, reason: str) -> None:
        """Who waits for the adapter waits in vain."""
        for request in self._waiting.of_adapter(adapter.digest):
            self._refuse(request, "BadAdapter", f"adapter {adapter.digest}: {reason}")
        self._moves.refresh(adapter)

    def _refresh(self, request: Request) -> None:
        if request.arrival.adapter is not None and (adapter := self._places.get(request.arrival.adapter)) is not None:
            self._moves.refresh(adapter)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _arrived(self, event: RequestArrived) -> None:
        if event.key in self._waiting or event.key in self._admission:
            raise ValueError(f"request {event.key!r} is waiting or running already")
        if event.streams < 1:
            raise ValueError(f"request {event.key!r} has {event.streams} streams; it needs at least 1")
        if event.adapter is None:
            self._waiting.add(event, None)
            return
        adapter = self._places.get(event.adapter)
        if adapter is None or adapter.leaving:
            self._out.append(Refuse(event.key, "BadAdapter", f"adapter {event.adapter} is not known here; register it first"))
            return
        self._places.traffic[adapter.tier].arrivals += 1
        adapter.last_use, adapter.model = self._at, event.model
        self._waiting.add(event, adapter.tier)
        self._moves.touch(self._policy.used(self._at, event.adapter, event.session))
        self._moves.arrived(adapter, event.session)
        self._moves.refresh(adapter)

    def _ended(self, event: RequestEnded) -> None:
        if (request := self._waiting.get(event.key)) is not None:
            self._waiting.remove(request)
            self._refresh(request)
        elif (request := self._admission.running(event.key)) is not None:
            adapter = self._places.get(request.arrival.adapter) if request.arrival.adapter is not None else None
            self._admission.end(event.key, adapter)
            if adapter is not None:
                adapter.pins -= 1
                self._moves.refresh(adapter)
                self._part(adapter)

    def _refuse(self, request: Request, kind: str, reason: str) -> None:
        self._waiting.remove(request)
        self._out.append(Refuse(request.arrival.key, kind, reason))
        self._has_refused = True

    def _admit(self, request: Request) -> None:
        adapter = self._places.get(request.arrival.adapter) if request.arrival.adapter is not None else None
        self._waiting.admitted(request)
        self._admission.run(request, adapter)
        if adapter is not None:
            adapter.pins += 1
            adapter.uses += 1
            adapter.last_s = self._at
            if adapter.first_s is None:
                adapter.first_s = self._at
            self._moves.refresh(adapter)
        self._waits.append(self._at - request.arrival.at)
        self._out.append(Admit(request.arrival.key, request.tier))

    # --- the engine ---------------------------------------------------------------------------------------------------

    def _engine_ready(self, event: EngineReady) -> None:
        if event.slots < 0 or event.slot_size < 0:
            raise ValueError(f"the engine is ready with {event.slots} slots of {event.slot_size} bytes; neither can be negative")
        self._lose_engine(_State.READY, event.model)
        self._places.slots, self._places.slot_size = event.slots, event.slot_size
        self._busy_at = self._at
        self._moves.engine(event.model)

    def _engine_gone(self, event: EngineGone) -> None:
        if self._model == event.model:
            self._lose_engine(_State.NONE, None)
        if event.hopeless:
            for request in self._waiting.of_model(event.model):
                self._refuse(request, "EngineStartFailed", event.reason)
                self._refresh(request)

    def _lose_engine(self, state: _State, model: str | None) -> None:
        """What is hot, warm or on the way there is cold again."""
        self._state, self._model = state, model
        self._moves.engine(None)
        for adapter in self._places.lose_engine():
            self._moves.lost(adapter)
            self._part(adapter)

    def _switch_engine(self) -> None:
        """Start the engine whose turn it is, or stop one that nobody needs."""
        model = self._admission.wanted_model()
        if model is not None or len(self._admission):
            self._busy_at = self._at
        if model is not None and self._state is not _State.STOPPING:
            if self._state is _State.NONE or (self._model != model and not len(self._admission)):
                self._lose_engine(_State.STARTING, model)
                self._out.append(StartEngine(model))
        elif self._state is _State.READY and 0 < self._limits.idle_s <= self._at - self._busy_at and not self._places.is_moving_parsed:
            self._state = _State.STOPPING
            self._moves.engine(None)
            self._out.append(StopEngine())

    # --- after each event ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for request in self._waiting.lift(self._at):
            self._refresh(request)
        self._moves.touch(self._policy.passed(self._at))
        while True:
            self._has_refused = False
            model = self._model if self._state is _State.READY else None
            while model is not None and (ready := self._admission.next(model)) is not None:
                self._admit(ready)
            self._switch_engine()
            self._out += self._moves.decide(self._at)
            # Who is refused may have had the turn: others then have it.
            if not self._has_refused:
                return

    # --- numbers ------------------------------------------------------------------------------------------------------

    def statistics(self, limit: int = 100) -> Statistics:
        """The numbers; `limit`: adapters listed, the most recently asked for first. Without them it takes the time of 1,000 waits."""
        places = self._places
        listed = nlargest(limit, places, key=_last_use) if limit else []
        used = {
            Tier.HOT: ((places.slots - places.free_slots) * places.slot_size, places.slots * places.slot_size),
            Tier.WARM: (places.ram_used, self._budgets.ram),
            Tier.COLD: (places.disk_used, self._budgets.disk),
            Tier.REMOTE: (0, 0),
        }
        return Statistics(
            policy=self._policy.name,
            tiers=[self._tier(tier, *used[tier]) for tier in used],
            adapters=[self._adapter(adapter) for adapter in listed],
            registered=len(places),
            waiting=len(self._waiting),
            running=len(self._admission),
            streams=self._admission.streams,
            waits=_quantiles(self._waits),
            prefetched=self._moves.guesses.moves,
            prefetched_used=self._moves.guesses.right,
        )

    def _tier(self, tier: Tier, used: int, budget: int) -> TierStatistics:
        traffic = self._places.traffic[tier]
        return TierStatistics(tier, self._places.count[tier], used, budget, traffic.arrivals, traffic.entered, traffic.left, traffic.move_s)

    def _adapter(self, adapter: PlacedAdapter) -> AdapterStatistics:
        size = {Tier.HOT: self._places.slot_size, Tier.WARM: adapter.ram}.get(adapter.tier, adapter.size)
        idle_s = self._at - adapter.last_use if adapter.last_use is not None else -1.0
        return AdapterStatistics(adapter.digest, adapter.tier, size, adapter.rank, adapter.uses, adapter.load_s, idle_s)


def _quantiles(waits: deque[float]) -> dict[str, float]:
    if not waits:
        return {}
    ordered = sorted(waits)
    return {f"p{percent}": ordered[ceil(percent * len(ordered) / 100) - 1] for percent in (50, 90, 99)}


def _last_use(adapter: PlacedAdapter) -> float:
    return adapter.last_use if adapter.last_use is not None else float("-inf")
