"""An engine that answers by rules: for tests, and for a worker that must start at once and without vLLM.

A script is a JSON object: `rules`, a list tried in order, and `default`, the text when none fits. A rule has `contains`
(the prompt must contain it), optionally `adapter` (a digest, or "" for none), and

- `text`: the output; or `texts`: one per sampling, the last one repeated;
- `delay_s`: seconds before the first token (the engine is not blocked);
- `dies`: the engine dies, this many times in all, when it is asked.

A token is a word with the blank before it. The engine observes `max_tokens`, `stop`, streaming and cancellation.
"""

import asyncio
import math
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from inference_worker.adapter import Adapter, BaseModel
from inference_worker.engine import Emit, Engine, Generated, together
from inference_worker.errors import BadGrammar, BadRequest, EngineDied
from inference_worker.protocol import Generate, Output

_TOKEN = re.compile(r"\s*\S+|\s+")
_RULE = re.compile(r"^\s*(\w+)\s*::=\s*\S", re.MULTILINE)


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


def read_script(file: Path) -> Script:
    """Raises OSError or msgspec.DecodeError with what is wrong and where."""
    return msgspec.json.decode(file.read_bytes(), type=Script)


class FakeEngine(Engine):
    """Answers by a script that it shares with its successors, so that a rule dies as often as it says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._dead = asyncio.Event()
        self.adapters: list[str] = []

    async def start(self, model: BaseModel) -> None:
        await asyncio.sleep(0)

    async def load(self, adapter: Adapter) -> None:
        self._alive()
        self.adapters.append(adapter.digest)

    async def unload(self, adapter: Adapter) -> None:
        self._alive()
        self.adapters.remove(adapter.digest)

    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        self._alive()
        prompt_tokens = len(_TOKEN.findall(request.prompt))
        if prompt_tokens >= self._script.max_model_len:
            raise BadRequest(f"the prompt has {prompt_tokens} tokens; the model takes {self._script.max_model_len} with the answer")
        if request.grammar and "root" not in _RULE.findall(request.grammar):
            raise BadGrammar("the grammar has no rule `root ::= …`")
        rule = self._rule(request.prompt, adapter)
        if rule.dies > 0:
            rule.dies -= 1
            self._dead.set()
        texts = rule.texts or [rule.text]
        await self._unless_dead(rule.delay_s)
        outputs = await together(
            self._write(request, index, texts[min(index, len(texts) - 1)], emit) for index in range(len(request.samplings))
        )
        return Generated(outputs=outputs, prompt_tokens=prompt_tokens)

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

    def _rule(self, prompt: str, adapter: Adapter | None) -> Rule:
        digest = adapter.digest if adapter else ""
        fitting = (rule for rule in self._script.rules if rule.contains in prompt and rule.adapter in (None, digest))
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
        return Output(text=written, tokens=tokens, logprob=-math.log(2), finish=finish)

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
