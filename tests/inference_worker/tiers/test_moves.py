"""What is loaded and what gives way: slots, RAM, disk, turns of the slots. Each test is one rule of `docs/scheduler.md`."""

import random

import pytest

from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import (
    Admit,
    Commit,
    Delete,
    Fetch,
    Priority,
    ReadAdapter,
    Refuse,
    Registered,
    Retire,
    StartEngine,
    Tier,
    Unload,
)
from tests.inference_worker.tiers.world import Clockwork, Durations, World


def world_with_engine(
    slots: int = 2, ram: int = 0, disk: int = 0, policy: str = "lru", limits: SchedulingLimits | None = None, adapters: str = "abcd"
) -> World:
    world = World(policy, Budgets(ram, disk), limits or SchedulingLimits(max_streams=4, reserved_streams=0, pass_s=0), slots)
    for name in adapters:
        world.register(name)
    world.ready()
    return world


def test_an_adapter_travels_from_the_peer_to_a_slot_and_then_its_request_runs() -> None:
    world = world_with_engine()
    world.register("far", remote=True)
    assert world.ask("far", name="one") == [Fetch("far")]
    assert world.arrive("far") == [ReadAdapter("far")]
    assert world.arrive("far") == [Commit("far")]
    assert world.arrive("far") == [Admit((b"c", "one"), Tier.REMOTE)]


def test_a_request_says_where_its_adapter_was_when_it_arrived() -> None:
    world = world_with_engine()
    world.heat("a")
    assert world.ask("a", name="one") == [Admit((b"c", "one"), Tier.HOT)]
    assert world.ask(name="two") == [Admit((b"c", "two"), None)]


def test_others_run_while_an_adapter_loads() -> None:
    world = world_with_engine()
    world.heat("a")
    world.ask("b", name="waits for b")
    world.ask("a", name="later, but hot")
    world.ask(name="later, without adapter")
    assert world.runs == ["later, but hot", "later, without adapter"]
    world.settle()
    assert "waits for b" in world.runs


def test_loading_begins_with_the_arrival_even_when_no_stream_is_free() -> None:
    world = world_with_engine()
    world.ask(name="busy", streams=4)
    assert world.ask("a", name="waits") == [ReadAdapter("a")]
    assert world.arrive("a") == [Commit("a")]
    world.arrive("a")
    assert world.runs == ["busy"]
    assert world.end("busy") == [Admit((b"c", "waits"), Tier.COLD)]


def test_files_are_fetched_while_the_engine_starts_but_nothing_is_read() -> None:
    world = World()
    world.register("a")
    world.register("far", remote=True)
    assert world.ask("a") == [StartEngine("base")]
    assert world.ask("far") == [Fetch("far")]
    assert ReadAdapter("a") in world.ready()


def test_adapters_load_in_the_order_of_the_requests_a_bounded_number_at_a_time() -> None:
    world = world_with_engine(adapters="abc")
    world.ask(name="busy", streams=4)
    world.ask("a")
    world.ask("b")
    world.ask("c", priority=Priority.INTERACTIVE)
    assert world.moving == ["a"], "one read at a time"
    assert world.arrive("a") == [ReadAdapter("c"), Commit("a")], "the person's before the tool's"


def test_the_least_recently_used_slot_gives_way_and_what_runs_never_does() -> None:
    world = world_with_engine(slots=2)
    world.heat("a", "b")
    world.ask("a", name="runs")
    world.ask("c", name="next")
    world.arrive("c")
    assert [instruction for instruction in world.instructions if isinstance(instruction, Retire)] == [Retire("b")]
    assert world.tier("b") is Tier.WARM, "its parsed copy stays"


def test_when_all_slots_run_the_next_adapter_waits_for_the_first_to_end() -> None:
    world = world_with_engine(slots=2)
    world.heat("a", "b")
    world.ask("a", name="on a")
    world.ask("b", name="on b")
    world.ask("c", name="on c")
    world.arrive("c")
    assert world.moving == [] and world.tier("c") is Tier.WARM
    assert world.end("on a") == [Retire("a"), Commit("c")]


def test_later_arrivals_for_a_slot_that_must_give_way_do_not_pass() -> None:
    world = world_with_engine(slots=1)
    world.heat("a")
    world.ask("a", name="runs")
    world.ask("b", name="waits for the slot")
    world.arrive("b")
    world.tick(1)
    world.ask("a", name="later")
    assert world.runs == ["runs"]
    world.end("runs")
    world.settle()
    assert world.runs == ["waits for the slot"]
    world.end("waits for the slot")
    world.settle()
    assert world.runs == ["later"]


