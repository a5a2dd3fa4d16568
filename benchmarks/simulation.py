"""How well the simulator foretells the worker: a small trace played to the real one, and simulated with what was measured in this run.

`python benchmarks/simulation.py [--seconds S] [--rate R] [--machine-out FILE] [--json]`, from the repository's root, about three
minutes. First a worker is measured (steps, prompts, adapters' cost, loads), then a second, fresh one records requests for 12
adapters in 4 slots with RAM for 8, and then the record is simulated on the machine that was measured. Prints both side by side,
and the ratio of their times.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from inference_worker import console as results
from inference_worker.protocol import Adapters, AskAdapters, Completed, Generate, Warm
from inference_worker.simulator import tables as show
from inference_worker.simulator.generate import generate
from inference_worker.simulator.machine import LoraCost, SimulatedMachine, Speed
from inference_worker.simulator.outcome import Outcome, recorded
from inference_worker.simulator.presets import HERE
from inference_worker.simulator.runs import simulate
from inference_worker.trace import Trace, TraceParameters, in_order, read_trace
from tests.inference_worker import files
from tests.inference_worker.service import Client, running_worker
from tests.model import converted_model

ADAPTERS, SLOTS, IN_RAM, RANK = 12, 4, 8, 16
POLICY = "predictive"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TOKENS = 24
_PROMPT = "Once upon a time there was a"
_ANSWER_S = 120.0
_START_S = 180.0


class Bench:
    """A worker with a client, and requests that are all different, so that no prompt is in the prefix cache."""

    def __init__(self, client: Client, model: str, adapters: list[str]) -> None:
        self.client, self.model, self.adapters = client, model, adapters
        self._count = 0

    def request(self, tokens: int = TOKENS, adapter: str | None = None, words: int = 0, session: str = "") -> Generate:
        self._count += 1
        filling = " ".join(f"w{self._count}x{word}" for word in range(words))
        prompt = f"{self._count}. {filling} {_PROMPT}"
        return Generate(id=f"q{self._count}", model=self.model, prompt=prompt, max_tokens=tokens, adapter=adapter, session=session)

    def together(self, requests: list[Generate]) -> list[Completed]:
        """All at once; their answers. Raises RuntimeError when one fails."""
        for request in requests:
            self.client.send(request)
        answers = [self.client.finish(request.id, _ANSWER_S)[0] for request in requests]
        for answer in answers:
            if not isinstance(answer, Completed):
                raise RuntimeError(f"a request of the benchmark failed: {answer}")
        return [answer for answer in answers if isinstance(answer, Completed)]

    def step_s(self, adapters: list[str | None], rounds: int = 3) -> float:
        """Seconds of a decode step with a stream for each of these."""
        steps = []
        for _ in range(rounds):
            for completed in self.together([self.request(adapter=adapter) for adapter in adapters]):
                tokens = completed.outputs[0].tokens
                if tokens > 1:
                    steps.append((completed.queued_s + completed.engine_s - completed.first_token_s) / (tokens - 1))
        return statistics.median(steps)

    def first_s(self, words: int, adapter: str | None = None, rounds: int = 5) -> tuple[float, float]:
        """Median seconds to the first token, and mean tokens of the prompt."""
        completed = [self.together([self.request(tokens=2, words=words, adapter=adapter)])[0] for _ in range(rounds)]
        return statistics.median(completed.first_token_s for completed in completed), statistics.mean(
            completed.prompt_tokens for completed in completed
        )

    def tiers(self) -> Adapters:
        """The worker's own account. Raises RuntimeError."""
        self.client.send(AskAdapters(id=f"a{self._count}", limit=100))
        listing, _ = self.client.finish(f"a{self._count}", _ANSWER_S)
        if not isinstance(listing, Adapters):
            raise RuntimeError(f"asked for adapters, the worker answered {listing}")
        return listing


