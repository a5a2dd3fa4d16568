"""The prompt is the contract between the image and the adapters: its text, to the letter."""

from inference_worker.forge import render
from inference_worker.forge.standin import KnownMethod, StandIn


def test_a_whole_prompt_reads_as_the_language_describes_it() -> None:
    slots = {"price": 3.5, "quantity": 2, "tags": ["red", "new"], "owner": StandIn({})}
    assert render.prompt(slots, "total_cost") == (
        "Write the body of one method of a living object. State is self.slot only. After a change inside a list or dict: "
        'self._p_changed = True. If unsure: decline("why").\n'
        "Object:\n"
        "price = 3.5\n"
        "quantity = 2\n"
        "tags = ['red', 'new']\n"
        "owner = <object>\n"
        "Message: total_cost()\n"
        "def total_cost(self):\n"
    )


def test_arguments_are_shown_with_their_values_and_named_by_letter_or_keyword() -> None:
    text = render.prompt({}, "move_by", (3, "left"), {"dy": 4.0})
    assert text.endswith("Object:\nMessage: move_by(3, 'left', dy=4.0)\ndef move_by(self, a, b, dy):\n")


def test_a_letter_taken_by_a_keyword_is_not_given_twice() -> None:
    assert render.signature("join", 2, ["a"]) == "def join(self, b, c, a):"


def test_examples_stand_after_the_message_and_are_at_most_four() -> None:
    lines = render.prompt({}, "f", examples=[f"f() -> {n}" for n in range(6)]).splitlines()
    assert lines[2:] == ["Message: f()", "Example: f() -> 0", "Example: f() -> 1", "Example: f() -> 2", "Example: f() -> 3", "def f(self):"]


def test_long_values_are_cut_where_the_language_says() -> None:
    assert render.value("x" * 40) == repr("x" * 40)
    assert render.value("x" * 41) == repr("x" * 40 + "…")
    assert render.value([1, 2, 3, 4, 5]) == "[1, 2, 3, 4, …]"
    assert render.value({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}) == "{'a': 1, 'b': 2, 'c': 3, 'd': 4, …}"
    assert render.value([{"name": "y" * 50}]) == "[{'name': '" + "y" * 40 + "…'}]"


def test_objects_and_methods_are_shown_by_kind_only() -> None:
    assert render.value([StandIn({}), StandIn({})]) == "[<object>, …]"
    assert render.value({"owner": StandIn({"secret": 1})}) == "{'owner': <object>}"
    assert render.value(KnownMethod(3)) == "<method>"


def test_no_more_than_twenty_four_slots_are_shown() -> None:
    text = render.prompt({f"slot_{n}": n for n in range(30)}, "f")
    assert "slot_23 = 23" in text
    assert "slot_24" not in text
