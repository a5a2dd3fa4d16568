"""Perturbed copies: the same types and shapes, other values, and the same ones whenever they are asked for."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from uvm.trial.variation import MODES, Variation

SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=12
)


def same_shape(before: Any, after: Any) -> Any:
    """Whether the one may stand where the other stood."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return set(after) <= set(before) and all(same_shape(before[key], value) for key, value in after.items())
    if isinstance(before, list):
        return all(any(type(value) is type(present) for present in before) for value in after)
    return not isinstance(before, int | float) or isinstance(before, bool) or before < 0 or after >= 0


@settings(deadline=None)
@given(VALUES, st.integers(0, 31))
def test_another_value_has_the_type_and_the_shape_of_the_first_and_is_the_same_every_time(value: Any, number: int) -> None:
    varied = Variation("key", number).value("place", value)
    assert same_shape(value, varied)
    assert Variation("key", number).value("place", value) == varied


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=6), st.integers(1, 1000), min_size=1, max_size=6))
def test_slots_are_changed_in_most_copies(slots: Any) -> None:
    copies = [Variation("key", number).slots("", slots) for number in range(len(MODES))]
    assert all(set(copy) == set(slots) for copy in copies)
    assert sum(copy != slots for copy in copies) >= len(MODES) // 2


def test_the_copies_have_edges_and_rows_keep_their_keys() -> None:
    rows = [{"name": "bolt", "state": "open", "price": 2.5}, {"name": "nut", "state": "sold", "price": 1.0}]
    slots = {"rows": rows, "count": 3, "on": True, "title": "shop"}
    copies = [Variation("key", number).slots("", slots) for number in range(32)]
    assert [] in [copy["rows"] for copy in copies] and 0 in [copy["count"] for copy in copies]
    assert {copy["on"] for copy in copies} == {True, False} and "" in [copy["title"] for copy in copies]
    rows_of_copies = [row for copy in copies for row in copy["rows"]]
    assert all(set(row) == set(rows[0]) for row in rows_of_copies)
    assert sum(row["state"] in ("open", "sold") for row in rows_of_copies) > len(rows_of_copies) / 3, (
        "what is compared with is still to be met"
    )
    assert any(len(copy["rows"]) > 2 for copy in copies) and any(len(copy["rows"]) == 1 for copy in copies)


def test_an_argument_mostly_names_what_is_there() -> None:
    among = ["red", "green", 7]
    drawn = [Variation("key", number).value("(0)", "red", among) for number in range(40)]
    assert {"red", "green"} <= set(drawn) and 7 not in drawn
