"""The life of the engine: started when it is first needed, one model at a time, noticed when it dies, built anew.

The worker's event loop owns it. Admission keeps requests for different models apart, so that whoever asks for a model
may have the engine of another one stopped. Adapters are read and checked here, in threads, before the engine sees them,
and evicted here, the longest unused first, so that the engine never evicts one on its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from deploy.settings import Home
from inference_worker.adapter import Adapter, BaseModel, check_adapter, read_model
from inference_worker.engine import Engine
from inference_worker.errors import EngineDied, EngineStartFailed, InferenceFailure, Stopping
from inference_worker.measures import ADAPTERS_LOADED, ENGINE_STARTS

log = structlog.get_logger(__name__)

_CHECKED_ADAPTERS = 1024
_CHECKED_MODELS = 8


class EngineHost:
    """Holds at most one engine. `make` returns a new one, not started; `max_warm`: adapters kept loaded."""

    def __init__(self, make: Callable[[], Engine], home: Home, max_rank: int, max_warm: int) -> None:
        self._make = make
        self._home = home
        self._max_rank = max_rank
        self._max_warm = max_warm
        self._engine: Engine | None = None
        self._model: BaseModel | None = None
        self._starting: asyncio.Task[Engine] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._models: OrderedDict[str, BaseModel] = OrderedDict()
        self._checked: OrderedDict[tuple[str, str], Adapter] = OrderedDict()
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._loading = asyncio.Lock()
        # Held while an engine is started or ended: ending one ends all of its kind's processes.
        self._changing = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None
        self._useful = False
        self._stopping = False
        self.starts = 0
        self.detail = ""

    @property
    def state(self) -> str:
        """unloaded, starting, ready or failed."""
        if self._starting is not None:
            return "starting"
        if self._engine is not None:
            return "ready"
        return "failed" if self.detail else "unloaded"

    @property
    def ready(self) -> Engine | None:
        """The engine, when it is ready."""
        return self._engine if self._starting is None else None

    @property
    def model(self) -> str:
        """Digest of the model that is loaded or being loaded; empty when there is none."""
        return self._model.digest if self._model else ""

    @property
    def adapters(self) -> list[str]:
        """Digests of the adapters in the engine, the most recently used last."""
        return list(self._loaded)

    async def check_model(self, digest: str) -> BaseModel:
        """The model of this digest; its header is read once. Raises UnknownModel."""
        if digest not in self._models:
            self._models[digest] = await asyncio.to_thread(read_model, self._home.models / digest, digest)
            while len(self._models) > _CHECKED_MODELS:
                self._models.popitem(last=False)
        return self._models[digest]

    async def check_adapter(self, digest: str, model: BaseModel) -> Adapter:
        """The adapter of this digest, read and checked once for a model. Raises BadAdapter."""
        key = (digest, model.digest)
        if key not in self._checked:
            path = self._home.adapters / digest
            self._checked[key] = await asyncio.to_thread(check_adapter, path, digest, model, self._max_rank)
            while len(self._checked) > _CHECKED_ADAPTERS:
                self._checked.popitem(last=False)
        return self._checked[key]

    async def engine(self, model: BaseModel) -> Engine:
        """The engine for `model`, started if need be; all who ask meanwhile wait for the same start.

        Raises EngineStartFailed, Stopping. Cancelling one who waits does not cancel the start.
        """
        while not self._stopping:
            if self._starting is None:
                if self._engine is not None and self.model == model.digest:
                    return self._engine
                self._begin(model)
            if self._starting is not None and self.model == model.digest:
                return await asyncio.shield(self._starting)
            if self._starting is not None:
                await asyncio.wait([self._starting])
        raise Stopping("the worker is being stopped")

    async def load(self, engine: Engine, adapter: Adapter, used: set[str]) -> None:
        """See that `engine` has `adapter`; what is evicted for it is not in `used`. Raises BadAdapter, EngineDied."""
        async with self._loading:
            if engine is not self._engine:
                raise EngineDied("the engine was replaced while the adapter was being loaded")
            if adapter.digest in self._loaded:
                self._loaded.move_to_end(adapter.digest)
                return
            while len(self._loaded) >= self._max_warm and (idle := next((d for d in self._loaded if d not in used), None)):
                await engine.unload(self._loaded[idle])
                self._loaded.pop(idle, None)
            await engine.load(adapter)
            self._loaded[adapter.digest] = adapter
            ADAPTERS_LOADED.set(len(self._loaded))

    def served(self) -> None:
        """A request was answered: should this engine die while idle, another is started at once."""
        self._useful = True

    async def lost(self, engine: Engine, reason: str) -> None:
        """`engine` died. Whoever notices says so; the first one takes it down."""
        async with self._changing:
            if engine is not self._engine:
                return
            log.error("engine died", model=self.model, reason=reason, starts=self.starts)
            self.detail = f"the engine died: {reason}"
            await self._drop()
        if self._useful and not self._stopping and self._starting is None and self._model is not None:
            self._begin(self._model)

    async def stop(self) -> None:
        """End whatever runs or is being started."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        async with self._changing:
            await self._drop()

    def _begin(self, model: BaseModel) -> None:
        self._model, self.detail, self._useful = model, "", False
        self.starts += 1
        ENGINE_STARTS.inc()
        self._starting = asyncio.create_task(self._replace(model))
        # Nobody may be waiting for it; the failure is logged and shown by Health.
        self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _replace(self, model: BaseModel) -> Engine:
        try:
            async with self._changing:
                await self._drop()
                log.info("engine starts", model=model.digest, start=self.starts)
                engine = self._make()
                await engine.start(model)
                self._engine = engine
                self._watching = asyncio.create_task(self._watch(engine))
                return engine
        except InferenceFailure as error:
            self.detail = str(error)
            log.error("engine does not start", model=model.digest, reason=self.detail)
            raise
        except Exception as error:
            self.detail = f"{type(error).__name__}: {error}"
            log.exception("engine does not start", model=model.digest)
            raise EngineStartFailed(f"model {model.digest}: {self.detail}") from error
        finally:
            self._starting = None

    async def _watch(self, engine: Engine) -> None:
        reason = await engine.died()
        # A task of its own: `lost` ends with cancelling this one.
        self._ending = asyncio.create_task(self.lost(engine, reason))

    async def _drop(self) -> None:
        engine, self._engine = self._engine, None
        watching, self._watching = self._watching, None
        self._loaded.clear()
        ADAPTERS_LOADED.set(0)
        if watching is not None:
            watching.cancel()
        if engine is not None:
            await engine.stop()


def one_model(home: Home) -> str | None:
    """The only model in the home, to be started eagerly; None when there is none or a choice."""
    try:
        found = [entry.name for entry in home.models.iterdir() if (entry / "config.json").is_file()]
    except FileNotFoundError:
        return None
    return found[0] if len(found) == 1 else None
