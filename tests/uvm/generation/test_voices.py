"""With which model and adapter the worker is asked for drafts: the persona's own, as of the moment in which it is asked."""

import pytest

from tests.uvm.houses import make_shop
from uvm.generation.request import MethodRequest
from uvm.image import model_registry
from uvm.objects import KIND, UvmObject

MODEL, OTHER = "0" * 64, "9" * 64
TERSE = "2" * 64
BODY = ["    return self.cost\n"]


@pytest.fixture
def rooms(house, tmp_path):
    """Houses of one image that keeps two models and an adapter of the first, which the scripted one thinks with."""
    made = house()
    image = made.image
    image.manager.begin()
    first = image.named("pLLM_obj").own("model")
    adapter = UvmObject({KIND: "adapter", "digest": TERSE, "name": "terse", "base": MODEL, "blobs": {}})
    second = UvmObject({KIND: "model", "digest": OTHER, "name": "second", "blobs": {}})
    for kind, proxy in (("model", first), ("model", second), ("adapter", adapter)):
        model_registry.enter(image, kind, proxy)
    image.manager.commit()
    for kind, digest in (("models", OTHER), ("adapters", TERSE)):
        (tmp_path / kind / digest).mkdir(parents=True)
    return house


def asked(house, selector):
    """What the worker is asked with when the shop misses this selector."""
    house.model.asked.clear()
    house.model.bodies[selector] = BODY
    house.send(make_shop(house), selector)
    return {(generate.model, generate.adapter) for generate in house.model.asked}


def test_a_personas_own_adapter_decides_for_its_drafts_and_for_no_others(rooms):
    here, there = rooms(), rooms()
    # `personasFor_` sends what is shown to robin, what is counted to babs, and the rest to brick.
    assert asked(here, "show_cost") == asked(here, "total_cost") == {(MODEL, None)}
    here.send("robin", "assignAdapter_", "terse")
    assert asked(there, "display_cost") == {(MODEL, TERSE)}
    assert asked(there, "count_cost") == asked(there, "find_cost") == {(MODEL, None)}


def test_another_model_is_asked_in_every_process_and_without_the_adapter_that_does_not_fit_it(rooms):
    here, there = rooms(), rooms()
    here.send("pLLM_obj", "assignAdapter_", "terse")
    assert asked(there, "show_cost") == {(MODEL, TERSE)}
    here.send("pLLM_obj", "useModel_", "second")
    assert asked(there, "show_price") == asked(there, "total_price") == {(OTHER, None)}


def test_a_request_under_way_ends_with_what_it_was_asked_with(rooms):
    house = rooms()
    shop = make_shop(house)
    held = []
    answers, house.model.ask = house.model.ask, lambda *question: held.append(question)
    (outcome,) = house.bench.run(house.bench.delivery(shop, "show_cost"))
    assert isinstance(outcome, MethodRequest)
    ended = []
    house.writers.request(outcome, ended.append)
    assert {question[0].model for question in held} == {MODEL}
    house.send("robin", "assignAdapter_", "terse")
    house.send("pLLM_obj", "useModel_", "second")
    house.model.bodies["show_cost"] = BODY
    for question in held:
        answers(*question)
    house.until(lambda: ended)
    assert ended == [None] and house.send(shop, "show_cost") == 4
    assert {generate.model for generate in house.model.asked} == {MODEL}
