"""Which UVM gets which message, and what happens to it when that UVM dies: decisions only, no clock, no sockets.

Called by the bridge's one thread: `Dispatch.handle(event, now)` takes an event and returns instructions, in order; `now`
is monotonic seconds. It owns every message from its arrival to its answer.

* Messages of one session form a lane: they go in the order of arrival, and to one UVM as long as any of them is there.
  A message without a session is a lane of its own. Principals, their connections, and a connection's lanes take turns (`shares`).
* Which UVM may get what, and how much of it, is `placing`'s: a UVM runs one message after the other and cannot be interrupted, so
  what is dear never gets all of them. Parked messages (waiting for a method or a thought) do not count.
* A UVM that takes long over something is asked for what it has not begun. One that is silent is killed, so that it cannot come back.
* Where the queue is full, whoever holds most of it is answered Busy: principals first, then the connections of that one.
* When a UVM dies, what was running on it is suspect. Suspects are sent again one by one: one UVM becomes the examiner,
  is given nothing else, and gets the next suspect when nothing runs on it. A message that two UVMs died on is Poisoned.
* A parked message runs no code, so its UVM's death is not held against it. Its Resumed may be lost in the crash that it
  causes, so it is trusted `PARKED_DEATHS` times and counted like a running one from then on.
* A message without a session is run at most once: if it was running on a UVM that died, it ends in OutcomeUnknown.
* A deadline passes: what no UVM has is answered at once; otherwise the UVM is told, and answers itself, truthfully; after
  `GRACE_S` the answer is given for it, and says that the outcome is unknown.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from uvm.bridge import quotas, refusals
from uvm.bridge.events import (
    Assign,
    DeliveriesParked,
    DeliveriesReturned,
    DispatchEvent,
    DropDelivery,
    Finished,
    ForwardAnswer,
    FromUvm,
    Instruction,
    KillUvm,
    MessageArrived,
    MessageCancelled,
    PrincipalsChanged,
    RecallDeliveries,
    RefuseMessage,
    Tick,
    Undelivered,
    UsageReported,
    UvmDied,
    UvmEnding,
    UvmLeft,
    UvmLost,
    UvmReady,
)
from uvm.bridge.lanes import Backlog, Poisoned, QueuedRequest, Timers, Uvm, Waiter
from uvm.bridge.placing import Assigner
from uvm.bridge.quotas import RETRY_MS
from uvm.bridge.shares import Shares, Source
from uvm.protocol import Busy, Error, Reply
from uvm.rights import Spent

DEATHS = 2
"""A message that so many UVMs died on is poisoned."""

PARKED_DEATHS = 8
"""So many deaths of its UVM while it was parked are not held against a message."""

GRACE_S = 1.0
"""Seconds a UVM has to answer a message whose deadline passed."""

VIA_S = 5.0
"""Seconds a message waits for the UVM that it names, when that one is away."""

STALL_S = 1.0
"""A bridge that did nothing for longer has heard nobody: that time is not counted as the UVMs' silence."""

WAITERS = 16
"""Most arrivals of one message that are answered; the oldest give way."""


