"""What a message took of the processor: short ones by the wall clock, and in sum what the kernel says."""

import time

import pytest

from uvm.machine import stopwatch
from uvm.machine.stopwatch import SHORT_S, Stopwatch


class Clocks:
    """Both clocks under the test's hand; `asked`: how often the kernel was."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.asked = 0

    def pass_(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu

    def monotonic(self) -> float:
        return self.wall

    def thread_time(self) -> float:
        self.asked += 1
        return self.cpu


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(stopwatch, "time", clocks)
    return clocks


def test_what_is_short_is_not_asked_of_the_kernel(clocks: Clocks) -> None:
    watch = Stopwatch()
    for _ in range(100):
        clocks.pass_(SHORT_S / 2, SHORT_S / 2)
        assert watch.lap() == pytest.approx(SHORT_S / 2)
    assert clocks.asked == 1


def test_to_wait_costs_nothing(clocks: Clocks) -> None:
    watch = Stopwatch()
    clocks.pass_(3.0, 0.001)
    assert watch.lap() == pytest.approx(0.001)
    clocks.pass_(2.0, 1.5)
    assert watch.lap() == pytest.approx(1.5)


def test_what_short_ones_were_told_too_much_is_taken_off_the_next_long_one(clocks: Clocks) -> None:
    watch = Stopwatch()
    laps = []
    for wall, cpu in [(SHORT_S / 2, SHORT_S / 4)] * 8 + [(0.5, 0.25)]:
        clocks.pass_(wall, cpu)
        laps.append(watch.lap())
    assert sum(laps) == pytest.approx(clocks.cpu)


def test_the_sum_is_the_processor_time_of_the_thread() -> None:
    began, watch = time.thread_time(), Stopwatch()
    measured = 0.0
    for number in range(200):
        sum(range(1000 * (number % 20)))
        measured += watch.lap()
    sum(range(1_000_000))
    measured += watch.lap()
    assert measured == pytest.approx(time.thread_time() - began, rel=0.2)
