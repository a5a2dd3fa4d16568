"""The number of threads of a step: the fastest one is found, kept while it is, left when it is not, and looking costs little."""

from collections import Counter
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from inference_worker.engine.step_threads import DECODING, FLOOR, PRICE, StepThreads, sharing

Machine = Callable[[int, int], float]
"""Seconds of a step of so many tokens with so many threads."""


def idle(tokens: int, threads: int) -> float:
    """Half of a step is shared by the threads."""
    return 0.0006 * (FLOOR + tokens) * (0.5 + 0.5 / threads)


def crowded(tokens: int, threads: int) -> float:
    """Each of 240 sections waits for a slice of somebody else's time, wherever there is more than one thread."""
    return 0.0006 * (FLOOR + tokens) + (240 * 0.0005 if threads > 1 else 0.0)


def run(
    choice: StepThreads, machine: Machine, steps: int, tokens: int = 1, noise: float = 0.0, seed: int = 1
) -> tuple[Counter[int], float]:
    """How often each number of threads was chosen, and the seconds that all steps took."""
    random = Random(seed)
    chosen: Counter[int] = Counter()
    seconds = 0.0
    for _ in range(steps):
        threads = choice.choose(tokens)
        took = machine(tokens, threads) * random.uniform(1 - noise, 1 + noise)
        choice.took(tokens, threads, took)
        chosen[threads] += 1
        seconds += took
    return chosen, seconds


@pytest.mark.parametrize("tokens", [1, 8, 200])
def test_on_an_idle_machine_all_threads_compute_and_on_a_crowded_one_one(tokens: int) -> None:
    for machine, best in ((idle, 2), (crowded, 1)):
        choice = StepThreads(2)
        run(choice, machine, 20, tokens)
        chosen, _ = run(choice, machine, 1000, tokens, noise=0.03)
        assert chosen[best] > 900, machine.__name__
        assert choice.state()["decode" if tokens <= DECODING else "prefill"] == best


@pytest.mark.parametrize("machine", [idle, crowded])
def test_looking_elsewhere_costs_no_more_than_its_price(machine: Machine) -> None:
    choice = StepThreads(4)
    run(choice, machine, 20)
    _, seconds = run(choice, machine, 2000, noise=0.02)
    best = 2000 * min(machine(1, threads) for threads in (1, 2, 4))
    # The price is one for each other number, and noise is measured as if it were somebody's doing.
    assert seconds < best * (1 + 2 * PRICE + 0.03)


def test_when_the_machine_becomes_crowded_or_idle_the_choice_follows() -> None:
    choice = StepThreads(2)
    run(choice, idle, 200)
    assert choice.state()["decode"] == 2
    chosen, _ = run(choice, crowded, 100)
    assert chosen[1] > 90, "what is in use is measured at every step"
    chosen, seconds = run(choice, idle, 1000)
    assert choice.state()["decode"] == 2
    assert seconds < 1000 * idle(1, 1), "and what is not, often enough"


def test_one_slow_step_does_not_turn_the_choice() -> None:
    choice = StepThreads(2)
    run(choice, idle, 200)
    choice.took(1, 2, 10 * idle(1, 2))
    chosen, _ = run(choice, idle, 60)
    assert choice.state()["decode"] == 2 and chosen[2] > 30


def test_decoding_and_prefill_are_learned_apart() -> None:
    def mixed(tokens: int, threads: int) -> float:
        return crowded(tokens, threads) if tokens <= DECODING else idle(tokens, threads)

    choice = StepThreads(2)
    for _ in range(50):
        run(choice, mixed, 1, 180)
        run(choice, mixed, 20, 1)
    assert choice.state() == {"decode": 1, "prefill": 2}


def test_where_there_are_many_threads_some_of_them_may_be_best() -> None:
    def four(tokens: int, threads: int) -> float:
        return {1: 4.0, 2: 2.0, 4: 1.0, 6: 1.5}[threads]

    choice = StepThreads(6)
    chosen, _ = run(choice, four, 500, noise=0.02)
    assert choice.state()["decode"] == 4 and chosen.most_common(1)[0][0] == 4


def test_a_step_is_computed_with_the_threads_that_were_chosen_and_its_time_counts() -> None:
    used: list[int] = []
    now = [0.0]

    def step(scheduler_output: Any, intermediate: Any = None) -> str:
        now[0] += crowded(scheduler_output.total_num_scheduled_tokens, used[-1])
        return f"output of {intermediate}"

    choice = StepThreads(2)
    execute = sharing(step, choice, used.append, lambda: now[0])
    for _ in range(100):
        assert execute(SimpleNamespace(total_num_scheduled_tokens=1), intermediate="this") == "output of this"
    assert choice.state()["decode"] == 1 and Counter(used)[1] > 90
    execute(SimpleNamespace(total_num_scheduled_tokens=1))
    before = list(used)
    with pytest.raises(AttributeError):
        execute(None)
    assert used == before


def test_a_step_without_tokens_computes_nothing_and_is_not_measured() -> None:
    choice = StepThreads(2)
    execute = sharing(lambda output: "empty", choice, lambda threads: pytest.fail("no threads are needed"), lambda: 0.0)
    assert execute(SimpleNamespace(total_num_scheduled_tokens=0)) == "empty"
