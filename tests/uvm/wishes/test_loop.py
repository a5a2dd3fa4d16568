"""Wishes on an image: from a message or a newer wheel to the door, and from a receipt to what became of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.home import Home
from deploy.wishes import ImageWish, WishDoor
from tests.theseus.wheel import make_wheel
from tests.uvm.images import Bench, awakened
from uvm.awakening import identity
from uvm.image import views
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered, Failed
from uvm.objects import UvmObject
from uvm.protocol import Reference
from uvm.rights import ALL
from uvm.wishes import loop
from uvm.wishes.loop import WishLoop


class Wishing:
    """An image, a directory of wheels, and the door."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image, self.bench, self.door = image, Bench(image), WishDoor(Home(directory))
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        self.loop = WishLoop(image, Transactor(image, "heartbeat"), self.door, lambda: None, str(self.wheels))

    def wheel(self, name: str, version: str) -> None:
        make_wheel(self.wheels, version, {}, name)

    def policy(self, **slots: Any) -> None:
        rule = {"enabled": True, "rest_s": 0, **slots}
        assert isinstance(self.bench.send("upgrade_obj", "setSlot_value_", "policy", rule), Answered)

    def waiting(self) -> list[ImageWish]:
        return [wish for _, wish in self.door.waiting() if wish is not None]

    def end(self, outcome: str, **more: Any) -> None:
        """The upgrader has carried out what waits, and wrote its receipt."""
        (wish,) = self.waiting()
        self.door.take_away(wish.id)
        self.image.manager.begin()
        wished = [str(each) for each in wish.requirements]
        identity.record(self.image, {"upgrade": 7, "wish": wish.id, "outcome": outcome, "why": "it is slow", "wished": wished, **more})
        self.image.manager.commit()

    def seen(self, slot: str) -> Any:
        self.image.manager.begin()
        try:
            return self.image.named("upgrade_obj").own(slot)
        finally:
            self.image.manager.abort()

    def wishes(self, *slots: str) -> list[tuple[Any, ...]]:
        self.image.manager.begin()
        try:
            return [tuple(wish.own(slot) for slot in slots) for wish in views.objects(self.image.named("upgrade_obj"), "wishes")]
        finally:
            self.image.manager.abort()


@pytest.fixture
def wishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wishing]:
    monkeypatch.setattr(loop, "installed", lambda: {"small": "1.0", "other": "3.0"})
    with awakened() as image:
        yield Wishing(image, tmp_path)


def test_a_newer_wheel_is_seen_and_nothing_is_wished_for_until_the_policy_says_so(wishing: Wishing) -> None:
    wishing.wheel("small", "2.0")
    wishing.wheel("small", "0.9")
    wishing.wheel("stranger", "9.0")
    wishing.loop.beat()
    assert wishing.seen("newer") == {"small": ["1.0", "2.0"]} and not wishing.waiting()
    wishing.policy()
    wishing.loop.beat()
    (wish,) = wishing.waiting()
    assert [str(each) for each in wish.requirements] == ["small==2.0"] and wish.by == "heartbeat" and "2.0" in wish.reason
    assert wishing.wishes("state", "id") == [("given", wish.id)]


def test_what_becomes_of_a_wish_comes_back_and_what_was_reverted_is_not_wished_for_again(wishing: Wishing) -> None:
    wishing.wheel("small", "2.0")
    wishing.policy()
    wishing.loop.beat()
    wishing.loop.beat()
    assert len(wishing.waiting()) == 1, "one at a time, however many beats pass"
    wishing.end("reverted")
    wishing.loop.beat()
    assert wishing.wishes("state", "upgrade", "why") == [("reverted", 7, "it is slow")]
    assert not wishing.waiting() and "taken back" in wishing.seen("last")["reason"]
    wishing.wheel("small", "2.1")
    wishing.loop.beat()
    assert [str(wish.requirements[0]) for wish in wishing.waiting()] == ["small==2.1"]
    wishing.end("permanent")
    wishing.loop.beat()
    assert [state for (state,) in wishing.wishes("state")] == ["reverted", "permanent"]


def test_what_somebody_else_wished_for_in_vain_is_not_wished_for_either(wishing: Wishing) -> None:
    wishing.wheel("small", "2.0")
    wishing.policy()
    wishing.image.manager.begin()
    receipt = {"upgrade": 3, "wish": "f" * 16, "outcome": "reverted", "wished": ["small==2.0"], "asked_by": "alice"}
    identity.record(wishing.image, receipt)
    wishing.image.manager.commit()
    wishing.loop.beat()
    assert not wishing.waiting()


