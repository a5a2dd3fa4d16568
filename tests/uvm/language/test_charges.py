"""What an operation costs is charged before, from its sizes; and what is measured first still gives what Python gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.blob import Blob

from benchmarks.ticks.coverage import cases, missing
from benchmarks.ticks.values import colliding_tuples
from tests.uvm.language.plain_hooks import PlainHooks, PlainObject, body, run
from uvm.errors import DeadlineExceeded, NotAllowed, TicksSpent
from uvm.language import bounds, texts
from uvm.language import value_methods as plain
from uvm.language.bounds import KEY_MOST, error_text
from uvm.language.budget import Budget
from uvm.language.keys import SHARED
from uvm.language.value_methods import plain_send
from uvm.language.weights import CONSTANTS, MEMBER, TICK
from uvm.objects import Counter

LETTERS = st.text("ab \nλ", max_size=40)
LONG = st.builds(lambda part, times, end: part * times + end, st.text("abλ", min_size=1, max_size=30), st.integers(1, 200), LETTERS)
TEXTS = LETTERS | LONG


def free() -> Budget:
    return Budget(10**9, 600.0)


def test_the_benchmark_measures_everything_that_the_tables_have() -> None:
    assert missing() == set()


def test_the_dearest_operation_costs_at_most_three_times_the_cheapest() -> None:
    table = (Path(__file__).parents[3] / "docs" / "ticks.md").read_text()
    seconds = [float(line.split(" | ")[-1].removesuffix(" |")) for line in table.splitlines() if line.startswith("| `")]
    assert len(seconds) == len(cases())
    assert max(seconds) <= 3 * min(seconds)


@pytest.mark.parametrize("name", ["strip", "lstrip", "rstrip"])
@settings(max_examples=50)
@given(value=TEXTS, chars=st.none() | st.text("abλ ", max_size=5))
def test_stripping_by_blocks_is_stripping(name: str, value: str, chars: str | None) -> None:
    assert plain_send(value, name, (chars,), {}, free()) == getattr(value, name)(chars)


@pytest.mark.parametrize("name", ["split", "rsplit"])
@settings(max_examples=50)
@given(value=TEXTS, separator=st.none() | st.text("abλ ", min_size=1, max_size=3), limit=st.integers(-1, 4))
def test_splitting_from_either_side(name: str, value: str, separator: str | None, limit: int) -> None:
    assert plain_send(value, name, (separator, limit), {}, free()) == getattr(value, name)(separator, limit)


@pytest.mark.parametrize("name", ["find", "count"])
@settings(max_examples=50)
@given(value=TEXTS, part=TEXTS, span=st.lists(st.integers(-50, 20_000), max_size=2))
def test_searching_by_blocks_is_searching(name: str, value: str, part: str, span: list[int]) -> None:
    assert plain_send(value, name, (part, *span), {}, free()) == getattr(value, name)(part, *span)


@pytest.mark.parametrize("name", ["isalpha", "isspace", "isdigit", "isalnum"])
@settings(max_examples=30)
@given(value=TEXTS)
def test_looking_at_each_character_by_blocks(name: str, value: str) -> None:
    assert plain_send(value, name, (), {}, free()) == getattr(value, name)()


@settings(max_examples=50)
@given(TEXTS, TEXTS, st.integers(0, 300))
def test_comparing_by_blocks_is_comparing(left: str, right: str, times: int) -> None:
    left, right = left * times, right * times
    assert texts.equal(left, right, lambda units: None) == (left == right)
    assert texts.equal(left + "a", left + right[:1], lambda units: None) == (left + "a" == left + right[:1])


@pytest.mark.parametrize("value", [True, Counter(1), 1])
def test_no_kind_of_number_is_shifted_past_the_bound(value: Any) -> None:
    with pytest.raises(ValueError, match="bits"):
        run(body("return self.n << 10 ** 10"), {"n": value})
    with pytest.raises(ValueError, match="bits"):
        run(body("x = self.n\nx <<= 10 ** 10"), {"n": value})
    with pytest.raises(ValueError, match="bits"):
        run(body("return (self.n + 1) ** 10 ** 10"), {"n": value})


@pytest.mark.parametrize(
    "text",
    ["{self.n: 1}", "{self.n}", "{1: 2}.get(self.n)", "set([self.n])", "{**{}, self.n: 1}", "self.n in {1: 2}", "{n for n in [self.n]}"],
)
def test_numbers_whose_hashes_can_be_chosen_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        run(body(f"return {text}"), {"n": KEY_MOST + 1})


def test_different_pairs_of_one_hash_have_a_bound_and_a_price() -> None:
    pairs = colliding_tuples(SHARED + 10)
    assert len(set(map(hash, pairs))) == 1
    for text in ("return set(self.a)", "x = {}\nfor p in self.a:\n    x[p] = 1", "return {p for p in self.a}"):
        with pytest.raises(ValueError, match="same hash"):
            run(body(text), {"a": pairs})


def test_a_display_of_constants_is_charged_by_its_length() -> None:
    hooks = PlainHooks()
    hooks.run(PlainObject({}, {"m": body(f"x = {list(range(900))}\ny = {dict.fromkeys(range(900), 1)}")}), "m")
    assert hooks.spent > (900 / CONSTANTS + 900 * MEMBER) / TICK


def test_what_is_shared_is_charged_as_often_as_it_is_reached() -> None:
    hooks = PlainHooks(10**9)
    shared = body("x = [1]\nfor i in range(14):\n    x = [x, x]\nreturn str(x) == ''")
    hooks.run(PlainObject({}, {"m": shared}), "m")
    assert hooks.spent > 2**14 / 10


def test_an_error_shows_the_beginning_of_what_it_holds() -> None:
    assert len(error_text(KeyError("x" * 9_000_000))) == 500
    assert error_text(KeyError("k")) == "'k'"
    assert len(run(body("try:\n    return {}['x' * 9000000]\nexcept KeyError as e:\n    return str(e)"))) == 500
    assert error_text(ValueError([["x" * 1000] * 1000] * 1000)) == "with a list"
    assert len(NotAllowed("x" * 9_000_000).message) == 2000


def test_a_call_that_would_outlast_the_deadline_is_not_begun() -> None:
    budget = Budget(10**9, 5.0)
    with pytest.raises(DeadlineExceeded):
        budget.charge(600_000_000)
    with pytest.raises(DeadlineExceeded):
        budget.charge(1)


def test_the_budget_is_spent_to_the_tick() -> None:
    budget = Budget(10_000, 60.0)
    for _ in range(10_000):
        budget.charge(TICK)
    assert budget.ticks == 0
    with pytest.raises(TicksSpent):
        budget.charge(1)


LONG_DISPLAY = "x = [" + "a, " * 300 + "]"


@pytest.mark.parametrize("text", [f"if 0:\n    {LONG_DISPLAY}", f"try:\n    pass\nexcept ValueError:\n    {LONG_DISPLAY}"])
def test_what_is_passed_by_costs_little(text: str) -> None:
    hooks = PlainHooks()
    hooks.run(PlainObject({}, {"m": body("a = 1\n" + text)}), "m")
    assert hooks.spent < 2


@pytest.mark.parametrize("show", [bounds.text, bounds.represented])
@pytest.mark.parametrize("value", [len, [len], (number for number in [1]), [ValueError(len)], {"a": [KeyError({"k": len})]}, Blob()])
def test_nothing_is_shown_by_its_address(show: Callable[..., str], value: Any) -> None:
    with pytest.raises(TypeError, match=r"function|generator|object"):
        show(value, lambda units: None)


def test_an_error_in_a_list_is_measured_with_what_it_holds() -> None:
    with pytest.raises(ValueError, match="characters"):
        bounds.text([KeyError("k" * bounds.TEXT)], lambda units: None)


def test_only_numbers_are_sorted_by_the_million() -> None:
    numbers: list[Any] = list(range(plain.SORTED + 1))
    charge_of = free().charge
    plain.charge_sort(numbers, charge_of)
    with pytest.raises(ValueError, match="sorted at once"):
        plain.charge_sort(numbers, charge_of, keyed=True)
    with pytest.raises(ValueError, match="sorted at once"):
        plain.charge_sort([*numbers, "x"], charge_of)
