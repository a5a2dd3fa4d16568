"""A server beyond this process, such as vLLM's, behind the interface of an engine: `inference.endpoint`.

The event loop of the worker calls it and owns it. It has no process to end and no weights to load: its start is finding the server and the
name of the model there, and its death is that nobody answers any more. Then the host starts another one, which looks for the server with
growing pauses for as long as `endpoint_patience_s`; the next request after that looks again. So the worker stays up, and is back when
the server is.

An output is one streamed request. One whose connection breaks while the server answers others is asked for once more, without deltas; one
for which the server has no room waits. A server that was restarted has forgotten its adapters: they are loaded again
when it says so.

What the tiers mean here: warm is what the server has been told to load, and has under the adapter's digest; hot is what may be asked for
now, so that no more adapters are in use at once than the server has slots (`inference.max_loras`). Which of them lies in its
slots, the server decides by itself.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import structlog

from deploy import endpoint
from deploy.endpoint import Endpoint, EndpointFault
from deploy.settings import Home, InferenceSettings
from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.concurrency import together
from inference_worker.engine import openai_wire
from inference_worker.engine.endpoint_client import Broken, EndpointClient, Unreachable
from inference_worker.engine.engine import Emit, Engine, Generated
from inference_worker.engine.openai_wire import Complaint
from inference_worker.errors import (
    BadAdapter,
    BadGrammar,
    BadRequest,
    EndpointFailed,
    EngineDied,
    EngineStartFailed,
    InferenceFailure,
    WorkerFault,
)
from inference_worker.metrics import ENDPOINT_RETRIES
from inference_worker.protocol import Generate, Output, Sampling

log = structlog.get_logger(__name__)

T = TypeVar("T")

_NO_ROOM: Final = frozenset({429, 502, 503, 504})
"""What servers, and what stands before them, answer when it is too much just now, or the one behind them is away."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_ALIVE_S = 3.0
_STOP_S = 3.0
# Beside the outputs: moves of adapters and questions after its health.
_SPARE_CONNECTIONS = 8


