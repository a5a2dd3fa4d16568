"""The gate: what a record may not hold fails its message alone, whatever way it came there, and stored values are shared by nobody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.uvm.images import Bench, awakened
from tests.uvm.runtime.attacks import VALUES, source
from uvm.errors import ImageError
from uvm.image.image import Image
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, UvmObject
from uvm.protocol import GetFullState, decode_value, encode
from uvm.rights import Limits
from uvm.values.slot_values import Scale, checked, copied


@pytest.fixture(scope="module")
def image():
    with awakened() as image:
        yield image


@pytest.fixture
def bench(image):
    return Bench(image)


def answer(outcome):
    assert isinstance(outcome, Answered), getattr(getattr(outcome, "error", outcome), "message", outcome)
    return decode_value(outcome.result)


@pytest.fixture
def thing(bench):
    """An ordinary object with a list of a list."""
    reference = answer(bench.send("genesis_obj", "clone"))
    answer(bench.send(reference, "setSlot_value_", "old", [[1], 2]))
    answer(bench.send(reference, "nameAs_", f"thing-{reference}".replace("@", "")))
    return reference


def whole(bench):
    """The whole image, as a tool gets it."""
    outcome = bench.run(Delivery(1, encode(GetFullState(1, limit=1000)), "local", False, 0.0, 60.0))[0]
    assert isinstance(outcome, Answered) and outcome.state is not None
    encode(outcome.state)
    return {one.reference: one for one in outcome.state.objects}


def stored(image, reference):
    """The slots of an object as another process reads them."""
    other = Image(image.database)
    other.manager.begin()
    try:
        one = other.at(reference)
        return {name: one.own(name).plain() if isinstance(one.own(name), Merging) else one.own(name) for name in one.names()}
    finally:
        other.manager.abort()
        other.connection.close()


@pytest.mark.parametrize("body", VALUES.values(), ids=VALUES)
def test_a_value_that_no_record_may_hold_fails_its_message_alone(bench, thing, body):
    bench.install(thing, "attack", source(body, "attack"))
    before = stored(bench.image, thing)
    first, attack, last = bench.run(
        bench.delivery(thing, "setSlot_value_", "first", 1),
        bench.delivery(thing, "attack"),
        bench.delivery(thing, "setSlot_value_", "last", 2),
    )
    assert isinstance(attack, Failed), attack
    assert attack.error.type in ("BadValue", "QuotaExceeded", "TicksSpent", "MethodFailed", "NotAllowed"), attack.error.message
    assert isinstance(first, Answered) and isinstance(last, Answered)
    assert stored(bench.image, thing) == {**before, "first": 1, "last": 2}
    assert whole(bench)[thing].damaged == {}


@pytest.mark.parametrize("body", [body for body in VALUES.values() if "return" not in body])
def test_no_such_value_goes_on_to_the_writing_of_a_method(bench, thing, body):
    bench.install(thing, "attack", source(f"{body}\nself.unheard_of()", "attack"))
    attack, after = bench.run(bench.delivery(thing, "attack"), bench.delivery(thing, "setSlot_value_", "last", 2))
    assert isinstance(attack, Failed) and attack.error.type != "KernelFault", attack
    assert isinstance(after, Answered)


SHARING = {
    "two slots": ("q = []\nself.one = q\nself.two = q", "self.one.append(1)", {"one": [1], "two": []}),
    "a slot and an old one": ("self.one = self.old", "self.one.append(1)", {"one": [[1], 2, 1], "old": [[1], 2]}),
    "deep in an old one": ("self.one = self.old[0]", "self.one.append(9)", {"one": [1, 9], "old": [[1], 2]}),
    "within one": ("q = []\nself.one = [q, q]", "self.one[0].append(1)", {"one": [[1], []]}),
    "in a queue": ("q = []\nself.one = merging_queue()\nself.one.put(q)\nself.two = q", "self.two.append(1)", {"two": [1]}),
    "a counter": ("self.one = counter(1)\nself.two = self.one", "self.one += 1", {"two": 1}),
}


@pytest.mark.parametrize(("share", "change", "then"), SHARING.values(), ids=SHARING)
def test_what_is_stored_is_shared_with_nothing_else(bench, thing, share, change, then):
    bench.install(thing, "share", source(share, "share"))
    bench.install(thing, "change", source(change, "change"))
    answer(bench.send(thing, "share"))
    answer(bench.send(thing, "change"))
    for slot, value in then.items():
        assert answer(bench.send(thing, slot)) == value
    for slot, value in then.items():
        assert stored(bench.image, thing)[slot] == value


def test_a_list_shared_with_another_object_is_that_objects_own(bench, thing):
    other = answer(bench.send("genesis_obj", "clone"))
    bench.install(thing, "lend_", source("a.setSlot_value_('lent', self.old)", "lend_"), 1)
    bench.install(thing, "grow", source("self.old.append(3)", "grow"))
    answer(bench.send(thing, "lend_", other))
    answer(bench.send(thing, "grow"))
    assert answer(bench.send(other, "lent")) == [[1], 2]
    assert answer(bench.send(thing, "old")) == [[1], 2, 3]


def test_a_methods_own_name_for_a_list_stays_alive_until_the_message_ends(bench, thing):
    bench.install(thing, "fill", source("q = []\nself.tags = q\nq.append(1)\nreturn self.tags", "fill"))
    assert answer(bench.send(thing, "fill")) == [1]
    assert stored(bench.image, thing)["tags"] == [1]


def limited(bench, target, selector, *args, **limits):
    delivery = bench.delivery(target, selector, *args)
    delivery.limits = Limits(**limits)
    return bench.run(delivery)[0]


def test_a_message_stores_no_more_bytes_than_its_sender_may(bench, thing):
    outcome = limited(bench, thing, "setSlot_value_", "text", "x" * 5000, bytes=4000)
    assert isinstance(outcome, Failed) and outcome.error.type == "QuotaExceeded"
    outcome = limited(bench, thing, "setSlot_value_", "text", "x" * 3000, bytes=4000)
    assert isinstance(outcome, Answered) and 3000 < outcome.stored < 4000
    outcome = limited(bench, thing, "setSlot_value_", "text", "y" * 3000, bytes=4000)
    assert isinstance(outcome, Answered), "what a slot held before does not count again"
    outcome = limited(bench, thing, "setSlot_value_", "n", 1, bytes=3000)
    assert isinstance(outcome, Failed), "the record is written as a whole, whatever of it changed"


def test_a_message_makes_no_more_objects_than_its_sender_may(bench, thing):
    bench.install(thing, "breed_", source("q = []\nfor n in range(a):\n    q.append(self.clone())\nself.kept = q", "breed_"), 1)
    assert isinstance(limited(bench, thing, "breed_", 8, objects=10), Answered)
    outcome = limited(bench, thing, "breed_", 11, objects=10)
    assert isinstance(outcome, Failed) and outcome.error.type == "QuotaExceeded"


def test_a_record_has_a_longest_length(bench, thing):
    for number in range(2):
        answer(bench.send(thing, "setSlot_value_", f"text{number}", "x" * 7_000_000))
    outcome = bench.send(thing, "setSlot_value_", "text2", "x" * 7_000_000)
    assert isinstance(outcome, Failed) and outcome.error.type == "QuotaExceeded"
    answer(bench.send(thing, "setSlot_value_", "text1", "x"))


VALUES_OF_SLOTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(-9, 9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(VALUES_OF_SLOTS)
def test_what_a_slot_may_hold_is_copied_as_it_is_and_weighed(value):
    scale = Scale(10_000_000)
    twin = scale.copy(value)
    assert twin == value and checked(value) is value and copied(value) == value
    assert scale.bytes >= 8
    for mutable in (list, dict):
        if type(value) is mutable and value:
            assert twin is not value


@pytest.mark.parametrize("value", [Counter(3), MergingSet([1, (2, 3)]), MergingQueue([[1], {"a": 2}])], ids=["counter", "set", "queue"])
def test_merging_values_are_copied_deeply(value):
    twin = Scale(1000).copy(value)
    assert type(twin) is type(value) and twin is not value and twin.plain() == value.plain()
    if isinstance(value, MergingQueue):
        assert twin.items[0] is not value.items[0]


def test_references_are_kept_as_they_are():
    one = UvmObject({})
    scale = Scale(1000)
    assert scale.copy([one, {"a": one}])[0] is one and scale.references == [one, one]


def test_looking_ends_as_soon_as_it_is_too_much():
    shared = ["x" * 1000]
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(ImageError):
        Scale(100_000).copy(shared)
    with pytest.raises(ImageError):
        checked(shared[0])


def test_an_object_that_its_name_alone_leads_to_is_weighed_like_any_other(bench, thing):
    body = "    made = self.clone()\n    made.text = 'x' * 50000\n    made.nameAs_('heavy')\n    return 1\n"
    bench.install(thing, "hide", f"def hide(self):\n{body}")
    delivery = bench.delivery(thing, "hide")
    delivery.limits = Limits(bytes=20_000)
    outcome = bench.run(delivery)[0]
    assert isinstance(outcome, Failed) and outcome.error.type == "QuotaExceeded"
    assert answer(bench.send(thing, "hide")) == 1
