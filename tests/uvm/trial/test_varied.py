"""A draft on perturbed copies: what tells two drafts apart that agree on the values that are there."""

import time

from msgspec.structs import replace

from tests.uvm.trial.conftest import World
from uvm.protocol import Reference
from uvm.trial.client import TrialServer
from uvm.trial.protocol import TrialOutcome

SUM = "def total(self):\n    return self.price * self.quantity\n"


def varied(world: World, server: TrialServer, source: str, *args: object, **changes: object) -> TrialOutcome:
    outcome = world.run(server, replace(world.request(source, *args), varied=8, seed="key", **changes))
    assert outcome.kind == "ok", outcome.error
    return outcome


def digests(outcome: TrialOutcome) -> list[str]:
    return [run.digest for run in outcome.varied]


def test_drafts_that_mean_the_same_do_the_same_on_every_copy_and_others_do_not(world: World, server: TrialServer) -> None:
    same = "def total(self):\n    result = 0.0\n    for n in range(self.quantity):\n        result += self.price\n    return result\n"
    lucky = "def total(self):\n    return self.price + self.price\n"  # the quantity is 2
    first, second, third = (varied(world, server, source) for source in (SUM, same, lucky))
    assert first.result == second.result == third.result == 7.0
    assert digests(first) == digests(second) and len(first.varied) == 8
    assert sum(a != b for a, b in zip(digests(first), digests(third), strict=True)) >= 4
    run = next(run for run in first.varied if run.told)
    assert run.result == run.slots["price"] * run.slots["quantity"] and run.changed == {} and type(run.slots["price"]) is float


def test_what_a_run_changes_belongs_to_what_it_does_and_nothing_of_it_stays(world: World, server: TrialServer) -> None:
    before = world.digest()
    source = "def tag(self, a):\n    self.tags.append(a)\n    self._p_changed = True\n    return len(self.tags)\n"
    outcome = varied(world, server, source, "new")
    silent = varied(world, server, "def tag(self, a):\n    return len(self.tags) + 1\n", "new")
    assert not set(digests(outcome)) & set(digests(silent))
    whole = [run for run in outcome.varied if run.told]
    assert all(run.changed == {"tags": [*run.slots["tags"], run.args[0]]} and run.result == len(run.changed["tags"]) for run in whole)
    assert [effect.slot for effect in outcome.effects] == ["tags"] and world.digest() == before


def test_other_objects_that_the_draft_looked_at_are_changed_in_some_copies(world: World, server: TrialServer) -> None:
    outcome = varied(world, server, "def far(self):\n    return self.friend.price\n")
    assert len(set(digests(outcome))) >= 3
    assert all(run.result == 10.0 for run in outcome.varied if run.told), "where others are changed, no example could say so"


def test_failures_are_told_by_their_type_and_do_not_fail_the_draft(world: World, server: TrialServer) -> None:
    source = "def risky(self):\n    return 10 / self.quantity + self.tags[0].nothing_at_all()\n"
    world.shop.put("tags", [world.buyer])
    world.image.manager.commit()
    world.image.manager.begin()
    failing = varied(world, server, "def risky(self):\n    return 10 % self.quantity\n", selector="risky")
    assert {run.error for run in failing.varied} <= {"", "ZeroDivisionError"}
    outcome = world.run(server, replace(world.request(source), varied=8, seed="key"))
    assert outcome.kind == "need" and not outcome.varied


def test_runs_are_bounded_in_work_and_cost_little(world: World, server: TrialServer) -> None:
    world.shop.put("quantity", 90_000)
    world.image.manager.commit()
    world.image.manager.begin()
    source = "def long(self):\n    total = 0\n    for n in range(self.quantity):\n        total += n\n    return total\n"
    outcome = varied(world, server, source, ticks=2_000_000)
    assert outcome.ticks_used == world.run(server, replace(world.request(source), ticks=2_000_000)).ticks_used
    assert any(run.error == "TickLimit" or "Tick" in run.error for run in outcome.varied), [run.error for run in outcome.varied]
    began = time.monotonic()
    with_runs = varied(world, server, SUM)
    assert with_runs.seconds < 1.0 and time.monotonic() - began < 10


def test_no_runs_where_none_are_asked_for_or_the_draft_is_not_fit(world: World, server: TrialServer) -> None:
    assert not world.run(server, world.request(SUM)).varied
    assert not world.run(server, replace(world.request("def total(self):\n    self.tags.append(1)\n"), varied=8)).varied
    assert Reference(world.shop._p_oid)
