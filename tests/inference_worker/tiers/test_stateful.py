"""Whatever happens, the scheduler keeps its promises: random histories, played against a model that objects (`tiers_world`)."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import Committed, EngineGone, MoveFailed, Priority, Removed, RequestEnded, Tier, WasFetched, WasRead
from tests.inference_worker.tiers.world import World

NAMES = [f"a{number}" for number in range(7)]
MODELS = {name: "base" if number < 5 else "other" for number, name in enumerate(NAMES)}
names = st.sampled_from(NAMES)


class History(RuleBasedStateMachine):
    """Requests, moves and engines come and go in any order."""

    policy = "lru"

    @initialize(
        ram=st.sampled_from([0, 150, 350, 1000]),
        disk=st.sampled_from([0, 150, 350]),
        slots=st.integers(1, 3),
        reserved=st.integers(0, 4),
        idle_s=st.sampled_from([0.0, 5.0]),
        pass_s=st.sampled_from([0.0, 0.5]),
        lanes=st.integers(1, 2),
    )
    def begin(self, ram: int, disk: int, slots: int, reserved: int, idle_s: float, pass_s: float, lanes: int) -> None:
        limits = SchedulingLimits(
            max_streams=4, reserved_streams=reserved, ageing_s=8.0, idle_s=idle_s, pass_s=pass_s, reads=lanes, commits=lanes, guess=0.05
        )
        self.world = World(self.policy, Budgets(ram, disk), limits, slots)

    @rule(name=names, size=st.sampled_from([60, 100, 140, 400]), more=st.sampled_from([-40, 0, 60]), rank=st.sampled_from([8, 16]))
    def register(self, name: str, size: int, more: int, rank: int) -> None:
        self.world.register(name, size=size, ram=size + more, rank=rank)

    @rule(name=names, size=st.sampled_from([60, 100, 140]))
    def register_remote(self, name: str, size: int) -> None:
        self.world.register(name, size=size, remote=True)

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.world.remove(name)

    @rule(
        name=st.one_of(st.none(), names),
        streams=st.sampled_from([1, 1, 2, 3, 6]),
        priority=st.sampled_from(list(Priority)),
        client=st.sampled_from("xy"),
        session=st.sampled_from(["", "s", "t"]),
        alone=st.sampled_from([False, False, False, True]),
    )
    def ask(self, name: str | None, streams: int, priority: Priority, client: str, session: str, alone: bool) -> None:
        model = MODELS[name] if name is not None else "base"
        self.world.ask(name, streams=streams, priority=priority, client=client, session=session, alone=alone, model=model)

    @precondition(lambda self: self.world.running)
    @rule(which=st.integers(0, 10))
    def end(self, which: int) -> None:
        running = self.world.runs
        self.world.end(running[which % len(running)])

    @precondition(lambda self: self.world.waiting)
    @rule(which=st.integers(0, 10))
    def give_up(self, which: int) -> None:
        waiting = list(self.world.waiting)
        self.world.end(waiting[which % len(waiting)][1])

    @precondition(lambda self: self.world.moving)
    @rule(which=st.integers(0, 10), fails=st.sampled_from([False, False, False, True]))
    def arrive(self, which: int, fails: bool) -> None:
        moving = self.world.moving
        self.world.arrive(moving[which % len(moving)], fails=fails)

    @precondition(lambda self: self.world.starting)
    @rule()
    def ready(self) -> None:
        assert self.world.starting is not None
        self.world.ready(self.world.starting)

    @rule(model=st.sampled_from(["base", "other"]))
    def ready_out_of_the_blue(self, model: str) -> None:
        if not self.world.running:
            self.world.ready(model)

    @precondition(lambda self: self.world.engine or self.world.starting)
    @rule(hopeless=st.booleans())
    def lose_engine(self, hopeless: bool) -> None:
        self.world.lose_engine(hopeless)

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(name=st.sampled_from(["nobody", *NAMES]))
    def hear_what_nobody_asked_about(self, name: str) -> None:
        world = self.world
        place = world.adapters.get(name)
        world.tell(RequestEnded(world.at, (b"stranger", "1")))
        world.tell(EngineGone(world.at, "a model of the past", "", True))
        world.tell(Removed(world.at, "nobody", "no reason"))
        if place is None or place.moving is None:
            world.tell(MoveFailed(world.at, name, "no reason"))
            world.tell(WasRead(world.at, name, 100, 0.1))
            world.tell(Committed(world.at, name, 0.1))
            if place is None or place.tier is not Tier.REMOTE:
                world.tell(WasFetched(world.at, name, 100, 0.1))

    @rule(name=names)
    def find_what_was_fetched_before(self, name: str) -> None:
        place = self.world.adapters.get(name)
        if place is not None and place.tier is Tier.REMOTE and place.moving is None:
            self.world.fetched_before(name)

    def teardown(self) -> None:
        """Once everything is answered, every request has run or was refused."""
        world = getattr(self, "world", None)
        if world is None:
            return
        for _ in range(40 + 10 * (len(world.waiting) + len(world.running))):
            if not world.waiting and not world.running:
                break
            world.settle()
            for name in world.runs:
                world.end(name)
            world.tick()
        assert not world.waiting and not world.running, f"these never ran: {list(world.waiting)}"
        world.settle()
        numbers = world.tiers.statistics()
        assert numbers.tiers[1].used == sum(place.ram for place in world.adapters.values() if place.tier in ("warm", "hot"))


@pytest.mark.parametrize("policy", ["lru", "cost", "predictive"])
def test_whatever_happens_the_promises_are_kept(policy: str) -> None:
    machine = type("History", (History,), {"policy": policy})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
