"""What answers a request: the scheduler says when it runs, the engine writes it. The worker's event loop owns it.

A request is looked at (does its model exist, is its adapter known), told to the scheduler, waits for its turn, and is
written by the engine with its adapter, which is hot by then. A request that an engine died on is told to the scheduler once
more, alone, and then given up.
"""

import asyncio
from collections.abc import Callable
from typing import BinaryIO

import structlog

from deploy.data_type import on_cpu
from deploy.settings import Home, InferenceSettings
from inference_worker import metrics as measures
from inference_worker.adapters.adapter import BaseModel
from inference_worker.adapters.store import AdapterStore
from inference_worker.engine.engine import Emit, Engine, Generated
from inference_worker.engine.host import EngineHost
from inference_worker.engine.memory_plan import slot_bytes
from inference_worker.engine.vllm_arguments import engine_slots
from inference_worker.errors import BadAdapter, EndpointFailed, EngineDied, EngineStartFailed, InferenceFailure
from inference_worker.loading.driver import Driver
from inference_worker.protocol import (
    Adapters,
    Answer,
    AskAdapters,
    AskChunk,
    AskFiles,
    AskHealth,
    Completed,
    Delta,
    Generate,
    Health,
    Warm,
)
from inference_worker.server import answers
from inference_worker.server.accounting import Accounting
from inference_worker.server.pending_request import PendingRequest
from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import Key, Priority, RequestArrived, RequestEnded, Tier
from inference_worker.tiers.policies.policy import make_policy
from inference_worker.tiers.scheduler import Tiers

log = structlog.get_logger(__name__)

PROBE_S = 2.0
"""How long the engine may take to answer a health check, seconds: less than the silence after which clients leave a worker out.

One that does not is not dead for that, as a long prefill on a CPU takes longer; `engine/watchdog.py` says when it is.
"""

LOOK_S = 10.0
"""How often the adapters' directory is looked at, seconds. Whoever names an adapter that was put there just now need not wait for it."""

_MOST_LISTED = 1000
_PRIORITIES = {"interactive": Priority.INTERACTIVE, "normal": Priority.NORMAL, "background": Priority.BACKGROUND}


