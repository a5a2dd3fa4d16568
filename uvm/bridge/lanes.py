"""What the dispatch remembers: messages, their lanes, UVMs, timers, poisoned numbers. Owned by `uvm.bridge.dispatcher`; plain state.

The garbage collector does not look at messages and lanes (`gc=False`): ten thousand may wait, and to look through them takes longer than
anybody should wait for a turn. A message that is answered is in no lane any more, and a lane without messages in no connection, so that no
cycle of them is left behind.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from uvm.bridge.events import Instruction, Key, LaneKey, MessageArrived

if TYPE_CHECKING:
    from uvm.bridge.shares import Shares, Source

STUCK_S = 0.1
"""A UVM that has ended nothing for so many seconds is stuck in something long; it gets nothing more meanwhile."""


class Waiter(Struct, eq=False, gc=False):
    """Somebody who is to get a message's answer; times in monotonic seconds."""

    address: Any
    id: int
    arrived: float
    deadline: float


class Lane(Struct, eq=False, gc=False):
    """The messages of one session, or one message without a session. `queue` is what no UVM has; `uvm` has `outstanding` others.

    `filed`: the connection among whose ready lanes it is.
    """

    key: LaneKey
    queue: deque["QueuedRequest"]
    uvm: str = ""
    outstanding: int = 0
    filed: "Source | None" = None


class Kind(Enum):
    """Of what kind a message is: dear, or could be; one of many that its sender has under way; neither."""

    HEAVY = "heavy"
    BULK = "bulk"
    LONE = "lone"


class Demand(Struct, frozen=True, gc=False):
    """What a message is expected to be: its cost in processor seconds, its kind, and whether that is known, `proven`."""

    cost: float
    kind: Kind
    proven: bool


_NOTHING = Demand(0.0, Kind.LONE, True)


class QueuedRequest(Struct, eq=False, gc=False):
    """A tool's request from its arrival to its answer; `uvm` has it as a delivery, if any; `deaths` UVMs died while it ran.

    `source`: the connection that it came by first. `demand`: what was expected of it when a UVM got it.
    """

    number: int
    arrival: MessageArrived
    lane: Lane
    source: "Source"
    arrived: float
    waiters: list[Waiter]
    uvm: str = ""
    parked: bool = False
    dropped: bool = False
    deaths: int = 0
    parked_deaths: int = 0
    demand: Demand = _NOTHING

    @property
    def key(self) -> Key | None:
        return self.arrival.key

    @property
    def state(self) -> str:
        """Where it is: `waiting` for a UVM and never run, `running` on one or perhaps run, or `parked`."""
        return "parked" if self.parked else "running" if self.uvm or self.deaths or self.parked_deaths else "waiting"

    @property
    def outcome(self) -> str:
        """What is known of its effect, as errors say it."""
        return "unknown" if self.deaths or (self.uvm and not self.parked) else "not run"


class Uvm(Struct, eq=False):
    """A UVM on the list. `running` of its `deliveries` are not parked; an examiner gets suspects only.

    Of what is running, `load` is the expected cost in processor seconds, `heavy` and `unproven` count what is dear, or could be.
    `moved`: when it last ended, parked or resumed something, or began to be busy. `recalled`: it was asked for what it has not begun.
    """

    name: str
    incarnation: str
    since: float
    heard: float
    deliveries: dict[int, QueuedRequest]
    moved: float = 0.0
    recalled: bool = False
    running: int = 0
    load: float = 0.0
    heavy: int = 0
    unproven: int = 0
    examiner: bool = False
    ending: bool = False

    def carry(self, message: QueuedRequest, sign: int) -> None:
        """A message of its deliveries runs (+1), or does not any longer (-1)."""
        self.running += sign
        demand = message.demand
        self.heavy += sign * (demand.kind is Kind.HEAVY)
        self.unproven += sign * (not demand.proven)
        self.load = self.load + sign * demand.cost if self.running else 0.0

    def stuck(self, now: float) -> bool:
        """Is something running on it that takes long?"""
        return self.running > 0 and now - self.moved > STUCK_S

    def statistics(self, now: float) -> dict[str, Any]:
        """As GetStatus shows it; times in seconds."""
        return {
            "uvm": self.name,
            "incarnation": self.incarnation,
            "outstanding": len(self.deliveries),
            "parked": len(self.deliveries) - self.running,
            "examiner": self.examiner,
            "up_s": round(now - self.since, 3),
            "silent_s": round(now - self.heard, 3),
        }


