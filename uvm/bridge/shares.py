"""Who holds what, who has used what, and whose turn it is: principals and their connections. Owned by `dispatcher`; no clock, no sockets.

Turns are fair queueing by measured cost, on two levels. Each principal, and each connection within its principal, has a clock of its
own, `used`, that runs by what its messages cost; the next turn is that of the smallest clock. Who had nothing waiting joins at the
clock of the latest turn: nobody saves turns up, and nobody pays later for what it used while nobody else wanted it.
"""

import heapq
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, TypeVar

from msgspec import Struct

from deploy.settings import QuotaSettings
from uvm.bridge.events import LaneKey
from uvm.bridge.lanes import Demand, Kind, Lane, QueuedRequest
from uvm.bridge.pace import ACTIVE_S, FEW, LEAST_S, PATIENT_S, PER_BYTE_S, QUICK_S, TRUSTED_AFTER, Costs, Pace
from uvm.bridge.quotas import Rates
from uvm.rights import Spent

REMEMBERED = 4096
"""Connections of one principal whose costs are remembered."""


class Source(Struct, eq=False):
    """One connection of a principal.

    `fresh`: its messages that no UVM ever had, the newest last; `assigned`: the number of the others. `ready`: its lanes that can go on.
    `turn`: its place in the queue, 0: none.
    """

    principal: "PrincipalShare"
    costs: Costs
    ready: OrderedDict[LaneKey, Lane]
    fresh: dict[int, QueuedRequest]
    held: int = 0
    assigned: int = 0
    bytes: int = 0
    used: float = 0.0
    turn: int = 0

    @property
    def proven(self) -> bool:
        """Is it known what its messages cost?"""
        return self.costs.seen > 0

    def expected(self, size: int) -> float:
        """What a message of so many bytes is expected to cost; processor seconds."""
        return max(LEAST_S, self.costs.usual) + size * PER_BYTE_S

    def demand(self, size: int, now: float) -> Demand:
        """What a message of so many bytes is expected to be."""
        return Demand(self.expected(size), self.kind(now), self.proven)

    def kind(self, now: float) -> Kind:
        """Of what kind its next message is."""
        return Kind.HEAVY if self.heavy(now) else Kind.BULK if self.bulk(now) else Kind.LONE

    def bulk(self, now: float) -> bool:
        """Has it, or its principal beside others, many under way at once?"""
        owner = self.principal
        return self.held > FEW or (owner.busy > FEW and now - owner.pace.rivals_at <= ACTIVE_S)

    def heavy(self, now: float) -> bool:
        """Are its messages dear, or could they be? For a new connection its principal's other new ones speak."""
        costs = self.costs
        light_s = self.principal.pace.light_s(now)
        if costs.seen:
            return not costs.within(light_s, now)
        newcomers = self.principal.newcomers
        if not newcomers.seen:
            # The very first of a principal goes at once, and alone.
            return self.principal.assigned > 0
        return newcomers.seen < TRUSTED_AFTER or not newcomers.within(light_s, now)


class PrincipalShare(Struct, eq=False):
    """Somebody with connections. `newcomers`: what the first messages of its connections cost; `clock`: the clock of its latest turn.
    `busy`: its connections that have messages here.

    `turns`: its connections that wait, by kind. An entry whose number is not its connection's `turn` is void.
    """

    name: str
    quota: QuotaSettings
    rates: Rates
    pace: Pace
    newcomers: Costs
    sources: OrderedDict[bytes, Source]
    turns: dict[Kind, list[tuple[float, int, Source]]]
    waiting: int = 0
    held: int = 0
    busy: int = 0
    assigned: int = 0
    bytes: int = 0
    used: float = 0.0
    clock: float = 0.0


_Holder = TypeVar("_Holder", PrincipalShare, Source)


