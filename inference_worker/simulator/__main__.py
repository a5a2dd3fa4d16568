"""`python -m inference_worker.simulator generate | run`: draw a trace, or run one on a simulated machine.

`batos simulate` is `run`, started with the same streams. Progress goes to stderr.
Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from inference_worker import console as results
from inference_worker.simulator import tables as show
from inference_worker.simulator.generate import generate
from inference_worker.simulator.machine import MachineError
from inference_worker.simulator.outcome import Outcome, recorded
from inference_worker.simulator.presets import BUILT_IN, read_machine
from inference_worker.simulator.runs import POLICIES, simulate, sweep
from inference_worker.trace import TraceError, TraceParameters, read_trace, write_trace

_FIRST_WORD_S = 2.0
_NEXT_WORD_S = 1.0
_COUNTS = (10, 30, 100, 300, 1000, 3000, 10_000)

_HELP = {
    "adapters": "how many there are",
    "zipf": "exponent of their popularity; 0: all alike",
    "rate": "requests a second",
    "seconds": "length of the trace",
    "sessions": "sessions at once",
    "order": "how often a session follows its habit; 0: never",
    "prompt_tokens": "mean length of a prompt",
    "tokens": "mean length of an output",
    "interactive": "share of the sessions in which a person waits",
    "background": "share of the sessions in which nobody waits",
    "plain": "share of the requests without adapter",
    "seed": "of the draw",
}


_REMEDIES: dict[type[Exception], str] = {
    TraceError: "docs/simulator.md describes traces",
    MachineError: "docs/simulator.md describes machines",
}


class Simulated(Struct, frozen=True):
    """The result of `run --json`."""

    trace: str
    machine: str
    outcomes: list[Outcome]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _generate(options) if options.command == "generate" else _run(options)
    except (TraceError, MachineError, OSError, msgspec.ValidationError) as error:
        return results.failure(error, _REMEDIES.get(type(error), ""), options.json)


def _generate(options: argparse.Namespace) -> int:
    parameters = msgspec.convert({name: getattr(options, name) for name in TraceParameters.__struct_fields__}, TraceParameters)
    trace = generate(parameters)
    if options.out is None:
        write_trace(trace, sys.stdout.buffer)
    else:
        with Path(options.out).open("wb") as lines:
            write_trace(trace, lines)
        sys.stderr.write(f"{len(trace.records):,} requests over {parameters.adapters:,} adapters in {options.out}\n")
    return results.DONE


def _run(options: argparse.Namespace) -> int:
    machine = read_machine(options.machine)
    trace = read_trace(Path(options.trace))
    policies = POLICIES if options.policy == "all" else (options.policy,)
    progress = RunProgress()
    counts = options.adapters or (_COUNTS if options.plot else ())
    if counts:
        outcomes = sweep(trace, machine, policies, counts, options.skip, progress)
    else:
        real = recorded(trace, options.skip)
        outcomes = [*([real] if real else []), *(simulate(trace, machine, policy, options.skip, progress) for policy in policies)]
    progress.end()
    if options.plot:
        Path(options.plot).write_text(show.plot(machine, outcomes, _caption(outcomes[0].counted, trace.generated)))
    if options.json:
        return results.result(Simulated(options.trace, machine.name, outcomes))
    console = results.console()
    for number in dict.fromkeys(outcome.adapters for outcome in outcomes):
        compared = [outcome for outcome in outcomes if outcome.adapters == number]
        console.print(show.title(machine, compared[0]), soft_wrap=True)
        console.print(show.table(compared))
    return results.DONE


def _caption(counted: int, drawn: TraceParameters | None) -> str:
    if drawn is None:
        return f"{counted:,} requests"
    habit = f"{drawn.sessions} sessions that follow their habit {drawn.order:.0%} of the time"
    return f"about {counted:,} requests each, {drawn.rate:g} a second, Zipf {drawn.zipf:g}, {habit}"


class RunProgress:
    """Says on stderr what runs, once it has taken two seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _FIRST_WORD_S
        self._has_reported = False

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _NEXT_WORD_S
            self._has_reported = True
            terminal = sys.stderr.isatty()
            sys.stderr.write(f"\r\x1b[K{stage}: {share:.0%}" if terminal else f"{stage}: {share:.0%}\n")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave a clean line."""
        if self._has_reported and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inference_worker.simulator", description="The inference worker, simulated.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    draw = commands.add_parser("generate", help="draw a trace", description="Draw a trace of requests; the same options give the same one.")
    defaults = TraceParameters()
    for name in TraceParameters.__struct_fields__:
        value = getattr(defaults, name)
        option = "--" + name.replace("_", "-")
        draw.add_argument(option, type=type(value), default=value, metavar="N", help=f"{_HELP[name]} (default: {value})")
    draw.add_argument("--out", metavar="FILE", help="where to (default: stdout)")
    draw.set_defaults(json=False)
    run = commands.add_parser("run", help="run a trace", description="Run a trace on a simulated machine.")
    run.add_argument("trace", metavar="TRACE", help="a file of `generate`, or what a worker recorded with --trace")
    run.add_argument("--machine", default="seed", metavar="NAME", help=f"{', '.join(BUILT_IN)}, or a TOML or JSON file (default: seed)")
    run.add_argument("--policy", choices=(*POLICIES, "all"), default="all", help="which to run (default: all)")
    run.add_argument("--adapters", type=_counts, default=(), metavar="N,…", help="draw the trace again with so many adapters")
    run.add_argument("--skip", type=float, default=0.0, metavar="S", help="do not count the requests of the first seconds (default: 0)")
    run.add_argument("--plot", metavar="FILE", help="an SVG chart over the numbers of --adapters (default: 10 to 10,000)")
    run.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(number) for number in text.split(","))
    if not all(1 <= number <= 1_000_000 for number in counts):
        raise argparse.ArgumentTypeError(f"{text}: a number of adapters is 1 to 1,000,000")
    return counts


if __name__ == "__main__":
    sys.exit(main())
