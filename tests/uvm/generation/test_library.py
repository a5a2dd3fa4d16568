"""What the library remembers: methods taken back, corrected, shared by objects of one shape; and what a message keeps of its rounds."""

from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop, offer
from uvm.generation.claims import ROUNDS
from uvm.image import library
from uvm.image.message_object import shape
from uvm.objects import UvmObject
from uvm.protocol import Example, Reference

WRONG = "    return self.cost + self.pieces"
RIGHT = "    return self.cost * self.pieces"
CORRECTED = "def worth(self):\n    return self.cost * self.pieces\n"


def explained(house: House, target: Any, selector: str = "worth") -> Any:
    return house.send(target, "explain_", selector)


def looked(house: House, look: Any) -> Any:
    """What is in the image now."""
    return house.transactor.look(look)


# --- a method that was taken back --------------------------------------------------------------------------------------


def test_a_method_that_was_removed_is_not_found_again_and_the_model_writes_another_one(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG, WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == 7
    house.send(shop, "removeSlot_", "worth", session="s", seq=1)
    house.model.bodies["worth"] = [WRONG, RIGHT]
    assert house.send(shop, "worth") == 12
    drafts = explained(house, shop)["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["withdrawn", "ok"]
    assert "was removed from" in drafts[0]["why"] and "by local, in s/1" in drafts[0]["why"]
    questions = len(house.model.asked)
    assert house.send(sibling, "worth") == 12 and len(house.model.asked) == questions, "the next object gets the new one"


def test_the_same_source_is_refused_again_until_an_example_demands_it(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG], drafts=1)
    shop = make_shop(house)
    house.send(shop, "worth")
    house.send(shop, "removeSlot_", "worth")
    house.model.bodies["worth"] = ["    return self.cost   +   self.pieces  # laid out otherwise"]
    error = house.send(shop, "worth")
    assert error.type == "Refused" and "was removed from" in error.message and "example" in error.message
    assert house.send(shop, "worth", examples=[Example(99)]).type == "Refused", "an example that it misses demands nothing"
    assert house.send(shop, "worth", examples=[Example(7)]) == 7
    questions = len(house.model.asked)
    assert house.send(make_shop(house), "worth") == 7 and len(house.model.asked) == questions, "it is wanted again"


def test_removing_it_from_one_object_leaves_it_to_those_that_have_it(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT])
    shop, sibling, third = make_shop(house), make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 12
    house.send(shop, "removeSlot_", "worth")
    questions = len(house.model.asked)
    assert house.send(sibling, "worth") == 12 and len(house.model.asked) == questions
    assert house.send(third, "worth").type == "Refused" and len(house.model.asked) > questions


# --- a correction ------------------------------------------------------------------------------------------------------


def test_a_correction_by_hand_reaches_every_object_of_that_shape_at_once_and_those_to_come(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 7
    twin = house.send(shop, "clone")
    report = offer(house, shop, "worth", CORRECTED)
    assert report["author"] == "tool" and report["shared"]
    questions = len(house.model.asked)
    assert [house.send(owner, "worth") for owner in (shop, sibling, twin, make_shop(house))] == [12] * 4
    assert len(house.model.asked) == questions
    assert {explained(house, owner)["digest"] for owner in (shop, sibling, twin)} == {report["digest"]}
    history = explained(house, sibling)["history"]
    assert [past["author"] for past in history] == ["brick"] and "+" in history[0]["source"]


def test_what_was_corrected_is_not_written_again(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG], drafts=1)
    shop = make_shop(house)
    house.send(shop, "worth")
    offer(house, shop, "worth", CORRECTED)
    house.send(shop, "removeSlot_", "worth")
    error = house.send(shop, "worth")
    assert error.type == "Refused" and "was corrected by local" in error.message


