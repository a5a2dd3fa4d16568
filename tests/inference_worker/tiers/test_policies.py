"""The caching policies: one conformance suite over all three, then what each is for."""

import random
from itertools import accumulate

import pytest

from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import Admit, ReadAdapter, StopEngine, Tier
from inference_worker.tiers.policies.gdsf import Cost
from inference_worker.tiers.policies.lru import Lru
from inference_worker.tiers.policies.markov import HORIZON_S, Predictive
from inference_worker.tiers.policies.policy import make_policy
from inference_worker.tiers.scheduler import Tiers
from tests.inference_worker.tiers.world import Clockwork, Durations, World

NAMES = ["lru", "cost", "predictive"]
every_policy = pytest.mark.parametrize("name", NAMES)


@every_policy
def test_the_name_in_the_settings_makes_the_policy(name: str) -> None:
    assert make_policy(name).name == name


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="lru, cost, predictive"):
        make_policy("random")


@every_policy
def test_using_an_adapter_never_makes_it_worth_less(name: str) -> None:
    policy = make_policy(name)
    policy.loaded("a", 1000, 0.5)
    before = policy.worth("a")
    for at in range(5):
        changed = policy.used(float(at), "a", "session")
        assert "a" in changed
        assert policy.worth("a") >= before
        before = policy.worth("a")


@every_policy
def test_worth_changes_only_when_the_policy_says_so(name: str) -> None:
    """The core keeps what can be evicted sorted by worth, and so must hear of every change."""
    policy, chance = make_policy(name), random.Random(7)
    adapters = [f"a{number}" for number in range(8)]
    worths = {adapter: policy.worth(adapter) for adapter in adapters}
    for adapter in adapters:
        policy.loaded(adapter, 1000, 0.1)
        worths[adapter] = policy.worth(adapter)
    for step in range(500):
        at = step * 10.0
        changed = set(policy.used(at, chance.choice(adapters), chance.choice(["", "s", "t", "u"]))) | set(policy.passed(at))
        if step % 7 == 0:
            victim = min(adapters, key=policy.worth)
            policy.evicted(victim)
        for adapter in adapters:
            if adapter not in changed:
                assert policy.worth(adapter) == worths[adapter]
            worths[adapter] = policy.worth(adapter)


@every_policy
def test_what_is_forgotten_starts_anew(name: str) -> None:
    policy = make_policy(name)
    policy.used(1.0, "a", "s")
    policy.used(2.0, "b", "s")
    policy.forget("a")
    assert policy.worth("a") == make_policy(name).worth("a")


@every_policy
def test_what_everybody_uses_stays_hot_when_a_scan_passes(name: str) -> None:
    """Half of the requests ask for one adapter, the others for each of forty in turn."""
    world = World(name, Budgets(ram=1000), SchedulingLimits(), slots=3)
    for number in range(41):
        world.register(f"a{number}")
    world.ready()
    clockwork = Clockwork(world, Durations(run=0.3))
    for number in range(400):
        adapter = "a0" if number % 2 else f"a{1 + number // 2 % 40}"
        clockwork.at(float(number), "ask", {"adapter": adapter, "name": str(number)})
    clockwork.run()
    numbers = world.tiers.statistics()
    assert next(state for state in numbers.adapters if state.adapter == "a0").tier is Tier.HOT
    assert numbers.tiers[0].arrivals >= 199


def test_lru_knows_only_time() -> None:
    policy = Lru()
    for at, adapter in enumerate("aaab"):
        policy.used(float(at), adapter, "")
    assert policy.worth("a") < policy.worth("b")


def test_cost_keeps_what_is_often_used_slow_to_load_and_small() -> None:
    def worth(uses: int, size: int, seconds: float) -> float:
        policy = Cost()
        policy.loaded("a", size, seconds)
        for at in range(uses):
            policy.used(float(at), "a", "")
        return policy.worth("a")

    usual = worth(uses=2, size=1_000_000, seconds=0.1)
    assert worth(uses=3, size=1_000_000, seconds=0.1) > usual
    assert worth(uses=2, size=2_000_000, seconds=0.1) < usual
    assert worth(uses=2, size=1_000_000, seconds=0.2) > usual


def test_cost_lets_go_of_what_was_popular_long_ago() -> None:
    policy = Cost()
    for name in ["old", *(f"new{number}" for number in range(200))]:
        policy.loaded(name, 1_000_000, 0.1)
    for at in range(20):
        policy.used(float(at), "old", "")
    for number in range(200):
        policy.used(100.0 + number, f"new{number}", "")
        if policy.worth("old") < policy.worth(f"new{number}"):
            return
        policy.evicted(f"new{number}")
    pytest.fail("it stays for ever")


def test_predictive_learns_what_follows_what() -> None:
    policy = Predictive()
    for round_ in range(20):
        for at, adapter in enumerate(["brick", "alfred", "babs"]):
            policy.used(round_ * 3.0 + at, adapter, "session")
    policy.used(61.0, "brick", "a session that just began")
    (guess, probability), *_ = policy.next("a session that just began")
    assert guess == "alfred"
    assert probability > 0.8


def test_predictive_falls_back_to_the_habits_of_the_session() -> None:
    policy = Predictive()
    for at in range(10):
        policy.used(float(at), "robin", "session")
    policy.used(11.0, "never seen before", "session")
    assert policy.next("session")[0][0] == "robin"


