"""Examples that say what is meant: what a message expects of its method, with real trials and a scripted model."""

import pytest

from tests.uvm.houses import House, make_shop, offer
from uvm.image import contract
from uvm.protocol import Contract, Example, Step, Transaction, decode_value, encode


def test_the_draft_that_makes_the_change_that_is_meant_is_chosen(house):
    one = house(shift=["    self.cost = self.cost + 1\n", "    self.cost = self.cost + self.pieces\n"])
    shop = make_shop(one)
    one.send(shop, "shift", examples=[Example(slots={"cost": 10, "pieces": 5}, changed={"cost": 15})])
    assert one.send(shop, "cost") == 7
    proof = one.send(shop, "explain_", "shift")["proof"]
    assert proof["drafts"][0]["why"] == "example 1: cost must become 15, became 11"
    assert "Example: with cost=10, pieces=5: shift(), then cost=15" in proof["prompt"]


def test_a_message_that_is_to_fail_ends_in_the_error_that_is_meant(house):
    one = house(take_=["    self.cost = self.cost - a\n", "    if a > self.cost:\n        raise ValueError('too much')\n"])
    shop = make_shop(one)
    error = one.send(shop, "take_", 9, examples=[Example(args=[9], raises="ValueError")])
    assert (error.type, error.details["error"]) == ("MethodFailed", "ValueError")
    assert one.send(shop, "cost") == 4


def test_an_example_that_names_no_slot_of_the_receiver_is_refused_and_nothing_is_written(house):
    one = house(**{"*": ["    return 1\n"]})
    shop = make_shop(one)
    for example in (Example(1, slots={"prize": 2}), Example(changed={"clone": 2}), Example(1, slots={"parent*": []})):
        error = one.send(shop, "total", examples=[example])
        assert error.type == "BadExample"
        assert "cost, pieces, tags" in error.remedy
    assert offer(one, shop, "total", "def total(self):\n    return 1\n", examples=[Example(1, slots={"prize": 2})]).type == "BadExample"
    assert one.stages() == []


def test_an_example_as_earlier_tools_send_it_is_the_bytes_that_it_was():
    assert decode_value(encode(Example(7, [1]))) == {"result": 7, "args": [1], "kwargs": {}}


TOTAL = "    return self.cost * self.pieces"


def kept(one, target, selector):
    """The lines of the examples that a method keeps."""
    return [told["line"] for told in one.send(target, "explain_", selector).get("examples", [])]


def tell(one, target, selector, **parts):
    """A Contract, carried out as the machine does."""
    return one.carry_out(Contract(id=1, target=target, selector=selector, **parts))


def test_an_example_on_a_method_that_is_there_tests_it_and_is_kept(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    assert one.send(shop, "total") == 12
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(12), Example(50, slots={"cost": 10, "pieces": 5}, changed={})]) == 12
    assert one.stages() == ["testing", "held"]
    assert kept(one, shop, "total") == ["total() -> 12", "with cost=10, pieces=5: total() -> 50, then nothing changed"]
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(12.0)]) == 12
    assert one.stages() == [], "what is kept shows that it holds"


def test_what_is_kept_is_asked_only_where_the_slots_that_count_are_the_same(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total", examples=[Example(12)])
    one.send(shop, "setSlot_value_", "tags", ["old"])
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(12)]) == 12
    assert one.stages() == []
    one.send(shop, "setSlot_value_", "cost", 5)
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(15)]) == 15
    assert one.stages() == ["testing", "held"]


def test_a_generated_method_that_does_not_hold_is_written_again_with_all_its_examples(house):
    one = house(total=["    return self.cost + 8", TOTAL], drafts=1)
    shop = make_shop(one)
    assert one.send(shop, "total", examples=[Example(12)]) == 12
    one.model.bodies["total"] = [TOTAL]
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    assert one.stages() == ["testing", "failed", "reified", "reflected", "drafted", "audited", "tried", "installed"]
    told = one.send(shop, "explain_", "total")
    assert told["source"].endswith(TOTAL + "\n") and len(told["history"]) == 1
    assert sorted(kept(one, shop, "total")) == ["total() -> 12", "with cost=10, pieces=5: total() -> 50"]