def test_an_object_may_keep_its_own(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 7
    report = offer(house, shop, "worth", "def worth(self):\n    return 1\n", here=True)
    assert not report["shared"]
    assert [house.send(owner, "worth") for owner in (shop, sibling, make_shop(house))] == [1, 7, 7]
    offer(house, sibling, "worth", CORRECTED)
    assert [house.send(owner, "worth") for owner in (shop, sibling)] == [1, 12], "a correction passes by whoever has its own"
    offer(house, shop, "worth", "def worth(self):\n    return 2\n")
    assert [house.send(owner, "worth") for owner in (shop, sibling)] == [2, 12], "and what is its own is corrected for itself"


def test_a_correction_is_tried_like_any_offer_and_a_bad_one_changes_nobody(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 7
    assert offer(house, shop, "worth", "def worth(self):\n    return self.cost / 0\n").type == "TrialFailed"
    assert offer(house, shop, "worth", "def worth(self):\n    import os\n").type == "AuditRefused"
    assert house.send(sibling, "worth") == 7


def test_the_trial_of_a_correction_sees_it_in_all_who_will_have_it(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG], sum_with_=["    return self.worth() + a.worth()"])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    source = "def worth(self):\n    return 100 if self.pieces == 0 else self.other.worth()\n"
    house.send(shop, "setSlot_value_", "other", sibling)
    house.send(sibling, "setSlot_value_", "pieces", 0)
    report = offer(house, shop, "worth", source)
    assert report["proof"]["trial"]["result"] == 100 == house.send(shop, "worth")


def test_what_is_offered_after_a_removal_is_the_correction(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop = make_shop(house)
    house.send(shop, "worth")
    house.send(shop, "removeSlot_", "worth")
    offer(house, shop, "worth", CORRECTED)
    questions = len(house.model.asked)
    assert house.send(make_shop(house), "worth") == 12 and len(house.model.asked) == questions


def test_what_is_offered_where_the_model_wrote_nothing_is_the_objects_own(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT])
    shop, sibling = make_shop(house), make_shop(house)
    offer(house, shop, "worth", "def worth(self):\n    return 5\n")
    assert house.send(sibling, "worth") == 12 and house.model.asked
    assert house.send(shop, "worth") == 5


def test_a_correction_that_takes_other_arguments_does_not_answer_the_message_of_old(build_house: BuildHouse) -> None:
    house = build_house(scaled_=["    return self.cost + a"], drafts=1)
    shop, sibling, third = make_shop(house), make_shop(house), make_shop(house)
    assert house.send(shop, "scaled_", 3) == house.send(sibling, "scaled_", 3) == 7
    offer(house, shop, "scaled_", "def scaled_(self, a, b):\n    return (self.cost + b) * a\n", examples=[Example(21, [3, 3])])
    assert house.send(sibling, "scaled_", 3, 1) == 15
    house.model.bodies["scaled_"] = ["    return self.cost * a"]
    assert house.send(third, "scaled_", 3) == 12


def test_neither_policy_nor_a_primordial_object_shares(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT], motto=["    return self.name"])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    offer(house, shop, "worth", "def worth(self):\n    return 1\n", policy=True)
    assert house.send(sibling, "worth") == 12, "a method with policy is for its object alone"
    assert house.send("robin", "motto") == "robin"
    assert not explained(house, "robin", "motto")["shared"]
    twin = house.send("genesis_obj", "clone")
    offer(house, twin, "objects", "def objects(self):\n    return 0\n")
    assert isinstance(house.send("genesis_obj", "objects"), list), "a clone's methods are its own, where the library has not given them"


