"""Processor seconds by principal: of the steps in which a method is written, too, which no message runs."""

import time
from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop, offer
from uvm.generation.meter import Meter
from uvm.language.audit import audit

LONG = "def told(self):\n    a = 0\n" + "".join(f"    a = (a + {number}) % {number + 7}\n" for number in range(200)) + "    return 1\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> Any:
        return self.now


def test_what_is_done_within_is_no_part_of_what_it_is_done_within() -> None:
    clock = Clock()
    meter = Meter(clock)
    with meter.of("alice"):
        clock.now += 1
        for _ in range(2):
            with meter.of("bob"):
                clock.now += 2
                with meter.of("alice"), meter.of("carol"):
                    clock.now += 8
        clock.now += 16
    assert dict(meter.read()) == {"alice": 17, "bob": 4, "carol": 16}
    assert meter.read() == []


def test_a_step_that_fails_is_paid_for() -> None:
    clock = Clock()
    meter = Meter(clock)
    with pytest.raises(ValueError), meter.of("alice"):
        clock.now += 3
        raise ValueError
    assert meter.read() == [("alice", 3)]


def audit_takes() -> Any:
    began = time.thread_time()
    audit(LONG, "told", 0)
    return time.thread_time() - began


def paid(house: House) -> Any:
    """What everybody has paid until now."""
    house.writers.tick(time.monotonic())
    return house.used


def test_the_audit_and_the_grammar_of_a_method_are_paid_by_who_had_it_written(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.cost * self.pieces"])
    shop = make_shop(house)
    assert house.send(shop, "total") == 12
    assert paid(house)["local"] > 0.001
    house.used.clear()
    audit_s = min(audit_takes() for _ in range(3))
    assert offer(house, shop, "told", LONG)["selector"] == "told"
    assert set(paid(house)) == {"local"} and house.used["local"] > audit_s / 2


def test_a_message_that_is_refused_has_paid_as_well(build_house: BuildHouse) -> None:
    house = build_house(total=["    return self.nothing.at_all("])
    shop = make_shop(house)
    house.send(shop, "total")
    assert paid(house)["local"] > 0.001
