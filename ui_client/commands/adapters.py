"""`batos adapters`: which adapters the image keeps and who speaks with which, and where the worker has them. `batos simulate`.

Without a subcommand, `batos adapters` and `simulate` are the inference worker's own tools, run with the same streams.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy import settings
from ui_client import imports, report, values
from ui_client.commands import autotelic, models, prompt, revocation
from ui_client.commands.models import CalledAs, NameOrDigest
from ui_client.connection import connect
from ui_client.report import Failure, Json, answering
from ui_client.steps import Steps


def register(app: typer.Typer) -> None:
    group = typer.Typer(help=adapters.__doc__, invoke_without_command=True, rich_markup_mode=None)
    group.callback()(adapters)
    group.command("import")(import_adapter)
    group.command("list")(list_adapters)
    group.command()(assign)
    group.command()(remove)
    group.command()(autotelic.rollback)
    revocation.register_adapters(group)
    app.add_typer(group, name="adapters")
    app.command()(simulate)


def import_adapter(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory as PEFT writes it.")],
    name: CalledAs = "",
    base: Annotated[str, typer.Option(help="The model that it belongs to; default: what it says, else the first that it fits.")] = "",
    as_json: Json = False,
) -> None:
    """Check an adapter as the worker does, and keep its files in the image, in one commit; nobody speaks with it yet.

    Run it on the service's host. When it is cut off, nothing has happened.
    """
    with answering(as_json):
        configuration = settings.load()
        with connect(configuration) as client:
            rows = models.models(client)
        # The one in force first: an adapter that names no model may fit several.
        bases = sorted((row for row in rows if base in ("", row["name"]) or row["digest"].startswith(base)), key=_in_force)
        if base and not bases:
            raise Failure("NoSuchModel", f"the image has no model {base!r}", "`batos model list` shows those that it has")
        began = time.monotonic()
        digests = [row["digest"] for row in bases]
        result = imports.bring_in(configuration, Steps(report.err), "adapter", directory, name, digests)
        if as_json:
            report.result(result | {"seconds": round(time.monotonic() - began, 3)})
            return
        digest = result["digest"][:12]
        report.note(
            f"{result['name']}@{digest} is in the image; `batos adapters assign PERSONA {digest}` has one speak with it", style="green"
        )


def _in_force(row: dict[str, object]) -> bool:
    used_by = row["used_by"]
    return not (isinstance(used_by, list) and models.MIND in used_by)


def list_adapters(as_json: Json = False) -> None:
    """List the image's adapters: whose they are, who speaks with each, and whether a judgement of its drafts came with it.

    One without is weighed by the judgement that ships, which was not fitted to it.
    """
    with answering(as_json), connect() as client:
        rows = models.adapters(client)
        if as_json:
            report.result(rows)
            return
        named = {row["digest"]: row["name"] for row in models.models(client)}
        table = Table("name", "digest", "of", "rank", "MB", "state", "judgement", "used by", box=None, pad_edge=False, header_style="bold")
        for row in rows:
            base = str(row.get("base") or "")
            of, size = named.get(base, base[:12]), f"{row.get('bytes', 0) / 1e6:.1f}"
            used_by = row.get("damaged") or ", ".join(row["used_by"])
            cells = (row["name"], row["digest"][:12], of, row.get("rank", ""), size, row.get("state", "damaged"), _judgement(row), used_by)
            table.add_row(*(Text(values.showable(str(cell))) for cell in cells))
        report.out.print(table)


def _judgement(row: dict[str, object]) -> str:
    return "its own" if row.get("judgement") else "none of its own"


def assign(
    persona: Annotated[str, typer.Argument(help="A persona, such as robin; pLLM_obj for all that have none of their own.")],
    name: Annotated[str, typer.Argument(metavar="ADAPTER", help="A name, a digest or its beginning; `none`: what it inherits.")],
    as_json: Json = False,
) -> None:
    """Have a persona speak with an adapter of its own: its drafts, in every process, from the next one on.

    Of pLLM_obj, the judgement that came with the adapter (decision.json beside its weights) weighs all drafts from then on; where none
    did, the one that ships, which was not fitted to it. A judgement that a message has put there stays.
    """
    with answering(as_json), connect() as client:
        assignment = client.send(values.target(persona), "assignAdapter_", None if name == "none" else name)
        if as_json:
            report.result(assignment)
        else:
            speaks = (
                f"{assignment['adapter']['name']}@{assignment['adapter']['digest'][:12]}" if assignment["adapter"] else "the model as it is"
            )
            report.note(f"{persona} speaks with {speaks}", style="green")
            if not assignment["judgement"]["fitted"]:
                report.note(prompt.weighing(assignment["judgement"]), style="yellow")


def remove(name: NameOrDigest, as_json: Json = False) -> None:
    """Take an adapter that no persona uses out of the image; `batos image pack` frees its space."""
    with answering(as_json), connect() as client:
        removed = client.send(models.MIND, "removeAdapter_", name)
        if as_json:
            report.result(removed)
        else:
            report.note(f"{removed['name']} is no adapter of the image any more; `batos image pack` frees its space", style="green")


def adapters(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many to list, the most recently used first.", min=0, max=100_000)] = 20,
    endpoint: Annotated[str, typer.Option(help="Address of the worker; by default the one in the settings.")] = "",
    as_json: Json = False,
) -> None:
    """Without a command: where the worker's adapters are, in a slot, in RAM, on disk, at a peer; and how the tiers do."""
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
