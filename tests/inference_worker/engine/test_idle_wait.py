"""How vLLM's processes wait for each other under our plugin: over a real socket, without an engine."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from vllm.distributed.device_communicators import shm_broadcast

from inference_worker.engine import idle_wait as patience
from inference_worker.engine.idle_wait import PatientCondition

Pair = tuple[PatientCondition, PatientCondition]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A writer, and a reader that has read nothing for half a second; spinning fails the test."""
    monkeypatch.setattr(shm_broadcast, "sched_yield", lambda: pytest.fail("it spins"))
    context = zmq.Context()
    writer, reader = (PatientCondition(is_reader, context, f"ipc://{tmp_path}/notify") for is_reader in (False, True))
    reader.last_read -= 0.5
    yield writer, reader
    for socket in (writer.local_notify_socket, reader.local_notify_socket, reader.read_cancel_socket, reader.write_cancel_socket):
        socket.close(linger=0)
    context.term()


def test_a_reader_sleeps_and_a_notification_wakes_it(pair: Pair) -> None:
    writer, reader = pair
    woken = threading.Event()

    def notify() -> None:
        # Once is not enough while the sockets still connect.
        while not woken.wait(0.01):
            writer.notify()

    notifying = threading.Thread(target=notify)
    notifying.start()
    try:
        assert reader.poller.poll(10_000), "the notification does not arrive"
        reader.wait()
    finally:
        woken.set()
        notifying.join()


def test_a_lost_notification_costs_a_nap_and_not_the_engine(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reader = pair
    monkeypatch.setattr(patience, "ALERT_S", 3600.0)
    reader.wait()
    reader.wait(timeout_ms=3_600_000)
