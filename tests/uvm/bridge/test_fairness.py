"""Nobody's flood is in another's way: the dispatch with simulated UVMs and a simulated clock, so that every wait is exact."""

import heapq
from collections import deque
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from uvm.bridge.dispatcher import Dispatch
from uvm.bridge.events import (
    Assign,
    DeliveriesReturned,
    DispatchEvent,
    Finished,
    ForwardAnswer,
    MessageArrived,
    RecallDeliveries,
    RefuseMessage,
    Tick,
    UvmAlive,
    UvmReady,
)
from uvm.bridge.pace import LIGHT_S, QUICK_S
from uvm.bridge.placing import ALONE_S, WINDOW_S
from uvm.protocol import Busy
from uvm.rights import Spent

TICK_S = 0.05


class Tool(Struct, eq=False):
    """A connection that keeps `flying` messages under way; each takes `cost` seconds of a UVM, and `later` the ones after the first few."""

    name: str
    principal: str
    cost: float
    flying: int
    think: float = 0.0
    start: float = 0.0
    later: float = 0.0
    size: int = 100
    sent: int = 0

    def next_cost(self) -> float:
        self.sent += 1
        return self.later if self.later and self.sent > 3 else self.cost


class World:
    """Tools, a dispatch, and UVMs that run one message after the other. Waits are collected for each tool."""

    def __init__(self, tools: list[Tool], uvms: int, **bounds: int) -> None:
        self.dispatch = Dispatch(**{"queue": 10_000, "queue_bytes": 256_000_000, "window": 128, "dead_after_s": 1e9, **bounds})
        self.now = 0.0
        self.events: list[tuple[float, int, object]] = []
        self.serial = count(1)
        self.queues: dict[str, deque[int]] = {f"uvm-{n}": deque() for n in range(uvms)}
        self.busy: dict[str, bool] = dict.fromkeys(self.queues, False)
        self.recalled: set[str] = set()
        self.arrivals: dict[int, tuple[Tool, float, float]] = {}
        self.of_delivery: dict[int, int] = {}
        self.waits: dict[str, list[float]] = {tool.name: [] for tool in tools}
        self.refused: dict[str, int] = {tool.name: 0 for tool in tools}
        for name in self.queues:
            self.do(UvmReady(name, "1"))
        for tool in tools:
            for _ in range(tool.flying):
                self.later(tool.start or tool.think, tool)
        self.later(TICK_S, None)

    def later(self, seconds: float, what: object) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.serial), what))

    def run(self, seconds: float) -> None:
        while self.events and self.events[0][0] <= seconds:
            self.now, _, what = heapq.heappop(self.events)
            if what is None:
                self.do(Tick())
                for name in self.queues:
                    if not self.busy[name]:
                        self.do(UvmAlive(name))
                self.later(TICK_S, None)
            elif isinstance(what, Tool):
                self.send(what)
            elif isinstance(what, tuple):
                self.ended(*what)

    def send(self, tool: Tool) -> None:
        identifier = next(self.serial)
        self.arrivals[identifier] = (tool, self.now, tool.next_cost())
        self.do(
            MessageArrived(
                address=tool, id=identifier, payload=b"x" * tool.size, principal=tool.principal, connection=tool.name.encode(),
                deadline_s=1e6, repeatable=False,
            )
        )  # fmt: skip

    def do(self, event: DispatchEvent) -> None:
        for instruction in self.dispatch.handle(event, self.now):
            match instruction:
                case Assign(uvm, delivery):
                    self.of_delivery[delivery] = self.dispatch._backlog.messages[delivery].arrival.id
                    self.queues[uvm].append(delivery)
                case RecallDeliveries(uvm):
                    self.recalled.add(uvm)
                case ForwardAnswer(address=tool, id=identifier):
                    self.waits[tool.name].append(self.now - self.arrivals.pop(identifier)[1])
                    self.later(tool.think, tool)
                case RefuseMessage(address=tool, answer=answer):
                    assert isinstance(answer, Busy)
                    self.refused[tool.name] += 1
                    self.later(answer.retry_after_ms / 1000, tool)
        for name in self.queues:
            self.begin(name)

    def begin(self, name: str) -> None:
        if self.busy[name]:
            return
        if name in self.recalled:
            self.recalled.discard(name)
            back = list(self.queues[name])
            self.queues[name].clear()
            self.do(DeliveriesReturned(name, back))
        if self.queues[name] and not self.busy[name]:
            self.busy[name] = True
            delivery = self.queues[name].popleft()
            self.later(self.arrivals[self.of_delivery[delivery]][2], (name, delivery))

    def ended(self, name: str, delivery: int) -> None:
        self.busy[name] = False
        cost = self.arrivals[self.of_delivery.pop(delivery)][2]
        self.do(Finished(name, delivery, b"", Spent(cpu_s=cost)))


