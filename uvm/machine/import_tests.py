"""The methods of imports, tried on what they have to satisfy, each in a confined process of its own, before any of the import is stored.

Owned by the UVM's main thread, whose loop polls the trials. Of one import at most `TOGETHER` run at a time; all of them end by the deadline
of its message. What a method asks the model is answered by the machine, and the import tested again from its start.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from deploy.settings import Settings
from uvm.errors import DeadlineExceeded, ExampleFailed, ImageError
from uvm.generation.meter import Meter
from uvm.generation.verdicts import shortfall
from uvm.image.queries import capacity
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Delivery
from uvm.transporter.contracts import ImportTest, ImportVerdict, MethodTest
from uvm.trial.client import TrialsBusy, TrialServer, TrialUnavailable
from uvm.trial.protocol import NeededThought, TrialOutcome, TrialRequest
from uvm.trial.trial import Trial
from uvm.values.examples import labels

TOGETHER: Final = 4
"""Trials of one import that run at a time."""
LISTED: Final = 100
"""Methods that an error lists, of those that do not hold."""

Answer = Callable[[ImportVerdict | NeededThought | ImageError | DeadlineExceeded], None]
"""Called once: with the verdict, with what a method asks the model first, or with why nothing comes in."""


class ImportTests:
    """All imports that wait for a verdict. `used` is called with the processor seconds that went into a principal's."""

    def __init__(self, settings: Settings, transactor: Transactor, trials: TrialServer, used: Callable[[str, float], None]) -> None:
        self._settings = settings
        self._transactor = transactor
        self._trials = trials
        self._used = used
        self._meter = Meter()
        self._testing: list[_Testing] = []

    def __len__(self) -> int:
        return len(self._testing)

    def trials(self) -> list[Trial]:
        """The trials that run, to be polled."""
        return [trial for testing in self._testing for trial in testing.running]

    def request(self, test: ImportTest, delivery: Delivery, answer: Answer) -> None:
        """An import cannot go on before its methods are tested."""
        self._testing.append(_Testing(test, delivery, answer))
        self._step(self._testing[-1])

    def readable(self, trial: Trial) -> None:
        """A trial's descriptor is readable."""
        testing = next((testing for testing in self._testing if trial in testing.running), None)
        if testing is not None:
            with self._meter.of(testing.test.principal):
                outcome = trial.on_readable()
            if outcome is not None:
                self._ended(testing, trial, outcome)

    def tick(self, now: float) -> None:
        """Trials that took too long, imports that waited too long, and those whose trials find room by now."""
        for testing in list(self._testing):
            for trial in list(testing.running):
                if (outcome := trial.expired(now)) is not None:
                    self._ended(testing, trial, outcome)
            self._step(testing)
        for principal, cpu_s in self._meter.read():
            self._used(principal, cpu_s)

    def close(self) -> None:
        """The UVM ends; whoever runs the messages next tests them."""
        for testing in self._testing:
            testing.cancel()
        self._testing.clear()

    # --- one import ----------------------------------------------------------------------------------------------------

    def _step(self, testing: "_Testing") -> None:
        """Begin what can be begun, and end what is at its end."""
        if testing not in self._testing:
            return
        if time.monotonic() > testing.delivery.deadline:
            left = len(testing.waiting) + len(testing.running)
            text = f"{left} of {len(testing.test.tests)} methods were still to be tested; nothing came in"
            self._end(testing, DeadlineExceeded(text, "give it more time, or import fewer objects at a time"))
            return
        try:
            while testing.waiting and len(testing.running) < TOGETHER:
                with self._meter.of(testing.test.principal):
                    trial = self._trials.begin(self._trial_request(testing, testing.waiting[0]), testing.record(self._transactor))
                testing.running[trial] = testing.waiting.popleft()
        except TrialsBusy:
            return  # the next tick finds room
        except TrialUnavailable as error:
            self._end(testing, ImageError(f"the imported methods cannot be tested: {error}", "import again in a moment"))
            return
        if not testing.running:
            self._end(testing, testing.verdict())

    def _trial_request(self, testing: "_Testing", method: MethodTest) -> TrialRequest:
        test = testing.test
        return TrialRequest(
            tid=testing.tid(self._transactor),
            receiver=method.receiver,
            holder=method.receiver,
            selector=method.selector,
            source="",
            examples=[clause.whole for clause in method.clauses],
            labels=labels(method.clauses),
            thoughts=dict(testing.delivery.thoughts),
            now=test.asked_at,
            ticks=min(self._settings.uvm.ticks, test.limits.ticks),
            seconds=self._settings.uvm.message_limit_s,
            author="import",
            rights=test.rights,
            limits=test.limits,
            answer_bytes=capacity(self._settings.bridge.max_frame_bytes),
            send=False,
            unconfined=self._settings.uvm.generation == "always",
        )

    def _ended(self, testing: "_Testing", trial: Trial, outcome: TrialOutcome) -> None:
        method = testing.running.pop(trial, None)
        if method is None:
            return  # it was cancelled with the others meanwhile
        testing.read |= {oid: tid for oid, tid in outcome.read.items() if oid not in testing.test.overlay}
        if outcome.thought is not None and outcome.thought.persona.oid not in testing.test.overlay:
            self._end(testing, outcome.thought)
            return
        if why := _shortfall(outcome):
            testing.failed.append((method, why))
        self._step(testing)

    def _end(self, testing: "_Testing", answer: ImportVerdict | NeededThought | ImageError | DeadlineExceeded) -> None:
        testing.cancel()
        self._testing.remove(testing)
        testing.answer(answer)


class _Testing:
    """One import being tested."""

    def __init__(self, test: ImportTest, delivery: Delivery, answer: Answer) -> None:
        self.test = test
        self.delivery = delivery
        self.answer = answer
        self.waiting = deque(test.tests)
        self.running: dict[Trial, MethodTest] = {}
        self.failed: list[tuple[MethodTest, str]] = []
        self.read = dict(test.changed)
        self._tid = b""

    def tid(self, transactor: Transactor) -> bytes:
        """The transaction as of which all of its methods are tried."""
        self._tid = self._tid or transactor.newest()
        return self._tid

    def record(self, transactor: Transactor) -> Callable[[bytes, bytes], tuple[bytes, bytes] | None]:
        """The records that its trials are given: what the import would store hides what is there."""
        overlay = self.test.overlay

        def load(oid: bytes, tid: bytes) -> tuple[bytes, bytes] | None:
            return (overlay[oid], tid) if oid in overlay else transactor.record(oid, tid)

        return load

    def verdict(self) -> ImportVerdict | ExampleFailed:
        """What came of it, once all are tried."""
        if not self.failed:
            return ImportVerdict(self.test.bundle, self.read)
        listed: list[dict[str, Any]] = [
            {"object": method.on, "selector": method.selector, "why": why} for method, why in self.failed[:LISTED]
        ]
        first = listed[0]
        return ExampleFailed(
            f"{len(self.failed)} of {len(self.test.tests)} imported methods do not do what their examples say: "
            f"{first['selector']} of {first['object']}: {first['why']}"[:500],
            "mend their sources or examples and import with --edited; nothing came in",
            failed=listed,
        )

    def cancel(self) -> None:
        for trial in self.running:
            trial.cancel()
        self.running.clear()


def _shortfall(outcome: TrialOutcome) -> str:
    if outcome.thought is not None:
        return "it asks a persona that is only being imported"
    return shortfall(outcome)
