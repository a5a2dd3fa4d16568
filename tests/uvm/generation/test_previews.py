"""What a message would do is shown, and nothing of it lasts; a method that was written for it is installed by whoever accepts it."""

from pathlib import Path
from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop, offer
from uvm.errors import ImageError
from uvm.generation import proposals
from uvm.image import clock
from uvm.machine.delivery import Answered
from uvm.protocol import Example, Reference, Result, Send, Step, Transaction, decode_value
from uvm.rights import ALL
from uvm.trial.client import TrialServer

TOTAL = "    return self.cost * self.pieces"


def preview(house: House, target: Any, selector: str, *args: Any, **options: Any) -> Any:
    return house.carry_out(Send(id=1, target=target, selector=selector, args=list(args), preview=True, session="p", seq=1, **options))


def accept(house: House, proposal: Any, target: Any, selector: str, *args: Any) -> Any:
    return house.carry_out(Send(id=1, target=target, selector=selector, args=list(args), accept=proposal["accept"]))


def state(house: House) -> Any:
    """The newest transaction."""
    return house.image.database.storage.lastTransaction()


def test_what_a_message_would_do_is_shown_slot_by_slot_and_nothing_of_it_lasts(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
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
    house.bench.install(shop, "split", source, 1)
    before = state(house)
    proposal = preview(house, shop, "split", 1)
    slots = {slot["slot"]: (slot.get("before"), slot.get("after")) for slot in proposal["slots"] if slot["object"] == shop}
    assert slots.pop("clones") == (0, 1), "counters are slots"
    twin = proposal["result"]
    assert slots == {"cost": (4, 3), "tags": (["new"], ["new", "split"]), "pieces": (3, None), "twin": (None, twin)}
    (created,) = proposal["made"]
    assert (created["object"], created["slots"]["cost"], created["slots"]["tags"]) == (twin, 1, ["new", "split"])
    assert created["parents"] == house.send(shop, "parents")
    assert "after" not in next(slot for slot in proposal["slots"] if slot["slot"] == "pieces")
    assert state(house) == before
    assert house.send(shop, "cost") == 4 and house.send(shop, "tags") == ["new"] and house.send(shop, "pieces") == 3
    assert house.send(twin, "cost").type == "NoSuchObject"


def test_parents_and_names_are_shown_too(build_house: BuildHouse) -> None:
    house = build_house()
    shop, sibling = make_shop(house), make_shop(house)
    (slot,) = preview(house, shop, "addParent_", sibling)["slots"]
    assert (slot["slot"], slot["after"]) == ("parent*", [*slot["before"], sibling])
    before = state(house)
    named = preview(house, shop, "nameAs_", "stall")["slots"]
    assert [slot["after"] for slot in named] == [["stall"]]
    assert house.send("stall", "cost").type == "NoSuchObject"
    assert state(house) == before


def test_a_message_that_fails_fails_in_its_preview_likewise(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    assert preview(house, shop, "cost", 1).type == "BadArguments"
    assert preview(house, "traits_obj", "setSlot_value_", "new", 1)["slots"], "the owner may"
    delivery = house.bench.delivery("traits_obj", "setSlot_value_", "new", 1, preview=True)
    delivery.rights = ALL - {"policy"}
    assert house.finish(delivery).type == "NotAllowed"


def test_messages_beside_a_preview_in_one_transaction_last_and_it_does_not(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    first, look, second = (
        house.bench.delivery(shop, "setSlot_value_", slot, value, preview=shown)
        for slot, value, shown in (("cost", 5, False), ("cost", 99, True), ("pieces", 7, False))
    )
    outcomes = house.bench.run(first, look, second)
    assert isinstance(outcomes[0], Answered) and isinstance(outcomes[1], Answered) and isinstance(outcomes[2], Answered)
    (slot,) = decode_value(outcomes[1].result)["slots"]
    assert (slot["before"], slot["after"]) == (5, 99)
    assert (house.send(shop, "cost"), house.send(shop, "pieces")) == (5, 7)


def test_a_missing_method_is_written_tried_and_shown_and_is_there_once_it_is_accepted(build_house: BuildHouse) -> None:
    house = build_house(sell_=["    self.pieces = self.pieces - a\n    return self.pieces"])
    shop = make_shop(house)
    methods, messages = house.send("genesis_obj", "methods"), house.send("genesis_obj", "messages")
    proposal = preview(house, shop, "sell_", 1)
    assert house.stages()[-1] == "shown"
    assert proposal["method"]["source"].startswith("def sell_(self, a):")
    assert (proposal["result"], [(slot["slot"], slot["before"], slot["after"]) for slot in proposal["slots"]]) == (2, [("pieces", 3, 2)])
    assert house.send(shop, "respondsTo_", "sell_") is False and house.send(shop, "pieces") == 3
    assert (house.send("genesis_obj", "methods"), house.send("genesis_obj", "messages")) == (methods, messages)

    questions = len(house.model.asked)
    assert preview(house, shop, "sell_", 2)["result"] == 1, "what was shown is shown again, and not written again"
    assert len(house.model.asked) == questions

    assert accept(house, proposal, shop, "sell_", 2) == 1
    assert house.send(shop, "pieces") == 1 and house.send("genesis_obj", "methods") == methods + 1
    proof = house.send(shop, "explain_", "sell_")["proof"]
    assert proof["trial"]["confined"] and house.send(Reference.parse(proof["message"]), "selector") == "sell_"
    answer = accept(house, proposal, shop, "sell_", 1)
    assert answer.type == "PreviewGone" and "its method is there by now" in answer.remedy
    assert len(house.model.asked) == questions


def test_what_was_shown_does_not_hold_once_the_objects_have_changed(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    proposal = preview(house, shop, "total")
    house.send(shop, "setSlot_value_", "cost", 5)
    error = accept(house, proposal, shop, "total")
    assert (error.type, error.details["why"]) == ("PreviewOutdated", "objects that it was tried on have changed since")
    assert error.remedy == "preview it again"
    assert house.send(shop, "respondsTo_", "total") is False
    again = preview(house, shop, "total")
    assert again["result"] == 15
    assert accept(house, again, shop, "total") == 15


def test_what_was_shown_does_not_hold_once_the_method_is_there(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    proposal = preview(house, shop, "total")
    assert house.send(shop, "total") == 12
    assert accept(house, proposal, shop, "total").type == "PreviewOutdated"
    assert "method" not in preview(house, shop, "total")


def test_nothing_is_accepted_that_was_not_shown_for_this_message(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL], sum_=["    return a"])
    shop = make_shop(house)
    proposal = preview(house, shop, "total")
    assert accept(house, proposal, shop, "sum_", 1).type == "PreviewGone"
    assert accept(house, {"accept": "0" * 32}, shop, "total").type == "PreviewGone"
    with pytest.raises(ValueError, match="belong to the preview"):
        Send(id=1, target=shop, selector="total", accept="0" * 32, preview=True)


def test_what_is_shown_is_kept_for_a_time_and_up_to_a_number(build_house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build_house(total=[TOTAL], other=[TOTAL], third=[TOTAL])
    monkeypatch.setattr(proposals, "KEPT", 2)
    shop = make_shop(house)
    proposal = {selector: preview(house, shop, selector) for selector in ("total", "other", "third")}
    assert accept(house, proposal["total"], shop, "total").type == "PreviewGone"
    assert accept(house, proposal["other"], shop, "other") == 12
    house.image.manager.begin()
    clock.advance(house.image, proposals.LASTS_S + 10)
    clock.advance(house.image, proposals.LASTS_S + 10)
    house.image.manager.commit()
    assert accept(house, proposal["third"], shop, "third").type == "PreviewGone"


def test_a_preview_of_a_method_that_does_not_hold_shows_the_one_in_its_place(build_house: BuildHouse) -> None:
    house = build_house(total=["    return 12"])
    shop = make_shop(house)
    assert house.send(shop, "total") == 12
    house.model.bodies["total"] = [TOTAL]
    examples = [Example(50, slots={"cost": 10, "pieces": 5})]
    proposal = preview(house, shop, "total", examples=examples)
    assert proposal["result"] == 12 and proposal["method"]["source"].endswith(TOTAL + "\n")
    assert house.send(shop, "explain_", "total")["source"].endswith("return 12\n")
    assert "method" not in preview(house, shop, "total"), "without an example the method that is there is meant"
    assert accept(house, proposal, shop, "total") == 12
    explained = house.send(shop, "explain_", "total")
    assert len(explained["history"]) == 1 and [example["result"] for example in explained["examples"]] == [50]


def test_a_preview_tests_what_is_expected_and_keeps_nothing(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    house.send(shop, "total")
    assert preview(house, shop, "total", examples=[Example(12)])["result"] == 12
    assert "examples" not in house.send(shop, "explain_", "total")
    assert preview(house, shop, "cost", examples=[Example(5)]).type == "ExampleFailed"


def test_a_preview_writes_the_method_of_its_own_message_alone(build_house: BuildHouse) -> None:
    house = build_house(outer=["    return self.inner()"], inner=["    return 1"])
    shop = make_shop(house)
    error = preview(house, shop, "outer")
    assert error.type == "Refused" and "needs inner, which nobody understands" in error.message
    offer(house, shop, "outer", "def outer(self):\n    return self.inner() if self.cost > 4 else 0\n")
    house.send(shop, "setSlot_value_", "cost", 9)
    error = preview(house, shop, "outer")
    assert error.type == "NotUnderstood" and "sends inner" in error.message
    assert house.send(shop, "respondsTo_", "inner") is False


def test_a_message_that_comes_meanwhile_installs_its_own_method(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    deliveries = [house.bench.delivery(shop, "total", preview=True), house.bench.delivery(shop, "total")]
    ended: list[ImageError | None] = []
    for request in house.missed(*deliveries):
        house.writers.request(request, ended.append)
    house.until(lambda: len(ended) == 2)
    assert ended == [None, None]
    assert house.finish(deliveries[1]) == 12
    assert house.send(shop, "respondsTo_", "total") is True


def test_another_process_accepts_what_was_shown(build_house: BuildHouse, trials: TrialServer, tmp_path: Path) -> None:
    house = build_house(total=[TOTAL])
    shop = make_shop(house)
    proposal = preview(house, shop, "total")
    sibling = House(house.image, trials, {}, tmp_path, name="uvm-2")
    assert accept(sibling, proposal, shop, "total") == 12
    assert house.send(shop, "total") == 12


def test_what_the_library_has_is_shown_and_shared_once_it_is_accepted(build_house: BuildHouse) -> None:
    house = build_house(total=[TOTAL])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "total", examples=[Example(12)])
    house.send(sibling, "setSlot_value_", "cost", 5)
    proposal = preview(house, sibling, "total")
    assert proposal["result"] == 15 and len(house.model.asked) == 1
    assert accept(house, proposal, sibling, "total") == 15
    explained = house.send(sibling, "explain_", "total")
    assert explained["shared"] and [example["result"] for example in explained["examples"]] == [12]


def test_a_correction_that_is_accepted_reaches_all_who_share_the_method(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.cost + 8"], drafts=1)
    shop, sibling = make_shop(house), make_shop(house)
    assert (house.send(shop, "total"), house.send(sibling, "total")) == (12, 12)
    house.model.bodies["total"] = [TOTAL]
    proposal = preview(house, shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    house.send(sibling, "setSlot_value_", "cost", 6)
    assert house.send(sibling, "total") == 14, "it was shown, and is not there"
    assert accept(house, proposal, shop, "total") == 12
    assert house.send(sibling, "total") == 18


def preview_all(house: House, *steps: Any) -> Any:
    return house.carry_out(Transaction(id=1, sends=list(steps), preview=True, session="p", seq=2))


def test_a_preview_of_several_sends_shows_the_result_of_each_and_what_all_of_them_change(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    before = state(house)
    proposal = preview_all(
        house,
        Step(shop, "setSlot_value_", ["cost", 9]),
        Step(shop, "cost"),
        Step(shop, "clone"),
        Step(Result(2), "setSlot_value_", ["pieces", 1]),
        Step(shop, "setSlot_value_", ["twin", Result(2)]),
        Step(shop, "setSlot_value_", ["cost", 10]),
    )
    twin = proposal["results"][2]
    assert proposal["results"] == [shop, 9, twin, twin, shop, shop]
    slots = {slot["slot"]: (slot.get("before"), slot.get("after")) for slot in proposal["slots"]}
    assert slots == {"cost": (4, 10), "clones": (0, 1), "twin": (None, twin)}
    ((created, slots_of_it),) = ((created["object"], created["slots"]) for created in proposal["made"])
    assert created == twin and (slots_of_it["cost"], slots_of_it["pieces"]) == (9, 1)
    assert state(house) == before and house.send(shop, "cost") == 4
    assert house.send(twin, "cost").type == "NoSuchObject"
    steps = [Step(shop, "setSlot_value_", ["cost", 9]), Step(shop, "cost", [1])]
    assert preview_all(house, *steps).type == "BadArguments", "a send that fails is the answer to the whole"
    assert house.carry_out(Transaction(id=1, sends=steps[:1], session="p", seq=2)) == [shop], "a preview leaves no receipt"


def test_a_preview_of_several_sends_writes_no_method(build_house: BuildHouse) -> None:
    house = build_house(total=["    return 12"])
    shop = make_shop(house)
    error = preview_all(house, Step(shop, "cost"), Step(shop, "total"))
    assert error.type == "NotUnderstood" and "send 1 comes to total" in error.message and "preview total alone" in error.remedy
    assert house.model.asked == []
    house.send(shop, "total")
    proposal = preview_all(house, Step(shop, "total", examples=[Example(12)]))
    assert proposal["results"] == [12] and "examples" not in house.send(shop, "explain_", "total"), "tested, and not kept"
    error = preview_all(house, Step(shop, "total", examples=[Example(50, slots={"cost": 10, "pieces": 5})]))
    assert error.type == "ExampleFailed" and "send 0: total" in error.message
    assert len(house.model.asked) == 1
