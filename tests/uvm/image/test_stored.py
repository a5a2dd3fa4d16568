"""The quota of stored bytes: whose bytes an object holds, what is refused, and that an account is the sum of what objects say."""

from functools import partial
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

from deploy.settings import Configuration, Home, Settings
from tests.uvm.houses import House, make_shop
from tests.uvm.images import Bench, awakened
from uvm.heartbeat.heartbeat import Heartbeat
from uvm.image import nursery
from uvm.image.image import Database, Image
from uvm.image.queries import view_tid
from uvm.image.stored import accounts, bytes_held, charged, drift
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import CHARGED, UvmObject, merge_slots
from uvm.protocol import CreateMethod, decode_value, encode
from uvm.rights import Limits

ALLOWED = 20_000
MUCH = "x" * 8_000


class Users:
    """Messages of several principals to one UVM; `allowed`: what each may hold."""

    def __init__(self, image, name="uvm-1", allowed=ALLOWED):
        self.image = image
        self.bench = Bench(image, name)
        self.allowed = allowed

    def send(self, principal, target, selector, *args, allowed=None):
        delivery = self.bench.delivery(target, selector, *args)
        delivery.principal = principal
        delivery.limits = Limits(stored=self.allowed if allowed is None else allowed)
        return self.bench.run(delivery)[0]

    def make(self, principal, **options):
        return decode_value(self.answered(self.send(principal, "genesis_obj", "clone", **options)).result)

    def put(self, principal, target, slot, value, **options):
        return self.send(principal, target, "setSlot_value_", slot, value, **options)

    def answered(self, outcome):
        assert isinstance(outcome, Answered), outcome.error.message
        return outcome

    def bytes_held(self, principal):
        return self.looked(lambda: bytes_held(self.image, principal))

    def charged(self, reference):
        return self.looked(lambda: dict(self.image.at(reference).own(CHARGED, {})))

    def looked(self, look):
        self.image.manager.begin()
        try:
            return look()
        finally:
            self.image.manager.abort()


@pytest.fixture
def image(tmp_path):
    with awakened(Database(FileStorage(str(tmp_path / "image.fs")))) as image:
        yield image


@pytest.fixture
def users(image):
    return Users(image)


def refused(outcome):
    assert isinstance(outcome, Failed), outcome
    assert outcome.error.type == "QuotaExceeded", outcome.error.message
    assert outcome.error.details["quota"] == "stored_mb"
    return outcome.error


def test_who_makes_an_object_grow_is_charged_and_past_the_quota_refused_with_nothing_changed(users):
    target = users.make("alice")
    for slot in "ab":
        users.answered(users.put("alice", target, slot, MUCH))
    before = users.bytes_held("alice")
    assert 16_000 < before < 17_000
    error = refused(users.put("alice", target, "c", MUCH))
    assert (error.details["used"], error.details["allowed"]) == (before, ALLOWED)
    assert f"{before:,}" in error.message and f"{ALLOWED:,}" in error.message and "stored_mb" in error.remedy
    assert users.bytes_held("alice") == before
    assert decode_value(users.answered(users.send("alice", target, "slotNames")).result)[-2:] == ["a", "b"]
    refused(users.put("alice", users.make("bob"), "c", MUCH * 2))
    users.answered(users.put("bob", target, "c", MUCH))
    assert users.bytes_held("alice") == before, "another one's bytes are its own"


def test_what_does_not_grow_is_allowed_past_the_quota_and_emptying_makes_room(users):
    target = users.make("alice")
    for slot in "ab":
        users.answered(users.put("alice", target, slot, MUCH))
    assert users.answered(users.put("alice", target, "a", MUCH.upper(), allowed=5_000)).bytes_held > 5_000
    users.answered(users.put("alice", target, "a", MUCH[1:], allowed=5_000))
    refused(users.put("alice", target, "n", 1, allowed=5_000))
    users.answered(users.send("alice", target, "removeSlot_", "a", allowed=5_000))
    users.answered(users.send("alice", target, "removeSlot_", "b", allowed=5_000))
    users.answered(users.put("alice", target, "n", 1, allowed=5_000))
    assert 0 < users.bytes_held("alice") < 400


def test_a_value_changed_in_place_is_charged_as_well(users):
    target = users.make("alice")
    users.answered(users.put("alice", target, "rows", []))
    users.bench.install(target, "fill_", "def fill_(self, a):\n    self.rows.append(a)\n    self._p_changed = True", 1)
    before = users.bytes_held("alice")
    users.answered(users.send("alice", target, "fill_", MUCH))
    assert len(MUCH) <= users.bytes_held("alice") - before < len(MUCH) + 50
    refused(users.send("alice", target, "fill_", MUCH * 2))
    users.answered(users.put("alice", target, "rows", []))
    assert users.bytes_held("alice") == before


