"""Where a subscriber stands: holes in the numbers, new streams, bad frames."""

import struct

import msgspec
import pytest

from ui_client.client.subscription import Missed, Standing
from uvm.protocol import Progress, Reference, StateUpdate, encode


def position(stream: int, number: int) -> bytes:
    return struct.pack(">QQ", stream, number)


def started(stream: int = 7, state: int = 10) -> Standing:
    standing = Standing(["state", "progress"])
    assert standing.arrived([standing.ready_topic, msgspec.msgpack.encode({"state": state, "progress": 0}), position(stream, 0)]) == []
    return standing


def update(number: int, stream: int = 7) -> list[bytes]:
    return [b"state", encode(StateUpdate(b"t", "uvm-1", [])), position(stream, number)]


EVENT = StateUpdate(b"t", "uvm-1", [])


def test_events_in_order_are_passed_on() -> None:
    standing = started()
    assert [standing.arrived(update(number)) for number in (11, 12)] == [[EVENT], [EVENT]]


def test_events_before_the_subscription_is_confirmed_are_not_counted() -> None:
    assert Standing(["state"]).arrived(update(11)) == []


def test_a_hole_is_noticed_once() -> None:
    standing = started()
    assert standing.arrived(update(13)) == [Missed("state"), EVENT]
    assert standing.arrived(update(14)) == [EVENT]


def test_topics_are_counted_apart() -> None:
    standing = started()
    progress = Progress(Reference(bytes(8)), "m", Reference(bytes(8)), "reified")
    assert standing.arrived([b"progress", encode(progress), position(7, 1)]) == [progress]
    assert standing.arrived(update(11)) == [EVENT]


def test_a_new_stream_means_that_events_may_be_missing() -> None:
    standing = started()
    assert standing.arrived(update(1, stream=8)) == [Missed("state"), EVENT]
    confirmed = [standing.ready_topic, msgspec.msgpack.encode({"state": 1, "progress": 0}), position(8, 0)]
    assert standing.arrived(confirmed) == [Missed("state"), Missed("progress")]
    assert standing.arrived(update(2, stream=8)) == [EVENT]


def test_a_reconnection_that_lost_nothing_is_not_worth_a_word() -> None:
    standing = started()
    standing.arrived(update(11))
    assert standing.arrived([standing.ready_topic, msgspec.msgpack.encode({"state": 11, "progress": 0}), position(7, 0)]) == []


def test_a_reconnection_that_lost_events_says_so() -> None:
    standing = started()
    confirmed = [standing.ready_topic, msgspec.msgpack.encode({"state": 12, "progress": 0}), position(7, 0)]
    assert standing.arrived(confirmed) == [Missed("state")]


@pytest.mark.parametrize("frames", [[], [b"state"], [b"state", b"\xc1", position(7, 11)], [b"state", encode(EVENT), b"short"]])
def test_frames_that_are_no_event_are_dropped(frames: list[bytes]) -> None:
    standing = started()
    assert standing.arrived(frames) == []
    assert standing.arrived(update(11)) == [EVENT]


@pytest.mark.parametrize("topics", [[], ["stat"], ["state", "nonsense"]])
def test_unknown_topics_are_refused_by_name(topics: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed: state, progress"):
        Standing(topics)
