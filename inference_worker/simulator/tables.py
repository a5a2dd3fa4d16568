"""How outcomes are shown: a table for a person, a chart for a document. Pure."""

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from inference_worker.console import seconds, size
from inference_worker.simulator.charts import Panel, Series, chart
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.outcome import RECORDED, Outcome

_ROWS: list[tuple[str, Callable[[Outcome], str]]] = [
    ("hot at arrival", lambda run: f"{run.arrival_share('hot'):.1%}"),
    ("hot or warm", lambda run: f"{run.arrival_share('hot', 'warm'):.1%}"),
    ("cold", lambda run: f"{run.arrival_share('cold'):.1%}"),
    ("remote", lambda run: f"{run.arrival_share('remote'):.1%}"),
    ("first token, p50", lambda run: seconds(run.first_token["p50"])),
    ("first token, p90", lambda run: seconds(run.first_token["p90"])),
    ("first token, p99", lambda run: seconds(run.first_token["p99"])),
    ("  p99, interactive", lambda run: seconds(run.first_token_p99.get("interactive", 0.0))),
    ("  p99, background", lambda run: seconds(run.first_token_p99.get("background", 0.0))),
    ("tokens/s", lambda run: f"{run.tokens_s:.1f}"),
    ("engine busy", lambda run: f"{run.busy:.0%}"),
    ("into a slot, out of it", lambda run: _moves(run, "hot")),
    ("into RAM, out of it", lambda run: _moves(run, "warm")),
    ("bytes in RAM", lambda run: size(next((tier.used for tier in run.tiers if tier.name == "warm"), 0))),
    ("prefetched, used", lambda run: f"{run.prefetched:,}, {run.prefetched_used:,}"),
    ("stalls of others", lambda run: f"{run.stalls:,}"),
    ("  the longest, all", lambda run: f"{seconds(run.stall_longest_s)}, {seconds(run.stall_total_s)}"),
    ("refused, unfinished", lambda run: f"{run.refused:,}, {run.unfinished:,}"),
]

# A trace does not say the rest.
_IN_A_TRACE = {name for name, _ in _ROWS[:10]}


def table(outcomes: Sequence[Outcome]) -> Table:
    """The outcomes side by side, a column a run; that of remote adapters is left out where there are none."""
    grid = Table("", box=None, pad_edge=False, header_style="bold")
    for run in outcomes:
        grid.add_column(Text(run.policy), justify="right")
    for name, cell in _ROWS:
        cells = ["" if run.policy == RECORDED and name not in _IN_A_TRACE else cell(run) for run in outcomes]
        if name != "remote" or any(run.arrival_share("remote") for run in outcomes):
            grid.add_row(name, *cells)
    return grid


def plot(machine: SimulatedMachine, outcomes: Sequence[Outcome], caption: str) -> str:
    """Hit rates and the p99 of the first token against the number of adapters, a line for each policy, as SVG."""
    policies = list(dict.fromkeys(run.policy for run in outcomes))

    def lines(value: Callable[[Outcome], float]) -> list[Series]:
        ordered = sorted(outcomes, key=lambda run: run.adapters)
        return [Series(policy, [(run.adapters, value(run)) for run in ordered if run.policy == policy]) for policy in policies]

    def waits(title: str, value: Callable[[Outcome], float]) -> Panel:
        # At least a millisecond: a logarithm has no place for none.
        return Panel(title, "adapters", "seconds", lines(lambda run: max(value(run), 1e-3)), logarithmic=True)

    panels = [
        Panel("hot at arrival", "adapters", "requests", lines(lambda run: run.arrival_share("hot")), percent=True),
        Panel("hot or warm at arrival", "adapters", "requests", lines(lambda run: run.arrival_share("hot", "warm")), percent=True),
        waits("first token, p99", lambda run: run.first_token["p99"]),
    ]
    if all("interactive" in run.first_token_p99 for run in outcomes):
        panels.append(waits("the same, a person waiting", lambda run: run.first_token_p99["interactive"]))
    return chart(f"Adapters on the machine “{machine.name}”, simulated", panels, caption)


def _moves(run: Outcome, name: str) -> str:
    tier = next((tier for tier in run.tiers if tier.name == name), None)
    return f"{tier.entered:,}, {tier.evicted:,}" if tier else ""


def title(machine: SimulatedMachine, run: Outcome) -> Text:
    """What was simulated, in one line."""
    ram = f"{size(machine.ram)} of RAM" if machine.ram else "unbounded RAM"
    return Text(
        f"{machine.name}: {run.adapters:,} adapters, {machine.slots} slots of rank {machine.max_rank}, {ram} for adapters, "
        f"{machine.kv_tokens:,} tokens of KV cache; {run.counted:,} requests for {run.asked_for:,} adapters",
        style="bold",
    )
