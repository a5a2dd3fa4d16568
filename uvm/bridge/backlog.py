"""The messages that the bridge holds, and where each waits. Owned by `uvm.bridge.dispatcher`; plain state.

A message is in its lane until a UVM gets it, and again when that UVM has it no longer. A lane is filed where its first message belongs:
among the ready ones of a connection (`shares`), among the suspect, or nowhere.
"""

from collections import OrderedDict, deque

from uvm.bridge.events import Key, LaneKey, MessageArrived
from uvm.bridge.lanes import Lane, QueuedRequest, Uvm
from uvm.bridge.shares import Shares, Source


class Backlog:
    """All that has no answer yet: by number, by key, by lane. `now`: the moment of the event that is handled, monotonic seconds."""

    def __init__(self, shares: Shares, first_number: int) -> None:
        self.shares = shares
        self.messages: dict[int, QueuedRequest] = {}
        self.keys: dict[Key, QueuedRequest] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.suspect: OrderedDict[LaneKey, Lane] = OrderedDict()
        self.now = 0.0
        self._number = first_number

    def accept(self, event: MessageArrived, source: Source) -> QueuedRequest:
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
