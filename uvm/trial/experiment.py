"""A trial's experiment: the message itself, its examples, made-up arguments and perturbed copies, and what came of all of it.

Runs in the trial child's only thread, confined (`uvm.trial.child`), and asks for records through a function: nothing here knows where they
come from. What it finds is an opinion about one draft.
"""

import time
from collections.abc import Callable

from msgspec.structs import replace

from uvm.errors import AttemptEnded, ImageError
from uvm.image.image import Image
from uvm.protocol import Reference
from uvm.runtime.attempt import Attempt, Miss, Thought
from uvm.trial import example_runs, made_up_calls, varied_runs
from uvm.trial.effects import uncommitted
from uvm.trial.failures import explained, failed, line_of, literal_of
from uvm.trial.protocol import (
    Call,
    Need,
    NeededThought,
    ParentGone,
    ProtocolViolation,
    TrialError,
    TrialOutcome,
    TrialRequest,
)
from uvm.trial.runner import LoadRecord, TrialRunner
from uvm.values.crossing import to_wire


def carry_out(request: TrialRequest, load: LoadRecord, waited: Callable[[], float] = lambda: 0.0) -> TrialOutcome:
    """Try the draft. `load` gives the records of the image, `waited` the seconds spent on them. Whatever the draft does is in the outcome.

    Raises ParentGone and ProtocolViolation when `load` does.
    """
    began = time.monotonic() - waited()
    runner = TrialRunner(request, load, waited)
    experiment = _Experiment(runner)
    try:
        outcome = experiment.outcome()
    except (ParentGone, ProtocolViolation):
        raise
    except (AttemptEnded, Exception) as error:  # noqa: BLE001  whatever a draft brings about is its own failure, and is reported
        outcome = experiment.interrupted(error)
    return replace(outcome, ticks_used=runner.ticks_used, seconds=time.monotonic() - waited() - began)


class _Experiment:
    """One request being carried out."""

    def __init__(self, runner: TrialRunner) -> None:
        self._runner = runner
        self._request = runner.request

    def outcome(self) -> TrialOutcome:
        """Run the message, the examples, and what was made up. Raises whatever the message raises."""
        request = self._request
        message = self._message() if request.send else None
        missed, looked = [], []
        for number, example in enumerate(request.examples, 1):
            label = request.labels[number - 1] if number <= len(request.labels) else f"example {number}"
            subject = request.subjects[number - 1] if number <= len(request.subjects) else request.receiver
            if subject != request.receiver:
                label += f", on {Reference(subject)}"
            missed += [text] if (text := example_runs.shortfall_of(self._runner, label, example, subject)) else []
            looked.append(self._runner.looked())
        made_up = made_up_calls.outcome_of(self._runner, alone=message is None and not request.examples)
        fit = made_up.kind == "ok" and not made_up.amnesia
        well = fit and message is not None and message.kind == "ok" and not message.amnesia and not missed
        return replace(
            message if fit and message is not None else made_up,
            varied=varied_runs.runs_of(self._runner) if well else [],
            made_up=made_up.made_up,
            made_up_ended=made_up.made_up_ended,
            examples=len(request.examples),
            examples_passed=len(request.examples) - len(missed),
            examples_missed=missed,
            looked=looked,
        )

    def _message(self) -> TrialOutcome:
        """The message itself, which an example may expect to fail. Raises whatever it raises."""
        request = self._request
        try:
            return self._runner.carry_out(Call(request.args, request.kwargs))
        except (Miss, Thought):
            raise
        except (AttemptEnded, ImageError) as error:
            if request.raises and request.raises in (error.type, explained(error).type):
                return TrialOutcome(kind="ok")
            raise

    def interrupted(self, error: BaseException) -> TrialOutcome:
        """The outcome of a trial that was ended by `error`."""
        image, attempt = self._runner.image, self._runner.attempt
        if image is not None and attempt is not None and isinstance(error, Miss):
            return self._need(image, attempt, error)
        if image is not None and isinstance(error, Thought):
            persona = image.reference(error.persona)
            return TrialOutcome(kind="thought", thought=NeededThought(error.key, persona, error.prompt, error.max_tokens))
        return failed(explained(error))

    def _need(self, image: Image, attempt: Attempt, miss: Miss) -> TrialOutcome:
        """The draft sent what nothing understands: the method that it needs, or why none would help."""
        message, receiver = miss.reified, miss.receiver
        selector = str(message.own("selector"))
        if selector == self._request.selector and image.reference(receiver).oid == self._request.receiver:
            return failed(TrialError("NotUnderstood", f"{literal_of(image, receiver)} does not answer {selector} then"))
        if selector == self._request.selector:
            text = f"the method sends {selector} on to {literal_of(image, receiver)}, which has no such method either"
            return failed(TrialError("NotUnderstood", text, line_of(miss)))
        return TrialOutcome(
            kind="need",
            need=Need(
                receiver=image.reference(receiver),
                selector=selector,
                args=[to_wire(value, image.reference) for value in message.own("arguments")],
                kwargs={name: to_wire(value, image.reference) for name, value in message.own("keywords").items()},
                made=attempt.is_new(receiver),
                overlay={**self._request.overlay, **uncommitted(image, attempt)},
            ),
        )