class Shares:
    """All principals and their connections, which together may hold so many `messages` and `bytes`.

    `held`, `assigned` and `bytes` count messages, `waiting` the connections that wait for a turn.
    """

    def __init__(self, messages: int, bytes: int) -> None:
        self._messages, self._bytes = messages, bytes
        self._clock = 0.0
        self._pace = Pace()
        self._serial = 0
        self._active: OrderedDict[int, tuple[float, Source]] = OrderedDict()
        self.principals: dict[str, PrincipalShare] = {}
        self.held = self.assigned = self.bytes = self.waiting = 0

    def statistics(self, now: float) -> dict[str, Any]:
        """As GetStatus shows it: what each principal holds and has used."""
        return {
            name: {
                "messages": principal.held,
                "bytes": principal.bytes,
                "connections": len(principal.sources),
                "used": principal.rates.statistics(now),
            }
            for name, principal in self.principals.items()
        }

    # --- holding -------------------------------------------------------------------------------------------------------

    def source(self, name: str, connection: bytes, quota: QuotaSettings, now: float) -> Source:
        """The connection that sends something just now."""
        owner = self.principals.get(name)
        if owner is None:
            owner = PrincipalShare(name, quota, Rates(quota, now), self._pace, Costs(), OrderedDict(), {kind: [] for kind in Kind})
            self.principals[name] = owner
        elif owner.quota is not quota:
            owner.quota = quota
            owner.rates.change(quota, now)
        source = owner.sources.get(connection)
        if source is None:
            source = owner.sources[connection] = Source(owner, Costs(), OrderedDict(), {})
            self._forget_oldest_source(owner)
        self._active[id(source)] = (now, source)
        self._active.move_to_end(id(source))
        self._pace.sends(name, now)
        return source

    def contended(self, now: float) -> bool:
        """Have several connections sent something lately?"""
        while self._active:
            key, (heard, source) = next(iter(self._active.items()))
            if now - heard <= ACTIVE_S:
                break
            if source.held:
                self._active[key] = (now, source)
                self._active.move_to_end(key)
            else:
                del self._active[key]
        return len(self._active) > 1

    def apart(self, now: float) -> bool:
        """Has somebody who is no crowd asked something quick lately, and somebody else sent something too? Then bulk leaves a UVM free."""
        return now - self._pace.lone_at <= ACTIVE_S and self.contended(now)

    def hold(self, message: QueuedRequest) -> None:
        """A message is kept until its answer."""
        self._count(message, 1)
        message.source.fresh[message.number] = message

    def let_go(self, message: QueuedRequest) -> None:
        """A message has its answer."""
        self._count(message, -1)
        if message.source.fresh.pop(message.number, None) is None:
            self._count_assigned(message.source, -1)

    def give(self, message: QueuedRequest) -> None:
        """A UVM gets the message: from now on it cannot be turned away any more."""
        if message.source.fresh.pop(message.number, None) is not None:
            self._count_assigned(message.source, 1)

    def crowded(self, source: Source) -> bool:
        """Would more of what cannot be turned away leave too little room for others? Parked messages stay for minutes."""
        free = self._messages - self.assigned
        return source.assigned >= free or source.principal.assigned >= 2 * free

    def spent(self, message: QueuedRequest, spent: Spent, now: float) -> None:
        """A message has ended: learn what it cost, and count what was counted too little or too much for it."""
        source = message.source
        carried = len(message.arrival.payload) * PER_BYTE_S
        cost = max(LEAST_S, spent.cpu_s) + carried
        if not source.proven:
            source.principal.newcomers.learn(spent.cpu_s, now, carried)
        source.costs.learn(spent.cpu_s, now, carried)
        if source.held == 1 and source.costs.within(QUICK_S, now):
            self._pace.quick_at = now
            if not source.bulk(now):
                self._pace.lone_at = now
        source.principal.rates.spend(spent, now)
        self.charge(source, cost - message.demand.cost, now)

    def used(self, principal: str, spent: Spent, now: float) -> None:
        """So much was used for a principal, and by none of its messages: its next turns come later."""
        owner = self.principals.get(principal)
        if owner is not None:
            owner.rates.spend(spent, now)
            owner.used += spent.cpu_s

    def fits(self, size: int) -> bool:
        """Is there room for a message of so many bytes?"""
        return self.held < self._messages and self.bytes + size <= self._bytes

    def most_over(self, arriving: Source, size: int) -> Source:
        """Who would hold most, were `arriving` let in with so many bytes: first of the principals, then of that one's connections."""

        def share(holder: _Holder, its: bool) -> tuple[float, bool]:
            return max((holder.held + its) / self._messages, (holder.bytes + its * size) / self._bytes), its

        owner = max(self.principals.values(), key=lambda principal: share(principal, principal is arriving.principal))
        return max(owner.sources.values(), key=lambda source: share(source, source is arriving))

    def _count_assigned(self, source: Source, sign: int) -> None:
        self.assigned += sign
        source.assigned += sign
        source.principal.assigned += sign

    def _count(self, message: QueuedRequest, sign: int) -> None:
        size = len(message.arrival.payload) * sign
        source = message.source
        owner = source.principal
        self.held += sign
        self.bytes += size
        owner.busy += (source.held + sign > 0) - (source.held > 0)
        source.held += sign
        source.bytes += size
        owner.held += sign
        owner.bytes += size

    def _forget_oldest_source(self, owner: PrincipalShare) -> None:
        """Past the bound, the oldest connection that has no messages here is forgotten."""
        if len(owner.sources) <= REMEMBERED:
            return
        for connection, source in list(owner.sources.items())[:64]:
            if not source.held:
                self._active.pop(id(source), None)
                del owner.sources[connection]
                return
            owner.sources.move_to_end(connection)

    # --- turns ---------------------------------------------------------------------------------------------------------

    def file(self, lane: Lane, source: Source | None, now: float) -> None:
        """The lane's next message is one of `source`, and can go on; None: it has none that can."""
        before = lane.filed
        if before is not None and before is not source:
            before.ready.pop(lane.key, None)
            if not before.ready:
                self._leave_queue(before)
        lane.filed = source
        if source is not None:
            source.ready.setdefault(lane.key, lane)
            if not source.turn:
                self.join(source, now)

    def join(self, source: Source, now: float) -> None:
        """The connection waits for a turn, if it has something to send on."""
        if source.turn or not source.ready:
            return
        self._set_clocks(source, now)
        source.principal.waiting += 1
        self.waiting += 1
        self._queue(source, now)

    def at_once(self, source: Source, cost: float, now: float) -> None:
        """The connection's message goes without a turn, since nobody waits for one: it costs as much as after a turn."""
        self._set_clocks(source, now)
        self.began(source, cost, now)

    def next(self, kinds: Collection[Kind], now: float) -> Source | None:
        """Take the connection whose turn it is out of the queue. `kinds`: those that some UVM could take."""
        best: tuple[float, str, float, int, Source] | None = None
        for owner in self.principals.values():
            if not owner.waiting or (best is not None and best[:2] < (owner.used, owner.name)):
                continue
            for kind in kinds:
                top = self._top(owner.turns[kind], kind, now)
                if top is not None and (best is None or (owner.used, owner.name, *top[:2]) < best[:4]):
                    best = (owner.used, owner.name, *top)
        if best is None:
            return None
        self._leave_queue(best[4])
        return best[4]

    def began(self, source: Source, cost: float, now: float) -> None:
        """The connection had its turn, with a message that is expected to cost so much, and waits for the next one."""
        owner = source.principal
        if self._clock < owner.used:
            self._clock = owner.used
        if owner.clock < source.used:
            owner.clock = source.used
        self.charge(source, cost, now)
        self.join(source, now)

    def charge(self, source: Source, cost: float, now: float) -> None:
        """Its messages have cost so much more, or less, than was counted."""
        source.principal.used += cost
        source.used += cost
        if source.turn:
            self._queue(source, now)

    def _set_clocks(self, source: Source, now: float) -> None:
        """Whoever had nothing waiting comes at the clock of the latest turn."""
        owner = source.principal
        if not owner.waiting and owner.used < self._clock:
            owner.used = self._clock
        # Who waits for each answer, and for light ones, goes before those that have more here than can run.
        patient = source.held == 1 and not source.heavy(now) and source.expected(source.bytes) <= PATIENT_S
        if patient or source.used < owner.clock:
            source.used = owner.clock

    def _leave_queue(self, source: Source) -> None:
        if source.turn:
            source.turn = 0
            source.principal.waiting -= 1
            self.waiting -= 1

    def _queue(self, source: Source, now: float) -> None:
        self._serial += 1
        source.turn = self._serial
        owner = source.principal
        turns = owner.turns[source.kind(now)]
        heapq.heappush(turns, (source.used, source.turn, source))
        if len(turns) > 64 + 4 * owner.waiting:
            turns[:] = [entry for entry in turns if entry[2].turn == entry[1]]
            heapq.heapify(turns)

    def _top(self, turns: list[tuple[float, int, Source]], kind: Kind, now: float) -> tuple[float, int, Source] | None:
        while turns:
            _, turn, source = turns[0]
            if source.turn == turn and source.kind(now) is kind:
                return turns[0]
            heapq.heappop(turns)
            if source.turn == turn:
                self._queue(source, now)
        return None
