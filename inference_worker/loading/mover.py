"""Moves of adapters between the tiers, as the scheduler says them; what comes of each is told as an event.

The driver owns it, in the worker's event loop. Each move has a deadline. Moves that change what is in the engine are made one
after another, in the order in which they were said; a read runs beside them, once those before it are done. A move that
fails is an event, never an exception that ends the loop. An adapter under whose loading the engine died twice is not
loaded again for a while.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from inference_worker import metrics as measures
from inference_worker.adapters.adapter import Adapter
from inference_worker.adapters.store import AdapterStore
from inference_worker.engine.engine import Engine
from inference_worker.engine.host import EngineHost
from inference_worker.errors import BadAdapter, EngineDied, InferenceFailure, WorkerFault
from inference_worker.loading.serial import SerialExecutor
from inference_worker.tiers.events import Committed, Event, MoveFailed, WasFetched, WasRead

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOVE_S = 660.0
"""The longest that one move may take, seconds. An engine has its own, smaller bounds; this one is for disks and faults of ours."""

# It may have been another's fault, so that nobody is refused for ever.
_DEATHS, _SUSPECTED_S = 2, 600.0


class Mover:
    """Moves adapters of `store` into and out of the engine of `host`.

    `tell` takes events; `forget` takes the digest of an adapter whose files are no more, and why.
    """

    def __init__(self, store: AdapterStore, host: EngineHost, tell: Callable[[Event], None], forget: Callable[[str, str], None]) -> None:
        self._store, self._host, self._tell, self._forget = store, host, tell, forget
        self._adapters: dict[str, Adapter] = {}
        self._moving: set[str] = set()
        self._suspects: dict[str, tuple[int, float]] = {}
        self._lane, self._files_lane = SerialExecutor(), SerialExecutor()

    # --- what is said -------------------------------------------------------------------------------------------------

    def fetch(self, digest: str) -> None:
        """Remote → cold: answered by WasFetched or MoveFailed."""
        self._files_lane.then_beside(lambda: self._fetch(digest))

    def delete(self, digest: str) -> None:
        """Cold → remote."""
        self._files_lane.then(lambda: self._delete(digest))

    def read(self, digest: str) -> None:
        """Cold → warm: answered by WasRead or MoveFailed."""
        if (engine := self._host.engine) is not None:
            self._lane.then_beside(lambda: self._read(engine, digest))

    def commit(self, digest: str) -> None:
        """Warm → hot: answered by Committed or MoveFailed."""
        if (engine := self._host.engine) is not None:
            self._lane.then(lambda: self._commit(engine, digest))

    def retire(self, digest: str) -> None:
        """Hot → warm."""
        if (engine := self._host.engine) is not None:
            self._lane.then(lambda: self._lower(engine, digest, drop=False))

    def drop(self, digest: str) -> None:
        """Warm → cold."""
        if (engine := self._host.engine) is not None:
            self._lane.then(lambda: self._lower(engine, digest, drop=True))

    # --- what is where ------------------------------------------------------------------------------------------------

    def adapter(self, digest: str) -> Adapter:
        """One that is warm or hot. Raises EngineDied: it was, when the core said so, in an engine that is gone."""
        if digest not in self._adapters:
            raise EngineDied("the engine that held the adapter is gone")
        return self._adapters[digest]

    def shape(self, digest: str) -> tuple[int, int]:
        """Rank and bytes of the weights of one that is warm or hot; zeros for any other."""
        adapter = self._adapters.get(digest)
        return (adapter.rank, adapter.size) if adapter is not None else (0, 0)

    def blame(self) -> None:
        """The engine died: perhaps of what was being loaded into it."""
        for digest in self._moving:
            self._suspects[digest] = (self._suspects.get(digest, (0, 0.0))[0] + 1, _now())

    def forget_engine(self) -> Coroutine[Any, Any, None]:
        """The engine is gone: nothing is warm, and its moves come to nothing once what this returns has run."""
        lane, self._lane = self._lane, SerialExecutor()
        self._moving.clear()
        self._adapters.clear()
        return lane.close()

    async def close(self) -> None:
        """End all moves."""
        await self._lane.close()
        await self._files_lane.close()

    # --- moving -------------------------------------------------------------------------------------------------------

    async def _fetch(self, digest: str) -> None:
        began = _now()
        try:
            fetched = await self._attempt("fetch", digest, self._store.fetch(digest))
        except InferenceFailure as error:
            self._failed("fetch", digest, error)
        else:
            self._moved("fetch", began)
            self._tell(WasFetched(_now(), digest, fetched.size, _now() - began))

    async def _delete(self, digest: str) -> None:
        began = _now()
        try:
            await self._attempt("delete", digest, self._store.delete(digest))
            self._moved("delete", began)
        except InferenceFailure as error:
            log.error("an adapter's files were not deleted", adapter=digest, reason=str(error))

    async def _read(self, engine: Engine, digest: str) -> None:
        began = _now()
        try:
            adapter, size = await self._attempt("read", digest, self._parse(engine, digest))
        except EngineDied as error:
            self._host.lost(engine, str(error))
        except InferenceFailure as error:
            if engine is self._host.engine:
                self._moving.discard(digest)
                self._failed("read", digest, error)
        else:
            if engine is not self._host.engine:
                return
            self._moving.discard(digest)
            self._adapters[digest] = adapter
            self._moved("read", began)
            self._tell(WasRead(_now(), digest, max(1, size), _now() - began))

    async def _parse(self, engine: Engine, digest: str) -> tuple[Adapter, int]:
        deaths, last = self._suspects.get(digest, (0, 0.0))
        if deaths >= _DEATHS and _now() < last + _SUSPECTED_S:
            raise BadAdapter(f"the engine died {deaths} times while it was loaded; it is tried again after {_SUSPECTED_S:.0f} s")
        model = self._host.base
        if model is None:
            raise EngineDied("there is no engine")
        adapter = await self._store.check(digest, model)
        # Only from here on can the engine die of it.
        self._moving.add(digest)
        return adapter, await self._host.run(engine, engine.read(adapter))

    async def _commit(self, engine: Engine, digest: str) -> None:
        began = _now()
        self._moving.add(digest)
        try:
            await self._attempt("commit", digest, self._host.run(engine, engine.commit(self.adapter(digest))))
        except BadAdapter as error:
            if engine is self._host.engine:
                self._moving.discard(digest)
                self._failed("commit", digest, error)
        except InferenceFailure as error:
            # Dead, or in a state that nobody knows.
            self._host.lost(engine, str(error))
        else:
            if engine is not self._host.engine:
                return
            self._moving.discard(digest)
            self._suspects.pop(digest, None)
            self._moved("commit", began)
            self._tell(Committed(_now(), digest, _now() - began))

    async def _lower(self, engine: Engine, digest: str, drop: bool) -> None:
        began = _now()
        move = "drop" if drop else "retire"
        try:
            adapter = self.adapter(digest)
            if drop:
                del self._adapters[digest]
            await self._attempt(move, digest, self._host.run(engine, engine.drop(adapter) if drop else engine.retire(adapter)))
            self._moved(move, began)
        except InferenceFailure as error:
            # The core believes that it is done; an engine that still has it is not the one that the core knows.
            self._host.lost(engine, str(error))

    async def _attempt(self, move: str, digest: str, coroutine: Coroutine[Any, Any, T]) -> T:
        """Raises InferenceFailure only: what the work raised, or WorkerFault for one that hung or failed for a reason of ours."""
        try:
            async with asyncio.timeout(MOVE_S):
                return await coroutine
        except InferenceFailure:
            raise
        except TimeoutError as error:
            raise WorkerFault(f"adapter {digest}: its {move} took more than {MOVE_S:.0f} s") from error
        except Exception as error:
            log.exception("an adapter was not moved for a reason of ours", adapter=digest, move=move)
            raise WorkerFault(f"adapter {digest}: its {move} failed: {type(error).__name__}: {error}; the log has the rest") from error

    def _moved(self, move: str, began: float) -> None:
        measures.MOVES.labels(move).inc()
        measures.MOVE_SECONDS.labels(move).observe(_now() - began)

    def _failed(self, move: str, digest: str, error: InferenceFailure) -> None:
        """Who waits for the adapter is refused; one whose files are no good is not known any more, until they are put there again."""
        # The core names the adapter itself.
        reason = str(error).removeprefix(f"adapter {digest}: ")
        log.warning("an adapter was not moved", adapter=digest, move=move, reason=reason)
        measures.MOVES.labels(f"{move}_failed").inc()
        self._tell(MoveFailed(_now(), digest, reason))
        if not self._store.knows(digest):
            self._forget(digest, reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
