"""The dispatch against a model: whatever happens in whatever order, no message is lost, none is answered twice, and only what
two UVMs died on is poisoned."""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from uvm.bridge.dispatcher import DEATHS, PARKED_DEATHS, WAITERS, Dispatch
from uvm.bridge.events import (
    Assign,
    DeliveriesParked,
    DispatchEvent,
    Finished,
    ForwardAnswer,
    MessageArrived,
    RefuseMessage,
    Tick,
    Undelivered,
    UvmAlive,
    UvmDied,
    UvmEnding,
    UvmLeft,
    UvmLost,
    UvmReady,
)
from uvm.protocol import Busy, Error

WINDOW = 3
QUEUE = 30
NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
picks = st.integers(0, 1000)


class Held:
    """What the model knows of a message."""

    def __init__(self, arrival: MessageArrived) -> None:
        self.arrival = arrival
        self.deaths = 0
        self.parked_deaths = 0
        self.ran_unnumbered = False


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch(queue=QUEUE, queue_bytes=10_000, window=WINDOW, dead_after_s=5.0)
        self.now = 0.0
        self.next_id = 1
        self.incarnations: Counter[str] = Counter()
        self.on: dict[str, dict[int, bool]] = {}
        self.ending: set[str] = set()
        self.messages: dict[int, Held] = {}
        self.poisoned: set[tuple[str, int]] = set()
        self.answered: Counter[int] = Counter()
        self.expected: set[int] = set()
        self.seqs: Counter[str] = Counter()

    # --- what happens ---

    @rule(session=st.sampled_from(("", "s", "t", "u")), via=st.sampled_from(("", "", "", "a")), deadline=st.sampled_from((1.0, 1000.0)))
    def arrive(self, session: str, via: str, deadline: float) -> None:
        if session:
            self.seqs[session] += 1
        self.send(session, self.seqs[session] if session else 0, via, deadline)

    @rule(session=st.sampled_from(("s", "t", "u")), back=st.integers(0, 5))
    def resend(self, session: str, back: int) -> None:
        seq = self.seqs[session] - back
        message = self.dispatch._backlog.keys.get(("local", session, seq))
        # More arrivals than the bridge remembers would lose the oldest, by design.
        if seq > 0 and (message is None or len(message.waiters) < WAITERS):
            self.send(session, seq, "", 1000.0)

    def send(self, session: str, seq: int, via: str, deadline: float) -> None:
        arrival = MessageArrived(
            address="tool", id=self.next_id, payload=b"p", principal="local", session=session, seq=seq,
            digest=b"d" if session else b"", via=via, deadline_s=deadline, repeatable=bool(session),
        )  # fmt: skip
        self.next_id += 1
        self.expected.add(arrival.id)
        under_way = self.dispatch._backlog.keys.get(arrival.key) if arrival.key else None
        if under_way:
            self.messages[arrival.id] = self.messages[under_way.arrival.id]
        elif (session, seq) not in self.poisoned:
            self.messages[arrival.id] = Held(arrival)
        self.do(arrival)

    @rule(name=names)
    def ready(self, name: str) -> None:
        self.incarnations[name] += 1
        self.suffer(name)
        self.do(UvmReady(name, str(self.incarnations[name])))

    @rule(name=names)
    def die(self, name: str) -> None:
        self.suffer(name)
        self.do(UvmDied(name))

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.on.pop(name, None)
        self.do(UvmLeft(name))

    @rule(name=names)
    def end(self, name: str) -> None:
        if name in self.on:
            self.ending.add(name)
        self.do(UvmEnding(name))

    @rule(name=names, pick=picks)
    def finish(self, name: str, pick: int) -> None:
        deliveries = self.on.get(name)
        if deliveries:
            delivery = sorted(deliveries)[pick % len(deliveries)]
            del deliveries[delivery]
            self.do(Finished(name, delivery, b"answer"))

    @rule(name=names, pick=picks, parked=st.booleans())
    def park(self, name: str, pick: int, parked: bool) -> None:
        deliveries = self.on.get(name)
        if deliveries:
            delivery = sorted(deliveries)[pick % len(deliveries)]
            deliveries[delivery] = parked
            self.do(DeliveriesParked(name, [delivery], parked))

    @rule(name=names, pick=picks)
    def fail_to_deliver(self, name: str, pick: int) -> None:
        deliveries = [delivery for delivery, parked in self.on.get(name, {}).items() if not parked]
        if deliveries:
            delivery = sorted(deliveries)[pick % len(deliveries)]
            del self.on[name][delivery]
            self.ending.add(name)
            self.do(Undelivered(name, delivery))

    @rule(seconds=st.sampled_from((0.1, 1.0, 3.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name in list(self.on):
            self.do(UvmAlive(name))
        self.do(Tick())

    # --- the model's side ---

    def suffer(self, name: str) -> None:
        for delivery, parked in self.on.pop(name, {}).items():
            held = self.held(delivery)
            if parked and held.parked_deaths < PARKED_DEATHS:
                held.parked_deaths += 1
            else:
                held.deaths += 1
                held.ran_unnumbered |= not held.arrival.session

    def held(self, delivery: int) -> Held:
        return self.messages[self.dispatch._backlog.messages[delivery].arrival.id]

    def do(self, event: DispatchEvent) -> None:
        if isinstance(event, UvmReady):
            self.on[event.uvm] = {}
            self.ending.discard(event.uvm)
        for instruction in self.dispatch.handle(event, self.now):
            match instruction:
                case UvmLost(uvm):
                    self.ending.discard(uvm)
                case Assign():
                    self.assigned(instruction)
                case ForwardAnswer(id=id, payload=payload):
                    assert payload == b"answer"
                    self.answer(id)
                case RefuseMessage(answer=answer):
                    self.refused(answer)

    def assigned(self, assign: Assign) -> None:
        assert assign.uvm not in self.ending
        held = self.held(assign.delivery)
        here = self.on[assign.uvm]
        running = [delivery for delivery, parked in here.items() if not parked]
        assert held.deaths < DEATHS, "poisoned messages are not tried again"
        assert not held.ran_unnumbered, "without a number, at most once"
        assert assign.alone == (held.deaths > 0)
        if assign.alone:
            assert not running, "a suspect is examined on a UVM that runs nothing else"
        else:
            assert not any(self.held(delivery).deaths for delivery in running), "and nothing joins it"
        assert len(running) < WINDOW
        assert all(assign.delivery not in deliveries for deliveries in self.on.values()), "on one UVM at a time"
        session = held.arrival.session
        if session:
            elsewhere = [
                u for u, deliveries in self.on.items() if u != assign.uvm for j in deliveries if self.held(j).arrival.session == session
            ]
            assert not elsewhere, "a session is on one UVM at a time"
        assert held.arrival.via in ("", assign.uvm)
        here[assign.delivery] = False

    def refused(self, answer: Error | Busy) -> None:
        self.answer(answer.id)
        held = self.messages.get(answer.id)
        if isinstance(answer, Error) and answer.type == "Poisoned" and held:
            assert held.deaths >= DEATHS, "only what two UVMs died on is poisoned"
            self.poisoned.add((held.arrival.session, held.arrival.seq))
        elif isinstance(answer, Error) and answer.type == "OutcomeUnknown":
            assert held and held.ran_unnumbered

    def answer(self, id: int) -> None:
        self.answered[id] += 1
        assert self.answered[id] == 1, "answered twice"
        assert id in self.expected

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = {waiter.id for message in self.dispatch._backlog.messages.values() for waiter in message.waiters}
        assert waiting == self.expected - set(self.answered)

    @invariant()
    def bounds_hold(self) -> None:
        assert self.dispatch.held() <= QUEUE
        for uvm in self.dispatch._uvms.values():
            assert uvm.running == sum(not message.parked for message in uvm.deliveries.values())
        queued = sum(len(lane.queue) for lane in self.dispatch._backlog.lanes.values())
        assert self.dispatch.held() == queued + sum(len(uvm.deliveries) for uvm in self.dispatch._uvms.values())
        assert self.dispatch._shares.bytes == sum(len(m.arrival.payload) for m in self.dispatch._backlog.messages.values())

    def teardown(self) -> None:
        """However it went: with one UVM that lives, everything is answered."""
        for name in NAMES:
            self.leave(name)
        self.ready("a")
        for _ in range(10 * QUEUE):
            while self.on.get("a"):
                self.finish("a", 0)
            self.wait(3.0)
            if not self.dispatch.held():
                break
        assert self.dispatch.held() == 0
        assert not self.dispatch._backlog.lanes and not self.dispatch._backlog.keys
        assert set(self.answered) == self.expected


TestDispatch = Model.TestCase
TestDispatch.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
