"""What a message would do is shown, and nothing of it lasts; a method that was written for it is installed by whoever accepts it."""

import pytest

from tests.uvm.houses import House, make_shop, offer
from uvm.generation import proposals
from uvm.image import clock
from uvm.machine.delivery import Answered
from uvm.protocol import Example, Reference, Result, Send, Step, Transaction, decode_value
from uvm.rights import ALL

TOTAL = "    return self.cost * self.pieces"


def preview(one, target, selector, *args, **options):
    return one.carry_out(Send(id=1, target=target, selector=selector, args=list(args), preview=True, session="p", seq=1, **options))


def accept(one, told, target, selector, *args):
    return one.carry_out(Send(id=1, target=target, selector=selector, args=list(args), accept=told["accept"]))


def state(one):
    """The newest transaction."""
    return one.image.database.storage.lastTransaction()


def test_what_a_message_would_do_is_shown_slot_by_slot_and_nothing_of_it_lasts(house):
    one = house()
    shop = make_shop(one)
    source = """def split(self, a):
    self.cost = self.cost - a
    self.tags.append('split')
    self._p_changed = True
    self.removeSlot_('pieces')
    twin = self.clone()
    twin.cost = a
    self.twin = twin
    return twin
"""
    one.bench.install(shop, "split", source, 1)
    before = state(one)
    told = preview(one, shop, "split", 1)
    slots = {slot["slot"]: (slot.get("before"), slot.get("after")) for slot in told["slots"] if slot["object"] == shop}
    assert slots.pop("clones") == (0, 1), "counters are slots"
    twin = told["result"]
    assert slots == {"cost": (4, 3), "tags": (["new"], ["new", "split"]), "pieces": (3, None), "twin": (None, twin)}
    (made,) = told["made"]
    assert (made["object"], made["slots"]["cost"], made["slots"]["tags"]) == (twin, 1, ["new", "split"])
    assert made["parents"] == one.send(shop, "parents")
    assert "after" not in next(slot for slot in told["slots"] if slot["slot"] == "pieces")
    assert state(one) == before
    assert one.send(shop, "cost") == 4 and one.send(shop, "tags") == ["new"] and one.send(shop, "pieces") == 3
    assert one.send(twin, "cost").type == "NoSuchObject"


def test_parents_and_names_are_shown_too(house):
    one = house()
    shop, other = make_shop(one), make_shop(one)
    (slot,) = preview(one, shop, "addParent_", other)["slots"]
    assert (slot["slot"], slot["after"]) == ("parent*", [*slot["before"], other])
    before = state(one)
    named = preview(one, shop, "nameAs_", "stall")["slots"]
    assert [slot["after"] for slot in named] == [["stall"]]
    assert one.send("stall", "cost").type == "NoSuchObject"
    assert state(one) == before


def test_a_message_that_fails_fails_in_its_preview_likewise(house):
    one = house()
    shop = make_shop(one)
    assert preview(one, shop, "cost", 1).type == "BadArguments"
    assert preview(one, "traits_obj", "setSlot_value_", "new", 1)["slots"], "the owner may"
    work = one.bench.delivery("traits_obj", "setSlot_value_", "new", 1, preview=True)
    work.rights = ALL - {"policy"}
    assert one.finish(work).type == "NotAllowed"


def test_messages_beside_a_preview_in_one_transaction_last_and_it_does_not(house):
    one = house()
    shop = make_shop(one)
    first, look, second = (
        one.bench.delivery(shop, "setSlot_value_", slot, value, preview=shown)
        for slot, value, shown in (("cost", 5, False), ("cost", 99, True), ("pieces", 7, False))
    )
    outcomes = one.bench.run(first, look, second)
    assert all(isinstance(outcome, Answered) for outcome in outcomes)
    (slot,) = decode_value(outcomes[1].result)["slots"]
    assert (slot["before"], slot["after"]) == (5, 99)
    assert (one.send(shop, "cost"), one.send(shop, "pieces")) == (5, 7)


