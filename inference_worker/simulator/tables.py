"""How outcomes are shown: a table for a person, a chart for a document. Pure."""

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from inference_worker.console import seconds, size
from inference_worker.simulator.charts import Panel, Series, chart
from inference_worker.simulator.machine import SimulatedMachine
from inference_worker.simulator.outcome import RECORDED, Outcome

_ROWS: list[tuple[str, Callable[[Outcome], str]]] = [
    ("hot at arrival", lambda one: f"{one.found('hot'):.1%}"),
    ("hot or warm", lambda one: f"{one.found('hot', 'warm'):.1%}"),
    ("cold", lambda one: f"{one.found('cold'):.1%}"),
    ("remote", lambda one: f"{one.found('remote'):.1%}"),
    ("first token, p50", lambda one: seconds(one.first_token["p50"])),
    ("first token, p90", lambda one: seconds(one.first_token["p90"])),
    ("first token, p99", lambda one: seconds(one.first_token["p99"])),
    ("  p99, interactive", lambda one: seconds(one.first_token_p99.get("interactive", 0.0))),
    ("  p99, background", lambda one: seconds(one.first_token_p99.get("background", 0.0))),
    ("tokens/s", lambda one: f"{one.tokens_s:.1f}"),
    ("engine busy", lambda one: f"{one.busy:.0%}"),
    ("into a slot, out of it", lambda one: _moves(one, "hot")),
    ("into RAM, out of it", lambda one: _moves(one, "warm")),
    ("bytes in RAM", lambda one: size(next((tier.used for tier in one.tiers if tier.name == "warm"), 0))),
    ("prefetched, used", lambda one: f"{one.prefetched:,}, {one.prefetched_used:,}"),
    ("stalls of others", lambda one: f"{one.stalls:,}"),
    ("  the longest, all", lambda one: f"{seconds(one.stall_longest_s)}, {seconds(one.stall_total_s)}"),
    ("refused, unfinished", lambda one: f"{one.refused:,}, {one.unfinished:,}"),
]

# A trace does not say the rest.
_IN_A_TRACE = {name for name, _ in _ROWS[:10]}


def table(outcomes: Sequence[Outcome]) -> Table:
    """The outcomes side by side, a column a run; that of remote adapters is left out where there are none."""
    shown = Table("", box=None, pad_edge=False, header_style="bold")
    for one in outcomes:
        shown.add_column(Text(one.policy), justify="right")
    for name, cell in _ROWS:
        cells = ["" if one.policy == RECORDED and name not in _IN_A_TRACE else cell(one) for one in outcomes]
        if name != "remote" or any(one.found("remote") for one in outcomes):
            shown.add_row(name, *cells)
    return shown


def plot(machine: SimulatedMachine, outcomes: Sequence[Outcome], caption: str) -> str:
    """Hit rates and the p99 of the first token against the number of adapters, a line for each policy, as SVG."""
    policies = list(dict.fromkeys(one.policy for one in outcomes))

    def lines(value: Callable[[Outcome], float]) -> list[Series]:
        ordered = sorted(outcomes, key=lambda one: one.adapters)
        return [Series(policy, [(one.adapters, value(one)) for one in ordered if one.policy == policy]) for policy in policies]

    def waits(title: str, value: Callable[[Outcome], float]) -> Panel:
        # At least a millisecond: a logarithm has no place for none.
        return Panel(title, "adapters", "seconds", lines(lambda one: max(value(one), 1e-3)), logarithmic=True)

    panels = [
        Panel("hot at arrival", "adapters", "requests", lines(lambda one: one.found("hot")), percent=True),
        Panel("hot or warm at arrival", "adapters", "requests", lines(lambda one: one.found("hot", "warm")), percent=True),
        waits("first token, p99", lambda one: one.first_token["p99"]),
    ]
    if all("interactive" in one.first_token_p99 for one in outcomes):
        panels.append(waits("the same, a person waiting", lambda one: one.first_token_p99["interactive"]))
    return chart(f"Adapters on the machine “{machine.name}”, simulated", panels, caption)


def _moves(one: Outcome, name: str) -> str:
    tier = next((tier for tier in one.tiers if tier.name == name), None)
    return f"{tier.entered:,}, {tier.evicted:,}" if tier else ""


def title(machine: SimulatedMachine, one: Outcome) -> Text:
    """What was simulated, in one line."""
    ram = f"{size(machine.ram)} of RAM" if machine.ram else "unbounded RAM"
    return Text(
        f"{machine.name}: {one.adapters:,} adapters, {machine.slots} slots of rank {machine.max_rank}, {ram} for adapters, "
        f"{machine.kv_tokens:,} tokens of KV cache; {one.counted:,} requests for {one.asked_for:,} adapters",
        style="bold",
    )
