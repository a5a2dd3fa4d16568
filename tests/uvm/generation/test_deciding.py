"""The image's own rule on real trials: what it is sure of is installed, the rest is refused with what would decide it."""

import json
from importlib.resources import files
from typing import Any

import pytest

from inference_worker.forge import calibrate
from tests.uvm.houses import BuildHouse, make_shop
from uvm.awakening import renewal
from uvm.generation.features import MEANINGS
from uvm.image import judgement
from uvm.protocol import Example

WORTH = "    return self.cost * self.pieces"


def test_drafts_that_agree_on_every_input_and_explain_the_selector_are_installed_with_a_confidence(build_house: BuildHouse) -> None:
    house = build_house(total_cost=["    return self.cost * self.pieces", "    return self.pieces * self.cost"], risk=0.075, most_drafts=6)
    shop = make_shop(house)
    assert house.send(shop, "total_cost") == 12
    report = house.send(shop, "explain_", "total_cost")
    assert report["confidence"] == report["proof"]["confidence"] > 0.9
    decision = report["proof"]["decision"]
    assert set(decision["features"]) == set(MEANINGS) and decision["features"]["share"] == 1.0
    assert [group["drafts"] for group in decision["groups"]] == [4] and len(house.model.asked) == 1
    (event,) = [event for event in house.events if event.stage == "installed"]
    assert event.detail["confidence"] == report["confidence"]


def test_drafts_that_agree_by_chance_are_told_apart_and_the_question_is_asked(build_house: BuildHouse) -> None:
    bodies = ["    return self.cost + self.cost + self.cost", WORTH]  # there are three pieces
    house = build_house(total_cost=bodies, risk=1e-9, most_drafts=4)
    shop = make_shop(house)
    error = house.send(shop, "total_cost")
    assert error.type == "Refused" and 0 < error.details["confidence"] < 1
    first, second = error.details["choices"]
    assert first["example"]["slots"]["pieces"] != 3 and first["result"] != second["result"] and " or " in error.message


def test_one_answer_settles_it_without_the_model(build_house: BuildHouse) -> None:
    house = build_house(total_cost=["    return self.cost + self.cost + self.cost", WORTH], risk=1e-9, most_drafts=4)
    shop = make_shop(house)
    choices = house.send(shop, "total_cost").details["choices"]
    right = next(choice for choice in choices if "self.pieces" in choice["source"])
    questions = len(house.model.asked)
    assert house.send(shop, "total_cost", examples=[Example(**right["example"])], risk=1.0) == 12
    assert len(house.model.asked) == questions
    house.send(shop, "setSlot_value_", "pieces", 5)
    assert house.send(shop, "total_cost") == 20


def test_what_most_drafts_decline_is_refused_and_at_any_risk_the_rest_is_taken(build_house: BuildHouse) -> None:
    bodies = ["    return decline('no weight')", "    return self.cost", "    return decline()", "    return decline('no')"]
    house = build_house(total_weight=bodies, risk=0.075, drafts=4)
    shop = make_shop(house)
    error = house.send(shop, "total_weight")
    assert error.type == "Refused" and "3 of 4 drafts say that the object does not know" in error.message
    assert error.details["decision"]["groups"][-1] == {"drafts": 3, "declined": True}
    assert house.send(shop, "total_weight", risk=1.0) == 4


