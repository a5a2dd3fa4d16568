"""What the engine's process does with adapters that are dropped, crowd in or fail, over a manager that is only a book-keeper."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import zmq

from inference_worker.engine import extension
from inference_worker.engine.extension import HotAdapters, ReadReport, TierExtension

_LIMIT_S = 10.0


class Manager:
    """vLLM's LoRAModelManager as far as slots go. `refuses`: an adapter whose weights cannot be copied."""

    def __init__(self, slots: int = 2, refuses: int = 0) -> None:
        self.lora_index_to_id: list[int | None] = [None] * slots
        self.registered: dict[int, Any] = {}
        self.punica_wrapper_mapping: dict[str, Any] = {}
        self.lora_slots = slots
        self.refuses = refuses

    def list_adapters(self) -> dict[int, Any]:
        return dict(self.registered)

    def add_adapter(self, lora: Any) -> bool:
        self.registered[lora.id] = lora
        return True

    def activate_adapter(self, number: int) -> bool:
        if number in self.lora_index_to_id:
            return False
        self.lora_index_to_id[self.lora_index_to_id.index(None)] = number
        if number == self.refuses:
            raise RuntimeError("shape mismatch")
        return True

    def deactivate_adapter(self, number: int) -> bool:
        if number not in self.lora_index_to_id:
            return False
        self.lora_index_to_id[self.lora_index_to_id.index(number)] = None
        return True

    def remove_adapter(self, number: int) -> bool:
        self.deactivate_adapter(number)
        return self.registered.pop(number, None) is not None


class Desk:
    """A shelf whose parser waits at `gate`, and the socket that reports come to."""

    def __init__(self, directory: Path, manager: Manager) -> None:
        self.manager = manager
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.shelf = HotAdapters(SimpleNamespace(_adapter_manager=manager), self.parse)
        self.reply = f"ipc://{directory}/r.sock"
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PULL)
        self.socket.setsockopt(zmq.RCVTIMEO, int(_LIMIT_S * 1000))
        self.socket.bind(self.reply)

    def parse(self, number: int, path: str) -> Any:
        self.begun.set()
        if not self.gate.wait(_LIMIT_S):
            raise TimeoutError("the gate stays shut")
        if path == "/broken":
            raise ValueError("it is broken")
        return SimpleNamespace(id=number, loras={})

    def ask(self, number: int, path: str = "/fine") -> dict[str, Any]:
        return self.shelf.read(number, path, self.reply)

    def report(self) -> ReadReport:
        return msgspec.msgpack.decode(self.socket.recv(), type=ReadReport)

    def commit(self, number: int) -> dict[str, Any]:
        self.ask(number)
        assert not self.report().error
        return self.shelf.commit(number)


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def desk(tmp_path: Path, manager: Manager) -> Iterator[Desk]:
    desk = Desk(tmp_path, manager)
    yield desk
    desk.gate.set()
    desk.socket.close(linger=0)
    desk.context.term()


def test_an_adapter_that_cannot_be_parsed_is_reported_and_the_next_one_is_read(desk: Desk) -> None:
    desk.ask(1, "/broken")
    desk.ask(2)
    first, second = desk.report(), desk.report()
    assert (first.number, first.error) == (1, "ValueError: it is broken")
    assert (second.number, second.error) == (2, "")
    assert desk.shelf.state()["parsed"] == [2]


def test_an_adapter_that_is_dropped_while_it_is_read_leaves_nothing(desk: Desk) -> None:
    desk.gate.clear()
    desk.ask(1)
    assert desk.begun.wait(_LIMIT_S)
    assert desk.shelf.state()["reading"] == [1]
    desk.shelf.drop(1)
    desk.gate.set()
    assert "dropped" in desk.report().error
    assert desk.shelf.state()["parsed"] == desk.shelf.state()["reading"] == []
    assert "read it first" in desk.shelf.commit(1)["error"]


def test_more_reads_than_the_queue_holds_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.gate.clear()
    desk.ask(1)
    assert desk.begun.wait(_LIMIT_S)
    for number in range(2, extension.QUEUE + 2):
        assert desk.ask(number) == {"reading": True}
    assert "wait to be read" in desk.ask(extension.QUEUE + 2)["error"]
    assert extension.QUEUE + 2 not in desk.shelf.state()["reading"]


def test_a_commit_takes_a_free_slot_and_evicts_nobody(desk: Desk, manager: Manager) -> None:
    assert desk.commit(1)["slot"] == 0
    assert desk.commit(2)["slot"] == 1
    assert "no slot is free" in desk.commit(3)["error"]
    assert manager.lora_index_to_id == [1, 2]
    desk.shelf.retire(1)
    assert desk.shelf.commit(3)["slot"] == 0
    assert desk.shelf.state()["hot"] == {"3": 0, "2": 1}


def test_what_a_late_step_brought_back_makes_room(desk: Desk, manager: Manager) -> None:
    for number in (1, 2):
        desk.commit(number)
    desk.shelf.retire(1)
    manager.activate_adapter(1)
    assert desk.commit(3)["slot"] == 0
    assert manager.lora_index_to_id == [3, 2]


def test_a_commit_that_fails_leaves_the_slot_free_and_the_adapter_forgotten(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Manager(refuses=1))
    worker = TierExtension()
    worker._tier_shelf = desk.shelf
    desk.ask(1)
    desk.report()
    assert worker.tier_commit(1) == {"error": "RuntimeError: shape mismatch"}
    state = worker.tier_state()
    assert (state["free"], state["registered"], state["parsed"], state["hot"]) == (2, [], [], {})
    desk.socket.close(linger=0)
    desk.context.term()


def test_a_fault_is_answered_and_does_not_rise_into_the_engine() -> None:
    assert "error" in TierExtension().tier_state(), "there is no model runner here"


@pytest.mark.parametrize(("before", "after"), [(0, 10), (15, 15)])
def test_reading_gives_way_and_a_service_that_gives_way_already_stays_where_it_is(before: int, after: int) -> None:
    """A confined process may not raise its priority: to try would end the thread that reads."""
    priorities: list[int] = []

    def read() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, before)
        extension._lower_priority()
        priorities.append(os.getpriority(os.PRIO_PROCESS, 0))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(_LIMIT_S)
    assert priorities == [after]