def p99(waits: list[float]) -> float:
    return sorted(waits)[int(0.99 * len(waits))]


VICTIM = {"cost": 0.001, "flying": 1, "think": 0.002}


@pytest.mark.parametrize("principal", ["other", "victim"])
@pytest.mark.parametrize("cost", [4.0, 0.3, 0.002])
def test_a_flood_by_many_connections_adds_little_to_anothers_wait(principal: str, cost: float) -> None:
    floods = [Tool(f"f{n}", principal, cost, 4, start=0.1) for n in range(32)]
    world = World([Tool("v", "victim", **VICTIM), *floods], uvms=2)
    world.run(4.0)
    # Its fair share of two UVMs is half of them: 0.002 s a message. What a UVM has at a time is in front of it.
    assert p99(world.waits["v"][20:]) <= 2 * 0.002 + WINDOW_S + 0.001
    assert cost > 0.1 or all(world.waits[f"f{n}"] for n in range(32)), "and the others are served, each in its turn"


def test_who_fills_the_queue_is_told_to_wait_and_nobody_else() -> None:
    flood = [Tool(f"f{n}", "other", 0.004, 100, start=0.1) for n in range(4)]
    world = World([Tool("v", "victim", **VICTIM), *flood, Tool("w", "other", **VICTIM)], uvms=2, queue=200)
    world.run(2.0)
    assert sum(world.refused[f"f{n}"] for n in range(4)) > 100
    assert world.refused["v"] == world.refused["w"] == 0
    assert len(world.waits["v"]) > 100 and len(world.waits["w"]) > 100


def test_who_fills_the_bytes_of_the_queue_is_told_to_wait_and_nobody_else() -> None:
    flood = [Tool(f"f{n}", "other", 0.05, 1, size=39_000, start=0.1) for n in range(80)]
    world = World([Tool("v", "victim", **VICTIM), *flood], uvms=2, queue_bytes=2_560_000)
    world.run(2.0)
    assert sum(world.refused[tool.name] for tool in flood) > 10
    assert world.refused["v"] == 0 and p99(world.waits["v"][20:]) <= 2 * 0.002 + WINDOW_S + 0.001


