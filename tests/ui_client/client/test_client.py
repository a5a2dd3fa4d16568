"""The client library against a real bridge and fake UVMs."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.uvm.bridge.service import Service, until
from ui_client import AsyncClient, BridgeUnreachable, Client, ClientError, Missed, Reference, RemoteError
from uvm.protocol import Example, StateUpdate


def test_targets_are_names_references_and_their_texts(service: Service) -> None:
    client = service.client()
    reference = Reference.parse("@2a")
    assert [client.send(target, "echo")[0] for target in ("genesis_obj", "@2a", reference)] == ["genesis_obj", reference, reference]


def test_methods_are_offered_objects_inspected_and_references_released(service: Service) -> None:
    client = service.client()
    assert client.create_method("x", "m", "def m(self): pass", examples=[Example(1), {"result": 2, "args": [3]}]) == "def m(self): pass"
    state = client.inspect("thing_3")
    assert (state.names, state.slots, state.reference) == (["thing_3"], {"n": 3}, Reference(bytes(7) + b"\3"))
    assert client.release([state.reference, "@2a"]) == 2


def test_full_state_is_all_pages_of_one_snapshot(service: Service) -> None:
    state = service.client().full_state(page=2)
    assert [listed.slots["n"] for listed in state.objects] == list(range(7))
    assert (state.tid, state.after) == (b"tid00001", b"")


def test_one_client_serves_many_threads(service: Service) -> None:
    client = service.client()
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: client.send("x", "count"), range(200)))
    assert sorted(results) == list(range(1, 201))


def test_the_floor_that_uvms_see_follows_the_answers(service: Service) -> None:
    with Client(configuration=service.configuration, session="floored") as client:
        for _ in range(3):
            client.send("x", "count")
    assert [(run[3], run[4]) for run in service.runs("count") if run[2] == "floored"] == [(1, 0), (2, 1), (3, 2)]


def test_a_slow_answer_outlives_several_resendings_and_runs_once(service: Service) -> None:
    assert service.client().send("x", "later_", 5.0) is None
    assert len(service.runs("later_")) == 1
    assert service.client().status()["counters"]["attached"] >= 1


def test_traffic_through_killed_uvms_and_bridges_is_counted_exactly_once(service: Service) -> None:
    client = service.client()
    service.start_uvm("uvm-2")
    enough = threading.Event()
    results: list[int] = []

    def send_counts() -> None:
        while not enough.is_set():
            results.append(client.send("x", "count", deadline=60))

    def beyond(number: int) -> bool:
        return len(results) > number

    threads = [threading.Thread(target=send_counts) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: beyond(50), "traffic flows")
    for name in ("uvm-1", "uvm-2"):
        service.kill(name)
        service.start_uvm(name)
        now = len(results)
        until(lambda now=now: beyond(now + 20), "traffic flows again")
    service.stop_bridge(signal.SIGKILL)
    service.start_bridge()
    now = len(results)
    until(lambda: beyond(now + 20), "traffic flows through the new bridge")
    enough.set()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == list(range(1, len(results) + 1)), "none lost, none doubled"
    assert service.counted() == len(results)


def test_events_arrive_and_the_subscription_holds_from_the_start(service: Service) -> None:
    client = service.client()
    for number in range(1, 20):
        with client.events(["state"]) as events:
            client.send("x", "publish", number)
            event = events.next(timeout=10)
        assert isinstance(event, StateUpdate)
        assert (event.tid, event.changes[0].slots) == (number.to_bytes(8), {"n": number})
    assert client.newest_tid() == (19).to_bytes(8)


def test_an_event_stream_ends_when_it_is_told_to(service: Service) -> None:
    client, stop = service.client(), threading.Event()
    received: list[object] = []
    events = client.events(stop=stop)
    thread = threading.Thread(target=lambda: received.extend(events))
    thread.start()
    client.send("x", "publish", 1)
    until(lambda: len(received) == 1, "it was seen")
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_closing_the_client_ends_its_streams_and_its_calls(service: Service) -> None:
    client = Client(configuration=service.configuration)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            client.send("x", "later_", 60)
        except ClientError as error:
            failures.append(error)

    events = client.events()
    threads = [threading.Thread(target=wait), threading.Thread(target=lambda: list(events))]
    for thread in threads:
        thread.start()
    until(lambda: len(service.runs("later_")) == 1, "the call is under way")
    client.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert len(failures) == 1
    with pytest.raises(ClientError, match="closed"):
        client.send("x", "echo")


def test_a_killed_uvm_and_a_new_bridge_make_a_subscriber_look_again(service: Service) -> None:
    client = service.client()
    with client.events(["state"], missed=True) as events:
        service.kill("uvm-1")
        service.start_uvm("uvm-2")
        client.send("x", "publish", 5)
        first = events.next(10)
        assert first == Missed("state"), "what it committed last may not have been published"
        assert isinstance(events.next(10), StateUpdate)
        service.stop_bridge(signal.SIGKILL)
        service.start_bridge()
        assert events.next(10) == Missed("state")


def test_without_a_bridge_events_are_unreachable_too(service: Service) -> None:
    service.stop_bridge(signal.SIGKILL)
    with Client(configuration=service.configuration, connect_timeout=0.3) as client, pytest.raises(BridgeUnreachable):
        client.events()


def test_an_endpoint_that_is_none_is_refused_in_words(service: Service) -> None:
    with pytest.raises(BridgeUnreachable, match="nonsense"):
        Client("nonsense", service.configuration)


def test_a_deadline_that_is_none_is_refused(service: Service) -> None:
    with pytest.raises(ValueError, match="positive"):
        service.client().send("x", "echo", deadline=0)


def test_the_asynchronous_client_does_the_same(service: Service) -> None:
    async def talk() -> None:
        async with AsyncClient(configuration=service.configuration) as client:
            results = await asyncio.gather(*(client.send("x", "count") for _ in range(100)))
            assert sorted(results) == list(range(1, 101))
            assert (await client.inspect("thing_3")).slots == {"n": 3}
            assert len((await client.full_state(page=3)).objects) == 7
            assert (await client.status())["uvms"][0]["uvm"] == "uvm-1"
            assert await client.release(["@2a"]) == 1
            assert await client.create_method("x", "m", "def m(self): pass") == "def m(self): pass"
            with pytest.raises(RemoteError, match="nonsense"):
                await client.send("x", "nonsense")
            events = client.events(["state"])
            following = asyncio.ensure_future(anext(events))
            number = 0
            while not following.done():
                number += 1
                await client.send("x", "publish", number)
            assert isinstance(following.result(), StateUpdate)
            await events.aclose()
            assert len(await client.newest_tid()) == 8

    asyncio.run(talk())


def test_a_cancelled_call_leaves_the_client_usable(service: Service) -> None:
    async def talk() -> None:
        async with AsyncClient(configuration=service.configuration) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.send("x", "later_", 0.5), 0.1)
            assert await client.send("x", "count") == 1

    asyncio.run(talk())
