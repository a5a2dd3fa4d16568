"""Protocol of the inference worker: the structs that its clients and it exchange. Imports nothing of ours.

One ZeroMQ message is one MessagePack map, whose key `op` names the struct. A client connects a DEALER socket to the
worker's ROUTER. Models and adapters are named by digest; their files lie under `$BATOS_HOME/models/<digest>/` and
`$BATOS_HOME/adapters/<digest>/`, put there by the owner of the blobs before a request names them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Sampling(Struct, frozen=True, forbid_unknown_fields=True):
    """How one output is drawn. Temperature 0 is greedy."""

    temperature: Annotated[float, Meta(ge=0, le=10)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class Generate(Struct, tag_field="op", tag="Generate", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prompt, one output per entry of `samplings`, all decoded together.

    `adapter` is the digest of a LoRA adapter, `adapter_name` the name shown in logs (identity is the digest). `grammar`
    is EBNF (root rule `root`); every output then is a sentence of it. `chat` wraps the prompt in the model's chat
    template. `stream` asks for Delta messages. `deadline_ms` counts from arrival.
    """

    id: Identifier
    model: Digest
    prompt: Annotated[str, Meta(min_length=1, max_length=200_000)]
    samplings: Annotated[list[Sampling], Meta(min_length=1, max_length=16)] = msgspec.field(default_factory=lambda: [Sampling()])
    max_tokens: Annotated[int, Meta(ge=1, le=8192)] = 256
    adapter: Digest | None = None
    adapter_name: Annotated[str, Meta(max_length=128)] = ""
    grammar: Annotated[str, Meta(max_length=200_000)] = ""
    stop: Annotated[list[str], Meta(max_length=16)] = []
    chat: bool = False
    stream: bool = False
    deadline_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0


class Cancel(Struct, tag_field="op", tag="Cancel", frozen=True, forbid_unknown_fields=True):
    """Stop this client's request `id`; it is answered Failed(Cancelled)."""

    id: Identifier


class AskHealth(Struct, tag_field="op", tag="AskHealth", frozen=True, forbid_unknown_fields=True):
    """How the worker is; asks the engine itself when it is loaded."""

    id: Identifier


class Warm(Struct, tag_field="op", tag="Warm", frozen=True, forbid_unknown_fields=True):
    """Start the engine for `model` now if it is not loaded. Answered by Health once it is, or Failed."""

    id: Identifier
    model: Digest


class Output(Struct, frozen=True):
    """One finished output. `finish`: stop or length. `logprob`: mean log probability per token (nats)."""

    text: str
    tokens: int
    logprob: float
    finish: str


class Delta(Struct, tag_field="op", tag="Delta", frozen=True):
    """New text of output `index`."""

    id: str
    index: int
    text: str


class Completed(Struct, tag_field="op", tag="Completed", frozen=True):
    """All outputs, in the order of `samplings`. `engine_s`: seconds from admission to the last token; `queued_s`: waited before."""

    id: str
    outputs: list[Output]
    prompt_tokens: int
    queued_s: float
    engine_s: float


class Failed(Struct, tag_field="op", tag="Failed", frozen=True):
    """A typed failure: BadRequest, UnknownModel, BadAdapter, BadGrammar, DeadlineExceeded, Cancelled, EngineDied,
    EngineStartFailed, WorkerFault (a fault of ours) or Stopping."""

    id: str
    type: str
    message: str


class Busy(Struct, tag_field="op", tag="Busy", frozen=True):
    """The queue is full; try again after `retry_after_ms`."""

    id: str
    retry_after_ms: int


class Health(Struct, tag_field="op", tag="Health", frozen=True):
    """`engine`: unloaded, starting, ready or failed. `answers`: the engine's processes answered a call just now.

    `incarnation` is new for each worker process: a client that sees it change sends its unanswered requests again.
    """

    id: str
    engine: str
    answers: bool
    model: str
    adapters: list[str]
    waiting: int
    running: int
    engine_starts: int
    detail: str = ""
    incarnation: str = ""


Request = Generate | Cancel | AskHealth | Warm
Answer = Delta | Completed | Failed | Busy | Health

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Struct) -> bytes:
    """One message as MessagePack."""
    return _encoder.encode(message)


def decode_request(frame: bytes) -> Request:
    """A client's message. Raises msgspec.DecodeError with what was wrong and where."""
    return _requests.decode(frame)


def decode_answer(frame: bytes) -> Answer:
    """The worker's answer."""
    return _answers.decode(frame)
