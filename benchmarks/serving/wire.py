"""What the benchmark and its contestants say to each other: one MessagePack map a message, over a ZeroMQ PAIR socket.

The benchmark sends a `Command`, the contestant answers it by one `Report`. A load is a list of `Ask`; how each went is a
`Transcript`. The same structs describe a load for the worker, which is reached by its own protocol instead (`client.py`).
"""

import msgspec
from msgspec import Struct

NO_ADAPTER = -1


class Ask(Struct, frozen=True, kw_only=True):
    """One request of a load. `at_s`: when it arrives, seconds after the load begins. `adapter`: its number, from 0, or NO_ADAPTER.

    `tokens` is how many are written. `fixed`: an end-of-text token does not end the output, so that lengths are equal.
    `alternatives`: also report the two likeliest tokens of each step.
    """

    prompt: str
    tokens: int
    at_s: float = 0.0
    adapter: int = NO_ADAPTER
    fixed: bool = True
    alternatives: bool = False
    session: str = ""


class Transcript(Struct, frozen=True, kw_only=True):
    """How one request went. `times_s`: when each piece of text came, seconds after the load began; `counts`: its tokens.

    `first_s`: seconds from the moment the request was due to arrive to its first token. `margins`: natural logarithm of the
    ratio between the likeliest token's probability and the next one's, for each step (with `alternatives`). `arrival_tier` and
    `mode` are the worker's own words. `error` is empty when it succeeded.
    """

    first_s: float = 0.0
    times_s: list[float] = []
    counts: list[int] = []
    tokens: list[int] = []
    prompt_tokens: int = 0
    margins: list[float] = []
    arrival_tier: str = ""
    mode: str = ""
    error: str = ""


class Play(Struct, tag=True, frozen=True):
    """Play a load. `one_by_one`: each request arrives when the one before has ended, whatever its `at_s`."""

    asks: list[Ask]
    one_by_one: bool = False


class Call(Struct, tag=True, frozen=True):
    """Call a method of the worker extension in the engine's process, with plain arguments."""

    method: str
    arguments: list[str | int | float | bool]


class End(Struct, tag=True, frozen=True):
    """Stop the engine and end."""


class Ready(Struct, tag=True, frozen=True):
    """The engine runs. `operations`: the class that computes its LoRA products; empty without LoRA."""

    operations: str


class Played(Struct, tag=True, frozen=True):
    """How the requests of a load went, in their order."""

    transcripts: list[Transcript]


class Called(Struct, tag=True, frozen=True):
    """What the method answered, as text."""

    answer: str


class Failure(Struct, tag=True, frozen=True):
    """The command failed."""

    error: str


Command = Play | Call | End
Report = Ready | Played | Called | Failure

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_report = msgspec.msgpack.Decoder(Report).decode
