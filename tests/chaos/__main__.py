"""A run: `python -m tests.chaos --messages 1000000 [--seed N] [--keep DIR]`.

Prints its seed first; with the same seed and number of messages the same is done to the service, after as many answers.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.checker import Violation, check
from tests.chaos.clients import MIX, Clients, Objects
from tests.chaos.faults import Fault, schedule
from tests.chaos.history import World, read, write
from tests.chaos.house import House
from ui_client import Client

SESSIONS = 48
ANSWERING = ("image", "bridge", "uvm-1", "uvm-2")


class Run:
    """One run and what came of it."""

    def __init__(self, directory: Path, messages: int, seed: int) -> None:
        self.seed = seed
        self.messages = messages
        self.violations: list[Violation] = []
        self.report: dict[str, Any] = {}
        self._directory = directory
        self._world = World(SESSIONS)
        self._house = House(directory)
        self._pending = schedule(seed, messages)
        self._lasting: list[tuple[float, Fault]] = []
        self.done: list[Fault] = []

    def carry_out(self) -> None:
        """Send everything, check everything."""
        try:
            self._house.open()
            with self._client() as client:
                # Twice its share: a session that is luckier than others writes more.
                objects = Objects(client, self._world, 2 * self.messages * MIX["note"] // 100 // SESSIONS)
            clients = Clients(self._house.configuration.bridge_endpoint, f"chaos-{self.seed}", self._world, objects, self.seed)
            began = time.monotonic()
            clients.run(self.messages, self._tick, 300 + self.messages / 200)
            seconds = time.monotonic() - began
            clients.close()
            self._calm()
            write(self._directory / "history", clients.history)
            with self._client() as client:
                before = objects.final(client)
            self._house.close()
            unsound = self._house.verify()
            self._house.reopen(ANSWERING)
            with self._client() as client:
                after = objects.final(client)
        finally:
            self._calm()
            self._house.close()
        self.violations = check(self._world, read(self._directory / "history"), after)
        self.violations += [Violation("doubled", text) for text in clients.contradictions]
        if before != after:
            self.violations.append(Violation("lost", "after a restart of everything the objects held something else"))
        if unsound:
            self.violations.append(Violation("lost", f"the image is damaged: {unsound}"))
        waits = sorted(operation.completed - operation.invoked for operation in clients.history)
        self.report = {
            "messages": len(waits),
            "per second": round(len(waits) / seconds),
            "status": dict(Counter(operation.status for operation in clients.history)),
            "sent again": clients.resent,
            "errors on the way": clients.errors,
            "faults": dict(Counter(fault.kind for fault in self.done)),
            "starts": self._house.starts,
            "seconds waited, median": round(waits[len(waits) // 2], 4),
            "99 %": round(waits[len(waits) * 99 // 100], 3),
            "longest": round(waits[-1], 1),
        }

    def _client(self) -> Client:
        return Client(configuration=self._house.configuration, connect_timeout=60.0)

    def _tick(self, answered: int) -> bool:
        """Start what ended; begin the faults whose time has come, end those that have lasted long enough; whether some are left.

        While one lasts that keeps messages from being answered, the next one waits.
        """
        now = time.monotonic()
        self._house.tick()
        for until, fault in [entry for entry in self._lasting if entry[0] <= now]:
            self._house.end(fault)
            self._lasting.remove((until, fault))
        alone = any(fault.kind in ("stop", "full") and fault.target in ANSWERING for _, fault in self._lasting)
        if self._pending and self._pending[0].after <= answered and not alone:
            fault = self._pending.pop(0)
            lasts = self._house.begin(fault)
            self.done.append(fault)
            if lasts:
                self._lasting.append((time.monotonic() + lasts, fault))
        return bool(self._pending or self._lasting)

    def _calm(self) -> None:
        for _, fault in self._lasting:
            self._house.end(fault)
        self._lasting.clear()
        self._house.tick()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Send messages while the service is harmed, and check what became of them.")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--keep", type=Path, help="directory for the home, its logs and the history; kept afterwards")
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(exist_ok=True)
        run = Run(directory, options.messages, options.seed)
        run.carry_out()
    for name, value in run.report.items():
        sys.stdout.write(f"{name}: {value}\n")
    for violation in run.violations[:100]:
        sys.stdout.write(f"{violation.fault}: {violation.what}\n")
    sys.stdout.write(f"lost, doubled or otherwise wrong: {len(run.violations)}\n")
    return 1 if run.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
