"""What a trial finds out about a draft."""

from msgspec import UNSET
from msgspec.structs import replace
from ZODB.serialize import ObjectWriter

from tests.uvm.trial.conftest import World
from uvm.objects import PARENTS, Counter, UvmObject
from uvm.protocol import Example, Reference
from uvm.trial.client import TrialServer
from uvm.trial.protocol import Effect

TOTAL = "def total(self):\n    return self.price * self.quantity\n"


def test_result_and_no_effects_of_a_method_that_only_reads(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request(TOTAL))
    assert (outcome.kind, outcome.result, outcome.effects, outcome.amnesia) == ("ok", 7.0, [], [])
    assert 0 < outcome.ticks_used < 100
    assert 0 < outcome.seconds < 10


def test_exact_effects_of_assignments_of_a_removal_and_of_a_change_elsewhere(world: World, server: TrialServer) -> None:
    source = """def sell(self, a):
    self.quantity -= a
    self.sold = a
    self.price = self.price
    self.removeSlot_('stock')
    self.friend.setSlot_value_('label', 'buyer')
    return self
"""
    outcome = world.run(server, world.request(source, 1))
    shop, buyer = Reference(world.shop._p_oid), Reference(world.buyer._p_oid)
    assert outcome.kind == "ok", outcome.error
    assert outcome.result == shop
    assert outcome.amnesia == []
    assert outcome.effects == [
        Effect(shop, "quantity", 2, 1),
        Effect(shop, "sold", UNSET, 1),
        Effect(shop, "stock", {"a": 1}, UNSET),
        Effect(buyer, "label", "other", "buyer"),
    ]


def test_an_in_place_change_without_the_flag_is_reported_as_amnesia(world: World, server: TrialServer) -> None:
    source = "def tag(self, a):\n    self.tags.append(a)\n    return len(self.tags)\n"
    outcome = world.run(server, world.request(source, "new"))
    shop = Reference(world.shop._p_oid)
    assert (outcome.kind, outcome.result) == ("ok", 2), outcome.error
    assert outcome.amnesia == [f"{shop}.tags"]
    assert outcome.effects == [Effect(shop, "tags", ["red"], ["red", "new"])]


def test_an_in_place_change_with_the_flag_is_no_amnesia(world: World, server: TrialServer) -> None:
    source = "def tag(self, a):\n    self.tags.append(a)\n    self.stock[a] = 4\n    self._p_changed = True\n"
    outcome = world.run(server, world.request(source, "new"))
    shop = Reference(world.shop._p_oid)
    assert (outcome.kind, outcome.amnesia) == ("ok", []), outcome.error
    assert sorted(outcome.effects, key=lambda effect: effect.slot) == [
        Effect(shop, "stock", {"a": 1}, {"a": 1, "new": 4}),
        Effect(shop, "tags", ["red"], ["red", "new"]),
    ]


def test_a_large_slot_may_change_and_is_told_by_its_digest(world: World, server: TrialServer) -> None:
    world.shop.put("text", "x" * 3_000_000)
    world.image.manager.commit()
    world.image.manager.begin()
    outcome = world.run(server, world.request("def grow(self):\n    self.text = self.text + '!'\n    return 1\n", ticks=1_000_000))
    assert (outcome.kind, outcome.result) == ("ok", 1), outcome.error
    (effect,) = outcome.effects
    assert str(effect.before).startswith("3,000,") and effect.before != effect.after


def test_the_flag_on_one_object_does_not_save_a_change_inside_another(world: World, server: TrialServer) -> None:
    world.buyer.put("notes", [])
    world.image.manager.commit()
    world.image.manager.begin()
    source = "def note(self, a):\n    self.friend.notes.append(a)\n    self._p_changed = True\n"
    outcome = world.run(server, world.request(source, "x"))
    assert outcome.amnesia == [f"{Reference(world.buyer._p_oid)}.notes"], outcome.error


def test_what_was_made_is_counted_and_equal_drafts_make_equal_references(world: World, server: TrialServer) -> None:
    source = "def twice(self):\n    twin = self.clone()\n    twin.price = 1\n    return [twin, self.clone()]\n"
    first = world.run(server, world.request(source))
    second = world.run(server, world.request(source.replace("twin", "copy")))
    different = world.run(server, world.request(source.replace("= 1", "= 2")))
    assert (first.kind, first.made) == ("ok", 2), first.error
    assert first.result == second.result == different.result
    assert first.made_digest == second.made_digest != different.made_digest
    assert [effect.slot for effect in first.effects if effect.object == Reference(world.shop._p_oid)] == []