def test_the_slot_that_admitted_nobody_for_the_longest_gives_way() -> None:
    world = world_with_engine(slots=2)
    world.heat("a", "b")
    world.tick(60)
    world.ask("b", name="on b")
    world.tick(1)
    world.ask("a", name="on a")
    world.ask("c", name="waits for a slot")
    world.arrive("c")
    world.ask("a", name="passes")
    world.ask("b", name="does not")
    assert world.runs == ["on b", "on a", "passes"]


def test_later_arrivals_may_pass_for_a_while() -> None:
    limits = SchedulingLimits(max_streams=4, reserved_streams=0, pass_s=2.0)
    world = world_with_engine(slots=1, limits=limits)
    world.heat("a")
    world.tick(60)
    world.ask("a", name="runs")
    world.ask("b", name="waits for the slot")
    world.arrive("b")
    world.ask("a", name="passes")
    world.tick(2.5)
    world.ask("a", name="too late")
    assert world.runs == ["runs", "passes"]


def test_a_slot_need_not_give_way_to_a_request_that_was_taken_back() -> None:
    world = world_with_engine(slots=1)
    world.heat("a")
    world.tick(60)
    world.ask("a", name="runs")
    world.ask("b", name="taken back")
    world.arrive("b")
    world.end("taken back")
    world.ask("a", name="later")
    assert world.runs == ["runs", "later"]
    world.ask("c", name="last")
    world.arrive("c")
    world.end("runs")
    assert Commit("c") in world.end("later"), "and the slot is free for others"


def test_a_slot_promised_to_a_tool_goes_to_a_person_who_came_since() -> None:
    world = world_with_engine(slots=1)
    world.heat("a")
    world.tick(60)
    world.ask("a", name="runs")
    world.ask("b", name="tool")
    world.arrive("b")
    world.ask("c", name="person", priority=Priority.INTERACTIVE)
    world.arrive("c")
    assert world.end("runs") == [Retire("a"), Commit("c")]


@pytest.mark.parametrize("policy", ["lru", "cost", "predictive"])
@pytest.mark.parametrize("ram", [0, 250, 600])
def test_more_than_slots_and_ram_can_serve_is_served_in_the_end(policy: str, ram: int) -> None:
    """Thirty adapters, three slots, all classes, twice what the engine can do: promises of slots are kept or taken over, never stuck."""
    names = [f"n{number}" for number in range(30)]
    limits = SchedulingLimits(max_streams=4, reserved_streams=1, ageing_s=5.0)
    world = world_with_engine(slots=3, ram=ram, policy=policy, limits=limits, adapters="")
    for name in names:
        world.register(name)
    clockwork, chance = Clockwork(world, Durations(commit=0.05)), random.Random(ram)
    for number in range(400):
        fields = {"adapter": chance.choice(names), "name": str(number), "priority": chance.choice(list(Priority))}
        clockwork.at(number / 8, "ask", fields | {"session": "st"[number % 2]})
    clockwork.run(until=2000.0)
    assert len(world.admitted) == 400


def test_all_that_wait_for_one_adapter_share_its_loading() -> None:
    """Two adapters, one slot, and their requests in turn: not one swap for each of them."""
    world = world_with_engine(slots=1, limits=SchedulingLimits(max_streams=4, reserved_streams=0))
    clockwork = Clockwork(world, Durations(read=0.1, commit=0.1, run=0.5))
    for number in range(100):
        clockwork.at(0.1 * number, "ask", {"adapter": "ab"[number % 2], "name": str(number)})
    clockwork.run()
    assert len(world.admitted) == 100
    assert world.counts["Commit"] <= 25


def test_an_adapter_that_took_long_to_load_is_used_for_longer() -> None:
    def commits(tenure: float) -> int:
        world = world_with_engine(slots=1, limits=SchedulingLimits(max_streams=4, reserved_streams=0, pass_s=0, tenure=tenure))
        clockwork = Clockwork(world, Durations(read=0.5, commit=0.5, run=0.2))
        for number in range(200):
            clockwork.at(0.1 * number, "ask", {"adapter": "ab"[number % 2], "name": str(number)})
        clockwork.run()
        return world.counts["Commit"]

    assert commits(tenure=4) < commits(tenure=0)


