"""A machine and the model on it, as numbers: what a decode step costs, how fast bytes move, how much fits where.

`machines.py` has the built-in ones and reads others from files. Data only; no thread owns it.
"""

import zlib
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

_Seconds = Annotated[float, Meta(ge=0)]
_Bytes = Annotated[float, Meta(ge=0)]
_Rate = Annotated[float, Meta(gt=0)]

REFERENCE_RANK = 16
"""The rank at which the costs of adapters are given; they grow in proportion."""


class MachineError(ValueError):
    """A machine that cannot be simulated: the message names what was given, the field, and what is allowed."""


class LoraCost(Struct, frozen=True, forbid_unknown_fields=True):
    """What adapters add to a step, seconds at rank 16; a step pays for the largest rank in it (Li et al., CaraServe, 2024).

    `step_s`: once, when any sequence has an adapter. `adapter_s`: for each different adapter. `token_s`: for each token
    with an adapter, decoded or prefilled.
    """

    step_s: _Seconds = 0.0
    adapter_s: _Seconds = 0.0
    token_s: _Seconds = 0.0

    def seconds(self, adapters: int, tokens: int, rank: int) -> float:
        """The cost of a step with so many different adapters and tokens under one."""
        return self.step_s + (adapters * self.adapter_s + tokens * self.token_s) * rank / REFERENCE_RANK if adapters else 0.0


class Speed(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast bytes move: `latency_s` once, then `bytes_s` a second."""

    bytes_s: _Rate
    latency_s: _Seconds = 0.0

    def seconds(self, size: float) -> float:
        return self.latency_s + size / self.bytes_s


class SimulatedMachine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One machine with one base model.

    A step takes `step_s`, `stream_s` for each sequence decoded, `context_token_s` for each token of their contexts,
    `prefill_token_s` for each prompt token, and what the adapters cost (`lora`; `stock_lora` for stock vLLM). At most
    `batch_tokens` prompt tokens go into a step. `request_s`: what a request takes outside of the steps (sockets, tokens to text), on its
    way to its first token, delaying nobody else. `start_s`: start of the engine.

    `kv_tokens`: tokens that the KV cache holds. `slots`: adapters that are hot together, each padded to `max_rank`. `rank_bytes`: bytes
    of an adapter for each unit of its rank. `ranks`: those of the adapters, where a trace does not say, evenly mixed. `ram`,
    `disk`: bytes for warm adapters, and for those that came from a peer (0: no bound). `remote`: share of the adapters that
    only a peer has at first.

    `read`: disk to RAM, parsing and checking included. `commit`: RAM to slot; the engine stands still for it. `fetch`: from a peer.
    `max_streams`, `reserved_streams`, `ageing_s` as in the settings.
    """

    name: str
    about: str = ""
    step_s: _Seconds
    stream_s: _Seconds = 0.0
    context_token_s: _Seconds = 0.0
    prefill_token_s: _Seconds = 0.0
    batch_tokens: Annotated[int, Meta(ge=1)] = 2048
    request_s: _Seconds = 0.0
    start_s: _Seconds = 25.0
    lora: LoraCost = LoraCost()
    stock_lora: LoraCost = LoraCost()
    kv_tokens: Annotated[int, Meta(ge=1)]
    slots: Annotated[int, Meta(ge=1)]
    max_rank: Annotated[int, Meta(ge=1)] = REFERENCE_RANK
    rank_bytes: _Bytes
    ranks: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)] = msgspec.field(default_factory=lambda: [REFERENCE_RANK])
    ram: Annotated[int, Meta(ge=0)]
    disk: Annotated[int, Meta(ge=0)] = 0
    remote: Annotated[float, Meta(ge=0, le=1)] = 0.0
    read: Speed
    commit: Speed
    fetch: Speed = Speed(bytes_s=100e6, latency_s=0.005)
    max_streams: Annotated[int, Meta(ge=1)] = 16
    reserved_streams: Annotated[int, Meta(ge=0)] = 2
    ageing_s: Annotated[float, Meta(gt=0)] = 20.0

    def __post_init__(self) -> None:
        if max(self.ranks) > self.max_rank:
            raise MachineError(f"machine {self.name}: ranks has {max(self.ranks)}, above max_rank {self.max_rank}; raise max_rank")
        if self.reserved_streams >= self.max_streams:
            raise MachineError(
                f"machine {self.name}: reserved_streams is {self.reserved_streams}; it must be below max_streams, {self.max_streams}, "
                "or background requests would never run"
            )

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot: padded to the largest rank."""
        return round(self.rank_bytes * self.max_rank)

    def rank_of(self, adapter: str) -> int:
        """The rank of an adapter that a trace only names: always the same for the same name."""
        return self.ranks[zlib.crc32(adapter.encode()) % len(self.ranks)]

    def only_remote(self, adapter: str) -> bool:
        """Whether only a peer has it at first."""
        return zlib.crc32(b"remote " + adapter.encode()) % 10_000 < self.remote * 10_000
