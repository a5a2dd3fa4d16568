"""One bridge follows another: real bridges, fake UVMs, real clients."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import zmq

from deploy.settings import Configuration, SettingsError, load
from tests.uvm.bridge.service import LIMIT_S, Service, until
from tests.uvm.bridge.test_principals import client as client_over_tcp
from tests.uvm.bridge.test_principals import let_in
from ui_client.client.client import Client, EventStream
from ui_client.client.outbox import RESEND_S
from ui_client.client.subscription import Missed
from uvm.bridge.listeners import SUCCESSION, Listeners, addresses
from uvm.bridge.succession import Inheritance, Predecessor, Succession, take_over


class Counted(Protocol):
    """Where tools count: a `Service`, or another test's own."""

    def client(self, *, name: str) -> Client: ...

    def counted(self) -> int: ...


class CountingTool(threading.Thread):
    """Counts, each time acknowledged before the next, until it is told to end."""

    def __init__(self, service: Counted) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.end = threading.Event()
        self.counted = 0
        self.longest_s = 0.0
        self.failure = ""

    def run(self) -> None:
        with self._service.client(name="counting") as client:
            try:
                while not self.end.is_set():
                    began = time.monotonic()
                    client.send("x", "count", deadline=LIMIT_S)
                    self.counted += 1
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
            except Exception as error:  # for the test to show
                self.failure = repr(error)
                raise


def counting(service: Counted, tools: int = 4) -> list[CountingTool]:
    threads = [CountingTool(service) for _ in range(tools)]
    for thread in threads:
        thread.start()
    go_on(threads)
    return threads


def go_on(threads: list[CountingTool]) -> None:
    """Each of them is answered a few times more."""
    counted = [thread.counted for thread in threads]
    until(lambda: all(t.failure or t.counted >= before + 20 for t, before in zip(threads, counted, strict=True)), "they go on")


def finish(service: Counted, threads: list[CountingTool], before: int = 0) -> None:
    """End them; nothing was lost, and nothing counted twice. `before`: what was counted when they began."""
    for thread in threads:
        thread.end.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [thread.failure for thread in threads] == [""] * len(threads)
    assert service.counted() - before == sum(thread.counted for thread in threads)


def test_bridges_follow_each_other_under_load_and_nobody_waits_until_it_asks_again(service: Service) -> None:
    service.start_uvm("uvm-2")
    threads = counting(service)
    pids = [service.bridge.pid]
    for _ in range(5):
        service.swap_bridge()
        go_on(threads)
        pids.append(service.client().status()["pid"])
        assert pids[-1] == service.bridge.pid
    finish(service, threads)
    assert len(set(pids)) == 6
    assert max(thread.longest_s for thread in threads) < RESEND_S
    assert {uvm["uvm"] for uvm in service.client().status()["uvms"]} == {"uvm-1", "uvm-2"}
    assert service.stop_bridge() == 0
    assert list(service.configuration.home.run.rglob("*.sock")) == [], "the last one removes the files"


def test_a_killed_bridge_is_followed_by_the_one_that_waits(service: Service) -> None:
    threads = counting(service, 2)
    successor = service.start_successor()
    service.bridge.kill()
    service.bridge.wait(LIMIT_S)
    service.bridge = successor
    go_on(threads)
    finish(service, threads)
    assert service.client().status()["pid"] == successor.pid


def test_a_bridge_that_is_killed_while_it_ends_is_followed(service: Service) -> None:
    threads = counting(service, 2)
    successor = service.start_successor()
    service.bridge.terminate()
    service.bridge.kill()
    service.bridge.wait(LIMIT_S)
    service.bridge = successor
    go_on(threads)
    finish(service, threads)


def test_a_killed_successor_is_forgotten_and_another_one_can_follow(service: Service) -> None:
    threads = counting(service, 2)
    successor = service.start_successor()
    successor.kill()
    successor.wait(LIMIT_S)
    until(lambda: service.client().status()["successor"] == 0, "it is forgotten")
    go_on(threads)
    service.swap_bridge()
    go_on(threads)
    finish(service, threads)


def test_when_both_are_killed_the_next_one_binds_by_itself(service: Service) -> None:
    threads = counting(service, 2)
    successor = service.start_successor()
    service.bridge.terminate()
    successor.kill()
    service.bridge.wait(LIMIT_S)
    successor.wait(LIMIT_S)
    service.bridge = service._start(["-m", "uvm.bridge", "--take-over"])
    go_on(threads)
    finish(service, threads)
    assert service.client().status()["pid"] == service.bridge.pid


def test_a_successor_that_is_stopped_before_its_turn_takes_nothing_away(service: Service) -> None:
    successor = service.start_successor()
    successor.terminate()
    assert successor.wait(LIMIT_S) == 0
    assert service.client().send("x", "count") == 1
    with service.client(name="new") as client:
        assert client.send("x", "count") == 2


def test_what_takes_long_is_answered_by_the_next_bridge_and_was_run_once(service: Service) -> None:
    client = service.client()
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(client.send("x", "count_slowly", deadline=LIMIT_S)))
    thread.start()
    until(lambda: service.counted() == 1, "it was counted, and is not answered yet")
    service.swap_bridge()
    thread.join(LIMIT_S)
    assert (answers, service.counted()) == ([1], 1)


