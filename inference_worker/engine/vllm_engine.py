"""vLLM's AsyncLLM, embedded: the engine that the worker uses.

The event loop of the worker calls it and owns it. What blocks (importing, starting, stopping) runs in one thread that
lives as long as the engine, because the kernel's parent-death signal, by which vLLM's processes end with this one, is
bound to the thread that started them. vLLM runs the scheduler in a process of its own (the core), and on a CPU the model
in another, where the methods of `lora/extension.py` move adapters. Requests, their aborts and these calls go to the core
over one connection and are carried out in the order in which they were sent; so a slot that is freed after a request
was aborted is not used by it any more.
"""

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psutil
import structlog

from deploy.data_type import settled
from deploy.settings import Home, InferenceSettings
from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.concurrency import together
from inference_worker.engine.engine import Emit, Engine, Generated
from inference_worker.engine.heap import settle
from inference_worker.engine.processes import first_module
from inference_worker.engine.read_reports import Reports
from inference_worker.engine.vllm_arguments import PRIORITIES, REMOVED_VARIABLES, context_length, engine_arguments, engine_environment
from inference_worker.engine.vllm_inputs import VllmInputs
from inference_worker.engine.watchdog import HOPELESS_S, Vitals
from inference_worker.errors import BadAdapter, BadGrammar, BadRequest, EngineDied, EngineStartFailed, LibrariesFailed, WorkerFault
from inference_worker.protocol import Generate, Output

log = structlog.get_logger(__name__)

T = TypeVar("T")

_POLL_S = 0.5
_STOP_S = 3.0
_ABORT_S = 5.0
_READ_S = HOPELESS_S
_FIRST_ADAPTER = 1


