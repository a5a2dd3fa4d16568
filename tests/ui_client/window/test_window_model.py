"""What the window knows and asks for, without a window, a clock or a socket."""

from itertools import pairwise

import pytest

from ui_client.choices import OfferedChoice
from ui_client.morphs import Column, Field, Graph, Items, Label
from ui_client.values import BadArgument
from ui_client.window import model as window_model
from ui_client.window.model import (
    AskedBack,
    AskFace,
    AskSnapshot,
    AskStatus,
    ClockTick,
    Event,
    FaceFailed,
    FaceSeen,
    Inspected,
    Instruction,
    Linked,
    Refusal,
    Replied,
    Sending,
    Snapshot,
    Unlinked,
    View,
    step,
)
from uvm.protocol import Change, Example, ObjectState, Progress, Reference, StateUpdate

GENESIS = Reference.parse("@1")
OTHER = Reference.parse("@2")


def tid(number: int) -> bytes:
    return number.to_bytes(8, "big")


def state(reference: Reference, *names: str, **slots: object) -> ObjectState:
    return ObjectState(reference=reference, names=list(names), slots=slots, parents=[], methods={})


def update(number: int, *changes: Change) -> StateUpdate:
    return StateUpdate(tid=tid(number), uvm="uvm-1", changes=list(changes))


def run(events: list[tuple[float, Event]], view: View | None = None) -> tuple[View, list[tuple[float, Instruction]]]:
    view = view or View()
    requests: list[tuple[float, Instruction]] = []
    for at, event in events:
        view, instructions = step(view, event, at)
        requests += [(at, instruction) for instruction in instructions]
    return view, requests


SYNCED = [(0.0, ClockTick()), (0.1, Linked(2)), (0.2, Snapshot(tid(5), [state(GENESIS, "genesis_obj", name="genesis_obj", clones=0)]))]


def test_the_window_asks_for_status_then_for_everything() -> None:
    view, requests = run(SYNCED)
    assert [instruction for _, instruction in requests] == [AskStatus(), AskSnapshot(), AskFace()]
    assert view.status == "connected   transaction 5   1 objects   2 UVMs"


def test_before_the_bridge_answers_it_says_connecting_and_asks_again() -> None:
    view, requests = run([(0.0, ClockTick()), (0.5, ClockTick()), (1.0, Unlinked("no")), (1.1, ClockTick()), (2.0, ClockTick())])
    assert view.link == "reconnecting"
    assert requests == [(0.0, AskStatus()), (2.0, AskStatus())]


def test_a_state_update_moves_the_status_line_and_asks_for_the_face_again() -> None:
    view, _ = run([*SYNCED, (0.3, FaceSeen({"morph": "label", "text": "old"}))])
    view, requests = run([(5.0, update(6, Change(OTHER, [], {"price": 3}, [])))], view)
    assert requests == [(5.0, AskStatus()), (5.0, AskFace())]
    assert "transaction 6   2 objects" in view.status


def test_many_updates_ask_for_the_face_at_most_once_a_second() -> None:
    view, _ = run([*SYNCED, (0.3, FaceSeen({"morph": "label", "text": "old"}))])
    events: list[tuple[float, Event]] = []
    for number in range(100):
        at = 1.0 + number / 20
        events += [(at, update(10 + number, Change(GENESIS, ["genesis_obj"], {"clones": number}, []))), (at, FaceSeen(number))]
    _, requests = run(events, view)
    times = [at for at, instruction in requests if instruction == AskFace()]
    assert 4 <= len(times) <= 6
    assert all(later - earlier >= window_model.FACE_INTERVAL_S for earlier, later in pairwise(times))


def test_the_last_update_of_a_burst_is_not_forgotten() -> None:
    view, _ = run([*SYNCED, (0.3, FaceSeen(1)), (1.3, update(6, Change(GENESIS, [], {"clones": 1}, [])))])
    _, requests = run(
        [(1.4, update(7, Change(GENESIS, [], {"clones": 2}, []))), (1.5, FaceSeen(2)), (1.6, ClockTick()), (2.4, ClockTick())], view
    )
    assert (2.4, AskFace()) in requests


def test_updates_that_arrive_before_the_snapshot_are_applied_after_it() -> None:
    early = update(4, Change(OTHER, ["old"], {"a": 1}, []))
    late = update(6, Change(OTHER, ["new"], {"a": 1}, []))
    view, _ = run([(0.0, Linked(1)), (0.1, early), (0.2, late), (0.3, Snapshot(tid(5), [state(GENESIS, "genesis_obj")]))])
    assert {row.names for row in view.rows.values()} == {("genesis_obj",), ("new",)}
    assert view.tid == tid(6)


