"""Prototypes: delegation, its cache, and merging what two processes changed."""

from operator import attrgetter

import pytest
import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.POSException import ConflictError

from tests.uvm.images import new_database
from uvm.objects import ABSENT, ANCESTORS, PARENTS, Counter, MergingQueue, MergingSet, UvmObject, merge_slots


def test_a_slot_is_found_in_the_first_parent_that_has_it():
    near, far = UvmObject({"colour": "red"}), UvmObject({"colour": "blue", "size": 3})
    child = UvmObject({PARENTS: [near, far]})
    assert (child.colour, child.size) == ("red", 3)
    child.colour = "green"
    assert (child.colour, near.colour) == ("green", "red")


def test_names_that_begin_with_an_underscore_never_reach_the_slots():
    child = UvmObject({PARENTS: [UvmObject({"__len__": 5, "_secret": 1})]})
    with pytest.raises(AttributeError):
        attrgetter("_secret")(child)
    with pytest.raises(TypeError):
        len(child)


def test_a_change_by_another_connection_is_seen_through_the_parent_cache():
    database = new_database()
    here, there = transaction.TransactionManager(), transaction.TransactionManager()
    writer, reader = database.open(here), database.open(there)
    writer.root()["child"] = UvmObject({PARENTS: [UvmObject({PARENTS: [UvmObject({"rate": 1})]})]})
    here.commit()
    there.begin()
    assert reader.root()["child"].rate == 1
    writer.root()["child"].parents()[0].parents()[0].rate = 2
    here.commit()
    there.begin()
    assert reader.root()["child"].rate == 2
    writer.close()
    reader.close()
    database.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["put", "drop", "undo", "commit"])),
        max_size=40,
    )
)
def test_cached_lookup_always_agrees_with_a_plain_walk(steps):
    database = new_database()
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    chain = [UvmObject({"a": -1})]
    for _ in range(4):
        chain.append(UvmObject({PARENTS: [chain[-1]]}))
    connection.root()["chain"] = chain
    manager.commit()
    for depth, name, value, action in steps:
        owner = chain[depth]
        if action == "put":
            owner.put(name, value)
        elif action == "drop" and name in owner._slots:
            owner.drop(name)
        elif action == "undo":
            manager.abort()
        elif action == "commit":
            manager.commit()
        for leaf in chain:
            for slot in "abc":
                holder = leaf.holder(slot)
                assert leaf.lookup(slot) == (holder.own(slot) if holder else ABSENT)
    manager.abort()
    connection.close()
    database.close()


def test_a_chain_of_thousands_of_parents_is_looked_through_as_far_as_the_bound():
    far = chain = UvmObject({"far": 1})
    for number in range(5000):
        chain = UvmObject({PARENTS: [chain], "depth": number})
        if number == 4900:
            chain.put("near", 7)
    assert (chain.lookup("near"), chain.lookup("far"), chain.lookup("nothing")) == (7, ABSENT, ABSENT)
    wide = UvmObject({PARENTS: [UvmObject({PARENTS: [far], f"s{number}": number}) for number in range(5000)]})
    assert (wide.lookup("s3"), wide.lookup("far"), len(list(wide.chain()))) == (3, 1, ANCESTORS + 1)


def test_changes_of_different_slots_merge():
    old = {"a": 1, "b": 2, "c": 3}
    assert merge_slots(old, {"a": 9, "b": 2, "c": 3}, {"a": 1, "b": 2, "d": 4}) == {"a": 9, "b": 2, "d": 4}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [({"a": 2}, {"a": 2}), ({"a": 2}, {}), ({"a": 1, "x": 1}, {"a": 1, "x": 1}), ({"a": True}, {"a": 5})],
    ids=["equal values", "set and removed", "both made it", "another type"],
)
def test_the_same_slot_on_both_sides_conflicts(theirs, ours):
    with pytest.raises(ConflictError):
        merge_slots({"a": 1}, theirs, ours)


@pytest.mark.parametrize("mark", [{"is*": "message"}, {"is*": "codex"}, {"atomic*": True}])
def test_what_must_not_merge_conflicts_even_in_different_slots(mark):
    with pytest.raises(ConflictError):
        merge_slots({**mark, "a": 1}, {**mark, "a": 2}, {**mark, "a": 1, "b": 1})


def test_a_change_of_parents_never_merges():
    with pytest.raises(ConflictError):
        merge_slots({PARENTS: [], "a": 1}, {PARENTS: [], "a": 2}, {PARENTS: ["p"], "a": 1})


def test_counters_add_what_both_sides_added():
    merged = merge_slots({"n": Counter(10)}, {"n": Counter(13)}, {"n": Counter(8)})
    assert merged["n"].plain() == 11


def test_sets_keep_both_sides_additions_and_removals():
    merged = merge_slots({"s": MergingSet([1, 2])}, {"s": MergingSet([2, 3])}, {"s": MergingSet([1, 2, 4])})
    assert set(merged["s"].plain()) == {2, 3, 4}


@given(st.lists(st.integers(), max_size=6), st.integers(0, 6), st.lists(st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
def test_a_queue_loses_and_doubles_nothing_when_one_side_takes(queued, takes, put_here, put_there):
    old = MergingQueue(queued)
    here, there = old.copied(), old.copied()
    values_taken = [here.take() for _ in range(min(takes, len(queued)))]
    for value in put_here:
        here.put(value)
    for value in put_there:
        there.put(value)
    merged = old.merged(there, here)
    assert sorted(values_taken + merged.plain()) == sorted(queued + put_here + put_there)


def test_a_queue_that_both_sides_took_from_conflicts():
    old = MergingQueue([1, 2])
    here, there = old.copied(), old.copied()
    here.take()
    there.take()
    with pytest.raises(ConflictError):
        old.merged(there, here)
