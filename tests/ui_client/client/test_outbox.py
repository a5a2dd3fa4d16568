"""Numbers, resending, floor and deadlines of a client, without sockets or a clock."""

from typing import Any

import pytest

from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError
from ui_client.client.outbox import LONGEST_BACK_OFF_S, PATIENCE_S, RESEND_S, SLACK_S, Outbox
from uvm.protocol import Busy, CreateMethod, Error, Hello, Inspect, Reply, Request, Send, Welcome, decode_request, encode


def outbox() -> Outbox:
    return Outbox("me", "a test", first_patience_s=5.0, jitter=lambda: 0.0)


def send(*args: Any) -> Send:
    return Send(id=0, target="x", selector="echo", args=list(args))


def sent(box: Outbox, now: float) -> list[Request]:
    """What is sent at `now`, but for greetings."""
    requests = [decode_request(frame) for frame in box.due(now)]
    return [request for request in requests if not isinstance(request, Hello)]


def reply(box: Outbox, id: int, now: float = 0.0) -> list[Any]:
    return [ended.outcome for ended in box.received(encode(Reply(id, "done")), now)]


def test_changing_messages_are_numbered_in_one_session_and_others_are_not() -> None:
    box = outbox()
    for request in (send(1), Inspect(0, "x"), CreateMethod(id=0, target="x", selector="m", source="def m(self): pass")):
        box.add(request, 0.0, 10.0)
    first, second, third = sent(box, 0.0)
    assert (first.session, first.seq, third.session, third.seq) == ("me", 1, "me", 2)
    assert [first.id, second.id, third.id] == [1, 2, 3]


def test_an_unanswered_message_is_sent_again_with_its_number_and_what_is_left_of_its_deadline() -> None:
    box = outbox()
    box.add(send(1), 0.0, 10.0)
    (first,) = sent(box, 0.0)
    assert sent(box, RESEND_S / 2) == []
    (again,) = sent(box, RESEND_S)
    assert (again.id, again.seq, again.args) == (first.id, first.seq, [1])
    assert (first.deadline_ms, again.deadline_ms) == (10_000, 10_000 - int(RESEND_S * 1000))
    assert reply(box, 1) and sent(box, 3 * RESEND_S) == []


def test_the_caller_may_change_its_values_while_the_message_is_under_way() -> None:
    box = outbox()
    values = {"k": [1]}
    box.add(send(values), 0.0, 10.0)
    values["k"].append(2)
    assert sent(box, 0.0)[0].args == [{"k": [1]}]


def test_the_floor_is_the_number_below_which_everything_is_answered() -> None:
    box = outbox()
    for _ in range(4):
        box.add(send(), 0.0, 10.0)
    floors = [box.floor]
    for id in (2, 1, 4, 3):
        reply(box, id)
        floors.append(box.floor)
    assert floors == [0, 0, 2, 2, 4]
    box.add(send(), 0.0, 10.0)
    assert (sent(box, 0.0)[0].seq, box.floor) == (5, 4)


def test_the_floor_travels_with_every_sending() -> None:
    box = outbox()
    box.add(send(), 0.0, 10.0)
    box.add(send(), 0.0, 10.0)
    sent(box, 0.0)
    reply(box, 1)
    assert sent(box, RESEND_S)[0].floor == 1


def test_a_number_that_was_given_up_does_not_hold_the_floor() -> None:
    box = outbox()
    box.add(send(), 0.0, 1.0)
    box.add(send(), 0.0, 60.0)
    box.received(encode(Welcome(0, 1, "", 1)), 1.0)
    assert len(box.expired(1.0 + SLACK_S)) == 1
    reply(box, 2)
    assert box.floor == 2


def test_answers_to_what_is_over_are_ignored() -> None:
    box = outbox()
    box.add(send(), 0.0, 10.0)
    assert len(reply(box, 1)) == 1
    assert reply(box, 1) == [] and reply(box, 99) == []


def test_an_error_becomes_a_remote_error_with_everything_in_it() -> None:
    box = outbox()
    box.add(send(), 0.0, 10.0)
    (ended,) = box.received(encode(Error(1, "NotAllowed", "no", "ask", {"a": 1})), 0.0)
    error = ended.outcome
    assert isinstance(error, RemoteError)
    assert (error.type, error.message, error.remedy, error.details, str(error)) == ("NotAllowed", "no", "ask", {"a": 1}, "NotAllowed: no")