def test_after_a_broken_connection_it_starts_from_a_new_snapshot() -> None:
    view, requests = run([*SYNCED, (3.0, Unlinked("gone")), (4.0, Linked(2))])
    assert (4.0, AskSnapshot()) in requests and (4.0, AskFace()) in requests
    view, _ = run([(4.1, Snapshot(tid(9), [state(OTHER, "b")]))], view)
    assert [row.title for row in view.in_order()] == ["b  (0)"]


def test_a_face_that_is_a_tree_is_parsed_and_a_broken_one_explained() -> None:
    view, _ = run([*SYNCED, (1.0, FaceSeen({"morph": "label", "text": "hello"}))])
    assert view.face == Label("hello")
    view, _ = run([(1.0, FaceSeen({"morph": "label", "text": ["x"]}))], view)
    assert view.face is None and "not a morph" in view.face_note
    view, _ = run([(1.0, FaceSeen(7))], view)
    assert view.face == Label("7")


def test_a_missing_face_is_said_and_not_generated() -> None:
    view, _ = run([*SYNCED, (1.0, FaceSeen(None, understood=False))])
    assert view.face is None and "does not understand display_yourself" in view.face_note


def test_a_face_that_failed_keeps_the_last_one() -> None:
    view, _ = run([*SYNCED, (1.0, FaceSeen({"morph": "label", "text": "hello"})), (2.0, FaceFailed("TicksSpent: too much"))])
    assert view.face == Label("hello") and view.face_note == "TicksSpent: too much"


def test_an_installed_method_asks_for_the_face_again() -> None:
    view, _ = run([*SYNCED, (0.3, FaceSeen(None, understood=False))])
    installed = Progress(message=OTHER, selector="display_yourself", receiver=GENESIS, stage="installed")
    view, requests = run([(2.5, installed)], view)
    assert (2.5, AskFace()) in requests and "display_yourself: installed" in view.status


def test_a_message_and_its_reply_are_shown() -> None:
    view, _ = run([*SYNCED, (0.5, Sending("genesis_obj clone"))])
    assert view.reply == "> genesis_obj clone\n…"
    view, _ = run([(0.0, Replied("genesis_obj clone", {"made": GENESIS}))], view)
    assert view.reply == "> genesis_obj clone\n{'made': genesis_obj}"
    view, _ = run([(0.0, Refusal("a b", "NoSuchObject: \x1b[2J"))], view)
    assert view.reply == "> a b\nNoSuchObject: \\x1b[2J"


def test_a_clicked_object_is_shown_with_slots_parents_and_methods() -> None:
    state = ObjectState(reference=OTHER, names=["cart"], slots={"price": 3}, parents=[GENESIS], methods={"total": GENESIS})
    view, _ = run([(0.0, Inspected(state))])
    assert isinstance(view.inspected, Column)
    assert Field("price", 3, OTHER) in view.inspected.children
    assert view.inspected.children[-2:] == [Items("parents", [GENESIS]), Items("methods", ["total"])]


def test_of_the_autotelic_loop_s_object_the_metric_is_shown_as_a_curve() -> None:
    state = ObjectState(reference=OTHER, names=["autotelic_obj"], slots={}, parents=[GENESIS], methods={})
    view, _ = run([(0.0, Inspected(state, (0.25, 0.5)))])
    assert isinstance(view.inspected, Column)
    assert Graph("Composite Entropy Metric, now 0.500", [0.25, 0.5]) in view.inspected.children


def test_the_message_field_reads_like_the_command_line() -> None:
    assert window_model.command("cart add 'red wine' 3 @2") == ("cart", "add", ["red wine", 3, OTHER])
    assert window_model.command("@1 clone") == (GENESIS, "clone", [])
    for broken in ("", "cart", "cart add 'x", "@zz clone"):
        with pytest.raises(BadArgument):
            window_model.command(broken)


CHOICES = (OfferedChoice(Example(result=10.0)), OfferedChoice(Example(result=None, changed={"owner": OTHER})))
ASKED = AskedBack("cart", "total_price", (), CHOICES)


def test_a_question_is_shown_until_the_next_message_or_its_answer() -> None:
    view, _ = run([*SYNCED, (0.3, Snapshot(tid(6), [state(OTHER, "ann")])), (1.0, Refusal("cart total_price", "Refused: which?", ASKED))])
    assert window_model.answers(view) == ["10.0", "None, owner becomes ann"]
    for event in (Sending("cart total_price"), Replied("cart total_price", 10.0), Refusal("cart fly", "NotUnderstood: no")):
        assert window_model.answers(step(view, event, 2.0)[0]) == []