class Serving:
    """Answers requests. `lost` is called with a model whose engine died idle and was of use; `trace` gets a line per request."""

    def __init__(
        self,
        home: Home,
        settings: InferenceSettings,
        make: Callable[[], Engine],
        incarnation: str,
        lost: Callable[[str], None],
        trace: BinaryIO | None = None,
    ) -> None:
        self._settings, self._incarnation, self._lost = settings, incarnation, lost
        self._accounts = Accounting(trace)
        self._turns: dict[Key, PendingRequest] = {}
        self._has_served = False
        self._store = AdapterStore(home, settings)
        self._tiers = Tiers(_budgets(settings), make_policy(settings.policy), _limits(settings))
        self._host = EngineHost(make, home, self._engine_died)
        self._driver = Driver(self._tiers, self._store, self._host, self._slots, self._admitted, self._refused, settings.idle_s)

    async def open(self) -> None:
        """Learn which adapters there are; then `tick` and `look` must run."""
        for adapter in await self._store.open():
            self._driver.register(adapter)

    async def tick(self) -> None:
        """Let time pass for the scheduler, until cancelled."""
        await self._driver.tick()

    async def look(self) -> None:
        """See now and then what was put into the home and taken out of it, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                appeared, vanished = await self._store.refresh()
            except OSError as error:
                log.error("the adapters' directory cannot be read", reason=str(error))
                continue
            for adapter in appeared:
                self._driver.register(adapter)
            for digest in vanished:
                self._driver.forget(digest, "its files were taken away")

    async def close(self) -> None:
        """End the engine and all that is under way."""
        await self._host.stop()
        await self._driver.close()
        await self._store.close()

    @property
    def is_ready(self) -> bool:
        """Whether there is an engine that can write."""
        return self._host.state == "ready"

    @property
    def useless(self) -> str:
        """Why this process can have no engine any more; empty while it can."""
        return self._host.useless

    async def answer(self, pending: PendingRequest) -> Answer:
        """The one answer to a request. Raises InferenceFailure."""
        match pending.request:
            case Generate() as request:
                return await self._generate_or_again(pending, request)
            case Warm() as request:
                return await self._warm(pending, request)
            case AskHealth(identifier):
                return await self._health(identifier)
            case AskAdapters(identifier, limit):
                return self._adapters(identifier, limit)
            case AskFiles(identifier, adapter):
                return await self._store.files(identifier, adapter)
            case AskChunk(identifier, adapter, path, offset, length):
                return await self._store.chunk(identifier, adapter, path, offset, length)
            case _:
                raise TypeError(f"{type(pending.request).__name__} is answered by nobody")

    # --- text ---------------------------------------------------------------------------------------------------------

    async def _generate_or_again(self, pending: PendingRequest, request: Generate) -> Completed:
        try:
            return await self._generate(pending, request, again=False)
        except EngineDied as error:
            log.warning("request is tried again, alone", id=request.id, reason=str(error))
        return await self._generate(pending, request, again=True)

    async def _generate(self, pending: PendingRequest, request: Generate, again: bool) -> Completed:
        await self._host.find_model(request.model)
        if request.adapter is not None and not self._driver.has_registered(request.adapter):
            self._driver.register(await self._store.find(request.adapter))
        arrived = RequestArrived(
            at=self._driver.now(),
            key=pending.key,
            model=request.model,
            streams=len(request.samplings),
            adapter=request.adapter,
            priority=_PRIORITIES[request.priority],
            client=pending.client,
            session=request.session or pending.client.hex(),
            alone=again,
        )
        try:
            tier = await self._turn(pending, arrived)
            began = self._driver.now()
            generated = await self._write(pending, request, again)
        finally:
            self._end_turn(pending)
        self._has_served = True
        return self._accounts.completed(pending, request, generated, tier, began, self._driver.now(), self._driver.shape(request.adapter))

    async def _turn(self, pending: PendingRequest, arrived: RequestArrived) -> Tier | None:
        """Wait until the scheduler admits it; returns where its adapter was. Raises BadAdapter, EngineStartFailed."""
        pending.turn = asyncio.get_running_loop().create_future()
        self._turns[pending.key] = pending
        with measures.WAITING.track_inprogress():
            self._driver.tell(arrived)
            tier = await pending.turn
        measures.WAITS.observe(self._driver.now() - pending.arrived)
        return tier

    async def _write(self, pending: PendingRequest, request: Generate, again: bool) -> Generated:
        engine = self._host.engine
        if engine is None:
            raise EngineDied("the engine died before the request was begun")
        adapter = self._driver.adapter(request.adapter) if request.adapter is not None else None
        pending.first_token = None
        with measures.RUNNING.track_inprogress():
            try:
                return await self._host.run(engine, engine.generate(request, adapter, self._emitter(pending, request, again)))
            except EngineDied as error:
                self._host.lost(engine, str(error))
                raise

    def _emitter(self, pending: PendingRequest, request: Generate, again: bool) -> Emit:
        def emit(index: int, text: str) -> None:
            if pending.first_token is None:
                pending.first_token = self._driver.now()
            # What a client put together from Deltas of an engine that died is the beginning of an answer that was lost.
            if request.stream and not again:
                pending.send(Delta(id=request.id, index=index, text=text))

        return emit

    def _end_turn(self, pending: PendingRequest) -> None:
        self._turns.pop(pending.key, None)
        pending.is_running = False
        self._driver.tell(RequestEnded(self._driver.now(), pending.key))

    # --- the scheduler's answers --------------------------------------------------------------------------------------

    def _admitted(self, key: Key, tier: Tier | None) -> None:
        pending = self._turns[key]
        pending.is_running = True
        if pending.turn is not None and not pending.turn.done():
            pending.turn.set_result(tier)

    def _refused(self, key: Key, kind: str, reason: str) -> None:
        pending = self._turns[key]
        failure: InferenceFailure = EngineStartFailed(reason) if kind == "EngineStartFailed" else BadAdapter(reason)
        if pending.turn is not None and not pending.turn.done():
            pending.turn.set_exception(failure)

    def _engine_died(self, model: str, reason: str) -> None:
        was_of_use, self._has_served = self._has_served, False
        self._driver.engine_died(model, reason)
        if was_of_use:
            self._lost(model)

    def _slots(self, model: BaseModel) -> tuple[int, int]:
        return engine_slots(self._settings, model, on_cpu()), slot_bytes(self._settings, model)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _warm(self, pending: PendingRequest, request: Warm) -> Health:
        model = await self._host.find_model(request.model)
        if not self.is_ready or self._host.model != model.digest:
            try:
                await self._turn(pending, RequestArrived(at=self._driver.now(), key=pending.key, model=model.digest, client=pending.client))
            finally:
                self._end_turn(pending)
        return await self._health(request.id)

    async def _health(self, identifier: str) -> Health:
        answers_now, silence = False, ""
        if (engine := self._host.engine) is not None:
            try:
                async with asyncio.timeout(PROBE_S):
                    await self._host.run(engine, engine.probe())
                # It may have been put to sleep since.
                answers_now = engine is self._host.engine
            except TimeoutError:
                silence = f"the engine did not answer within {PROBE_S:.0f} s"
            except EndpointFailed as error:
                silence = str(error)
            except EngineDied as error:
                self._host.lost(engine, str(error))
        statistics = self._tiers.statistics(_MOST_LISTED)
        starting_s, step = self._host.start_under_way
        return Health(
            id=identifier,
            engine=self._host.state,
            answers=answers_now,
            model=self._host.model,
            adapters=answers.at_hand(statistics) if self.is_ready else [],
            waiting=statistics.waiting,
            running=statistics.running,
            engine_starts=self._host.starts,
            detail=silence or self._host.detail or self._host.rest,
            incarnation=self._incarnation,
            streams=self._settings.max_streams,
            starting_s=starting_s,
            step=step,
        )

    def _adapters(self, identifier: str, limit: int) -> Adapters:
        return answers.adapters(identifier, self._tiers.statistics(limit), self._store.quarantined(), limit)


def _budgets(settings: InferenceSettings) -> Budgets:
    return Budgets(ram=int(settings.ram_gib * 2**30), disk=int(settings.disk_gib * 2**30))


def _limits(settings: InferenceSettings) -> SchedulingLimits:
    return SchedulingLimits(
        max_streams=settings.max_streams,
        # One stream at least is for whoever comes, or background requests would never run.
        reserved_streams=min(settings.reserved_streams, settings.max_streams - 1),
        ageing_s=settings.ageing_s,
        idle_s=settings.idle_s,
    )
