"""Upgrades in a row, while `kill -9` strikes at random moments: each must end permanent or reverted, and nothing may be lost.

What is wished for, who is struck, in which stage and how long after its beginning is drawn from a seed. The clients go on all the time,
and check exactly-once themselves; one that is refused because a process died under its message looks whether it was carried out, and
sends it again where it was not. Prints a line for each upgrade, and what all of it came to.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import psutil
from msgspec import Struct

from deploy import environment, service
from deploy.upgrader import candidate, instructions, journal
from deploy.upgrader.instructions import BadInstructions, PinnedDistribution, UpdateInstructions
from deploy.upgrader.process import UpgradeProcess
from deploy.upgrader.switching import running_from
from tests.theseus.planks import CRASH
from tests.theseus.ship import Ship
from tests.theseus.traffic import Traffic
from tests.theseus.wheel import NAME, wheel_hash

PROBATION_S: Final = 4.0
LONGEST_S: Final = 1500.0
"""Of one upgrade, everything that strikes it included."""
KEPT: Final = 100
"""Receipts that are looked at in the end, the newest."""
WELL_S: Final = 180.0
"""Within which everything must be at work again, from the environment in force, after an upgrade has ended."""

Victim = Literal["upgrader", "pip", "proof", "process"]

GOOD: Final = ("1.0", "2.0")
BAD: Final = ("3.0", "5.0", "6.0", "8.0")
MOMENTS: Final[dict[str, tuple[tuple[Victim, ...], float]]] = {
    "building": (("upgrader", "pip", "process"), 6.0),
    "proving": (("upgrader", "proof", "process"), 12.0),
    "switching": (("upgrader", "process"), 4.0),
    "awakening": (("upgrader", "process"), 1.0),
    "probation": (("upgrader", "process"), PROBATION_S),
    "keeping": (("upgrader",), 0.2),
    "reverting": (("upgrader", "process"), 3.0),
}
"""By stage: who may be struck in it, and how long after its beginning at most, seconds."""


class Strike(Struct, frozen=True):
    """One kill: in which stage, whom, and how long after the stage began."""

    stage: str
    victim: Victim
    after_s: float


class Voyage(Struct, frozen=True):
    """One upgrade: a version of the plank, or the way back where it is empty, and what strikes it."""

    version: str
    strikes: list[Strike]


def voyages(count: int, seed: int) -> list[Voyage]:
    """What is wished for, and what strikes, drawn. Every stage is struck in turn, so that few upgrades meet all of them."""
    chance, stages = random.Random(seed), list(MOMENTS)
    drawn = []
    for number in range(count):
        version = chance.choice([*GOOD, *GOOD, *BAD, ""]) if number else GOOD[0]
        picked = {stages[number % len(stages)], *chance.sample(stages, chance.randint(0, 2))}
        strikes = [
            Strike(stage, chance.choice(MOMENTS[stage][0]), chance.uniform(0.0, MOMENTS[stage][1])) for stage in stages if stage in picked
        ]
        drawn.append(Voyage(version, strikes))
    return drawn


class Striker:
    """Who kills, as the stages of one upgrade pass."""

    def __init__(self, ship: Ship, strikes: list[Strike], chance: random.Random) -> None:
        self._ship = ship
        self._pending = list(strikes)
        self._chance = chance
        self._stage = ""
        self._since = 0.0
        self.struck: list[str] = []
        """`stage: who`, of those that were met."""

    def look(self, stage: str) -> None:
        """Strike what is due in this stage."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since = stage, now
        for strike in [each for each in self._pending if each.stage == stage and now - self._since >= each.after_s]:
            if met := self._strike(strike):  # who is not there now is waited for, as long as the stage lasts
                self._pending.remove(strike)
                self.struck.append(f"{stage}: {met}")

    def _strike(self, strike: Strike) -> str:
        """Kill one of those; who it was, empty where there is none of them now."""
        there = self._there(strike.victim)
        if not there:
            return ""
        name, pid = self._chance.choice(sorted(there.items()))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return name
        return ""

    def _there(self, victim: Victim) -> dict[str, int]:
        if victim == "proof":
            return _of_home(self._ship.home.path / "proof")
        try:
            pids = {status.name: status.pid for status in service.statuses(self._ship.configuration) if status.pid}
        except service.ServiceError:
            return {}
        if victim == "upgrader":
            return {name: pid for name, pid in pids.items() if name == "upgrader"}
        if victim == "process":
            return {name: pid for name, pid in pids.items() if name != "upgrader"}
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(pids["upgrader"]).children(recursive=True) if "upgrader" in pids else []
            return {f"pip {_words(child)[-1]}"[:20]: child.pid for child in children if "pip" in _words(child)}
        return {}


