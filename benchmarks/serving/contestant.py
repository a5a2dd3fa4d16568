"""One engine in a process of its own: `python -m benchmarks.serving.contestant SPECIFICATION`, started by `process.py`.

The specification is a JSON object (see `Specification`). The process starts vLLM's AsyncLLM, tells `Ready`, and then plays
the loads that it is sent, one at a time. All three contestants are this same program: `base` has LoRA off, `stock` has
vLLM's own LoRA operations, `ours` has the ones of our plugin. It dies with the benchmark, and its engine with it.
"""

import asyncio
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import zmq
import zmq.asyncio
from msgspec import Struct

from benchmarks.serving.wire import (
    NO_ADAPTER,
    Ask,
    Call,
    Called,
    End,
    Failure,
    Play,
    Played,
    Ready,
    Report,
    Transcript,
    decode_command,
    encode,
)
from deploy import logs
from deploy.data_type import settled
from deploy.settings import DataTypeName, InferenceSettings
from inference_worker.adapters.adapter import read_model
from inference_worker.engine.heap import settle
from inference_worker.engine.processes import first_module
from inference_worker.engine.step_threads import ThreadsExtension
from inference_worker.engine.vllm_arguments import REMOVED_VARIABLES, engine_arguments, engine_environment

_PLAY_S = 600
_CALL_S = 60


class Specification(Struct, frozen=True, forbid_unknown_fields=True):
    """`lora`: none, or a value of `inference.lora`. `kernels`: where compiled operations are kept. `adapters`: their directories, by
    number. `warm`: vLLM's max_cpu_loras (0: as the worker sets it). `compiled`: leave compilation to vLLM, where LoRA is off.
    """

    name: str
    endpoint: str
    model: str
    lora: Literal["none", "auto", "python", "stock"]
    kernels: str
    adapters: list[str] = []
    slots: int = 4
    rank: int = 16
    kv_cache_gib: float = 0.25
    warm: int = 0
    compiled: bool = False
    dtype: DataTypeName = "auto"

    @property
    def setting(self) -> Literal["auto", "python", "stock"]:
        """The value of `inference.lora` that vLLM's processes see. Without LoRA it only has them wait as ours do, without spinning."""
        return "auto" if self.lora == "none" else self.lora


