"""A claimed message on its way to a method, as the process that claimed it remembers it. State only; `uvm.generation.writers` moves it."""

import time
from collections.abc import Callable
from typing import Final

from uvm.errors import ImageError
from uvm.generation.claims import Claim
from uvm.generation.drafting import Commission
from uvm.generation.request import Want
from uvm.generation.stages import Draft, Plan
from uvm.trial.client import Trial

RENEW_EVERY_S: Final = 5.0

Waiter = Callable[[ImageError | None], None]
"""Called once: with None when the message may run again, else with why not."""


class Generation:
    """A claimed message on its way, in this process."""

    def __init__(self, want: Want, claim: Claim) -> None:
        self.want = want
        self.oid = claim.oid
        self.stage = claim.stage
        self.drafts = claim.drafts
        self.plan: Plan | None = None
        self.commission: Commission | None = None
        self.waiters: list[Waiter] = []
        self.questions: set[str] = set()
        self.written: list[Draft] = []
        self.failures: list[str] = []
        self.trial: Trial | None = None
        self.trying = -1
        self.queued = False
        self.retrials = 0
        self.needs = 0
        self.rounds = 0
        self.thoughts: dict[str, str] = {}
        self.read: dict[int, dict[bytes, bytes]] = {}
        self.renew_at = time.monotonic() + RENEW_EVERY_S
        self.told_at = 0.0
        self.text = ""
        self.started = time.monotonic()
