"""`python -m tests.inference_worker.engine_run MODEL DIRECTORY`: the real engine, put through everything that needs one, once.

Uses the adapters that `reference.py` made in DIRECTORY and writes `engine.json`: the answers of each scene, and what was
seen when the engine was treated badly. One start of an engine serves all the tests that read it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.settings import Home, InferenceSettings
from inference_worker.adapters.adapter import Adapter
from inference_worker.engine.engine import Generated
from inference_worker.engine.vllm_engine import VllmEngine
from inference_worker.errors import BadAdapter, EngineDied, WorkerFault
from inference_worker.protocol import Generate
from tests.inference_worker import files
from tests.inference_worker.reference import ADAPTERS, PROMPTS, SHIPPED, TOKENS

SLOTS = 4
_DIED_S = 20


class Stage:
    """The engine, its adapters by name, and what was seen."""

    def __init__(self, engine: VllmEngine, adapters: dict[str, Adapter]) -> None:
        self.engine = engine
        self.adapters = adapters
        self.findings: dict[str, Any] = {}
        self.scenes: dict[str, dict[str, list[dict[str, Any]]]] = {}

    async def alone(self) -> None:
        answers = {"": [await self.answer("", prompt) for prompt in PROMPTS]}
        for name in self.adapters:
            await self.commit([name])
            answers[name] = [await self.answer(name, prompt) for prompt in PROMPTS]
            await self.engine.retire(self.adapters[name])
        self.scenes["alone"] = answers

    async def together(self, scene: str, names: list[str]) -> None:
        """All prompts of all `names` at once, whose adapters are hot."""
        answers = await asyncio.gather(*(self.answer(name, prompt) for name in names for prompt in PROMPTS))
        here = self.scenes.setdefault(scene, {})
        for index, name in enumerate(names):
            here[name] = list(answers[index * len(PROMPTS) : (index + 1) * len(PROMPTS)])

    async def in_groups(self, scene: str, *besides: str) -> None:
        """Every adapter in a batch with as many others as there are slots."""
        names = list(self.adapters)
        for group in (names[:SLOTS], names[-SLOTS:]):
            await self.commit(group)
            await self.together(scene, [*group, *besides])
            await self.retire(group)

    async def reloaded(self) -> None:
        """Each adapter forgotten, read again, and committed where another one was."""
        names = list(self.adapters)
        await self.commit(names[:SLOTS])
        self.findings["slots before"] = await self.slots()
        self.findings["operations"] = (await self.engine.state())["operations"]
        await self.retire(names[:SLOTS])
        for name in names:
            await self.engine.drop(self.adapters[name])
        self.findings["registered after drops"] = (await self.engine.state())["registered"]
        for group in (names[:SLOTS][::-1], names[-SLOTS:]):
            await self.commit(group)
            self.findings.setdefault("slots after", await self.slots())
            await self.together("reloaded", ["", *group])
            await self.retire(group)

    async def while_others_load(self) -> None:
        """Two adapters and the base decode while the others are read, committed, retired and dropped."""
        first, second, *others = self.adapters
        await self.commit([first, second])
        writing = asyncio.create_task(self.together("while others load", [first, "", second]))
        moves = 0
        while not writing.done():
            name = others[moves % len(others)]
            await self.engine.drop(self.adapters[name])
            await self.read(name)
            await self.commit([name])
            await self.retire([name])
            moves += 1
        await writing
        self.findings["moves while others decode"] = moves
        await self.retire([first, second])

    async def mistakes(self, directory: Path) -> None:
        """What the engine is told wrongly is refused, and nothing else changes."""
        names = list(self.adapters)
        empty = Adapter(digest="e" * 64, path=directory / "absent", rank=1, size=0)
        broken = Adapter(digest="b" * 64, path=directory / "broken", rank=1, size=0)
        shutil.copytree(self.adapters[names[0]].path, broken.path)
        weights = broken.path / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        self.findings["absent"] = await refusal(self.engine.read(empty))
        self.findings["broken"] = await refusal(self.engine.read(broken))
        self.findings["not read"] = await refusal(self.engine.commit(broken))
        self.findings["not hot"] = await refusal(self.answer(names[0], PROMPTS[0]))
        await self.commit(names[:SLOTS])
        before = await self.slots()
        self.findings["no slot"] = await refusal(self.engine.commit(self.adapters[names[SLOTS]]))
        self.findings["twice"] = await refusal(self.engine.commit(self.adapters[names[0]]))
        self.findings["slots unchanged"] = await self.slots() == before
        await self.retire(names[:SLOTS])

    async def aborted(self, directory: Path) -> None:
        """A request is cancelled, and its adapter goes from slot, memory and disk at once, while another one decodes."""
        first, second = list(self.adapters)[:2]
        vanishing = Adapter(digest="a" * 64, path=directory / "gone", rank=4, size=0)
        shutil.copytree(self.adapters[first].path, vanishing.path)
        await self.engine.read(vanishing)
        await self.engine.commit(vanishing)
        await self.commit([second])
        decoding = asyncio.create_task(self.answer(second, PROMPTS[0]))
        for _ in range(3):
            cancelled = await self.begun(vanishing)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            await self.engine.retire(vanishing)
            await self.engine.commit(vanishing)
        await self.engine.retire(vanishing)
        await self.engine.drop(vanishing)
        shutil.rmtree(vanishing.path)
        await decoding
        self.scenes["after aborts"] = {second: [await self.answer(second, prompt) for prompt in PROMPTS]}
        self.findings["hot after aborts"] = (await self.slots(), self.number(second))
        await self.retire([second])

    async def death(self) -> None:
        """The process that holds the model is killed under a request, while another adapter is being moved."""
        state = await self.engine.state()
        writing = await self.begun(None)
        os.kill(state["pid"], signal.SIGKILL)
        killed = time.monotonic()
        async with asyncio.timeout(_DIED_S):
            await self.engine.died()
            self.findings["death noticed after s"] = time.monotonic() - killed
            self.findings["request under death"] = await failure(writing)
            self.findings["read after death"] = await failure(self.engine.read(next(iter(self.adapters.values()))))
            self.findings["probe after death"] = await failure(self.engine.probe())

    # --- steps ------------------------------------------------------------------------------------------------------

    async def answer(self, name: str, prompt: str) -> dict[str, Any]:
        done = await self.engine.generate(request(prompt, TOKENS), self.adapters.get(name), lambda index, text: None)
        return {"text": done.outputs[0].text, "logprobs": done.outputs[0].logprobs, "mode": done.mode}

    async def begun(self, adapter: Adapter | None) -> asyncio.Task[Generated]:
        """A long request that has written something."""
        first = asyncio.Event()
        coroutine = self.engine.generate(request(PROMPTS[0], 300), adapter, lambda index, text: first.set())
        writing = asyncio.create_task(coroutine)
        await asyncio.wait_for(first.wait(), 30)
        return writing

    async def read(self, name: str) -> None:
        size = await self.engine.read(self.adapters[name])
        self.findings.setdefault("sizes", {})[name] = size

    async def commit(self, names: Iterable[str]) -> None:
        for name in names:
            state = await self.engine.state()
            if self.number(name) not in state["registered"] + state["parsed"]:
                await self.read(name)
            await self.engine.commit(self.adapters[name])

    async def retire(self, names: Iterable[str]) -> None:
        for name in names:
            await self.engine.retire(self.adapters[name])

    async def slots(self) -> dict[str, int]:
        return dict((await self.engine.state())["hot"])

    def number(self, name: str) -> int:
        return self.engine.number(self.adapters[name])


def request(prompt: str, tokens: int) -> Generate:
    return Generate(id="r", model="0" * 64, prompt=prompt, max_tokens=tokens, logprobs=True)


async def refusal(coroutine: Any) -> str:
    try:
        await coroutine
    except (BadAdapter, WorkerFault) as error:
        return str(error)
    return ""


async def failure(coroutine: Any) -> str:
    try:
        await coroutine
    except EngineDied as error:
        return f"EngineDied: {error}"
    return ""


async def run(model: Path, directory: Path) -> None:
    home = Home(directory / "home")
    home.ensure()
    # In bfloat16 the size of a batch decides near ties.
    settings = InferenceSettings(dtype="float32", max_loras=SLOTS, max_lora_rank=16, kv_cache_gib=0.25, max_model_len=512)
    paths = {name: directory / name for name in ADAPTERS}
    paths[SHIPPED] = Path(__file__).parents[2] / "inference_worker" / "shipped" / SHIPPED
    adapters = {name: Adapter(digest=f"{n:064x}", path=path, rank=16, size=0) for n, (name, path) in enumerate(paths.items())}
    engine = VllmEngine(settings, home)
    await engine.start(files.read(model))
    stage = Stage(engine, adapters)
    try:
        await stage.alone()
        await stage.in_groups("with other adapters")
        await stage.in_groups("with requests without adapter", "")
        await stage.reloaded()
        await stage.while_others_load()
        await stage.mistakes(directory)
        await stage.aborted(directory)
        await stage.death()
    finally:
        began = time.monotonic()
        await engine.stop()
        stage.findings["stopped after s"] = time.monotonic() - began
        (directory / "engine.json").write_text(json.dumps({"scenes": stage.scenes, "findings": stage.findings}))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
