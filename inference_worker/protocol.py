"""Protocol of the inference worker: the structs that its clients and it exchange. Imports nothing of ours.

One ZeroMQ message is one MessagePack map, whose key `op` names the struct by its tag. A client connects a DEALER socket to the
worker's ROUTER. Models and adapters are named by digest; their files lie under `$BATOS_HOME/models/<digest>/` and
`$BATOS_HOME/adapters/<digest>/`, put there by the owner of the blobs before a request names them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Sampling(Struct, frozen=True, forbid_unknown_fields=True):
    """How one output is drawn. Temperature 0 is greedy."""

    temperature: Annotated[float, Meta(ge=0, le=10)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class Generate(Struct, tag_field="op", tag="Generate", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prompt, one output per entry of `samplings`, all decoded together.

    `adapter` is the digest of a LoRA adapter, `adapter_name` the name shown in logs (identity is the digest). `grammar`
    is EBNF (root rule `root`); every output then is a sentence of it. `chat` wraps the prompt in the model's chat
    template, as the message of a user, after one of the system where `system` has a text. `stream` asks for Delta messages.
    `logprobs` asks for the log probability of each token written.
    `deadline_ms` counts from arrival; a request that is sent again, under its id and with whatever time is left, is the first one still.
    `priority`: interactive when a person waits, background when nobody does.
    `session` names whose sequence of adapters the request belongs to; the scheduler learns what comes next in it.
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
    system: Annotated[str, Meta(max_length=65_536)] = ""
    stream: bool = False
    logprobs: bool = False
    priority: Literal["interactive", "normal", "background"] = "normal"
    session: Annotated[str, Meta(max_length=128)] = ""
    deadline_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0


class CancelRequest(Struct, tag_field="op", tag="Cancel", frozen=True, forbid_unknown_fields=True):
    """Stop this client's request `id`; it is answered RequestFailed(Cancelled)."""

    id: Identifier


class AskHealth(Struct, tag_field="op", tag="AskHealth", frozen=True, forbid_unknown_fields=True):
    """How the worker is; asks the engine itself when it is loaded."""

    id: Identifier


class Warm(Struct, tag_field="op", tag="Warm", frozen=True, forbid_unknown_fields=True):
    """Start the engine for `model` now if it is not loaded. Answered by Health once it is, or RequestFailed."""

    id: Identifier
    model: Digest


class AskAdapters(Struct, tag_field="op", tag="AskAdapters", frozen=True, forbid_unknown_fields=True):
    """Which adapters are where, and how the tiers do: answered by Adapters. `limit`: how many to list, the most recently used first."""

    id: Identifier
    limit: Annotated[int, Meta(ge=0, le=100_000)] = 100


class AskFiles(Struct, tag_field="op", tag="AskFiles", frozen=True, forbid_unknown_fields=True):
    """The files of an adapter, so that another worker can fetch it: answered by Files, or RequestFailed(BadAdapter)."""

    id: Identifier
    adapter: Digest


class AskChunk(Struct, tag_field="op", tag="AskChunk", frozen=True, forbid_unknown_fields=True):
    """A part of one of an adapter's files: answered by Chunk (shorter than `length` at the end), or RequestFailed(BadAdapter)."""

    id: Identifier
    adapter: Digest
    path: Annotated[str, Meta(min_length=1, max_length=512)]
    offset: Annotated[int, Meta(ge=0, le=2**53)]
    length: Annotated[int, Meta(ge=1, le=1_048_576)]


class Output(Struct, frozen=True):
    """One finished output. `finish`: stop or length. `logprob`: mean log probability per token (nats).

    `logprobs`: the log probability of each token, where the request asked for them.
    """

    text: str
    tokens: int
    logprob: float
    finish: str
    logprobs: list[float] = []


class Delta(Struct, tag_field="op", tag="Delta", frozen=True):
    """New text of output `index`."""

    id: str
    index: int
    text: str


class Completed(Struct, tag_field="op", tag="Completed", frozen=True):
    """All outputs, in the order of `samplings`. `engine_s`: seconds from admission to the last token; `queued_s`: waited before.

    `first_token_s`: seconds from arrival to the first token of any output. `found`: where the adapter was when the request
    arrived (hot, warm, cold, remote; empty without adapter). `mode`: how the outputs were computed: base (no adapter),
    adapter (its product added by the side), or merged (its product in the weights).
    `endpoint`, `endpoint_model`: the address of the server that wrote them, and what it calls its model, which need not be `model`;
    empty: an engine here, from that model's files.
    """

    id: str
    outputs: list[Output]
    prompt_tokens: int
    queued_s: float
    engine_s: float
    first_token_s: float = 0.0
    found: str = ""
    mode: str = ""
    endpoint: str = ""
    endpoint_model: str = ""


