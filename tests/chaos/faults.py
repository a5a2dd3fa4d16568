"""What is done to the service, to which process, and when: a pure function of the seed and of the number of messages."""

import random
from typing import Literal

from msgspec import Struct

Kind = Literal["kill", "stop", "restart", "full", "torn", "blob", "clock"]

PROGRAMS = ("image", "bridge", "inference", "uvm-1", "uvm-2", "heartbeat")
_DAY = 86_400
PER_ROUND = 150_000
"""Messages for which every fault is done once."""


class Fault(Struct, frozen=True):
    """`after`: messages that have been answered when it begins. `amount`: bytes left on the disk (full), of the half-written
    transaction (torn), or seconds that the clock jumps (clock)."""

    after: int
    kind: Kind
    target: str
    amount: int = 0


def schedule(seed: int, messages: int) -> list[Fault]:
    """Every fault on every process, once in `PER_ROUND` messages and at least once, in an order drawn from the seed."""
    drawn = random.Random(seed)
    order: list[tuple[Kind, str, int]] = []
    for _ in range(1 + messages // PER_ROUND):
        once: list[tuple[Kind, str, int]] = [(kind, program, 0) for kind in ("kill", "stop", "restart") for program in PROGRAMS]
        once += [("clock", program, drawn.choice((-40 * _DAY, -60, 7200, 40 * _DAY))) for program in PROGRAMS if program != "inference"]
        once += [("full", "image", drawn.randrange(100, 50_000)), ("torn", "image", drawn.randrange(24, 400)), ("blob", "image", 0)]
        drawn.shuffle(once)
        order += once
    step = messages * 0.9 / len(order)
    return [Fault(int(step * (number + 0.5)), kind, target, amount) for number, (kind, target, amount) in enumerate(order)]
