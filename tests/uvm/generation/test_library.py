"""What the library remembers: methods taken back, corrected, shared by objects of one shape; and what a message keeps of its rounds."""

import pytest

from tests.uvm.houses import make_shop, offer
from uvm.generation.claims import ROUNDS
from uvm.image import library
from uvm.image.message_object import shape
from uvm.objects import UvmObject
from uvm.protocol import Example, Reference

WRONG = "    return self.cost + self.pieces"
RIGHT = "    return self.cost * self.pieces"
CORRECTED = "def worth(self):\n    return self.cost * self.pieces\n"


def explained(house, target, selector="worth"):
    return house.send(target, "explain_", selector)


def seen(house, look):
    """What is in the image now."""
    return house.transactor.look(look)


# --- a method that was taken back --------------------------------------------------------------------------------------


def test_a_method_that_was_removed_is_not_found_again_and_the_model_writes_another_one(house):
    one = house(worth=[WRONG, WRONG])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == 7
    one.send(shop, "removeSlot_", "worth", session="s", seq=1)
    one.model.bodies["worth"] = [WRONG, RIGHT]
    assert one.send(shop, "worth") == 12
    drafts = explained(one, shop)["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["withdrawn", "ok"]
    assert "was removed from" in drafts[0]["why"] and "by local, in s/1" in drafts[0]["why"]
    asked = len(one.model.asked)
    assert one.send(other, "worth") == 12 and len(one.model.asked) == asked, "the next object gets the new one"


def test_the_same_source_is_refused_again_until_an_example_demands_it(house):
    one = house(worth=[WRONG], drafts=1)
    shop = make_shop(one)
    one.send(shop, "worth")
    one.send(shop, "removeSlot_", "worth")
    one.model.bodies["worth"] = ["    return self.cost   +   self.pieces  # laid out otherwise"]
    error = one.send(shop, "worth")
    assert error.type == "Refused" and "was removed from" in error.message and "example" in error.message
    assert one.send(shop, "worth", examples=[Example(99)]).type == "Refused", "an example that it misses demands nothing"
    assert one.send(shop, "worth", examples=[Example(7)]) == 7
    asked = len(one.model.asked)
    assert one.send(make_shop(one), "worth") == 7 and len(one.model.asked) == asked, "it is wanted again"


def test_removing_it_from_one_object_leaves_it_to_those_that_have_it(house):
    one = house(worth=[RIGHT])
    shop, other, third = make_shop(one), make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == one.send(other, "worth") == 12
    one.send(shop, "removeSlot_", "worth")
    asked = len(one.model.asked)
    assert one.send(other, "worth") == 12 and len(one.model.asked) == asked
    assert one.send(third, "worth").type == "Refused" and len(one.model.asked) > asked


# --- a correction ------------------------------------------------------------------------------------------------------


def test_a_correction_by_hand_reaches_every_object_of_that_shape_at_once_and_those_to_come(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == one.send(other, "worth") == 7
    twin = one.send(shop, "clone")
    told = offer(one, shop, "worth", CORRECTED)
    assert told["author"] == "tool" and told["shared"]
    asked = len(one.model.asked)
    assert [one.send(each, "worth") for each in (shop, other, twin, make_shop(one))] == [12] * 4
    assert len(one.model.asked) == asked
    assert {explained(one, each)["digest"] for each in (shop, other, twin)} == {told["digest"]}
    history = explained(one, other)["history"]
    assert [past["author"] for past in history] == ["brick"] and "+" in history[0]["source"]


def test_what_was_corrected_is_not_written_again(house):
    one = house(worth=[WRONG], drafts=1)
    shop = make_shop(one)
    one.send(shop, "worth")
    offer(one, shop, "worth", CORRECTED)
    one.send(shop, "removeSlot_", "worth")
    error = one.send(shop, "worth")
    assert error.type == "Refused" and "was corrected by local" in error.message


def test_an_object_may_keep_its_own(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == one.send(other, "worth") == 7
    told = offer(one, shop, "worth", "def worth(self):\n    return 1\n", here=True)
    assert not told["shared"]
    assert [one.send(each, "worth") for each in (shop, other, make_shop(one))] == [1, 7, 7]
    offer(one, other, "worth", CORRECTED)
    assert [one.send(each, "worth") for each in (shop, other)] == [1, 12], "a correction passes by whoever has its own"
    offer(one, shop, "worth", "def worth(self):\n    return 2\n")
    assert [one.send(each, "worth") for each in (shop, other)] == [2, 12], "and what is its own is corrected for itself"


def test_a_correction_is_tried_like_any_offer_and_a_bad_one_changes_nobody(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == one.send(other, "worth") == 7
    assert offer(one, shop, "worth", "def worth(self):\n    return self.cost / 0\n").type == "TrialFailed"
    assert offer(one, shop, "worth", "def worth(self):\n    import os\n").type == "AuditRefused"
    assert one.send(other, "worth") == 7


def test_the_trial_of_a_correction_sees_it_in_all_who_will_have_it(house):
    one = house(worth=[WRONG], sum_with_=["    return self.worth() + a.worth()"])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    source = "def worth(self):\n    return 100 if self.pieces == 0 else self.other.worth()\n"
    one.send(shop, "setSlot_value_", "other", other)
    one.send(other, "setSlot_value_", "pieces", 0)
    told = offer(one, shop, "worth", source)
    assert told["proof"]["trial"]["result"] == 100 == one.send(shop, "worth")


def test_what_is_offered_after_a_removal_is_the_correction(house):
    one = house(worth=[WRONG])
    shop = make_shop(one)
    one.send(shop, "worth")
    one.send(shop, "removeSlot_", "worth")
    offer(one, shop, "worth", CORRECTED)
    asked = len(one.model.asked)
    assert one.send(make_shop(one), "worth") == 12 and len(one.model.asked) == asked


def test_what_is_offered_where_the_model_wrote_nothing_is_the_objects_own(house):
    one = house(worth=[RIGHT])
    shop, other = make_shop(one), make_shop(one)
    offer(one, shop, "worth", "def worth(self):\n    return 5\n")
    assert one.send(other, "worth") == 12 and one.model.asked
    assert one.send(shop, "worth") == 5


def test_a_correction_that_takes_other_arguments_does_not_answer_the_message_of_old(house):
    one = house(scaled_=["    return self.cost + a"], drafts=1)
    shop, other, third = make_shop(one), make_shop(one), make_shop(one)
    assert one.send(shop, "scaled_", 3) == one.send(other, "scaled_", 3) == 7
    offer(one, shop, "scaled_", "def scaled_(self, a, b):\n    return (self.cost + b) * a\n", examples=[Example(21, [3, 3])])
    assert one.send(other, "scaled_", 3, 1) == 15
    one.model.bodies["scaled_"] = ["    return self.cost * a"]
    assert one.send(third, "scaled_", 3) == 12


def test_neither_policy_nor_a_primordial_object_shares(house):
    one = house(worth=[RIGHT], motto=["    return self.name"])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    offer(one, shop, "worth", "def worth(self):\n    return 1\n", policy=True)
    assert one.send(other, "worth") == 12, "a method with policy is for its object alone"
    assert one.send("robin", "motto") == "robin"
    assert not explained(one, "robin", "motto")["shared"]
    twin = one.send("genesis_obj", "clone")
    offer(one, twin, "objects", "def objects(self):\n    return 0\n")
    assert isinstance(one.send("genesis_obj", "objects"), list), "a clone's methods are its own, where the library has not given them"


def test_two_who_correct_at_once_come_one_after_the_other(house):
    one = house(worth=[WRONG])
    shop = make_shop(one)
    one.send(shop, "worth")
    for number in (1, 2, 3):
        offer(one, shop, "worth", f"def worth(self):\n    return {number}\n")
    history = explained(one, shop)["history"]
    assert ["return 2" in history[0]["source"], "return 1" in history[1]["source"], "+" in history[2]["source"]] == [True] * 3
    assert len(history) == 3


def test_methods_of_an_earlier_version_take_part(house):
    """Until 0.2 the library's record was the method, copies had a proof of their own, and neither said where it belongs."""
    one = house(worth=[WRONG, RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")

    def older():
        key = shape(one.image.at(shop), "worth", 0, [])
        method = library.current(one.image, key)
        method.drop("shape")
        one.image.enter("library", key, method)

    one.transactor.run(older)
    other = make_shop(one)
    assert one.send(other, "worth") == 7
    one.send(other, "removeSlot_", "worth")
    assert one.send(make_shop(one), "worth") == 12
    offer(one, shop, "worth", "def worth(self):\n    return 1\n")
    assert one.send(make_shop(one), "worth") == 1, "a correction of the first one reaches the library, too"


# --- what a message keeps ----------------------------------------------------------------------------------------------


def message_of(house, target, selector="worth"):
    return Reference.parse(explained(house, target, selector)["proof"]["message"])


def test_a_message_keeps_what_was_sent(house):
    one = house(price_for_=["    return a.cost * b"])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "price_for_", other, kwargs={"b": 2}, session="till", seq=4, examples=[Example(8, [other], {"b": 2})]) == 8
    slots = {name: one.send(message_of(one, shop, "price_for_"), name) for name in ("arguments", "keywords", "session", "seq", "principal")}
    assert slots == {"arguments": [other], "keywords": {"b": 2}, "session": "till", "seq": 4, "principal": "local"}
    assert one.send(message_of(one, shop, "price_for_"), "expected") == [{"result": 8, "args": [other], "kwargs": {"b": 2}}]


def test_a_message_says_who_sent_it(house):
    one = house(worth=[RIGHT])
    shop, till = make_shop(one), one.send("genesis_obj", "clone")
    offer(one, till, "ring_", "def ring_(self, shop):\n    return shop.worth()\n", examples=[Example(12, [shop])])
    stall = make_shop(one)
    one.send(stall, "setSlot_value_", "open", True)
    assert one.send(till, "ring_", stall) == 12
    assert one.send(message_of(one, stall), "caller") == till


def test_what_is_too_much_to_keep_is_said_to_be(house):
    one = house(measure_=["    return len(a)"])
    shop = make_shop(one)
    assert one.send(shop, "measure_", "x" * 100_000) == 100_000
    assert "too many to keep" in one.send(message_of(one, shop, "measure_"), "arguments")


def test_each_round_of_a_message_is_kept_and_the_oldest_goes_with_a_word(house):
    one = house(worth=[WRONG], drafts=1)
    shop = make_shop(one)
    assert one.send(shop, "worth", session="first") == 7
    message = message_of(one, shop)
    one.send(shop, "removeSlot_", "worth")
    assert one.send(shop, "worth", session="second").type == "Refused"
    one.model.bodies["worth"] = [RIGHT]
    assert one.send(shop, "worth", session="third") == 12
    assert message_of(one, shop) == message
    rounds = one.send(message, "rounds")
    told = [(one.send(past, "round"), one.send(past, "stage"), one.send(past, "session")) for past in [*rounds, message]]
    assert told == [(1, "installed", "first"), (2, "refused", "second"), (3, "installed", "third")]
    assert one.send(rounds[1], "refusal")["type"] == "Refused" and one.send(rounds[1], "drafts")[0]["outcome"] == "withdrawn"
    assert one.send(rounds[0], "beWritten_", {"prompt": "def worth(self):"}).type == "BadArguments"
    for _ in range(ROUNDS):
        assert one.send(make_shop(one), "worth") == 12
    assert len(one.send(message, "rounds")) == ROUNDS and one.send(message, "rounds_dropped") == 2
    assert one.send(one.send(message, "rounds")[0], "round") == 3


def test_a_method_does_not_see_rounds(house):
    one = house(worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth"), one.send(make_shop(one), "worth")
    message = message_of(one, shop)
    for slot in ("rounds", "session", "expected", "principal"):
        source = f"def peek_(self, a):\n    return a.{slot}\n"
        error = offer(one, shop, "peek_", source, examples=[Example(None, [message])])
        assert "shown to tools" in error.message, slot


@pytest.mark.parametrize("stage", ["stage", "rounds"])
def test_a_message_object_is_the_kernels(house, stage):
    one = house(worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    assert one.send(message_of(one, shop), "setSlot_value_", stage, []).type == "NotAllowed"
    assert seen(one, lambda: isinstance(one.image.at(message_of_oid(one, shop)), UvmObject))


def message_of_oid(house, target):
    proof = house.image.at(target).own("worth").own("proof")
    return Reference.parse(proof["message"])


# --- undo --------------------------------------------------------------------------------------------------------------


def test_undoing_a_correction_reaches_all_who_share_the_method_and_can_be_undone(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == one.send(other, "worth") == 7
    offer(one, shop, "worth", CORRECTED)
    preview = one.send("genesis_obj", "undo_", [shop, "worth"], kwargs={"preview": True})
    assert [step["slot"] for step in preview["slots"]] == ["version*"] and one.send(other, "worth") == 12
    told = one.send("genesis_obj", "undo_", [other, "worth"], session="u", seq=1)
    assert [one.send(each, "worth") for each in (shop, other, make_shop(one))] == [7, 7, 7], told
    assert explained(one, other)["author"] == "brick" and explained(one, other)["history"] == []
    one.send("genesis_obj", "undo_", "u/1")
    assert [one.send(each, "worth") for each in (shop, other, make_shop(one))] == [12, 12, 12]
    assert explained(one, other)["author"] == "tool"


def test_undoing_a_removal_gives_the_method_back_to_the_library(house):
    one = house(worth=[RIGHT], drafts=1)
    shop = make_shop(one)
    one.send(shop, "worth")
    one.send(shop, "removeSlot_", "worth", session="s", seq=1)
    one.send("genesis_obj", "undo_", "s/1")
    asked = len(one.model.asked)
    assert one.send(make_shop(one), "worth") == one.send(shop, "worth") == 12 and len(one.model.asked) == asked


def test_undoing_what_an_object_has_of_its_own_gives_it_the_shared_one_again(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    offer(one, shop, "worth", "def worth(self):\n    return 1\n", here=True)
    one.send("genesis_obj", "undo_", [shop, "worth"])
    offer(one, other, "worth", CORRECTED)
    assert one.send(shop, "worth") == one.send(other, "worth") == 12


def test_the_chronicle_tells_of_installs_corrections_and_removals(house):
    one = house(worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    offer(one, other, "worth", CORRECTED)
    one.send(shop, "removeSlot_", "worth", session="s", seq=1)
    entries = one.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"]
    told = [(entry["kind"], entry["object"], entry["author"]) for entry in reversed(entries) if entry.get("slot") == "worth"]
    assert told == [("install", shop, "brick"), ("install", other, "brick"), ("correction", other, "local"), ("removal", shop, "local")]
    assert [entry.get("facts", {}).get("from") for entry in reversed(entries) if entry["kind"] == "install"] == [None, "library"]


def two_rates(house):
    """Two shops of one shape that share `worth`, which sends `rate`: each has its own."""
    one = house(worth=["    return self.cost * self.rate()"], drafts=1)
    shop, other = make_shop(one), make_shop(one)
    for target, rate in ((shop, 1), (other, 2)):
        offer(one, target, "rate", f"def rate(self):\n    return {rate}\n")
    assert (one.send(shop, "worth"), one.send(other, "worth")) == (4, 8)
    assert one.send(shop, "explain_", "worth")["shared"] and one.send(other, "explain_", "worth")["shared"]
    assert one.send(shop, "worth", examples=[Example(4)]) == 4
    assert one.send(other, "worth", examples=[Example(8)]) == 8, "in the same state, and no contradiction: they are two objects"
    assert [kept["result"] for kept in one.send(shop, "explain_", "worth")["examples"]] == [4, 8]
    return one, shop, other


def test_a_correction_is_tried_on_every_object_for_which_an_example_is_kept(house):
    one, shop, other = two_rates(house)
    refused = offer(one, shop, "worth", "def worth(self):\n    return self.cost\n")
    assert refused.type == "TrialFailed"
    assert f"kept example 2, on {other}: () gave 4, not 8" in refused.message
    assert one.send(other, "worth") == 8
    told = offer(one, shop, "worth", "def worth(self):\n    return round(self.cost * self.rate(), 2)\n")
    assert told["shared"] and (one.send(shop, "worth"), one.send(other, "worth")) == (4, 8)
    assert [kept["result"] for kept in told["examples"]] == [4, 8]


def test_what_is_written_again_is_tried_on_them_as_well(house):
    one, shop, other = two_rates(house)
    one.model.bodies["worth"] = [
        "    return self.cost if self.cost < 9 else 1",
        "    return self.cost * self.rate() if self.cost < 9 else 1",
    ]
    assert one.send(shop, "worth", examples=[Example(1, slots={"cost": 10})]) == 4
    assert one.send(other, "worth") == 8
    drafts = one.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert f"kept example 2, on {other}: () gave 4, not 8" in drafts[0]["why"]


def test_one_that_has_a_method_of_its_own_is_not_asked_and_its_own_does_not_have_to_be_true_of_others(house):
    one, _, other = two_rates(house)
    offer(one, other, "worth", "def worth(self):\n    return 8\n", here=True)
    assert one.send(other, "explain_", "worth")["shared"] is False and one.send(other, "worth") == 8
    assert [kept["result"] for kept in one.send(other, "explain_", "worth")["examples"]] == [8]


def test_an_object_that_goes_on_changing_does_not_keep_a_correction_from_coming(house):
    one, shop, other = two_rates(house)
    begin = one.writers._trials._server.begin

    def meanwhile(request, load):
        if request.subjects and one.trials_begun < 9:
            one.trials_begun += 1
            one.bench.send(other, "setSlot_value_", "cost", 4 + one.trials_begun)
        return begin(request, load)

    one.trials_begun = 0
    one.writers._trials._server = type("Server", (), {"begin": staticmethod(meanwhile)})()
    offer(one, shop, "worth", "def worth(self):\n    return round(self.cost * self.rate(), 2)\n")
    assert one.trials_begun == 1 and one.send(other, "worth") == 10