def test_a_failure_names_type_message_and_line(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request("def wrong(self):\n    a = 1\n    return self.price / (a - 1)\n"))
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.line) == ("ZeroDivisionError", 3)


def test_a_result_or_a_message_that_is_no_text_is_a_failure_and_not_a_crash(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request("def odd(self):\n    return '\\ud800'\n"))
    assert outcome.error is not None
    assert outcome.error.type == "BadValue"
    outcome = world.run(server, world.request("def odd(self):\n    raise ValueError('\\ud800')\n"))
    assert outcome.error is not None
    assert outcome.error.type == "ValueError"


def test_source_that_is_no_method_fails_with_its_line(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request("def wrong(self):\n    return open('/etc/passwd')[\n", selector="wrong"))
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error.line > 0


def test_an_unmet_message_inside_is_a_need(world: World, server: TrialServer) -> None:
    source = "def report(self):\n    return self.friend.discount(self.price, extra=self)\n"
    outcome = world.run(server, world.request(source))
    assert outcome.kind == "need", outcome.error
    assert outcome.need is not None
    assert outcome.need.receiver == Reference(world.buyer._p_oid)
    assert (outcome.need.selector, outcome.need.args) == ("discount", [3.5])
    assert outcome.need.kwargs == {"extra": Reference(world.shop._p_oid)}
    assert not outcome.need.made


def test_a_need_of_an_object_made_in_the_trial_can_be_tried_from_there(world: World, server: TrialServer) -> None:
    source = "def report(self):\n    twin = self.clone()\n    twin.price = 100.0\n    self.quantity = 7\n    return twin.doubled()\n"
    need = world.run(server, world.request(source)).need
    assert need is not None
    assert need.made
    oid = need.receiver.oid
    doubled = world.request("def doubled(self):\n    return self.price * self.quantity\n", receiver=oid, holder=oid)
    outcome = world.run(server, replace(doubled, overlay=need.overlay))
    assert (outcome.kind, outcome.result) == ("ok", 200.0), outcome.error


def test_a_draft_that_sends_itself_on_to_a_stranger_fails(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request("def total(self):\n    return self.friend.total()\n"))
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error.type == "NotUnderstood"


def test_a_thought_is_asked_for_once_and_then_remembered(world: World, server: TrialServer) -> None:
    source = "def think(self, a):\n    return a.infer_('why?', 16)\n"
    persona = Reference(world.image.named("robin")._p_oid)
    thought = world.run(server, world.request(source, persona)).thought
    assert thought is not None
    assert (thought.persona, thought.prompt, thought.max_tokens) == (persona, "why?", 16)
    outcome = world.run(server, world.request(source, persona, thoughts={thought.key: "because"}))
    assert (outcome.kind, outcome.result) == ("ok", "because")


def test_examples_run_each_on_untouched_objects(world: World, server: TrialServer) -> None:
    source = "def sell(self, a):\n    self.quantity -= a\n    return self.quantity\n"
    examples = [Example(1, [1]), Example(0, [2]), Example(1.0, [1]), Example(5, [1]), Example(True, [1])]
    outcome = world.run(server, world.request(source, 1, examples=examples))
    assert (outcome.kind, outcome.result, outcome.examples, outcome.examples_passed) == ("ok", 1, 5, 3)
    assert len(outcome.examples_missed) == 2
    assert "gave 1, not 5" in outcome.examples_missed[0]


def test_an_example_that_fails_is_a_missed_one(world: World, server: TrialServer) -> None:
    source = "def ratio(self, a):\n    return self.price / a\n"
    outcome = world.run(server, world.request(source, 1, examples=[Example(3.5, [1]), Example(0, [0])]))
    assert (outcome.kind, outcome.examples_passed) == ("ok", 1)
    assert "MethodFailed" in outcome.examples_missed[0]


SELL = """def sell(self, a):
    if a > self.quantity:
        raise ValueError('too few')
    self.quantity -= a
    self.tags.append('sold')
    self._p_changed = True
    return self.quantity * self.price
"""


