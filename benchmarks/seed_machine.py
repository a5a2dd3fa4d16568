"""What to expect of the seed's machine, simulated: the tables of docs/gpu.md. About two minutes; nothing here is a measurement.

`python benchmarks/seed_machine.py`, from the repository's root.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from msgspec.structs import replace

from inference_worker.console import seconds
from inference_worker.engine.memory_plan import gpu_memory_plan
from inference_worker.errors import EngineStartFailed
from inference_worker.simulator.generate import generate
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.outcome import Outcome
from inference_worker.simulator.presets import GB, GIB, GPTQ_BITS, SEED, gpu_machine, seed_settings
from inference_worker.simulator.runs import POLICIES, simulate
from inference_worker.simulator.shapes import LLAMA_8B
from inference_worker.trace import Trace, TraceParameters

SKIP_S = 600.0
OURS = "predictive"
PACKED = LLAMA_8B.model(GPTQ_BITS, GPTQ_BITS)
MODELS = {
    "GPTQ, head packed too": (PACKED, ""),
    "GPTQ or AWQ, head in 16 bits": (LLAMA_8B.model(GPTQ_BITS), ""),
    "bitsandbytes, head in 16 bits": (LLAMA_8B.model(), "bitsandbytes"),
}


def drawn(adapters: int = 1000, rate: float = 2.0, prompt_tokens: float = 60.0) -> Trace:
    return generate(TraceParameters(adapters=adapters, rate=rate, seconds=3600.0, sessions=50, prompt_tokens=prompt_tokens))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """One table of Markdown."""
    heads = list(heads)
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def plans() -> Iterable[list[str]]:
    """How the memory plan divides the VRAM, for as many slots as fit up to 64."""
    for name, (model, quantization) in MODELS.items():
        for vram in (6.9 * GB / GIB, 6.9):
            for rank in (16, 8):
                settings = seed_settings(64, rank, vram_gib=vram, quantization=quantization)
                label = f"{vram * GIB / GB:.1f} GB"
                try:
                    plan = gpu_memory_plan(settings, model)
                except EngineStartFailed:
                    yield [name, label, str(rank), "", "", "does not fit", ""]
                    continue
                sizes = [f"{size / GB:.2f} GB" for size in (plan.weights, plan.overhead)]
                yield [name, label, str(rank), *sizes, str(plan.slots), f"{plan.tokens:,}"]


def hot_and_warm(outcome: Outcome) -> list[str]:
    return [f"{outcome.arrival_share('hot'):.0%}", f"{outcome.arrival_share('hot', 'warm'):.0%}"]


def firsts(outcome: Outcome) -> list[str]:
    return [
        seconds(outcome.first_token["p50"]),
        seconds(outcome.first_token["p99"]),
        seconds(outcome.first_token_p99.get("interactive", 0.0)),
    ]


def by_adapters() -> Iterable[list[str]]:
    for adapters in (100, 1000, 10_000):
        trace = drawn(adapters)
        for policy in POLICIES:
            outcome = simulate(trace, SEED, policy, SKIP_S)
            stood_still = [f"{outcome.stall_total_s / outcome.seconds:.1%}", seconds(outcome.stall_longest_s)]
            yield [f"{adapters:,}", policy, *hot_and_warm(outcome), *firsts(outcome), *stood_still]


def by_slots() -> Iterable[list[str]]:
    for slots, rank in ((2, 16), (4, 16), (6, 16), (8, 16), (10, 16), (16, 8), (20, 8)):
        machine = gpu_machine(f"{slots} slots", "", PACKED, seed_settings(slots, rank))
        for rate, prompt_tokens in ((2.0, 60), (1.0, 600)):
            trace = drawn(rate=rate, prompt_tokens=prompt_tokens)
            outcomes = [simulate(trace, machine, policy, SKIP_S) for policy in ("stock", OURS)]
            cells = [cell for outcome in outcomes for cell in (hot_and_warm(outcome)[0], *firsts(outcome)[1:])]
            yield [str(machine.slots), str(rank), f"{machine.kv_tokens:,}", f"{rate:g} of {prompt_tokens}", *cells]


def what_limits() -> Iterable[list[str]]:
    """One thing made better at a time."""
    variants: dict[str, SimulatedMachine] = {
        "as it is": SEED,
        "twice the slots": replace(SEED, slots=2 * SEED.slots),
        "twice the KV cache": replace(SEED, kv_tokens=2 * SEED.kv_tokens),
        "twice the RAM": replace(SEED, ram=2 * SEED.ram),
        "disk four times as fast": replace(SEED, read=replace(SEED.read, bytes_s=4 * SEED.read.bytes_s)),
        "disk a tenth as fast": replace(SEED, read=replace(SEED.read, bytes_s=SEED.read.bytes_s / 10)),
        "PCIe half as fast": replace(SEED, commit=replace(SEED.commit, bytes_s=SEED.commit.bytes_s / 2)),
    }
    trace = drawn(10_000)
    for name, machine in variants.items():
        outcome = simulate(trace, machine, OURS, SKIP_S)
        yield [name, *hot_and_warm(outcome), *firsts(outcome), f"{outcome.busy:.0%}"]


def main() -> int:
    first = ["first token p50", "p99", "p99, a person waiting"]
    table(["model", "VRAM", "rank", "weights", "framework", "slots at most", "tokens of KV cache then"], plans())
    table(["adapters", "policy", "hot", "hot or warm", *first, "engine stood still", "longest"], by_adapters())
    both = [f"{name}: {figure}" for name in ("stock", OURS) for figure in ("hot", "p99", "p99, a person")]
    table(["slots", "rank", "tokens of KV cache", "requests/s, prompt", *both], by_slots())
    table(["10,000 adapters", "hot", "hot or warm", *first, "engine busy"], what_limits())
    return 0


if __name__ == "__main__":
    sys.exit(main())
