"""Answers that are exact or refused, bounded by the frame, and read in parts; several sends in one transaction; compare and set."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from tests.uvm.images import Bench, awakened
from uvm.errors import BadValue
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.protocol import GetFullState, Inspect, Part, Read, Reference, Result, State, Step, Transaction, decode_value, encode, encode_value
from uvm.values import exact
from uvm.values.crossing import to_wire, wire_bytes

_numbers = count(1)
FRAME = 4_000_000


@pytest.fixture
def bench() -> Iterator[Bench]:
    with awakened() as image:
        yield Bench(image)


def ask(bench: Bench, request: Any) -> Any:
    """The result, State or Part of a request; its error when it failed."""
    (outcome,) = bench.run(Delivery(next(_numbers), encode(request), "local", False, 0.0, 60.0))
    if isinstance(outcome, Failed):
        return outcome.error
    assert isinstance(outcome, Answered)
    return outcome.state if outcome.state is not None else decode_value(outcome.result)


def answer(bench: Bench, body: str) -> Any:
    """What a method answers."""
    bench.install("genesis_obj", "tried", f"def tried(self):\n    {body}\n")
    outcome = bench.send("genesis_obj", "tried")
    return outcome.error if isinstance(outcome, Failed) else decode_value(outcome.result)


@pytest.mark.parametrize(
    ("body", "type_"),
    [("return {None: 1}", "nil"), ("return [{'a': {True: 1}}]", "boolean"), ("return {1.5: 2}", "float")],
)
def test_a_key_that_cannot_be_carried_is_named_with_its_type(bench: Bench, body: str, type_: str) -> None:
    error = answer(bench, body)
    assert (error.type, error.details["type"]) == ("BadValue", type_)


def test_the_place_of_a_bad_key_is_in_the_error(bench: Bench) -> None:
    assert answer(bench, "return [0, {'a': {1.5: 2}}]").details["path"] == [1, "a"]


def test_integers_and_texts_as_keys_stay_what_they_are(bench: Bench) -> None:
    assert answer(bench, "return {1: 'integer', '1': 'text', -5: [{2: None}]}") == {1: "integer", "1": "text", -5: [{2: None}]}


@pytest.mark.parametrize(
    "body",
    [
        "s = 'x' * 3000000\n    return [s] * 60",
        "a = [1]\n    for n in range(28):\n        a = [a, a]\n    return a",
        "self.kept = 'x' * 5000000\n    return self.kept",
    ],
)
def test_an_answer_past_a_frame_is_refused_with_its_size_and_changes_nothing(bench: Bench, body: str) -> None:
    error = answer(bench, body)
    assert error.type == "TooLarge" and error.details["bytes"] > error.details["limit"] <= FRAME
    assert "kept" not in ask(bench, Inspect(1, "genesis_obj"))["slots"]


def test_the_size_that_is_said_is_the_size_on_the_wire() -> None:
    shared: Any = ["é", 300, -1, 1.5, None, b"xy", {"k": 2**40, -3: "x" * 40}]
    value = [shared, shared, {"again": shared}]
    assert wire_bytes(value) == len(encode_value(value))
    shared.append(shared)
    with pytest.raises(BadValue):
        wire_bytes(shared)


def no_reference(target: Any) -> Reference:
    raise AssertionError(target)


def test_a_frame_is_counted_before_it_is_read() -> None:
    most = exact.CONTAINERS
    for value in ([[]] * most, {"k": [{}] * most}, [[1, "x" * 40, 2.5, b"\x90" * 300]] * most):
        with pytest.raises(msgspec.DecodeError, match="arrays and maps"):
            exact.check_containers(encode_value(value))
    for value in ([[]] * (most - 1), b"\x90" * 10**6, ["ἀρχή" * 60] * 2000, [140] * 200_000, [0.1 * number for number in range(400_000)]):
        exact.check_containers(encode_value(value))
    exact.check_containers(b"\xdd" * (most + 1))


def test_an_answer_or_a_slot_of_too_many_containers_is_refused(bench: Bench) -> None:
    many = "[[] for i in range(150000)]"
    assert answer(bench, f"return {many}").type == "BadValue"
    assert answer(bench, f"self.tags = {many}").type in ("BadValue", "MethodFailed")


ROWS: list[list[Any]] = [[1, True] * 20, [2.5] * 20, ["a"] * 20, ["λ"] * 20, [2**64 - 1, -(2**63)] * 9, [1, 2.5] * 20, ["x" * 300] * 20]


@pytest.mark.parametrize("row", ROWS)
def test_rows_go_as_they_are(row: list[Any]) -> None:
    assert wire_bytes(row) == len(encode_value(row))
    assert [(type(cell), cell) for cell in to_wire(row, no_reference)] == [(type(cell), cell) for cell in row]


@pytest.mark.parametrize("bad", [2**64, -(2**63) - 1, "\ud800"])
def test_one_bad_item_in_a_row_is_named(bad: Any) -> None:
    row = [type(bad)(1)] * 20 + [bad]
    with pytest.raises(BadValue, match=r"\[20\]"):
        to_wire(row, no_reference)


def test_merging_values_beside_each_other_keep_what_is_theirs(bench: Bench) -> None:
    assert answer(bench, "return [merging_set([n, -n]) for n in range(1, 60)]") == [[n, -n] for n in range(1, 60)]


def whole(bench: Bench, target: Any, *path: str | int) -> Any:
    """A value from its parts, which must be of one moment."""
    values, offset, tid = [], 0, b""
    while True:
        answer = ask(bench, Read(1, target, list(path), offset=offset, tid=tid))
        assert isinstance(answer, Part) and len(encode(answer)) <= FRAME
        values.append(answer.value)
        offset, tid = answer.next, answer.tid
        if not offset:
            break
        bench.send(target, "setSlot_value_", "moved", len(values))
    assert len(values) > 1
    if isinstance(values[0], dict):
        return {key: value for answer in values for key, value in answer.items()}
    return "".join(values) if isinstance(values[0], str) else [value for answer in values for value in answer]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.value = 'é' * 3000000", "é" * 3_000_000),
        ("self.value = ['x' * 100000] * 90", ["x" * 100_000] * 90),
        ("self.value = {n: 'x' * 1000000 for n in range(9)}", dict.fromkeys(range(9), "x" * 1000000)),
    ],
    ids=["text", "array", "map"],
)
def test_a_large_slot_is_named_in_pages_and_read_in_parts_of_one_moment(bench: Bench, body: str, expected: Any) -> None:
    answer(bench, body)
    state = ask(bench, Inspect(1, "genesis_obj"))
    assert "value" not in state["slots"] and state["large"]["value"]["length"] == len(expected) and not state["cut"]
    page = ask(bench, GetFullState(1))
    assert isinstance(page, State) and len(encode(page)) <= FRAME
    assert whole(bench, "genesis_obj", "value") == expected


def test_an_item_past_a_frame_is_read_by_its_path(bench: Bench) -> None:
    answer(bench, "self.value = {'a': ['x' * 5000000, 1]}")
    error = ask(bench, Read(1, "genesis_obj", ["value"]))
    assert error.type == "TooLarge" and error.details["path"] == ["value", "a"]
    assert ask(bench, Read(1, "genesis_obj", ["value", "a", 0], offset=4_999_999)).value == "x"


def test_pages_end_early_and_leave_nothing_out(bench: Bench) -> None:
    clones = [answer_of(bench, "genesis_obj", "clone") for _ in range(6)]
    for number, clone in enumerate(clones):
        bench.send(clone, "setSlot_value_", "text", "x" * 1_500_000)
        bench.send(clone, "nameAs_", f"large {number}")
    objects, after, tid, pages = [], b"", b"", 0
    while after or not pages:
        page = ask(bench, GetFullState(1, after=after, tid=tid))
        assert len(encode(page)) <= FRAME
        objects, after, tid, pages = [*objects, *page.objects], page.after, page.tid, pages + 1
    assert (
        pages > 2 and {state.reference for state in objects} >= set(clones) and len({state.reference for state in objects}) == len(objects)
    )


def answer_of(bench: Bench, *message: Any) -> Any:
    outcome = bench.send(*message)
    assert isinstance(outcome, Answered)
    return decode_value(outcome.result)


def test_a_transaction_uses_earlier_results_and_is_all_or_nothing(bench: Bench) -> None:
    priced = Step(Result(0), "setSlot_value_", ["price", 3])
    results = ask(bench, Transaction(id=1, sends=[Step("genesis_obj", "clone"), priced, Step(Result(0), "nameAs_", ["item"])]))
    assert isinstance(results[0], Reference) and results == [results[0]] * 3
    steps = [Step("item", "setSlot_value_", ["price", 9]), Step("item", "clone"), Step("item", "removeSlot_", ["no_such_slot"])]
    assert ask(bench, Transaction(id=1, sends=steps)).type == "NotAllowed"
    assert answer_of(bench, "item", "price") == 3


def test_a_result_in_a_transaction_is_a_value_of_its_own(bench: Bench) -> None:
    bench.send("genesis_obj", "setSlot_value_", "first", [1])
    copy = Step("genesis_obj", "setSlot_value_", ["second", {"of": Result(0)}])
    bench.install("genesis_obj", "grow", "def grow(self):\n    self.first.append(2)\n    self._p_changed = True\n")
    ask(bench, Transaction(id=1, sends=[Step("genesis_obj", "first"), copy, Step("genesis_obj", "grow")]))
    assert (answer_of(bench, "genesis_obj", "first"), answer_of(bench, "genesis_obj", "second")) == ([1, 2], {"of": [1]})


def test_compare_and_set_takes_types_as_they_are(bench: Bench) -> None:
    def swap(expected: Any, value: Any) -> Any:
        return answer_of(bench, "genesis_obj", "compareAndSet_", "n", expected, value)

    assert swap(None, 1) is False  # a slot that is not there holds nothing, not even nil
    bench.send("genesis_obj", "setSlot_value_", "n", 1)
    assert [swap(True, 2), swap(1.0, 2), swap(1, {"a": [float("nan")]})] == [False, False, True]
    assert swap({"a": [float("nan")]}, 5) is True and answer_of(bench, "genesis_obj", "n") == 5
