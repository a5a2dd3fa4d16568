"""How many threads compute a step of the model on a CPU: as many as were fastest lately, which depends on who else computes there.

A step of a small model is some hundreds of short parallel sections, and each ends with its threads waiting for the last one. On an idle
machine a second thread makes a step a little faster; where another process wants the core, the section lasts until that one's slice of time
is over, and two threads take several times as long as one. So it is measured: each step's time counts for the number of threads that it was
computed with, and the others are tried again now and then, as often as what that costs stays below `PRICE` of all the time.

`StepThreads` decides and is pure; `ThreadsExtension` applies it in the process that holds the model, in the thread that runs it. Decoding
and prefill are learned apart, because their sections are of different lengths.
"""

import time
from collections.abc import Callable
from typing import Any, Final

DECODING: Final = 16
"""Tokens up to which a step counts as decoding: one for each sequence."""
FLOOR: Final = 32
"""A step reads all weights whatever it computes, which takes as long as computing so many tokens."""
PRICE: Final = 0.03
"""The part of the time that trying other numbers of threads may cost."""
BETTER: Final = 0.95
"""Another number of threads is taken when a step takes less than this part of the time."""
FIRST: Final = 2
"""Steps before something is tried that never was."""
_STEADY, _TRIED = 0.2, 0.5
"""The weight of a new time in the mean of the times before: of what is in use, and of what was tried once."""
_OUTLIER = 2.0
"""A time counts for no more than so many times the mean: one step that was interrupted says little."""


class _Kind:
    """What is known of one kind of steps: seconds a token by number of threads, and when each of the others is due."""

    def __init__(self, first: int) -> None:
        self.used = first
        self.costs: dict[int, float] = {}
        self.steps = 0
        self.due: dict[int, float] = {}


class StepThreads:
    """Chooses for the steps of one process, which has `most` threads."""

    def __init__(self, most: int) -> None:
        self._options = sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power < most)})
        self._kinds = {True: _Kind(1), False: _Kind(most)}
        self._spent = 0.0

    def choose(self, tokens: int) -> int:
        """The number of threads for a step of so many tokens."""
        kind = self._kinds[tokens <= DECODING]
        for option in self._options:
            if option == kind.used:
                continue
            if option not in kind.costs:
                if kind.steps >= FIRST:
                    return option
            elif self._spent >= kind.due[option]:
                return option
        return kind.used

    def took(self, tokens: int, threads: int, seconds: float) -> None:
        """A step of so many tokens was computed."""
        kind = self._kinds[tokens <= DECODING]
        self._spent += seconds
        kind.steps += 1
        cost = seconds / (FLOOR + tokens)
        weight = _STEADY if threads == kind.used else _TRIED
        mean = kind.costs.get(threads, cost)
        kind.costs[threads] = mean * (1 - weight) + min(cost, _OUTLIER * mean) * weight
        if threads == kind.used or kind.used not in kind.costs:
            return
        if kind.costs[threads] < BETTER * kind.costs[kind.used]:
            kind.used, threads = threads, kind.used
        excess = max(0.0, kind.costs[threads] - kind.costs[kind.used]) * (FLOOR + tokens)
        # What makes no difference is tried all the same, but not all the time.
        kind.due[threads] = self._spent + max(excess, seconds * (1 - BETTER)) / PRICE

    def state(self) -> dict[str, int]:
        """What is in use."""
        return {"decode": self._kinds[True].used, "prefill": self._kinds[False].used}


def sharing(
    step: Callable[..., Any], choice: StepThreads, set_threads: Callable[[int], None], clock: Callable[[], float]
) -> Callable[..., Any]:
    """vLLM's `execute_model` with the number of threads chosen for each step."""

    def execute_model(scheduler_output: Any, *arguments: Any, **options: Any) -> Any:
        tokens = scheduler_output.total_num_scheduled_tokens
        if not tokens:
            return step(scheduler_output, *arguments, **options)
        threads = choice.choose(tokens)
        set_threads(threads)
        began = clock()
        result = step(scheduler_output, *arguments, **options)
        choice.took(tokens, threads, clock() - began)
        return result

    return execute_model


class ThreadsExtension:
    """The part of vLLM's worker class that has each step computed with the threads that are fastest."""

    model_runner: Any  # vLLM's worker class has it
    _tier_threads: StepThreads | None = None

    def tier_share_threads(self) -> dict[str, Any]:
        """From now on. On a GPU, and where there is one thread, nothing changes."""
        import torch

        most = torch.get_num_threads()
        if self._tier_threads is None and most > 1 and self.model_runner.device.type == "cpu":
            self._tier_threads = StepThreads(most)
            # The public function is replaced by vLLM with one that does nothing.
            self.model_runner.execute_model = sharing(
                self.model_runner.execute_model, self._tier_threads, torch._C.set_num_threads, time.perf_counter
            )
        return {"threads": most}
