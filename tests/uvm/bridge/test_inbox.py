"""What was received is looked at in turns: nobody waits for all that somebody else has sent."""

from hypothesis import given
from hypothesis import strategies as st

from uvm.bridge.inbox import Inbox

SENT = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([b"1", b"2", b"3"])), max_size=60)


def emptied(inbox: Inbox[int]) -> list[int]:
    return [inbox.take() for _ in range(len(inbox))]


@given(SENT)
def test_each_message_comes_out_once_and_those_of_a_connection_in_order(sent: list[tuple[str, bytes]]) -> None:
    inbox: Inbox[int] = Inbox()
    for number, (principal, connection) in enumerate(sent):
        inbox.put(principal, connection, number)
    taken = emptied(inbox)
    assert sorted(taken) == list(range(len(sent)))
    for sender in set(sent):
        of_sender = [number for number in taken if sent[number] == sender]
        assert of_sender == sorted(of_sender)


def test_a_message_waits_for_one_of_each_other_connection_at_most() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(50):
        inbox.put("a", b"flood", number)
    inbox.put("a", b"lone", 100)
    assert 100 in [inbox.take() for _ in range(2)]


def test_a_message_waits_for_one_of_each_other_principal_at_most() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(50):
        inbox.put("a", b"%d" % number, number)
    inbox.put("b", b"lone", 100)
    assert 100 in [inbox.take() for _ in range(2)]