def test_an_example_says_what_the_receiver_was_before_and_what_changed(world: World, server: TrialServer) -> None:
    examples = [
        Example(35.0, [2], slots={"quantity": 12}, changed={"quantity": 10, "tags": ["red", "sold"]}),
        Example(args=[2], slots={"quantity": 12, "tags": []}, changed={"tags": ["sold"], "quantity": 11}),
        Example(args=[2], slots={"quantity": 12}, changed={}),
        Example(args=[2], slots={"quantity": 12}, changed={"price": 3, "quantity": 10.0, "tags": ["red", "sold"]}),
    ]
    outcome = world.run(server, world.request(SELL, 1, examples=examples))
    assert (outcome.kind, outcome.result, outcome.examples_passed) == ("ok", 3.5, 1), outcome.error
    assert outcome.examples_missed == [
        "example 2: quantity must become 11, became 10",
        "example 3: quantity must not change, and became 10; tags must not change, and became ['red', 'sold']",
        "example 4: price must become 3, and did not change",
    ]
    assert world.shop.own("quantity") == 2


def test_an_example_says_which_error_a_call_ends_in(world: World, server: TrialServer) -> None:
    examples = [Example(args=[3], raises="ValueError"), Example(args=[1], raises="ValueError"), Example(args=[3], raises="KeyError")]
    outcome = world.run(server, world.request(SELL, 1, examples=examples))
    assert (outcome.kind, outcome.examples_passed) == ("ok", 1)
    assert outcome.examples_missed[0] == "example 2: (1) must raise ValueError, and gave 3.5"
    assert outcome.examples_missed[1].startswith("example 3: (3) must raise KeyError, and ended in MethodFailed: sell failed in line 3")


def test_a_message_that_is_expected_to_fail_may(world: World, server: TrialServer) -> None:
    examples = [Example(args=[3], raises="ValueError")]
    outcome = world.run(server, world.request(SELL, 3, examples=examples, raises="ValueError"))
    assert (outcome.kind, outcome.examples_passed, outcome.effects) == ("ok", 1, [])
    assert world.run(server, world.request(SELL, 3)).kind == "failed"


def test_slots_that_merge_go_on_to_merge_in_an_example(world: World, server: TrialServer) -> None:
    world.shop.put("hits", Counter(4))
    world.image.manager.commit()
    world.image.manager.begin()
    source = "def hit(self):\n    self.hits.add(1)\n    self._p_changed = True\n    return self.hits.value()\n"
    outcome = world.run(server, world.request(source, examples=[Example(8, slots={"hits": 7}, changed={"hits": 8})]))
    assert (outcome.kind, outcome.examples_missed, outcome.result) == ("ok", [], 5), outcome.error


def test_only_the_examples_are_run_where_there_is_no_message(world: World, server: TrialServer) -> None:
    source = "def ratio(self, a):\n    return self.price / a\n"
    outcome = world.run(server, world.request(source, positional=1, send=False, examples=[Example(1.75, [2])]))
    assert (outcome.kind, outcome.examples_passed, outcome.effects) == ("ok", 1, [])


def test_records_of_the_attempt_hide_those_of_the_database(world: World, server: TrialServer) -> None:
    changed = UvmObject({**world.shop._slots, "price": 100.0})
    child = UvmObject({PARENTS: [world.shop], "price": 1.0})
    world.image.connection.add(child)
    overlay = {world.shop._p_oid: ObjectWriter(world.shop).serialize(changed), child._p_oid: ObjectWriter(child).serialize(child)}
    outcome = world.run(server, world.request(TOTAL, overlay=overlay))
    assert outcome.result == 200.0
    outcome = world.run(server, world.request(TOTAL, overlay=overlay, receiver=child._p_oid))
    assert outcome.result == 2.0
    assert world.shop._p_oid not in outcome.read


def test_what_was_read_is_told_with_its_transactions_and_nothing_later_is_seen(world: World, server: TrialServer) -> None:
    request = world.request(TOTAL)
    world.shop.put("price", 1000.0)
    world.image.manager.commit()
    world.image.manager.begin()
    outcome = world.run(server, request)
    assert outcome.result == 7.0
    assert outcome.read[world.shop._p_oid] == request.tid
    assert world.buyer._p_oid not in outcome.read


def test_a_method_is_replaced_for_the_trial_only(world: World, server: TrialServer) -> None:
    assert world.run(server, world.request("def total(self):\n    return 1\n")).result == 1
    assert world.run(server, world.request(TOTAL)).result == 7.0
    assert world.shop.own("total") is not None
    assert "total" not in world.shop.names()


def test_arguments_cross_as_wire_values(world: World, server: TrialServer) -> None:
    source = "def pick(self, a, b=1):\n    return [a['who'].price, b]\n"
    request = world.request(source, {"who": Reference(world.buyer._p_oid)}, kwargs={"b": "é"})
    assert world.run(server, request).result == [10.0, "é"]