def test_a_missing_method_is_written_tried_and_shown_and_is_there_once_it_is_accepted(house):
    one = house(sell_=["    self.pieces = self.pieces - a\n    return self.pieces"])
    shop = make_shop(one)
    methods, messages = one.send("genesis_obj", "methods"), one.send("genesis_obj", "messages")
    told = preview(one, shop, "sell_", 1)
    assert one.stages()[-1] == "shown"
    assert told["method"]["source"].startswith("def sell_(self, a):")
    assert (told["result"], [(slot["slot"], slot["before"], slot["after"]) for slot in told["slots"]]) == (2, [("pieces", 3, 2)])
    assert one.send(shop, "respondsTo_", "sell_") is False and one.send(shop, "pieces") == 3
    assert (one.send("genesis_obj", "methods"), one.send("genesis_obj", "messages")) == (methods, messages)

    asked = len(one.model.asked)
    assert preview(one, shop, "sell_", 2)["result"] == 1, "what was shown is shown again, and not written again"
    assert len(one.model.asked) == asked

    assert accept(one, told, shop, "sell_", 2) == 1
    assert one.send(shop, "pieces") == 1 and one.send("genesis_obj", "methods") == methods + 1
    proof = one.send(shop, "explain_", "sell_")["proof"]
    assert proof["trial"]["confined"] and one.send(Reference.parse(proof["message"]), "selector") == "sell_"
    gone = accept(one, told, shop, "sell_", 1)
    assert gone.type == "PreviewGone" and "its method is there by now" in gone.remedy
    assert len(one.model.asked) == asked