class Backlog:
    """All messages without an answer: by number, by key, by lane. `now`: the moment of the event that is handled, monotonic seconds.

    A message is in its lane until a UVM gets it, and again when that UVM has it no longer. A lane is filed where its first message
    belongs: among the ready ones of a connection (`shares`), among the suspect, or nowhere.
    """

    def __init__(self, shares: "Shares", first_number: int) -> None:
        self.shares = shares
        self.messages: dict[int, QueuedRequest] = {}
        self.keys: dict[Key, QueuedRequest] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.suspect: OrderedDict[LaneKey, Lane] = OrderedDict()
        self.now = 0.0
        self._number = first_number

    def accept(self, event: MessageArrived, source: "Source") -> QueuedRequest:
        """A message is kept until its answer, behind the others of its session."""
        number = self._number
        self._number += 1
        key = event.key
        lane_key = (event.principal, event.session, 0 if event.session else number)
        lane = self.lanes.get(lane_key)
        if lane is None:
            lane = self.lanes[lane_key] = Lane(lane_key, deque())
        message = QueuedRequest(number, event, lane, source, self.now, [])
        self.messages[number] = message
        self.shares.hold(message)
        if key:
            self.keys[key] = message
        lane.queue.append(message)
        return message

    def requeue(self, messages: list[QueuedRequest]) -> None:
        """What a UVM had waits again, in its place among the others of its session."""
        lanes = {message.lane.key: message.lane for message in messages}
        for message in messages:
            message.parked = message.dropped = False
            message.lane.queue.append(message)
        for lane in lanes.values():
            lane.queue = deque(sorted(lane.queue, key=lambda message: message.number))
            self.lanes[lane.key] = lane
            self.file(lane)

    def forget(self, message: QueuedRequest) -> None:
        """Drop a message that no UVM has, or has had until now."""
        del self.messages[message.number]
        self.shares.let_go(message)
        if message.key:
            del self.keys[message.key]
        lane = message.lane
        if lane.queue and message in lane.queue:
            lane.queue.remove(message)
        self.file(lane)

    def release(self, message: QueuedRequest, uvm: Uvm | None) -> None:
        """A UVM has the message no longer; None: nor is the UVM there."""
        if uvm is not None:
            del uvm.deliveries[message.number]
            if not message.parked:
                uvm.carry(message, -1)
        message.uvm = ""
        lane = message.lane
        lane.outstanding -= 1
        if not lane.outstanding:
            lane.uvm = ""

    def file(self, lane: Lane) -> None:
        """Put the lane where its first waiting message belongs: among the ready, the suspect, or nowhere."""
        head = lane.queue[0] if lane.queue else None
        suspect = head is not None and head.deaths > 0
        source = None if head is None or suspect else head.source
        if source is not lane.filed or source is not None:
            self.shares.file(lane, source, self.now)
        if suspect:
            self.suspect.setdefault(lane.key, lane)
        elif self.suspect:
            self.suspect.pop(lane.key, None)
        if head is None and not lane.outstanding:
            self.lanes.pop(lane.key, None)


class Poisoned:
    """The newest poisoned numbers, so that a resent one is not tried again: digest of the payload, and how many UVMs died."""

    MOST = 1024

    def __init__(self) -> None:
        self._by_key: OrderedDict[Key, tuple[bytes, int]] = OrderedDict()

    def remember(self, key: Key, digest: bytes, deaths: int) -> None:
        """This number was answered Poisoned."""
        self._by_key[key] = (digest, deaths)
        if len(self._by_key) > self.MOST:
            self._by_key.popitem(last=False)

    def recall(self, key: Key) -> tuple[bytes, int] | None:
        """Digest and deaths, if the number is known."""
        return self._by_key.get(key)


Step = Callable[[QueuedRequest, Waiter | None], Iterable[Instruction]]


class Timers:
    """What is to happen at a time, to a message that is still there then. Entries of answered messages are swept."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Step, int, Waiter | None]] = []
        self._serial = 0
        self._sweep_at = 4096

    def set(self, when: float, step: Step, message: QueuedRequest, waiter: Waiter | None) -> None:
        """At the time `when`, `step` is to be called with the message and the waiter."""
        self._serial += 1
        # The number, and not the message: what is answered long before its deadline must not stay in memory until then.
        heapq.heappush(self._heap, (when, self._serial, step, message.number, waiter))

    def due(self, now: float, alive: Mapping[int, QueuedRequest]) -> Iterable[tuple[Step, QueuedRequest, Waiter | None]]:
        """What is to happen now, each step once."""
        if len(self._heap) > self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[3] in alive]
            heapq.heapify(self._heap)
            self._sweep_at = max(4096, 2 * len(self._heap))
        while self._heap and self._heap[0][0] <= now:
            _, _, step, number, waiter = heapq.heappop(self._heap)
            message = alive.get(number)
            if message is not None:
                yield step, message, waiter
