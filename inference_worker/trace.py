"""The trace format: what was asked of a worker, and when; one JSON object a line.

    {"at": 12.5, "adapter": "a00017", "session": "s3", "prompt_tokens": 40, "tokens": 60, "streams": 1,
     "priority": "normal", "client": "c1", "rank": 16, "size": 9768960,
     "found": "warm", "first_token_s": 0.31, "total_s": 1.9, "mode": "adapter"}

Only `at` (seconds, from any origin), `prompt_tokens` and `tokens` (of one output) must be there. `adapter` is null for a
request without one. `rank` and `size` (bytes in RAM) are 0 where they are not known; the simulated machine then supplies
them. The last four say what a real worker did with the request; the simulator compares itself with them and uses none.

A generated trace begins with one line `{"generated": {…}}`, the parameters it was drawn with, so that it can be drawn
again for another number of adapters. Lines need not be in the order of `at`: a worker writes each when its request is over.

`trace_record` is called by the worker's event loop; the rest by the simulator's one thread.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from inference_worker.protocol import Completed, Generate

_Seconds = Annotated[float, Meta(ge=0)]
Urgency = Literal["interactive", "normal", "background"]


class TraceError(ValueError):
    """A trace that cannot be read: the message names the file, the line, what was seen and what is allowed."""


class TraceRecord(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request of a trace; see the module."""

    at: float
    prompt_tokens: Annotated[int, Meta(ge=1)]
    tokens: Annotated[int, Meta(ge=1)]
    adapter: str | None = None
    session: str = ""
    streams: Annotated[int, Meta(ge=1, le=1024)] = 1
    priority: Urgency = "normal"
    client: str = ""
    rank: Annotated[int, Meta(ge=0)] = 0
    size: Annotated[int, Meta(ge=0)] = 0
    found: str = ""
    first_token_s: _Seconds = 0.0
    total_s: _Seconds = 0.0
    mode: str = ""


class TraceParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters a trace was drawn with. `generate.py` says what each does."""

    adapters: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    zipf: Annotated[float, Meta(ge=0, le=4)] = 1.0
    rate: Annotated[float, Meta(gt=0, le=100_000)] = 2.0
    seconds: Annotated[float, Meta(gt=0, le=10_000_000)] = 600.0
    sessions: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    order: Annotated[float, Meta(ge=0, le=1)] = 0.6
    prompt_tokens: Annotated[float, Meta(ge=1)] = 60.0
    tokens: Annotated[float, Meta(ge=1)] = 40.0
    interactive: Annotated[float, Meta(ge=0, le=1)] = 0.2
    background: Annotated[float, Meta(ge=0, le=1)] = 0.2
    plain: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: int = 0


class Trace(Struct, frozen=True):
    """Requests in the order of time, the first at 0. `generated`: how it was drawn, or None for a recorded one."""

    records: list[TraceRecord]
    generated: TraceParameters | None = None

    @property
    def adapters(self) -> list[str]:
        """Every adapter there is: for a generated trace those never asked for as well."""
        if self.generated is not None:
            return [adapter_name(number) for number in range(self.generated.adapters)]
        return sorted({record.adapter for record in self.records if record.adapter is not None})


class _Header(Struct, forbid_unknown_fields=True):
    generated: TraceParameters


_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(TraceRecord)
_headers = msgspec.json.Decoder(_Header)


def adapter_name(number: int) -> str:
    """What a generated trace calls its adapter of that popularity, 0 the most wanted."""
    return f"a{number:05d}"


def trace_record(at: float, request: Generate, answer: Completed, client: bytes, rank: int = 0, size: int = 0) -> bytes:
    """A finished request as one line of a trace, line feed included.

    `at`: when it arrived, seconds of the worker's clock. `rank` and `size` (bytes in RAM) of its adapter where known.
    """
    written = sum(output.tokens for output in answer.outputs)
    record = TraceRecord(
        at=round(at, 4),
        prompt_tokens=max(1, answer.prompt_tokens),
        tokens=max(1, round(written / len(answer.outputs))) if answer.outputs else 1,
        adapter=request.adapter,
        session=request.session or client.hex(),
        streams=len(request.samplings),
        priority=request.priority,
        client=client.hex(),
        rank=rank,
        size=size,
        found=answer.found,
        first_token_s=round(answer.first_token_s, 4),
        total_s=round(answer.queued_s + answer.engine_s, 4),
        mode=answer.mode,
    )
    return _encoder.encode(record) + b"\n"


def read_trace(file: Path) -> Trace:
    """A trace from its file, in the order of time. Raises TraceError, OSError."""
    generated: TraceParameters | None = None
    records: list[TraceRecord] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                if not records and generated is None and line.lstrip().startswith(b'{"generated"'):
                    generated = _headers.decode(line).generated
                else:
                    records.append(_records.decode(line))
            except msgspec.DecodeError as error:
                raise TraceError(f"{file}, line {number}: {error}") from error
    if not records:
        raise TraceError(f"{file} holds no request; draw a trace with `python -m inference_worker.simulator generate`")
    return Trace(in_order(records), generated)


def in_order(records: Iterable[TraceRecord]) -> list[TraceRecord]:
    """By time, and shifted so that the first is at 0."""
    ordered = sorted(records, key=lambda record: record.at)
    start = ordered[0].at if ordered else 0.0
    return [msgspec.structs.replace(record, at=record.at - start) for record in ordered] if start else ordered


def write_trace(trace: Trace, lines: Any) -> None:
    """Write the trace to a binary stream."""
    if trace.generated is not None:
        lines.write(_encoder.encode({"generated": msgspec.to_builtins(trace.generated)}) + b"\n")
    for record in trace.records:
        lines.write(_encoder.encode(record) + b"\n")
