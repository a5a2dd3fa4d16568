"""A real image in a file, a real trial server, and the small loop that a UVM would be."""

import hashlib
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from ZODB.FileStorage import FileStorage

from deploy.settings import TrialSettings, load
from uvm.awakening.awakening import awaken
from uvm.image.image import Database, Image
from uvm.objects import PARENTS, UvmObject
from uvm.trial.client import TrialServer, loader
from uvm.trial.protocol import TrialOutcome, TrialRequest
from uvm.trial.trial import Load, Trial

DEADLINE_S = 60.0


def finish(trial: Trial, until: Callable[[], bool] = lambda: False) -> TrialOutcome:
    """Poll one trial as a UVM's loop does, until it ends."""
    deadline = time.monotonic() + DEADLINE_S
    while not until():
        outcome = trial.expired(time.monotonic())
        if outcome is not None:
            return outcome
        if time.monotonic() > deadline:
            raise TimeoutError("the trial did not end")
        poller = select.poll()
        poller.register(trial, trial.events())
        poller.poll(20)
    raise TimeoutError("the trial did not end before the test's condition came true")


class World:
    """An awakened image with a shop and a buyer in it."""

    def __init__(self, directory: Path) -> None:
        self.storage = FileStorage(str(directory / "image.fs"))
        self.image = Image(Database(self.storage))
        awaken(self.image, load({"BATOS_HOME": str(directory)}, directory), None, None, lambda *_: None)
        self.image.manager.begin()
        self.shop = self.new(price=3.5, quantity=2, tags=["red"], stock={"a": 1})
        self.buyer = self.new(price=10.0, label="other")
        self.shop.put("friend", self.buyer)
        self.image.manager.commit()
        self.image.manager.begin()

    def new(self, **slots: Any) -> UvmObject:
        """An object with the parents of genesis_obj, in the open transaction."""
        target = UvmObject({PARENTS: self.image.named("genesis_obj").parents(), **slots})
        self.image.reference(target)
        return target

    def request(self, source: str, *args: Any, selector: str = "", **changes: Any) -> TrialRequest:
        """A trial of `source` on the shop, with plenty of everything."""
        request = TrialRequest(
            tid=self.storage.lastTransaction(),
            receiver=self.shop._p_oid,
            holder=self.shop._p_oid,
            selector=selector or source.partition("def ")[2].partition("(")[0],
            source=source,
            positional=len(args),
            args=list(args),
            now=1_700_000_000.0,
            ticks=100_000,
            seconds=10.0,
            author="brick",
        )
        return replace(request, **changes)

    def digest(self) -> str:
        """What is stored, all of it."""
        records = [(record.oid, record.tid, record.data) for part in self.storage.iterator() for record in part]
        return hashlib.sha256(repr((self.storage.lastTransaction(), records)).encode()).hexdigest()

    def run(self, server: TrialServer, request: TrialRequest, load: Load | None = None) -> TrialOutcome:
        """The outcome of one trial, which must leave the image as it was."""
        before = self.digest()
        outcome = finish(server.begin(request, load or loader(self.storage)))
        if self.digest() != before:
            raise AssertionError("the trial changed the image")
        return outcome

    def close(self) -> None:
        self.image.manager.abort()
        self.image.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="session")
def server() -> Iterator[TrialServer]:
    server = TrialServer.start(TrialSettings(), log_level="warning")
    yield server
    server.stop()


@pytest.fixture
def servers() -> Iterator[Callable[..., TrialServer]]:
    """Servers with settings of their own."""
    started: list[TrialServer] = []

    def start(**settings: Any) -> TrialServer:
        started.append(TrialServer.start(TrialSettings(**settings), log_level="error"))
        return started[-1]

    yield start
    for server in started:
        server.stop()