def test_a_flow_for_one_adapter_does_not_keep_its_slot_past_its_turn() -> None:
    world = world_with_engine(slots=1, limits=SchedulingLimits(max_streams=16, reserved_streams=0, ageing_s=1000, pass_s=1.0, tenure=4.0))
    clockwork = Clockwork(world, Durations(read=0.1, commit=0.1, run=1.0))
    for number in range(200):
        clockwork.at(0.1 * number, "ask", {"adapter": "a", "name": f"flow{number}"})
    clockwork.at(1.0, "ask", {"adapter": "b", "name": "b"})
    clockwork.run()
    assert world.admitted[(b"c", "b")] - 1.0 < 1.0 + 4 * 0.2 + 1.0 + 0.5


def test_an_overdue_request_gets_a_slot_from_a_flow_that_never_ends() -> None:
    limits = SchedulingLimits(max_streams=4, reserved_streams=0, ageing_s=2.0, pass_s=1e6, tenure=1e6)
    world = world_with_engine(slots=1, limits=limits)
    clockwork = Clockwork(world, Durations(run=1.0))
    for number in range(200):
        clockwork.at(0.1 * number, "ask", {"adapter": "a", "name": f"flow{number}"})
    clockwork.at(1.0, "ask", {"adapter": "b", "name": "b", "priority": Priority.BACKGROUND})
    clockwork.run()
    waited = world.admitted[(b"c", "b")] - 1.0
    assert 6.0 <= waited <= 6.0 + 4.0, "three lifts, then what runs ends"


def test_ram_is_kept_by_dropping_what_is_used_least_recently() -> None:
    world = world_with_engine(slots=1, ram=200)
    world.heat("a", "b")
    world.ask("c", name="c")
    assert Unload("a") in world.instructions
    world.settle()
    assert world.runs == ["c"]
    assert world.tier("a") is Tier.COLD


def test_ram_that_is_full_of_running_adapters_is_waited_for() -> None:
    world = world_with_engine(slots=4, ram=200)
    world.heat("a", "b")
    world.ask("a", name="on a")
    world.ask("b", name="on b")
    world.ask("c", name="on c")
    assert world.moving == []
    assert world.end("on a") == [Retire("a"), Unload("a"), ReadAdapter("c")]


def test_what_others_wait_for_is_dropped_only_for_somebody_before_them() -> None:
    world = world_with_engine(slots=1, ram=200)
    world.heat("a")
    world.ask("a", name="runs")
    world.ask("b", name="tool")
    world.arrive("b")
    world.ask("c", name="another tool")
    assert world.tier("b") is Tier.WARM and world.moving == []
    instructions = world.ask("d", name="person", priority=Priority.INTERACTIVE)
    assert instructions == [Unload("b"), ReadAdapter("d")]


def test_an_adapter_that_turns_out_larger_than_promised_pushes_others_out_or_goes() -> None:
    world = world_with_engine(slots=2, ram=250)
    world.heat("a")
    world.register("fat", size=100, ram=200)
    world.ask("fat", name="one")
    assert world.arrive("fat") == [Retire("a"), Unload("a"), Commit("fat")]


def test_one_that_nobody_waits_for_any_more_pushes_nobody_out() -> None:
    world = world_with_engine(slots=2, ram=250)
    world.heat("a")
    world.register("fat", size=100, ram=200)
    world.ask("fat", name="taken back")
    world.end("taken back")
    assert world.arrive("fat") == [Unload("fat")]


def test_an_adapter_larger_than_all_of_ram_is_refused_with_the_remedy() -> None:
    world = world_with_engine(ram=250)
    world.register("fat", size=200, ram=300)
    world.ask("fat", name="one")
    world.arrive("fat")
    refusal = world.refused[(b"c", "one")]
    assert refusal.type == "BadAdapter"
    assert "300 bytes" in refusal.reason and "250" in refusal.reason and "inference.ram_gib" in refusal.reason
    assert world.tier("fat") is Tier.COLD


def test_who_is_refused_gives_the_turn_to_others_at_once() -> None:
    world = world_with_engine(ram=250)
    world.register("fat", size=200, ram=300)
    world.ask("fat", name="its size is known now")
    world.arrive("fat")
    world.lose_engine()
    world.ask("fat", name="alone", alone=True)
    world.ask(name="other")
    assert world.ready()[-1] == Admit((b"c", "other"))


def test_disk_is_kept_by_deleting_what_came_from_a_peer() -> None:
    world = world_with_engine(slots=1, disk=200)
    for name in ("far", "farther", "farthest"):
        world.register(name, remote=True)
        world.heat(name)
    assert [instruction for instruction in world.instructions if isinstance(instruction, Delete)] == [Delete("far")]
    assert world.tier("a") is Tier.COLD, "what the owner of the blobs put here stays"