class Contestant:
    """The engine and what is asked of it. One event loop."""

    def __init__(self, specification: Specification) -> None:
        self._specification = specification
        os.environ.update(engine_environment(os.environ, specification.setting, Path(specification.kernels)))
        for name in REMOVED_VARIABLES:
            os.environ.pop(name, None)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        with first_module():
            self._llm: Any = AsyncLLM.from_engine_args(AsyncEngineArgs(**_arguments(specification)))
        self._tokenizer = self._llm.get_tokenizer()
        self._count = 0

    async def begin(self) -> Ready:
        """One token with each adapter that fits, so that what a first step costs is paid; and which operations the engine uses."""
        if self._specification.lora != "stock":
            await self._llm.collective_rpc("tier_share_threads", timeout=_CALL_S)
        adapters = range(min(self._specification.slots, len(self._specification.adapters))) if self._lora else [NO_ADAPTER]
        for transcript in await self._play(Play([Ask(prompt="def", tokens=1, adapter=adapter) for adapter in adapters], one_by_one=True)):
            if transcript.error:
                raise RuntimeError(transcript.error)
        if not self._lora:
            return Ready("")
        operations = await self._llm.collective_rpc("bench_operations", timeout=_CALL_S)
        return Ready(str(operations[0]))

    async def carry_out(self, command: Play | Call) -> Report:
        if isinstance(command, Call):
            return Called(str(await self._llm.collective_rpc(command.method, timeout=_CALL_S, args=tuple(command.arguments))))
        async with asyncio.timeout(_PLAY_S):
            return Played(await self._play(command))

    def stop(self) -> None:
        self._llm.shutdown()

    @property
    def _lora(self) -> bool:
        return self._specification.lora != "none"

    async def _play(self, load: Play) -> list[Transcript]:
        began = time.perf_counter()
        if load.one_by_one:
            return [await self._answer(ask, began, time.perf_counter() - began) for ask in load.asks]
        return list(await asyncio.gather(*(self._answer(ask, began, ask.at_s) for ask in load.asks)))

    async def _answer(self, ask: Ask, began: float, due_s: float) -> Transcript:
        await asyncio.sleep(max(0.0, began + due_s - time.perf_counter()))
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._count += 1
        prompt = list(self._tokenizer.encode(ask.prompt))
        parameters = SamplingParams(
            temperature=0.0,
            max_tokens=ask.tokens,
            ignore_eos=ask.fixed,
            logprobs=2 if ask.alternatives else 0,
            output_kind=RequestOutputKind.DELTA,
        )
        times: list[float] = []
        counts: list[int] = []
        tokens: list[int] = []
        margins: list[float] = []
        error = ""
        try:
            async for step in self._llm.generate(
                {"prompt_token_ids": prompt}, parameters, str(self._count), lora_request=self._adapter(ask.adapter)
            ):
                part = step.outputs[0]
                if part.token_ids:
                    times.append(time.perf_counter() - began)
                    counts.append(len(part.token_ids))
                    tokens += part.token_ids
                    margins += [_margin(step) for step in part.logprobs or []] if ask.alternatives else []
        except (EngineDeadError, EngineGenerateError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        if not times and not error:
            error = "no token came"
        return Transcript(
            first_s=times[0] - due_s if times else math.inf,
            times_s=times,
            counts=counts,
            tokens=tokens,
            prompt_tokens=len(prompt),
            margins=margins,
            error=error,
        )

    def _adapter(self, number: int) -> Any:
        if number == NO_ADAPTER or not self._lora:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(lora_name=f"a{number}", lora_int_id=number + 1, lora_path=self._specification.adapters[number])


class Extension(ThreadsExtension):
    """What the benchmark asks of vLLM's worker class, in the engine's process; the plugin's operations are recognised by their class."""

    model_runner: Any

    def bench_operations(self) -> str:
        """The class that computes the LoRA products. Ours prepare the adapters' slots here, as the worker does when it commits one."""
        manager = self.model_runner.lora_manager._adapter_manager
        wrappers = set(manager.punica_wrapper_mapping.values())
        if ours := [wrapper for wrapper in wrappers if hasattr(wrapper, "prepare")]:
            settle()
            for slot in (slot for slot, adapter in enumerate(manager.lora_index_to_id) if adapter is not None):
                for wrapper in ours:
                    wrapper.prepare(slot, manager)
        kinds = {type(wrapper) for wrapper in wrappers}
        return ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))


def _arguments(specification: Specification) -> dict[str, Any]:
    """The worker's own arguments for the engine, so that contestants differ in nothing but LoRA."""
    settings = settled(
        InferenceSettings(
            dtype=specification.dtype,
            lora=specification.setting,
            max_loras=specification.slots,
            max_lora_rank=specification.rank,
            kv_cache_gib=specification.kv_cache_gib,
            max_model_len=1024,
        )
    )
    path = Path(specification.model)
    arguments = engine_arguments(settings, read_model(path, "0" * 64), cpu=True)
    arguments["worker_extension_cls"] = "benchmarks.serving.contestant.Extension"
    if specification.warm:
        arguments["max_cpu_loras"] = specification.warm
    if specification.lora == "none":
        arguments = {key: value for key, value in arguments.items() if "lora" not in key} | {"enable_lora": False}
    if specification.compiled:
        arguments["enforce_eager"] = False
    return arguments


def _margin(alternatives: Any) -> float:
    values = sorted((entry.logprob for entry in alternatives.values()), reverse=True)
    return values[0] - values[1] if len(values) > 1 else math.inf


async def _serve(contestant: Contestant, socket: "zmq.asyncio.Socket") -> None:
    await socket.send(encode(await contestant.begin()))
    while not isinstance(command := decode_command(await socket.recv()), End):
        try:
            report = await contestant.carry_out(command)
        except (RuntimeError, TimeoutError, ValueError) as error:
            report = Failure(f"{type(error).__name__}: {error}")
        await socket.send(encode(report))


def main(arguments: list[str]) -> None:
    specification = msgspec.json.decode(arguments[0], type=Specification)
    logs.start(f"contestant {specification.name}", "warning")
    contestant = Contestant(specification)
    with zmq.asyncio.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.connect(specification.endpoint)
        asyncio.run(_serve(contestant, socket))
    contestant.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
