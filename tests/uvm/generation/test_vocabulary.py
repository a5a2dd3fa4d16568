"""What a draft may say: names that are there, of the receiver and of what it can reach."""

from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House
from uvm.generation.request import MethodRequest
from uvm.generation.vocabulary import Vocabulary, vocabulary


@pytest.fixture
def house(build_house: BuildHouse) -> House:
    return build_house()


def made(house: House, *parents: Any, **slots: Any) -> Any:
    target = house.send("genesis_obj", "clone")
    for parent in parents:
        house.send(target, "addParent_", parent)
    for name, value in slots.items():
        house.send(target, "setSlot_value_", name, value)
    return target


def born_with(house: House) -> set[str]:
    """Slots that a clone of genesis_obj has."""
    return set(house.send(made(house), "slotNames"))


def of(house: House, target: Any, selector: str, *args: Any) -> Vocabulary:
    """The vocabulary for a message that the object does not understand."""
    (request,) = house.bench.run(house.bench.delivery(target, selector, *args))
    assert isinstance(request, MethodRequest), request
    house.image.manager.begin()
    try:
        return vocabulary(house.image, request)
    finally:
        house.image.manager.abort()


def test_objects_in_slots_lists_dicts_and_arguments_are_asked_for_what_they_have(house: House) -> None:
    inner, listed, kept, passed = (made(house, **{name: 1}) for name in ("speed", "weight", "height", "depth"))
    receiver = made(house, engine=inner, cargo=[listed], parts={"mast": kept}, label="x")
    fields = of(house, receiver, "sum_up", passed).fields
    assert set(fields) - born_with(house) == {"speed", "weight", "height", "depth"}


def test_objects_of_those_objects_are_reached_too(house: House) -> None:
    receiver = made(house, owner=made(house, account=made(house, balance=3)))
    assert set(of(house, receiver, "sum_up").fields) - born_with(house) == {"account", "balance"}


def test_what_an_object_inherits_can_be_asked_for_and_what_everybody_has_is_no_news(house: House) -> None:
    kind = made(house, wheels=4)
    receiver = made(house, fleet=[made(house, kind, speed=1)])
    fields = of(house, receiver, "sum_up").fields
    assert [name for name in fields if name not in born_with(house)] == ["speed", "wheels"]


def test_a_slot_of_a_parent_that_the_selector_names_is_read_and_one_that_nobody_has_is_new(house: House) -> None:
    receiver = made(house, made(house, rate=3), price=2)
    names = of(house, receiver, "price_with_rate_and_tax")
    assert [name for name in names.slots if name not in born_with(house)] == ["price", "rate"]
    assert "tax" in names.new and "rate" not in names.new


def test_an_object_without_others_restricts_nothing(house: House) -> None:
    assert of(house, made(house, price=2), "double_price").fields == []
