"""The upgrader on its directory, killed at every step: what it finds unfinished it carries to its end."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.home import Home
from deploy.upgrader import instructions, journal
from deploy.upgrader.events import (
    BuildCandidate,
    Event,
    KeepCandidate,
    PlankReplaced,
    PlankReport,
    RecordOutcome,
    RemoveCandidate,
    ReplacePlanks,
    SwitchBack,
    UpgradeInstruction,
    UpgradeStepFailed,
    WishSeen,
)
from deploy.upgrader.instructions import PinnedDistribution
from deploy.upgrader.journal import UpgradeJournal
from deploy.upgrader.process import UpgradeProcess
from deploy.upgrader.upgrader import RECEIPT_TRIES, Upgrader
from tests.deploy.upgrader.test_process import FAILED, WELL

SMALL = PinnedDistribution("small", "2", ["sha256:" + "a" * 64])


class Killed(BaseException):
    """The upgrader is gone, in the middle of a step."""


class World:
    """What the steps change. One may be killed: before it has begun, half way, or when it is done but not written down."""

    def __init__(self) -> None:
        self.running = self.in_force = "/old"
        self.built = False
        self.receipts: list[dict[str, object]] = []
        self.steps = 0
        self.killed_at: tuple[int, str] | None = None
        self.failing: type | None = None

    def carry_out(self, number: int, instruction: UpgradeInstruction, tell: Callable[[Event], None]) -> Event | None:
        self.steps += 1
        moment = self.killed_at[1] if self.killed_at and self.killed_at[0] == self.steps else ""
        if moment == "before":
            raise Killed
        if self.failing is not None and isinstance(instruction, self.failing):
            return FAILED
        match instruction:
            case BuildCandidate():
                self.built = True
            case ReplacePlanks():
                tell(PlankReplaced(report=PlankReport("uvm-1", 0.1, 1, 2)))
                self.running = "/new"
                if moment == "half":
                    raise Killed
                tell(PlankReplaced(report=PlankReport("uvm-2", 0.1, 1, 2)))
            case KeepCandidate():
                self.in_force = "/new"
            case SwitchBack():
                self.running = self.in_force
            case RemoveCandidate():
                self.built = False
            case RecordOutcome(receipt=receipt):
                if receipt not in self.receipts:
                    self.receipts.append(receipt)
        if moment:
            raise Killed
        return WELL.get(type(instruction))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.ensure()
    home.upgrade_records.mkdir(parents=True)
    return home


def wish(home: Home) -> None:
    instructions.put(home, instructions.wish(home, "tester", requirements=[SMALL]))


def until_settled(home: Home, world: World) -> UpgradeProcess:
    """Start upgraders, one after the other, until nothing is left to do."""
    for _ in range(10):
        upgrader = Upgrader(home, world, lambda: False, pause_s=0.0)
        try:
            upgrader.go_on()
            upgrader.look()
        except Killed:
            world.killed_at = None
            continue
        break
    (process,) = journal.every(home)
    assert not (home.upgrades / instructions.FILE).exists()
    return process


def check(world: World, process: UpgradeProcess) -> None:
    """Permanent, or as it was; one trial at most; one receipt, which says what is so."""
    kept = process.stage == "permanent"
    assert process.stage in ("permanent", "reverted") and process.settled
    assert world.running == world.in_force == ("/new" if kept else "/old")
    assert world.built == kept
    assert process.trials <= 1
    assert [receipt["outcome"] for receipt in world.receipts][-1] == process.stage
    assert len({json.dumps(receipt["outcome"]) for receipt in world.receipts}) == 1


def test_a_wish_is_taken_carried_out_and_recorded(home: Home) -> None:
    wish(home)
    world = World()
    check(world, until_settled(home, world))
    assert not (journal.directory_of(home, 1) / "reserve").exists()


@pytest.mark.parametrize("moment", ["before", "half", "after"])
@pytest.mark.parametrize("step", range(1, 8))
def test_an_upgrader_that_is_killed_at_a_step_is_followed_by_one_that_ends_it(home: Home, step: int, moment: str) -> None:
    wish(home)
    world = World()
    world.killed_at = (step, moment)
    check(world, until_settled(home, world))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", range(4, 8))
def test_an_upgrader_that_is_killed_while_it_goes_back_is_followed_by_one_that_goes_on(home: Home, step: int, moment: str) -> None:
    wish(home)
    world = World()
    world.failing = type(list(_instructions())[3])
    world.killed_at = (step, moment)
    process = until_settled(home, world)
    check(world, process)
    assert process.stage == "reverted"


def _instructions() -> list[UpgradeInstruction]:
    process, seen = UpgradeProcess(1), []
    pending = process.handle(WishSeen(wish=instructions.UpdateInstructions("0" * 16, 1, "t", requirements=[SMALL])))
    while pending:
        seen.append(pending.pop(0))
        pending += process.handle(WELL[type(seen[-1])])
    return seen


def test_a_line_that_was_cut_off_is_no_event_and_the_next_one_follows_what_is_whole(home: Home) -> None:
    wish(home)
    world = World()
    world.killed_at = (3, "before")
    with pytest.raises(Killed):
        Upgrader(home, world, lambda: False).look()
    file = journal.directory_of(home, 1) / "journal"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event":"Planks')
    assert journal.replayed(journal.directory_of(home, 1)).stage == "switching"
    world.killed_at = None
    check(world, until_settled(home, world))
    assert file.read_bytes().startswith(whole + b'{"event":"UpgraderStarted"')


def test_one_wish_is_carried_out_once_though_its_file_outlived_the_upgrader(home: Home) -> None:
    wish(home)
    content = (home.upgrades / instructions.FILE).read_bytes()
    world = World()
    until_settled(home, world)
    (home.upgrades / instructions.FILE).write_bytes(content)
    steps = world.steps
    assert Upgrader(home, world, lambda: False).look()
    assert world.steps == steps and journal.numbers(home) == [1]
    assert not (home.upgrades / instructions.FILE).exists()


@pytest.mark.parametrize("content", [b"{}", b"x" * 100_000, b'{"command": "pip install small"}'])
def test_what_is_no_wish_is_refused_recorded_and_taken_away(home: Home, content: bytes) -> None:
    (home.upgrades / instructions.FILE).write_bytes(content)
    world = World()
    assert Upgrader(home, world, lambda: False).look()
    (process,) = journal.every(home)
    assert process.stage == "refused" and world.receipts[0]["outcome"] == "refused"
    assert not (home.upgrades / instructions.FILE).exists()


def test_a_directory_in_the_place_of_a_wish_ends_nobody(home: Home) -> None:
    (home.upgrades / instructions.FILE).mkdir()
    assert Upgrader(home, World(), lambda: False).look()
    assert not (home.upgrades / instructions.FILE).exists()


def test_a_receipt_that_cannot_be_written_is_written_by_the_next_upgrader(home: Home) -> None:
    wish(home)
    world = World()
    world.failing = RecordOutcome
    assert Upgrader(home, world, lambda: False, pause_s=0.0).look()
    (process,) = journal.every(home)
    assert process.stage == "permanent" and not process.settled and world.steps == 6 + RECEIPT_TRIES
    world.failing = None
    Upgrader(home, world, lambda: False).go_on()
    check(world, next(iter(journal.every(home))))


def test_what_fails_because_the_upgrader_is_to_end_is_not_held_against_the_upgrade(home: Home) -> None:
    wish(home)
    world, stopping = World(), False

    class Stopping:
        def carry_out(self, number: int, instruction: UpgradeInstruction, tell: Callable[[Event], None]) -> Event | None:
            nonlocal stopping
            stopping = True
            return UpgradeStepFailed(why=["pip was ended"])

    Upgrader(home, Stopping(), lambda: stopping).look()
    assert next(iter(journal.every(home))).stage == "building"
    check(world, until_settled(home, world))


def test_a_rollback_is_heard_on_trial_and_another_wish_waits(home: Home) -> None:
    upgrader = Upgrader(home, World(), lambda: False)
    wish(home)
    assert upgrader.rollback_asked() == "" and (home.upgrades / instructions.FILE).exists()
    (home.upgrades / instructions.FILE).unlink()
    instructions.put(home, instructions.wish(home, "somebody", back_to=0))
    assert upgrader.rollback_asked() == "somebody" and not (home.upgrades / instructions.FILE).exists()


def test_room_is_kept_for_the_way_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    record = UpgradeJournal(home.upgrade_records / "1")
    reserve = record.directory / "reserve"
    written = record._append

    def full(event: Event) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "no space left on the device")
        written(event)

    monkeypatch.setattr(record, "_append", full)
    record.append(FAILED)
    assert not reserve.exists() and journal.read(record.directory) == [FAILED]
