"""Examples that say what is meant: what a message expects of its method, with real trials and a scripted model."""

from pathlib import Path
from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop, offer
from uvm.errors import Contradiction, ImageError
from uvm.generation.request import MethodRequest
from uvm.generation.writers import Answer
from uvm.image import contract
from uvm.protocol import Contract, Example, Step, Transaction, decode_value, encode
from uvm.trial.client import TrialServer


def test_the_draft_that_makes_the_change_that_is_meant_is_chosen(build_house: BuildHouse) -> None:
    house = build_house(shift=["    self.cost = self.cost + 1\n", "    self.cost = self.cost + self.pieces\n"])
    shop = make_shop(house)
    house.send(shop, "shift", examples=[Example(slots={"cost": 10, "pieces": 5}, changed={"cost": 15})])
    assert house.send(shop, "cost") == 7
    proof = house.send(shop, "explain_", "shift")["proof"]
    assert proof["drafts"][0]["why"] == "example 1: cost must become 15, became 11"
    assert "Example: with cost=10, pieces=5: shift(), then cost=15" in proof["prompt"]


def test_a_message_that_is_to_fail_ends_in_the_error_that_is_meant(build_house: BuildHouse) -> None:
    house = build_house(take_=["    self.cost = self.cost - a\n", "    if a > self.cost:\n        raise ValueError('too much')\n"])
    shop = make_shop(house)
    error = house.send(shop, "take_", 9, examples=[Example(args=[9], raises="ValueError")])
    assert (error.type, error.details["error"]) == ("MethodFailed", "ValueError")
    assert house.send(shop, "cost") == 4


def test_an_example_that_names_no_slot_of_the_receiver_is_refused_and_nothing_is_written(build_house: BuildHouse) -> None:
    house = build_house(**{"*": ["    return 1\n"]})
    shop = make_shop(house)
    for example in (Example(1, slots={"prize": 2}), Example(changed={"clone": 2}), Example(1, slots={"parent*": []})):
        error = house.send(shop, "total", examples=[example])
        assert error.type == "BadExample"
        assert "cost, pieces, tags" in error.remedy
    assert offer(house, shop, "total", "def total(self):\n    return 1\n", examples=[Example(1, slots={"prize": 2})]).type == "BadExample"
    assert house.stages() == []


def test_an_example_as_earlier_tools_send_it_is_the_bytes_that_it_was() -> None:
    assert decode_value(encode(Example(7, [1]))) == {"result": 7, "args": [1], "kwargs": {}}


TOTAL = "    return self.cost * self.pieces"


def kept_examples(house: House, target: Any, selector: str) -> Any:
    """The lines of the examples that a method keeps."""
    return [example["line"] for example in house.send(target, "explain_", selector).get("examples", [])]


def tell(house: House, target: Any, selector: str, **parts: Any) -> Any:
    """A Contract, carried out as the machine does."""
    return house.carry_out(Contract(id=1, target=target, selector=selector, **parts))


def test_an_example_on_a_method_that_is_there_tests_it_and_is_kept(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    assert house.send(shop, "total") == 12
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(12), Example(50, slots={"cost": 10, "pieces": 5}, changed={})]) == 12
    assert house.stages() == ["testing", "held"]
    assert kept_examples(house, shop, "total") == ["total() -> 12", "with cost=10, pieces=5: total() -> 50, then nothing changed"]
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(12.0)]) == 12
    assert house.stages() == [], "what is kept shows that it holds"


def test_what_is_kept_is_asked_only_where_the_slots_that_count_are_the_same(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total", examples=[Example(12)])
    house.send(shop, "setSlot_value_", "tags", ["old"])
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(12)]) == 12
    assert house.stages() == []
    house.send(shop, "setSlot_value_", "cost", 5)
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(15)]) == 15
    assert house.stages() == ["testing", "held"]


