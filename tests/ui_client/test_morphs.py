"""The morph tree: what is accepted, what is refused and where, for every kind of morph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui_client import morphs
from ui_client.morphs import Button, Column, Field, Graph, Items, Label, MorphError, Picture, Row
from uvm.protocol import Reference

GENESIS = Reference.parse("@2a")


def test_a_face_with_every_kind_of_morph_is_parsed() -> None:
    tree = morphs.parse(
        {
            "morph": "column",
            "children": [
                {"morph": "label", "text": "genesis_obj"},
                {"morph": "field", "name": "born", "value": "2026-11-23", "target": GENESIS},
                {"morph": "row", "children": [{"morph": "button", "text": "clone", "selector": "clone", "target": GENESIS, "args": [1]}]},
                {"morph": "list", "title": "objects", "values": [GENESIS, 1, None]},
                {"morph": "graph", "title": "entropy", "numbers": [1, 2.5]},
                {"morph": "image", "width": 2, "height": 3, "png": b"\x89PNG", "caption": "a picture"},
            ],
        }
    )
    assert tree == Column(
        [
            Label("genesis_obj"),
            Field("born", "2026-11-23", GENESIS),
            Row([Button("clone", "clone", GENESIS, [1])]),
            Items("objects", [GENESIS, 1, None]),
            Graph("entropy", [1.0, 2.5]),
            Picture(2, 3, b"\x89PNG", "a picture"),
        ]
    )


@pytest.mark.parametrize(("text", "shown"), [(3.5, "3.5"), (7, "7"), (True, "True"), (None, ""), (GENESIS, "@2a")])
def test_a_label_shows_any_scalar(text: object, shown: str) -> None:
    assert morphs.parse({"morph": "label", "text": text}) == Label(shown)


def test_keys_of_a_newer_image_are_ignored() -> None:
    assert morphs.parse({"morph": "label", "text": "x", "colour": "red"}) == Label("x")


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        (5, "$", "int"),
        ({"text": "x"}, "$", "morph"),
        ({"morph": "slider"}, "$.morph", "allowed: column, row"),
        ({"morph": "column", "children": [{"morph": "label", "text": "x"}, 3]}, "$.children[1]", "int"),
        ({"morph": "column", "children": [{"morph": "label", "text": ["x"]}]}, "$.children[0]", "text is a list"),
        ({"morph": "button", "text": "x", "selector": "__class__"}, "$.selector", "regex"),
        ({"morph": "button", "text": "x"}, "$", "selector"),
        ({"morph": "field", "name": "x", "target": 7}, "$", "target is a int"),
        ({"morph": "graph", "title": "g", "numbers": ["high"]}, "$.numbers[0]", "float"),
        ({"morph": "image", "width": 100_000, "height": 1}, "$.width", "8192"),
    ],
)
def test_what_is_no_morph_is_refused_with_its_place(value: object, path: str, words: str) -> None:
    with pytest.raises(MorphError, match=words) as refused:
        morphs.parse(value)
    assert refused.value.path == path


def nested(depth: int) -> dict[str, object]:
    tree: dict[str, object] = {"morph": "label", "text": "x"}
    for _ in range(depth - 1):
        tree = {"morph": "column", "children": [tree]}
    return tree


def test_the_greatest_depth_is_accepted_and_one_more_is_refused() -> None:
    assert len(list(morphs.walk(morphs.parse(nested(morphs.MAX_DEPTH))))) == morphs.MAX_DEPTH
    with pytest.raises(MorphError, match="deeper than 32"):
        morphs.parse(nested(morphs.MAX_DEPTH + 1))


def test_a_tree_nested_a_hundred_thousand_deep_is_refused_without_harm() -> None:
    with pytest.raises(MorphError, match="deeper"):
        morphs.parse(nested(100_000))


def test_the_most_morphs_are_accepted_and_one_more_is_refused() -> None:
    labels = [{"morph": "label", "text": "x"}] * (morphs.MAX_NODES - 1)
    morphs.parse({"morph": "column", "children": labels})
    with pytest.raises(MorphError, match="2000"):
        morphs.parse({"morph": "column", "children": [*labels, labels[0]]})


KINDS = ["column", "row", "label", "field", "button", "list", "graph", "image"]
KEYS = ["children", "text", "name", "value", "selector", "target", "args", "title", "values", "numbers", "width", "height", "png"]
keys = st.text(max_size=8) | st.sampled_from(["morph", "children", "text"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary() | st.just(GENESIS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
claimed = st.fixed_dictionaries({"morph": st.sampled_from(KINDS)}, optional=dict.fromkeys(KEYS, plain))


@given(plain | claimed)
def test_any_value_is_a_tree_or_a_typed_refusal(value: object) -> None:
    try:
        assert list(morphs.walk(morphs.parse(value)))
    except MorphError as refused:
        assert refused.path.startswith("$")
