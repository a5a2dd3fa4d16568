"""The bridge as a process, with fake UVMs and the real client."""

import os
import signal
import threading

import pytest

from tests.uvm.bridge.service import Service, until
from ui_client.client.client import BridgeUnreachable, Client, Reference, RemoteError


def test_a_message_reaches_a_uvm_and_its_reply_the_tool(service: Service) -> None:
    reference = Reference(b"\0\0\0\0\0\0\0\x2a")
    assert service.client().send(reference, "echo", 1, "two", [reference], {b"k": 3.5}, key=None) == [
        reference, 1, "two", [reference], {b"k": 3.5}, {"key": None},
    ]  # fmt: skip


def test_an_error_of_the_image_comes_with_type_message_remedy_and_details(service: Service) -> None:
    with pytest.raises(RemoteError) as raised:
        service.client().send("genesis_obj", "nonsense")
    error = raised.value
    assert (error.type, error.remedy, error.details) == ("BadArguments", "try echo", {"seen": "nonsense"})
    assert "nonsense" in error.message


def test_via_names_the_uvm_that_runs_the_message(service: Service) -> None:
    service.start_uvm("uvm-2")
    client = service.client()
    assert [client.send("x", "whoami", via=name) for name in ("uvm-1", "uvm-2", "uvm-1")] == ["uvm-1", "uvm-2", "uvm-1"]


def test_via_an_absent_uvm_is_an_error_that_names_those_alive(service: Service) -> None:
    with pytest.raises(RemoteError, match="uvm-1") as raised:
        service.client().send("x", "whoami", via="uvm-9")
    assert raised.value.type == "NoSuchUvm"


def test_messages_wait_for_a_uvm_to_come(service: Service) -> None:
    service.stop("uvm-1")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(service.client().send("x", "whoami", deadline=15)))
    thread.start()
    until(lambda: service.client().status()["queue"]["waiting"] == 1, "the message waits")
    service.start_uvm("uvm-2")
    thread.join(15)
    assert answers == ["uvm-2"]


def test_a_message_whose_uvm_died_after_the_commit_is_answered_from_its_receipt(service: Service) -> None:
    service.start_uvm("uvm-2")
    client = service.client()
    assert client.send("x", "count_then_die_once") == 1
    assert service.counted() == 1
    first, second = service.runs("count_then_die_once")
    assert first[0] != second[0], "another UVM took it"
    assert (first[-1], second[-1]) == (0, 1), "the second time in a transaction of its own"


def test_a_message_that_two_uvms_die_on_is_poisoned_and_the_third_uvm_lives(service: Service) -> None:
    for name in ("uvm-2", "uvm-3"):
        service.start_uvm(name)
    with pytest.raises(RemoteError) as raised:
        service.client().send("x", "die")
    assert raised.value.type == "Poisoned"
    assert len(service.runs("die")) == 2
    assert service.client().send("x", "count") == 1
    status = service.client().status()
    assert len(status["uvms"]) == 1
    assert status["counters"]["poisoned"] == 1


def test_the_innocent_companions_of_a_killer_are_answered_and_counted_once(service: Service) -> None:
    service.start_uvm("uvm-2")
    outcomes: dict[int, object] = {}

    def send(number: int) -> None:
        with Client(configuration=service.configuration) as client:
            try:
                outcomes[number] = client.send("x", "die" if number == 5 else "count", deadline=30)
            except RemoteError as error:
                outcomes[number] = error.type

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: len(service.runs("die")) == 2, "both UVMs have died on it")
    service.start_uvm("uvm-3")
    for thread in threads:
        thread.join(30)
    assert outcomes.pop(5) == "Poisoned"
    assert sorted(outcomes.values(), key=str) == sorted(range(1, 20), key=str)
    assert service.counted() == 19


def test_a_silent_uvm_counts_as_dead_and_what_silences_two_is_poisoned(service: Service) -> None:
    service.start_uvm("uvm-2")
    client = service.client()
    with pytest.raises(RemoteError) as raised:
        client.send("x", "fall_silent", deadline=15)
    assert raised.value.type == "Poisoned", "it silenced both"
    assert client.status()["uvms"] == []


def test_a_stopped_uvm_is_killed_and_its_message_goes_on_at_another(service: Service) -> None:
    client = service.client()
    client.send("x", "whoami")
    os.kill(service.pid("uvm-1"), signal.SIGSTOP)
    answer: list[object] = []
    thread = threading.Thread(target=lambda: answer.append(client.send("x", "count", deadline=15)))
    thread.start()
    assert service.ended("uvm-1") == -signal.SIGKILL, "so that it cannot come back to what another was given"
    service.start_uvm("uvm-2")
    thread.join(15)
    assert answer == [1]


