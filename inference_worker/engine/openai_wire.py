"""OpenAI's protocol, as far as a draft needs it: what is asked of a server, and what its events say. Pure.

A completion is asked for as a stream, one request an output: that is how each output has its own seed, how its first token is noticed, and
how closing the connection ends it. What vLLM takes beyond OpenAI's protocol is sent in its dialect alone, since others refuse it.
"""

import math
import re
from typing import Any

import msgspec
from msgspec import Struct

from inference_worker.engine.vllm_arguments import PRIORITIES
from inference_worker.errors import BadGrammar
from inference_worker.protocol import Generate, Sampling

_RULE = re.compile(r"^\s*(\w+)\s*::=\s*\S", re.MULTILINE)

# A server sets what a model's own generation_config.json says unless it is told otherwise; an engine here does not read that file.
_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


class Malformed(Exception):
    """What came is no event of the protocol."""


class CompletionChunk(Struct, frozen=True):
    """What one event adds to an output. `logprobs`: of its tokens, where the server sends them; `finish`: why it ended, or empty.

    `prompt_tokens` and `tokens` are the server's count, which it sends once, at the end; 0 until then.
    """

    text: str = ""
    logprobs: list[float] = []
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0


class Complaint(Exception):
    """The server ended the output with an error, of this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_grammar(grammar: str) -> None:
    """What every server would refuse, with a reason that few of them give. Raises BadGrammar."""
    if "::=" not in grammar:
        raise BadGrammar("the grammar has no rule `root ::= …`; only EBNF is supported")
    if "root" not in _RULE.findall(grammar):
        raise BadGrammar("the grammar has no rule `root ::= …`, with which every output begins")


def question(request: Generate, sampling: Sampling, model: str, *, vllm: bool, priorities: bool) -> tuple[str, dict[str, Any]]:
    """The path and the body that ask for one output of a request. `vllm`: the server's dialect; `priorities`: it has them."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if request.stop:
        body["stop"] = request.stop
    if vllm:
        body |= _NEUTRAL
        if priorities:
            body["priority"] = PRIORITIES[request.priority]
        if request.grammar:
            body["structured_outputs"] = {"grammar": request.grammar}
    if request.chat:
        return "/v1/chat/completions", body | {"messages": messages(request), "logprobs": True}
    # 0: of the tokens that were chosen, and no others.
    return "/v1/completions", body | {"prompt": request.prompt, "logprobs": 0}


def messages(request: Generate) -> list[dict[str, str]]:
    """What a chat is begun with."""
    user = {"role": "user", "content": request.prompt}
    return [{"role": "system", "content": request.system}, user] if request.system else [user]


def step(payload: bytes) -> CompletionChunk:
    """One event. Raises Malformed, and Complaint when it is an error."""
    try:
        event = _events.decode(payload)
    except msgspec.DecodeError as error:
        raise Malformed(str(error)) from error
    if event.error is not None:
        raise _complaint(event.error, 500)
    choice = event.choices[0] if event.choices else _Choice()
    usage = event.usage or _Usage()
    return CompletionChunk(
        text=(choice.delta.content or "") if choice.delta is not None else choice.text or "",
        logprobs=_logprobs(choice.logprobs) if choice.logprobs is not None else [],
        finish=choice.finish_reason or "",
        prompt_tokens=usage.prompt_tokens,
        tokens=usage.completion_tokens or 0,
    )


def complaint(status: int, body: bytes) -> Complaint:
    """What an answer that is no stream says: the server's own words, where it has some."""
    try:
        answer = msgspec.json.decode(body, type=_Event)
    except msgspec.DecodeError:
        answer = _Event()
    if answer.error is not None:
        return Complaint(status, str(_complaint(answer.error, status)))
    return Complaint(status, answer.detail or body.decode(errors="replace"))


def _complaint(error: "_Error | str", otherwise: int) -> Complaint:
    if isinstance(error, str):
        return Complaint(otherwise, error)
    return Complaint(error.code if isinstance(error.code, int) else otherwise, error.message)


def _logprobs(logprobs: "_Logprobs") -> list[float]:
    chosen = [token.logprob for token in logprobs.content] if logprobs.content is not None else logprobs.token_logprobs or []
    return [value for value in chosen if value is not None and math.isfinite(value)]


# --- the events -------------------------------------------------------------------------------------------------------


class _Token(Struct):
    logprob: float | None = None


class _Logprobs(Struct):
    token_logprobs: list[float | None] | None = None
    content: list[_Token] | None = None


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    text: str | None = None
    delta: _Delta | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Error(Struct):
    message: str = ""
    code: int | str | None = None


class _Event(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | str | None = None
    # What servers of FastAPI say of a path that they have not.
    detail: str = ""


_events = msgspec.json.Decoder(_Event)
