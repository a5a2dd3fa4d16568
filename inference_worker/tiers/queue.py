"""The requests that wait, and their order. Owned by the scheduler's core, called in its thread.

The order of a request is a triple that only changes when it is lifted, so that every line below is a sorted list:

    (class, tag, number)

`class` begins as the request's priority and falls by one for each `ageing_s` that it waits, down to `OVERDUE`, where the time
at which that happened decides alone: past it nothing but age counts, and so nothing starves. Within the other classes `tag`
is the start tag of start-time fair queueing (Goyal, Vin and Cheng, 1996): a client's next request gets its previous one's
tag plus its streams, but never less than that of the request admitted last. A client with a long backlog so queues behind
one who asks now and then, and one who was idle has saved nothing up. `number` is that of arrival.

A lane holds the requests of one group, one adapter and one priority; a group is a model, or one request that runs alone.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TypeVar

from inference_worker.tiers.events import Key, Priority, RequestArrived, Tier

Group = tuple[str, Key | None]
"""What may run together: all of one model, or the one request of that key."""

Order = tuple[int, float, int]
"""Class, tag, number of arrival: the smaller goes first."""

OVERDUE = -1
"""The class of those that have waited `ageing_s` past every lift."""

TURN = -2
"""The class of the request that a turn was given to."""

_FORGET_CLIENTS = 256


@dataclass(eq=False, slots=True)
class Request:
    """One request that waits or runs. `tier`: where its adapter was when it arrived. `passed`: how often a later one was
    preferred for its adapter's rank."""

    arrival: RequestArrived
    number: int
    tier: Tier | None
    order: Order = (0, 0.0, 0)
    passed: int = 0

    @property
    def group(self) -> Group:
        return (self.arrival.model, self.arrival.key if self.arrival.alone else None)

    @property
    def level(self) -> int:
        return self.order[0]

    @property
    def is_background(self) -> bool:
        return self.arrival.priority == Priority.BACKGROUND


Lane = list[Order]
"""Orders, sorted."""

K = TypeVar("K")


