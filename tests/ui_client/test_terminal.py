"""The morph tree as text: what a person reads in a terminal."""

import math

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ui_client import terminal
from uvm.protocol import Reference

GENESIS = Reference.parse("@2a")


def text(value: object, names: dict[Reference, str] | None = None) -> str:
    console = Console(width=100, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(terminal.render_value(value, names))
    return captured.get()


FACE = {
    "morph": "column",
    "children": [
        {"morph": "label", "text": "genesis_obj"},
        {"morph": "field", "name": "born", "value": "2026-11-23", "target": GENESIS},
        {"morph": "field", "name": "messages", "value": 12},
        {"morph": "row", "children": [{"morph": "button", "text": "clone", "selector": "clone"}, {"morph": "label", "text": "beside"}]},
        {"morph": "list", "title": "objects", "values": [GENESIS, "plain"]},
        {"morph": "graph", "title": "entropy", "numbers": [0, 1, 2, 3, 4, 5, 6, 7]},
    ],
}


def test_every_part_of_a_face_is_readable() -> None:
    lines = [line.strip("│╭╮╰╯─ \n") for line in text(FACE, {GENESIS: "genesis_obj"}).splitlines()]
    assert lines[1:-1] == [
        "genesis_obj",
        "born:     2026-11-23",
        "messages: 12",
        "[ clone ]  beside",
        "objects",
        "• genesis_obj",
        "• plain",
        "entropy",
        "▁▂▃▄▅▆▇█  0 … 7",
    ]


def test_a_plain_reply_is_shown_as_it_is() -> None:
    assert text(7.5) == "7.5\n"
    assert text({"a": [1, GENESIS]}) == "{'a': [1, @2a]}\n"


def test_markup_of_rich_in_a_slot_is_text() -> None:
    assert "[bold]x[/bold]" in text({"morph": "label", "text": "[bold]x[/bold]"})


def test_a_broken_tree_is_shown_with_what_is_wrong() -> None:
    shown = text({"morph": "column", "children": 5})
    assert "{'morph': 'column', 'children': 5}" in shown and "not a morph at $.children" in shown


def test_a_long_list_says_how_much_is_left_out() -> None:
    assert "… and 150 more" in text({"morph": "list", "title": "t", "values": list(range(200))})


@given(st.lists(st.floats(), max_size=300), st.integers(1, 80))
def test_a_sparkline_has_a_bar_for_each_number_that_fits(numbers: list[float], width: int) -> None:
    line = terminal.sparkline(numbers, width)
    assert len(line) == min(len(numbers), width)
    if len(numbers) <= width:
        assert [bar == " " for bar in line] == [not math.isfinite(number) for number in numbers]
