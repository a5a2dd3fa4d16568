"""Operations that training never had: their tasks are right, and no selector of training speaks of one."""

from random import Random

import pytest

from inference_worker.forge import dataset, subset
from inference_worker.forge.draw import task
from inference_worker.forge.unheard import TELLING, UNHEARD


@pytest.mark.parametrize("name", UNHEARD)
def test_body_and_expectation_agree(name: str) -> None:
    for seed in range(4):
        drawn = task(name, UNHEARD[name], seed, "test")
        assert subset.finding(drawn.source(drawn.body)) == ""
        rng = Random(seed)
        for slots, args in [(drawn.slots, drawn.args), *[drawn.probe(rng) for _ in range(4)]]:
            happened, expected = drawn.happens(drawn.body, slots, args), drawn.expected(slots, args)
            assert happened.error == "" and expected.agrees(happened), (drawn.selector, slots, happened.result, expected.result)


def test_no_selector_of_training_speaks_of_one() -> None:
    selectors = [drawn.selector.lower() for drawn in dataset.tasks(seed=78, count=4000, side="train")]
    assert not [selector for selector in selectors if any(word in selector for word in TELLING)]


def test_each_operation_is_told_by_a_word() -> None:
    for name, family in UNHEARD.items():
        selector = task(name, family, 1, "test").selector.lower()
        assert any(word in selector.replace("squareroot", "root") for word in TELLING), selector
