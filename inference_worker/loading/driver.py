"""Between the scheduler's core, which decides, and the engine and the disk, which do.

The worker's event loop owns it. `tell` takes what happened, in the order in which it happened, and carries out what the core
says to it: engines are started and stopped here, adapters are moved by the mover, and requests are the caller's.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from inference_worker import metrics as measures
from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.adapters.store import AdapterStore, LocatedAdapter
from inference_worker.engine.host import EngineHost
from inference_worker.errors import InferenceFailure
from inference_worker.loading.mover import Mover
from inference_worker.tiers.events import (
    Admit,
    Commit,
    Delete,
    EngineGone,
    EngineReady,
    Event,
    Fetch,
    Instruction,
    Key,
    ReadAdapter,
    Refuse,
    Registered,
    Removed,
    Retire,
    StartEngine,
    StopEngine,
    Ticked,
    Tier,
    Unload,
    WasFetched,
)
from inference_worker.tiers.scheduler import Tiers

log = structlog.get_logger(__name__)

_TICK_S = 0.5


class Driver:
    """Carries out what `tiers` says. `slots`: how many adapters an engine for a model holds, and the bytes of each.

    `admit` and `refuse` are called with the core's answers to `Arrived`; `idle_s` is only told to those who ask why it sleeps.
    """

    def __init__(
        self,
        tiers: Tiers,
        store: AdapterStore,
        host: EngineHost,
        slots: Callable[[BaseModel], tuple[int, int]],
        admit: Callable[[Key, Tier | None], None],
        refuse: Callable[[Key, str, str], None],
        idle_s: float,
    ) -> None:
        self._tiers, self._store, self._host, self._slots = tiers, store, host, slots
        self._admit, self._refuse, self._idle_s = admit, refuse, idle_s
        self._events: deque[Event] = deque()
        self._is_telling = False
        self._mover = Mover(store, host, self.tell, self.forget)
        self._tasks: set[asyncio.Task[None]] = set()
        self._registered: set[str] = set()
        self._starts = 0

    # --- what happened ------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """The core hears of `event`, and what it says to it is done, or begun."""
        self._events.append(event)
        if self._is_telling:
            # Something that the core said made this happen: its turn comes when all of that is begun.
            return
        self._is_telling = True
        try:
            while self._events:
                for instruction in self._tiers.handle(self._events.popleft()):
                    self._carry_out(instruction)
        finally:
            self._is_telling = False

    def register(self, adapter: LocatedAdapter) -> None:
        """An adapter is here, or at a peer."""
        self._registered.add(adapter.digest)
        self.tell(Registered(self.now(), adapter.digest, adapter.size, adapter.rank, adapter.remote or adapter.fetched))
        if adapter.fetched:
            # In an earlier life: it counts against the disk's budget, and may be deleted, like one that is fetched now.
            self.tell(WasFetched(self.now(), adapter.digest, adapter.size, 0.0))

    def forget(self, digest: str, reason: str) -> None:
        """Its files are no more, and who waits for it is refused; until it is registered again."""
        if digest in self._registered:
            self._registered.discard(digest)
            self.tell(Removed(self.now(), digest, reason))

    def has_registered(self, digest: str) -> bool:
        """Whether the core knows the adapter."""
        return digest in self._registered

    def engine_died(self, model: str, reason: str) -> None:
        """The host noticed that the engine for `model` is gone."""
        self._mover.blame()
        self._forget_engine()
        self.tell(EngineGone(self.now(), model, reason))

    async def tick(self) -> None:
        """Tell the core that time passes, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.tell(Ticked(self.now()))
            measures.TIERS.show(self._tiers.statistics(0), len(self._store.quarantined()))

    def adapter(self, digest: str) -> Adapter:
        """One that is warm or hot. Raises EngineDied: it was, when the core said so, in an engine that is gone."""
        return self._mover.adapter(digest)

    def shape(self, digest: str | None) -> tuple[int, int]:
        """Rank and bytes of the weights of one that is warm or hot; zeros for any other."""
        return self._mover.shape(digest) if digest is not None else (0, 0)

    def now(self) -> float:
        """Seconds of the loop's clock, which all events are told in."""
        return asyncio.get_running_loop().time()

    async def close(self) -> None:
        """End all moves. The engine is the host's to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._mover.close()

    # --- what the core says -------------------------------------------------------------------------------------------

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Admit(key, tier):
                self._admit(key, tier)
            case Refuse(key, kind, reason):
                self._refuse(key, kind, reason)
            case StartEngine(model):
                self._forget_engine()
                self._starts += 1
                self._begin(self._start(model, self._starts))
            case StopEngine():
                self._forget_engine()
                self._host.sleep(f"asleep after {self._idle_s:g} s idle")
                log.info("engine sleeps", model=self._host.model, idle_s=self._idle_s)
                self.tell(EngineGone(self.now(), self._host.model))
            case Fetch(digest):
                self._mover.fetch(digest)
            case Delete(digest):
                self._mover.delete(digest)
            case ReadAdapter(digest):
                self._mover.read(digest)
            case Commit(digest):
                self._mover.commit(digest)
            case Retire(digest):
                self._mover.retire(digest)
            case Unload(digest):
                self._mover.drop(digest)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the engine ---------------------------------------------------------------------------------------------------

    async def _start(self, digest: str, number: int) -> None:
        try:
            model = await self._host.start(digest)
            slots, slot_size = self._slots(model)
            event: Event = EngineReady(self.now(), digest, slots, slot_size)
        except InferenceFailure as error:
            event = EngineGone(self.now(), digest, str(error), hopeless=True)
        else:
            if self._host.engine is None:
                # It died since, which was told.
                return
        # Otherwise another start has taken its place, and who waits for this model goes on waiting.
        if number == self._starts:
            self.tell(event)

    def _forget_engine(self) -> None:
        """Its moves come to nothing, and nothing is warm."""
        self._begin(self._mover.forget_engine())