class Waiting:
    """Everybody who waits. All that it does takes O(log n) comparisons."""

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._number = 0
        self._by_key: dict[Key, Request] = {}
        self._by_number: dict[int, Request] = {}
        self._groups: dict[Group, Lane] = {}
        self._lanes: dict[str | None, dict[tuple[Group, Priority], Lane]] = {}
        self._lifts: list[tuple[float, int]] = []
        self._virtual = [0.0] * len(Priority)
        self._finish: list[dict[object, float]] = [{} for _ in Priority]

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    @property
    def next_number(self) -> int:
        """What the next request to arrive will be numbered."""
        return self._number

    # --- coming and going ---------------------------------------------------------------------------------------------

    def add(self, arrival: RequestArrived, tier: Tier | None) -> Request:
        """A request joins, in the class of its priority."""
        request = Request(arrival, self._number, tier)
        self._number += 1
        request.order = (arrival.priority, self._tag(request, arrival.priority), request.number)
        self._by_key[arrival.key] = self._by_number[request.number] = request
        heappush(self._lifts, (arrival.at + self._ageing_s, request.number))
        self._insert(request)
        return request

    def remove(self, request: Request) -> None:
        """A request leaves, for whatever reason; what its client was charged for it is given back if nothing came after it."""
        level, tag, _ = request.order
        if level >= 0 and self._finish[level].get(request.arrival.client) == tag + request.arrival.streams:
            self._finish[level][request.arrival.client] = tag
        del self._by_key[request.arrival.key]
        del self._by_number[request.number]
        self._remove(request)

    def admitted(self, request: Request) -> None:
        """A request leaves to run: the fair clock of its class goes on, and its client is charged."""
        self.remove(request)
        level, tag, _ = request.order
        if level >= 0:
            finish = self._finish[level]
            finish[request.arrival.client] = max(finish.get(request.arrival.client, tag), tag + request.arrival.streams)
            self._virtual[level] = max(self._virtual[level], tag)

    def get(self, key: Key) -> Request | None:
        return self._by_key.get(key)

    def lift(self, at: float) -> list[Request]:
        """Move up who has waited long enough by now, and return them."""
        lifted = []
        while self._lifts and self._lifts[0][0] <= at:
            due, number = heappop(self._lifts)
            request = self._by_number.get(number)
            if request is None or request.level < 0:
                continue
            level = request.level - 1
            if level == OVERDUE:
                self._reorder(request, (OVERDUE, due, number))
            else:
                self._reorder(request, (level, self._tag(request, level), number))
                heappush(self._lifts, (due + self._ageing_s, number))
            lifted.append(request)
        return lifted

    def give_turn(self, request: Request) -> None:
        """Put the request before everybody else."""
        self._reorder(request, (TURN, 0.0, request.number))

    # --- asking -------------------------------------------------------------------------------------------------------

    def at(self, order: Order) -> Request:
        """The request that has this order."""
        return self._by_number[order[2]]

    def first(self) -> Request | None:
        """Who is first of all."""
        return self.at(min(lane[0] for lane in self._groups.values())) if self._groups else None

    def first_of_others(self, group: Group) -> Order | None:
        """The order of who is first in all groups but this one."""
        return min((lane[0] for waiting, lane in self._groups.items() if waiting != group), default=None)

    def has_group(self, group: Group) -> bool:
        """Whether somebody of the group waits."""
        return group in self._groups

    def lane(self, group: Group, adapter: str | None, priority: Priority) -> Lane | None:
        """Those of one group, adapter and priority, in order; None when there are none. Not to be changed."""
        lanes = self._lanes.get(adapter)
        return lanes.get((group, priority)) if lanes else None

    def distance(self, group: Group, order: Order) -> int:
        """How many of the group are before `order`."""
        return bisect_left(self._groups[group], order)

    def head(self, adapter: str) -> Request | None:
        """Who is first of those that wait for the adapter."""
        lanes = self._lanes.get(adapter)
        return self.at(min(lane[0] for lane in lanes.values())) if lanes else None

    def waits_for(self, adapter: str) -> bool:
        return adapter in self._lanes

    def of_adapter(self, adapter: str) -> list[Request]:
        """All that wait for the adapter, in order."""
        return [self.at(order) for order in sorted(order for lane in self._lanes.get(adapter, {}).values() for order in lane)]

    def of_model(self, model: str) -> list[Request]:
        """All that wait for the model, in order."""
        return [self.at(order) for order in sorted(order for group, lane in self._groups.items() if group[0] == model for order in lane)]

    def adapters(self) -> Iterator[str]:
        """The adapters that somebody waits for."""
        return (adapter for adapter in self._lanes if adapter is not None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _tag(self, request: Request, level: int) -> float:
        finish, virtual = self._finish[level], self._virtual[level]
        tag = max(virtual, finish.get(request.arrival.client, virtual))
        finish[request.arrival.client] = tag + request.arrival.streams
        if len(finish) > _FORGET_CLIENTS + 2 * len(self._by_key):
            self._finish[level] = {client: end for client, end in finish.items() if end > virtual}
        return tag

    def _insert(self, request: Request) -> None:
        insort(self._groups.setdefault(request.group, []), request.order)
        lanes = self._lanes.setdefault(request.arrival.adapter, {})
        insort(lanes.setdefault((request.group, request.arrival.priority), []), request.order)

    def _remove(self, request: Request) -> None:
        group, adapter = request.group, request.arrival.adapter
        _discard(self._groups, group, request.order)
        lanes = self._lanes[adapter]
        _discard(lanes, (group, request.arrival.priority), request.order)
        if not lanes:
            del self._lanes[adapter]

    def _reorder(self, request: Request, order: Order) -> None:
        self._remove(request)
        request.order = order
        self._insert(request)


def _discard(lanes: dict[K, Lane], key: K, order: Order) -> None:
    lane = lanes[key]
    del lane[bisect_left(lane, order)]
    if not lane:
        del lanes[key]
