"""An engine that answers by rules: for tests, and for a worker that must start at once and without vLLM.

A script is a JSON object: `rules`, a list tried in order, and `default`, the text when none fits. A rule has `contains`
(the prompt must contain it), optionally `adapter` (a digest, or "" for none), and

- `text`: the output; or `texts`: one per sampling, the last one repeated;
- `delay_s`: seconds before the first token (the engine is not blocked);
- `dies`: the engine dies, this many times in all, when it is asked.

`start_s` is what a start takes. Adapters are moved as in a real engine: `slots` are hot at once, `read_s` and `commit_s` are
what the moves take, and a move that a real engine could not carry out (a commit without a free slot, a retire under a
request that runs) is an error. `deadly` names adapters whose reading kills the engine. A token is a word with the blank
before it. The engine observes `max_tokens`, `stop`, streaming and cancellation.
"""

import asyncio
import math
import re
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.concurrency import together
from inference_worker.engine.engine import Emit, Engine, Generated
from inference_worker.errors import BadAdapter, BadGrammar, BadRequest, EngineDied
from inference_worker.protocol import Generate, Output

_TOKEN = re.compile(r"\s*\S+|\s+")
_RULE = re.compile(r"^\s*(\w+)\s*::=\s*\S", re.MULTILINE)
_LOGPROB = -math.log(2)


class Rule(Struct, forbid_unknown_fields=True):
    """One rule of a script; see the module."""

    contains: str = ""
    adapter: str | None = None
    text: str = ""
    texts: list[str] = []
    delay_s: float = 0.0
    dies: int = 0


class Script(Struct, forbid_unknown_fields=True):
    """What a FakeEngine answers. `tokens_per_s` paces all outputs; 0 is as fast as it goes."""

    rules: list[Rule] = []
    default: str = "    return None"
    tokens_per_s: float = 0.0
    max_model_len: int = 2048
    start_s: float = 0.0
    slots: int = 64
    read_s: float = 0.0
    commit_s: float = 0.0
    deadly: list[str] = []


def read_script(file: Path) -> Script:
    """Raises OSError or msgspec.DecodeError with what is wrong and where."""
    return msgspec.json.decode(file.read_bytes(), type=Script)


class FakeEngine(Engine):
    """Answers by a script that it shares with its successors, so that a rule dies as often as it says.

    `warm` and `hot`: digests of what is parsed (hot ones too) and of what is in a slot; `moves`: how often each was made.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._dead = asyncio.Event()
        self._used: Counter[str] = Counter()
        self.warm: set[str] = set()
        self.hot: set[str] = set()
        self.moves: Counter[str] = Counter()

    async def start(self, model: BaseModel) -> None:
        self.step = "reading the script"
        await asyncio.sleep(self._script.start_s)

    async def read(self, adapter: Adapter) -> int:
        await self._unless_dead(self._script.read_s)
        if adapter.digest in self._script.deadly:
            self._dead.set()
            self._alive()
        self.warm.add(adapter.digest)
        self.moves["read"] += 1
        return adapter.size

    async def commit(self, adapter: Adapter) -> None:
        await self._unless_dead(self._script.commit_s)
        if adapter.digest not in self.warm:
            raise BadAdapter(f"adapter {adapter.digest} is not warm; read it first")
        if adapter.digest not in self.hot and len(self.hot) >= self._script.slots:
            raise BadAdapter(f"adapter {adapter.digest}: all {self._script.slots} slots are taken; retire another one first")
        self.hot.add(adapter.digest)
        self.moves["commit"] += 1

    async def retire(self, adapter: Adapter) -> None:
        await self._unless_dead(0)
        if self._used[adapter.digest]:
            raise RuntimeError(f"adapter {adapter.digest} was retired under {self._used[adapter.digest]} requests that run with it")
        self.hot.discard(adapter.digest)
        self.moves["retire"] += 1

    async def drop(self, adapter: Adapter) -> None:
        await self._unless_dead(0)
        if adapter.digest in self.hot:
            raise RuntimeError(f"adapter {adapter.digest} was dropped while it was in a slot; retire it first")
        self.warm.discard(adapter.digest)
        self.moves["drop"] += 1

    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        self._alive()
        prompt_tokens = len(_TOKEN.findall(request.prompt))
        if prompt_tokens >= self._script.max_model_len:
            raise BadRequest(f"the prompt has {prompt_tokens} tokens; the model takes {self._script.max_model_len} with the answer")
        if request.grammar and "root" not in _RULE.findall(request.grammar):
            raise BadGrammar("the grammar has no rule `root ::= …`")
        digest = adapter.digest if adapter else ""
        if digest and digest not in self.hot:
            raise RuntimeError(f"request {request.id} runs with adapter {digest}, which is in no slot")
        rule = self._rule(request.prompt, digest)
        if rule.dies > 0:
            rule.dies -= 1
            self._dead.set()
        texts = rule.texts or [rule.text]
        self._used[digest] += 1
        try:
            await self._unless_dead(rule.delay_s)
            outputs = await together(
                self._write(request, index, texts[min(index, len(texts) - 1)], emit) for index in range(len(request.samplings))
            )
        finally:
            self._used[digest] -= 1
        return Generated(outputs=outputs, prompt_tokens=prompt_tokens, mode="adapter" if adapter else "base")

    async def probe(self) -> None:
        self._alive()

    async def died(self) -> str:
        await self._dead.wait()
        return "the script says so"

    async def stop(self) -> None:
        self._dead.set()

    def _alive(self) -> None:
        if self._dead.is_set():
            raise EngineDied("the fake engine is dead; its script or a test killed it")

    def _rule(self, prompt: str, adapter: str) -> Rule:
        fitting = (rule for rule in self._script.rules if rule.contains in prompt and rule.adapter in (None, adapter))
        return next(fitting, Rule(text=self._script.default))

    async def _write(self, request: Generate, index: int, text: str, emit: Emit) -> Output:
        written, tokens, finish = "", 0, "stop"
        for token in _TOKEN.findall(text):
            if tokens == request.max_tokens:
                finish = "length"
                break
            await self._unless_dead(1 / self._script.tokens_per_s if self._script.tokens_per_s else 0)
            whole = written + token
            end = min((at for stop in request.stop if (at := whole.find(stop)) >= 0), default=len(whole))
            emit(index, whole[len(written) : end])
            written, tokens = whole[:end], tokens + 1
            if end < len(whole):
                break
        logprobs = [_LOGPROB] * tokens if request.logprobs else []
        return Output(text=written, tokens=tokens, logprob=_LOGPROB, finish=finish, logprobs=logprobs)

    async def _unless_dead(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._alive()
        if seconds:
            try:
                async with asyncio.timeout(seconds):
                    await self._dead.wait()
            except TimeoutError:
                return
            self._alive()