def test_predictive_expects_nothing_of_a_session_that_fell_silent() -> None:
    policy = Predictive()
    for at, adapter in enumerate("ababab"):
        policy.used(float(at), adapter, "session")
    expected = policy.worth("a")
    assert "a" in policy.passed(5.0 + HORIZON_S)
    assert policy.worth("a") < expected


def test_predictive_remembers_a_bounded_number_of_everything() -> None:
    policy, chance = Predictive(), random.Random(5)
    for number in range(10_000):
        for _ in range(2):
            policy.used(float(number), f"a{chance.randrange(50)}", f"s{number}")
    assert policy.sizes() == {"sessions": 4096, "successors": 50 * 8}


def test_what_is_likely_next_is_loaded_before_it_is_asked_for() -> None:
    world = World("predictive", Budgets(), SchedulingLimits(), slots=2)
    for adapter in "abc":
        world.register(adapter)
    world.ready()
    for _ in range(3):
        for adapter in "abc":
            world.ask(adapter, name="one", session="s")
            world.settle()
            world.end("one")
            world.settle()
    assert world.tier("a") is Tier.HOT, "after c comes a"
    world.ask("a", name="hit", session="s")
    assert world.runs == ["hit"]
    numbers = world.tiers.statistics()
    assert numbers.prefetched_used > 0
    assert numbers.prefetched >= numbers.prefetched_used


def learned(world: World, *adapters: str) -> None:
    """Have a session ask for the adapters, one after the other, until that is what is expected of it."""
    for _ in range(5):
        for adapter in adapters:
            world.ask(adapter, name="one", session="s")
            world.settle()
            world.end("one")
            world.settle()


def test_nothing_is_guessed_while_somebody_waits_for_a_load() -> None:
    world = World("predictive", Budgets(), SchedulingLimits(), slots=3)
    for adapter in "abc":
        world.register(adapter)
    world.ready()
    learned(world, "a", "b")
    world.lose_engine()
    world.ask("a", name="one", session="s")
    world.ask("c", name="two")
    world.instructions.clear()
    world.settle()
    admitted = [place for place, instruction in enumerate(world.instructions) if isinstance(instruction, Admit)]
    assert len(admitted) == 2
    assert world.instructions.index(ReadAdapter("b")) > max(admitted)


def test_two_guesses_do_not_push_each_other_out_for_ever() -> None:
    class Fickle(Predictive):
        """Wants most what it has just let go."""

        def evicted(self, adapter: str) -> None:
            self._base[adapter] = self._base.get(adapter, 0.0) + 1e9

    world = World("predictive", Budgets(ram=200), SchedulingLimits(guess=0.0), slots=1)
    world.tiers = Tiers(world.budgets, Fickle(), world.limits)
    for adapter in "abc":
        world.register(adapter)
    world.ready()
    learned(world, "a", "b", "a", "c")


def test_an_engine_is_not_stopped_under_a_move() -> None:
    world = World("predictive", Budgets(), SchedulingLimits(idle_s=10), slots=3)
    for adapter in "ab":
        world.register(adapter)
    world.ready()
    learned(world, "a", "b")
    world.lose_engine()
    world.ask("a", name="one", session="s")
    while "one" not in world.runs:
        world.ready() if world.starting else world.arrive(world.moving[0])
    world.end("one")
    assert world.moving == ["b"]
    assert world.tick(20) == []
    assert world.arrive("b") == [StopEngine()]


def test_a_guess_that_can_never_fit_is_given_up() -> None:
    world = World("predictive", Budgets(ram=250), SchedulingLimits(), slots=2)
    world.register("a")
    world.register("fat", ram=400)
    world.ready()
    for _ in range(3):
        for adapter in ("a", "fat"):
            world.ask(adapter, name="one", session="s")
            world.settle()
            world.end("one")
            world.settle()
    assert world.tier("a") is Tier.HOT
    assert world.instructions.count(ReadAdapter("fat")) == 1, "that it cannot fit is known then"


def test_each_policy_finds_more_than_the_one_before_where_it_should() -> None:
    """Sessions with habits, popular adapters, and RAM for a tenth: what the policies are for, in one trace."""
    cold = {name: _cold(name) for name in NAMES}
    assert cold["predictive"] < 0.8 * cold["cost"]
    assert cold["cost"] < cold["lru"]


def _cold(name: str) -> int:
    """How many of 1,000 requests found their adapter cold."""
    chance = random.Random(3)
    world = World(name, Budgets(ram=1000), SchedulingLimits(), slots=4)
    for number in range(100):
        world.register(f"a{number}")
    world.ready()
    clockwork = Clockwork(world, Durations(read=0.2, commit=0.02, run=0.5))
    popular = list(accumulate(1 / (1 + number) for number in range(100)))
    habits = {session: chance.choices(range(100), cum_weights=popular, k=4) for session in "stuvw"}
    turns = dict.fromkeys(habits, 0)
    for number in range(1000):
        session = chance.choice(list(habits))
        adapter = habits[session][turns[session] % 4]
        turns[session] += 1
        if chance.random() < 0.2:
            (adapter,) = chance.choices(range(100), cum_weights=popular)
        clockwork.at(float(number), "ask", {"adapter": f"a{adapter}", "name": str(number), "session": session})
    clockwork.run()
    return next(tier.arrivals for tier in world.tiers.statistics().tiers if tier.name is Tier.COLD)