def test_nothing_runs_where_no_draft_does_what_is_expected(house):
    one = house(add_=["    self.cost = self.cost + a\n"])
    shop = make_shop(one)
    one.send(shop, "add_", 1)
    error = one.send(shop, "add_", 1, examples=[Example(args=[1], slots={"cost": 1}, changed={"cost": 99})])
    assert error.type == "Refused"
    assert "cost must become 99, became 2" in error.message
    assert one.send(shop, "cost") == 5
    assert kept(one, shop, "add_") == []


@pytest.mark.parametrize("who", ["a tool", "the kernel"])
def test_what_a_tool_wrote_or_the_kernel_is_not_written_again(house, who):
    one = house(**{"*": ["    return 99"]})
    shop = make_shop(one)
    offer(one, shop, "total", "def total(self):\n    return self.cost * self.pieces\n")
    selector = "total" if who == "a tool" else "slotNames"
    error = one.send(shop, selector, examples=[Example(99)])
    assert error.type == "ExampleFailed"
    assert "example 1: () gave " in error.message and "not 99" in error.message
    assert "batos method" in error.remedy
    assert one.send(shop, "total") == 12


def test_an_example_of_a_value_is_compared_and_nothing_is_tried(house):
    one = house()
    shop = make_shop(one)
    one.events.clear()
    assert one.send(shop, "cost", examples=[Example(4, changed={}), Example(9, slots={"cost": 9})]) == 4
    assert one.send(shop, "cost", examples=[Example(5)]).type == "ExampleFailed"
    assert one.stages() == []


