"""kill -9 of each process in turn during traffic: what was acknowledged is there, and there once."""

import os
import signal
import threading
import time

import pytest

from tests.system.conftest import PROGRAMS, House
from ui_client import BridgeBusy, BridgeUnreachable, RemoteError

pytestmark = pytest.mark.model

_EACH = 25


class Traffic(threading.Thread):
    """One tool that appends numbers to a list of its own object, until told to stop."""

    def __init__(self, house: House, target) -> None:
        super().__init__(daemon=True)
        self._house = house
        self._target = target
        self._told_to_stop = threading.Event()
        self.acknowledged: list[int] = []
        self.failure = ""

    def run(self) -> None:
        number = 0
        try:
            with self._house.client() as client:
                while not self._told_to_stop.is_set():
                    number += 1
                    client.send(self._target, "note_", number, deadline=120)
                    self.acknowledged.append(number)
        except (RemoteError, BridgeUnreachable, BridgeBusy) as error:
            self.failure = f"after {number}: {error!r}"

    def finish(self) -> None:
        self._told_to_stop.set()
        self.join(150)
        assert not self.is_alive(), "a message was never answered"


def wait_until(done, what: str, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            pytest.fail(f"{what} took longer than {seconds} s")
        threading.Event().wait(0.05)


def test_no_acknowledged_message_is_lost_or_doubled(house: House):
    with house.client() as client:
        targets = []
        for _ in range(2):
            one = client.send("genesis_obj", "clone")
            client.send(one, "setSlot_value_", "noted", [])
            source = "def note_(self, a):\n    self.noted.append(a)\n    self._p_changed = True\n    return len(self.noted)\n"
            client.create_method(one, "note_", source, examples=[{"args": [1], "result": 1}])
            targets.append(one)
    tools = [Traffic(house, target) for target in targets]
    for tool in tools:
        tool.start()
    for program in PROGRAMS:
        enough = [len(tool.acknowledged) + _EACH for tool in tools]
        old = house.pid(program)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda program=program, old=old: house.pid(program) not in (0, old), f"the restart of {program}")
        wait_until(
            lambda enough=enough: (
                any(tool.failure for tool in tools)
                or all(len(tool.acknowledged) >= least for tool, least in zip(tools, enough, strict=True))
            ),
            f"traffic after the death of {program}",
        )
        assert not any(tool.failure for tool in tools), [tool.failure for tool in tools]
    for tool in tools:
        tool.finish()
    with house.client() as client:
        for tool, target in zip(tools, targets, strict=True):
            noted = client.send(target, "noted")
            assert noted == tool.acknowledged, f"{len(noted)} noted, {len(tool.acknowledged)} acknowledged"


def test_the_image_outlives_a_restart_of_everything(house: House):
    with house.client() as client:
        one = client.send("genesis_obj", "clone")
        client.send(one, "setSlot_value_", "kept", [1, {"a": 2.5}])
        before = client.send("genesis_obj", "methods")
    assert house.batos("down").returncode == 0
    assert house.batos("up", "--no-converse").returncode == 0
    with house.client() as client:
        assert client.send(one, "kept") == [1, {"a": 2.5}]
        assert client.send("genesis_obj", "methods") == before
        assert client.send("genesis_obj", "display_yourself")["morph"] == "column"
