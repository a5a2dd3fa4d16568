"""Which UVM gets which message now, and how much of what. Called by `uvm.bridge.dispatcher`; no clock, no sockets.

A UVM runs its messages one after the other and cannot be interrupted, so whatever it has is in the way of what comes after:

* What a UVM has at a time is bounded by its expected cost, and not by number alone.
* A heavy message, one of a connection whose messages were dear lately, or that could be, as nobody knows: one at a time on a UVM, and
  only where another UVM is free of such. So where there are several UVMs, one of them has light messages only.
* While somebody asks one quick thing after the other, what is one of many that its sender has under way (`bulk`) leaves one UVM free.
* Nothing new goes to a UVM that is stuck in something long, and nothing light behind what is heavy, where there is another UVM.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from uvm.bridge.lanes import Backlog, Demand, Kind, Lane, QueuedRequest, Uvm
from uvm.bridge.shares import Shares, Source

WINDOW_S = 0.006
"""Expected processor seconds of what a UVM has at a time, while several connections are active."""

ALONE_S = 0.05
"""The same while a single connection is active: somebody else may come."""

UNPROVEN = 4
"""Most messages on one UVM of connections of which nothing is known yet, but that others like them were light."""

LANES_LOOKED_AT = 8
"""So many lanes of a connection are looked at in one turn for a message that can go on."""


class Placement:
    """What the UVMs can take at the moment `now`; asked again after each message that was given."""

    def __init__(self, uvms: Iterable[Uvm], window: int, shares: Shares, now: float) -> None:
        self._uvms = [uvm for uvm in uvms if not uvm.ending]
        self._usable = [uvm for uvm in self._uvms if not uvm.examiner and not uvm.stuck(now)]
        self._window = window
        self._shares = shares
        self._contended = shares.contended(now)
        # Kept for who asks little, if somebody does, and there is one to spare.
        light = [uvm for uvm in self._usable if not uvm.heavy] if shares.apart(now) else []
        self._free_of_bulk = max(light, key=lambda uvm: uvm.name) if len(light) > 1 else None

    def open(self) -> set[Kind]:
        """The kinds of messages that some UVM could take."""
        room = [uvm for uvm in self._usable if uvm.running < self._window]
        kinds = {Kind.LONE} if room else set()
        if any(uvm is not self._free_of_bulk for uvm in room):
            kinds.add(Kind.BULK)
        if any(not uvm.heavy for uvm in room) and self._leaves_light_uvm():
            kinds.add(Kind.HEAVY)
        return kinds

    def full(self, demand: Demand) -> bool:
        """Can no UVM take such a message, whichever it may go to? Then nobody of its kind goes before it."""
        return not any(self._takes(uvm, demand) for uvm in self._usable)

    def best(self, uvms: Iterable[Uvm], source: Source, demand: Demand) -> Uvm | None:
        """The best of these UVMs for a message of the connection; None: it waits."""
        if self._shares.crowded(source):
            return None
        able = [uvm for uvm in uvms if uvm in self._usable and self._takes(uvm, demand)]
        if demand.kind is Kind.HEAVY:
            # Always the same ones, so that the others stay as they are.
            return min(able, key=lambda uvm: (uvm.running, uvm.name), default=None)
        kept = self._free_of_bulk
        return min(able, key=lambda uvm: (uvm.heavy, uvm is not kept, uvm.running, len(uvm.deliveries), uvm.name), default=None)

    def _takes(self, uvm: Uvm, demand: Demand) -> bool:
        if uvm.running >= self._window or (uvm.unproven >= UNPROVEN and not demand.proven):
            return False
        if demand.kind is Kind.HEAVY:
            return not uvm.heavy and self._leaves_light_uvm()
        if uvm.heavy and len(self._uvms) > 1:
            return False
        if demand.kind is Kind.BULK and uvm is self._free_of_bulk:
            return False
        return not uvm.running or uvm.load + demand.cost <= (WINDOW_S if self._contended else ALONE_S)

    def _leaves_light_uvm(self) -> bool:
        """If one without anything heavy gets something heavy, is there another one without, or none other at all?"""
        return len(self._uvms) == 1 or sum([not uvm.heavy for uvm in self._uvms]) > 1


class Assigner:
    """Gives messages of the backlog to UVMs: suspects, one by one, and what waits for a turn. `window` bounds what runs on one UVM.

    Each step answers with the messages that it gave; `uvm` of each says to which. `examining`: some UVM is kept for suspects.
    """

    def __init__(self, backlog: Backlog, uvms: Mapping[str, Uvm], window: int, counters: Counter[str]) -> None:
        self._backlog = backlog
        self._uvms = uvms
        self._window = window
        self._counters = counters
        self.examining = False

    def examine(self, now: float) -> Iterable[QueuedRequest]:
        """Give suspects to UVMs on which nothing runs, one to each."""
        busy = {m.uvm for u in self._uvms.values() for m in u.deliveries.values() if m.deaths and not m.parked}
        examiners = set(busy)
        for lane in list(self._backlog.suspect.values()):
            uvms = self._eligible(lane)
            if not uvms:
                continue
            uvm = min(uvms, key=lambda u: (u.name not in examiners, not u.examiner, u.running, u.name))
            examiners.add(uvm.name)
            if not uvm.running:
                message = lane.queue[0]
                yield self._give(lane, uvm, message.source.demand(len(message.arrival.payload), now), now)
        for uvm in self._uvms.values():
            uvm.examiner = uvm.name in examiners
        self.examining = bool(examiners)

    def begin(self, message: QueuedRequest, now: float) -> list[QueuedRequest]:
        """Where nobody waits for a turn, a new message needs none: it goes at once, if a UVM has room. Otherwise it waits for one."""
        lane = message.lane
        if len(lane.queue) > 1:
            return []
        if not (self._backlog.shares.waiting or self._backlog.suspect or self.examining):
            source = message.source
            demand = source.demand(len(message.arrival.payload), now)
            placement = Placement(self._uvms.values(), self._window, self._backlog.shares, now)
            uvm = placement.best(self._eligible(lane), source, demand)
            if uvm is not None:
                self._backlog.shares.at_once(source, demand.cost, now)
                return [self._give(lane, uvm, demand, now)]
        self._backlog.file(lane)
        return []

    def assign(self, now: float) -> Iterable[QueuedRequest]:
        """Give what waits for a turn, as long as some UVM can take it."""
        skipped: list[Source] = []
        placement = Placement(self._uvms.values(), self._window, self._backlog.shares, now)
        full: set[Kind] = set()
        kinds = placement.open()
        while kinds and self._backlog.shares.waiting and (source := self._backlog.shares.next(kinds, now)) is not None:
            chosen = self._place(source, placement)
            if chosen is None:
                skipped.append(source)
                if placement.full(least := source.demand(0, now)):
                    full.add(least.kind)
                    kinds = kinds - full
                continue
            lane, uvm, demand = chosen
            yield self._give(lane, uvm, demand, now)
            self._backlog.shares.began(source, demand.cost, now)
            if self._backlog.shares.waiting:
                kinds = placement.open() - full
        for source in skipped:
            self._backlog.shares.join(source, now)

    def _place(self, source: Source, placement: Placement) -> tuple[Lane, Uvm, Demand] | None:
        """A lane of the connection whose next message can go now, the UVM for it, and what it is expected to be."""
        for lane in list(islice(source.ready.values(), LANES_LOOKED_AT)):
            demand = source.demand(len(lane.queue[0].arrival.payload), self._backlog.now)
            uvm = placement.best(self._eligible(lane), source, demand)
            # A lane that had its turn comes after the others.
            source.ready.move_to_end(lane.key)
            if uvm is not None:
                return lane, uvm, demand
        return None

    def _give(self, lane: Lane, uvm: Uvm, demand: Demand, now: float) -> QueuedRequest:
        message = lane.queue.popleft()
        self._backlog.shares.give(message)
        message.uvm = lane.uvm = uvm.name
        # The very first of a principal goes as if it were light, and counts as heavy from then on.
        message.demand = demand if demand.proven else message.source.demand(len(message.arrival.payload), now)
        lane.outstanding += 1
        if not uvm.running:
            uvm.moved = now
        uvm.deliveries[message.number] = message
        uvm.carry(message, 1)
        self._counters["assigned"] += 1
        self._backlog.file(lane)
        return message

    def _eligible(self, lane: Lane) -> list[Uvm]:
        """UVMs that the lane's first message may go to, however busy they are."""
        via = lane.queue[0].arrival.via
        if lane.outstanding:
            named = lane.uvm if via in ("", lane.uvm) else ""
        elif via:
            named = via
        else:
            return [uvm for uvm in self._uvms.values() if not uvm.ending]
        return [uvm for uvm in (self._uvms.get(named),) if uvm and not uvm.ending]