def test_a_message_wishes_and_what_it_wishes_for_goes_the_same_way(wishing: Wishing) -> None:
    holds = [{"target": "genesis_obj", "selector": "name", "result": "genesis_obj"}]
    sent = wishing.bench.send("upgrade_obj", "wishFor_", ["small==2.0", "Other==4"], "they belong together", holds)
    assert isinstance(sent, Answered), sent
    wishing.loop.beat()
    (wish,) = wishing.waiting()
    assert [str(each) for each in wish.requirements] == ["small==2.0", "Other==4"] and wish.reason == "they belong together"
    assert wish.by == "local" and wish.must_hold[0].selector == "name"
    wishing.end("refused")
    wishing.loop.beat()
    assert wishing.wishes("state", "principal") == [("refused", "local")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["small==2.0"],
        [[]],
        [["small"]],
        [["small>=2.0"]],
        [["small==2.0; rm -rf /"]],
        [["../small==2.0"]],
        [["small==2.0", 5]],
        [["--index-url=https://evil==1"]],
        [["small==2.0"], "x" * 501],
        [["small==2.0"], "why", [{"target": "a b", "selector": "x", "result": 1}]],
        [["small==2.0"] * 40],
        [["small==2.0"], "why", [{"target": "a", "selector": "x", "result": Reference.parse("@1")}]],
        [["small==2.0"], "why", [{"target": "a", "selector": "x", "result": "x" * 70_000}]],
    ],
)
def test_what_cannot_be_wished_for_is_said_at_once_and_changes_nothing(wishing: Wishing, arguments: list[Any]) -> None:
    sent = wishing.bench.send("upgrade_obj", "wishFor_", *arguments)
    assert isinstance(sent, Failed) and sent.error.type == "BadArguments" and sent.error.remedy
    assert wishing.wishes("state") == []


def test_only_who_has_the_right_policy_wishes_and_a_clone_wishes_nothing(wishing: Wishing) -> None:
    delivery = wishing.bench.delivery("upgrade_obj", "wishFor_", ["small==2.0"])
    delivery.rights = ALL - {"policy"}
    (outcome,) = wishing.bench.run(delivery)
    assert isinstance(outcome, Failed) and outcome.error.type == "NotAllowed"
    wishing.bench.install("genesis_obj", "wish", "def wish(self, upgrade):\n    return upgrade.clone().wishFor_(['small==2.0'])\n", 1)
    wishing.image.manager.begin()
    upgrade = wishing.image.reference(wishing.image.named("upgrade_obj"))
    wishing.image.manager.abort()
    sent = wishing.bench.send("genesis_obj", "wish", upgrade)
    assert isinstance(sent, Failed) and sent.error.type == "BadArguments"
    assert wishing.wishes("state") == []


def test_wishes_that_nobody_takes_lapse(wishing: Wishing, monkeypatch: pytest.MonkeyPatch) -> None:
    wishing.bench.send("upgrade_obj", "wishFor_", ["small==2.0"])
    wishing.loop.beat()
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 90_000)
    wishing.loop.beat()
    assert wishing.wishes("state") == [("lapsed",)] and not wishing.waiting()


@pytest.mark.parametrize(("slot", "value"), [("wishes", 5), ("wishes", [1, None]), ("policy", "x"), ("newer", 3), ("last", [])])
def test_whatever_policy_puts_there_a_beat_goes_on(wishing: Wishing, slot: str, value: Any) -> None:
    wishing.wheel("small", "2.0")
    wishing.policy()
    assert isinstance(wishing.bench.send("upgrade_obj", "setSlot_value_", slot, value), Answered)
    wishing.loop.beat()
    assert wishing.seen("newer") == {"small": ["1.0", "2.0"]}


@pytest.mark.parametrize(("slot", "value"), [("requirements", ["--index-url=x==1"]), ("must_hold", 5), ("reason", "x" * 70_000)])
def test_a_wish_that_policy_made_something_else_of_is_not_given(wishing: Wishing, slot: str, value: Any) -> None:
    wishing.bench.send("upgrade_obj", "wishFor_", ["small==2.0"])
    wishing.image.manager.begin()
    (wish,) = views.objects(wishing.image.named("upgrade_obj"), "wishes")
    assert isinstance(wish, UvmObject)
    wish.put(slot, value)
    wishing.image.manager.commit()
    wishing.loop.beat()
    assert not wishing.waiting()