class Dispatch:
    """The bridge's memory and its rules. One thread uses it.

    `queue` bounds the messages held, `queue_bytes` their size, `window` what runs on one UVM; a UVM that is silent for
    `dead_after_s` counts as dead. `first_delivery` is above every delivery number that an earlier bridge may have given out.
    """

    def __init__(self, *, queue: int, queue_bytes: int, window: int, dead_after_s: float, first_delivery: int = 1) -> None:
        self._queue, self._dead_after = queue, dead_after_s
        self._shares = Shares(queue, queue_bytes)
        self._backlog = Backlog(self._shares, first_delivery)
        self._ticked = 0.0
        self._uvms: dict[str, Uvm] = {}
        self._timers = Timers()
        self._poisoned = Poisoned()
        self.counters: Counter[str] = Counter()
        self._assigner = Assigner(self._backlog, self._uvms, window, self.counters)

    # --- what the bridge asks ------------------------------------------------------------------------------------------

    def handle(self, event: DispatchEvent, now: float) -> list[Instruction]:
        """What to do about `event`. Events about UVMs that are not on the list are ignored (see `knows`)."""
        out: list[Instruction] = []
        self._backlog.now = now
        match event:
            case MessageArrived():
                lane = self._backlog.lanes.get((event.principal, event.session, 0)) if event.session else None
                behind = lane is not None and len(lane.queue) > 0
                out.extend(self._arrive(event, now))
                if behind:
                    # It waits behind others of its session: nothing can go that could not before.
                    return out
            case MessageCancelled():
                out.extend(self._cancel(event))
            case PrincipalsChanged(names):
                out.extend(self._refuse_departed(names))
            case UvmReady(name, incarnation):
                out.extend(self._welcome(name, incarnation, now))
            case Tick():
                out.extend(self._tick(now))
            case _:
                uvm = self._uvms.get(event.uvm)
                if uvm is None:
                    self.counters["stale"] += 1
                    return out
                uvm.heard = now
                out.extend(self._from_uvm(uvm, event, now))
        if self._backlog.suspect or self._assigner.examining:
            out.extend(_assigned(message, now) for message in self._assigner.examine(now))
        if self._shares.waiting:
            out.extend(_assigned(message, now) for message in self._assigner.assign(now))
        return out

    def knows(self, uvm: str) -> bool:
        """Is this UVM on the list?"""
        return uvm in self._uvms

    def apart(self, now: float) -> bool:
        """Does somebody who is no crowd ask one quick thing after the other? Then everybody else's turns are brief."""
        return self._shares.apart(now)

    def held(self) -> int:
        """Messages without an answer."""
        return len(self._backlog.messages)

    def assigned(self) -> int:
        """Messages that a UVM has and somebody waits for."""
        return sum(1 for message in self._backlog.messages.values() if message.uvm and message.waiters)

    def turn_away(self) -> list[Instruction]:
        """The bridge ends: answer Busy to whatever no UVM has, or has had."""
        out: list[Instruction] = []
        for message in [m for m in self._backlog.messages.values() if not m.uvm and not m.deaths]:
            out.extend(RefuseMessage(w.address, Busy(w.id, RETRY_MS)) for w in message.waiters)
            self._backlog.forget(message)
        return out

    def statistics(self, now: float) -> dict[str, Any]:
        """Queue, UVMs and counters, as GetStatus shows them; times in seconds."""
        held = len(self._backlog.messages)
        assigned = sum(len(uvm.deliveries) for uvm in self._uvms.values())
        uvms = [uvm.statistics(now) for uvm in sorted(self._uvms.values(), key=lambda uvm: uvm.name)]
        queue = {"held": held, "waiting": held - assigned, "suspects": sum(1 for m in self._backlog.messages.values() if m.deaths)}
        queue |= {"bytes": self._shares.bytes, "limit": self._queue}
        return {"queue": queue, "uvms": uvms, "principals": self._shares.statistics(now), "counters": dict(self.counters)}

    # --- arrival -------------------------------------------------------------------------------------------------------

    def _arrive(self, event: MessageArrived, now: float) -> Iterable[Instruction]:
        self.counters["arrived"] += 1
        key = event.key
        message = self._backlog.keys.get(key) if key else None
        poisoned = self._poisoned.recall(key) if key else None
        digest = message.arrival.digest if message else poisoned[0] if poisoned else event.digest
        if digest != event.digest:
            return [RefuseMessage(event.address, refusals.mismatch(event.id))]
        if poisoned:
            return [RefuseMessage(event.address, refusals.poisoned(event.id, poisoned[1]))]
        waiter = Waiter(event.address, event.id, now, now + event.deadline_s)
        out: list[Instruction] = []
        if message is not None:
            self.counters["attached"] += 1
            message.waiters = [w for w in message.waiters if (w.address, w.id) != (waiter.address, waiter.id)][1 - WAITERS :]
        else:
            source = self._shares.source(event.principal, event.connection, event.quota, now)
            owner = source.principal
            refusal = quotas.refusal(owner.held, owner.bytes, owner.rates, owner.quota, event.id, len(event.payload), now)
            if refusal is not None:
                self.counters["over quota"] += 1
                return [RefuseMessage(event.address, refusal)]
            out, room = self._make_room(source, len(event.payload))
            if not room:
                self.counters["busy"] += 1
                return [*out, RefuseMessage(event.address, Busy(event.id, RETRY_MS))]
            message = self._backlog.accept(event, source)
            if event.via and event.via not in self._uvms:
                self._timers.set(now + VIA_S, self._absent, message, None)
            out.extend(_assigned(placed, now) for placed in self._assigner.begin(message, now))
        message.waiters.append(waiter)
        self._timers.set(waiter.deadline, self._deadline, message, waiter)
        return out

    def _make_room(self, arriving: Source, size: int) -> tuple[list[Instruction], bool]:
        """Make room for a message of `arriving` at the cost of those that hold more than it; whether there is room then."""
        out: list[Instruction] = []
        while not self._shares.fits(size):
            most = self._shares.most_over(arriving, size)
            if most is arriving or not most.fresh:
                return out, False
            self.counters["pushed out"] += 1
            out += self._give_up(most.fresh[next(reversed(most.fresh))], lambda id: Busy(id, RETRY_MS))
        return out, True

    def _cancel(self, event: MessageCancelled) -> list[Instruction]:
        """Drop what no UVM has; have the UVM end what is parked there; what runs goes on."""
        message = self._backlog.keys.get(event.key)
        state = "unknown" if message is None else message.state
        out: list[Instruction] = []
        if message is not None and state == "waiting":
            self.counters["cancelled"] += 1
            state = "dropped"
            out = self._give_up(message, refusals.cancelled)
        elif message is not None and state == "parked":
            state = "ending"
            message.dropped = True
            out = [DropDelivery(message.uvm, message.number)]
        return [*out, RefuseMessage(event.address, Reply(event.id, state))]

    def _refuse_departed(self, names: frozenset[str]) -> list[Instruction]:
        """Refuse what waits of principals that are gone. What a UVM has goes on: it may have run."""
        out: list[Instruction] = []
        departed = [m for m in self._backlog.messages.values() if not m.uvm and m.arrival.principal not in names]
        for message in departed:
            self.counters["turned out"] += 1
            out += self._give_up(message, partial(refusals.principal_gone, principal=message.arrival.principal, outcome=message.outcome))
        return out

    # --- UVMs ----------------------------------------------------------------------------------------------------------

    def _welcome(self, name: str, incarnation: str, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        uvm = self._uvms.get(name)
        if uvm and uvm.incarnation != incarnation:
            out.extend(self._lose(uvm, "replaced by a new process", now, died=True, may_have_run=True))
        elif uvm:
            out.extend(self._lose(uvm, "forgot its deliveries", now, died=False, may_have_run=True))
        self._uvms[name] = Uvm(name, incarnation, now, now, {}, now)
        return out

    def _from_uvm(self, uvm: Uvm, event: FromUvm, now: float) -> list[Instruction]:
        match event:
            case Finished(delivery=delivery, payload=payload, spent=spent):
                return self._finish(uvm, delivery, payload, spent, now)
            case UvmLeft():
                return self._lose(uvm, "left", now, died=False, may_have_run=False)
            case UvmDied():
                return self._lose(uvm, "its process is gone", now, died=True, may_have_run=True)
            case UsageReported(principal=principal, spent=spent):
                self._shares.used(principal, spent, now)
            case DeliveriesParked(deliveries=deliveries, parked=parked):
                uvm.moved = now
                for message in (uvm.deliveries[delivery] for delivery in deliveries if delivery in uvm.deliveries):
                    if message.parked != parked:
                        uvm.carry(message, -1 if parked else 1)
                    message.parked = parked
                    if message.deaths and not parked:
                        uvm.examiner = self._assigner.examining = True
            case DeliveriesReturned(deliveries=deliveries):
                back = [uvm.deliveries[delivery] for delivery in deliveries if delivery in uvm.deliveries]
                uvm.moved, uvm.recalled = now, False
                for message in back:
                    self._backlog.release(message, uvm)
                self._backlog.requeue(back)
                self.counters["returned"] += len(back)
            case UvmEnding():
                uvm.ending = True
            case Undelivered(delivery=delivery) if delivery in uvm.deliveries:
                uvm.ending = True
                message = uvm.deliveries[delivery]
                self._backlog.release(message, uvm)
                self._backlog.requeue([message])
        return []

    def _finish(self, uvm: Uvm, delivery: int, payload: bytes, spent: Spent, now: float) -> list[Instruction]:
        message = uvm.deliveries.get(delivery)
        if message is None:
            self.counters["stale"] += 1
            return []
        self.counters["finished"] += 1
        uvm.moved, uvm.recalled = now, False
        self._shares.spent(message, spent, now)
        self._backlog.release(message, uvm)
        self._backlog.forget(message)
        return [ForwardAnswer(w.address, w.id, payload, now - w.arrived) for w in message.waiters]

    def _lose(self, uvm: Uvm, why: str, now: float, *, died: bool, may_have_run: bool) -> list[Instruction]:
        out: list[Instruction] = []
        del self._uvms[uvm.name]
        back: list[QueuedRequest] = []
        for message in list(uvm.deliveries.values()):
            ran = may_have_run and not message.parked
            if died and (ran or message.parked_deaths >= PARKED_DEATHS):
                message.deaths += 1
            elif died:
                message.parked_deaths += 1
            self._backlog.release(message, None)
            if not message.waiters:
                self._backlog.forget(message)
            elif ran and not message.arrival.repeatable:
                out.extend(self._give_up(message, refusals.outcome_unknown))
            elif message.deaths >= DEATHS:
                out.extend(self._poison(message))
            else:
                back.append(message)
        self._backlog.requeue(back)
        self.counters["deaths"] += died
        self.counters["replays"] += len(back)
        for message in self._backlog.messages.values():
            if message.arrival.via == uvm.name:
                self._timers.set(now + VIA_S, self._absent, message, None)
        return [UvmLost(uvm.name, why, sum(1 for m in back if m.deaths), clean=not may_have_run), *out]

    def _poison(self, message: QueuedRequest) -> list[Instruction]:
        self.counters["poisoned"] += 1
        if message.key:
            self._poisoned.remember(message.key, message.arrival.digest, message.deaths)
        return self._give_up(message, lambda id: refusals.poisoned(id, message.deaths))

    # --- time ----------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> Iterable[Instruction]:
        stalled, self._ticked = now - self._ticked, now
        for uvm in list(self._uvms.values()):
            if stalled > STALL_S:
                uvm.heard = min(now, uvm.heard + stalled)
            if uvm.running > 1 and not uvm.recalled and uvm.stuck(now):
                uvm.recalled = True
                yield RecallDeliveries(uvm.name)
            if now - uvm.heard <= self._dead_after:
                continue
            yield KillUvm(uvm.name)
            yield from self._lose(uvm, f"silent for {now - uvm.heard:.1f} s", now, died=True, may_have_run=True)
        for step, message, waiter in self._timers.due(now, self._backlog.messages):
            if waiter is None or waiter in message.waiters:
                yield from step(message, waiter)

    def _deadline(self, message: QueuedRequest, waiter: Waiter | None) -> Iterable[Instruction]:
        if waiter is None:
            return
        if not message.uvm:
            yield self._expire(message, waiter)
            return
        self._timers.set(waiter.deadline + GRACE_S, self._overdue, message, waiter)
        if not message.dropped and all(w.deadline <= waiter.deadline for w in message.waiters):
            message.dropped = True
            yield DropDelivery(message.uvm, message.number)

    def _overdue(self, message: QueuedRequest, waiter: Waiter | None) -> Iterable[Instruction]:
        if waiter is not None:
            yield self._expire(message, waiter)

    def _expire(self, message: QueuedRequest, waiter: Waiter) -> Instruction:
        self.counters["expired"] += 1
        answer = refusals.deadline_exceeded(waiter.id, message.outcome)
        message.waiters.remove(waiter)
        if not message.waiters and not message.uvm:
            self._backlog.forget(message)
        return RefuseMessage(waiter.address, answer)

    def _absent(self, message: QueuedRequest, _waiter: Waiter | None) -> Iterable[Instruction]:
        if not message.uvm and message.arrival.via not in self._uvms:
            names = sorted(self._uvms)
            return self._give_up(message, lambda id: refusals.no_such_uvm(id, message.arrival.via, names, message.outcome))
        return []

    # --- bookkeeping ---------------------------------------------------------------------------------------------------

    def _give_up(self, message: QueuedRequest, answer: Callable[[int], Error | Busy]) -> list[Instruction]:
        out: list[Instruction] = [RefuseMessage(w.address, answer(w.id)) for w in message.waiters]
        self._backlog.forget(message)
        return out


def _assigned(message: QueuedRequest, now: float) -> Assign:
    """A message has its UVM: the bridge is to take it there."""
    arrival = message.arrival
    return Assign(message.uvm, message.number, arrival.payload, arrival.principal, message.deaths > 0, now - message.arrived)
