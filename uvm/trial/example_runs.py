"""A draft on its examples: whether each call does what the example says.

Runs in the trial child's only thread.
"""

from uvm.errors import AttemptEnded, ImageError
from uvm.protocol import Example, Reference
from uvm.runtime.attempt import Miss, Thought
from uvm.trial.effects import shortened_example
from uvm.trial.expectations import ExampleRun, difference
from uvm.trial.failures import call_text, explained, printable
from uvm.trial.protocol import Call
from uvm.trial.runner import TrialRunner


def shortfall_of(runner: TrialRunner, label: str, example: Example, subject: bytes) -> str:
    """What the draft did otherwise than this example says, on `subject`; nothing if it kept to it."""
    call = Call(example.args, example.kwargs)
    try:
        outcome = runner.carry_out(call, example.slots or {}, subject)
    except (Miss, Thought):
        raise
    except (AttemptEnded, ImageError) as error:
        run = ExampleRun(error=f"{error.type}: {error.message}", types=frozenset({error.type, explained(error).type}))
    else:
        if outcome.error is not None:
            run = ExampleRun(error=f"{outcome.error.type}: {outcome.error.message}", types=frozenset({outcome.error.type}))
        elif outcome.amnesia:
            return printable(f"{label}: {call_text(call)} would forget its change of {', '.join(outcome.amnesia)}")
        else:
            run = ExampleRun(result=outcome.result, effects=outcome.effects)
    unlike = difference(shortened_example(example), Reference(subject), call_text(call), run)
    return printable(f"{label}: {unlike}") if unlike else ""
