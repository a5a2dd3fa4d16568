"""A real service replaces what it is made of, under load: kept where it is well, and as it was where not. No model, no network.

A way to fail at each stage; `make theseus` has the others, and more clients.
"""

import shutil
import time
from collections.abc import Iterator

import msgspec
import pytest

from deploy import environment
from deploy.upgrader import candidate, instructions, journal
from deploy.upgrader.instructions import PinnedDistribution
from tests.theseus.planks import make_plank
from tests.theseus.ship import Ship
from tests.theseus.traffic import Traffic
from tests.theseus.wheel import NAME, wheel_hash
from ui_client import Client

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def ship(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ship]:
    """A service awake, whose plank is not there yet."""
    launched = Ship(tmp_path_factory.mktemp("ship"))
    try:
        with launched.running:
            yield launched
    finally:
        shutil.rmtree(candidate.directory(launched.configuration), ignore_errors=True)


def test_a_plank_is_replaced_under_load_and_nothing_is_lost(ship: Ship) -> None:
    before = ship.environments()
    with Traffic(ship.running) as traffic:
        status, told = ship.batos("upgrade", f"{NAME}==1.0", "--reason", "the first one")
    assert status == 0, (told, ship.running.log("upgrader")[-3000:])
    assert traffic.check() == (0, 0)
    assert ship.running.log("bridge-beside").count("bridge serves") == 1 and "is restarted" not in ship.running.log("upgrader")
    prefix = candidate.directory(ship.configuration) / "1"
    after = ship.environments()
    for program in ("uvm-1", "uvm-2", "heartbeat", "bridge"):
        assert after[program] == str(prefix / "bin" / "python")
    assert after["upgrader"] == before["upgrader"] and after["image"] == before["image"]
    assert environment.prefix_in_force(ship.home) == prefix
    log = (journal.directory_of(ship.home, 1) / "log").read_text()
    assert "with one that nothing understands" in log and "no method was written" not in log
    receipt = told["receipt"]
    assert receipt["changes"] == [f"{NAME} - → 1.0 {wheel_hash(ship.wheels['1.0'])}"]
    assert receipt["identity"]["before"] == receipt["identity"]["after"]
    assert set(receipt["down_s"]) == {"uvm-1", "uvm-2", "heartbeat", "bridge"}
    assert [entry["outcome"] for entry in ship.receipts(1)] == ["permanent"]


def test_what_an_environment_shares_costs_nothing(ship: Ship) -> None:
    prefix = candidate.directory(ship.configuration) / "1"
    whole = sum(file.lstat().st_size for file in prefix.rglob("*") if file.is_file())
    assert candidate.own_octets(prefix) < 0.05 * whole


@pytest.mark.parametrize(
    ("requirement", "stage", "why"),
    [
        (PinnedDistribution(NAME, "2.0", ["sha256:" + "a" * 64]), "building", "pip refused it"),
        (PinnedDistribution(NAME, "3.0", []), "proving", "does not awaken"),
        (PinnedDistribution(NAME, "8.0", []), "proving", "a missing method was not written"),
        (PinnedDistribution(NAME, "5.0", []), "probation", "ended"),
    ],
)
def test_what_is_not_well_is_as_it_was_afterwards(ship: Ship, requirement: PinnedDistribution, stage: str, why: str) -> None:
    hashes = requirement.hashes or [wheel_hash(ship.wheels[requirement.version])]
    wanted = PinnedDistribution(requirement.name, requirement.version, hashes)
    before = ship.environments()
    with Traffic(ship.running) as traffic:
        process = ship.wish(instructions.wish(ship.home, "tester", requirements=[wanted]))
    assert process.stage == "reverted" and why in " ".join(process.why), process.why
    assert [entry.stage for entry in process.stages if entry.stage in (stage, "keeping")] == [stage]
    assert ship.environments() == before
    assert traffic.check() == (0, 0)
    assert not (candidate.directory(ship.configuration) / str(process.number)).exists()
    assert ship.chronicle()[0]["why"] == "; ".join(process.why)


def test_the_image_wishes_by_itself_and_learns_what_became_of_it(ship: Ship) -> None:
    """Its heartbeat, confined, sees a newer plank, which cannot be imported; it does not wish for that one again."""
    before = ship.environments()
    make_plank(ship.wheels["1.0"].parent, "8.1", "6.0")
    with ship.running.client() as client:
        client.send("upgrade_obj", "setSlot_value_", "policy", {"enabled": True, "rest_s": 0})
        ended = _wishes(ship, client, 1)
        assert ended == [("reverted", ["batos-plank==8.1"], "")]
        assert client.send("upgrade_obj", "newer") == {"batos-plank": ["1.0", "8.1"]}
        client.send("upgrade_obj", "wishFor_", ["batos-plank==0.5"], "an older one")
        ended = _wishes(ship, client, 2)
        assert ended[1:] == [("refused", ["batos-plank==0.5"], client.send(client.send("upgrade_obj", "wishes")[1], "principal"))]
        assert "not newer" in client.send(client.send("upgrade_obj", "wishes")[1], "why")
        client.send("upgrade_obj", "setSlot_value_", "policy", {"enabled": False})
    receipts = ship.chronicle()[:2]
    assert [receipt["outcome"] for receipt in receipts] == ["refused", "reverted"]
    assert receipts[1]["asked_by"] == "image/heartbeat" and "8.1 is in the directory of wheels" in receipts[1]["reason"]
    assert ship.environments() == before


def _wishes(ship: Ship, client: Client, count: int) -> list[tuple[str, list[str], str]]:
    """The image's wishes, once there are so many that have ended."""
    until = time.monotonic() + 600
    while True:
        wishes = client.send("upgrade_obj", "wishes")
        states = [client.send(wish, "state") for wish in wishes]
        if len(wishes) >= count and not {"waiting", "given"} & set(states):
            return [
                (state, client.send(wish, "requirements"), client.send(wish, "principal"))
                for state, wish in zip(states, wishes, strict=True)
            ]
        assert time.monotonic() < until, (states, ship.running.log("heartbeat")[-2000:], ship.running.log("upgrader")[-2000:])
        time.sleep(0.2)


def test_a_wish_that_was_changed_after_it_was_signed_changes_nothing(ship: Ship) -> None:
    before = ship.environments()
    wanted = instructions.wish(ship.home, "tester", back_to=0)
    instructions.put(ship.home, msgspec.structs.replace(wanted, reason="another"))
    until = time.monotonic() + 60
    while not any("signature" in why for process in journal.every(ship.home) if process.settled for why in process.why):
        assert time.monotonic() < until, ship.running.log("upgrader")[-3000:]
        time.sleep(0.1)
    assert ship.environments() == before
    assert ship.chronicle()[0]["outcome"] == "refused"


def test_a_person_sees_what_there_was_and_goes_back(ship: Ship) -> None:
    status, told = ship.batos("upgrades")
    assert status == 0 and told["in_force"]["upgrade"] == 1
    status, shown = ship.batos("upgrades", "show", "1")
    assert status == 0 and any("is well after" in line for line in shown["steps"])
    status, told = ship.batos("upgrades", "rollback")
    assert status == 0, told
    assert environment.in_force(ship.home) is None
    status, told = ship.batos("upgrades", "prune")
    assert status == 0 and [each["upgrade"] for each in told["freed"]] == [1]