def test_a_mark_without_a_change_charges_nothing_however_often_it_comes(users):
    target = users.make("alice")
    users.answered(users.put("alice", target, "rows", [[number, str(number)] for number in range(200)]))
    users.bench.install(target, "mark", "def mark(self):\n    self._p_changed = True")
    users.answered(users.send("alice", target, "mark"))
    before = users.bytes_held("alice")
    for _ in range(3):
        users.answered(users.send("alice", target, "mark"))
    assert users.bytes_held("alice") == before


def test_nobody_gains_room_by_emptying_what_others_filled(users):
    target = users.make("alice")
    users.answered(users.put("alice", target, "a", MUCH))
    users.answered(users.put("bob", target, "b", "y" * 1000))
    alice, bob = users.bytes_held("alice"), users.bytes_held("bob")
    users.answered(users.send("bob", target, "removeSlot_", "a"))
    assert users.bytes_held("bob") == 0 and alice - users.bytes_held("alice") == len(MUCH) - bob + 17
    assert users.bytes_held("alice") == users.charged(target)["alice"]


def test_without_a_quota_nothing_of_it_is_written(users):
    target = users.make("local", allowed=0)
    users.answered(users.put("local", target, "a", MUCH, allowed=0))
    assert users.charged(target) == {} and users.bytes_held("local") == 0
    assert users.looked(lambda: [leaf.names() for leaf in users.image.shards("accounts") if leaf.names()]) == []
    assert users.answered(users.put("local", target, "b", 1, allowed=0)).bytes_held is None


def test_what_no_slot_may_hold_any_more_can_be_removed(users):
    target = users.make("alice")
    users.image.manager.begin()
    users.image.at(target).put("old", {1.5: "a key that was let in once"})
    users.image.manager.commit()
    users.answered(users.send("alice", target, "removeSlot_", "old"))


def test_a_clone_is_charged_to_who_makes_it(users):
    target = users.make("alice")
    users.answered(users.put("alice", target, "a", MUCH))
    users.answered(users.send("bob", target, "clone"))
    assert users.bytes_held("bob") > len(MUCH)


def test_what_fails_or_is_rolled_back_is_not_charged(users):
    target = users.make("alice")
    users.bench.install(target, "fail", f"def fail(self):\n    self.a = {MUCH!r}\n    raise ValueError('no')")
    before = users.bytes_held("alice")
    deliveries = [users.bench.delivery(target, "fail"), users.bench.delivery(target, "setSlot_value_", "n", 1)]
    for delivery in deliveries:
        delivery.principal, delivery.limits = "alice", Limits(stored=ALLOWED)
    failed, done = users.bench.run(*deliveries)
    assert isinstance(failed, Failed) and isinstance(done, Answered)
    assert users.bytes_held("alice") - before < 50


def test_messages_of_one_transaction_are_counted_together(users):
    target = users.make("alice")
    deliveries = [users.bench.delivery(target, "setSlot_value_", slot, MUCH) for slot in "abc"]
    for delivery in deliveries:
        delivery.principal, delivery.limits = "alice", Limits(stored=ALLOWED)
    first, second, third = users.bench.run(*deliveries)
    assert isinstance(first, Answered) and isinstance(second, Answered)
    refused(third)


# --- several UVMs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def second_uvm(image):
    """Another UVM on the same image."""
    second = Image(image.database)
    yield Users(second, "uvm-2")
    second.connection.close()


def at_once(users, ours, theirs):
    """Run a message of ours; one of theirs, on another UVM, is run and committed within our transaction."""
    begun = [theirs]
    users.bench.batch._between = lambda: begun and users.answered(begun.pop()())
    users.answered(ours())


def test_principals_that_change_one_object_at_once_do_not_conflict_and_each_is_charged(users, second_uvm):
    target = users.make("local", allowed=0)
    for slot in "ab":  # the second time both have an account already
        theirs = partial(second_uvm.put, "bob", target, slot * 2, MUCH[:700])
        at_once(users, partial(users.put, "alice", target, slot, MUCH[:500]), theirs)
    assert users.charged(target) == {"alice": users.bytes_held("alice"), "bob": users.bytes_held("bob")}
    assert 1000 < users.bytes_held("alice") < 1100 and 1400 < users.bytes_held("bob") < 1500


def test_two_uvms_that_charge_one_principal_merge(users, second_uvm):
    first, second = users.make("alice"), users.make("alice")
    conflicts = users.bench.batch.conflicts
    at_once(users, partial(users.put, "alice", first, "a", MUCH), partial(second_uvm.put, "alice", second, "a", MUCH[:100]))
    at_once(users, partial(users.put, "alice", first, "b", MUCH[:50]), partial(second_uvm.put, "alice", first, "c", MUCH[:100]))
    assert users.bench.batch.conflicts == conflicts
    assert users.bytes_held("alice") == sum(sum(users.charged(target).values()) for target in (first, second))


