"""What runs a case: an image in memory, and the CPU seconds of the whole budget."""

import time
from typing import Final

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import MANY
from uvm.awakening.awakening import primordial
from uvm.errors import AttemptEnded
from uvm.image.image import Database, Image
from uvm.image.methods import install, method
from uvm.objects import PARENTS, UvmObject
from uvm.rights import Limits
from uvm.runtime.attempt import Attempt
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime

BUDGET: Final = Limits().ticks
SHARE: Final = 40
"""The part of the budget that is spent in each case; the figure is for the whole."""


class Bench:
    """An image in memory, and an object on which each case becomes a method."""

    def __init__(self) -> None:
        self._image = Image(Database(None))
        self._image.manager.begin()
        primordial(self._image)
        self._image.manager.commit()
        self._image.manager.begin()
        self._runtime = Runtime(self._image, PRIMITIVES)
        self._traits = self._image.named("traits_obj")

    def seconds(self, case: Case, share: float = SHARE) -> float:
        """CPU seconds for the whole budget spent in one case. Raises RuntimeError for a case that ends otherwise."""
        lines = [line for _ in range(max(1, case.times)) for line in case.statement.split("\n")]
        head = " while True:\n" if case.times else " if True:\n"
        source = f"def m(self, a=None, b=None, c=None):\n{head}" + "".join(f"  {line}\n" for line in lines)
        receiver = UvmObject({PARENTS: [self._traits], "n": 1, "tags": [1, 2], "large": MANY[:5000]})
        others = (("one", "def one(self):\n return 1\n", 0), ("same", "def same(self, a):\n return a\n", 1))
        for selector, text, positional in (("m", source, 3), *others):
            install(receiver, method(selector, text, positional, "bench", {}))
        for value in case.values:
            if type(value) is UvmObject and PARENTS not in value._slots:
                value.put(PARENTS, [self._traits])
        ticks = int(BUDGET / share) if case.times else BUDGET
        attempt = Attempt(ticks=ticks, seconds=600.0, limits=Limits(objects=10**9))
        self._runtime.function_of(receiver.own("m"))
        began = time.thread_time()
        try:
            self._runtime.run(attempt, receiver, "m", case.values, {})
        except AttemptEnded as end:
            if end.type != "TicksSpent":
                raise RuntimeError(f"{case.covers}, {case.shape}: {end.type}: {end.message}") from end
        except Exception as error:
            raise RuntimeError(f"{case.covers}, {case.shape}: {error}") from error
        spent = time.thread_time() - began
        share = share if case.times else BUDGET / (BUDGET - attempt.ticks)
        self._image.manager.abort()
        self._image.manager.begin()
        return spent * share
