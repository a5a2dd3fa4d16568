"""vLLM's AsyncLLM, embedded: the engine that the worker uses.

The event loop of the worker calls it and owns it. What blocks (importing, starting, stopping) runs in one thread that
lives as long as the engine, because the kernel's parent-death signal, by which vLLM's processes end with this one, is
bound to the thread that started them. vLLM runs the scheduler in a process of its own (the core), and on a CPU the model
in another.
"""

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from deploy.settings import InferenceSettings
from inference_worker.adapter import Adapter, BaseModel
from inference_worker.arguments import REMOVED_VARIABLES, context_length, engine_arguments, engine_environment
from inference_worker.child import first_module
from inference_worker.engine import Emit, Engine, Generated, together
from inference_worker.errors import BadAdapter, BadGrammar, BadRequest, EngineDied, EngineStartFailed
from inference_worker.protocol import Generate, Output, Sampling

log = structlog.get_logger(__name__)

_DEATH_POLL_S = 0.5
_STOP_S = 3.0
_FIRST_ADAPTER = 1


class VllmEngine(Engine):
    """One AsyncLLM over one base model."""

    def __init__(self, settings: InferenceSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._llm: Any = None
        self._tokenizer: Any = None
        self._grammars: Any = None
        self._context = settings.max_model_len
        # An adapter keeps its number for as long as the engine lives, so that no number ever means other bytes.
        self._numbers: dict[str, int] = {}
        self._requests = 0
        self._unwanted = False

    async def start(self, model: BaseModel) -> None:
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(self._thread, self._start, model)
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                await asyncio.shield(starting)
            await self._warm()
        except BaseException as error:
            await self._give_up(starting)
            await self.stop()
            if isinstance(error, TimeoutError):
                limit = self._settings.start_timeout_s
                raise EngineStartFailed(f"model {model.digest}: no engine after {limit:.0f} s (inference.start_timeout_s)") from error
            if isinstance(error, Exception):
                raise EngineStartFailed(f"model {model.digest}: the engine does not start: {type(error).__name__}: {error}") from error
            raise

    async def load(self, adapter: Adapter) -> None:
        try:
            loaded = await self._llm.add_lora(self._lora(adapter))
        except Exception as error:
            raise self._translated(error, BadAdapter(f"adapter {adapter.digest}: the engine refuses it: {error}")) from error
        if not loaded:
            raise BadAdapter(f"adapter {adapter.digest}: the engine did not take it")

    async def unload(self, adapter: Adapter) -> None:
        try:
            await self._llm.remove_lora(self._numbers[adapter.digest])
        except Exception as error:
            raise self._translated(error, EngineDied(f"the engine could not forget adapter {adapter.digest}: {error}")) from error

    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        tokens = self._tokens(request)
        room = self._context - len(tokens)
        if room < 1:
            raise BadRequest(f"the prompt has {len(tokens)} tokens; prompt and answer together may have {self._context}")
        if request.grammar:
            await asyncio.get_running_loop().run_in_executor(None, self._check_grammar, request.grammar)
        lora = self._lora(adapter) if adapter is not None else None
        self._requests += 1
        name = str(self._requests)
        outputs = await together(
            self._write(f"{name}-{index}", tokens, self._parameters(request, sampling, room), lora, request, index, emit)
            for index, sampling in enumerate(request.samplings)
        )
        return Generated(outputs=outputs, prompt_tokens=len(tokens))

    async def probe(self) -> None:
        try:
            await self._llm.check_health()
            # Unlike the check above, which looks at a flag, this one is answered by the process that holds the model.
            await self._llm.list_loras()
        except Exception as error:
            raise self._translated(error, EngineDied(f"the engine does not answer: {error}")) from error

    async def died(self) -> str:
        while self._llm is None or not self._llm.errored:
            await asyncio.sleep(_DEATH_POLL_S)
        return "its process ended"

    async def stop(self) -> None:
        llm, self._llm = self._llm, None
        loop = asyncio.get_running_loop()
        if llm is not None:
            stopping = loop.run_in_executor(self._thread, llm.shutdown)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_S):
                    await asyncio.shield(stopping)
            _kill_children()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_S):
                    await asyncio.shield(stopping)
        self._thread.shutdown(wait=False)

    async def _give_up(self, starting: asyncio.Future[None]) -> None:
        """End a start that is not wanted any more: it cannot be interrupted, but fails once its processes are gone."""
        self._unwanted = True
        while not starting.done():
            _kill_children()
            await asyncio.wait([starting], timeout=_DEATH_POLL_S)
        with contextlib.suppress(Exception):
            starting.result()

    # --- in the engine's thread -------------------------------------------------------------------------------------

    def _start(self, model: BaseModel) -> None:
        began = time.monotonic()
        os.environ.update(engine_environment(os.environ))
        for name in REMOVED_VARIABLES:
            os.environ.pop(name, None)
        logging.getLogger("vllm").setLevel(logging.WARNING)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        imported = time.monotonic()
        if self._unwanted:
            return
        self._context = context_length(self._settings, model)
        arguments = AsyncEngineArgs(**engine_arguments(self._settings, model, current_platform.is_cpu()))
        with first_module():
            self._llm = AsyncLLM.from_engine_args(arguments)
        self._tokenizer = self._llm.get_tokenizer()
        self._grammars = _grammar_compiler(self._tokenizer, self._llm.model_config.get_vocab_size())
        log.info("engine is up", model=model.digest, import_s=round(imported - began, 1), start_s=round(time.monotonic() - imported, 1))

    # --- in the event loop ------------------------------------------------------------------------------------------

    async def _warm(self) -> None:
        """One token, so that what the first step costs is paid before the engine counts as ready."""
        request = Generate(id="warm", model="0" * 64, prompt="def", max_tokens=1)
        await self.generate(request, None, lambda index, text: None)

    def _tokens(self, request: Generate) -> list[int]:
        if not request.chat:
            return list(self._tokenizer.encode(request.prompt))
        if not self._tokenizer.chat_template:
            raise BadRequest("the model has no chat template; send the whole prompt, with chat off")
        messages = [{"role": "user", "content": request.prompt}]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        # The template writes the tokens that begin a text by itself.
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _parameters(self, request: Generate, sampling: Sampling, room: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=min(request.max_tokens, room),
            stop=request.stop or None,
            # 0: of the tokens that were chosen, and no others.
            logprobs=0,
            structured_outputs=StructuredOutputsParams(grammar=request.grammar) if request.grammar else None,
            output_kind=RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY,
        )

    async def _write(
        self, name: str, tokens: list[int], parameters: Any, lora: Any, request: Generate, index: int, emit: Emit
    ) -> Output:
        text, count, logprob, finish = "", 0, 0.0, ""
        stream: AsyncGenerator[Any, None] = self._llm.generate({"prompt_token_ids": tokens}, parameters, name, lora_request=lora)
        try:
            async for step in stream:
                part = step.outputs[0]
                text += part.text
                count += len(part.token_ids)
                logprob = part.cumulative_logprob or 0.0
                finish = part.finish_reason or ""
                if part.text:
                    emit(index, part.text)
        except Exception as error:
            raise self._translated(error, BadRequest(f"the engine refuses the request: {error.__cause__ or error}")) from error
        finally:
            await stream.aclose()
        if finish not in ("stop", "length"):
            if request.grammar:
                raise BadGrammar(f"after {count} tokens the grammar admitted no further one ({finish})")
            raise EngineDied(f"the engine ended the output after {count} tokens ({finish or 'without a reason'})")
        return Output(text=text, tokens=count, logprob=logprob / count if count and math.isfinite(logprob) else 0.0, finish=finish)

    def _check_grammar(self, grammar: str) -> None:
        """Compile it here first: in the core a grammar that fails takes other requests' time, and its reason is lost."""
        if "::=" not in grammar:
            raise BadGrammar("the grammar has no rule `root ::= …`; only EBNF is supported")
        try:
            self._grammars.compile_grammar(grammar)
        except Exception as error:
            raise BadGrammar(f"the grammar is refused: {error}") from error

    def _lora(self, adapter: Adapter) -> Any:
        from vllm.lora.request import LoRARequest

        number = self._numbers.setdefault(adapter.digest, len(self._numbers) + _FIRST_ADAPTER)
        return LoRARequest(lora_name=adapter.digest, lora_int_id=number, lora_path=str(adapter.path))

    def _translated(self, error: Exception, otherwise: Exception) -> Exception:
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._llm is None or isinstance(error, EngineDeadError) or self._llm.errored:
            return EngineDied("the engine's process ended under the request")
        return otherwise


def _grammar_compiler(tokenizer: Any, vocabulary: int) -> Any:
    import xgrammar

    information = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
    return xgrammar.GrammarCompiler(information, max_threads=1, cache_limit_bytes=64 * 2**20)


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()
