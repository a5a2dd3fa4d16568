"""What a proof that was killed left behind is gone when the next one begins; with which worker the copy is served."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.environment import Interpreter
from deploy.settings import Configuration, load
from deploy.upgrader.proof import PROOF_BODY, Proof


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    settled = load({"BATOS_HOME": str(tmp_path / "home")}, tmp_path)
    settled.home.ensure()
    return settled


def proof(configuration: Configuration, *, engine: bool = False) -> Proof:
    return Proof(configuration, Interpreter(sys.executable), time.monotonic() + 60, lambda line: None, engine=engine)


def test_what_a_killed_supervisor_left_running_for_the_copy_is_ended_and_nothing_else(configuration: Configuration) -> None:
    copy = configuration.home.path / "proof"
    (copy / "blobs").mkdir(parents=True)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    orphan = subprocess.Popen(sleep, env={**os.environ, "BATOS_HOME": str(copy)})
    other = subprocess.Popen(sleep, env={**os.environ, "BATOS_HOME": str(configuration.home.path)})
    try:
        with proof(configuration):
            assert orphan.wait(10) == -9
            assert not copy.exists()
        assert other.poll() is None
    finally:
        orphan.kill()
        other.kill()
        other.wait()


def test_the_worker_of_the_copy_writes_from_a_script_unless_the_engine_is_to_be_proved(configuration: Configuration) -> None:
    for engine in (False, True):
        with proof(configuration, engine=engine) as made:
            (configuration.home.path / "proof").mkdir()
            commands = {program.name: program.command for program in made.programs()}
            assert set(commands) == {"image", "bridge", "inference", "uvm-1"}
            assert ("--engine" in commands["inference"]) is not engine
            assert PROOF_BODY.strip() in (configuration.home.path / "proof" / "proof.json").read_text()
