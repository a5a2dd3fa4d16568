"""What messages of a connection have cost, and what counts as light, quick or many just now. Owned by `shares`; no clock."""

import math

from msgspec import Struct

FIRST_S = 0.001
"""What a message is expected to cost whose connection is not known, in processor seconds."""

LEAST_S = 0.000_1
PER_BYTE_S = 5e-9
"""Least cost of a message, and the cost of carrying one byte of it; processor seconds."""

LIGHT_S = 0.02
"""A connection is light while its dearest message cost no more, less with each later message and with time."""

QUICK_S = 0.003
"""The same while somebody who waits for each answer sends messages that cost no more: behind one of LIGHT_S it would wait for many times
its own. Who has many under way at once does not mind, and shares all UVMs."""

FEW = 4
"""Who has more under way is a crowd: so many messages of one connection, or, beside other principals, connections of one principal."""

PATIENT_S = 0.002
"""A message that is expected to cost more is no quick question, even of who waits for each answer."""

HALF_LIFE_S = 20.0
FADES = 0.85
"""What is left of the dearest cost after another message, and half of it after so many seconds: a cold first one says little."""

TRUSTED_AFTER = 8
"""After so many light first messages of a principal's connections, its next connection is expected to be light as well."""

ACTIVE_S = 1.0
"""Who sent a message within so many seconds is active."""


class Costs(Struct, eq=False):
    """What messages have cost: `usual` follows them, `peak` remembers the dearest for a while; processor seconds."""

    usual: float = FIRST_S
    peak: float = 0.0
    at: float = 0.0
    seen: int = 0

    def learn(self, cost: float, now: float, carried: float = 0.0) -> None:
        """A message has cost so much, and `carried` besides for its size."""
        self.peak = max(cost + carried, FADES * self._peak(now))
        self.at = now
        # Quick to see that messages became dear, slow to believe that they are cheap again.
        self.usual = self.usual + (cost - self.usual) * (0.5 if cost > self.usual else 0.2) if self.seen else cost
        self.seen += 1

    def within(self, cost: float, now: float) -> bool:
        """Has nothing cost more lately?"""
        # A peak only fades, so that a low one need not be looked at as of now.
        return self.peak <= cost or self._peak(now) <= cost

    def _peak(self, now: float) -> float:
        return self.peak * 0.5 ** ((now - self.at) / HALF_LIFE_S) if self.peak else 0.0


class Pace(Struct, eq=False):
    """What is true of everybody together.

    `quick_at`: when a message of a quick connection that waits for each answer ended last; `lone_at`: when one did that is no bulk.
    `latest`: who sent something last; `rivals_at`: when that was somebody else than before.
    """

    quick_at: float = -math.inf
    lone_at: float = -math.inf
    latest: str = ""
    rivals_at: float = -math.inf

    def sends(self, principal: str, now: float) -> None:
        """Somebody sends something."""
        if principal != self.latest:
            if self.latest:
                self.rivals_at = now
            self.latest = principal

    def light_s(self, now: float) -> float:
        """Most that a light connection's dearest message may cost."""
        return QUICK_S if now - self.quick_at <= ACTIVE_S else LIGHT_S
