"""With which model and adapter the worker is asked for drafts: the persona's own, as of the moment in which it is asked."""

from pathlib import Path
from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop
from uvm.errors import ImageError
from uvm.generation.request import MethodRequest
from uvm.image import model_registry
from uvm.image.views import COVENANT
from uvm.objects import KIND, UvmObject

MODEL, OTHER = "0" * 64, "9" * 64
TERSE = "2" * 64
BODY = ["    return self.cost\n"]


@pytest.fixture
def rooms(build_house: BuildHouse, tmp_path: Path) -> Any:
    """Houses of one image that keeps two models and an adapter of the first, which the scripted one thinks with."""
    house = build_house()
    image = house.image
    image.manager.begin()
    first = image.named("pLLM_obj").own("model")
    adapter = UvmObject({KIND: "adapter", "digest": TERSE, "name": "terse", "base": MODEL, "blobs": {}})
    second = UvmObject({KIND: "model", "digest": OTHER, "name": "second", "blobs": {}})
    for model in (first, second):
        model_registry.enter(image, "model", model)
    model_registry.enter(image, "adapter", adapter)
    image.manager.commit()
    for kind, digest in (("models", OTHER), ("adapters", TERSE)):
        (tmp_path / kind / digest).mkdir(parents=True)
    return build_house


def voices_asked(house: House, selector: str) -> Any:
    """What the worker is asked with when the shop misses this selector."""
    house.model.asked.clear()
    house.model.bodies[selector] = BODY
    house.send(make_shop(house), selector)
    return {(generate.model, generate.adapter) for generate in house.model.asked}


def test_a_personas_own_adapter_decides_for_its_drafts_and_for_no_others(rooms: Any) -> None:
    here, there = rooms(), rooms()
    # `personasFor_` sends what is shown to robin, what is counted to babs, and the rest to brick.
    assert voices_asked(here, "show_cost") == voices_asked(here, "total_cost") == {(MODEL, None)}
    here.send("robin", "assignAdapter_", "terse")
    assert voices_asked(there, "display_cost") == {(MODEL, TERSE)}
    assert voices_asked(there, "count_cost") == voices_asked(there, "find_cost") == {(MODEL, None)}


def test_another_model_is_asked_in_every_process_and_without_the_adapter_that_does_not_fit_it(rooms: Any) -> None:
    here, there = rooms(), rooms()
    here.send("pLLM_obj", "assignAdapter_", "terse")
    assert voices_asked(there, "show_cost") == {(MODEL, TERSE)}
    here.send("pLLM_obj", "useModel_", "second")
    assert voices_asked(there, "show_price") == voices_asked(there, "total_price") == {(OTHER, None)}


def test_a_request_under_way_ends_with_what_it_was_asked_with(rooms: Any) -> None:
    house = rooms()
    shop = make_shop(house)
    waiting = []
    answers, house.model.ask = house.model.ask, lambda *question: waiting.append(question)
    (outcome,) = house.bench.run(house.bench.delivery(shop, "show_cost"))
    assert isinstance(outcome, MethodRequest)
    ended: list[ImageError | None] = []
    house.writers.request(outcome, ended.append)
    assert {question[0].model for question in waiting} == {MODEL}
    house.send("robin", "assignAdapter_", "terse")
    house.send("pLLM_obj", "useModel_", "second")
    house.model.bodies["show_cost"] = BODY
    for question in waiting:
        answers(*question)
    house.until(lambda: ended)
    assert ended == [None] and house.send(shop, "show_cost") == 4
    assert {generate.model for generate in house.model.asked} == {MODEL}


def prompts_of(house: House, shop: Any, selector: str) -> dict[str, str]:
    """By persona, what the worker is asked with when the shop misses this selector."""
    house.model.asked.clear()
    house.model.bodies[selector] = BODY
    house.send(shop, selector)
    return {generate.id.split("-")[0]: generate.prompt for generate in house.model.asked}


def test_a_personas_own_text_comes_before_the_one_that_it_inherits_in_its_drafts_alone(rooms: Any) -> None:
    here, there = rooms(), rooms()
    shop = make_shop(there)
    here.send("pLLM_obj", "usePrompt_", "Be brief.")
    here.send("robin", "usePrompt_", "Draw.\nWith care.")
    (shown,) = prompts_of(there, shop, "display_cost").values()
    assert shown.startswith("Draw.\nWith care.\nObject:\nname = ") and shown.endswith("\ndef display_cost(self):\n")
    (counted,) = prompts_of(there, shop, "count_cost").values()
    assert counted.startswith("Be brief.\nObject:\nname = ")
    assert there.send(shop, "explain_", "display_cost")["proof"]["prompt"] == shown
    here.send("robin", "resetPrompt")
    (shown,) = prompts_of(there, shop, "display_price").values()
    assert shown.startswith("Be brief.\nObject:\n")


def test_the_voices_of_one_message_are_each_asked_with_their_own_text(rooms: Any) -> None:
    house = rooms(drafts=2, most_drafts=6)
    house.bench.install("pLLM_obj", "personasFor_", "def personasFor_(self, message):\n    return ['brick', 'babs', 'robin']\n", 1)
    house.send("babs", "usePrompt_", "Count.")
    house.model.bodies["worth"] = ["    return self.cost\n", "    return self.pieces\n"]
    house.send(make_shop(house), "worth")
    first = {generate.prompt.split("\n")[0] for generate in house.model.asked[:1]}
    others = {generate.prompt.split("\n")[0] for generate in house.model.asked}
    assert first == {COVENANT} and others == {COVENANT, "Count."}


def test_a_prompt_that_the_image_builds_in_its_own_way_stays(rooms: Any) -> None:
    house = rooms()
    source = (
        "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'Now: ' + message.signature, 'personas': ['robin']})\n"
    )
    house.bench.install("pLLM_obj", "reflectOn_", source, 1)
    house.send("robin", "usePrompt_", "Draw.")
    assert set(prompts_of(house, make_shop(house), "display_cost").values()) == {"Now: def display_cost(self):"}