def test_a_generated_method_that_does_not_hold_is_written_again_with_all_its_examples(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.cost + 8"], drafts=1)
    shop = make_shop(house)
    assert house.send(shop, "total", examples=[Example(12)]) == 12
    house.model.bodies["total"] = [TOTAL]
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    assert house.stages() == ["testing", "failed", "reified", "reflected", "drafted", "audited", "tried", "installed"]
    report = house.send(shop, "explain_", "total")
    assert report["source"].endswith(TOTAL + "\n") and len(report["history"]) == 1
    assert sorted(kept_examples(house, shop, "total")) == ["total() -> 12", "with cost=10, pieces=5: total() -> 50"]


def test_nothing_runs_where_no_draft_does_what_is_expected(build_house: BuildHouse) -> None:
    house = build_house(add_=["    self.cost = self.cost + a\n"])
    shop = make_shop(house)
    house.send(shop, "add_", 1)
    error = house.send(shop, "add_", 1, examples=[Example(args=[1], slots={"cost": 1}, changed={"cost": 99})])
    assert error.type == "Refused"
    assert "cost must become 99, became 2" in error.message
    assert house.send(shop, "cost") == 5
    assert kept_examples(house, shop, "add_") == []


@pytest.mark.parametrize("who", ["a tool", "the kernel"])
def test_what_a_tool_wrote_or_the_kernel_is_not_written_again(build_house: BuildHouse, who: Any) -> None:
    house = build_house(**{"*": ["    return 99"]})
    shop = make_shop(house)
    offer(house, shop, "total", "def total(self):\n    return self.cost * self.pieces\n")
    selector = "total" if who == "a tool" else "slotNames"
    error = house.send(shop, selector, examples=[Example(99)])
    assert error.type == "ExampleFailed"
    assert "example 1: () gave " in error.message and "not 99" in error.message
    assert "batos method" in error.remedy
    assert house.send(shop, "total") == 12


def test_an_example_of_a_value_is_compared_and_nothing_is_tried(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    house.events.clear()
    assert house.send(shop, "cost", examples=[Example(4, changed={}), Example(9, slots={"cost": 9})]) == 4
    assert house.send(shop, "cost", examples=[Example(5)]).type == "ExampleFailed"
    assert house.stages() == []


def test_examples_that_contradict_each_other_are_refused_and_both_are_shown(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    error = house.send(shop, "total", examples=[Example(12), Example(13)])
    assert (error.type, error.details["examples"]) == ("Contradiction", ["total() -> 12", "total() -> 13"])
    house.send(shop, "total", examples=[Example(12)])
    error = house.send(shop, "total", examples=[Example(13)])
    assert error.details["examples"] == ["total() -> 13", "kept example 1, total() -> 12"]
    assert "--remove 1" in error.remedy
    offered = offer(house, shop, "total", "def total(self):\n    return 13\n", examples=[Example(13)])
    assert offered.type == "Contradiction"


def test_what_a_tool_offers_in_its_place_is_tried_on_what_the_method_keeps(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total", examples=[Example(12)])
    house.send(shop, "setSlot_value_", "cost", 5)
    error = offer(house, shop, "total", "def total(self):\n    return 12 + self.pieces\n", examples=[Example(15)])
    assert error.type == "TrialFailed"
    assert "kept example 1: () gave 15, not 12" in error.message
    offer(house, shop, "total", "def total(self):\n    return self.pieces * self.cost\n", examples=[Example(15)])
    assert kept_examples(house, shop, "total") == ["total() -> 12", "total() -> 15"]


def test_who_waits_for_the_same_message_has_its_examples_tried_too(build_house: BuildHouse) -> None:
    house = build_house(total=["    return 12", TOTAL])
    first = make_shop(house)
    second = house.send(first, "clone")
    house.send(second, "setSlot_value_", "cost", 10)
    deliveries = [house.bench.delivery(shop, "total", examples=[Example(result)]) for shop, result in ((first, 12), (second, 30))]
    ended, ask = list[ImageError | None](), house.model.ask
    questions: list[Any] = []
    house.model.ask = lambda *question: questions.append(question)
    for request in house.missed(*deliveries):
        house.writers.request(request, ended.append)
    for question in questions:
        ask(*question)
    house.until(lambda: len(ended) == 2)
    assert ended == [None, None]
    assert house.stages().count("reified") == 1
    assert house.send(first, "explain_", "total")["source"].endswith(TOTAL + "\n")
    assert len(kept_examples(house, first, "total")) == 2


def test_who_comes_when_the_trials_have_begun_has_the_method_tested_and_written_again(build_house: BuildHouse) -> None:
    house = build_house(total=["    return 12"])
    shop = make_shop(house)
    deliveries = [
        house.bench.delivery(shop, "total", examples=[example]) for example in (Example(12), Example(50, slots={"cost": 10, "pieces": 5}))
    ]
    ended: list[tuple[MethodRequest, ImageError | None]] = []

    def ends(request: MethodRequest) -> Answer:
        return lambda error: ended.append((request, error))

    for request in house.missed(*deliveries):
        house.writers.request(request, ends(request))
    house.model.bodies["total"] = [TOTAL]
    house.until(lambda: len(ended) == 2)
    assert [deliveries[number].ended(*end) for number, end in enumerate(ended)] == [None, None]
    assert [house.finish(delivery) for delivery in deliveries] == [12, 12]
    assert house.stages().count("installed") == 2
    assert len(kept_examples(house, shop, "total")) == 2


def test_who_waits_for_the_same_message_and_contradicts_is_told_at_once(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    deliveries = [house.bench.delivery(shop, "total", examples=[Example(result)]) for result in (12, 13)]
    ended: list[ImageError | None] = []
    for request in house.missed(*deliveries):
        house.writers.request(request, ended.append)
    assert [type(error) for error in ended] == [Contradiction]
    house.until(lambda: len(ended) == 2)
    assert ended[1] is None


def test_examples_are_listed_added_once_they_hold_and_taken_away(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total")
    assert tell(house, shop, "total")["examples"] == []
    added = tell(house, shop, "total", examples=[Example(12, changed={}), Example(6, slots={"cost": 2})])
    assert {name: value for name, value in added["examples"][0].items() if name != "line"} == {"number": 1, "result": 12, "changed": {}}
    assert [(report["number"], report["line"]) for report in added["examples"]] == [
        (1, "total() -> 12, then nothing changed"),
        (2, "with cost=2: total() -> 6"),
    ]
    assert [report["number"] for report in tell(house, shop, "total", remove=[1])["examples"]] == [2]
    assert tell(house, shop, "total", remove=[1]).type == "BadValue"
    assert [report["number"] for report in tell(house, shop, "total", examples=[Example(12)])["examples"]] == [2, 3]
    assert tell(house, shop, "cost").type == "BadArguments"


def test_an_added_example_that_does_not_hold_has_the_method_written_again_and_runs_nothing(build_house: BuildHouse) -> None:
    house = build_house(add_=["    self.cost = self.cost + a\n"])
    shop = make_shop(house)
    house.send(shop, "add_", 1)
    house.model.bodies["add_"] = ["    self.cost = self.cost + 2 * a\n"]
    report = tell(house, shop, "add_", examples=[Example(args=[3], slots={"cost": 0}, changed={"cost": 6})])
    assert [example["line"] for example in report["examples"]] == ["with cost=0: add_(3), then cost=6"]
    assert house.send(shop, "cost") == 5
    assert house.send(shop, "explain_", "add_")["source"] == "def add_(self, a):\n    self.cost = self.cost + 2 * a\n"


def test_a_method_keeps_so_many_examples_and_those_of_further_messages_are_tested_alone(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total")
    tell(house, shop, "total", examples=[Example(3 * cost, slots={"cost": cost}) for cost in range(100, 100 + contract.KEPT)])
    assert len(kept_examples(house, shop, "total")) == contract.KEPT
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(12)]) == 12
    assert house.stages() == ["testing", "held"]
    assert len(kept_examples(house, shop, "total")) == contract.KEPT
    assert tell(house, shop, "total", examples=[Example(12)]).type == "QuotaExceeded"


def test_what_primordial_objects_answer_keeps_no_examples_without_the_right(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    delivery = house.bench.delivery(shop, "clone", examples=[Example(changed={})])
    delivery.rights = delivery.rights - {"policy"}
    assert house.finish(delivery) is not None
    assert kept_examples(house, shop, "clone") == []


def test_a_method_that_asks_other_methods_is_tested_each_time_and_once_a_message(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL], double=["    return self.total() * 2"])
    shop = make_shop(house)
    house.send(shop, "total")
    assert house.send(shop, "double", examples=[Example(24)]) == 24
    house.events.clear()
    assert house.send(shop, "double", examples=[Example(24)]) == 24
    assert house.stages() == ["testing", "held"]


def test_a_transaction_tests_each_send_on_what_the_sends_before_it_did(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total")
    sends = [Step(shop, "setSlot_value_", ["cost", 7]), Step(shop, "total", examples=[Example(21)])]
    assert house.carry_out(Transaction(id=1, sends=sends))[1] == 21
    sends[1] = Step(shop, "total", examples=[Example(22)])
    house.send(shop, "setSlot_value_", "cost", 1)
    assert house.carry_out(Transaction(id=1, sends=sends)).type == "Contradiction"
    assert house.send(shop, "cost") == 1


def test_another_process_that_finds_the_method_tests_what_its_message_expects(
    build_house: BuildHouse, trials: TrialServer, tmp_path: Path
) -> None:
    house = build_house(total=["    return 12"])
    shop = make_shop(house)
    assert house.send(shop, "total", examples=[Example(12)]) == 12
    sibling = House(house.image, trials, {"total": [TOTAL]}, tmp_path, name="uvm-2")
    assert sibling.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    assert len(kept_examples(sibling, shop, "total")) == 2


def test_what_is_written_again_is_written_again_for_all_who_share_the_method(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.cost + 8"], drafts=1)
    shop, sibling = make_shop(house), make_shop(house)
    assert (house.send(shop, "total"), house.send(sibling, "total")) == (12, 12)
    house.model.bodies["total"] = [TOTAL]
    assert house.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]) == 12
    house.send(sibling, "setSlot_value_", "cost", 6)
    assert house.send(sibling, "total") == 18
    assert kept_examples(house, sibling, "total") == ["with cost=10, pieces=5: total() -> 50"]
    third = make_shop(house)
    house.send(third, "setSlot_value_", "cost", 7)
    assert house.send(third, "total") == 21, "the library gives what it is by now"
    assert kept_examples(house, third, "total") == ["with cost=10, pieces=5: total() -> 50"]


def test_what_one_object_expects_binds_the_method_that_others_share(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "total", examples=[Example(12)])
    house.send(sibling, "total")
    error = offer(house, sibling, "total", "def total(self):\n    return 12 if self.cost == 6 else 0\n")
    assert error.type == "TrialFailed" and "kept example 1" in error.message


def test_an_undo_of_what_was_written_again_brings_the_method_back_with_the_examples_that_it_satisfied(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.cost + 8"], drafts=1)
    shop = make_shop(house)
    house.send(shop, "total", examples=[Example(12)])
    house.model.bodies["total"] = [TOTAL]
    house.send(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    assert len(kept_examples(house, shop, "total")) == 2
    house.send("genesis_obj", "undo_", [shop, "total"])
    assert house.send(shop, "explain_", "total")["source"].endswith("self.cost + 8\n")
    assert kept_examples(house, shop, "total") == ["total() -> 12"]


PROXY = """def doesNotUnderstand_(self, message):
    if message.selector == 'total' and self.cost > 3:
        return self.cost * 3
    return message.mind.reflectOn_(message)
"""


def test_what_an_object_answers_without_a_method_is_tested_like_one(build_house: BuildHouse) -> None:
    house = build_house(total=["    return 0"], other=[TOTAL])
    shop = make_shop(house)
    offer(house, shop, "doesNotUnderstand_", PROXY)
    house.events.clear()
    assert house.send(shop, "total", examples=[Example(12), Example(30, slots={"cost": 10})]) == 12
    assert house.stages() == ["testing", "held"]
    for wrong, why in ((Example(99), "gave 12, not 99"), (Example(1, slots={"cost": 1}), "does not answer total then")):
        error = house.send(shop, "total", examples=[wrong])
        assert error.type == "ExampleFailed" and why in error.message
        assert "doesNotUnderstand_" in error.message and "batos method" in error.remedy
    assert house.model.asked == []
    assert house.send(shop, "other", examples=[Example(12)]) == 12, "what it does not answer itself is written"
    assert kept_examples(house, shop, "other") == ["other() -> 12"]
    assert tell(house, shop, "total", examples=[Example(12)]).type == "BadArguments", "there is no method that could keep them"


def test_what_an_answer_without_a_method_did_is_not_there_when_it_is_tested(build_house: BuildHouse) -> None:
    house = build_house()
    shop, sibling = make_shop(house), make_shop(house)
    source = "def doesNotUnderstand_(self, message):\n    self.cost = self.cost + 1\n    return self.cost\n"
    offer(house, shop, "doesNotUnderstand_", source, examples=[Example(5, args=[None])])
    steps = [Step(shop, "setSlot_value_", ["cost", 7]), Step(shop, "up", examples=[Example(8, changed={"cost": 8})])]
    assert house.carry_out(Transaction(id=1, sends=steps))[1] == 8
    assert house.send(shop, "cost") == 8
    steps = [Step(sibling, "setSlot_value_", ["cost", 7]), Step(shop, "up", examples=[Example(8)])]
    assert house.carry_out(Transaction(id=1, sends=steps)).type == "ExampleFailed"
    assert (house.send(shop, "cost"), house.send(sibling, "cost")) == (8, 4)
