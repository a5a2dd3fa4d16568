"""Admission is a pure core: random histories are played against its promises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_worker.admission import Admission, Ticket

MAX_STREAMS, MAX_ADAPTERS = 4, 2


def ticket(number: int, group: str = "base", streams: int = 1, adapter: str | None = None) -> Ticket:
    return Ticket((b"c", str(number)), group, streams, adapter)


def keys(tickets: list[Ticket]) -> list[str]:
    return [ticket.key[1] for ticket in tickets]


def test_requests_of_different_groups_never_run_together_and_take_turns() -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    for number, group in enumerate(["base", "lora", "base", "lora"]):
        admission.arrived(ticket(number, group))
    assert keys(admission.admit()) == ["0", "2"]
    admission.arrived(ticket(4, "base"))
    assert admission.admit() == [], "a later arrival must not pass the other group"
    for key in ("0", "2"):
        admission.ended((b"c", key))
    assert keys(admission.admit()) == ["1", "3"]
    for key in ("1", "3"):
        admission.ended((b"c", key))
    assert keys(admission.admit()) == ["4"]


def test_a_request_joins_those_that_run_when_nobody_else_waits() -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    admission.arrived(ticket(0))
    admission.admit()
    admission.arrived(ticket(1))
    assert keys(admission.admit()) == ["1"]


def test_streams_and_adapters_are_bounded_and_nobody_overtakes() -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    for number, (streams, adapter) in enumerate([(3, "a"), (2, "a"), (1, "b")]):
        admission.arrived(ticket(number, "lora", streams, adapter))
    assert keys(admission.admit()) == ["0"]
    admission.ended((b"c", "0"))
    assert keys(admission.admit()) == ["1", "2"]
    admission.arrived(ticket(3, "lora", 1, "c"))
    assert admission.admit() == [], "a third adapter would evict one in use"


def test_a_request_larger_than_the_bound_runs_alone() -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    admission.arrived(ticket(0, streams=16))
    admission.arrived(ticket(1))
    assert keys(admission.admit()) == ["0"]


def test_a_key_is_taken_once() -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    admission.arrived(ticket(0))
    with pytest.raises(ValueError, match="waiting or running"):
        admission.arrived(ticket(0))


arrivals = st.tuples(st.sampled_from(["base", "lora", "alone"]), st.integers(1, 6), st.sampled_from([None, "a", "b", "c"]))


@settings(deadline=None)
@given(st.lists(st.one_of(arrivals, st.integers(0, 5)), max_size=60))
def test_whatever_happens_groups_stay_apart_bounds_hold_and_everybody_gets_a_turn(history: list[tuple[str, int, str | None] | int]) -> None:
    admission = Admission(MAX_STREAMS, MAX_ADAPTERS)
    running: dict[tuple[bytes, str], Ticket] = {}
    waiting: dict[tuple[bytes, str], int] = {}
    turns = 0

    def admit() -> None:
        nonlocal turns
        was_idle = not running
        for admitted in admission.admit():
            running[admitted.key] = admitted
            del waiting[admitted.key]
        if was_idle and running:
            turns += 1
        assert len({one.group for one in running.values()}) <= 1
        assert len(running) == 1 or sum(one.streams for one in running.values()) <= MAX_STREAMS
        assert len({one.adapter for one in running.values()} - {None}) <= MAX_ADAPTERS
        assert running or not waiting, "something waits and nothing runs"

    for number, event in enumerate(history):
        if isinstance(event, int):
            if running:
                ended = list(running)[event % len(running)]
                del running[ended]
                admission.ended(ended)
        else:
            new = ticket(number, *event)
            admission.arrived(new)
            waiting[new.key] = turns
        admit()
    count = len(running) + len(waiting)
    for _ in range(count):
        if not running:
            break
        ended = next(iter(running))
        del running[ended]
        admission.ended(ended)
        admit()
    assert not waiting and not running