def test_two_who_correct_at_once_come_one_after_the_other(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop = make_shop(house)
    house.send(shop, "worth")
    for number in (1, 2, 3):
        offer(house, shop, "worth", f"def worth(self):\n    return {number}\n")
    history = explained(house, shop)["history"]
    assert ["return 2" in history[0]["source"], "return 1" in history[1]["source"], "+" in history[2]["source"]] == [True] * 3
    assert len(history) == 3


def test_methods_of_an_earlier_version_take_part(build_house: BuildHouse) -> None:
    """Until 0.2 the library's record was the method, copies had a proof of their own, and neither said where it belongs."""
    house = build_house(worth=[WRONG, RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")

    def older() -> None:
        key = shape(house.image.at(shop), "worth", 0, [])
        method = library.current(house.image, key)
        assert method is not None
        method.drop("shape")
        house.image.enter("library", key, method)

    house.transactor.run(older)
    sibling = make_shop(house)
    assert house.send(sibling, "worth") == 7
    house.send(sibling, "removeSlot_", "worth")
    assert house.send(make_shop(house), "worth") == 12
    offer(house, shop, "worth", "def worth(self):\n    return 1\n")
    assert house.send(make_shop(house), "worth") == 1, "a correction of the first one reaches the library, too"


# --- what a message keeps ----------------------------------------------------------------------------------------------


def message_of(house: House, target: Any, selector: str = "worth") -> Any:
    return Reference.parse(explained(house, target, selector)["proof"]["message"])


def test_a_message_keeps_what_was_sent(build_house: BuildHouse) -> None:
    house = build_house(price_for_=["    return a.cost * b"])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "price_for_", sibling, kwargs={"b": 2}, session="till", seq=4, examples=[Example(8, [sibling], {"b": 2})]) == 8
    slots = {
        name: house.send(message_of(house, shop, "price_for_"), name) for name in ("arguments", "keywords", "session", "seq", "principal")
    }
    assert slots == {"arguments": [sibling], "keywords": {"b": 2}, "session": "till", "seq": 4, "principal": "local"}
    assert house.send(message_of(house, shop, "price_for_"), "expected") == [{"result": 8, "args": [sibling], "kwargs": {"b": 2}}]


def test_a_message_says_who_sent_it(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT])
    shop, till = make_shop(house), house.send("genesis_obj", "clone")
    offer(house, till, "ring_", "def ring_(self, shop):\n    return shop.worth()\n", examples=[Example(12, [shop])])
    stall = make_shop(house)
    house.send(stall, "setSlot_value_", "open", True)
    assert house.send(till, "ring_", stall) == 12
    assert house.send(message_of(house, stall), "caller") == till


def test_what_is_too_much_to_keep_is_said_to_be(build_house: BuildHouse) -> None:
    house = build_house(measure_=["    return len(a)"])
    shop = make_shop(house)
    assert house.send(shop, "measure_", "x" * 100_000) == 100_000
    assert "too many to keep" in house.send(message_of(house, shop, "measure_"), "arguments")


def test_each_round_of_a_message_is_kept_and_the_oldest_goes_with_a_word(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG], drafts=1)
    shop = make_shop(house)
    assert house.send(shop, "worth", session="first") == 7
    message = message_of(house, shop)
    house.send(shop, "removeSlot_", "worth")
    assert house.send(shop, "worth", session="second").type == "Refused"
    house.model.bodies["worth"] = [RIGHT]
    assert house.send(shop, "worth", session="third") == 12
    assert message_of(house, shop) == message
    rounds = house.send(message, "rounds")
    report = [(house.send(past, "round"), house.send(past, "stage"), house.send(past, "session")) for past in [*rounds, message]]
    assert report == [(1, "installed", "first"), (2, "refused", "second"), (3, "installed", "third")]
    assert house.send(rounds[1], "refusal")["type"] == "Refused" and house.send(rounds[1], "drafts")[0]["outcome"] == "withdrawn"
    assert house.send(rounds[0], "beWritten_", {"prompt": "def worth(self):"}).type == "BadArguments"
    for _ in range(ROUNDS):
        assert house.send(make_shop(house), "worth") == 12
    assert len(house.send(message, "rounds")) == ROUNDS and house.send(message, "rounds_dropped") == 2
    assert house.send(house.send(message, "rounds")[0], "round") == 3