def test_what_was_shown_does_not_hold_once_the_objects_have_changed(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    told = preview(one, shop, "total")
    one.send(shop, "setSlot_value_", "cost", 5)
    error = accept(one, told, shop, "total")
    assert (error.type, error.details["why"]) == ("PreviewOutdated", "objects that it was tried on have changed since")
    assert error.remedy == "preview it again"
    assert one.send(shop, "respondsTo_", "total") is False
    again = preview(one, shop, "total")
    assert again["result"] == 15
    assert accept(one, again, shop, "total") == 15


def test_what_was_shown_does_not_hold_once_the_method_is_there(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    told = preview(one, shop, "total")
    assert one.send(shop, "total") == 12
    assert accept(one, told, shop, "total").type == "PreviewOutdated"
    assert "method" not in preview(one, shop, "total")


def test_nothing_is_accepted_that_was_not_shown_for_this_message(house):
    one = house(total=[TOTAL], sum_=["    return a"])
    shop = make_shop(one)
    told = preview(one, shop, "total")
    assert accept(one, told, shop, "sum_", 1).type == "PreviewGone"
    assert accept(one, {"accept": "0" * 32}, shop, "total").type == "PreviewGone"
    with pytest.raises(ValueError, match="belong to the preview"):
        Send(id=1, target=shop, selector="total", accept="0" * 32, preview=True)


def test_what_is_shown_is_kept_for_a_time_and_up_to_a_number(house, monkeypatch):
    one = house(total=[TOTAL], other=[TOTAL], third=[TOTAL])
    monkeypatch.setattr(proposals, "KEPT", 2)
    shop = make_shop(one)
    told = {selector: preview(one, shop, selector) for selector in ("total", "other", "third")}
    assert accept(one, told["total"], shop, "total").type == "PreviewGone"
    assert accept(one, told["other"], shop, "other") == 12
    one.image.manager.begin()
    clock.advance(one.image, proposals.LASTS_S + 10)
    clock.advance(one.image, proposals.LASTS_S + 10)
    one.image.manager.commit()
    assert accept(one, told["third"], shop, "third").type == "PreviewGone"


def test_a_preview_of_a_method_that_does_not_hold_shows_the_one_in_its_place(house):
    one = house(total=["    return 12"])
    shop = make_shop(one)
    assert one.send(shop, "total") == 12
    one.model.bodies["total"] = [TOTAL]
    examples = [Example(50, slots={"cost": 10, "pieces": 5})]
    told = preview(one, shop, "total", examples=examples)
    assert told["result"] == 12 and told["method"]["source"].endswith(TOTAL + "\n")
    assert one.send(shop, "explain_", "total")["source"].endswith("return 12\n")
    assert "method" not in preview(one, shop, "total"), "without an example the method that is there is meant"
    assert accept(one, told, shop, "total") == 12
    explained = one.send(shop, "explain_", "total")
    assert len(explained["history"]) == 1 and [kept["result"] for kept in explained["examples"]] == [50]


def test_a_preview_tests_what_is_expected_and_keeps_nothing(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    one.send(shop, "total")
    assert preview(one, shop, "total", examples=[Example(12)])["result"] == 12
    assert "examples" not in one.send(shop, "explain_", "total")
    assert preview(one, shop, "cost", examples=[Example(5)]).type == "ExampleFailed"


def test_a_preview_writes_the_method_of_its_own_message_alone(house):
    one = house(outer=["    return self.inner()"], inner=["    return 1"])
    shop = make_shop(one)
    error = preview(one, shop, "outer")
    assert error.type == "Refused" and "needs inner, which nobody understands" in error.message
    offer(one, shop, "outer", "def outer(self):\n    return self.inner() if self.cost > 4 else 0\n")
    one.send(shop, "setSlot_value_", "cost", 9)
    error = preview(one, shop, "outer")
    assert error.type == "NotUnderstood" and "sends inner" in error.message
    assert one.send(shop, "respondsTo_", "inner") is False


def test_a_message_that_comes_meanwhile_installs_its_own_method(house):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    works = [one.bench.delivery(shop, "total", preview=True), one.bench.delivery(shop, "total")]
    ended = []
    for request in one.bench.run(*works):
        one.writers.request(request, ended.append)
    one.until(lambda: len(ended) == 2)
    assert ended == [None, None]
    assert one.finish(works[1]) == 12
    assert one.send(shop, "respondsTo_", "total") is True


def test_another_process_accepts_what_was_shown(house, trials, tmp_path):
    one = house(total=[TOTAL])
    shop = make_shop(one)
    told = preview(one, shop, "total")
    other = House(one.image, trials, {}, tmp_path, name="uvm-2")
    assert accept(other, told, shop, "total") == 12
    assert one.send(shop, "total") == 12


def test_what_the_library_has_is_shown_and_shared_once_it_is_accepted(house):
    one = house(total=[TOTAL])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "total", examples=[Example(12)])
    one.send(other, "setSlot_value_", "cost", 5)
    told = preview(one, other, "total")
    assert told["result"] == 15 and len(one.model.asked) == 1
    assert accept(one, told, other, "total") == 15
    explained = one.send(other, "explain_", "total")
    assert explained["shared"] and [kept["result"] for kept in explained["examples"]] == [12]


def test_a_correction_that_is_accepted_reaches_all_who_share_the_method(house):
    one = house(total=["    return self.cost + 8"], drafts=1)
    shop, other = make_shop(one), make_shop(one)
    assert (one.send(shop, "total"), one.send(other, "total")) == (12, 12)
    one.model.bodies["total"] = [TOTAL]
    told = preview(one, shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    one.send(other, "setSlot_value_", "cost", 6)
    assert one.send(other, "total") == 14, "it was shown, and is not there"
    assert accept(one, told, shop, "total") == 12
    assert one.send(other, "total") == 18


def preview_all(one, *steps):
    return one.carry_out(Transaction(id=1, sends=list(steps), preview=True, session="p", seq=2))


def test_a_preview_of_several_sends_shows_the_result_of_each_and_what_all_of_them_change(house):
    one = house()
    shop = make_shop(one)
    before = state(one)
    told = preview_all(
        one,
        Step(shop, "setSlot_value_", ["cost", 9]),
        Step(shop, "cost"),
        Step(shop, "clone"),
        Step(Result(2), "setSlot_value_", ["pieces", 1]),
        Step(shop, "setSlot_value_", ["twin", Result(2)]),
        Step(shop, "setSlot_value_", ["cost", 10]),
    )
    twin = told["results"][2]
    assert told["results"] == [shop, 9, twin, twin, shop, shop]
    slots = {slot["slot"]: (slot.get("before"), slot.get("after")) for slot in told["slots"]}
    assert slots == {"cost": (4, 10), "clones": (0, 1), "twin": (None, twin)}
    ((made, data),) = ((made["object"], made["slots"]) for made in told["made"])
    assert made == twin and (data["cost"], data["pieces"]) == (9, 1)
    assert state(one) == before and one.send(shop, "cost") == 4
    assert one.send(twin, "cost").type == "NoSuchObject"
    steps = [Step(shop, "setSlot_value_", ["cost", 9]), Step(shop, "cost", [1])]
    assert preview_all(one, *steps).type == "BadArguments", "a send that fails is the answer to the whole"
    assert one.carry_out(Transaction(id=1, sends=steps[:1], session="p", seq=2)) == [shop], "a preview leaves no receipt"


def test_a_preview_of_several_sends_writes_no_method(house):
    one = house(total=["    return 12"])
    shop = make_shop(one)
    error = preview_all(one, Step(shop, "cost"), Step(shop, "total"))
    assert error.type == "NotUnderstood" and "send 1 comes to total" in error.message and "preview total alone" in error.remedy
    assert one.model.asked == []
    one.send(shop, "total")
    held = preview_all(one, Step(shop, "total", examples=[Example(12)]))
    assert held["results"] == [12] and "examples" not in one.send(shop, "explain_", "total"), "tested, and not kept"
    error = preview_all(one, Step(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]))
    assert error.type == "ExampleFailed" and "send 0: total" in error.message
    assert len(one.model.asked) == 1