def test_who_listens_to_events_is_told_that_it_may_have_missed_some(service: Service) -> None:
    client = service.client()
    with client.events(("state",), missed=True) as events:
        client.send("x", "publish", 7)
        assert events.next(LIMIT_S) is not None
        service.swap_bridge()
        assert isinstance(events.next(LIMIT_S), Missed)
        client.send("x", "publish", 8)
        assert events.next(LIMIT_S) is not None


def test_keys_let_in_over_tcp_before_and_after(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    with Service(tmp_path, {"BATOS_BRIDGE_ENDPOINT": f"tcp://*:{port}"}) as service:
        service.start_uvm("uvm-1")
        with client_over_tcp(service, let_in(service, "alice", "read", "send")) as alice:
            assert alice.send("x", "count") == 1
            with alice.events(("state",)) as events:
                service.swap_bridge()
                assert alice.send("x", "count") == 2
                until(lambda: published(alice, events), "events come over the port that there was")


def published(client: Client, events: EventStream) -> bool:
    client.send("x", "publish", 7)
    return events.next(0.2) is not None


# --- the two sides in one process ---------------------------------------------------------------------------------------


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    configuration = load({"BATOS_HOME": str(tmp_path)}, tmp_path)
    configuration.home.ensure()
    return configuration


class Serving:
    """Nothing of a bridge but its listeners and who follows."""

    def __init__(self, configuration: Configuration) -> None:
        self.poller = zmq.Poller()
        self.listeners = Listeners.bound(configuration)
        self.succession = Succession(self.listeners, configuration, self.poller)
        self.succession.begin()

    def look(self) -> None:
        self.succession.look(dict(self.poller.poll(1000)))

    def close(self) -> None:
        last = self.succession.last
        self.succession.close()
        self.listeners.close(remove=last)


@pytest.fixture
def serving(configuration: Configuration) -> Iterator[Serving]:
    serving = Serving(configuration)
    yield serving
    serving.close()


def followed(serving: Serving, configuration: Configuration) -> Predecessor:
    """Somebody is given the listeners."""
    came: list[Predecessor | None] = []
    thread = threading.Thread(target=lambda: came.append(take_over(configuration)))
    thread.start()
    serving.look()
    thread.join(LIMIT_S)
    (predecessor,) = came
    assert predecessor is not None
    return predecessor


def test_where_nobody_serves_nobody_is_followed(configuration: Configuration) -> None:
    assert take_over(configuration) is None


def test_the_lock_goes_along_and_a_third_bridge_is_refused(configuration: Configuration) -> None:
    serving = Serving(configuration)
    predecessor = followed(serving, configuration)
    serving.close()
    predecessor.close()
    with pytest.raises(SettingsError, match="another bridge serves"):
        Listeners.bound(configuration)
    assert Path(addresses(configuration)["uvms"].removeprefix("ipc://")).exists(), "the files are the successor's now"
    predecessor.listeners.close(remove=True)
    Listeners.bound(configuration).close(remove=True)
    assert list(configuration.home.run.rglob("*.sock")) == []


def test_there_is_one_successor_at_a_time(serving: Serving, configuration: Configuration) -> None:
    predecessor = followed(serving, configuration)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
        second.settimeout(LIMIT_S)
        second.connect(addresses(configuration)[SUCCESSION].removeprefix("ipc://"))
        serving.look()
        assert second.recv(100) == b"", "it is shown out without a descriptor"
    predecessor.close()
    predecessor.listeners.close(remove=False)


def test_listeners_of_other_addresses_are_not_taken_over(serving: Serving, configuration: Configuration) -> None:
    home = str(configuration.home.path)
    elsewhere = load({"BATOS_HOME": home, "BATOS_BRIDGE_ENDPOINT": f"ipc://{home}/tools.sock"}, configuration.home.path)
    thread = threading.Thread(target=serving.look)
    thread.start()
    with pytest.raises(SettingsError, match="other addresses"):
        take_over(elsewhere)
    thread.join(LIMIT_S)


def test_what_is_said_to_a_serving_bridge_is_looked_at(serving: Serving, configuration: Configuration) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(LIMIT_S)
        stranger.connect(addresses(configuration)[SUCCESSION].removeprefix("ipc://"))
        serving.look()
        letter, descriptors, _, _ = socket.recv_fds(stranger, 4096, 16)
        for descriptor in descriptors:
            os.close(descriptor)
        assert msgspec.msgpack.decode(letter, type=Inheritance).pid == os.getpid()
        stranger.send(b"\xc1 what is no word")
        serving.look()
        assert serving.succession.last and serving.succession.successor == 0


def test_a_bridge_that_is_asked_to_end_while_it_waits_does_not_begin(serving: Serving, configuration: Configuration) -> None:
    predecessor = followed(serving, configuration)
    reader, writer = os.pipe()
    os.write(writer, b"stop")
    assert not predecessor.await_end(reader)
    predecessor.listeners.close(remove=False)
    os.close(reader)
    os.close(writer)
