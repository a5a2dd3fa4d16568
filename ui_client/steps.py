"""Steps that take a while, told to a person as they run. Used by the `batos` command, in its one thread.

On a terminal a step is a live line with its elapsed time. Elsewhere (a pipe, a CI log) it is a line when it is done,
and before that one after two seconds and every fifteen after, so that nothing seems to hang.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ui_client import values

_FIRST_WORD_S = 2.0
_NEXT_WORD_S = 15.0


class RunningStep(Struct):
    """One step: `tick` while it runs, `outcome` for the line it leaves."""

    text: str
    began: float
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0
    printed_at: float = 0.0

    def running(self, now: float) -> Text:
        line = Text(f"{self.text}  {now - self.began:.0f} s")
        if self.detail:
            line.append(f"  {self.detail}", style="dim")
        return line

    def finished(self, mark: str, style: str) -> Text:
        line = Text(f"  {mark} ", style=style).append(self.text, style="default")
        if self.outcome:
            line.append(f": {self.outcome}", style="default")
        return line.append(f"  {self.seconds:.1f} s", style="dim")


class Phase(Struct):
    """A named part of the way up, with what was done in it."""

    name: str
    began: float
    steps: list[RunningStep] = []
    seconds: float = 0.0


class Steps:
    """Prints phases and steps, and remembers them for `--json`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.phases: list[Phase] = []
        self._live: tuple[Live, Spinner] | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """A phase by its name; its whole time is printed when it ends."""
        phase = Phase(name, time.monotonic())
        self.phases.append(phase)
        self.console.print(Text(name, style="bold"))
        yield phase
        phase.seconds = time.monotonic() - phase.began

    @contextmanager
    def step(self, text: str) -> Iterator[RunningStep]:
        """A step of the current phase. An exception leaves it marked as failed and goes on."""
        now = time.monotonic()
        step = RunningStep(text, began=now, printed_at=now - _NEXT_WORD_S + _FIRST_WORD_S)
        spinner = Spinner("dots", text=step.running(now))
        # Transient: the live line is replaced by the one that stays.
        with Live(spinner, console=self.console, transient=True, refresh_per_second=8) as live:
            self._live = (live, spinner)
            try:
                yield step
                failed = False
            except BaseException:
                failed = True
                raise
            finally:
                self._live = None
                step.seconds = time.monotonic() - step.began
                self.console.print(step.finished(*(("✗", "red") if failed else ("✓", "green"))), soft_wrap=True)
        if self.phases:
            self.phases[-1].steps.append(step)

    def tick(self, step: RunningStep, detail: str = "") -> None:
        """The step still runs; `detail` is what it is at. Call it several times a second."""
        now = time.monotonic()
        if detail:
            step.detail = values.showable(detail)
        if self._live:
            self._live[1].update(text=step.running(now))
        if not self.console.is_terminal and now - step.printed_at >= _NEXT_WORD_S:
            step.printed_at = now
            self.console.print(Text("  … ").append_text(step.running(now)), soft_wrap=True)
