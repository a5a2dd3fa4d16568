"""What the clients of a run did and what they saw: one operation a line, in a file that the checker reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

Status = Literal["ok", "error", "unknown"]
"""Carried out and answered; refused, so that nothing happened; or never settled: it happened once or not at all."""

Kind = Literal["note", "add", "read", "share", "merge", "pay", "swap"]


class Operation(Struct, frozen=True, array_like=True):
    """One message of a session, from its first sending to its last answer. Times in monotonic seconds of the one client process.

    `target`: the number of the shared object it went to, and `values` its arguments: an amount and the other account (pay), the value
    expected and the new one (swap).
    """

    session: int
    seq: int
    kind: Kind
    target: int
    values: list[int]
    invoked: float
    completed: float
    status: Status
    result: Any = None


class Final(Struct, frozen=True):
    """What the objects held when the service had come to rest."""

    notes: list[list[int]]
    """By session: the numbers of its notes, in the order in which they were written."""
    counters: list[int]
    """By session: its own counter."""
    shared: list[int]
    merged: list[int]
    accounts: list[int]
    registers: list[int]


class World(Struct, frozen=True):
    """How many objects of each kind a run has, and what is in an account at first."""

    sessions: int
    shared: int = 2
    merged: int = 2
    accounts: int = 6
    registers: int = 2
    money: int = 1_000_000


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Operation)


def write(path: Path, operations: Iterable[Operation]) -> None:
    """Write a history."""
    with path.open("wb") as file:
        for operation in operations:
            file.write(_encoder.encode(operation) + b"\n")


def read(path: Path) -> Iterator[Operation]:
    """Read a history."""
    with path.open("rb") as file:
        for line in file:
            yield _decoder.decode(line)
