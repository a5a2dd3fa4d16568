"""What counts as right."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import UNSET

from ui_client.evaluation.judging import Observation, judge, same
from ui_client.evaluation.suite import REMOVED, ExpectedOutcome

scalars = some.none() | some.booleans() | some.integers(-(2**63), 2**64 - 1) | some.floats(allow_nan=False) | some.text(max_size=5)
trees = some.recursive(scalars, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=3), inner, max_size=4))


@given(trees)
def test_a_value_is_itself_and_its_tuple(value: Any) -> None:
    assert same(value, value)
    if isinstance(value, list):
        assert same(tuple(value), value)


@given(trees, trees)
def test_equality_goes_both_ways(left: Any, right: Any) -> None:
    assert same(left, right) == same(right, left)


@given(some.floats(-1e12, 1e12), some.floats(-0.9e-9, 0.9e-9))
def test_numbers_are_equal_within_one_part_in_a_thousand_million_and_as_much_absolutely(number: float, off: float) -> None:
    assert same(number, number * (1 + off)) and same(number, number + off)
    assert not same(number, number + 1e-6 * max(1.0, abs(number)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, False),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ([], {}),
        ("a", ["a"]),
        ({"a": 1}, {"a": 1, "b": 2}),
    ],
)
def test_what_is_not_equal(left: Any, right: Any) -> None:
    assert not same(left, right)


def test_an_integer_is_its_float_and_an_object_the_one_of_its_name():
    assert same(7, 7.0) and same([{"a": 0.1 + 0.2}], [{"a": 0.3}]) and same(math.nan, math.nan)
    assert same({"@": "maker"}, {"ref": "maker"}) and not same({"@": "maker"}, {"@": "self"})


ANSWER = ExpectedOutcome(result=10)
MOVED = ExpectedOutcome(changed={"n": 2, "maker.n": 3}, any_result=True)


@pytest.mark.parametrize(
    ("expect", "observed", "why"),
    [
        (ANSWER, Observation(result=10.0), ""),
        (ANSWER, Observation(result=11), "answered 11, not 10"),
        (ANSWER, Observation(result=10, changed={"n": 1}), "n should not change"),
        (ANSWER, Observation(result=10, beyond=["genesis_obj.name"]), "genesis_obj.name should not change"),
        (ANSWER, Observation(error="Refused"), "ended in Refused"),
        (ANSWER, Observation(error="MethodFailed", raised="KeyError"), "ended in KeyError"),
        (MOVED, Observation(result="whatever", changed={"n": 2, "maker.n": 3}), ""),
        (MOVED, Observation(changed={"n": 2}), "maker.n should become 3, and did not change"),
        (MOVED, Observation(changed={"n": 5, "maker.n": 3}), "n should become 2, became 5"),
        (ExpectedOutcome(changed={"n": REMOVED}), Observation(changed={"n": {"@": "removed"}}), ""),
        (ExpectedOutcome(result=None), Observation(result=0), "answered 0"),
        (ExpectedOutcome(raises="KeyError"), Observation(error="MethodFailed", raised="KeyError"), ""),
        (ExpectedOutcome(raises="BadArguments"), Observation(error="BadArguments"), ""),
        (ExpectedOutcome(raises="KeyError"), Observation(result=1), "should raise KeyError"),
        (ExpectedOutcome(refused=True), Observation(error="Refused"), ""),
        (ExpectedOutcome(refused=True), Observation(error="Declined"), ""),
        (ExpectedOutcome(refused=True), Observation(error="Refused", changed={"n": 1}), "changed n"),
        (ExpectedOutcome(refused=True), Observation(error="MethodFailed"), "should be refused"),
        (ExpectedOutcome(refused=True), Observation(result=1), "should be refused"),
        (ExpectedOutcome(contained=True), Observation(result=1, changed={"n": 1}), ""),
        (ExpectedOutcome(contained=True), Observation(error="NotAllowed"), ""),
        (ExpectedOutcome(contained=True), Observation(result=1, changed={"victim.n": 1}), "victim.n"),
        (ExpectedOutcome(contained=True), Observation(beyond=["traits_obj.x"]), "traits_obj.x"),
    ],
)
def test_verdicts(expect: ExpectedOutcome, observed: Observation, why: str) -> None:
    verdict = judge(expect, observed)
    assert verdict.right == (not why)
    assert why in verdict.why


def test_a_result_alone_is_judged_where_no_changes_are_told():
    observed = Observation(result=10, changed={"n": 1})
    assert judge(ANSWER, observed, judge_changed=False).right
    assert not judge(ANSWER, Observation(result=10, beyond=["x.n"]), judge_changed=False).right
    assert ANSWER.changed is UNSET
