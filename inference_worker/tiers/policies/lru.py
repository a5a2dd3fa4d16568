"""Least recently used: what has not been asked for the longest goes first."""

from collections.abc import Iterable

from inference_worker.tiers.policies.policy import Policy


class Lru(Policy):
    """Worth is the time of the last use; an adapter that was never used is worth nothing."""

    name = "lru"

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def used(self, at: float, adapter: str, session: str) -> Iterable[str]:
        self._last[adapter] = at
        return (adapter,)

    def worth(self, adapter: str) -> float:
        return self._last.get(adapter, float("-inf"))

    def forget(self, adapter: str) -> None:
        self._last.pop(adapter, None)