def test_busy_is_waited_out_for_longer_each_time() -> None:
    box = outbox()
    box.add(send(), 0.0, 1000.0)
    sent(box, 0.0)
    now, waits = 0.0, []
    for _ in range(8):
        box.received(encode(Busy(1, 250)), now)
        wait = next(step / 100 for step in range(1, 1000) if sent(box, now + step / 100))
        waits.append(wait)
        now += wait
    assert waits[:4] == pytest.approx([0.25, 0.5, 1.0, 2.0], abs=0.011)
    assert max(waits) <= LONGEST_BACK_OFF_S + 0.01


def test_on_a_new_connection_everything_is_sent_again_at_once_also_what_the_last_bridge_was_too_busy_for() -> None:
    box = outbox()
    for number in range(3):
        box.add(send(number), 0.0, 1000.0)
    first = sent(box, 0.0)
    box.received(encode(Busy(2, 60_000)), 0.0)
    assert reply(box, 3) and box.resent == 0
    box.reconnected()
    again = [decode_request(frame) for frame in box.due(0.1)]
    assert isinstance(again[0], Hello), "and whether somebody is there"
    numbers = [(request.id, request.seq) for request in [*first, *again[1:]] if isinstance(request, Send)]
    assert numbers == [(1, 1), (2, 2), (3, 3), (1, 1), (2, 2)]
    assert box.resent == 2 and sent(box, 0.2) == []


def test_busy_until_the_deadline_is_bridge_busy() -> None:
    box = outbox()
    box.add(send(), 0.0, 1.0)
    sent(box, 0.0)
    box.received(encode(Busy(1, 60_000)), 0.9)
    (ended,) = box.expired(1.0 + SLACK_S)
    assert isinstance(ended.outcome, BridgeBusy)


def test_a_bridge_that_was_never_heard_is_unreachable_soon() -> None:
    box = outbox()
    box.add(send(), 0.0, 1000.0)
    assert box.expired(4.9) == []
    (ended,) = box.expired(5.0)
    assert isinstance(ended.outcome, BridgeUnreachable)
    assert len(box) == 0


def test_a_bridge_that_was_heard_before_has_time_to_restart() -> None:
    box = outbox()
    box.received(encode(Welcome(0, 1, "", 1)), 0.0)
    box.add(send(), 100.0, 1000.0)
    assert box.expired(100.0 + PATIENCE_S - 0.1) == []
    (ended,) = box.expired(100.0 + PATIENCE_S)
    assert isinstance(ended.outcome, BridgeUnreachable)


def test_a_slow_answer_is_no_silence_because_greetings_are_answered() -> None:
    box = outbox()
    box.add(send(), 0.0, 1000.0)
    for second in range(0, 200, 2):
        assert any(isinstance(decode_request(frame), Hello) for frame in box.due(float(second)))
        box.received(encode(Welcome(0, 1, "", 1)), float(second))
        assert box.expired(float(second)) == []


def test_a_deadline_that_the_bridge_let_pass_leaves_the_outcome_unknown() -> None:
    box = outbox()
    box.add(send(), 0.0, 1.0)
    box.received(encode(Welcome(0, 1, "", 1)), 0.9)
    assert box.expired(1.0) == [], "the bridge's own answer knows more"
    (ended,) = box.expired(1.0 + SLACK_S)
    assert isinstance(ended.outcome, RemoteError)
    assert (ended.outcome.type, ended.outcome.details) == ("DeadlineExceeded", {"outcome": "unknown"})


def test_a_bridge_of_other_versions_ends_everything_under_way() -> None:
    box = outbox()
    box.add(send(), 0.0, 10.0)
    box.add(Inspect(0, "x"), 0.0, 10.0)
    ended = box.received(encode(Error(0, "VersionMismatch", "no", "", {"versions": [9]})), 0.0)
    assert [message.id for message in ended] == [1, 2]
    assert all(isinstance(message.outcome, RemoteError) and message.outcome.type == "VersionMismatch" for message in ended)


@pytest.mark.parametrize("value", [object(), 2**64, {1, object()}, print])
def test_a_value_that_cannot_cross_is_refused_before_anything_is_numbered(value: object) -> None:
    box = outbox()
    with pytest.raises(RemoteError) as raised:
        box.add(send(value), 0.0, 10.0)
    assert raised.value.type == "BadValue"
    box.add(send(), 0.0, 10.0)
    assert sent(box, 0.0)[0].seq == 1


def test_a_message_out_of_bounds_is_refused_before_it_is_sent() -> None:
    with pytest.raises(RemoteError, match="selector") as raised:
        outbox().add(Send(id=0, target="x", selector="no spaces"), 0.0, 10.0)
    assert raised.value.type == "BadRequest"


def test_closing_ends_everything() -> None:
    box = outbox()
    box.add(send(), 0.0, 10.0)
    (ended,) = box.abandon()
    assert isinstance(ended.outcome, ClientError) and len(box) == 0
