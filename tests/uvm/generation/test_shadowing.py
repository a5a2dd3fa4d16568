"""A candidate drafts beside the adapter in service: real trials, a scripted model, and a round of the loop that is in its shadow."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from deploy.orders import Exam, Order
from inference_worker.protocol import Completed, Generate, Output
from tests.uvm.houses import BuildHouse, House, make_shop
from uvm.autotelic import ledger
from uvm.autotelic.shadow import ShadowedMessage
from uvm.generation import shadowing
from uvm.image import model_registry
from uvm.objects import KIND, UvmObject

MODEL, CANDIDATE, ORDER = "0" * 64, "c" * 64, "0123456789abcdef"


class Shadowed:
    """A house whose autotelic loop has a candidate in its shadow."""

    def __init__(self, house: House, shadow: int = 3) -> None:
        self.house = house
        self.bodies: dict[str, list[str]] = {}
        self.asked: list[Generate] = []
        self.held: list[Callable[[], None]] = []
        self.holds = False
        (house.home / "adapters" / CANDIDATE).mkdir(parents=True)
        house.send("autotelic_obj", "setSlot_value_", "policy", {"enabled": True, "shadow": shadow})
        house.transactor.run(self._enter)
        house.model.ask = self._ask

    def _enter(self) -> None:
        image = self.house.image
        candidate = UvmObject({KIND: "adapter", "digest": CANDIDATE, "name": "new", "blobs": {}, "base": MODEL})
        model_registry.enter(image, "adapter", candidate)
        entered = ledger.enter_round(image, Order(ORDER, 1, MODEL), Exam(ORDER, 2, 9), None, 0)
        entered.put("digest", CANDIDATE)
        entered.put("shadowed", int(time.time()))
        entered.put("phase", "shadow")

    def _ask(self, generate: Generate, seconds: float, done: Callable[..., None], writing: Any = None) -> None:
        if generate.adapter != CANDIDATE:
            self.house.model.draft(generate, seconds, done, writing)
            return
        self.asked.append(generate)
        selector = generate.prompt.rsplit("def ", 1)[-1].split("(")[0]
        bodies = self.bodies[selector]
        outputs = [Output(bodies[number % len(bodies)], 10, -0.1, "stop") for number in range(len(generate.samplings))]
        answer = Completed(generate.id, outputs, 100, 0.0, 0.1, mode="adapter")
        if self.holds:
            self.held.append(lambda: done(answer))
        else:
            done(answer)

    def end(self) -> None:
        entered = ledger.current_round(self.house.image)
        assert entered is not None
        entered.put("phase", "ended")

    def seen(self) -> list[ShadowedMessage]:
        def look() -> list[ShadowedMessage]:
            entered = ledger.current_round(self.house.image)
            return ledger.shadowed(entered) if entered is not None else []

        seen: list[ShadowedMessage] = self.house.looked(look)
        return seen


@pytest.mark.parametrize(
    ("live", "beside", "current", "candidate"),
    [
        ("    return self.cost * self.pieces", "    return self.pieces * self.cost", "installed", "same"),
        ("    return self.cost * self.pieces", "    return self.cost + self.pieces", "installed", "other"),
        ("    return self.cost * self.pieces", "    return 12", "installed", "other"),  # right on the real values alone
        ("    return self.cost * self.pieces", "    return self.cost / 0", "installed", "erred"),
        ("    return self.cost * self.pieces", '    decline("no")', "installed", "declined"),
        ("    self.cost += 1\n    return self.cost", "    self.cost = self.cost + 1\n    return self.cost", "installed", "same"),
        ("    return self.cost / 0", "    return self.cost", "refused", "other"),
        ("    return self.cost / 0", "    return 1 / 0", "refused", "declined"),
    ],
)
def test_what_a_candidate_would_have_done_is_compared_by_what_it_does(
    build_house: BuildHouse, live: str, beside: str, current: str, candidate: str
) -> None:
    house = build_house(worth=[live], varied=8)
    shadowed = Shadowed(house)
    shadowed.bodies["worth"] = [beside]
    shop = make_shop(house)
    answer = house.send(shop, "worth")
    events = list(house.events)
    house.until(shadowed.seen)
    (seen,) = shadowed.seen()
    assert (seen.selector, seen.current, seen.candidate) == ("worth", current, candidate)
    (asked,) = shadowed.asked
    assert asked.priority == "background" and asked.session.startswith("heartbeat") and not asked.stream
    # Nobody who sent it can tell: nothing is published, installed or kept in the message.
    assert house.events == events and house.send(seen.message, "selector") == "worth"
    assert all(f"{beside}\n" not in draft["source"] for draft in house.send(seen.message, "drafts"))
    if current == "installed":
        assert answer == (12 if "*" in live else 5) and live.splitlines()[0] in house.send(shop, "explain_", "worth")["source"]


def test_somebody_who_waits_goes_first_and_the_candidate_s_question_is_taken_back(
    build_house: BuildHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "REST_S", 0.0)
    house = build_house(worth=["    return self.cost"], price=["    return self.pieces"])
    shadowed = Shadowed(house)
    shadowed.bodies |= {"worth": ["    return self.cost"], "price": ["    return self.pieces"]}
    shop = make_shop(house)
    house.model.others_wait = True
    house.send(shop, "worth")
    house.writers.tick(time.monotonic())
    assert not shadowed.asked  # somebody waits for the model
    house.model.others_wait, shadowed.holds = False, True
    house.until(lambda: shadowed.held)
    house.model.others_wait = True
    house.until(lambda: house.model.cancelled)
    assert house.model.cancelled == [shadowed.asked[0].id]
    shadowed.held[0]()  # an answer that was on its way is nobody's
    assert not shadowed.seen()
    house.model.others_wait = shadowed.holds = False
    house.until(shadowed.seen)
    assert [seen.candidate for seen in shadowed.seen()] == ["same"] and len(shadowed.asked) == 2


def test_no_more_messages_are_drafted_beside_than_the_policy_says_and_none_where_no_candidate_is_in_its_shadow(
    build_house: BuildHouse,
) -> None:
    house = build_house(**{name: ["    return self.cost"] for name in ("one", "two", "three", "four")})
    shadowed = Shadowed(house, shadow=2)
    shadowed.bodies |= {name: ["    return self.cost"] for name in ("one", "two", "three", "four")}
    shop = make_shop(house)
    for name in ("one", "two", "three"):
        house.send(shop, name)
        house.until(lambda: not house.writers.trials())
    house.until(lambda: len(shadowed.seen()) == 2)
    for _ in range(5):
        house.writers.tick(time.monotonic())
    assert len(shadowed.asked) == 2
    house.transactor.run(shadowed.end)
    house.send(shop, "four")
    for _ in range(5):
        house.writers.tick(time.monotonic())
    assert len(shadowed.asked) == 2


def test_a_rule_that_fails_or_a_worker_that_is_away_says_nothing_of_the_candidate_and_harms_nobody(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost"], price=["    return self.pieces"])
    shadowed = Shadowed(house)
    shadowed.bodies |= {"worth": ["    import os"], "price": ["    return self.nothing()"]}
    shop = make_shop(house)
    assert (house.send(shop, "worth"), house.send(shop, "price")) == (4, 3)
    house.until(lambda: len(shadowed.asked) == 2 and not house.writers.trials())
    for _ in range(5):
        house.writers.tick(time.monotonic())
    assert [seen.candidate for seen in shadowed.seen()] == ["erred"]  # a draft that needs another method cannot be compared
