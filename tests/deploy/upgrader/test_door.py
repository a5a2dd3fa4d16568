"""The image's own wishes at the door: newer versions of what is installed, from the directory of wheels, so many a day."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import environment, orders
from deploy.settings import Configuration, load
from deploy.upgrader import door, instructions, journal
from deploy.upgrader.events import Event, UpgradeInstruction
from deploy.upgrader.upgrader import Upgrader
from deploy.wishes import ImageWish, WantedVersion, WishDoor
from tests.deploy.upgrader.test_process import WELL
from tests.theseus.wheel import make_wheel, wheel_hash

ID = "0123456789abcdef"


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    (tmp_path / "wheels").mkdir()
    settled = load({"BATOS_HOME": str(tmp_path / "home"), "BATOS_UPGRADE_WHEELS": str(tmp_path / "wheels")}, tmp_path)
    settled.home.ensure()
    settled.home.upgrade_records.mkdir(parents=True)
    monkeypatch.setattr(environment, "distributions", lambda prefix: {"small": "1.0"})
    return settled


def asked(configuration: Configuration, *versions: str, identifier: str = ID, name: str = "Small") -> None:
    wanted = [WantedVersion(name, version) for version in versions]
    WishDoor(configuration.home).give(ImageWish(identifier, 5, "alice", wanted, "it is newer"))


class Carrier:
    """Carries everything out at once, and keeps the receipts."""

    def __init__(self) -> None:
        self.receipts: list[dict[str, Any]] = []

    def carry_out(self, number: int, instruction: UpgradeInstruction, tell: Callable[[Event], None]) -> Event | None:
        if hasattr(instruction, "receipt"):
            self.receipts.append(instruction.receipt)
        return WELL.get(type(instruction))


def upgrader(configuration: Configuration) -> tuple[Upgrader, Carrier]:
    carrier = Carrier()
    made = Upgrader(configuration.home, carrier, lambda: False, pause_s=0.0)
    made.let_in = lambda: door.let_in(configuration, time.time())
    return made, carrier


def test_a_wish_is_pinned_signed_and_carried_out_once(configuration: Configuration, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", "2.0", {}, "small")
    asked(configuration, "2.0")
    assert door.let_in(configuration, time.time()) is None
    file = configuration.home.upgrades / instructions.FILE
    wish = instructions.verified(configuration.home, instructions.read(file))
    assert (wish.id, wish.asked_by, wish.reason) == (ID, "image/alice", "it is newer")
    assert [(each.version, each.hashes) for each in wish.requirements] == [("2.0", [wheel_hash(wheel)])]
    made, carrier = upgrader(configuration)
    assert made.look() and not file.exists()
    asked(configuration, "2.0")  # the heartbeat gives it until its receipt is there
    assert not made.look()
    assert [receipt["wish"] for receipt in carrier.receipts] == [ID] and carrier.receipts[0]["wished"] == ["Small==2.0"]
    assert not list(WishDoor(configuration.home).waiting())


@pytest.mark.parametrize(
    ("name", "version", "why"),
    [("small", "2.0", "no wheel"), ("small", "1.0", "not newer"), ("small", "0.9", "not newer"), ("stranger", "3.0", "not installed")],
)
def test_what_the_image_may_not_have_is_refused_and_recorded(
    configuration: Configuration, tmp_path: Path, name: str, version: str, why: str
) -> None:
    for there in ("0.9", "1.0"):
        make_wheel(tmp_path / "wheels", there, {}, "small")
    make_wheel(tmp_path / "wheels", "3.0", {}, "stranger")
    asked(configuration, version, name=name)
    made, carrier = upgrader(configuration)
    assert made.look()
    (receipt,) = carrier.receipts
    assert receipt["outcome"] == "refused" and why in receipt["why"]
    assert (receipt["wish"], receipt["asked_by"], receipt["wished"]) == (ID, "image/alice", [f"{name}=={version}"])
    assert not made.look() and not list(WishDoor(configuration.home).waiting())


def test_so_many_a_day_are_taken_and_the_next_one_waits(configuration: Configuration, tmp_path: Path) -> None:
    made, carrier = upgrader(configuration)
    for number in range(configuration.settings.upgrade.image_a_day + 2):
        asked(configuration, "0.1", identifier=f"{number:016x}")
        made.look()
    assert len(carrier.receipts) == configuration.settings.upgrade.image_a_day
    assert [identifier for identifier, _ in WishDoor(configuration.home).waiting()] == [f"{number:016x}" for number in (4, 5)]
    now = time.time() + door.DAY_S + 1
    assert door.taken(configuration, now) == 0 and door.let_in(configuration, now) is not None


def test_whoever_wishes_by_hand_goes_first(configuration: Configuration, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "2.0", {}, "small")
    instructions.put(configuration.home, instructions.wish(configuration.home, "bob", back_to=0))
    asked(configuration, "2.0")
    made, carrier = upgrader(configuration)
    assert made.look() and made.look() and not made.look()
    assert [receipt["asked_by"] for receipt in carrier.receipts] == ["bob", "image/alice"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{" * 5000,
        json.dumps({"id": ID, "at": 1, "by": "x", "requirements": []}).encode(),
        json.dumps({"id": "f" * 16, "at": 1, "by": "x", "requirements": [{"name": "small", "version": "2.0"}]}).encode(),
        json.dumps({"id": ID, "at": 1, "by": "x", "requirements": [{"name": "small", "version": "2.0"}], "command": "rm"}).encode(),
        json.dumps({"id": ID, "at": 1, "by": "x", "requirements": [{"name": "a @ https://e", "version": "2"}]}).encode(),
        json.dumps({"id": ID, "at": 1, "by": "x" * 70_000, "requirements": [{"name": "small", "version": "2.0"}]}).encode(),
    ],
)
def test_what_is_no_wish_is_removed_and_nothing_else_happens(configuration: Configuration, document: bytes) -> None:
    waiting = WishDoor(configuration.home)
    waiting.ensure()
    (waiting.path / f"{ID}.json").write_bytes(document)
    made, carrier = upgrader(configuration)
    assert not made.look() and not carrier.receipts and journal.numbers(configuration.home) == []
    assert not list(waiting.path.iterdir())


def test_no_link_is_followed_and_no_file_elsewhere_is_removed(configuration: Configuration, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    secret = elsewhere / f"{ID}.json"
    orders.write(secret, ImageWish(ID, 5, "x", [WantedVersion("small", "2.0")]))
    waiting = WishDoor(configuration.home)
    waiting.ensure()
    (waiting.path / f"{ID}.json").symlink_to(secret)
    assert list(waiting.waiting()) == [(ID, None)]
    waiting.take_away(ID)
    assert secret.exists() and not list(waiting.path.iterdir())
    waiting.path.rmdir()
    waiting.path.symlink_to(elsewhere)
    assert not list(waiting.waiting())
    waiting.take_away(ID)
    assert secret.exists()
    waiting.path.unlink()
    waiting.path.mkdir()
    os.mkfifo(waiting.path / f"{ID}.json")
    assert list(waiting.waiting()) == [(ID, None)]
