"""The real service, with the real model, in a home of its own: what `batos up` starts, once for all system tests."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import service as supervised
from deploy.settings import Configuration, load
from tests.model import converted_model
from ui_client import Client

ROOT = Path(__file__).parents[2]
PROGRAMS = ("image", "bridge", "inference", "uvm-1", "uvm-2", "heartbeat")


class House:
    """A running service, and its command."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            "BATOS_HOME": str(home),
            "BATOS_INFERENCE_MODEL": str(converted_model()),
            "BATOS_METRICS_BASE_PORT": "0",
            "BATOS_HEARTBEAT_INTERVAL_S": "5",
        }
        self.configuration: Configuration = load(self.environment, home.parent)

    def batos(self, *arguments: str, timeout: float = 280.0) -> "subprocess.CompletedProcess[str]":
        """The command as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "ui_client.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, "COLUMNS": "140"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """The command, begun."""
        return subprocess.Popen(
            [sys.executable, "-m", "ui_client.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, "COLUMNS": "140"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        done = self.batos(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def client(self) -> Client:
        """A client of this service."""
        return Client(configuration=self.configuration, connect_timeout=60.0)

    def pid(self, program: str) -> int:
        """The process id of a program, 0 while it does not run."""
        return next((one.pid for one in supervised.statuses(self.configuration) if one.name == program), 0)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The service, awake and having had its first conversation."""
    started = House(tmp_path_factory.mktemp("house") / "var")
    try:
        up = started.batos("up", "--converse")
        if up.returncode != 0:
            pytest.fail(f"batos up failed:\n{up.stdout}\n{up.stderr}")
        (started.configuration.home.path / "first.txt").write_text(up.stdout + up.stderr)
        yield started
    finally:
        started.batos("down")


@pytest.fixture
def words() -> random.Random:
    """A fresh source of names and numbers; its seed is shown when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"words drawn with seed {seed}\n")
    return random.Random(seed)


def new_word(words: random.Random) -> str:
    """A word that no one has trained on."""
    return "".join(words.choice(letters) for letters in ("bdfgklmnprst", "aeiou", "dklmnrst", "aeiou", "bdgklmnrt"))
