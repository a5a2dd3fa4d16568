"""How much may wait, and when a client that was sent away should come back. Pure; the worker's event loop owns it.

The queue holds `queue` requests. Background requests fill at most three quarters of it, so that a client for whom a person
waits is not sent away because of work for which nobody does.
"""

from inference_worker.protocol import Generate, Warm

_FIRST_GUESS_MS = 1000
_LEAST_MS, _MOST_MS = 50, 60_000
# An eighth of the queue has room for several who come back at once, and is not yet a queue that ran dry.
_SHARE = 8
_LEARN = 0.1


class Pressure:
    """Decides for one worker, from the requests that it holds and the pace at which it answers."""

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._interval_s: float | None = None
        self._last: float | None = None

    def is_full(self, pending: int, request: object) -> bool:
        """Whether a request must be sent away, given how many there are. Questions get in for twice as long as work."""
        if isinstance(request, Generate) and request.priority == "background":
            return pending >= self._queue - self._queue // 4
        return pending >= (self._queue if isinstance(request, Generate | Warm) else 2 * self._queue)

    def answered(self, at: float, pending: int) -> None:
        """A request was answered at `at` (seconds); `pending`: how many are left. The pace is only learnt while others wait."""
        if self._last is not None:
            interval = max(0.0, at - self._last)
            self._interval_s = interval if self._interval_s is None else self._interval_s + _LEARN * (interval - self._interval_s)
        self._last = at if pending else None

    def retry_after_ms(self, pending: int) -> int:
        """When an eighth of those that are here should have been answered, milliseconds."""
        if self._interval_s is None:
            return _FIRST_GUESS_MS
        return round(min(_MOST_MS, max(_LEAST_MS, 1000 * self._interval_s * max(1, pending // _SHARE))))