def test_a_method_does_not_see_rounds(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth"), house.send(make_shop(house), "worth")
    message = message_of(house, shop)
    for slot in ("rounds", "session", "expected", "principal"):
        source = f"def peek_(self, a):\n    return a.{slot}\n"
        error = offer(house, shop, "peek_", source, examples=[Example(None, [message])])
        assert "shown to tools" in error.message, slot


@pytest.mark.parametrize("stage", ["stage", "rounds"])
def test_a_message_object_is_the_kernels(build_house: BuildHouse, stage: Any) -> None:
    house = build_house(worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    assert house.send(message_of(house, shop), "setSlot_value_", stage, []).type == "NotAllowed"
    assert looked(house, lambda: isinstance(house.image.at(message_of_oid(house, shop)), UvmObject))


def message_of_oid(house: House, target: Any) -> Any:
    proof = house.image.at(target).own("worth").own("proof")
    return Reference.parse(proof["message"])


# --- undo --------------------------------------------------------------------------------------------------------------


def test_undoing_a_correction_reaches_all_who_share_the_method_and_can_be_undone(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 7
    offer(house, shop, "worth", CORRECTED)
    preview = house.send("genesis_obj", "undo_", [shop, "worth"], kwargs={"preview": True})
    assert [step["slot"] for step in preview["slots"]] == ["version*"] and house.send(sibling, "worth") == 12
    report = house.send("genesis_obj", "undo_", [sibling, "worth"], session="u", seq=1)
    assert [house.send(owner, "worth") for owner in (shop, sibling, make_shop(house))] == [7, 7, 7], report
    assert explained(house, sibling)["author"] == "brick" and explained(house, sibling)["history"] == []
    house.send("genesis_obj", "undo_", "u/1")
    assert [house.send(owner, "worth") for owner in (shop, sibling, make_shop(house))] == [12, 12, 12]
    assert explained(house, sibling)["author"] == "tool"


def test_undoing_a_removal_gives_the_method_back_to_the_library(build_house: BuildHouse) -> None:
    house = build_house(worth=[RIGHT], drafts=1)
    shop = make_shop(house)
    house.send(shop, "worth")
    house.send(shop, "removeSlot_", "worth", session="s", seq=1)
    house.send("genesis_obj", "undo_", "s/1")
    questions = len(house.model.asked)
    assert house.send(make_shop(house), "worth") == house.send(shop, "worth") == 12 and len(house.model.asked) == questions


def test_undoing_what_an_object_has_of_its_own_gives_it_the_shared_one_again(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    offer(house, shop, "worth", "def worth(self):\n    return 1\n", here=True)
    house.send("genesis_obj", "undo_", [shop, "worth"])
    offer(house, sibling, "worth", CORRECTED)
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 12


def test_the_chronicle_tells_of_installs_corrections_and_removals(build_house: BuildHouse) -> None:
    house = build_house(worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    offer(house, sibling, "worth", CORRECTED)
    house.send(shop, "removeSlot_", "worth", session="s", seq=1)
    entries = house.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"]
    report = [(entry["kind"], entry["object"], entry["author"]) for entry in reversed(entries) if entry.get("slot") == "worth"]
    assert report == [
        ("install", shop, "brick"),
        ("install", sibling, "brick"),
        ("correction", sibling, "local"),
        ("removal", shop, "local"),
    ]
    assert [entry.get("facts", {}).get("from") for entry in reversed(entries) if entry["kind"] == "install"] == [None, "library"]


def two_rates(build_house: BuildHouse) -> Any:
    """Two shops of one shape that share `worth`, which sends `rate`: each has its own."""
    house = build_house(worth=["    return self.cost * self.rate()"], drafts=1)
    shop, sibling = make_shop(house), make_shop(house)
    for target, rate in ((shop, 1), (sibling, 2)):
        offer(house, target, "rate", f"def rate(self):\n    return {rate}\n")
    assert (house.send(shop, "worth"), house.send(sibling, "worth")) == (4, 8)
    assert house.send(shop, "explain_", "worth")["shared"] and house.send(sibling, "explain_", "worth")["shared"]
    assert house.send(shop, "worth", examples=[Example(4)]) == 4
    assert house.send(sibling, "worth", examples=[Example(8)]) == 8, "in the same state, and no contradiction: they are two objects"
    assert [example["result"] for example in house.send(shop, "explain_", "worth")["examples"]] == [4, 8]
    return house, shop, sibling


def test_a_correction_is_tried_on_every_object_for_which_an_example_is_kept(build_house: BuildHouse) -> None:
    house, shop, sibling = two_rates(build_house)
    refused = offer(house, shop, "worth", "def worth(self):\n    return self.cost\n")
    assert refused.type == "TrialFailed"
    assert f"kept example 2, on {sibling}: () gave 4, not 8" in refused.message
    assert house.send(sibling, "worth") == 8
    report = offer(house, shop, "worth", "def worth(self):\n    return round(self.cost * self.rate(), 2)\n")
    assert report["shared"] and (house.send(shop, "worth"), house.send(sibling, "worth")) == (4, 8)
    assert [example["result"] for example in report["examples"]] == [4, 8]


def test_what_is_written_again_is_tried_on_them_as_well(build_house: BuildHouse) -> None:
    house, shop, sibling = two_rates(build_house)
    house.model.bodies["worth"] = [
        "    return self.cost if self.cost < 9 else 1",
        "    return self.cost * self.rate() if self.cost < 9 else 1",
    ]
    assert house.send(shop, "worth", examples=[Example(1, slots={"cost": 10})]) == 4
    assert house.send(sibling, "worth") == 8
    drafts = house.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert f"kept example 2, on {sibling}: () gave 4, not 8" in drafts[0]["why"]


def test_one_that_has_a_method_of_its_own_is_not_asked_and_its_own_does_not_have_to_be_true_of_others(build_house: BuildHouse) -> None:
    house, _, sibling = two_rates(build_house)
    offer(house, sibling, "worth", "def worth(self):\n    return 8\n", here=True)
    assert house.send(sibling, "explain_", "worth")["shared"] is False and house.send(sibling, "worth") == 8
    assert [example["result"] for example in house.send(sibling, "explain_", "worth")["examples"]] == [8]


def test_an_object_that_goes_on_changing_does_not_keep_a_correction_from_coming(build_house: BuildHouse) -> None:
    house, shop, sibling = two_rates(build_house)
    begin = house.writers._trials._server.begin

    def meanwhile(request: Any, load: Any) -> Any:
        if request.subjects and house.trials_begun < 9:
            house.trials_begun += 1
            house.bench.send(sibling, "setSlot_value_", "cost", 4 + house.trials_begun)
        return begin(request, load)

    house.trials_begun = 0
    house.writers._trials._server = type("Server", (), {"begin": staticmethod(meanwhile)})()
    offer(house, shop, "worth", "def worth(self):\n    return round(self.cost * self.rate(), 2)\n")
    assert house.trials_begun == 1 and house.send(sibling, "worth") == 10
