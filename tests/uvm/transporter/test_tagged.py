"""Values as exports write them come back as they were, whatever they are, through JSON and through MessagePack."""

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvm.errors import BadExport, BadValue
from uvm.objects import Counter, Merging, MergingQueue, MergingSet, MergingVector, UvmObject
from uvm.values.tagged import TAGS, tagged, untagged

OBJECTS = [UvmObject({"number": number}) for number in range(3)]


def name(target: Any) -> dict[str, Any]:
    return {"ref": f"#{OBJECTS.index(target)}"}


def find(tag: str, content: Any) -> Any:
    return OBJECTS[int(content[1:])]


def vector(length: int, numbers: dict[int, int]) -> MergingVector:
    filled = MergingVector(length)
    for position, number in numbers.items():
        filled.numbers[position % length] = number
    return filled


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [*sorted(TAGS), "a line\n" * 20, "no end\n" * 9 + "x", "\r\n\u2028" * 40]
)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS | st.binary()
MEMBERS = st.integers().filter(lambda number: -(2**63) <= number < 2**64) | TEXTS | st.binary()
KEYS = TEXTS | INTEGERS
MERGING = (
    st.builds(Counter, INTEGERS | st.floats(allow_nan=False))
    | st.builds(MergingSet, st.lists(MEMBERS | st.tuples(TEXTS, TEXTS) | st.sampled_from(OBJECTS)))
    | st.builds(vector, st.integers(1, 300), st.dictionaries(st.integers(0, 299), st.integers(-32768, 32767)))
)
VALUES = st.recursive(
    SCALARS | MERGING | st.sampled_from(OBJECTS),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.builds(MergingQueue, st.lists(inner), st.integers(0, 9)),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """Something that is equal for the same values alone."""
    if isinstance(value, UvmObject):
        return id(value)
    if isinstance(value, Merging):
        return (type(value), exact(value.__getstate__()))
    if isinstance(value, dict):
        return ("map", [(exact(key), exact(element)) for key, element in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), [exact(element) for element in value])
    return (type(value), repr(value))


@given(VALUES)
@settings(max_examples=60)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    tree = tagged(value, name)
    through_json = json.loads(json.dumps(tree, allow_nan=False, ensure_ascii=False))
    assert exact(untagged(through_json, find)) == exact(value)
    assert exact(untagged(msgspec.msgpack.decode(msgspec.msgpack.encode(tree)), find)) == exact(value)


@given(VALUES)
@settings(max_examples=60)
def test_what_is_written_again_is_written_the_same(value: Any) -> None:
    tree = tagged(value, name)
    assert json.dumps(tagged(untagged(tree, find), name)) == json.dumps(tree)


def test_a_long_text_has_a_line_for_each_of_its_own() -> None:
    text = "".join(f"the line with the number {number}\n" for number in range(9)) + "the last"
    lines = tagged(text, name)["text"]
    assert len(lines) == 10 and "".join(lines) == text


@pytest.mark.parametrize(
    "tree",
    [
        {"bytes": "no base64!"},
        {"bytes": 7},
        {"number": "7"},
        {"number": ["nan"]},
        {"integer": "a"},
        {"integer": "9" * 5000},
        {"text": "lines"},
        {"text": [1]},
        {"map": [[1]]},
        {"map": [[1, 2], [1, 3]]},
        {"map": [[[1], 2]]},
        {"counter": "1"},
        {"counter": True},
        {"set": [1, 1]},
        {"set": [[1]]},
        {"queue": []},
        {"queue": {"taken": -1, "items": []}},
        {"queue": {"taken": 0, "items": [], "more": 1}},
        {"vector": {"length": 1 << 40, "numbers": {}}},
        {"vector": {"length": 2, "numbers": {"2": 1}}},
        {"vector": {"length": 2, "numbers": {"0": 40000}}},
        {"vector": {"length": 2, "numbers": {"²": 1}}},
        2**60,
        msgspec.msgpack.Ext(1, b"12345678"),
        {1: 2},
        b"bytes",
    ],
    ids=lambda tree: repr(tree)[:40] if isinstance(tree, dict | int | bytes) else type(tree).__name__,
)
def test_what_is_no_value_is_refused_by_its_type(tree: Any) -> None:
    with pytest.raises(BadExport):
        untagged({"inside": [tree]}, find)


def deep(inner: Callable[[Any], Any], times: int) -> Any:
    tree: Any = 1
    for _ in range(times):
        tree = inner(tree)
    return tree


def test_depth_is_bounded_both_ways() -> None:
    assert untagged(tagged(deep(lambda tree: [tree], 64), name), find) == deep(lambda tree: [tree], 64)
    with pytest.raises(BadValue):
        tagged(deep(lambda tree: [tree], 65), name)
    with pytest.raises(BadExport):
        untagged(deep(lambda tree: [tree], 5000), find)


def test_not_a_number_is_one_still() -> None:
    assert math.isnan(untagged(tagged(math.nan, name), find))
