"""Runs of a trace under each policy, and of redrawn traces over numbers of adapters. One thread."""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from inference_worker.simulator import stock
from inference_worker.simulator.generate import generate
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.outcome import Outcome, outcome
from inference_worker.simulator.stock import StockWorker
from inference_worker.simulator.tiered import TieredWorker
from inference_worker.simulator.worker import SimulatedWorker
from inference_worker.trace import Trace, TraceError

POLICIES = (stock.NAME, "lru", "cost", "predictive")
"""What can be compared: vLLM by itself, and the worker's policies."""

Progress = Callable[[str, float], None]
"""Is told what runs, and what share of it is done."""


def simulate(
    trace: Trace, machine: SimulatedMachine, policy: str, skip_s: float = 0.0, progress: Progress = lambda _stage, _share: None
) -> Outcome:
    """One run. `skip_s`: requests that arrive before are not counted. Raises ValueError for an unknown policy."""
    worker: SimulatedWorker = StockWorker(machine, trace) if policy == stock.NAME else TieredWorker(machine, trace, policy)
    adapters = len(trace.adapters)
    worker.run(lambda share: progress(f"{policy}, {adapters} adapters", share))
    return outcome(worker, policy, adapters, skip_s)


def sweep(
    trace: Trace,
    machine: SimulatedMachine,
    policies: Iterable[str],
    adapters: Sequence[int],
    skip_s: float = 0.0,
    progress: Progress = lambda _stage, _share: None,
) -> list[Outcome]:
    """Every policy for every number of adapters, on the trace drawn again with that number.

    Raises TraceError for a recorded trace: it has the adapters that it has.
    """
    if trace.generated is None:
        raise TraceError(
            "a recorded trace cannot be drawn again for other numbers of adapters; "
            "generate one with `python -m inference_worker.simulator generate`, or leave --adapters and --plot out"
        )
    parameters = trace.generated
    drawn = [generate(replace(parameters, adapters=number)) for number in adapters]
    return [simulate(drawn_trace, machine, policy, skip_s, progress) for drawn_trace in drawn for policy in policies]