@contextlib.contextmanager
def bench(home: Path, count: int, seed: int, trace: Path | None = None, **settings: object) -> Iterator[Bench]:
    """A worker on a home of its own with so many adapters, its engine ready."""
    base = converted_model()
    model = files.put(base, home / "models")
    shapes = files.read(base)
    adapters = [
        files.put(
            files.random_adapter(home / "source" / f"a{n}", shapes, seed=seed + n, scale=0.001, rank=RANK, modules=MODULES),
            home / "adapters",
        )
        for n in range(count)
    ]
    arguments = ["--trace", str(trace)] if trace else []
    options = {"max_loras": SLOTS, "max_lora_rank": RANK, "policy": POLICY} | settings
    with running_worker(home, *arguments, **options) as worker, worker.client() as client:
        client.send(Warm(id="warm", model=model))
        client.finish("warm", _START_S)
        worker_bench = Bench(client, model, adapters)
        # What is done for the first time takes longer: not part of any figure.
        worker_bench.together([worker_bench.request() for _ in range(2)])
        yield worker_bench
        worker.terminate(30)


def loads(worker_bench: Bench) -> SimulatedMachine:
    """The sizes and speeds of loads, on a worker that has loaded nothing yet; all other costs are 0."""
    for adapter in worker_bench.adapters:
        # One after the other, with nobody else: a load is then all that a first token waits for.
        worker_bench.together([worker_bench.request(tokens=2, adapter=adapter)])
    tiers = {tier.name: tier for tier in worker_bench.tiers().tiers}
    size = tiers["warm"].used // len(worker_bench.adapters)
    return SimulatedMachine(
        name="measured",
        step_s=0.0,
        kv_tokens=HERE.kv_tokens,
        slots=SLOTS,
        rank_bytes=size / RANK,
        ram=int((IN_RAM + 0.5) * size),
        # All adapters here are of one size: how a time divides into latency and bytes makes no difference.
        read=Speed(bytes_s=size / tiers["warm"].move_s),
        commit=Speed(bytes_s=size / tiers["hot"].move_s),
    )


def steps(worker_bench: Bench) -> dict[str, float]:
    """What steps cost, seconds: each cost from the runs that differ in it alone."""
    base, eight = worker_bench.step_s([None]), worker_bench.step_s([None] * 8)
    short_s, short = worker_bench.first_s(10)
    long_s, long = worker_bench.first_s(60)
    first, *_ = hot = worker_bench.adapters[-SLOTS:]
    shared, mixed = worker_bench.step_s([first] * SLOTS), worker_bench.step_s(list(hot))
    adapted_s, _ = worker_bench.first_s(60, adapter=first)
    stream = max(0.0, (eight - base) / 7)
    adapter = max(0.0, (mixed - shared) / (SLOTS - 1))
    prefill = max(0.0, (long_s - short_s) / (long - short))
    # A prompt under an adapter and the shared batch give two equations for the cost of a step and that of a token.
    by_prompt, by_step = max(0.0, adapted_s - long_s), max(0.0, shared - base - stream * (SLOTS - 1))
    token = max(0.0, (by_prompt - by_step) / (long - SLOTS))
    return {
        "step_s": base - stream,
        "stream_s": stream,
        "prefill_token_s": prefill,
        "request_s": max(0.0, short_s - (base - stream) - prefill * short),
        "lora_step_s": max(0.0, by_step - adapter - SLOTS * token),
        "lora_adapter_s": adapter,
        "lora_token_s": token,
    }


def machine_of(loaded: SimulatedMachine, measured: list[dict[str, float]]) -> SimulatedMachine:
    """The machine with the means of the costs measured: the load of a shared machine changes meanwhile."""
    mean = {name: statistics.mean(costs[name] for costs in measured) for name in measured[0]}
    lora = LoraCost(**{name: mean.pop(f"lora_{name}") for name in ("step_s", "adapter_s", "token_s")})
    return msgspec.structs.replace(loaded, lora=lora, stock_lora=HERE.stock_lora, start_s=HERE.start_s, **mean)


