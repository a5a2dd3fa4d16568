"""The life of the engine: one at a time, started when it is told to, its death noticed, ended with all its processes.

The worker's event loop owns it. What to start and when to stop is the scheduler's decision, carried out by the driver;
here is only how. Whoever has work for the engine runs it with `run`, which ends when the engine does.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from deploy.settings import Home
from inference_worker.adapters.adapter import BaseModel, read_model
from inference_worker.engine.engine import Engine
from inference_worker.errors import EngineDied, EngineStartFailed, InferenceFailure, LibrariesFailed
from inference_worker.metrics import ENGINE_STARTS

log = structlog.get_logger(__name__)

T = TypeVar("T")

_KNOWN_MODELS = 8


class EngineHost:
    """Holds at most one engine. `make` returns a new one, not started; `died` is called when one that was ready is gone.

    `starts`: how often one was started; `detail`: why there is none, when there should be one; `rest`: why it was stopped; `useless`: why
    this process can have none any more.
    """

    def __init__(self, make: Callable[[], Engine], home: Home, died: Callable[[str, str], None]) -> None:
        self._make = make
        self._home = home
        self._died = died
        self._engine: Engine | None = None
        self._model: BaseModel | None = None
        self._models: OrderedDict[str, BaseModel] = OrderedDict()
        self._looking = asyncio.Lock()
        self._death: asyncio.Future[str] | None = None
        self._starting: asyncio.Task[BaseModel] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: list[asyncio.Task[None]] = []
        # The engine that is being started, and since when, seconds of the loop's clock.
        self._started: Engine | None = None
        self._started_at = 0.0
        self.starts = 0
        self.detail = ""
        self.rest = ""
        self.useless = ""

    @property
    def state(self) -> str:
        """unloaded, starting, ready or failed."""
        if self._starting is not None:
            return "starting"
        if self._engine is not None:
            return "ready"
        return "failed" if self.detail else "unloaded"

    @property
    def start_under_way(self) -> tuple[float, str]:
        """For how long an engine has been starting, seconds, and what it does; nothing where none is."""
        if self._starting is None:
            return 0.0, ""
        return asyncio.get_running_loop().time() - self._started_at, self._started.step if self._started is not None else ""

    @property
    def engine(self) -> Engine | None:
        """The engine, when it is ready."""
        return self._engine

    @property
    def model(self) -> str:
        """Digest of the model that is loaded or being loaded, or was last; empty before the first."""
        return self._model.digest if self._model else ""

    @property
    def base(self) -> BaseModel | None:
        """The same model."""
        return self._model

    async def find_model(self, digest: str) -> BaseModel:
        """The model of this digest; its header is read once. Raises UnknownModel."""
        if (model := self._models.get(digest)) is not None:
            return model
        # One after another, so that those who ask go on in the order in which they came.
        async with self._looking:
            if digest not in self._models:
                self._models[digest] = await asyncio.to_thread(read_model, self._home.models / digest, digest)
                while len(self._models) > _KNOWN_MODELS:
                    self._models.popitem(last=False)
            return self._models[digest]

    async def start(self, digest: str) -> BaseModel:
        """Have an engine for this model, in place of any other. Raises EngineStartFailed, UnknownModel."""
        if self._starting is not None:
            self._starting.cancel()
        self._started_at = asyncio.get_running_loop().time()
        starting = self._starting = asyncio.create_task(self._start(digest, self._starting))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled():
                raise EngineStartFailed(f"model {digest}: the engine was told to end while it started") from None
            raise
        except InferenceFailure as error:
            self.detail = str(error)
            if isinstance(error, LibrariesFailed):
                self.useless = self.detail
            log.error("engine does not start", model=digest, reason=self.detail)
            raise
        except Exception as error:
            self.detail = f"{type(error).__name__}: {error}"
            log.exception("engine does not start", model=digest)
            raise EngineStartFailed(f"model {digest}: {self.detail}") from error
        finally:
            if self._starting is starting:
                self._starting = self._started = None

    async def run(self, engine: Engine, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of `coroutine` of `engine`. Raises EngineDied as soon as that engine is gone, whatever `coroutine` does then."""
        death = self._death
        if engine is not self._engine or death is None:
            coroutine.close()
            raise EngineDied("the engine was replaced")
        task = asyncio.create_task(coroutine)
        try:
            either: list[asyncio.Future[Any]] = [task, death]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if death.done() and not (task.done() and not task.cancelled() and task.exception() is None):
                raise EngineDied(f"the engine died: {death.result()}")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def lost(self, engine: Engine, reason: str) -> None:
        """`engine` died. Whoever notices says so; the first one tells the others, and has its processes ended."""
        if engine is not self._engine:
            return
        log.error("engine died", model=self.model, reason=reason, starts=self.starts)
        self.detail = f"the engine died: {reason}"
        self._detach_engine()
        self._died(self.model, self.detail)
        self._end_work(reason)

    def sleep(self, rest: str) -> None:
        """Begin to end the engine that is ready, which nobody needs; the next start waits for its end. `rest`: why, for those who ask."""
        self._detach_engine()
        self._end_work("it was put to sleep")
        self.detail, self.rest = "", rest

    async def stop(self) -> None:
        """End whatever runs or is being started."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        self._detach_engine()
        self._end_work("it was told to end")
        await self._wait_for_ended()
        self.detail = ""

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _start(self, digest: str, before: asyncio.Task[BaseModel] | None) -> BaseModel:
        if before is not None:
            await asyncio.wait([before])
        if self.useless:
            raise LibrariesFailed(self.useless)
        model = await self.find_model(digest)
        self._detach_engine()
        self._end_work("another model takes its place")
        # Ending an engine ends all of its kind's processes, so that the next one must not have any yet.
        await self._wait_for_ended()
        self._model, self.detail, self.rest = model, "", ""
        self.starts += 1
        ENGINE_STARTS.inc()
        log.info("engine starts", model=digest, start=self.starts)
        engine = self._started = self._make()
        await engine.start(model)
        self._engine, self._death = engine, asyncio.get_running_loop().create_future()
        self._watching = asyncio.create_task(self._watch(engine))
        return model

    async def _watch(self, engine: Engine) -> None:
        self.lost(engine, await engine.died())

    def _end_work(self, reason: str) -> None:
        if self._death is not None and not self._death.done():
            self._death.set_result(reason)

    def _detach_engine(self) -> None:
        engine, self._engine = self._engine, None
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        if engine is not None:
            self._ending.append(asyncio.create_task(engine.stop()))

    async def _wait_for_ended(self) -> None:
        while self._ending:
            ended, _ = await asyncio.wait(self._ending)
            self._ending = [task for task in self._ending if task not in ended]


def one_model(home: Home) -> str | None:
    """The only model in the home, to be started eagerly; None when there is none or a choice."""
    try:
        models = [entry.name for entry in home.models.iterdir() if (entry / "config.json").is_file()]
    except FileNotFoundError:
        return None
    return models[0] if len(models) == 1 else None
