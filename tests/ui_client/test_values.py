"""Values as JSON, as arguments and as lines for people."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui_client import values
from ui_client.values import BadArgument
from uvm.protocol import Reference

REFERENCE = Reference.parse("@2a")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-5", -5),
        ("3.5", 3.5),
        ("true", True),
        ("null", None),
        ('[1, {"a": 2}]', [1, {"a": 2}]),
        ('"3"', "3"),
        ("red wine", "red wine"),
        ("", ""),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("{broken", "{broken"),
        ("@2a", REFERENCE),
        ('"@2a"', "@2a"),
        ('{"ref": "@2a"}', REFERENCE),
        ('[{"ref": "@2a"}]', [REFERENCE]),
        ('{"bytes": "AAE="}', b"\x00\x01"),
        ('{"number": "-inf"}', -math.inf),
        ('{"ref": 5}', {"ref": 5}),
        ('{"ref": "@2a", "more": 1}', {"ref": "@2a", "more": 1}),
    ],
)
def test_an_argument_is_json_else_a_reference_else_text(text: str, value: object) -> None:
    parsed = values.argument(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["@xyz", "@", "@" + "1" * 17, '{"ref": "2a"}', '{"bytes": "%"}', str(2**64), "[" + str(-(2**63) - 1) + "]"]
)
def test_an_argument_that_no_slot_can_hold_is_refused(text: str) -> None:
    with pytest.raises(BadArgument):
        values.argument(text)


def test_a_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(BadArgument, match="UTF-8"):
        values.argument("\udcff")


def test_json_shapes_of_what_json_lacks() -> None:
    shown = values.to_json({"who": REFERENCE, "raw": b"\x00\x01", "odd": math.nan, 5: (1, 2)})
    assert shown == {"who": {"ref": "@2a"}, "raw": {"bytes": "AAE="}, "odd": {"number": "nan"}, "5": [1, 2]}


value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.binary(min_size=8, max_size=8).map(Reference),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text().filter(lambda key: key not in ("ref", "bytes", "number")), inner, max_size=4)
    ),
)


@given(value)
def test_json_and_back_is_the_same_value(value: object) -> None:
    assert values.from_json(json.loads(json.dumps(values.to_json(value), allow_nan=False))) == value


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "a\rb", "\u202eevil", "\x07", "\x00"])
def test_a_text_of_the_image_cannot_steer_the_terminal(hostile: str) -> None:
    for shown in (values.show(hostile), values.show([hostile]), values.show({hostile: hostile})):
        assert not set(shown) & set("\x1b\x9b\r\u202e\x07\x00")


def test_references_are_shown_by_their_names() -> None:
    assert values.show([REFERENCE, 1], {REFERENCE: "genesis_obj"}) == "[genesis_obj, 1]"
    assert values.show(REFERENCE) == "@2a"
