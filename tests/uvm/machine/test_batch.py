"""One transaction for many messages: what happens to each when it conflicts, takes long, or comes twice."""

import time

import pytest
from ZODB.POSException import ConflictError

from tests.uvm.images import Bench, awakened
from uvm.machine import batch
from uvm.machine.batch import TRIES
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.protocol import Inspect, decode_value, encode


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(batch, "back_off", lambda tried: None)
    with awakened() as image:
        yield Bench(image)


def conflicting(bench, monkeypatch, times):
    """The next commits lose so many conflicts; how many messages each of them had."""
    commit, sizes = bench.image.manager.commit, []

    def lost():
        sizes.append(len(bench.batch.books.entries))
        if len(sizes) <= times:
            raise ConflictError("another one was first")
        commit()

    monkeypatch.setattr(bench.image.manager, "commit", lost)
    return sizes


def slots(bench, *names):
    return [bench.delivery("genesis_obj", "setSlot_value_", name, number) for number, name in enumerate(names)]


def test_all_messages_of_a_batch_are_one_commit(bench):
    before = bench.batch.commits
    outcomes = bench.run(*slots(bench, "a", "b", "c"))
    assert bench.batch.commits == before + 1 and all(isinstance(outcome, Answered) for outcome in outcomes)


def test_what_looks_behind_writes_of_its_batch_sees_what_was_written(bench):
    looks = Delivery(7, encode(Inspect(id=1, target="genesis_obj")), "local", False, 0.0, 60.0)
    *_, outcome = bench.run(*slots(bench, "a", "b"), looks)
    assert isinstance(outcome, Answered) and decode_value(outcome.result)["slots"]["b"] == 1


def test_from_the_third_conflict_on_messages_run_one_by_one(bench, monkeypatch):
    sizes = conflicting(bench, monkeypatch, 2)
    outcomes = bench.run(*slots(bench, "a", "b"))
    assert sizes == [2, 2, 1, 1] and all(isinstance(outcome, Answered) for outcome in outcomes)


def test_a_message_that_loses_every_conflict_is_answered_and_has_changed_nothing(bench, monkeypatch):
    conflicting(bench, monkeypatch, TRIES)
    (outcome,) = bench.run(*slots(bench, "a"))
    assert isinstance(outcome, Failed) and outcome.error.type == "Contention"
    assert decode_value(bench.send("genesis_obj", "respondsTo_", "a").result) is False


def test_behind_a_message_that_takes_long_the_others_are_not_begun(bench, monkeypatch):
    monkeypatch.setattr(batch, "LONG_S", -1.0)
    deliveries = slots(bench, "a", "b", "c")
    done = bench.batch.run(deliveries)
    assert [delivery for delivery, _, _ in done] == deliveries[:1]


def test_what_waited_past_its_deadline_is_not_run(bench):
    (late,) = slots(bench, "a")
    late.deadline = time.monotonic() - 1.0
    (outcome,) = bench.run(late)
    assert isinstance(outcome, Failed) and outcome.error.type == "DeadlineExceeded"
    assert decode_value(bench.send("genesis_obj", "respondsTo_", "a").result) is False


def test_the_same_number_twice_in_one_batch_acts_once(bench):
    bench.install("genesis_obj", "grow", "def grow(self):\n    self.size = self.size + 1\n    return self.size\n")
    bench.send("genesis_obj", "setSlot_value_", "size", 0)
    twice = [bench.delivery("genesis_obj", "grow", session="s", seq=1) for _ in range(2)]
    assert [decode_value(outcome.result) for outcome in bench.run(*twice)] == [1, 1]
    assert decode_value(bench.send("genesis_obj", "size").result) == 1


def test_a_message_that_cannot_be_stored_fails_alone(bench, monkeypatch):
    commit = bench.image.manager.commit

    def commits():
        if any("bad" in str(entry) for entry in bench.batch.books.entries):
            raise TypeError("no record can hold it")
        commit()

    monkeypatch.setattr(bench.image.manager, "commit", commits)
    good, bad = bench.run(*slots(bench, "good", "bad"))
    assert isinstance(good, Answered) and isinstance(bad, Failed) and bad.error.type == "KernelFault"
