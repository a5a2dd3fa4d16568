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
    one = task(name, FAMILIES[name], seed, "train")
    assert subset.finding(one.source(one.body)) == ""
    rng = Random(seed)
    for slots, args in [(one.slots, one.args), *[one.probe(rng) for _ in range(3)]]:
        happened = one.happens(one.body, slots, args)
        wanted = one.wanted(slots, args)
        assert wanted.agrees(happened), (one.selector, slots, args, one.body, wanted.result, happened.result, happened.error)
        assert not happened.forgotten, f"{one.selector} changes a value in place and leaves out _p_changed"
        assert happened.error in ("", "ValueError", "Declined")


def test_no_training_task_is_held_out() -> None:
    for one in dataset.tasks(seed=77, count=4000, side="train"):
        assert one.selector not in ("display_yourself", "total_price")
        assert not {"price", "quantity"} <= one.slots.keys()
        assert len({"name", "born", "purpose", "clones", "messages", "methods", "objects"} & one.slots.keys()) <= 3
        assert heldout.reason(one.selector, one.slots) == ""


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
    first, again, other = (dataset.digest(dataset.tasks(seed, 200, "train")) for seed in (5, 5, 6))
    assert first == again != other


def test_the_first_conversations_object_has_the_slots_it_is_born_with() -> None:
    one = firsts.first("first.display_yourself", 1)
    assert list(one.slots)[:7] == ["name", "born", "purpose", "clones", "messages", "methods", "objects"]
    assert one.happens(one.body, one.slots, ()).agrees(one.wanted(one.slots, ()))


def test_every_batch_holds_examples_of_like_length_and_none_is_lost() -> None:
    examples = [dataset.TrainingExample((1,) * n, (2,)) for n in range(1, 101)]
    cut = list(dataset.batches(examples, 10, Random(1)))
    assert sorted(len(example) for batch in cut for example in batch) == list(range(2, 102))
    assert all(max(map(len, batch)) - min(map(len, batch)) < 10 for batch in cut)
