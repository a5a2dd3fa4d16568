"""Frames as any program may send them: good ones by a client of pyzmq and msgpack alone, and bad ones of every kind."""

import random
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq

from tests.uvm.bridge.service import Service

LIMIT_MS = 10_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One bridge and UVM for the whole module: no frame may harm the next."""
    with Service(tmp_path_factory.mktemp("home"), {"BATOS_BRIDGE_MAX_FRAME_BYTES": "100000"}) as service:
        service.start_uvm("uvm-1")
        yield service


class Raw:
    """A socket, msgpack, and nothing of ours."""

    def __init__(self, service: Service, kind: int = zmq.DEALER) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(service.configuration.bridge_endpoint)

    def say(self, *frames: bytes) -> dict[str, Any]:
        self.socket.send_multipart(frames)
        return self.hear()

    def ask(self, **fields: Any) -> dict[str, Any]:
        return self.say(msgpack.packb(fields))

    def hear(self) -> dict[str, Any]:
        assert self.socket.poll(LIMIT_MS), "the bridge does not answer"
        frames = self.socket.recv_multipart()
        assert len(frames) == 1
        answer: dict[str, Any] = msgpack.unpackb(frames[0], strict_map_key=False)  # what comes back may be any map
        return answer


@pytest.fixture
def raw(home: Service) -> Iterator[Raw]:
    opened = Raw(home)
    yield opened
    opened.context.destroy(linger=0)


SEND = {"op": "Send", "id": 9, "target": "genesis_obj", "selector": "echo"}


def test_hello_agrees_on_a_version_and_says_where_events_are(home: Service, raw: Raw) -> None:
    answer = raw.ask(op="Hello", id=1, versions=[1, 7], client="a test")
    events = home.configuration.events_endpoint
    assert answer == {"op": "Welcome", "id": 1, "version": 1, "events": events, "max_frame_bytes": 100_000}


def test_hello_of_an_unknown_version_names_those_that_are_known(raw: Raw) -> None:
    answer = raw.ask(op="Hello", id=1, versions=[2, 3])
    assert (answer["op"], answer["type"], answer["details"]) == ("Error", "VersionMismatch", {"versions": [1]})


def test_a_message_without_hello_is_fine(raw: Raw) -> None:
    answer = raw.ask(**SEND, args=[1, msgpack.ExtType(1, bytes(7) + b"\x2a")], kwargs={"k": b"bytes"})
    assert answer["op"] == "Reply" and answer["id"] == 9
    assert answer["result"] == ["genesis_obj", 1, msgpack.ExtType(1, bytes(7) + b"\x2a"), {"k": b"bytes"}]


def test_a_req_socket_works_as_well_as_a_dealer(home: Service) -> None:
    raw = Raw(home, zmq.REQ)
    assert raw.ask(**SEND)["op"] == "Reply"
    assert raw.ask(op="GetStatus", id=3)["result"]["uvms"][0]["uvm"] == "uvm-1"
    raw.context.destroy(linger=0)


def test_the_same_number_again_is_answered_but_not_carried_out_again(home: Service, raw: Raw) -> None:
    before = home.counted()
    message = {"op": "Send", "target": "x", "selector": "count", "session": "raw-1", "seq": 1}
    first = raw.ask(id=1, **message)
    again = raw.ask(id=2, **message)
    assert (first["result"], first["replayed"], again["result"], again["replayed"]) == (before + 1, False, before + 1, True)
    assert home.counted() == before + 1


def test_two_arrivals_at_once_of_one_number_are_both_answered_and_run_once(home: Service, raw: Raw) -> None:
    message = {"op": "Send", "target": "x", "selector": "later_", "args": [0.3], "session": "raw-2", "seq": 1}
    other = Raw(home)
    raw.socket.send(msgpack.packb({"id": 1, **message}))
    raw.socket.send(msgpack.packb({"id": 2, **message}))
    other.socket.send(msgpack.packb({"id": 3, **message}))
    assert sorted([raw.hear()["id"], raw.hear()["id"], other.hear()["id"]]) == [1, 2, 3]
    assert len([run for run in home.runs("later_") if run[2] == "raw-2"]) == 1
    other.context.destroy(linger=0)


def test_a_number_under_way_with_another_payload_is_refused(raw: Raw) -> None:
    message = {"op": "Send", "target": "x", "selector": "later_", "session": "raw-3", "seq": 1}
    raw.socket.send(msgpack.packb({"id": 1, **message, "args": [0.3]}))
    answer = raw.ask(id=2, **message, args=[0.4])
    assert (answer["id"], answer["type"]) == (2, "PayloadMismatch")
    assert raw.hear()["id"] == 1


def test_inspect_full_state_release_and_subscribe_have_their_answers(raw: Raw) -> None:
    inspected = raw.ask(op="Inspect", id=1, target="thing_3")["result"]
    assert (inspected["names"], inspected["slots"]) == (["thing_3"], {"n": 3})
    page = raw.ask(op="GetFullState", id=2, limit=5)
    rest = raw.ask(op="GetFullState", id=3, limit=5, tid=page["tid"], after=page["after"])
    assert [o["slots"]["n"] for o in page["objects"] + rest["objects"]] == list(range(7))
    assert page["after"] and not rest["after"]
    assert raw.ask(op="Release", id=4, references=[msgpack.ExtType(1, bytes(8))])["result"] == 1
    assert raw.ask(op="Subscribe", id=5)["topics"] == ["state", "progress"]


@pytest.mark.parametrize(
    ("fields", "id", "seen"),
    [
        ({"op": "Send", "id": 4}, 4, "target"),
        ({**SEND, "selector": "no spaces"}, 9, "$.selector"),
        ({**SEND, "selector": "_private"}, 9, "$.selector"),
        ({**SEND, "selector": "x" * 129}, 9, "$.selector"),
        ({**SEND, "target": ""}, 9, "target"),
        ({**SEND, "target": 17}, 9, "target"),
        ({**SEND, "args": "text"}, 9, "$.args"),
        ({**SEND, "args": [0] * 65}, 9, "$.args"),
        ({**SEND, "kwargs": {1: 2}}, 9, "$.kwargs"),
        ({**SEND, "surprise": 1}, 9, "surprise"),
        ({**SEND, "session": "s"}, 9, "seq"),
        ({**SEND, "seq": 3}, 9, "session"),
        ({**SEND, "session": "no spaces", "seq": 1}, 9, "$.session"),
        ({**SEND, "deadline_ms": -1}, 9, "$.deadline_ms"),
        ({**SEND, "deadline_ms": 86_400_001}, 9, "$.deadline_ms"),
        ({**SEND, "args": [msgpack.ExtType(1, b"short")]}, 9, "extension"),
        ({**SEND, "args": [msgpack.ExtType(5, b"x")]}, 9, "extension"),
        ({**SEND, "id": -1}, 0, "$.id"),
        ({**SEND, "id": "nine"}, 0, "$.id"),
        ({"op": "Destroy", "id": 8}, 8, "Destroy"),
        ({"id": 8}, 8, "op"),
        ({"op": "Reply", "id": 8, "result": 1}, 8, "Reply"),
        ({"op": "GetFullState", "id": 8, "limit": 0}, 8, "$.limit"),
        ({"op": "Hello", "id": 8, "versions": []}, 8, "$.versions"),
    ],
)
def test_what_is_wrong_and_where_is_said(raw: Raw, fields: dict[str, Any], id: int, seen: str) -> None:
    answer = raw.ask(**fields)
    assert (answer["op"], answer["type"], answer["id"]) == ("Error", "BadRequest", id)
    assert seen in answer["message"]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02",
        b"\x80",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 90_000,
        b"\x81" * 90_000,
        msgpack.packb([SEND]),
        msgpack.packb(None),
    ],
)
def test_frames_that_are_no_map_are_bad_requests(raw: Raw, frame: bytes) -> None:
    answer = raw.say(frame)
    assert (answer["op"], answer["type"], answer["id"]) == ("Error", "BadRequest", 0)


LARGE: dict[str, Any] = {**SEND, "selector": "echo", "args": ["x" * 70_000]}


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({**LARGE, "selector": "no spaces"}, "$.selector"),
        ({**LARGE, "surprise": 1}, "surprise"),
        ({**LARGE, "args": "x" * 70_000}, "$.args"),
        ({**LARGE, "args": [*LARGE["args"], msgpack.ExtType(5, b"x")]}, "extension"),
        ({**LARGE, "target": "x" * 300}, "target"),
        ({**LARGE, "examples": [{"result": 1, "surprise": 2}]}, "surprise"),
        ({"op": "Transaction", "id": 9, "sends": [{"target": "x", "selector": "echo", "args": LARGE["args"], "surprise": 1}]}, "surprise"),
    ],
)
def test_what_is_wrong_in_a_large_frame_is_said_likewise(raw: Raw, fields: dict[str, Any], seen: str) -> None:
    answer = raw.ask(**fields)
    assert (answer["op"], answer["type"], answer["id"], answer["details"]) == ("Error", "BadRequest", 9, {})
    assert seen in answer["message"]


def test_a_key_that_stands_twice_in_a_large_frame_is_refused(raw: Raw) -> None:
    frame = msgpack.packb({**LARGE, "args": [*LARGE["args"], {"aa": 1, "ab": 2}]})
    answer = raw.say(frame.replace(b"\xa2ab", b"\xa2aa"))
    assert (answer["type"], answer["id"], "twice" in answer["message"]) == ("BadRequest", 9, True)


def test_a_large_message_is_the_same_message_when_it_comes_again_a_little_shorter_or_longer(raw: Raw) -> None:
    """The bridge reads frames of 65,536 bytes and less whole, of longer ones the head alone."""
    empty = {"op": "Send", "target": "x", "selector": "later_", "args": [0.3, ""], "session": "large", "seq": 1}
    text = "x" * (65_536 - 4 - len(msgpack.packb({**empty, "id": 1})))
    numbered = {**empty, "args": [0.3, text]}
    frames = [msgpack.packb({**numbered, "id": 1}), msgpack.packb({**numbered, "id": 2**40})]
    assert len(frames[0]) <= 65_536 < len(frames[1])
    for frame in frames:
        raw.socket.send(frame)
    assert [raw.hear()["op"], raw.hear()["op"]] == ["Reply", "Reply"]


def test_values_nested_too_deeply_are_refused(raw: Raw) -> None:
    args = b"\x91" * 50_000 + b"\xc0"
    frame = msgpack.packb({**SEND, "args": "HERE"}).replace(msgpack.packb("HERE"), args)
    assert raw.say(frame)["type"] == "BadRequest"


def test_text_that_is_not_utf8_is_refused(raw: Raw) -> None:
    frame = msgpack.packb({**SEND, "args": ["XX"]}).replace(b"XX", b"\xff\xfe")
    assert raw.say(frame)["type"] == "BadRequest"


def test_more_frames_than_one_are_refused(raw: Raw) -> None:
    frame = msgpack.packb(SEND)
    for frames in ((frame, frame), (b"", frame, frame), (b"", b"", frame)):
        raw.socket.send_multipart(frames)
        assert raw.socket.poll(LIMIT_MS)
        assert msgpack.unpackb(raw.socket.recv_multipart()[-1])["type"] == "BadRequest"


def test_a_message_that_is_too_large_is_refused_with_its_id(raw: Raw) -> None:
    answer = raw.ask(**SEND, args=[b"x" * 100_001])
    assert (answer["type"], answer["id"]) == ("TooLarge", 9)
    assert "100000" in answer["message"]


def test_a_message_of_many_times_the_limit_cuts_the_connection_only(home: Service, raw: Raw) -> None:
    raw.socket.send(b"x" * 1_000_000)
    other = Raw(home)
    assert other.ask(**SEND)["op"] == "Reply"
    other.context.destroy(linger=0)


def test_random_bytes_and_mutated_messages_are_all_answered_and_change_nothing(home: Service, raw: Raw) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    before = home.counted()
    good = msgpack.packb({**SEND, "args": [1, {"a": [None, 2.5]}], "session": "fuzz", "seq": 1})
    for number in range(2_000):
        if number % 2:
            frame = dice.randbytes(dice.randrange(1, 200))
        else:
            mutated = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                mutated[dice.randrange(len(mutated))] = dice.randrange(256)
            frame = bytes(mutated)
        answer = raw.say(frame)
        assert answer["op"] in ("Error", "Reply"), f"seed {seed}, frame {frame!r}"
    assert home.counted() == before
    assert raw.ask(**SEND)["op"] == "Reply"


def test_a_tool_that_goes_away_before_its_answer_harms_nobody(home: Service) -> None:
    for _ in range(20):
        raw = Raw(home)
        raw.socket.setsockopt(zmq.LINGER, 1000)
        raw.socket.send(msgpack.packb({**SEND, "selector": "later_", "args": [0.05]}))
        raw.context.destroy()
    other = Raw(home)
    assert other.ask(**SEND)["op"] == "Reply"
    other.context.destroy(linger=0)


def test_a_frame_whose_id_cannot_be_read_says_so(raw: Raw) -> None:
    assert raw.say(b"\xc1")["details"] == {"malformed": True}
    assert raw.ask(**{**SEND, "args": "text"})["details"] == {}


def test_a_floor_that_is_not_below_its_number_is_refused_and_the_session_goes_on(raw: Raw) -> None:
    numbered = {**SEND, "session": "floors", "seq": 1}
    for floor in (1, 10**9 - 1):
        answer = raw.ask(**numbered, floor=floor)
        assert (answer["type"], "floor" in answer["message"]) == ("BadRequest", True)
    assert raw.ask(**numbered, floor=0)["op"] == "Reply"


def test_a_waiting_message_can_be_cancelled_and_a_running_one_goes_on(home: Service, raw: Raw) -> None:
    cancel = {"op": "Cancel", "session": "regret"}
    assert raw.ask(**SEND)["op"] == "Reply", "from now on it is known that what comes from here is light"
    assert raw.ask(**cancel, id=1, seq=1)["result"] == "unknown"
    raw.socket.send(msgpack.packb({**SEND, "id": 2, "selector": "later_", "args": [0.3], "session": "regret", "seq": 1}))
    answer = raw.ask(**cancel, id=3, seq=1)
    assert answer["result"] == "running", answer
    assert raw.hear()["id"] == 2
    raw.socket.send(msgpack.packb({**SEND, "id": 4, "via": "uvm-nowhere", "session": "regret", "seq": 2}))
    raw.socket.send(msgpack.packb({**cancel, "id": 5, "seq": 2}))
    assert (raw.hear()["type"], raw.hear()["result"]) == ("Cancelled", "dropped")
