"""`python -m tests.theseus`, `make theseus`: upgrades in a row under a steady load from four clients that check exactly-once themselves.

Prints a line for each case: what became of it, the messages sent while it ran, lost, doubled, the longest wait, what the p99 had added to
that before, how long each process was away, and how long a revert took. Exit status 1 when anything was lost or doubled, or a case did
not end as it must.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.upgrader import candidate, instructions, journal
from deploy.upgrader.instructions import PinnedDistribution
from deploy.upgrader.process import UpgradeProcess
from tests.theseus.ship import Ship
from tests.theseus.traffic import Traffic
from tests.theseus.wheel import NAME, repacked, wheel_hash


class Case(Struct, frozen=True):
    """One upgrade: what is wished for, and how it must end."""

    name: str
    requirement: PinnedDistribution
    ends: str
    spoilt: bool = False
    """The wish is changed after it was signed."""


CALM_S = 6.0
"""Load before the first case, against which p99 is compared, seconds."""


def cases(ship: Ship, real: list[str]) -> list[Case]:
    """The plank's versions, and distributions that are installed, packed again from what is there under the same version."""

    def plank(version: str) -> PinnedDistribution:
        return PinnedDistribution(NAME, version, [wheel_hash(ship.wheels[version])])

    good = [Case("a small plank", plank("1.0"), "permanent")]
    for name in real:
        wheel = repacked(name, ship.wheels["1.0"].parent)
        version = wheel.name.split("-")[1]
        good.append(Case(f"{name} {version}", PinnedDistribution(name, version, [wheel_hash(wheel)]), "permanent"))
    no_hash = ["sha256:" + "a" * 64]
    return [
        *good,
        Case("a version that does not exist", PinnedDistribution(NAME, "9.9", no_hash), "reverted"),
        Case("a wrong hash", PinnedDistribution(NAME, "2.0", no_hash), "reverted"),
        Case("a bad signature", plank("2.0"), "refused", spoilt=True),
        Case("cannot be imported", plank("6.0"), "reverted"),
        Case("breaks the awakening", plank("3.0"), "reverted"),
        Case("breaks the writing of methods", plank("8.0"), "reverted"),
        Case("hangs at the start", plank("4.0"), "reverted"),
        Case("crashes on probation", plank("5.0"), "reverted"),
        Case("is slow", plank("7.0"), "reverted"),
        Case("a newer small plank", plank("2.0"), "permanent"),
    ]


def carry_out(ship: Ship, case: Case) -> UpgradeProcess:
    """The upgrade of a case, to its end."""
    wanted = instructions.wish(ship.home, "theseus", requirements=[case.requirement], reason=case.name)
    if not case.spoilt:
        return ship.wish(wanted)
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


def run(ship: Ship, chosen: list[Case], clients: int, *, steps: bool = False) -> int:
    """Every case, one after the other; how many went wrong."""
    wrong = 0
    say = sys.stdout.write
    with Traffic(ship.running, clients) as calm:
        time.sleep(CALM_S)
    usual = _p99(calm.waits())
    say(f"{clients} clients, {len(calm.waits()) / CALM_S:.0f} messages/s; p99 {usual * 1000:.0f} ms before\n")
    for case in chosen:
        with Traffic(ship.running, clients) as traffic:
            process = carry_out(ship, case)
        lost, doubled = traffic.check()
        waits = traffic.waits()
        down = ", ".join(f"{plank.program} {plank.down_s:.2f}" for plank in process.planks) or "-"
        seconds = {name: round(taken, 1) for name, taken in process.receipt()["seconds"].items()}
        say(
            f"{case.name}: {process.stage}; sent {len(waits)}, lost {lost}, doubled {doubled}; longest wait {waits[-1]:.2f} s, "
            f"p99 {(_p99(waits) - usual) * 1000:+.0f} ms; away (s): {down}; back after {process.service_s:.2f} s; "
            f"own {process.built.octets if process.built else 0:,} bytes; stages (s): {seconds}; {'; '.join(process.why)[:200]}\n"
        )
        log = journal.directory_of(ship.home, process.number) / "log"
        say(log.read_text() if steps and log.exists() else "")
        sys.stdout.flush()
        wrong += bool(lost or doubled or process.stage != case.ends)
    say(f"upgrades {len(chosen)}, wrong {wrong}\n")
    return wrong


def _p99(waits: list[float]) -> float:
    return waits[len(waits) * 99 // 100] if waits else 0.0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Replace what a service is made of, under load, and check that nothing is lost.")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--probation", type=float, default=25.0, help="seconds of probation")
    parser.add_argument("--real", nargs="*", default=["structlog", "pyzmq", "ZEO"], help="installed distributions to be replaced as well")
    parser.add_argument("--steps", action="store_true", help="print what each upgrade's log says as well")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        ship = Ship(Path(temporary), options.probation)
        try:
            with ship.running:
                chosen = [case for case in cases(ship, options.real) if options.only in case.name]
                return 1 if run(ship, chosen, options.clients, steps=options.steps) else 0
        finally:
            shutil.rmtree(candidate.directory(ship.configuration), ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