def test_connections_that_turn_from_light_to_heavy_are_in_the_way_once_each() -> None:
    traitors = [Tool(f"t{n}", "other", 0.001, 8, later=4.0, start=0.1) for n in range(16)]
    world = World([Tool("v", "victim", **VICTIM), *traitors], uvms=2)
    world.run(12.0)
    assert max(world.waits["v"]) <= 4.0 + 2 * 0.1 + ALONE_S, "what waits behind a long message is given back when that has ended"
    assert sum(wait > 0.1 for wait in world.waits["v"]) <= 16


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    uvms=st.integers(2, 4),
    costs=st.lists(st.tuples(st.sampled_from((0.0002, 0.002, 0.015, 0.05, 1.0, 5.0)), st.integers(1, 40), st.integers(0, 3)), max_size=12),
)
def test_whatever_others_send_a_light_message_waits_for_two_turns_at_most(uvms: int, costs: list[tuple[float, int, int]]) -> None:
    others = [Tool(f"f{n}", f"p{principal}", cost, flying, start=0.1) for n, (cost, flying, principal) in enumerate(costs)]
    world = World([Tool("v", "p0", **VICTIM), *others], uvms=uvms)
    world.run(1.5)
    assert max(world.waits["v"][20:], default=0.0) <= 2 * (WINDOW_S + LIGHT_S) + 0.002, "two turns, at most"


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    costs=st.lists(st.tuples(st.floats(0.0002, 0.015), st.integers(4, 64)), min_size=2, max_size=6),
    connections=st.integers(1, 10),
)
def test_principals_that_want_all_they_can_get_use_the_same(costs: list[tuple[float, int]], connections: int) -> None:
    tools = [Tool(f"{n}-{c}", f"p{n}", cost, flying) for n, (cost, flying) in enumerate(costs) for c in range(connections if n == 0 else 1)]
    world = World(tools, uvms=2)
    world.run(1.5)
    used = [sum(len(world.waits[tool.name]) for tool in tools if tool.principal == f"p{n}") * cost for n, (cost, _) in enumerate(costs)]
    assert max(used) <= 1.5 * min(used) + 4 * LIGHT_S


def test_large_messages_of_many_who_wait_for_each_answer_are_not_in_the_way_of_a_small_one() -> None:
    flood = [Tool(f"flood-{n}", "p", cost=0.012, flying=1, size=3_900_000) for n in range(64)]
    victim = Tool("victim", "p", cost=0.000_5, flying=1, think=0.01)
    world = World([*flood, victim], uvms=2, queue_bytes=1_000_000_000)
    world.run(20.0)
    later = sorted(world.waits["victim"][20:])
    assert len(later) > 500
    assert later[len(later) * 99 // 100] <= 0.03, "about one large message, and not one of each"


def test_a_quick_question_does_not_wait_behind_messages_of_some_milliseconds() -> None:
    flood = Tool("flood", "p", cost=0.006, flying=65)
    victim = Tool("victim", "p", cost=0.000_2, flying=1, think=0.001, start=0.5)
    world = World([flood, victim], uvms=2)
    world.run(5.0)
    assert p99(world.waits["victim"][50:]) <= 2 * QUICK_S
    alone = World([flood], uvms=2)
    alone.run(5.0)
    assert len(alone.waits["flood"]) > 1.9 * 5.0 / 0.006, "where nobody asks quick questions, all UVMs are used"


@pytest.mark.parametrize(("principal", "connections"), [("p", 1), ("other", 64)])
def test_who_asks_one_quick_thing_after_the_other_has_a_uvm_that_is_free_of_a_crowd(principal: str, connections: int) -> None:
    flood = [Tool(f"flood-{n}", principal, cost=0.000_5, flying=64 // connections) for n in range(connections)]
    victim = Tool("victim", "p", cost=0.000_5, flying=1, think=0.001, start=0.5)
    world = World([*flood, victim], uvms=2)
    world.run(5.0)
    assert p99(world.waits["victim"][50:]) <= 2 * victim.cost, "its own, and what was there before it at most"
    flooded = sum(len(world.waits[tool.name]) for tool in flood)
    assert flooded > 0.9 * 4.5 / 0.000_5, "the crowd has the other one for itself"


def test_a_crowd_has_all_uvms_where_nobody_else_asks_anything() -> None:
    flood = Tool("flood", "p", cost=0.000_5, flying=64)
    world = World([flood, Tool("visitor", "p", cost=0.000_5, flying=1, think=30.0, start=0.1)], uvms=2)
    world.run(5.0)
    assert len(world.waits["flood"]) > 1.9 * 3.9 / 0.000_5
