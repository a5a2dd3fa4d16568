"""`batos adapters` and `simulate`: the inference worker's own tools, run with the same streams."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ui_client.commands import revocation
from ui_client.report import Json


def register(app: typer.Typer) -> None:
    group = typer.Typer(name="adapters", invoke_without_command=True, rich_markup_mode=None)
    group.callback()(adapters)
    revocation.register_adapters(group)
    app.add_typer(group)
    app.command()(simulate)


def adapters(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many to list, the most recently used first.", min=0, max=100_000)] = 20,
    endpoint: Annotated[str, typer.Option(help="Address of the worker; by default the one in the settings.")] = "",
    as_json: Json = False,
) -> None:
    """Show where the worker's adapters are: in a slot, in RAM, on disk, at a peer; and how the tiers do. Or say whom to trust."""
    if context.invoked_subcommand is not None:
        return
    at = ["--endpoint", endpoint] if endpoint else []
    _run("inference_worker.server.reports", "--limit", str(limit), *at, as_json=as_json)


def simulate(
    trace: Annotated[Path, typer.Argument(help="Recorded by a worker, or drawn by `python -m inference_worker.simulator generate`.")],
    machine: Annotated[str, typer.Option(help="seed, seed-bnb, here, or a TOML or JSON file.")] = "seed",
    policy: Annotated[str, typer.Option(help="stock, lru, cost, predictive, or all.")] = "all",
    adapters: Annotated[str, typer.Option(help="Draw the trace again with so many adapters: 100,1000,10000.")] = "",
    skip: Annotated[float, typer.Option(help="Do not count the requests of the first seconds.", min=0)] = 0.0,
    plot: Annotated[Path | None, typer.Option(help="An SVG chart over the numbers of adapters.")] = None,
    as_json: Json = False,
) -> None:
    """Run TRACE on a simulated machine, with the scheduler's own core, and compare its policies with stock vLLM."""
    more = [*(["--adapters", adapters] if adapters else []), *(["--plot", str(plot)] if plot else [])]
    options = ["--machine", machine, "--policy", policy, "--skip", str(skip), *more]
    _run("inference_worker.simulator", "run", str(trace), *options, as_json=as_json)


def _run(module: str, *arguments: str, as_json: bool) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments, *(["--json"] if as_json else [])], check=False)
    # A tool that a signal ended has a negative status; a shell's convention is 128 and the signal.
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
