"""`python -m tests.theseus`, `make theseus`: upgrades in a row under a steady load from four clients that check exactly-once themselves.

Prints a line for each case: what became of it, the messages sent while it ran, lost, doubled, the longest wait, what the p99 had added to
that before, how long each process was away, and how long a revert took. Exit status 1 when anything was lost or doubled, or a case did
not end as it must. Where a bad plank has UVMs crash again and again, a message may be refused, as one that two of them died on; its sender
looks, and sends it again. Where all goes well none may be.

`--soak N --seed S` makes N upgrades in a row, good ones, bad ones and rollbacks, while `kill -9` strikes the upgrader, the service's
processes, those of the proof, and pip, at moments that the seed draws (`tests.theseus.soak`).
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from deploy.upgrader import candidate, journal
from tests.theseus import soak
from tests.theseus.cases import Case, carry_out, cases
from tests.theseus.disks import NoMount
from tests.theseus.ship import Ship
from tests.theseus.traffic import Traffic

CALM_S = 6.0
"""Load before the first case, against which p99 is compared, seconds."""


def run(ship: Ship, chosen: list[Case], clients: int, *, steps: bool = False) -> int:
    """Every case, one after the other; how many went wrong."""
    wrong = 0
    say = sys.stdout.write
    with Traffic(ship.running, clients) as calm:
        time.sleep(CALM_S)
    usual = _p99(calm.waits())
    say(f"{clients} clients, {len(calm.waits()) / CALM_S:.0f} messages/s; p99 {usual * 1000:.0f} ms before\n")
    for case in chosen:
        try:
            with Traffic(ship.running, clients, patient=case.ends != "permanent") as traffic:
                process = carry_out(ship, case)
        except NoMount as error:
            say(f"{case.name}: not tried, this host mounts no disk: {error}\n")
            continue
        lost, doubled = traffic.check()
        waits = traffic.waits()
        down = ", ".join(f"{plank.program} {plank.down_s:.2f}" for plank in process.planks) or "-"
        seconds = {name: round(taken, 1) for name, taken in process.receipt()["seconds"].items()}
        say(
            f"{case.name}: {process.stage}; sent {len(waits)}, lost {lost}, doubled {doubled}, refused {len(traffic.refusals())}; "
            f"longest wait {waits[-1]:.2f} s, p99 {(_p99(waits) - usual) * 1000:+.0f} ms; away (s): {down}; "
            f"back after {process.service_s:.2f} s; own {process.built.octets if process.built else 0:,} bytes; "
            f"stages (s): {seconds}; {'; '.join(process.why)[:200]}\n"
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
    parser.add_argument("--only", nargs="*", default=[""], help="cases whose name has one of these in it")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="instead: N upgrades in a row, with kill -9 at random moments")
    parser.add_argument("--seed", type=int, default=1, help="of the soak: the same seed draws the same upgrades and kills")
    parser.add_argument("--minutes", type=float, default=0.0, help="of the soak: begin no other upgrade after so long; 0: all of them")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # however it was started: the service ends with it
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        ship = Ship(Path(temporary), soak.PROBATION_S if options.soak else options.probation)
        try:
            with ship.running:
                if options.soak:
                    return 1 if soak.run(ship, options.soak, options.seed, options.clients, options.minutes) else 0
                chosen = [case for case in cases(ship, options.real) if any(each in case.name for each in options.only)]
                return 1 if run(ship, chosen, options.clients, steps=options.steps) else 0
        finally:
            shutil.rmtree(candidate.directory(ship.configuration), ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