class VllmEngine(Engine):
    """One AsyncLLM over one base model. `home` keeps the sockets of its processes and the compiled kernels."""

    def __init__(self, settings: InferenceSettings, home: Home) -> None:
        self._settings = settled(settings)
        self._home = home
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._llm: Any = None
        self._inputs: VllmInputs | None = None
        self._vitals: Vitals | None = None
        self._reports: Reports | None = None
        self._context = settings.max_model_len
        # An adapter keeps its number for as long as the engine lives, so that no number ever means other bytes.
        self._numbers: dict[str, int] = {}
        self._hot: set[str] = set()
        self._requests = 0
        self._waiting = 0
        self._unwanted = False

    async def start(self, model: BaseModel) -> None:
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(self._thread, self._start, model)
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                pids = await asyncio.shield(starting)
                self._vitals = Vitals(pids, self._fault, self._ask, lambda: self._waiting > 0)
                self._reports = Reports(self._home.inference_run)
                await self._call_extension("tier_share_threads")
                await self._warm()
                await self._check_operations()
        except BaseException as error:
            await self._give_up(starting)
            await self.stop()
            if isinstance(error, TimeoutError):
                limit = self._settings.start_timeout_s
                raise EngineStartFailed(f"model {model.digest}: no engine after {limit:.0f} s (inference.start_timeout_s)") from error
            if isinstance(error, EngineStartFailed):
                raise
            if isinstance(error, Exception):
                raise EngineStartFailed(f"model {model.digest}: the engine does not start: {type(error).__name__}: {error}") from error
            raise

    async def read(self, adapter: Adapter) -> int:
        number = self.number(adapter)
        if self._reports is None:
            raise EngineDied("the engine was stopped")
        with self._reports.expect(number) as reports:
            try:
                processes = len(await self._call_extension("tier_read", number, str(adapter.path), self._reports.address))
                async with asyncio.timeout(_READ_S):
                    answers = [await self._unless_dead(reports.get()) for _ in range(processes)]
                if error := next((report.error for report in answers if report.error), ""):
                    raise BadAdapter(f"adapter {adapter.digest}: the engine refuses it: {error}")
            except (BadAdapter, TimeoutError) as error:
                await self._call_extension("tier_drop", number)
                if isinstance(error, TimeoutError):
                    raise BadAdapter(f"adapter {adapter.digest}: {adapter.path} was not read within {_READ_S:.0f} s") from error
                raise
        return max(report.size for report in answers)

    async def commit(self, adapter: Adapter) -> None:
        try:
            await self._call_extension("tier_commit", self.number(adapter))
        except BadAdapter as error:
            raise BadAdapter(f"adapter {adapter.digest}: {error}") from error
        self._hot.add(adapter.digest)

    async def retire(self, adapter: Adapter) -> None:
        self._hot.discard(adapter.digest)
        await self._call_or_die("tier_retire", adapter)

    async def drop(self, adapter: Adapter) -> None:
        self._hot.discard(adapter.digest)
        await self._call_or_die("tier_drop", adapter)

    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        if adapter is not None and adapter.digest not in self._hot:
            # vLLM would read it from the disk inside a step, with everybody waiting.
            raise WorkerFault(f"adapter {adapter.digest} is in no slot; it must be committed before a request names it")
        inputs = self._inputs
        if inputs is None:
            raise EngineDied("the engine was not started")
        tokens = inputs.tokens(request)
        room = self._context - len(tokens)
        if room < 1:
            raise BadRequest(f"the prompt has {len(tokens)} tokens; prompt and answer together may have {self._context}")
        if request.grammar:
            await asyncio.get_running_loop().run_in_executor(None, inputs.check_grammar, request.grammar)
        lora = self._lora(adapter) if adapter is not None else None
        self._requests += 1
        name = str(self._requests)
        outputs = await self._unless_dead(
            together(
                self._write(f"{name}-{index}", tokens, inputs.parameters(request, sampling, room), lora, request, index, emit)
                for index, sampling in enumerate(request.samplings)
            )
        )
        return Generated(outputs=outputs, prompt_tokens=len(tokens), mode="base" if adapter is None else "adapter")

    async def probe(self) -> None:
        await self.state()

    async def state(self) -> dict[str, Any]:
        """What the process that holds the model has where (see TierExtension.tier_state). Raises EngineDied."""
        try:
            answers = await self._call_extension("tier_state")
        except BadAdapter as error:
            raise EngineDied(f"the engine does not answer: {error}") from error
        return answers[0]

    async def died(self) -> str:
        while self._vitals is None:
            await asyncio.sleep(_POLL_S)
        return await asyncio.shield(self._vitals.death)

    async def stop(self) -> None:
        llm, self._llm = self._llm, None
        vitals, self._vitals = self._vitals, None
        reports, self._reports = self._reports, None
        if vitals is not None:
            if vitals.death.done():
                # There is nothing to wait for.
                vitals.kill()
                _kill_children()
            vitals.declare("it was stopped")
        loop = asyncio.get_running_loop()
        if llm is not None:
            stopping = loop.run_in_executor(self._thread, llm.shutdown)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_S):
                    await asyncio.shield(stopping)
            _kill_children()
            if vitals is not None:
                vitals.kill()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_S):
                    await asyncio.shield(stopping)
        if vitals is not None:
            vitals.close()
        if reports is not None:
            reports.close()
        self._thread.shutdown(wait=False)

    async def _give_up(self, starting: asyncio.Future[list[int]]) -> None:
        """End a start that is not wanted any more: it cannot be interrupted, but fails once its processes are gone."""
        self._unwanted = True
        while not starting.done():
            _kill_children()
            await asyncio.wait([starting], timeout=_POLL_S)
        with contextlib.suppress(Exception):
            starting.result()

    # --- in the engine's thread -------------------------------------------------------------------------------------

    def _start(self, model: BaseModel) -> list[int]:
        """Returns the ids of the engine's processes."""
        began = time.monotonic()
        self.step = "loading the engine's libraries"
        os.environ.update(engine_environment(os.environ, self._settings.lora, self._home.path / "cache" / "kernels"))
        for name in REMOVED_VARIABLES:
            os.environ.pop(name, None)
        logging.getLogger("vllm").setLevel(logging.WARNING)
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except Exception as error:  # of whatever kind, from any of hundreds of modules; torch refuses some of them a second time
            raise LibrariesFailed(f"the engine's libraries do not load: {type(error).__name__}: {error}") from error

        imported = time.monotonic()
        if self._unwanted:
            return []
        self._context = context_length(self._settings, model)
        arguments = AsyncEngineArgs(**engine_arguments(self._settings, model, current_platform.is_cpu()))
        before = {child.pid for child in multiprocessing.active_children()}
        self.step = "loading the model"
        with first_module():
            self._llm = AsyncLLM.from_engine_args(arguments)
        self._inputs = VllmInputs(self._llm.get_tokenizer(), self._llm.model_config.get_vocab_size())
        settle()
        log.info(
            "engine is up",
            model=model.digest,
            dtype=self._settings.dtype,
            import_s=round(imported - began, 1),
            start_s=round(time.monotonic() - imported, 1),
        )
        return _processes([child.pid for child in multiprocessing.active_children() if child.pid and child.pid not in before])

    # --- in the event loop ------------------------------------------------------------------------------------------

    async def _warm(self) -> None:
        """One token, so that what the first step costs is paid before the engine counts as ready."""
        self.step = "writing a first token"
        request = Generate(id="warm", model="0" * 64, prompt="def", max_tokens=1)
        await self.generate(request, None, lambda index, text: None)

    async def _check_operations(self) -> None:
        """On a CPU vLLM's own operations answer wrongly in mixed batches; they must not take the place of ours unseen."""
        from vllm.platforms import current_platform

        if current_platform.is_cpu() and self._settings.lora != "stock" and not (await self.state())["operations"]:
            raise EngineStartFailed(
                "vLLM did not load our LoRA operations, the entry point `vllm.general_plugins` of the package batos: install it again"
                " (`pip install --no-deps -e .`), unset VLLM_PLUGINS, or have wrong answers in mixed batches with inference.lora = stock"
            )

    async def _call_or_die(self, method: str, adapter: Adapter) -> None:
        """What cannot fail in a sound engine; one where it does is not trusted any more."""
        try:
            await self._call_extension(method, self.number(adapter))
        except BadAdapter as error:
            reason = f"{method} of adapter {adapter.digest} failed: {error}"
            if self._vitals is not None:
                self._vitals.declare(reason)
            raise EngineDied(reason) from error

    async def _call_extension(self, method: str, *arguments: Any) -> list[dict[str, Any]]:
        """Call the extension in each process that holds (a part of) the model. Raises BadAdapter with its error, EngineDied."""
        llm = self._alive()
        try:
            answers = await self._unless_dead(llm.collective_rpc(method, args=arguments))
        except EngineDied:
            raise
        except Exception as error:
            raise self._translated(error, EngineDied(f"the engine does not answer: {error}")) from error
        if refusal := next((answer["error"] for answer in answers if "error" in answer), ""):
            raise BadAdapter(refusal)
        return list(answers)

    async def _unless_dead(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of `coroutine`, or EngineDied as soon as the engine is dead, whatever `coroutine` still waits for."""
        if self._vitals is None:
            coroutine.close()
            raise EngineDied("the engine was stopped")
        death = self._vitals.death
        task = asyncio.ensure_future(coroutine)
        self._waiting += 1
        try:
            both: set[asyncio.Future[Any]] = {task, death}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1
            if not task.done():
                # What it has under way in the engine is aborted before anything else is said to the engine.
                task.cancel()
                await asyncio.wait({task}, timeout=_ABORT_S)
        if task.done() and not task.cancelled():
            return task.result()
        raise EngineDied(f"the engine died under the request: {death.result()}")

    def _alive(self) -> Any:
        if self._llm is None or self._vitals is None:
            raise EngineDied("the engine was stopped")
        if self._vitals.death.done():
            raise EngineDied(f"the engine is dead: {self._vitals.death.result()}")
        return self._llm

    async def _ask(self) -> None:
        """Answered by the process with the model, between two steps; not by way of `_call_extension`, which counts as waiting for it."""
        await self._alive().collective_rpc("tier_state")

    def _fault(self) -> str:
        return "vLLM reports it as dead" if self._llm is not None and self._llm.errored else ""

    async def _write(self, name: str, tokens: list[int], parameters: Any, lora: Any, request: Generate, index: int, emit: Emit) -> Output:
        text, count, logprob, finish = "", 0, 0.0, ""
        logprobs: list[float] = []
        stream: AsyncGenerator[Any, None] = self._alive().generate(
            {"prompt_token_ids": tokens}, parameters, name, lora_request=lora, priority=PRIORITIES[request.priority]
        )
        try:
            async for step in stream:
                part = step.outputs[0]
                text += part.text
                logprob = part.cumulative_logprob or 0.0
                finish = part.finish_reason or ""
                if request.logprobs and part.logprobs:
                    logprobs += [step[token].logprob for token, step in zip(part.token_ids, part.logprobs, strict=True)]
                if part.text or not count:
                    emit(index, part.text)
                count += len(part.token_ids)
        except Exception as error:
            raise self._translated(error, BadRequest(f"the engine refuses the request: {error.__cause__ or error}")) from error
        finally:
            await stream.aclose()
        if finish not in ("stop", "length"):
            if request.grammar:
                raise BadGrammar(f"after {count} tokens the grammar admitted no further one ({finish})")
            raise EngineDied(f"the engine ended the output after {count} tokens ({finish or 'without a reason'})")
        mean = logprob / count if count and math.isfinite(logprob) else 0.0
        return Output(text=text, tokens=count, logprob=mean, finish=finish, logprobs=logprobs)

    def number(self, adapter: Adapter) -> int:
        """What this engine calls the adapter; the same for as long as the engine lives, and never another's."""
        return self._numbers.setdefault(adapter.digest, len(self._numbers) + _FIRST_ADAPTER)

    def _lora(self, adapter: Adapter) -> Any:
        from vllm.lora.request import LoRARequest

        return LoRARequest(lora_name=adapter.digest, lora_int_id=self.number(adapter), lora_path=str(adapter.path))

    def _translated(self, error: Exception, otherwise: Exception) -> Exception:
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._llm is None or isinstance(error, EngineDeadError) or self._llm.errored:
            return EngineDied("the engine's process ended under the request")
        return otherwise


def _processes(cores: list[int]) -> list[int]:
    """The cores and what they started, without Python's own helper, whose end would mean nothing."""
    processes = [psutil.Process(pid) for pid in cores]
    processes += [child for core in processes for child in core.children(recursive=True)]
    return [process.pid for process in processes if not any("resource_tracker" in word for word in process.cmdline())]


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()
