"""A follower of the real service stays equal to the snapshot, while a UVM and the heartbeat are killed."""

import os
import queue
import signal
import threading
import time
from typing import Any

from deploy import service as supervised
from deploy.settings import Configuration
from tests.follower import Follower, of_snapshot
from ui_client import Client, RemoteError
from ui_client.client.client import Missed, Result
from uvm.protocol import ObjectState, Reference

LIMIT_S = 60.0


def test_a_follower_stays_equal_through_kills(running: Configuration) -> None:
    with Client(configuration=running, connect_timeout=60.0) as client:

        def inspect(reference: Reference) -> ObjectState | None:
            try:
                return client.inspect(reference)
            except RemoteError:
                return None

        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        events = client.events(["state"], missed=True)
        reader = threading.Thread(target=lambda: [arrived.put(event) for event in events], daemon=True)
        reader.start()
        follower = Follower(inspect)
        follower.start(client.full_state())
        item = client.transaction([("genesis_obj", "clone"), (Result(0), "nameAs_", "followed")])[0]
        source = "def grow(self):\n    c = self.clone()\n    self.last = c\n    return c\n"
        client.create_method(item, "grow", source)
        for number in range(60):
            if number == 20:
                os.kill(pid(running, "uvm-1"), signal.SIGKILL)
            if number == 40:
                os.kill(pid(running, "heartbeat"), signal.SIGKILL)
            made = client.send(item, "grow", via="" if number else "uvm-2")
            client.send(made, "setSlot_value_", "n", number)
        until = time.monotonic() + LIMIT_S
        while True:
            while not arrived.empty():
                event = arrived.get()
                if isinstance(event, Missed):
                    follower = Follower(inspect)
                    follower.start(client.full_state())
                else:
                    follower.apply(event)
            followed, there = follower.state(), of_snapshot(client.full_state())
            if {one: followed.get(one) for one in there} == there:
                break
            differ = {one: (followed.get(one), there[one]) for one in there if followed.get(one) != there[one]}
            assert time.monotonic() < until, f"the follower is not equal to the snapshot: {differ}"
        assert there[item]["last"] == made and there[made]["n"] == 59
        events.close()
        reader.join(10)


def pid(running: Configuration, program: str) -> int:
    return next(one.pid for one in supervised.statuses(running) if one.name == program)
