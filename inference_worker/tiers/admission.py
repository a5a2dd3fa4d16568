"""Which waiting request runs next. Owned by the scheduler's core, called in its thread.

Requests of different groups never run together. When nothing runs a turn begins: the group of the first in the order has
it, and lets it go only when that first request has run, so that an engine which takes long to start is not called back
half-way. All of the group that wait when its first one runs may pass those of other groups; later arrivals pass only while
nobody of another group is before them. So a request waits for at most one turn of each other group.

Within the group that has the turn the first in the order runs whose adapter is hot. Only adapters are overtaken, never
streams: when the first does not fit, nobody runs until it does, so that a large request is not starved by a flow of small
ones. Two exceptions:

- Background requests together leave `reserved_streams` free. One that would take them waits, and background requests behind it,
  but nobody else.
- Those that are overdue have at most every second admission while a person waits who is not: a flood that nobody waits for
  must not become a wall by growing old.
"""

from collections import Counter
from collections.abc import Callable

from inference_worker.tiers.budgets import SchedulingLimits
from inference_worker.tiers.events import Key, Priority
from inference_worker.tiers.places import PlacedAdapter, Places
from inference_worker.tiers.queue import OVERDUE, TURN, Group, Order, Request, Waiting


class Admission:
    """Who runs, and who is next. `changed` is called with a request whose order changed."""

    def __init__(self, waiting: Waiting, places: Places, limits: SchedulingLimits, changed: Callable[[Request], None]) -> None:
        self._waiting, self._places, self._limits, self._changed = waiting, places, limits, changed
        self._running: dict[Key, Request] = {}
        self._ranks: Counter[int] = Counter()
        self._turn: Group | None = None
        self._until = 0
        self._first: Request | None = None
        self._by_age = False
        self.streams = 0
        self._background_streams = 0

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, key: Key) -> bool:
        return key in self._running

    def wanted_model(self) -> str | None:
        """The model whose turn it is, if somebody waits for it."""
        self._take_turn()
        return self._turn[0] if self._turn is not None and self._waiting.has_group(self._turn) else None

    def next(self, model: str | None) -> Request | None:
        """The request to run now with the engine for `model`; None when it is better to wait."""
        self._take_turn()
        group = self._turn
        if group is None or group[0] != model:
            return None
        candidates = [self._waiting.at(order) for order in sorted(self._heads(group))]
        if self._by_age and candidates and candidates[0].level == OVERDUE:
            candidates.sort(key=lambda request: not (request.arrival.priority == Priority.INTERACTIVE and request.level >= 0))
        background_waits = False
        for place, request in enumerate(candidates):
            if self._is_held_back(request) or (request.is_background and background_waits):
                # One that runs by itself only holds nobody back until it is overdue.
                background_waits = background_waits or not self._is_oversized(request)
                continue
            if not self._fits(request):
                return None
            return self._cheaper(request, candidates[place + 1 :], group)
        return None

    def run(self, request: Request, adapter: PlacedAdapter | None) -> None:
        """The request, which was `next`, runs."""
        self._by_age = request.level == OVERDUE
        self._running[request.arrival.key] = request
        self.streams += request.arrival.streams
        if request.is_background:
            self._background_streams += request.arrival.streams
        if adapter is not None:
            self._ranks[adapter.rank] += 1

    def end(self, key: Key, adapter: PlacedAdapter | None) -> None:
        """The request, which ran, is over."""
        request = self._running.pop(key)
        self.streams -= request.arrival.streams
        if request.is_background:
            self._background_streams -= request.arrival.streams
        if adapter is not None:
            self._ranks[adapter.rank] -= 1
            self._ranks += Counter()

    def running(self, key: Key) -> Request | None:
        return self._running.get(key)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        if self._running:
            return
        if self._first is None or self._waiting.get(self._first.arrival.key) is not self._first:
            self._first = self._waiting.first()
        first = self._first
        self._turn, self._until = first.group if first is not None else None, self._waiting.next_number
        if first is not None and first.level != TURN and self._waiting.first_of_others(first.group) is not None:
            # Whoever is preferred by the order must not take the room that the turn needs.
            self._waiting.give_turn(first)
            self._changed(first)

    # --- the candidates -----------------------------------------------------------------------------------------------

    def _heads(self, group: Group) -> list[Order]:
        """The first of each lane that may run: no adapter, or a hot one."""
        others = self._waiting.first_of_others(group)
        heads = [self._head(group, None, priority, others) for priority in Priority]
        for adapter in self._places.hot.values():
            if not self._waiting.waits_for(adapter.digest):
                continue
            before = None
            if adapter.yields_to is not None and (taker := self._waiting.head(adapter.yields_to.digest)) is not None:
                before = taker.order
            for priority in Priority:
                order = self._head(group, adapter.digest, priority, others)
                if order is not None and (before is None or order < before):
                    heads.append(order)
        return [order for order in heads if order is not None]

    def _head(self, group: Group, adapter: str | None, priority: Priority, others: Order | None) -> Order | None:
        lane = self._waiting.lane(group, adapter, priority)
        if not lane:
            return None
        if others is None or lane[0] < others or lane[0][2] < self._until:
            return lane[0]
        return next((order for order in lane if order[2] < self._until), None)

    def _is_held_back(self, request: Request) -> bool:
        """Whether a background request must wait without keeping others waiting."""
        if not request.is_background or not self._running:
            return False
        if self._is_oversized(request):
            return request.level >= 0
        return self._background_streams + request.arrival.streams > self._limits.max_streams - self._limits.reserved_streams

    def _is_oversized(self, request: Request) -> bool:
        """Whether it takes more streams than it may, and so runs by itself only."""
        return request.arrival.streams > self._limits.max_streams - (self._limits.reserved_streams if request.is_background else 0)

    def _fits(self, request: Request) -> bool:
        if not self._running:
            return True
        return not self._is_oversized(request) and self.streams + request.arrival.streams <= self._limits.max_streams

    def _cheaper(self, first: Request, others: list[Request], group: Group) -> Request:
        """The first, or one as good whose adapter's rank the batch pays for already.

        A decode step costs as much as its largest rank (CaraServe: Li et al., 2024). As good is one of the same class and the same
        client, or owed no less by the fair clock, at most `window` places behind; and nobody is passed more than `window` times.
        """
        paid = max(self._ranks, default=None)
        if paid is None or first.level < 0 or self._rank(first) <= paid or first.passed >= self._limits.window:
            return first
        place = self._waiting.distance(group, first.order)
        for request in others:
            if (
                request.level == first.level
                and (request.arrival.client == first.arrival.client or request.order[1] <= first.order[1])
                and self._rank(request) <= paid
                and self._waiting.distance(group, request.order) - place <= self._limits.window
                and not self._is_held_back(request)
                and self._fits(request)
            ):
                first.passed += 1
                return request
        return first

    def _rank(self, request: Request) -> int:
        adapter = self._places.get(request.arrival.adapter) if request.arrival.adapter is not None else None
        return adapter.rank if adapter is not None else 0
