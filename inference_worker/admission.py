"""Which waiting request may run next: a pure decision core, with no clock, socket or engine inside.

The worker's loop tells it what happened (`arrived`, `ended`) and then asks `admit` for the requests to start.

Requests carry a group, and requests of different groups never run together: the model (one is loaded at a time), on a
CPU also whether there is an adapter (there vLLM's operations give the tokens of a request without adapter the last
slot's adapter, when another request of the batch has one), and for a request that an engine died on a group of its own.

Order is that of arrival, with one exception. When nothing runs, a turn begins: the group of the longest-waiting request
has it, and all requests of that group that wait at this moment may pass those of other groups. Later arrivals may not,
so a request waits for at most one turn of each other group, and nothing starves.
"""

from collections.abc import Hashable
from dataclasses import dataclass

Key = tuple[bytes, str]
"""A client and its name for the request."""


@dataclass(frozen=True)
class Ticket:
    """One request as admission sees it. `streams`: sequences it decodes; `adapter`: its digest, or None."""

    key: Key
    group: Hashable
    streams: int
    adapter: str | None = None


class Admission:
    """The queue of tickets. `max_streams`: sequences decoded together; `max_adapters`: adapters in use together."""

    def __init__(self, max_streams: int, max_adapters: int) -> None:
        self._max_streams = max_streams
        self._max_adapters = max_adapters
        self._waiting: dict[Key, Ticket] = {}
        self._running: dict[Key, Ticket] = {}
        self._turn: set[Key] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def is_running(self, key: Key) -> bool:
        return key in self._running

    @property
    def adapters(self) -> set[str]:
        """The adapters of the requests that run."""
        return {ticket.adapter for ticket in self._running.values() if ticket.adapter is not None}

    def arrived(self, ticket: Ticket) -> None:
        """A request waits. Raises ValueError when its key is known already."""
        if ticket.key in self._waiting or ticket.key in self._running:
            raise ValueError(f"request {ticket.key!r} is waiting or running already")
        self._waiting[ticket.key] = ticket

    def ended(self, key: Key) -> None:
        """A request is over, whether it ran or still waited; one that is not known is none of our business."""
        self._waiting.pop(key, None)
        self._running.pop(key, None)
        self._turn.discard(key)

    def admit(self) -> list[Ticket]:
        """Move what may run now from waiting to running, and return it in order."""
        admitted = []
        while (ticket := self._next()) is not None:
            del self._waiting[ticket.key]
            self._running[ticket.key] = ticket
            admitted.append(ticket)
        return admitted

    def _next(self) -> Ticket | None:
        if not self._waiting:
            return None
        if not self._running:
            group = next(iter(self._waiting.values())).group
            self._turn = {ticket.key for ticket in self._waiting.values() if ticket.group == group}
        else:
            group = next(iter(self._running.values())).group
        others_ahead = False
        for ticket in self._waiting.values():
            if ticket.group != group:
                others_ahead = True
            elif not others_ahead or ticket.key in self._turn:
                return ticket if self._fits(ticket) else None
        return None

    def _fits(self, ticket: Ticket) -> bool:
        if not self._running:
            return True
        streams = sum(running.streams for running in self._running.values()) + ticket.streams
        adapters = self.adapters | ({ticket.adapter} if ticket.adapter is not None else set())
        return streams <= self._max_streams and len(adapters) <= self._max_adapters
