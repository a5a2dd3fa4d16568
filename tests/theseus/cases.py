"""The upgrades that the long form makes, one after the other: what is wished for, what is done to it, and how it must end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from deploy.upgrader import candidate, instructions, journal
from deploy.upgrader.instructions import PinnedDistribution
from deploy.upgrader.process import UpgradeProcess
from tests.theseus.disks import small_disk
from tests.theseus.ship import Ship
from tests.theseus.wheel import NAME, own_wheel, repacked, wheel_hash

ENVIRONMENT_OCTETS = 64_000_000
"""Room for a new environment that is too small for its clone, which is copied there, since no link leads to another disk."""
SPARE_OCTETS = 400_000
"""Room beside the copy of the image, in which the service on it cannot do its work."""
OWN = "999.0"
GOOD_FOR_S = 20.0
"""How long a plank is well on probation before it crashes."""


class Case(Struct, frozen=True):
    """One upgrade. `full`: whose disk is too small; `spoilt`: the wish is changed after it was signed."""

    name: str
    requirements: list[PinnedDistribution]
    ends: str
    spoilt: bool = False
    full: Literal["", "environment", "proof"] = ""


def cases(ship: Ship, real: list[str]) -> list[Case]:
    """The plank's versions, and distributions that are installed, packed again from what is there under the same version."""

    def plank(version: str) -> list[PinnedDistribution]:
        return [PinnedDistribution(NAME, version, [wheel_hash(ship.wheels[version])])]

    good = [Case("a small plank", plank("1.0"), "permanent")]
    for name in real:
        wheel = repacked(name, ship.wheels["1.0"].parent)
        version = wheel.name.split("-")[1]
        good.append(Case(f"{name} {version}", [PinnedDistribution(name, version, [wheel_hash(wheel)])], "permanent"))
    no_hash = ["sha256:" + "a" * 64]
    own = [PinnedDistribution("batos", OWN, [wheel_hash(own_wheel(ship.wheels["1.0"].parent, OWN))])]
    return [
        *good,
        Case("a version that does not exist", [PinnedDistribution(NAME, "9.9", no_hash)], "reverted"),
        Case("a wrong hash", [PinnedDistribution(NAME, "2.0", no_hash)], "reverted"),
        Case("a bad signature", plank("2.0"), "refused", spoilt=True),
        Case("a disk that fills while it is built", plank("2.0"), "reverted", full="environment"),
        Case("a disk that fills while it is proved", plank("2.0"), "reverted", full="proof"),
        Case("cannot be imported", plank("6.0"), "reverted"),
        Case("breaks the awakening", plank("3.0"), "reverted"),
        Case("breaks the writing of methods", plank("8.0"), "reverted"),
        Case("hangs at the start", plank("4.0"), "reverted"),
        Case(f"is well for {GOOD_FOR_S:.0f} s and crashes", plank("5.0"), "reverted"),
        Case("is slow", plank("7.0"), "reverted"),
        Case("BAT OS itself with a migration, and crashes", [*own, *plank("5.0")], "reverted"),
        Case("a newer small plank", plank("2.0"), "permanent"),
        Case("BAT OS itself with a migration", own, "permanent"),
    ]


def carry_out(ship: Ship, case: Case) -> UpgradeProcess:
    """The upgrade of a case, to its end. Raises NoMount."""
    wanted = instructions.wish(ship.home, "theseus", requirements=case.requirements, reason=case.name)
    if not case.spoilt:
        with _disk(ship, case):
            return ship.wish(wanted, crash_after_s=min(GOOD_FOR_S, 0.8 * ship.configuration.settings.upgrade.probation_s))
    before = len(journal.numbers(ship.home))
    instructions.put(ship.home, msgspec.structs.replace(wanted, reason="another"))
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if len(journal.numbers(ship.home)) > before:
            process = journal.replayed(journal.directory_of(ship.home, journal.numbers(ship.home)[-1]))
            if process.settled:
                return process
        time.sleep(0.1)
    raise RuntimeError("the wish was not judged")


@contextmanager
def _disk(ship: Ship, case: Case) -> Iterator[None]:
    place, octets = _small(ship, case)
    if not octets:
        yield
        return
    with small_disk(place, octets):
        yield
    if place.exists():
        raise RuntimeError(f"{place} is left")


def _small(ship: Ship, case: Case) -> tuple[Path, int]:
    if case.full == "environment":
        return candidate.directory(ship.configuration) / str(max(journal.numbers(ship.home), default=0) + 1), ENVIRONMENT_OCTETS
    return ship.home.path / "proof", ship.home.image_file.stat().st_size + SPARE_OCTETS if case.full == "proof" else 0