def test_bytes_are_given_back_once_where_two_take_them_at_once():
    old, theirs, ours = ({"a": 1, "b": 2, CHARGED: {"x": 5}}, {"b": 2}, {"a": 1})
    with pytest.raises(ConflictError):
        merge_slots(old, theirs, ours)
    theirs, ours = {"a": 1, "b": 2, CHARGED: {"x": 5}}, {"a": 1, "c": 3, CHARGED: {"x": 1, "y": 2}}
    assert merge_slots({"a": 1}, theirs, ours)[CHARGED] == {"x": 6, "y": 2}


STEPS = st.lists(
    st.tuples(
        st.sampled_from([("alice", ALLOWED), ("bob", 9_000), ("local", 0)]),
        st.integers(0, 2),
        st.sampled_from("abc"),
        st.none() | st.integers(0, 4_000) | st.lists(st.text(max_size=9), max_size=4),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_an_account_is_the_sum_of_what_objects_say_and_never_past_the_quota(steps):
    with awakened() as image:
        users = Users(image)
        objects = [users.make("local", allowed=0), users.make("alice"), users.make("bob", allowed=9_000)]
        for (principal, allowed), number, slot, value in steps:
            if value is None:
                users.send(principal, objects[number], "removeSlot_", slot, allowed=allowed)
            else:
                users.put(principal, objects[number], slot, "z" * value if isinstance(value, int) else value, allowed=allowed)
            charges = [users.charged(target) for target in objects]
            for name, most in (("alice", ALLOWED), ("bob", 9_000), ("local", 0)):
                assert users.bytes_held(name) == sum(charge.get(name, 0) for charge in charges) <= most
            assert all(amount > 0 for charge in charges for amount in charge.values())


def test_what_is_dropped_is_charged_until_a_pack_and_then_no_more(users, tmp_path):
    home = Home(tmp_path)
    home.ensure()
    target = users.make("alice")
    users.answered(users.put("alice", target, "a", MUCH))
    alone = users.bytes_held("alice")
    twin = decode_value(users.answered(users.send("alice", target, "clone")).result)
    full = users.bytes_held("alice")
    users.image.manager.begin()
    nursery.release(users.image, [twin.oid])
    users.image.manager.commit()
    Heartbeat(Configuration(home, Settings(), {}), users.image).beat()
    assert users.bytes_held("alice") == full > 2 * len(MUCH), "the file has it still"
    users.image.database.pack()
    Heartbeat(Configuration(home, Settings(), {}), users.image).beat()
    assert users.bytes_held("alice") == alone


def test_what_comes_while_bytes_are_counted_is_no_part_of_it(users, second_uvm):
    target = users.make("alice")
    users.answered(users.put("alice", target, "a", MUCH))
    tid, counted = users.looked(lambda: (view_tid(users.image), accounts(users.image)))
    second_uvm.answered(second_uvm.put("alice", target, "b", MUCH[:300]))
    second_uvm.answered(second_uvm.put("bob", second_uvm.make("bob"), "b", MUCH[:300]))
    assert drift(users.image, tid, counted) == {}
    assert drift(users.image, tid, {**counted, "carol": 7}) == {"carol": -7}


# --- methods ---------------------------------------------------------------------------------------------------------

_numbers = count(1)


def offer(house: House, target, allowed):
    source = f"def told(self):\n    return {MUCH[:2000]!r}"
    request = CreateMethod(id=1, target=target, selector="told", source=source, session="s", seq=next(_numbers))
    while True:
        delivery = Delivery(1, encode(request), "alice", False, 0.0, 60.0, limits=Limits(stored=allowed))
        (outcome,) = house.bench.run(delivery)
        if isinstance(outcome, Answered | Failed):
            return outcome
        error = house.write(outcome)
        if error is not None:
            return Failed(error)


def test_a_method_is_charged_to_who_had_it_written_and_none_is_begun_past_the_quota(build_house):
    machine = build_house()
    shop = make_shop(machine)
    allowed = 20_000
    assert isinstance(offer(machine, shop, allowed), Answered)

    def account():
        machine.image.manager.begin()
        try:
            return bytes_held(machine.image, "alice"), charged(machine.image.at(shop).own("told"))
        finally:
            machine.image.manager.abort()

    total, method = account()
    assert 2_000 < method < total
    while isinstance(last := offer(machine, shop, allowed), Answered):
        pass
    refused(last)
    assert account()[0] < allowed + total, "what is begun is ended"


def test_merging_leaves_other_objects_alone():
    assert merge_slots({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"a": 1, "c": 3, "b": 2}
    assert UvmObject({CHARGED: {"x": 1}}).names() == []
