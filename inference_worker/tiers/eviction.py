"""Adapters that may be evicted, the one worth least first. Owned by the scheduler's core."""

from heapq import heapify, heappop, heappush


class Spares:
    """A set of adapters with a worth and a size each. A heap in which what was taken back or changed is left lying until it
    comes up, so that each change costs O(log n)."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, int]] = {}
        self._heap: list[tuple[float, str]] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, adapter: str, worth: float, size: int) -> None:
        """The adapter may be evicted."""
        before = self._entries.get(adapter)
        if before == (worth, size):
            return
        self.take(adapter)
        self._entries[adapter] = (worth, size)
        self.bytes += size
        heappush(self._heap, (worth, adapter))
        if len(self._heap) > 64 + 4 * len(self._entries):
            self._heap = [(worth, adapter) for adapter, (worth, _) in self._entries.items()]
            heapify(self._heap)

    def take(self, adapter: str) -> None:
        """The adapter may not be evicted."""
        if (before := self._entries.pop(adapter, None)) is not None:
            self.bytes -= before[1]

    def least(self) -> tuple[float, str] | None:
        """The worth and the name of the adapter worth least."""
        while self._heap:
            worth, adapter = self._heap[0]
            entry = self._entries.get(adapter)
            if entry is not None and entry[0] == worth:
                return worth, adapter
            heappop(self._heap)
        return None
