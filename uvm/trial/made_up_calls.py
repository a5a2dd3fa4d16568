"""A draft with made-up arguments: whether any of these calls has a result, and whether one does harm.

Runs in the trial child's only thread.
"""

from msgspec.structs import replace

from uvm.errors import AttemptEnded, ImageError
from uvm.runtime.attempt import Miss, Thought
from uvm.runtime.policy import LASTING
from uvm.trial.failures import call_text, explained, failed, in_call, is_ordinary, printable
from uvm.trial.protocol import TrialError, TrialOutcome
from uvm.trial.runner import TrialRunner


def outcome_of(runner: TrialRunner, alone: bool) -> TrialOutcome:
    """Calls with made-up arguments: the first one that had a result, or a failure when one did harm.

    An error of the method's own is no harm, for it was never meant to be called so. But where these calls are all that is known of
    it (`alone`), one at least must have a result.
    """
    request, shown = runner.request, TrialOutcome(kind="ok")
    tried, ended, why, began = 0, 0, "", runner.ticks_used
    for call in request.made_up:
        if tried and runner.ticks_used - began > request.ticks:
            break
        tried += 1
        try:
            outcome = runner.carry_out(call)
        except Miss as miss:
            why = why or f"{call_text(call)} sends {miss.reified.own('selector')}, which nobody understands"
            continue
        except Thought:
            if alone and tried == 1:
                raise
            continue
        except (AttemptEnded, ImageError) as error:
            if not is_ordinary(error, shown_how=bool(request.examples)):
                return replace(failed(in_call(call, explained(error))), made_up=tried, made_up_ended=ended)
            why = why or f"{call_text(call)} ended in {error.type}: {error.message}"
            continue
        if outcome.error is not None:
            return replace(failed(in_call(call, outcome.error)), made_up=tried, made_up_ended=ended)
        ended += 1
        if ended == 1 or outcome.amnesia:
            shown = outcome
        if outcome.amnesia:
            break
    # Policy is asked by the kernel alone, about messages and drafts that nothing can make up; offering it takes a right of its own.
    if alone and tried and not ended and request.selector not in LASTING:
        text = f"none of {tried} calls with made-up arguments had a result: {why or 'each asks the model'}"
        return replace(failed(TrialError("NoExample", printable(text))), made_up=tried)
    return replace(shown, made_up=tried, made_up_ended=ended)
