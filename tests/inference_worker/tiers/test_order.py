"""Who runs when: turns, streams, priorities, ageing, fairness, ranks. Each test is one rule of `docs/scheduler.md`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_worker.tiers.budgets import SchedulingLimits
from inference_worker.tiers.events import (
    Admit,
    EngineGone,
    EngineReady,
    Priority,
    RequestArrived,
    RequestEnded,
    StartEngine,
    StopEngine,
    Ticked,
)
from tests.inference_worker.tiers.world import Clockwork, Durations, World

FOUR = SchedulingLimits(max_streams=4, reserved_streams=0)


def world_with_engine(limits: SchedulingLimits = FOUR, slots: int = 2, policy: str = "lru") -> World:
    world = World(policy, limits=limits, slots=slots)
    world.ready()
    return world


def test_the_first_request_starts_the_engine_and_runs_when_it_is_ready() -> None:
    world = World()
    assert world.ask(name="one") == [StartEngine("base")]
    assert world.ready() == [Admit((b"c", "one"))]


def test_a_request_runs_at_once_while_there_are_streams() -> None:
    world = world_with_engine()
    world.ask(name="three", streams=3)
    world.ask(name="one", streams=1)
    world.ask(name="late", streams=1)
    assert world.runs == ["three", "one"]
    world.end("one")
    assert world.runs == ["three", "late"]


def test_a_large_request_is_not_passed_by_a_flow_of_small_ones() -> None:
    world = world_with_engine()
    world.ask(name="small", streams=2)
    world.ask(name="large", streams=4)
    world.ask(name="later", streams=1)
    assert world.runs == ["small"], "two streams are free, but the large one is first"
    world.end("small")
    assert world.runs == ["large"]


def test_a_request_larger_than_the_engine_runs_by_itself() -> None:
    world = world_with_engine()
    world.ask(name="huge", streams=9)
    world.ask(name="small")
    assert world.runs == ["huge"]
    world.end("huge")
    assert world.runs == ["small"]


def test_models_take_turns_and_later_arrivals_do_not_pass() -> None:
    world = World(limits=FOUR)
    world.ask(name="a1", model="a")
    world.ask(name="b1", model="b")
    world.ask(name="a2", model="a")
    world.ready("a")
    assert world.runs == ["a1", "a2"], "they waited when the turn began"
    world.ask(name="a3", model="a")
    assert world.runs == ["a1", "a2"], "a later arrival does not pass the other model"
    world.end("a1")
    assert world.end("a2") == [StartEngine("b")]
    world.ready("b")
    assert world.runs == ["b1"]
    assert world.end("b1") == [StartEngine("a")]
    world.ready("a")
    assert world.runs == ["a3"]


def test_an_engine_that_is_starting_is_not_called_back_for_another_model() -> None:
    world = World(limits=FOUR)
    world.ask(name="a1", model="a")
    assert world.ask(name="b1", model="b", priority=Priority.INTERACTIVE) == []
    world.ready("a")
    assert world.runs == ["a1"]


def test_a_request_that_must_be_alone_runs_alone() -> None:
    world = world_with_engine()
    world.ask(name="before")
    world.ask(name="suspect", alone=True)
    world.ask(name="after")
    assert world.runs == ["before"]
    world.end("before")
    assert world.runs == ["suspect"]
    world.end("suspect")
    assert world.runs == ["after"]


def test_a_person_goes_before_a_tool_and_a_tool_before_nobody() -> None:
    world = world_with_engine()
    world.ask(name="busy", streams=4)
    world.ask(name="heartbeat", streams=4, priority=Priority.BACKGROUND)
    world.ask(name="tool", streams=4)
    world.ask(name="person", streams=4, priority=Priority.INTERACTIVE)
    order = []
    for _ in range(4):
        order += world.runs
        world.end(world.runs[0])
    assert order == ["busy", "person", "tool", "heartbeat"]


def test_background_requests_leave_streams_free_for_a_person() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=4, reserved_streams=1))
    for number in range(5):
        world.ask(name=f"b{number}", priority=Priority.BACKGROUND)
    assert world.runs == ["b0", "b1", "b2"]
    world.ask(name="person", priority=Priority.INTERACTIVE)
    assert world.runs[-1] == "person"


def test_background_requests_do_not_pass_each_other() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=4, reserved_streams=1))
    world.heat("hot")
    world.ask(name="first", streams=2, priority=Priority.BACKGROUND)
    world.ask(name="second", streams=2, priority=Priority.BACKGROUND)
    world.ask("hot", name="third", streams=1, priority=Priority.BACKGROUND)
    assert world.runs == ["first"]
    world.end("first")
    assert world.runs == ["second", "third"]


def test_a_background_batch_that_would_take_the_reserve_runs_when_nothing_else_does() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=4, reserved_streams=1))
    world.ask(name="tool")
    world.ask(name="batch", streams=4, priority=Priority.BACKGROUND)
    world.ask(name="other tool")
    assert world.runs == ["tool", "other tool"]
    world.end("tool")
    world.end("other tool")
    assert world.runs == ["batch"]


def test_waiting_lifts_a_request_by_one_class_each_time() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=1, reserved_streams=0, ageing_s=20))
    world.ask(name="busy")
    world.ask(name="old tool")
    world.tick(21)
    world.ask(name="person", priority=Priority.INTERACTIVE)
    world.ask(name="new tool")
    order = []
    for _ in range(4):
        order += world.runs
        world.end(world.runs[0])
    assert order == ["busy", "old tool", "person", "new tool"]


def test_a_flood_that_grew_old_does_not_become_a_wall_for_a_person() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=1, reserved_streams=0, ageing_s=1))
    for number in range(20):
        world.ask(name=f"flood{number}")
    world.tick(100)
    world.ask(name="person", priority=Priority.INTERACTIVE)
    for _ in range(2):
        world.end(world.runs[0])
    assert world.runs == ["person"]


def test_a_model_nobody_else_asks_for_gets_its_turn_from_a_flow_of_another() -> None:
    world = World(limits=SchedulingLimits(max_streams=4, reserved_streams=0, ageing_s=3.0))
    clockwork = Clockwork(world, Durations(start=5.0, run=1.0))
    for number in range(600):
        clockwork.at(0.1 * number, "ask", {"name": f"flow{number}", "model": "a", "priority": Priority.INTERACTIVE})
    clockwork.at(1.0, "ask", {"name": "other", "model": "b", "priority": Priority.BACKGROUND})
    clockwork.run()
    most_in_turn = 0.1 * 600 / 4
    assert world.admitted[(b"c", "other")] <= 1.0 + 3 * 3.0 + most_in_turn + 1.0 + 5.0
    assert len(world.admitted) == 601


def test_what_a_client_took_back_is_not_charged() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=1, reserved_streams=0))
    world.ask(name="busy")
    for number in range(5):
        world.ask(name=f"mistake{number}", client="hasty")
    for number in reversed(range(5)):
        world.end(f"mistake{number}")
    for number in range(3):
        world.ask(name=f"other{number}", client="other")
    world.ask(name="meant", client="hasty")
    world.end("busy")
    world.end("other0")
    assert world.runs == ["meant"]


def test_clients_share_alike_however_much_one_of_them_asks() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=1, reserved_streams=0))
    for number in range(6):
        world.ask(name=f"greedy{number}", client="greedy")
    world.ask(name="modest0", client="modest")
    world.ask(name="modest1", client="modest")
    order = []
    for _ in range(5):
        order += world.runs
        world.end(world.runs[0])
    assert order == ["greedy0", "modest0", "greedy1", "modest1", "greedy2"]


def test_streams_count_in_what_a_client_has_had() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=4, reserved_streams=0))
    world.ask(name="busy", streams=4)
    for number in range(3):
        world.ask(name=f"wide{number}", streams=4, client="wide")
    for number in range(5):
        world.ask(name=f"narrow{number}", client="narrow")
    world.end("busy")
    assert world.runs == ["wide0"]
    world.end("wide0")
    assert world.runs == ["narrow0", "narrow1", "narrow2", "narrow3"], "four of one stream are worth one of four"


def test_of_two_as_good_the_one_whose_rank_is_paid_for_goes_first() -> None:
    world = world_with_engine(slots=3, limits=SchedulingLimits(max_streams=2, reserved_streams=0))
    world.register("small", rank=8)
    world.register("small too", rank=8)
    world.register("large", rank=64)
    world.heat("small", "small too", "large")
    world.ask("small", name="runs")
    world.ask("small", name="full")
    world.ask("large", name="dear")
    world.ask("small too", name="cheap")
    world.end("full")
    assert world.runs == ["runs", "cheap"], "a step with a rank of 64 would cost everybody more"
    world.end("runs")
    world.end("cheap")
    assert world.runs == ["dear"]


def test_nobody_is_passed_for_the_rank_more_often_than_the_window() -> None:
    world = world_with_engine(slots=2, limits=SchedulingLimits(max_streams=2, reserved_streams=0, window=3, ageing_s=1000))
    world.register("small", rank=8)
    world.register("large", rank=64)
    world.heat("small", "large")
    world.ask("small", name="runs")
    world.ask("small", name="s0")
    world.ask("large", name="dear")
    for number in range(1, 9):
        world.ask("small", name=f"s{number}")
    for _ in range(3):
        world.end(world.runs[1])
        assert "dear" not in world.runs
    world.end(world.runs[1])
    assert "dear" in world.runs


def test_an_idle_engine_is_stopped_and_started_again_when_somebody_asks() -> None:
    world = world_with_engine(SchedulingLimits(idle_s=10))
    world.ask(name="one")
    assert world.tick(30) == [], "it is in use"
    world.end("one")
    assert world.tick(9) == []
    assert world.tick(2) == [StopEngine()]
    assert world.ask(name="two") == [], "first it must be gone"
    assert world.lose_engine() == [StartEngine("base")]


def test_zero_idle_seconds_is_never() -> None:
    world = world_with_engine(SchedulingLimits(idle_s=0))
    assert world.tick(1e6) == []


def test_an_engine_that_died_is_started_again_and_who_waited_just_waits() -> None:
    world = world_with_engine(SchedulingLimits(max_streams=1, reserved_streams=0))
    world.ask(name="runs")
    world.ask(name="waits")
    assert StartEngine("base") in world.lose_engine()
    world.ready()
    assert world.runs == ["waits"]


def test_who_waits_for_a_model_that_cannot_be_loaded_is_told_so() -> None:
    world = World()
    world.register("a")
    world.ask(name="one")
    world.ask("a", name="two")
    world.ask(name="other", model="other")
    instructions = world.lose_engine(hopeless=True)
    assert {key[1]: refusal.type for key, refusal in world.refused.items()} == {"one": "EngineStartFailed", "two": "EngineStartFailed"}
    assert instructions[-1] == StartEngine("other")


def test_who_takes_a_request_back_makes_room() -> None:
    world = world_with_engine()
    world.ask(name="runs", streams=4)
    world.ask(name="large", streams=4)
    world.ask(name="small")
    world.end("large")
    world.end("runs")
    assert world.runs == ["small"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (RequestArrived(0.0, (b"c", "one"), "base"), "waiting or running"),
        (RequestArrived(0.0, (b"c", "two"), "base", streams=0), "at least 1"),
        (EngineReady(0.0, "base", -1, 0), "negative"),
    ],
)
def test_what_no_driver_may_say_is_an_error_and_changes_nothing(event: RequestArrived | EngineReady, words: str) -> None:
    world = world_with_engine()
    world.ask(name="one")
    before = world.tiers.statistics()
    with pytest.raises(ValueError, match=words):
        world.tiers.handle(event)
    assert world.tiers.statistics() == before


def test_what_the_core_does_not_know_of_changes_nothing() -> None:
    world = world_with_engine()
    for event in (RequestEnded(0.0, (b"c", "stranger")), EngineGone(0.0, "a model of the past", "", True), Ticked(0.0)):
        assert world.tell(event) == []


arrival = st.tuples(
    st.floats(0, 30),
    st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "e"])),
    st.sampled_from([1, 1, 1, 2, 4, 6]),
    st.sampled_from(list(Priority)),
    st.sampled_from("xyz"),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(arrival, max_size=60), st.sampled_from(["lru", "cost", "predictive"]), st.integers(1, 3), st.integers(0, 3))
def test_nobody_waits_longer_than_the_bound(
    history: list[tuple[float, str | None, int, Priority, str]], policy: str, slots: int, reserved: int
) -> None:
    """The bound of docs/scheduler.md: past its lifts a request waits for those that were overdue before it, and a person between each."""
    limits = SchedulingLimits(max_streams=4, reserved_streams=reserved, ageing_s=3.0)
    durations = Durations()
    world = World(policy, limits=limits, slots=slots)
    for name in "abcde":
        world.register(name)
    world.ready()
    clockwork = Clockwork(world, durations)
    for number, (at, adapter, streams, priority, client) in enumerate(history):
        fields = {"adapter": adapter, "name": str(number), "streams": streams, "priority": priority, "client": client}
        clockwork.at(at, "ask", fields)
    clockwork.run()
    assert len(world.admitted) == len(history)
    step = 2 * (durations.run + durations.read + durations.commit) + 1.0
    old = {(b"c", str(number)): at + (priority + 1) * limits.ageing_s for number, (at, _, _, priority, _) in enumerate(history)}
    for key, admitted in world.admitted.items():
        ahead = sum(earlier != key and old[earlier] <= old[key] and world.admitted[earlier] > old[key] for earlier in old)
        assert admitted <= old[key] + 1.0 + 2 * (ahead + 1) * step
