"""What the dispatch remembers: messages, their lanes, UVMs, timers, poisoned numbers. Owned by `uvm.dispatch`; plain state."""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from uvm.traffic import Arrived, Instruction, Key


class Waiter(Struct, eq=False):
    """Somebody who is to get a message's answer; times in monotonic seconds."""

    address: Any
    id: int
    arrived: float
    deadline: float


class Lane(Struct, eq=False):
    """The messages of one session, or one message without a session. `queue` is what no UVM has; `uvm` has `outstanding` others."""

    key: tuple[str, str, int]
    queue: deque["Message"]
    uvm: str = ""
    outstanding: int = 0


class Message(Struct, eq=False):
    """A message from its arrival to its answer; `uvm` has it, if any; `deaths` UVMs died while it ran."""

    number: int
    arrival: Arrived
    lane: Lane
    arrived: float
    waiters: list[Waiter]
    uvm: str = ""
    parked: bool = False
    dropped: bool = False
    deaths: int = 0
    parked_deaths: int = 0

    @property
    def key(self) -> Key | None:
        return self.arrival.key

    @property
    def outcome(self) -> str:
        """What is known of its effect, as errors say it."""
        return "unknown" if self.deaths or (self.uvm and not self.parked) else "not run"


class Uvm(Struct, eq=False):
    """A UVM on the list. `running` of its `jobs` are not parked; an examiner gets suspects only."""

    name: str
    incarnation: str
    since: float
    heard: float
    jobs: dict[int, Message]
    running: int = 0
    examiner: bool = False
    ending: bool = False

    def statistics(self, now: float) -> dict[str, Any]:
        """As GetStatus shows it; times in seconds."""
        return {
            "uvm": self.name,
            "incarnation": self.incarnation,
            "outstanding": len(self.jobs),
            "parked": len(self.jobs) - self.running,
            "examiner": self.examiner,
            "up_s": round(now - self.since, 3),
            "silent_s": round(now - self.heard, 3),
        }


class Poisoned:
    """The newest poisoned numbers, so that a resent one is not tried again: digest of the payload, and how many UVMs died."""

    MOST = 1024

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[bytes, int]] = OrderedDict()

    def remember(self, key: Key, digest: bytes, deaths: int) -> None:
        """This number was answered Poisoned."""
        self._known[key] = (digest, deaths)
        if len(self._known) > self.MOST:
            self._known.popitem(last=False)

    def recall(self, key: Key) -> tuple[bytes, int] | None:
        """Digest and deaths, if the number is known."""
        return self._known.get(key)


Step = Callable[[Message, Waiter | None], Iterable[Instruction]]


class Timers:
    """What is to happen at a time, to a message that is still there then. Entries of answered messages are swept."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Step, Message, Waiter | None]] = []
        self._serial = 0
        self._sweep_at = 4096

    def set(self, when: float, step: Step, message: Message, waiter: Waiter | None) -> None:
        """At the time `when`, `step` is to be called with the message and the waiter."""
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, step, message, waiter))

    def due(self, now: float, alive: Mapping[int, Message]) -> Iterable[tuple[Step, Message, Waiter | None]]:
        """What is to happen now, each step once."""
        if len(self._heap) > self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[3].number in alive]
            heapq.heapify(self._heap)
            self._sweep_at = max(4096, 2 * len(self._heap))
        while self._heap and self._heap[0][0] <= now:
            _, _, step, message, waiter = heapq.heappop(self._heap)
            if message.number in alive:
                yield step, message, waiter