def test_a_clean_stop_casts_no_suspicion(service: Service) -> None:
    client = service.client()
    client.send("x", "whoami")  # from now on it is known that what comes from here is light
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(client.send("x", "later_", 3.0))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(service.runs("later_")) == 2, "both are at the UVM")
    service.stop("uvm-1")
    until(lambda: client.status()["uvms"] == [], "it left")
    queue = client.status()["queue"]
    assert (queue["waiting"], queue["suspects"]) == (2, 0)
    service.start_uvm("uvm-2")
    for thread in threads:
        thread.join(20)
    assert answers == [None, None]
    assert [run[-1] for run in service.runs("later_")] == [0, 0, 0, 0], "together, not alone"


def test_a_parked_message_survives_any_number_of_killed_uvms(service: Service) -> None:
    client = service.client()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(client.send("x", "park", deadline=30)))
    thread.start()
    name = "uvm-1"
    for number in (2, 3, 4, 5):
        until(lambda: sum(uvm["parked"] for uvm in client.status()["uvms"]) == 1, "it is parked")
        service.kill(name)
        name = f"uvm-{number}"
        service.start_uvm(name)
    until(lambda: sum(uvm["parked"] for uvm in client.status()["uvms"]) == 1, "it is parked again")
    client.send("y", "unpark")
    thread.join(10)
    assert answers == ["unparked"]


def test_a_deadline_ends_what_no_uvm_has_and_says_that_it_was_not_run(service: Service) -> None:
    service.stop("uvm-1")
    with pytest.raises(RemoteError) as raised:
        service.client().send("x", "count", deadline=0.3)
    assert (raised.value.type, raised.value.details) == ("DeadlineExceeded", {"outcome": "not run"})


def test_a_deadline_drops_what_a_uvm_has_and_the_uvm_answers(service: Service) -> None:
    with pytest.raises(RemoteError) as raised:
        service.client().send("x", "park", deadline=0.3)
    assert (raised.value.type, raised.value.message) == ("DeadlineExceeded", "dropped")
    assert service.client().status()["queue"]["held"] == 0


def test_a_uvm_that_does_not_answer_after_the_deadline_leaves_the_outcome_unknown(service: Service) -> None:
    with pytest.raises(RemoteError) as raised:
        service.client().send("x", "later_", 60, deadline=0.3)
    assert (raised.value.type, raised.value.details) == ("DeadlineExceeded", {"outcome": "unknown"})


def test_an_unreadable_answer_or_message_of_a_uvm_is_our_fault_and_harms_nobody_else(service: Service) -> None:
    client = service.client()
    with pytest.raises(RemoteError) as raised:
        client.send("x", "garble")
    assert raised.value.type == "InternalError"
    client.send("x", "babble")
    assert client.send("x", "count") == 1


def test_a_restarted_bridge_finds_its_uvms_and_clients_again(service: Service) -> None:
    client = service.client()
    assert client.send("x", "count") == 1
    assert service.stop_bridge(signal.SIGKILL) < 0
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(client.send("x", "count", deadline=20)))
    thread.start()
    service.start_bridge()
    thread.join(20)
    assert answers == [2]
    assert service.counted() == 2


def test_a_stopped_bridge_lets_what_is_under_way_be_answered_and_removes_its_sockets(service: Service) -> None:
    client = service.client()
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(client.send("x", "later_", 1.0)))
    thread.start()
    until(lambda: client.status()["uvms"][0]["outstanding"] == 1, "it is under way")
    assert service.stop_bridge() == 0
    thread.join(5)
    assert answers == [None]
    assert list(service.configuration.home.run.glob("*.sock")) == []


def test_a_second_bridge_of_the_same_home_refuses_to_start(service: Service) -> None:
    second = service._start(["-m", "uvm.bridge"])
    assert second.wait(10) == 2
    assert service.client().send("x", "count") == 1


def test_without_a_bridge_the_client_says_so_in_time(service: Service) -> None:
    service.stop_bridge(signal.SIGKILL)
    with Client(configuration=service.configuration, connect_timeout=0.5) as client, pytest.raises(BridgeUnreachable):
        client.status()


def test_status_shows_queue_uvms_counters_and_metrics(service: Service) -> None:
    client = service.client()
    client.send("x", "count")
    status = client.status()
    (uvm,) = status["uvms"]
    assert (uvm["uvm"], uvm["outstanding"]) == ("uvm-1", 0)
    assert uvm["pid"] > 0 and uvm["up_s"] >= 0 and uvm["incarnation"]
    assert status["queue"]["held"] == 0 and status["queue"]["limit"] == 10_000
    assert status["counters"]["finished"] == 1
    assert status["metrics"]["messages"]["Send"] == 1 and status["metrics"]["replies"]["Reply"] >= 1
    assert status["metrics"]["seconds"]["count"] == 1


def test_the_run_directory_is_closed_to_others(service: Service) -> None:
    assert service.configuration.home.run.stat().st_mode & 0o777 == 0o700
