"""A real service with an upgrader, and the wheels of a plank of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deploy import service
from deploy.upgrader import instructions, journal
from deploy.upgrader.process import UpgradeProcess
from deploy.upgrader.switching import running_from
from tests.inference_worker.files import toy_model
from tests.running import ROOT, Running
from tests.theseus.planks import CRASH, make_planks

SETTINGS = """
[upgrade]
wheels = "{wheels}"
probation_s = {probation_s}
switch_s = 120
proof_s = 600

[heartbeat]
interval_s = 2
"""


class Ship:
    """A service with an upgrader, and the wheels of its plank."""

    def __init__(self, directory: Path, probation_s: float = 6.0) -> None:
        self.wheels = make_planks(directory / "wheels")
        settings = SETTINGS.format(wheels=directory / "wheels", probation_s=probation_s)
        # A model without an engine: that it is asked is for the proof, whose worker writes from a script.
        self.running = Running(directory / "home", settings, without=("inference",), model=toy_model(directory / "model"))
        self.configuration = self.running.configuration
        self.home = self.configuration.home

    def batos(self, *arguments: str, timeout: float = 300.0) -> tuple[int, Any]:
        """The command: its exit status, and what it says."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ui_client.cli", *arguments, "--json"],
            cwd=self.home.path,
            env={"PYTHONPATH": str(ROOT), "BATOS_HOME": str(self.home.path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        return done.returncode, answer.get("result", answer.get("error"))

    def wish(self, wanted: instructions.UpdateInstructions, crash_after_s: float = 0.0) -> UpgradeProcess:
        """What becomes of a wish that is put there by hand. So long into its probation, what can crash is told to."""
        crash, well_since = self.home.path / CRASH, 0.0
        crash.unlink(missing_ok=True)
        instructions.put(self.home, wanted)
        until = time.monotonic() + 1500
        while time.monotonic() < until:
            process = journal.wished(self.home, wanted.id)
            if process is not None and process.settled:
                return process
            if process is not None and process.stage == "probation":
                well_since = well_since or time.monotonic()
                if time.monotonic() - well_since >= crash_after_s:
                    crash.touch()
            time.sleep(0.1)
        raise AssertionError(f"the wish was not carried out; {self.running.log('upgrader')[-3000:]}")

    def environments(self) -> dict[str, str]:
        """By program, the Python that it runs from."""
        return {status.name: running_from(status.pid) for status in service.statuses(self.configuration)}

    def chronicle(self) -> list[dict[str, Any]]:
        """The receipts of upgrades in the image."""
        status, told = self.batos("history", "--chronicle", "--limit", "100")
        assert status == 0, told
        return [entry["facts"] for entry in told["entries"] if entry["kind"] == "upgrade"]

    def receipts(self, least: int, within_s: float = 60.0) -> list[dict[str, Any]]:
        """The same, once there are so many: an upgrade has ended a moment before its receipt is in the image."""
        until = time.monotonic() + within_s
        while len(receipts := self.chronicle()) < least and time.monotonic() < until:
            pass  # each look takes a second
        return receipts
