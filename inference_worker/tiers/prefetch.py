"""What the sessions that spoke last are likely to ask for next. Owned by the scheduler's core, called in its thread."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from inference_worker.tiers.events import Tier

_SESSIONS = 16
"""Sessions whose next adapter is loaded before it is asked for."""


@dataclass(slots=True)
class Guess:
    """What a session may ask for next. `tried`: the tiers from which it was moved up for that: once from each, since two
    guesses must not push each other out for ever."""

    adapter: str
    probability: float
    tried: set[Tier] = field(default_factory=set)


class Guesses:
    """The guesses of a few sessions. `moves`: begun for a guess; `right`: those that a request found before they were evicted."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, list[Guess]] = OrderedDict()
        self.moves = 0
        self.right = 0

    def __iter__(self) -> Iterator[Guess]:
        """The latest session's first, and in it the likeliest first."""
        for session in reversed(self._sessions):
            yield from self._sessions[session]

    def replace(self, session: str, likely: list[tuple[str, float]]) -> None:
        """The session has spoken: what was guessed before holds no longer, this does."""
        self._sessions.pop(session, None)
        if likely:
            self._sessions[session] = [Guess(adapter, probability) for adapter, probability in likely]
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
