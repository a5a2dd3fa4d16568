"""The body of a method in what a larger model answers, and how it is asked."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvm.generation.answers import THOUGHT, written
from uvm.generation.manner import THINKING_TOKENS, Manner, manner_of
from uvm.language.audit import audit

SIGNATURE = "def total_price(self):"
BODY = "    if self.tags:\n        return 0\n    return self.price * self.quantity"
WHOLE = f"{SIGNATURE}\n{BODY}\n"
FLUSH = BODY.replace("\n    ", "\n")[4:]

ANSWERS = {
    "the body": BODY,
    "the body, flush left": FLUSH,
    "the whole method": WHOLE,
    "a fence": f"```python\n{BODY}\n```",
    "the whole method in a fence, between words": f"Here it is:\n\n```python\n{WHOLE}```\n\nIt multiplies the two.",
    "a fence without an end": f"Sure!\n```\n{WHOLE}",
    "the whole method, and words after it": f"{WHOLE}\nThis multiplies the two.",
    "an indented method": "\n".join(f"    {line}" for line in WHOLE.splitlines()),
    "another signature": WHOLE.replace(SIGNATURE, "def total_price(self) -> float:"),
    "tabs": BODY.replace("    ", "\t"),
    "thinking": f"<think>\nPrice times quantity.\n```python\nreturn 7\n```\n</think>\n\n{BODY}",
    "thinking, whose beginning the template wrote": f"Price times quantity.\n</think>\n```python\n{WHOLE}```",
    "thinking, and a fence": f"\n<thinking>the slots are there</thinking>\n```py\n{FLUSH}\n```",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_body_is_found_in(answer: str) -> None:
    source, why = written(SIGNATURE, answer)
    assert (source, why) == (WHOLE, "")
    assert audit(source, "total_price", 0).ok


def test_a_method_on_one_line_is_a_body() -> None:
    assert written(SIGNATURE, "def total_price(self): return self.price") == (f"{SIGNATURE}\n    return self.price\n", "")


NONE = {
    "thinking without an end": ("<think>\nreturn 1\nand then", "has no end"),
    "thinking past the bound": (f"<think>{'x' * THOUGHT}</think>\n    return 1", "has more than"),
    "nothing": ("", "no body"),
    "nothing behind the thinking": ("<think>nothing</think>\n \n", "no body"),
    "a signature alone": (f"{SIGNATURE}\n", "no body"),
    "an empty fence": ("```python\n```", "no body"),
}


@pytest.mark.parametrize(("answer", "why"), NONE.values(), ids=NONE)
def test_what_is_no_draft_says_why_and_passes_no_audit(answer: str, why: str) -> None:
    source, seen = written(SIGNATURE, answer)
    assert why in seen
    assert not audit(source, "total_price", 0).ok


@given(st.text(max_size=400) | st.lists(st.sampled_from(["<think>", "</think>", "```", "\n", "def f(a):", "    x", "\t"])).map("".join))
def test_any_text_gives_a_source_below_the_one_signature(answer: str) -> None:
    source, _ = written(SIGNATURE, answer)
    assert source.startswith(f"{SIGNATURE}\n")


@pytest.mark.parametrize("piece", [")->", "def f(", "```\n", "<think>", " " * 20, "def f()->", "\t\n"])
def test_a_hostile_answer_takes_no_time(piece: str) -> None:
    began = time.process_time()
    written(SIGNATURE, "def f(" + piece * (60_000 // len(piece)))
    assert time.process_time() - began < 1


def test_an_attack_in_an_answer_is_audited_like_any_draft() -> None:
    source, _ = written(SIGNATURE, "<think>they will not look here</think>\n```python\nimport os\nreturn os.getcwd()\n```")
    assert not audit(source, "total_price", 0).ok


@pytest.mark.parametrize(
    ("large", "template", "manner"),
    [
        (False, False, Manner(False, "listed")),
        (False, True, Manner(False, "listed")),
        (True, False, Manner(False, "free")),
        (True, True, Manner(True, "none")),
    ],
)
def test_what_is_chosen_where_nothing_is_set(large: bool, template: bool, manner: Manner) -> None:
    assert manner_of(large=large, template=template) == manner


def test_what_is_set_counts_where_it_is_possible() -> None:
    assert manner_of(large=True, template=True, chat="off") == Manner(False, "free")
    assert manner_of(large=True, template=True, grammar="listed") == Manner(True, "listed")
    assert manner_of(large=False, template=True, chat="on") == Manner(True, "listed")
    assert manner_of(large=True, template=False, chat="on", grammar="none") == Manner(False, "free")


def test_there_is_room_for_thinking_only_where_no_grammar_forbids_it() -> None:
    assert Manner(True, "none").tokens(240) == 240 + THINKING_TOKENS
    assert Manner(True, "listed").tokens(240) == Manner().tokens(240) == 240
