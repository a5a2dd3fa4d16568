"""State updates: a follower that does what docs/protocol.md says stays equal to the snapshot, whatever writes."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from ZODB.DemoStorage import DemoStorage

from tests.follower import OUT, Follower, of_snapshot
from tests.uvm.images import Bench, awakened
from uvm.image import authors, tally
from uvm.image.image import Database, Image
from uvm.image.methods import install, method
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import Counter
from uvm.protocol import (
    Change,
    GetFullState,
    Inspect,
    ObjectState,
    Reference,
    Release,
    Result,
    State,
    StateUpdate,
    Step,
    Transaction,
    decode_value,
    encode,
)

_numbers = count(1)


class Twin:
    """One UVM of two that share an image, and what it publishes."""

    def __init__(self, database: Database, name: str, published: list[StateUpdate]) -> None:
        self.image = Image(database)
        self.bench = Bench(self.image, name)
        self._published = published
        self._name = name
        self.transactor = Transactor(self.image, name, publish=self._publish)

    def _publish(self, tid: bytes, changes: list[Change]) -> None:
        self._published.append(StateUpdate(tid, self._name, changes))

    def run(self, request: Any) -> Any:
        """Carry out a request: its value, its State, or None when it failed."""
        delivery = Delivery(next(_numbers), encode(request), "local", False, 0.0, 60.0)
        for _, outcome, tid in self.bench.batch.run([delivery]):
            if isinstance(outcome, Failed):
                return None
            assert isinstance(outcome, Answered)
            if outcome.changes:
                self._publish(tid, outcome.changes)
            return outcome.state if outcome.state is not None else decode_value(outcome.result)

    def send(self, target: Any, selector: str, *args: Any) -> Any:
        return self.run(self.bench.delivery(target, selector, *args).request)

    def inspect(self, reference: Reference) -> ObjectState | None:
        state = self.run(Inspect(1, reference))
        return None if state is None else msgspec.convert(state, ObjectState)

    def snapshot(self) -> State:
        objects, after, tid = [], b"", b""
        while True:
            page = self.run(GetFullState(1, after=after, tid=tid, limit=7))
            objects, after, tid = [*objects, *page.objects], page.after, page.tid
            if not after:
                return State(1, tid, objects, b"")


SOURCES = {
    "grow": "def grow(self):\n    self.tags.append(len(self.tags))\n    self._p_changed = True\n    return self.tags\n",
    "tally": "def tally(self):\n    self.total.add(1)\n    self._p_changed = True\n    return self.total\n",
    "adopt": "def adopt(self):\n    c = self.clone()\n    c.price = 4\n    self.child = c\n    return c\n",
}


class Street:
    """Two UVMs on an image, a follower of both, and objects to play with."""

    def __init__(self, database: Database) -> None:
        self.published: list[StateUpdate] = []
        self.first, self.second = (Twin(database, f"uvm-{number}", self.published) for number in (1, 2))
        self.follower = Follower(self.second.inspect)
        self.follower.start(self.first.snapshot())

    def teach(self, *selectors: str) -> None:
        """Give every object these methods."""
        traits = self.first.image
        for selector in selectors:
            behaviour = method(selector, SOURCES[selector], 0, "t", {})
            self.first.transactor.run(lambda behaviour=behaviour: install(traits.named("traits_obj"), behaviour))

    def follow(self, dice: random.Random | None = None) -> None:
        """Deliver what was published, in a random order."""
        if dice is not None:
            dice.shuffle(self.published)
        for update in self.published:
            self.follower.apply(update)
        self.published.clear()

    def check(self) -> None:
        followed, there = self.follower.state(), of_snapshot(self.first.snapshot())
        assert {reference: followed[reference] for reference in there} == there

    def close(self) -> None:
        for twin in (self.first, self.second):
            twin.image.connection.close()


@pytest.fixture
def street() -> Iterator[Street]:
    database = Database(DemoStorage())
    with awakened(database):
        street = Street(database)
        yield street
        street.close()


def changes_of(street: Street, reference: Reference) -> list[Change]:
    changes = [change for update in street.published for change in update.changes if change.reference == reference]
    street.follow()
    return changes


def test_a_change_carries_parents_methods_and_names(street: Street) -> None:
    article, base = street.first.send("genesis_obj", "clone"), street.first.send("genesis_obj", "clone")
    street.first.send(article, "nameAs_", "item")
    street.first.send(base, "nameAs_", "base")
    street.follow()
    street.first.send(article, "addParent_", base)
    (parents,) = changes_of(street, article)
    assert parents.parents is not None and parents.parents[-1] == base and not parents.renamed
    holder = street.first.image
    street.first.transactor.run(lambda: install(holder.at(article), method("double", "def double(self):\n    return 2\n", 0, "t", {})))
    (installed,) = changes_of(street, article)
    assert list(installed.methods) == ["double"] and installed.slots == {}
    street.first.send(article, "forgetName_", "item")
    (renamed,) = changes_of(street, article)
    assert renamed.renamed and renamed.names == []


def test_a_new_object_comes_whole_and_an_old_one_that_becomes_reachable_says_again(street: Street) -> None:
    old = street.first.send("genesis_obj", "clone")
    street.first.send(old, "setSlot_value_", "price", 3)
    street.teach("adopt")
    street.first.send(street.first.send("genesis_obj", "clone"), "nameAs_", "shop")
    street.follow()
    child = street.first.send("shop", "adopt")
    (whole,) = changes_of(street, child)
    assert whole.whole and whole.slots["price"] == 4 and whole.parents
    street.first.send("shop", "setSlot_value_", "old", old)
    (again,) = changes_of(street, old)
    assert again.again and again.slots == {}
    street.check()


def test_a_counter_that_two_processes_moved_at_once_says_again(street: Street) -> None:
    commit = street.first.image.manager.commit

    def late() -> None:
        street.first.image.manager.commit = commit
        street.second.send("genesis_obj", "clone")
        commit()

    street.first.image.manager.commit = late
    street.first.send("genesis_obj", "clone")
    genesis = [change for update in street.published for change in update.changes]
    assert [change.again for change in genesis] == [False, True]
    assert street.first.bench.batch.conflicts == 0
    street.follow()
    street.check()


def test_what_is_too_large_for_an_update_says_again(street: Street) -> None:
    street.first.send("genesis_obj", "setSlot_value_", "long", "x" * 3_000_000)
    (update,) = street.published
    assert [(change.again, change.slots) for change in update.changes] == [(True, {})]


def teach(twin: Twin, target: Reference, selector: str, source: str) -> None:
    """Give an object a method by the persona t."""

    def put() -> None:
        made = method(selector, source, 0, "t", {"mode": "base"})
        install(twin.image.at(target), made)
        authors.enter(twin.image, made, target.oid)
        tally.count(twin.image, "methods")

    twin.transactor.run(put)


def test_a_method_that_goes_out_of_use_is_told_wherever_it_stands(street: Street) -> None:
    item, later = street.first.send("genesis_obj", "clone"), street.first.send("genesis_obj", "clone")
    street.first.send(item, "nameAs_", "item")
    street.first.send(later, "nameAs_", "later")
    teach(street.first, item, "worth", "def worth(self):\n    return 2\n")
    twin = street.first.send(item, "clone")
    street.first.send(twin, "nameAs_", "twin")
    street.follow()

    def out() -> dict[Reference, Any]:
        street.follow(random.Random(1))
        street.check()
        followed = street.follower.state()
        return {one: followed[one].get(OUT, []) for one in (item, twin)}

    assert out() == {item: [], twin: []}
    street.first.send("pLLM_obj", "revokeAuthor_", "persona", "t")
    assert out() == {item: ["worth"], twin: ["worth"]}
    third = street.second.send(twin, "clone")
    street.second.send(later, "setSlot_value_", "third", third)
    street.follow()
    street.check()
    assert street.follower.state()[third][OUT] == ["worth"], "one that is made with it has it out of use as well"
    street.second.send("pLLM_obj", "restoreAuthor_", "persona", "t")
    assert out() == {item: [], twin: []}
    fresh = Follower(street.second.inspect)
    street.first.send("pLLM_obj", "revokeAuthor_", "persona", "t")
    fresh.start(street.first.snapshot())
    assert fresh.state()[item][OUT] == ["worth"], "a snapshot says it as well"


def play(street: Street, dice: random.Random, objects: list[Reference]) -> None:
    """One random write, by either process."""
    twin = dice.choice([street.first, street.second])
    target, argument = dice.choice(objects), dice.choice(objects)
    slot = dice.choice("abcd")
    match dice.randrange(22):
        case 0:
            clone = twin.send(target, "clone")
            if clone is not None:
                objects.append(clone)
        case 1:
            twin.send(target, "setSlot_value_", slot, dice.choice([1, 1.0, True, None, "é", {1: ["x"]}, b"\x00"]))
        case 2:
            twin.send(target, "setSlot_value_", slot, argument)
        case 3:
            twin.send(target, "setSlot_value_", slot, {"of": [argument, dice.choice(objects)]})
        case 4:
            twin.send(target, "removeSlot_", slot)
        case 5:
            twin.send(target, "addParent_", argument)
        case 6:
            twin.send(target, "removeParent_", argument)
        case 7:
            twin.send(target, "nameAs_", f"name {dice.randrange(6)}")
        case 8:
            twin.send(target, "forgetName_", f"name {dice.randrange(6)}")
        case 9:
            twin.send(target, "grow")
        case 10:
            twin.send(target, "tally")
        case 11:
            named = Step(Result(0), "nameAs_", [f"name {dice.randrange(6)}"])
            twin.run(Transaction(id=1, sends=[Step(target, "adopt"), Step(argument, "setSlot_value_", ["a", Result(0)]), named]))
            twin.run(Transaction(id=1, sends=[Step(target, "clone"), named]))
        case 12:
            source = f"def {slot}(self):\n    return {dice.randrange(9)}\n"
            teach(twin, target, slot, source)
        case 13:
            twin.transactor.run(lambda: twin.image.named("heartbeat_obj").put("last", {"n": dice.random()}))
        case 14:
            twin.send(target, "compareAndSet_", slot, 1, 2)
        case 15:
            twin.run(Release(1, [argument]))
        case 16 | 17:
            twin.send("pLLM_obj", "revokeAuthor_", "persona", "t")
        case 18 | 19:
            twin.send("pLLM_obj", "restoreAuthor_", "persona", "t")
        case _:
            listed = twin.send("genesis_obj", "recent_", "", 30)["entries"]
            entry = dice.choice([entry for entry in listed if "tags" not in [change["slot"] for change in entry.get("changes", ())]])
            twin.send("genesis_obj", "undo_", entry["entry"], False, False, dice.random() < 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_a_follower_stays_equal_to_the_snapshot_through_every_kind_of_write(street: Street, seed: int) -> None:
    dice = random.Random(seed)
    street.teach("grow", "tally", "adopt")
    objects: list[Reference] = [street.first.send("genesis_obj", "clone") for _ in range(3)]
    for number, reference in enumerate(objects):
        street.first.send(reference, "setSlot_value_", "tags", [])
        street.first.transactor.run(lambda reference=reference: street.first.image.at(reference).put("total", Counter(0)))
        street.first.send(reference, "nameAs_", f"name {number}")
    for _ in range(40):
        for _ in range(dice.randrange(1, 6)):
            play(street, dice, objects)
        street.follow(dice)
        street.check()
