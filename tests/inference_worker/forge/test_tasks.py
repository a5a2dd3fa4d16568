"""Training tasks: their bodies do what they say, and what is held out stays out."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_worker.forge import dataset, firsts, heldout, subset, words
from inference_worker.forge.draw import Draw, Method, task
from inference_worker.forge.families import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=6, deadline=None)
def test_the_reference_body_does_what_its_family_expects(name: str, seed: int) -> None:
    drawn = task(name, FAMILIES[name], seed, "train")
    assert subset.finding(drawn.source(drawn.body)) == ""
    rng = Random(seed)
    for slots, args in [(drawn.slots, drawn.args), *[drawn.probe(rng) for _ in range(3)]]:
        happened = drawn.happens(drawn.body, slots, args)
        expected = drawn.expected(slots, args)
        assert expected.agrees(happened), (drawn.selector, slots, args, drawn.body, expected.result, happened.result, happened.error)
        assert not happened.forgotten, f"{drawn.selector} changes a value in place and leaves out _p_changed"
        assert happened.error in ("", "ValueError", "Declined")


def test_a_task_whose_words_do_not_go_together_is_drawn_again() -> None:
    name, tries = "flags.ask", list[Draw]()

    def clumsy(draw: Draw) -> Method:
        tries.append(draw)
        if len(tries) == 1:
            for _ in range(2):
                draw.slot("heights", lambda rng: rng.random())
        return FAMILIES[name](draw)

    assert task(name, clumsy, 1, "train").selector and len(tries) == 2
    with pytest.raises(ValueError, match="the slot a exists already"):
        task(name, lambda draw: (draw.slot("a", Random.random), draw.slot("a", Random.random), FAMILIES[name](draw))[2], 1, "train")


def test_no_training_task_is_held_out() -> None:
    for drawn in dataset.tasks(seed=77, count=4000, side="train"):
        assert drawn.selector not in ("display_yourself", "total_price")
        assert not {"price", "quantity"} <= drawn.slots.keys()
        assert len({"name", "born", "purpose", "clones", "messages", "methods", "objects"} & drawn.slots.keys()) <= 3
        assert heldout.reason(drawn.selector, drawn.slots) == ""


@pytest.mark.parametrize(
    ("selector", "slots"),
    [
        ("display_yourself", ["name"]),
        ("total_price", ["fee"]),
        ("bill", ["quantity", "color", "price"]),
        ("face", ["name", "born", "purpose", "clones"]),
    ],
)
def test_each_held_out_shape_is_recognised(selector: str, slots: list[str]) -> None:
    assert heldout.reason(selector, slots)


def test_a_family_that_makes_only_held_out_tasks_is_an_error() -> None:
    def family(d: Draw) -> Method:
        return Method("total_price", "return 0", lambda s: 0)

    with pytest.raises(ValueError, match="total_price is held out"):
        task("held", family, 1, "train")


def test_no_word_is_both_trained_on_and_tested_on() -> None:
    for pool in (words.THINGS, words.MONEY, words.LEVELS, words.TALLIES, words.SERIES, words.TEXTS, words.LEDGERS):
        assert set(words.on_side(pool, "train")).isdisjoint(words.on_side(pool, "test"))
        assert words.on_side(pool, "test")


def test_the_same_seed_draws_the_same_data_and_another_seed_does_not() -> None:
    first, again, different = (dataset.digest(dataset.tasks(seed, 200, "train")) for seed in (5, 5, 6))
    assert first == again != different


def test_the_first_conversations_object_has_the_slots_it_is_born_with() -> None:
    drawn = firsts.first("first.display_yourself", 1)
    assert list(drawn.slots)[:7] == ["name", "born", "purpose", "clones", "messages", "methods", "objects"]
    assert drawn.happens(drawn.body, drawn.slots, ()).agrees(drawn.expected(drawn.slots, ()))


def test_every_batch_holds_examples_of_like_length_and_none_is_lost() -> None:
    examples = [dataset.TrainingExample((1,) * n, (2,)) for n in range(1, 101)]
    cut = list(dataset.batches(examples, 10, Random(1)))
    assert sorted(len(example) for batch in cut for example in batch) == list(range(2, 102))
    assert all(max(map(len, batch)) - min(map(len, batch)) < 10 for batch in cut)


def test_examples_that_tell_of_slots_and_errors_are_drawn_where_they_are_asked_for_and_nowhere_else() -> None:
    plain, detailed = (dataset.tasks(5, 300, "train", detail_share=share) for share in (0.0, 1.0))
    assert not any("with " in line or ", then " in line or " raises " in line for drawn in plain for line in drawn.examples)
    assert [(drawn.selector, drawn.body) for drawn in plain] == [(drawn.selector, drawn.body) for drawn in detailed]
    lines = [line for drawn in detailed for line in drawn.examples]
    assert sum(line.startswith("with ") for line in lines) > 200
    assert sum(", then " in line for line in lines) > 100
    assert any(" raises " in line for line in lines)
    assert not any("<" in line.partition("with ")[2].partition(": ")[0] for line in lines)