class EndpointEngine(Engine):
    """Asks one server. `home`: where the adapters lie that it is told to load."""

    def __init__(self, server: Endpoint, settings: InferenceSettings, home: Home) -> None:
        self._server, self._settings = server, settings
        self._adapters_path = Path(settings.endpoint_adapters_path) if settings.endpoint_adapters_path else home.adapters
        self._is_vllm = settings.endpoint_dialect == "vllm"
        self._has_priorities = self._is_vllm
        self._client: EndpointClient | None = None
        self._death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._model = ""
        self._is_same_model = False
        # By this engine, which unloads them again. Another worker may have loaded others.
        self._loaded: set[str] = set()
        self._loading = asyncio.Lock()
        self._hot: set[str] = set()
        self._streams = 0

    # --- its life -----------------------------------------------------------------------------------------------------

    async def start(self, model: BaseModel) -> None:
        settings = self._settings
        self.step = "asking the server what it serves"
        connections = settings.max_streams + _SPARE_CONNECTIONS
        self._client = EndpointClient(self._server, connections, settings.endpoint_connect_s, settings.endpoint_silence_s)
        try:
            listed = await self._patiently(self._client.models)
            self._model = endpoint.choose(listed, settings.endpoint_model, model.digest)
        except BaseException as error:
            await self.stop()
            if (reason := self._why_not(error)) is not None:
                raise EngineStartFailed(reason) from error
            raise
        self._is_same_model = endpoint.is_same(listed, self._model, model.digest)
        log.info("endpoint answers", endpoint=self._server.base, served=self._model, model=model.digest, is_it=self._is_same_model)
        if self._server.is_open and self._server.key:
            log.warning("the key and all prompts go over the network unencrypted; use https", endpoint=self._server.base)

    def _why_not(self, error: BaseException) -> str | None:
        """Why there is no server to ask; None for what is no such reason."""
        match error:
            case Unreachable() | Broken():
                remedy = "start the server there, or mend inference.endpoint; the next request tries again"
                return f"{self._server.base} does not answer: {error}; {remedy}"
            case Complaint():
                return str(self._refused(error, None))
            case EndpointFault():
                return f"{self._server.base}: {error}"
            case InferenceFailure():
                return str(error)
        return None

    async def probe(self) -> None:
        try:
            await self._ask_health()
        except (Unreachable, Broken, Complaint) as error:
            reason = f"{self._server.base} does not answer: {error}"
            # Outputs that are being written notice by themselves when it is gone, and go on when it had no room for one question more.
            raise EndpointFailed(reason) if self._streams else self._mark_dead(reason) from error

    async def died(self) -> str:
        return await asyncio.shield(self._death)

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if not self._death.done():
            # One that is gone has forgotten them.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    for digest in sorted(self._loaded):
                        await self._unload(client, digest)
        self._mark_dead("it was stopped")
        await client.close()

    def _mark_dead(self, reason: str) -> EngineDied:
        if not self._death.done():
            self._death.set_result(reason)
        return EngineDied(reason)

    # --- adapters -----------------------------------------------------------------------------------------------------

    async def read(self, adapter: Adapter) -> int:
        digest, how = adapter.digest, self._settings.endpoint_adapters
        if how == "ignore":
            return adapter.size
        try:
            if how == "load":
                await self._load(digest)
            elif digest not in [card.id for card in await self._alive().models()]:
                raise BadAdapter(
                    f"adapter {digest}: {self._server.base} serves no model of this name; register it there (vLLM: --lora-modules"
                    f" {digest}=PATH), or set inference.endpoint_adapters to load or ignore"
                )
        except Complaint as error:
            raise self._adapter_refused(digest, error) from error
        except (Unreachable, Broken) as error:
            raise self._mark_dead(f"{self._server.base} does not answer: {error}") from error
        except EndpointFailed as error:
            raise BadAdapter(f"adapter {digest}: {error}") from error
        return adapter.size

    async def commit(self, adapter: Adapter) -> None:
        self._alive()
        self._hot.add(adapter.digest)

    async def retire(self, adapter: Adapter) -> None:
        self._hot.discard(adapter.digest)

    async def drop(self, adapter: Adapter) -> None:
        self._hot.discard(adapter.digest)
        if adapter.digest in self._loaded:
            await self._unload(self._alive(), adapter.digest)

    async def _load(self, digest: str) -> None:
        """Have the server load it, unless it has it. Raises BadAdapter, Complaint, Unreachable, Broken, EndpointFailed."""
        if not self._is_same_model:
            raise BadAdapter(
                f"adapter {digest}: it belongs to the image's model, and {self._server.base} does not say that {self._model!r} is"
                " that model; if it is, let it have the model's digest as a further name (vLLM: --served-model-name NAME DIGEST);"
                " if not, take the adapter from the personas, or set inference.endpoint_adapters to ignore"
            )
        # Two requests that find it forgotten load it once.
        async with self._loading:
            if digest in [card.id for card in await self._alive().models()]:
                return
            await self._alive().post("/v1/load_lora_adapter", {"lora_name": digest, "lora_path": str(self._adapters_path / digest)})
            self._loaded.add(digest)

    async def _unload(self, client: EndpointClient, digest: str) -> None:
        """What comes of it matters to nobody here: a server that keeps it has it when it is asked for again."""
        self._loaded.discard(digest)
        try:
            await client.post("/v1/unload_lora_adapter", {"lora_name": digest})
        except (Unreachable, Broken, Complaint, EndpointFailed) as error:
            log.warning("an adapter was not unloaded", adapter=digest, endpoint=self._server.base, reason=str(error))

    def _adapter_refused(self, digest: str, error: Complaint) -> InferenceFailure:
        if error.status in _NO_ROOM:
            return self._mark_dead(f"{self._server.base} answers {error.status}: {error}")
        remedy = f"it must find the files in {self._adapters_path} (inference.endpoint_adapters_path)"
        if error.status in (404, 405) and "adapter" not in str(error):
            remedy = "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora, or set inference.endpoint_adapters"
        return BadAdapter(f"adapter {digest}: {self._server.base} answers {error.status}: {error}; {remedy}")

    # --- text ---------------------------------------------------------------------------------------------------------

    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        self._alive()
        if adapter is not None and adapter.digest not in self._hot:
            raise WorkerFault(f"adapter {adapter.digest} was not committed; it must be before a request names it")
        if request.grammar:
            openai_wire.check_grammar(request.grammar)
        adapted = adapter.digest if adapter is not None and self._settings.endpoint_adapters != "ignore" else ""
        self._streams += len(request.samplings)
        try:
            written = await together(
                self._write(request, sampling, adapted, index, emit) for index, sampling in enumerate(request.samplings)
            )
        finally:
            self._streams -= len(request.samplings)
        return Generated(
            outputs=[output for output, _ in written],
            prompt_tokens=max(count for _, count in written),
            mode="adapter" if adapted else "base",
            endpoint=self._server.base,
            endpoint_model=self._model,
        )

    async def _write(self, request: Generate, sampling: Sampling, adapter: str, index: int, emit: Emit) -> tuple[Output, int]:
        """One output and the prompt's tokens. Asks again for what another try can mend, each kind of it within its bound."""
        tries = _Tries(self._settings.endpoint_patience_s)
        is_heard = False

        def tell(index: int, text: str) -> None:
            nonlocal is_heard
            is_heard = True
            emit(index, text)

        while True:
            try:
                return await self._stream(request, sampling, adapter, index, _nowhere if is_heard else tell)
            except Unreachable as error:
                raise self._mark_dead(f"{self._server.base} does not answer: {error}") from error
            except Broken as error:
                await self._must_be_alive(f"{self._server.base} ended the connection under the output: {error}")
                if not tries.once("broken"):
                    raise EndpointFailed(f"{self._server.base} ended the connection under the output, twice: {error}") from error
            except Complaint as error:
                if error.status in _NO_ROOM and await tries.pause():
                    pass
                elif error.status >= 500 and error.status not in _NO_ROOM and tries.once("failed"):
                    await self._must_be_alive(f"{self._server.base} answers {error.status}: {error}")
                elif error.status == 404 and adapter and tries.once("forgotten"):
                    await self._load_again(adapter)
                elif error.status == 404:
                    raise await self._not_found(error, adapter or self._model) from error
                elif error.status == 400 and self._is_vllm and "priority" in str(error) and tries.once("priorities"):
                    # It was started without `--scheduling-policy priority`.
                    self._has_priorities = False
                else:
                    raise self._refused(error, request) from error

    async def _stream(self, request: Generate, sampling: Sampling, adapter: str, index: int, emit: Emit) -> tuple[Output, int]:
        path, body = openai_wire.question(request, sampling, adapter or self._model, vllm=self._is_vllm, priorities=self._has_priorities)
        text, finish, tokens, prompt_tokens, events = "", "", 0, 0, 0
        logprobs: list[float] = []
        async with contextlib.aclosing(self._alive().steps(path, body)) as steps:
            async for step in steps:
                text += step.text
                logprobs += step.logprobs
                finish = step.finish or finish
                tokens, prompt_tokens = max(tokens, step.tokens), max(prompt_tokens, step.prompt_tokens)
                if step.text or (step.logprobs and not events):
                    emit(index, step.text)
                    events += 1
        if finish not in ("stop", "length"):
            if request.grammar:
                raise BadGrammar(f"{self._server.base} ended the output ({finish}): the grammar admits no further token")
            raise EndpointFailed(f"{self._server.base} ended the output without its end ({finish or 'no reason'}); look at its log")
        # Not every server counts, or has probabilities.
        tokens = tokens or len(logprobs) or events
        mean = sum(logprobs) / len(logprobs) if logprobs else 0.0
        return Output(text, tokens, mean, finish, logprobs if request.logprobs else []), prompt_tokens

    # --- whether it answers -------------------------------------------------------------------------------------------

    def _alive(self) -> EndpointClient:
        if self._client is None:
            raise EngineDied("the endpoint's engine was stopped")
        return self._client

    async def _ask_health(self) -> None:
        try:
            await self._alive().get("/health" if self._is_vllm else "/v1/models")
        except Complaint as error:
            # Who refuses to say how it is lives.
            if error.status >= 500:
                raise

    async def _must_be_alive(self, reason: str) -> None:
        """Raises EngineDied with the reason when the server itself is gone, and not one connection."""
        try:
            async with asyncio.timeout(_ALIVE_S):
                await self._ask_health()
        except (Unreachable, Broken, Complaint, EndpointFailed, TimeoutError) as error:
            raise self._mark_dead(f"{reason}; and now it does not answer: {error or 'not in time'}") from error

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` answers, asked again with pauses while the server is away. Raises what it raised last."""
        tries = _Tries(self._settings.endpoint_patience_s)
        while True:
            try:
                return await ask()
            except (Unreachable, Broken):
                if not await tries.pause():
                    raise
            except Complaint as error:
                if error.status not in _NO_ROOM or not await tries.pause():
                    raise

    async def _not_found(self, error: Complaint, name: str) -> InferenceFailure:
        """The server has no such model any more, or takes no such request."""
        try:
            names = [card.id for card in await self._alive().models()]
        except (Unreachable, Broken, Complaint) as silence:
            return self._mark_dead(f"{self._server.base} answers 404: {error}; and now it does not answer: {silence}")
        if name not in names:
            return self._mark_dead(f"{self._server.base} serves no {name!r} any more: {error}")
        return EndpointFailed(
            f"{self._server.base} answers 404: {error}; it serves {name!r}, but takes no such request; one that has no completions"
            " takes prompts as a chat, which is plan['chat'] in the image's reflectOn_"
        )

    async def _load_again(self, digest: str) -> None:
        try:
            if self._settings.endpoint_adapters == "load":
                log.warning("the endpoint has forgotten an adapter, which is loaded again", adapter=digest, endpoint=self._server.base)
                await self._load(digest)
        except Complaint as error:
            raise self._adapter_refused(digest, error) from error
        except (Unreachable, Broken) as error:
            raise self._mark_dead(f"{self._server.base} does not answer: {error}") from error

    def _refused(self, error: Complaint, request: Generate | None) -> InferenceFailure:
        """What the server's refusal is to the one who asked."""
        refusal = f"{self._server.base} answers {error.status}: {error}"
        if error.status in (401, 403):
            return EndpointFailed(f"{refusal}; it wants another key: inference.endpoint_key says where the key is")
        if error.status in _NO_ROOM:
            return EndpointFailed(f"{refusal}; it had no room for {self._settings.endpoint_patience_s:g} s (inference.endpoint_patience_s)")
        if error.status >= 500:
            return EndpointFailed(f"{refusal}; its log says why")
        if request is None:
            return EndpointFailed(f"{refusal}; inference.endpoint must be the address of a server like vLLM's")
        if request.grammar and "grammar" in str(error).lower():
            return BadGrammar(refusal)
        return BadRequest(refusal)


class _Tries:
    """How often, and for how long in all, one thing is tried again."""

    def __init__(self, patience_s: float) -> None:
        self._until = asyncio.get_running_loop().time() + patience_s
        self._pause_s = _FIRST_PAUSE_S
        self._kinds: set[str] = set()

    def once(self, kind: str) -> bool:
        """Whether it may be tried again for a reason of this kind, which is one only once."""
        if kind in self._kinds:
            return False
        self._kinds.add(kind)
        ENDPOINT_RETRIES.labels(kind).inc()
        return True

    async def pause(self) -> bool:
        """Wait, longer each time; or say that the patience is at its end."""
        left_s = self._until - asyncio.get_running_loop().time()
        if left_s <= 0:
            return False
        ENDPOINT_RETRIES.labels("pause").inc()
        # Of many that wait for one server, not all come back at once.
        await asyncio.sleep(min(left_s, self._pause_s * random.uniform(0.5, 1.0)))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return True


def _nowhere(index: int, text: str) -> None:
    """Takes what was sent before already."""
