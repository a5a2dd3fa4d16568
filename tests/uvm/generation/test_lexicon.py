"""What the words of a selector lead one to expect of a body."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvm.generation import lexicon, lexicon_fit

SLOTS = {"fares": "[3, 4.5, …]", "color": "'red'", "books": "[{'title': 'a', 'pages': 3}, …]", "owner": "<object>", "is_open": "True"}


def method(body: Any, *parameters: Any) -> Any:
    return f"def asked({', '.join(('self', *parameters))}):\n    {body}\n"


def surprise(selector: str, body: Any, *parameters: Any) -> Any:
    expected = lexicon.shipped().expects(lexicon.read(selector, SLOTS, len(parameters)))
    return lexicon.shipped().reads(expected, method(body, *parameters))


@pytest.mark.parametrize(
    ("selector", "parameters", "words"),
    [
        ("total_of_fares_above", 1, ["total", "of", "<list:number>", "abov", "/1"]),
        ("colorInCapitals", 0, ["<text>", "in", "capital", "/0"]),
        ("biggest_title_of_books", 0, ["biggest", "<field>", "of", "<list:dict:text>", "/0"]),
        ("owner", 0, ["<object>", "/0"]),
        ("", 0, ["/0"]),
    ],
)
def test_names_of_slots_are_read_as_their_kind(selector: str, parameters: Any, words: Any) -> None:
    assert lexicon.read(selector, SLOTS, parameters) == words


def test_operations_are_told_alone_and_in_what_they_stand() -> None:
    seen = lexicon.signs(method("return sum(v for v in self.fares if v > a) / len(self.fares)", "a"))
    assert {"/", "sum()", "(for if)", ">", "argument", "sum()>(for if)", "/>len()", "slots1"} <= seen
    assert lexicon.signs(method("self.color = self.color.upper()")) >= {"self.=", ".upper()"}
    assert not lexicon.signs("this is no Python")


@pytest.mark.parametrize(
    ("selector", "right", "wrong", "parameters"),
    [
        ("total_fares", "return sum(self.fares)", "return len(self.fares)", ()),
        ("average_fare", "return sum(self.fares) / len(self.fares) if self.fares else 0", "return sum(self.fares)", ()),
        ("fares_above", "return [v for v in self.fares if v > a]", "return self.fares", ("a",)),
        ("fares_below", "return [v for v in self.fares if v < a]", "return [v for v in self.fares if v > a]", ("a",)),
        ("color_in_capitals", "return self.color.upper()", "return self.color", ()),
        ("set_color_", "self.color = a\n    return self.color", "return self.color", ("a",)),
    ],
)
def test_what_a_word_asks_for_is_less_surprising_than_what_leaves_it_out(selector: str, right: Any, wrong: Any, parameters: Any) -> None:
    expected, other = surprise(selector, right, *parameters), surprise(selector, wrong, *parameters)
    assert expected.surprise + 2 < other.surprise


def test_it_says_what_is_lacking() -> None:
    reading = surprise("fares_above", "return self.fares", "a")
    assert reading.lacking[0] == "argument" and reading.lacking[1] > 2


@settings(deadline=None)
@given(
    st.text(max_size=60), st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=5), st.text(max_size=80), st.integers(0, 5)
)
def test_whatever_is_read_is_some_number(selector: str, slots: Any, source: str, parameters: Any) -> None:
    network = lexicon.shipped()
    reading = network.reads(network.expects(lexicon.read(selector, slots, parameters)), source)
    assert 0 <= reading.surprise < 1e5 and 0 <= reading.usual < 1e5 and 0 <= reading.unknown <= 1


def test_the_same_tasks_give_the_same_file_and_too_few_are_refused(tmp_path: Path, capsys: Any) -> None:
    lines = [
        {"selector": f"{verb}_fares", "slots": {"fares": "[1, …]"}, "parameters": 0, "source": method(f"return {verb}(self.fares)")}
        for verb in ("max", "min")
    ] * 60
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("first", "second"):
        assert lexicon_fit.main([str(tasks), "--out", str(tmp_path / name)], say=str) == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    tasks.write_text(json.dumps(lines[0]) + "\n")
    assert lexicon_fit.main([str(tasks), "--out", str(tmp_path / "third")], say=str) == 1
    assert "more are needed" in capsys.readouterr().err and not (tmp_path / "third").exists()