def test_examples_that_contradict_each_other_are_refused_and_both_are_shown(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    error = one.send(shop, "total", examples=[Example(12), Example(13)])
    assert (error.type, error.details["examples"]) == ("Contradiction", ["total() -> 12", "total() -> 13"])
    one.send(shop, "total", examples=[Example(12)])
    error = one.send(shop, "total", examples=[Example(13)])
    assert error.details["examples"] == ["total() -> 13", "kept example 1, total() -> 12"]
    assert "--remove 1" in error.remedy
    offered = offer(one, shop, "total", "def total(self):\n    return 13\n", examples=[Example(13)])
    assert offered.type == "Contradiction"


def test_what_a_tool_offers_in_its_place_is_tried_on_what_the_method_keeps(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total", examples=[Example(12)])
    one.send(shop, "setSlot_value_", "cost", 5)
    error = offer(one, shop, "total", "def total(self):\n    return 12 + self.pieces\n", examples=[Example(15)])
    assert error.type == "TrialFailed"
    assert "kept example 1: () gave 15, not 12" in error.message
    offer(one, shop, "total", "def total(self):\n    return self.pieces * self.cost\n", examples=[Example(15)])
    assert kept(one, shop, "total") == ["total() -> 12", "total() -> 15"]


def test_who_waits_for_the_same_message_has_its_examples_tried_too(house):
    one = house(total=["    return 12", TOTAL])
    first = make_shop(one)
    second = one.send(first, "clone")
    one.send(second, "setSlot_value_", "cost", 10)
    works = [one.bench.delivery(shop, "total", examples=[Example(result)]) for shop, result in ((first, 12), (second, 30))]
    ended, asked, ask = [], [], one.model.ask
    one.model.ask = lambda *question: asked.append(question)
    for request in one.bench.run(*works):
        one.writers.request(request, ended.append)
    for question in asked:
        ask(*question)
    one.until(lambda: len(ended) == 2)
    assert ended == [None, None]
    assert one.stages().count("reified") == 1
    assert one.send(first, "explain_", "total")["source"].endswith(TOTAL + "\n")
    assert len(kept(one, first, "total")) == 2


def test_who_comes_when_the_trials_have_begun_has_the_method_tested_and_written_again(house):
    one = house(total=["    return 12"])
    shop = make_shop(one)
    works = [
        one.bench.delivery(shop, "total", examples=[example]) for example in (Example(12), Example(50, slots={"cost": 10, "pieces": 5}))
    ]
    ended = []
    for request in one.bench.run(*works):
        one.writers.request(request, lambda error, request=request: ended.append((request, error)))
    one.model.bodies["total"] = [TOTAL]
    one.until(lambda: len(ended) == 2)
    assert [works[number].ended(*end) for number, end in enumerate(ended)] == [None, None]
    assert [one.finish(work) for work in works] == [12, 12]
    assert one.stages().count("installed") == 2
    assert len(kept(one, shop, "total")) == 2


def test_who_waits_for_the_same_message_and_contradicts_is_told_at_once(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    works = [one.bench.delivery(shop, "total", examples=[Example(result)]) for result in (12, 13)]
    ended = []
    for request in one.bench.run(*works):
        one.writers.request(request, ended.append)
    assert [error.type for error in ended] == ["Contradiction"]
    one.until(lambda: len(ended) == 2)
    assert ended[1] is None


def test_examples_are_listed_added_once_they_hold_and_taken_away(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total")
    assert tell(one, shop, "total")["examples"] == []
    added = tell(one, shop, "total", examples=[Example(12, changed={}), Example(6, slots={"cost": 2})])
    assert {name: value for name, value in added["examples"][0].items() if name != "line"} == {"number": 1, "result": 12, "changed": {}}
    assert [(told["number"], told["line"]) for told in added["examples"]] == [
        (1, "total() -> 12, then nothing changed"),
        (2, "with cost=2: total() -> 6"),
    ]
    assert [told["number"] for told in tell(one, shop, "total", remove=[1])["examples"]] == [2]
    assert tell(one, shop, "total", remove=[1]).type == "BadValue"
    assert [told["number"] for told in tell(one, shop, "total", examples=[Example(12)])["examples"]] == [2, 3]
    assert tell(one, shop, "cost").type == "BadArguments"


def test_an_added_example_that_does_not_hold_has_the_method_written_again_and_runs_nothing(house):
    one = house(add_=["    self.cost = self.cost + a\n"])
    shop = make_shop(one)
    one.send(shop, "add_", 1)
    one.model.bodies["add_"] = ["    self.cost = self.cost + 2 * a\n"]
    told = tell(one, shop, "add_", examples=[Example(args=[3], slots={"cost": 0}, changed={"cost": 6})])
    assert [one["line"] for one in told["examples"]] == ["with cost=0: add_(3), then cost=6"]
    assert one.send(shop, "cost") == 5
    assert one.send(shop, "explain_", "add_")["source"] == "def add_(self, a):\n    self.cost = self.cost + 2 * a\n"


def test_a_method_keeps_so_many_examples_and_those_of_further_messages_are_tested_alone(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total")
    tell(one, shop, "total", examples=[Example(3 * cost, slots={"cost": cost}) for cost in range(100, 100 + contract.KEPT)])
    assert len(kept(one, shop, "total")) == contract.KEPT
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(12)]) == 12
    assert one.stages() == ["testing", "held"]
    assert len(kept(one, shop, "total")) == contract.KEPT
    assert tell(one, shop, "total", examples=[Example(12)]).type == "QuotaExceeded"


def test_what_primordial_objects_answer_keeps_no_examples_without_the_right(house):
    one = house()
    shop = make_shop(one)
    work = one.bench.delivery(shop, "clone", examples=[Example(changed={})])
    work.rights = work.rights - {"policy"}
    assert one.finish(work) is not None
    assert kept(one, shop, "clone") == []


def test_a_method_that_asks_other_methods_is_tested_each_time_and_once_a_message(house):
    one = house(total=[TOTAL], double=["    return self.total() * 2"])
    shop = make_shop(one)
    one.send(shop, "total")
    assert one.send(shop, "double", examples=[Example(24)]) == 24
    one.events.clear()
    assert one.send(shop, "double", examples=[Example(24)]) == 24
    assert one.stages() == ["testing", "held"]


def test_a_transaction_tests_each_send_on_what_the_sends_before_it_did(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total")
    sends = [Step(shop, "setSlot_value_", ["cost", 7]), Step(shop, "total", examples=[Example(21)])]
    assert one.carry_out(Transaction(id=1, sends=sends))[1] == 21
    sends[1] = Step(shop, "total", examples=[Example(22)])
    one.send(shop, "setSlot_value_", "cost", 1)
    assert one.carry_out(Transaction(id=1, sends=sends)).type == "Contradiction"
    assert one.send(shop, "cost") == 1


def test_another_process_that_finds_the_method_tests_what_its_message_expects(house, trials, tmp_path):
    one = house(total=["    return 12"])
    shop = make_shop(one)
    assert one.send(shop, "total", examples=[Example(12)]) == 12
    other = House(one.image, trials, {"total": [TOTAL]}, tmp_path, name="uvm-2")
    assert other.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    assert len(kept(other, shop, "total")) == 2


def test_what_is_written_again_is_written_again_for_all_who_share_the_method(house):
    one = house(total=["    return self.cost + 8"], drafts=1)
    shop, other = make_shop(one), make_shop(one)
    assert (one.send(shop, "total"), one.send(other, "total")) == (12, 12)
    one.model.bodies["total"] = [TOTAL]
    assert one.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    one.send(other, "setSlot_value_", "cost", 6)
    assert one.send(other, "total") == 18
    assert kept(one, other, "total") == ["with cost=10, pieces=5: total() -> 50"]
    third = make_shop(one)
    one.send(third, "setSlot_value_", "cost", 7)
    assert one.send(third, "total") == 21, "the library gives what it is by now"
    assert kept(one, third, "total") == ["with cost=10, pieces=5: total() -> 50"]


def test_what_one_object_expects_binds_the_method_that_others_share(house):
    one = house(total=[TOTAL])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "total", examples=[Example(12)])
    one.send(other, "total")
    error = offer(one, other, "total", "def total(self):\n    return 12 if self.cost == 6 else 0\n")
    assert error.type == "TrialFailed" and "kept example 1" in error.message


def test_an_undo_of_what_was_written_again_brings_the_method_back_with_the_examples_that_it_satisfied(house):
    one = house(total=["    return self.cost + 8"], drafts=1)
    shop = make_shop(one)
    one.send(shop, "total", examples=[Example(12)])
    one.model.bodies["total"] = [TOTAL]
    one.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    assert len(kept(one, shop, "total")) == 2
    one.send("genesis_obj", "undo_", [shop, "total"])
    assert one.send(shop, "explain_", "total")["source"].endswith("self.cost + 8\n")
    assert kept(one, shop, "total") == ["total() -> 12"]


PROXY = """def doesNotUnderstand_(self, message):
    if message.selector == 'total' and self.cost > 3:
        return self.cost * 3
    return message.mind.reflectOn_(message)
"""


def test_what_an_object_answers_without_a_method_is_tested_like_one(house):
    one = house(total=["    return 0"], other=[TOTAL])
    shop = make_shop(one)
    offer(one, shop, "doesNotUnderstand_", PROXY)
    one.events.clear()
    assert one.send(shop, "total", examples=[Example(12), Example(30, slots={"cost": 10})]) == 12
    assert one.stages() == ["testing", "held"]
    for wrong, why in ((Example(99), "gave 12, not 99"), (Example(1, slots={"cost": 1}), "does not answer total then")):
        error = one.send(shop, "total", examples=[wrong])
        assert error.type == "ExampleFailed" and why in error.message
        assert "doesNotUnderstand_" in error.message and "batos method" in error.remedy
    assert one.model.asked == []
    assert one.send(shop, "other", examples=[Example(12)]) == 12, "what it does not answer itself is written"
    assert kept(one, shop, "other") == ["other() -> 12"]
    assert tell(one, shop, "total", examples=[Example(12)]).type == "BadArguments", "there is no method that could keep them"


def test_what_an_answer_without_a_method_did_is_not_there_when_it_is_tested(house):
    one = house()
    shop, other = make_shop(one), make_shop(one)
    source = "def doesNotUnderstand_(self, message):\n    self.cost = self.cost + 1\n    return self.cost\n"
    offer(one, shop, "doesNotUnderstand_", source, examples=[Example(5, args=[None])])
    steps = [Step(shop, "setSlot_value_", ["cost", 7]), Step(shop, "up", examples=[Example(8, changed={"cost": 8})])]
    assert one.carry_out(Transaction(id=1, sends=steps))[1] == 8
    assert one.send(shop, "cost") == 8
    steps = [Step(other, "setSlot_value_", ["cost", 7]), Step(shop, "up", examples=[Example(8)])]
    assert one.carry_out(Transaction(id=1, sends=steps)).type == "ExampleFailed"
    assert (one.send(shop, "cost"), one.send(other, "cost")) == (8, 4)