def test_what_was_fetched_before_a_restart_is_known_as_deletable() -> None:
    world = world_with_engine(slots=1, disk=250)
    for name in ("old", "older", "far"):
        world.register(name, remote=True)
    world.fetched_before("old")
    world.fetched_before("older")
    world.heat("old")
    world.ask("far", name="one")
    assert Delete("older") in world.instructions


def test_a_person_does_not_wait_for_slots_that_only_held_back_batches_hold() -> None:
    limits = SchedulingLimits(max_streams=4, reserved_streams=2, pass_s=0)
    world = world_with_engine(slots=2, limits=limits)
    world.ask("a", name="batch runs", streams=2, priority=Priority.BACKGROUND)
    world.settle()
    world.ask("b", name="batch waits", streams=2, priority=Priority.BACKGROUND)
    world.settle()
    assert (world.runs, world.tier("b")) == (["batch runs"], Tier.HOT)
    world.ask("c", name="person", priority=Priority.INTERACTIVE)
    world.settle()
    assert world.runs == ["batch runs", "person"]


def test_a_move_that_fails_refuses_who_waits_for_it_and_the_next_request_tries_again() -> None:
    world = world_with_engine()
    world.ask("a", name="one")
    world.ask("a", name="two")
    assert world.arrive("a", fails=True) == [
        Refuse((b"c", "one"), "BadAdapter", "adapter a: no luck"),
        Refuse((b"c", "two"), "BadAdapter", "adapter a: no luck"),
    ]
    assert world.ask("a", name="three") == [ReadAdapter("a")]


def test_a_request_for_an_adapter_nobody_registered_is_refused() -> None:
    world = world_with_engine()
    assert [type(instruction) for instruction in world.ask("unknown", name="one")] == [Refuse]
    assert world.refused[(b"c", "one")].type == "BadAdapter"


def test_a_removed_adapter_leaves_the_engine_once_nothing_runs_with_it() -> None:
    world = world_with_engine()
    world.heat("a")
    world.ask("a", name="runs")
    assert world.remove("a") == []
    assert [type(instruction) for instruction in world.ask("a", name="late")] == [Refuse]
    assert world.end("runs") == [Retire("a"), Unload("a")]
    assert world.tiers.statistics().registered == 3


def test_a_lost_engine_takes_ram_and_slots_along_but_not_the_files() -> None:
    world = world_with_engine()
    world.heat("a", "b")
    world.lose_engine()
    assert {tier.name: tier.adapters for tier in world.tiers.statistics().tiers}[Tier.COLD] == 4
    world.ask("a", name="one")
    world.settle()
    assert world.runs == ["one"]


def test_an_engine_without_slots_refuses_adapters_with_the_remedy() -> None:
    world = world_with_engine(slots=0)
    world.ask("a", name="one")
    assert "inference.max_loras" in world.refused[(b"c", "one")].reason


def test_an_adapter_registered_at_a_peer_that_then_appears_here_needs_no_fetch() -> None:
    world = world_with_engine()
    world.register("late", remote=True)
    assert world.ask("late", name="one") == [Fetch("late")]
    assert world.register("late") == [ReadAdapter("late")]


@pytest.mark.parametrize("size", [0, -1])
def test_an_adapter_of_no_bytes_is_the_drivers_fault(size: int) -> None:
    world = world_with_engine()
    with pytest.raises(ValueError, match="needs bytes"):
        world.tiers.handle(Registered(0.0, "empty", size, 8))


def test_statistics_show_tiers_adapters_and_waits() -> None:
    world = world_with_engine(slots=1, ram=250)
    world.heat("a", "b")
    world.at = 10.0
    world.ask("a", name="one")
    world.at = 13.0
    world.settle()
    numbers = world.tiers.statistics(limit=2)
    hot, warm, cold, _ = numbers.tiers
    assert (hot.adapters, hot.used, hot.budget, hot.entered, hot.left) == (1, 1000, 1000, 3, 2)
    assert (warm.adapters, warm.used, warm.budget, warm.arrivals) == (1, 200, 250, 1)
    assert (cold.arrivals, cold.adapters) == (2, 2)
    shown = [(adapter.adapter, adapter.tier, adapter.uses, adapter.idle_s) for adapter in numbers.adapters]
    assert shown == [("a", Tier.HOT, 2, 3.0), ("b", Tier.WARM, 1, 13.0)]
    assert numbers.adapters[0].load_s == pytest.approx(0.2)
    assert numbers.waits == {"p50": 0.0, "p90": 3.0, "p99": 3.0}
