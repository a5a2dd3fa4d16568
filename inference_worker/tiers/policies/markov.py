"""Learns in which order sessions ask for adapters: keeps what is likely to come, and says what to load before it is asked for.

A Markov chain of the first order, learned over all sessions: how often `b` followed `a`. What it says is blended with what it
falls back to, the session's own habits and then everybody's, by Witten and Bell's rule (IEEE Trans. Inf. Theory 37, 1991):
an adapter with n observed successors of d kinds is believed n / (n + d), the rest is the fall-back's.

Memory is bounded: each adapter keeps its most frequent successors, each session its most frequent adapters, and sessions
past a number are forgotten, the longest silent first. A guess expires when its session was silent for `HORIZON_S`.

Eviction is that of `Cost`, where a certain next use counts as `BOOST` uses that were seen, and what is expected is as fresh as
what was just used.
"""

from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

from inference_worker.tiers.policies.gdsf import Cost

HORIZON_S = 120.0
"""A session that was silent for so long is expected no more, seconds."""

BOOST = 32.0
"""How many uses seen a certain next use is worth: in traces of sessions with habits more kept helping little past this."""
SUCCESSORS = 8
"""Adapters remembered after each adapter, and of each session."""

SESSIONS = 4096
"""Sessions remembered."""

GUESSES = 3
"""What a session may ask for next: so many at most."""

_LEAST = 0.05
"""A guess below this probability is none."""


class _Counts:
    """The most frequent of what was seen, in bounded memory (Space-Saving: Metwally, Agrawal and El Abbadi, 2005)."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.total = 0

    def add(self, adapter: str) -> None:
        self.total += 1
        if adapter not in self.counts and len(self.counts) >= SUCCESSORS:
            rarest = min(self.counts, key=self.counts.__getitem__)
            self.counts[adapter] = self.counts.pop(rarest)
        self.counts[adapter] = self.counts.get(adapter, 0) + 1

    def drop(self, adapter: str) -> None:
        self.total -= self.counts.pop(adapter, 0)

    @property
    def trust(self) -> float:
        return self.total / (self.total + len(self.counts)) if self.total else 0.0


class _Session(Struct):
    last: str
    at: float
    habits: _Counts
    guesses: list[tuple[str, float]] = []


class Predictive(Cost):
    """`Cost` that knows what comes next."""

    name = "predictive"

    def __init__(self) -> None:
        super().__init__()
        self._after: dict[str, _Counts] = {}
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._expected: dict[str, float] = {}
        """Adapter → the sum of its probabilities over the sessions that are alive."""
        self._expiring: OrderedDict[str, float] = OrderedDict()
        """Sessions that have guesses → since when, the oldest first."""

    def used(self, at: float, adapter: str, session: str) -> Iterable[str]:
        changed = {adapter, *super().used(at, adapter, session)}
        if not session:
            return changed
        state = self._sessions.get(session)
        if state is None:
            state = self._sessions[session] = _Session(adapter, at, _Counts())
            if len(self._sessions) > SESSIONS:
                forgotten, _ = next(iter(self._sessions.items()))
                changed |= self._withdraw(forgotten)
                del self._sessions[forgotten]
        else:
            self._after.setdefault(state.last, _Counts()).add(adapter)
            changed |= self._withdraw(session)
            state.last, state.at = adapter, at
            self._sessions.move_to_end(session)
        state.habits.add(adapter)
        state.guesses = self._guess(state)
        if state.guesses:
            self._expiring[session] = at
        for guessed, probability in state.guesses:
            self._expected[guessed] = self._expected.get(guessed, 0.0) + probability
            self._base[guessed] = self._floor
            changed.add(guessed)
        return changed

    def passed(self, at: float) -> Iterable[str]:
        changed: set[str] = set()
        while self._expiring:
            session, since = next(iter(self._expiring.items()))
            if at - since < HORIZON_S:
                break
            changed |= self._withdraw(session)
        return changed

    def next(self, session: str) -> list[tuple[str, float]]:
        state = self._sessions.get(session)
        return list(state.guesses) if state else []

    def worth(self, adapter: str) -> float:
        return super().worth(adapter) + BOOST * self._expected.get(adapter, 0.0) * self._price_of(adapter)

    def forget(self, adapter: str) -> None:
        super().forget(adapter)
        self._after.pop(adapter, None)
        for counts in self._after.values():
            counts.drop(adapter)
        self._expected.pop(adapter, None)

    def sizes(self) -> dict[str, int]:
        """How much is remembered: sessions, and successors of adapters."""
        return {"sessions": len(self._sessions), "successors": sum(len(counts.counts) for counts in self._after.values())}

    def _withdraw(self, session: str) -> set[str]:
        """Take back what was expected of a session; returns whose worth that changed."""
        self._expiring.pop(session, None)
        state = self._sessions[session]
        for adapter, probability in state.guesses:
            left = self._expected.get(adapter, 0.0) - probability
            if left > 1e-9:
                self._expected[adapter] = left
            else:
                self._expected.pop(adapter, None)
        changed = {adapter for adapter, _ in state.guesses}
        state.guesses = []
        return changed

    def _guess(self, session: _Session) -> list[tuple[str, float]]:
        after = self._after.get(session.last)
        habits = session.habits
        trust = after.trust if after else 0.0
        probabilities: dict[str, float] = {}
        if after is not None and after.total:
            for adapter, count in after.counts.items():
                probabilities[adapter] = trust * count / after.total
        for adapter, count in habits.counts.items():
            share = (1.0 - trust) * habits.trust * count / habits.total
            probabilities[adapter] = probabilities.get(adapter, 0.0) + share
        ranked = sorted(probabilities.items(), key=lambda guess: (-guess[1], guess[0]))
        return [guess for guess in ranked[:GUESSES] if guess[1] >= _LEAST]