def run(ship: Ship, count: int, seed: int, clients: int, minutes: float = 0.0) -> int:
    """All of it, or what begins within so many minutes; how much went wrong."""
    say, wrong, chance = sys.stdout.write, 0, random.Random(~seed)
    ends, struck = Counter[str](), Counter[str]()
    began = time.monotonic()
    with Traffic(ship.running, clients, patient=True) as traffic:
        for voyage in voyages(count, seed):
            if minutes and time.monotonic() - began > minutes * 60:
                break
            before = environment.prefix_in_force(ship.home)
            started = time.monotonic()
            process, met = _carry_out(ship, voyage, chance)
            faults = _faults(ship, process, before)
            ends[process.stage] += 1
            struck.update(met)
            wrong += bool(faults)
            what = f"plank {voyage.version}" if voyage.version else "back"
            say(
                f"{process.number}: {what}: {process.stage} after {time.monotonic() - started:.0f} s; struck {', '.join(met) or 'nobody'}; "
                f"{'; '.join(process.why)[:160]}{'; WRONG: ' + '; '.join(faults) if faults else ''}\n"
            )
            sys.stdout.flush()
    lost, doubled = traffic.check()
    count = ends.total()
    told = Counter(receipt["upgrade"] for receipt in ship.receipts(min(count, KEPT)))
    twice = [number for number, times in told.items() if times > 1]
    missing = [process.number for process in list(journal.every(ship.home))[-KEPT:] if process.number not in told]
    wrong += bool(lost or doubled) + bool(twice or missing)
    waits = traffic.waits()
    say(
        f"upgrades {count}: {', '.join(f'{times} {end}' for end, times in sorted(ends.items()))}; kills {struck.total()}: "
        f"{', '.join(f'{times} {what}' for what, times in sorted(struck.items()))}\n"
        f"messages {len(waits)}, lost {lost}, doubled {doubled}, refused, and looked at {len(traffic.refusals())}: "
        f"{', '.join(sorted({_kind(refusal) for refusal in traffic.refusals()}))}; "
        f"longest wait {waits[-1] if waits else 0.0:.2f} s; receipts missing {missing}, twice {twice}; "
        f"{(time.monotonic() - began) / 60:.0f} minutes; wrong {wrong}\n"
    )
    return wrong


def _carry_out(ship: Ship, voyage: Voyage, chance: random.Random) -> tuple[UpgradeProcess, list[str]]:
    crash = ship.home.path / CRASH
    crash.unlink(missing_ok=True)
    wanted, striker = _wish(ship, voyage.version), Striker(ship, voyage.strikes, chance)
    _put(ship, wanted)
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        process = journal.wished(ship.home, wanted.id)
        if process is not None:
            if process.settled:
                return process, striker.struck
            if process.stage == "probation":
                crash.touch()
            striker.look(process.stage)
        time.sleep(0.02)
    raise AssertionError(f"an upgrade did not end: {voyage}; {ship.running.log('upgrader')[-4000:]}")


def _wish(ship: Ship, version: str) -> UpdateInstructions:
    if version:
        pinned = PinnedDistribution(NAME, version, [wheel_hash(ship.wheels[version])])
        return instructions.wish(ship.home, "soak", requirements=[pinned])
    top, current = candidate.directory(ship.configuration), environment.prefix_in_force(ship.home)
    others = [number for number in candidate.made(ship.configuration) if top / str(number) != current]
    return instructions.wish(ship.home, "soak", back_to=others[-1] if others else 0)


def _put(ship: Ship, wanted: UpdateInstructions) -> None:
    """Leave the wish, once the one before has been taken away: its upgrade may have ended a moment earlier."""
    until = time.monotonic() + 60
    while True:
        try:
            instructions.put(ship.home, wanted)
            return
        except BadInstructions:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _faults(ship: Ship, process: UpgradeProcess, before: Path) -> list[str]:
    """What is not as it must be after an upgrade."""
    faults = []
    wanted = Path(process.built.prefix) if process.stage == "permanent" and process.built else before
    in_force = environment.prefix_in_force(ship.home)
    if process.stage not in ("permanent", "reverted"):
        faults.append(f"it ended {process.stage}")
    if in_force != wanted:
        faults.append(f"{in_force} is in force, and not {wanted}")
    if process.trials > 1:
        faults.append(f"{process.trials} trials")
    python, until = str(environment.python_of(in_force)), time.monotonic() + WELL_S
    while elsewhere := _elsewhere(ship, python):
        if time.monotonic() > until:
            faults.append(f"not at work from there: {elsewhere}")
            break
        time.sleep(0.2)
    return faults


def _elsewhere(ship: Ship, python: str) -> list[str]:
    """Which of those that every upgrade of the plank replaces do not run, or not from there."""
    wanted = {"uvm-1", "uvm-2", "heartbeat", "bridge"}
    try:
        running = {status.name: running_from(status.pid) for status in service.statuses(ship.configuration)}
    except service.ServiceError:
        return ["supervisord"]
    return sorted(name for name in wanted if running.get(name) != python)


def _of_home(home: Path) -> dict[str, int]:
    """The processes of the service on the copy."""
    there = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("BATOS_HOME") == str(home):
                there[f"proof's {' '.join(_words(process)[-1:])[-30:]}"] = process.pid
    return there


def _kind(refusal: str) -> str:
    return refusal.split(": ")[1][:40]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