def test_why_tells_of_a_method_and_of_a_refusal(build_house: BuildHouse) -> None:
    house = build_house(total_cost=[WORTH], total_weight=["    return self.cost"], total_pieces_weight=["    return 1"], risk=0.075)
    shop = make_shop(house)
    house.send(shop, "total_cost")
    assert house.send(shop, "total_weight").type == "Refused"
    installed, refused = (house.send(shop, "why_", selector) for selector in ("total_cost", "total_weight"))
    assert installed["method"]["proof"]["decision"]["confidence"] > 0.9 and installed["message"]["stage"] == "installed"
    assert refused["method"] is None and refused["message"]["refusal"]["details"]["choices"][0]["result"] == 4
    assert refused["message"]["plan"]["prompt"] and refused["message"]["drafts"][0]["features"]
    assert refused["message"]["earlier"] == []
    house.send(shop, "total_weight")
    again = house.send(shop, "why_", "total_weight")["message"]
    assert (again["round"], [entry["stage"] for entry in again["earlier"]]) == (2, ["refused"])
    assert again["earlier"][0]["why"] == refused["message"]["refusal"]["message"]
    assert again["ended"] > again["earlier"][0]["ended"]
    nothing = house.send(shop, "why_", "never_heard_of")
    assert nothing.type == "BadArguments" and "nothing is known of never_heard_of" in nothing.message
    assert house.send(shop, "why_", "total_cost", "2").type == "BadArguments"
    assert house.send(shop, "total_pieces_weight", preview=True).type == "Refused"
    assert house.send(shop, "why_", "total_pieces_weight", 0)["message"]["stage"] == "refused", "a preview is answered for as well"


def test_a_judgement_that_a_message_has_put_there_decides_the_next_miss_and_stays(build_house: BuildHouse) -> None:
    house = build_house(total_cost=[WORTH], risk=0.075, most_drafts=2)
    shop = make_shop(house)
    weights = house.looked(lambda: dict(house.image.named("pLLM_obj").own("judgement")))
    strict = {**weights, "thresholds": {kind: [[0.01, 2.0]] for kind in ("without", "with")}}
    house.send("pLLM_obj", "setSlot_value_", "judgement", strict)
    assert house.send(shop, "total_cost").type == "Refused"
    assert house.looked(lambda: ("judgement" in renewal.renew(house.image), house.image.named("pLLM_obj").own("judgement"))) == (
        False,
        strict,
    )


def test_an_image_without_one_gets_the_shipped_judgement_and_an_earlier_one_gives_way(build_house: BuildHouse) -> None:
    house = build_house()
    mind = "pLLM_obj"

    def renewed(present: Any) -> Any:
        house.image.manager.begin()
        pllm = house.image.named(mind)
        pllm.drop("judgement") if present is None else pllm.put("judgement", present)
        added = "judgement" in renewal.renew(house.image)
        now = pllm.own("judgement")
        house.image.manager.abort()
        return added, now

    shipped = judgement.shipped()
    earlier = {**shipped, "bias": 1.0}
    assert renewed(None) == (True, shipped) == renewed({**earlier, "digest": judgement.digest(earlier)})
    assert renewed(earlier) == (False, earlier), "its digest is not its own: somebody has changed it"
    assert renewed(shipped) == (False, shipped) and not renewed({"digest": 7, "bias": 0})[0]


def test_the_shipped_numbers_weigh_known_features_and_the_rule_and_the_fit_compute_the_same(build_house: BuildHouse) -> None:
    content = json.loads((files("inference_worker") / "shipped" / "covenant" / "decision.json").read_text())
    assert set(content["weights"]) <= set(MEANINGS)
    house = build_house()
    features = {name: 0.25 + number / 40 for number, name in enumerate(MEANINGS)} | {"examples": 0.0}
    rival = features | {"share": 0.9}
    listed = [
        {"index": number, "agreement": 1, "logprob": -0.1, "examples": 0, "examples_passed": 0, "source": "", "persona": "", "risk": 0.5}
        | {"features": weighed}
        for number, weighed in enumerate((features, rival))
    ]
    answer = house.send("pLLM_obj", "chooseFrom_", listed)
    groups = tuple(calibrate.GroupSeen(weighed, 1, -0.1, True) for weighed in (features, rival))
    confidence, _, declined = calibrate.decided(content, calibrate.TaskSeen("t", "without", groups))
    best = max((0, 1), key=lambda number: (features, rival)[number]["share"] * content["weights"]["share"])
    assert answer["best"] == best and answer["confidence"] == pytest.approx(confidence, abs=1e-9)
    assert answer["threshold"] == calibrate.least_confidence(content, "without", 0.5) and not declined