class RequestFailed(Struct, tag_field="op", tag="Failed", frozen=True):
    """A typed failure: BadRequest, UnknownModel, BadAdapter, BadGrammar, DeadlineExceeded, Cancelled, EngineDied,
    EngineStartFailed, EndpointFailed, WorkerFault (a fault of ours) or Stopping."""

    id: str
    type: str
    message: str


class WorkerBusy(Struct, tag_field="op", tag="Busy", frozen=True):
    """The queue is full; try again after `retry_after_ms`."""

    id: str
    retry_after_ms: int


class Health(Struct, tag_field="op", tag="Health", frozen=True):
    """`engine`: unloaded, starting, ready or failed. `answers`: the engine's processes answered a call just now.

    `adapters`: those that are hot or warm, the most recently used last, at most 1,000. `streams`: sequences it decodes
    together, the measure of its load. `incarnation` is new for each worker process: a client that sees it change sends its
    unanswered requests again. While the engine is starting, `starting_s` says for how long, seconds, and `step` what it does.
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
    streams: int = 0
    starting_s: float = 0.0
    step: str = ""


class AdapterState(Struct, frozen=True):
    """One adapter. `tier`: hot, warm, cold, remote or quarantined. `size`: bytes where it is. `uses`: requests admitted with it.

    `load_s`: how long it last took from cold to hot, seconds; `idle_s`: since its last use, or -1 when it was never used.
    `detail`: why it is quarantined.
    """

    adapter: str
    tier: str
    size: int
    rank: int
    uses: int = 0
    load_s: float = 0.0
    idle_s: float = -1.0
    detail: str = ""


class TierState(Struct, frozen=True):
    """One tier: hot, warm or cold. `found`: requests whose adapter was there when they arrived. Bytes; `budget` 0: no bound.

    `entered` and `left` count moves into it from below and evictions from it; `move_s` is the mean time to enter, seconds.
    """

    name: str
    adapters: int
    used: int
    budget: int
    found: int = 0
    entered: int = 0
    left: int = 0
    move_s: float = 0.0


class Adapters(Struct, tag_field="op", tag="Adapters", frozen=True):
    """The tiers. `waits`: quantiles (p50, p90, p99) of the time from arrival to admission of the last 1,000 requests, seconds.

    `prefetched`: reads and commits begun before a request needed them, and how many of these were used before they were evicted.
    """

    id: str
    policy: str
    tiers: list[TierState]
    adapters: list[AdapterState]
    registered: int
    quarantined: int
    waits: dict[str, float] = {}
    prefetched: int = 0
    prefetched_used: int = 0


class File(Struct, frozen=True):
    """One file of an adapter or a model: relative POSIX path, bytes, sha256 in hexadecimal digits."""

    path: str
    size: int
    sha256: str


class Files(Struct, tag_field="op", tag="Files", frozen=True):
    """The files of an adapter, sorted by path; their list determines its digest."""

    id: str
    adapter: str
    files: list[File]


class Chunk(Struct, tag_field="op", tag="Chunk", frozen=True):
    """Bytes of a file, from the offset that was asked for."""

    id: str
    data: bytes


MOST_FILES = 512
"""Files of a model or an adapter."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model or an adapter as `python -m inference_worker.adapters.check` found it: what the image then takes in is these very bytes.

    It is no message of the socket, but a line of JSON. `base` and `rank` are an adapter's: digest of its model, and its largest rank.
    `chat`: the model has a chat template.
    """

    kind: Literal["model", "adapter"]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\Z")]
    digest: Digest
    files: Annotated[list[File], Meta(min_length=1, max_length=MOST_FILES)]
    base: Digest | None = None
    rank: Annotated[int, Meta(ge=0)] = 0
    chat: bool = False


Request = Generate | CancelRequest | AskHealth | Warm | AskAdapters | AskFiles | AskChunk
Answer = Delta | Completed | RequestFailed | WorkerBusy | Health | Adapters | Files | Chunk

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