def play(worker_bench: Bench, drawn: Trace) -> None:
    """Send each request when it is due; wait for all answers."""
    sent, began = [], time.monotonic()
    names = dict(zip(drawn.adapters, worker_bench.adapters, strict=True))
    for record in drawn.records:
        time.sleep(max(0.0, began + record.at - time.monotonic()))
        adapter = names[record.adapter] if record.adapter else None
        request = worker_bench.request(tokens=record.tokens, adapter=adapter, session=record.session)
        worker_bench.client.send(request)
        sent.append(request.id)
    for name in sent:
        answer, _ = worker_bench.client.finish(name, _ANSWER_S)
        if not isinstance(answer, Completed):
            raise RuntimeError(f"request {name} of the trace failed: {answer}")


def main() -> int:
    parser = argparse.ArgumentParser(description="The simulator beside the worker, on the same requests.")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the trace (default: 60)")
    parser.add_argument("--rate", type=float, default=1.2, help="requests a second (default: 1.2)")
    parser.add_argument("--machine-out", type=Path, help="write the measured machine, a JSON file for `batos simulate --machine`")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    drawn = generate(
        TraceParameters(
            adapters=ADAPTERS, rate=options.rate, seconds=options.seconds, sessions=4, tokens=TOKENS, interactive=0, background=0
        )
    )
    with tempfile.TemporaryDirectory(prefix="batos-") as directory:
        with bench(Path(directory) / "measured", SLOTS, 100) as measured:
            loaded, before = loads(measured), steps(measured)
        file = Path(directory) / "trace.jsonl"
        with bench(Path(directory) / "played", ADAPTERS, 200, file, ram_gib=loaded.ram / 2**30) as measured:
            play(measured, drawn)
            after = steps(measured)
        # Without what was measured, and with the bytes in RAM, where the worker records those of the file.
        sessions = {record.session for record in drawn.records}
        records = [msgspec.structs.replace(record, size=0) for record in read_trace(file).records if record.session in sessions]
    trace, machine = Trace(in_order(records)), machine_of(loaded, [before, after])
    real, simulated = recorded(trace), simulate(trace, machine, POLICY)
    if real is None:
        raise RuntimeError("the worker recorded no first token; nothing can be compared")
    if options.machine_out:
        options.machine_out.write_bytes(msgspec.json.format(msgspec.json.encode(machine), indent=2))
    comparison = report(real, simulated)
    modes = Counter(record.mode for record in records)
    if options.json:
        print(json.dumps({"machine": msgspec.to_builtins(machine), "before": before, "after": after, "modes": modes, **comparison}))
    else:
        console = results.console()
        console.print(show.table([real, simulated]))
        for name in before:
            print(f"{name}: {before[name] * 1000:.2f} ms before the trace, {after[name] * 1000:.2f} ms after it")
        print(f"read {size_s(machine, machine.read)}, commit {size_s(machine, machine.commit)}; computed as {dict(modes)}")
        print("simulated ÷ recorded:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in comparison["ratios"].items()))
    return 0


def size_s(machine: SimulatedMachine, speed: Speed) -> str:
    return results.seconds(speed.seconds(machine.slot_bytes))


def report(real: Outcome, simulated: Outcome) -> dict[str, dict[str, float]]:
    """Both, and how they compare: times as ratios, shares of requests as they are."""
    ratios = {f"first token {name}": simulated.first_token[name] / real.first_token[name] for name in ("mean", "p50", "p90", "p99")}
    both = {"recorded": real, "simulated": simulated}
    shares = {f"{name} {tier}": outcome.arrival_share(tier) for name, outcome in both.items() for tier in ("hot", "warm", "cold")}
    return {"ratios": ratios, "found": shares}


if __name__ == "__main__":
    sys.exit(main())
