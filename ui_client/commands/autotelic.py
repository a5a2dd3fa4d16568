"""`batos entropy`, `forge` and `batos adapters rollback`: how lively the image is, and what it does about it.

All of it is read from the object `autotelic_obj`, as any tool can; how far an order is that the forge has in hand is read from its report
in the home.
"""

import time
from pathlib import Path
from typing import Annotated, Any, Final
from xml.sax.saxutils import escape

import typer
from rich.table import Table
from rich.text import Text

from deploy import settings
from deploy.orders import Course, OrderReport, Spool
from ui_client import report, values
from ui_client.client.client import Client
from ui_client.commands import models
from ui_client.connection import connect
from ui_client.report import Failure, Json, answering

LOOP: Final = "autotelic_obj"
MIND: Final = "pLLM_obj"
GRAINS: Final = ("minutes", "quarters", "days")
PARTS: Final = ("selectors", "personas", "tokens", "growth", "cem")
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
_ROUND: Final = ("id", "phase", "outcome", "digest", "given", "installed", "cpu_s", "report", "verdict", "gap", "before", "shadow")
_UNDER_WAY: Final = ("forging", "shadow")
_GAP: Final = ("name", "words", "values", "weight", "tasks", "evidence", "messages", "measure")
_WIDTH, _HEIGHT = 720, 300

Id = Annotated[str, typer.Argument(metavar="ORDER", help="An order's id, or the beginning of it.")]


def register(app: typer.Typer) -> None:
    app.command()(entropy)
    group = typer.Typer(help="What the forge trains, and what became of it.", no_args_is_help=True)
    group.command("list")(list_orders)
    group.command()(show)
    group.command()(cancel)
    app.add_typer(group, name="forge")


def entropy(
    grain: Annotated[str, typer.Option(help="minutes (two hours), quarters of an hour (two days), or days (two years).")] = "minutes",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the rows as SVG.")] = None,
    as_json: Json = False,
) -> None:
    """The Composite Entropy Metric: how varied the image's life is, and what was decided because of it. docs/entropy.md."""
    with answering(as_json), connect() as client:
        if grain not in GRAINS:
            raise Failure("BadArgument", f"there is no grain {grain!r}", f"one of {', '.join(GRAINS)}")
        last = client.send(LOOP, "last")
        rows = [row for row in client.send(client.send(client.send(LOOP, "series"), grain), "rows") if len(row) == 3 + len(PARTS)]
        if plot is not None:
            plot.write_text(chart(rows, grain))
        if as_json:
            report.result({"last": last, "columns": ["at", "measured", "messages", *PARTS], "rows": rows})
            return
        table = Table("at (UTC)", "messages", *PARTS, box=None, pad_edge=False, header_style="bold")
        for row in rows[-20:]:
            moment = time.strftime("%m-%d %H:%M", time.gmtime(row[0]))
            table.add_row(moment, str(row[2]), *("" if value is None else f"{value:.3f}" for value in row[3:]))
        report.out.print(table if rows else "nothing was measured yet; the heartbeat measures once a minute")
        if last:
            report.note(f"{last['decision']}: {last['reason']}")
        if plot is not None:
            report.note(f"{plot} is drawn", style="green")


def list_orders(as_json: Json = False) -> None:
    """List the orders that the forge was given, the newest last."""
    with answering(as_json), connect() as client:
        orders = rounds(client)
        if as_json:
            report.result(orders)
            return
        table = Table("order", "given (UTC)", "phase", "step", "loss", "CPU s", "adapter", "what came of it", box=None, pad_edge=False)
        for row in orders:
            progress = row["report"] or {}
            given = time.strftime("%m-%d %H:%M", time.gmtime(row["given"]))
            step = f"{progress.get('step', 0)}/{progress.get('steps', 0)}"
            cells = (
                row["id"],
                given,
                row["phase"],
                step,
                progress.get("loss", ""),
                progress.get("cpu_s", ""),
                row["digest"][:12],
                row["outcome"],
            )
            table.add_row(*(Text(values.showable(str(cell))) for cell in cells))
        report.out.print(table if orders else "nothing was ordered yet; `batos entropy` says why")


def show(order: Id, as_json: Json = False) -> None:
    """Everything about one order: the gap, its data, the loss curve, what was measured, and the verdict."""
    with answering(as_json), connect() as client:
        row = found(client, order)
        row["losses"], row["distances"] = (went := course(row["id"])).losses, went.distances
        if as_json:
            report.result(row)
            return
        for line in told_of(row):
            report.out.print(Text(values.showable(line)), soft_wrap=True)


def cancel(order: Id, as_json: Json = False) -> None:
    """Have an order not be carried out any more, or its candidate not be put into service; with the heartbeat's next beat."""
    with answering(as_json), connect() as client:
        row = found(client, order)
        if row["phase"] not in _UNDER_WAY:
            raise Failure(
                "NotUnderWay", f"the order {row['id']} is not under way: {row['phase']}", "`batos forge list` shows those that are"
            )
        client.send(LOOP, "setSlot_value_", "cancel", row["id"])
        if as_json:
            report.result({"cancelled": row["id"]})
        else:
            report.note(f"{row['id']} will be cancelled with the next beat", style="green")


def rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept, and shown with each method.")] = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Put the adapter back that served before the one the loop put into service, and what that one wrote out of use; in one commit."""
    with answering(as_json), connect() as client:
        last = next((row for row in reversed(rounds(client)) if row["installed"]), None)
        # Its slot is not asked for: where it has none, that would be a message that nothing understands.
        serving = [row["digest"] for row in models.adapters(client) if MIND in row["used_by"]] if last is not None else []
        if last is None or serving != [last["digest"]]:
            raise Failure(
                "NothingToRollBack",
                "the adapter in service was not put there by the loop",
                "`batos adapters assign` puts another one there",
            )
        before = client.send(last["before"], "digest") if last["before"] is not None else None
        client.transaction([(MIND, "assignAdapter_", before), (MIND, "revokeAuthor_", "adapter", last["digest"], reason)])
        if as_json:
            report.result({"rolled_back": last["digest"], "serving": before})
        else:
            serves = f"the adapter {before[:12]}" if before else "the model as it is"
            report.note(f"{last['digest'][:12]} is rolled back; {serves} serves again, and what it wrote is out of use", style="green")


def rounds(client: Client) -> list[dict[str, Any]]:
    """All rounds that are kept, the newest last."""
    return [told(client, reference) for reference in client.send(LOOP, "rounds")]


def told(client: Client, reference: Any) -> dict[str, Any]:
    """A round as plain values; of one that the forge has in hand, how far it is."""
    slots = set(client.send(reference, "slotNames"))  # rounds of earlier versions have fewer, and nobody is to write a method for one
    row: dict[str, Any] = {name: client.send(reference, name) if name in slots else None for name in _ROUND}
    if row["gap"] is not None:
        row["gap"] = {name: client.send(row["gap"], name) for name in _GAP}
    if row["report"] is None and (progress := _report(row["id"])) is not None:
        row["report"] = {
            "state": progress.state,
            "step": progress.step,
            "steps": progress.steps,
            "loss": progress.loss,
            "distance": progress.distance,
            "cpu_s": progress.cpu_s,
        }
    return row


def found(client: Client, order: str) -> dict[str, Any]:
    """The round of that order. Raises Failure."""
    for reference in client.send(LOOP, "rounds"):
        if order and client.send(reference, "id").startswith(order):
            return told(client, reference)
    raise Failure("NoSuchOrder", f"there is no order {order!r}", "`batos forge list` shows those that there are")


def course(order: str) -> Course:
    """How training has gone so far, where the forge's directory is on this host."""
    return Spool(settings.load().home).course(order)


def told_of(row: dict[str, Any]) -> list[str]:
    """A round in lines."""
    progress, gap, verdict = row["report"] or {}, row["gap"], row["verdict"] or {}
    word = "passed the exam" if row["phase"] == "shadow" else verdict.get("fate", "")
    lines = [f"order {row['id']}: {row['phase']}{', ' + row['outcome'] if row['outcome'] else ''}"]
    if gap is not None:
        evidence = f"{len(gap['evidence'])} pieces of evidence: {', '.join(gap['messages'][:8])}"
        lines.append(f"gap: {gap['name']} ({', '.join(gap['words'])}), {evidence}")
    if progress.get("items"):
        counts = ", ".join(f"{count} {kind}" for kind, count in progress["items"].items())
        dropped = ", ".join(f"{count} {why}" for why, count in progress.get("dropped", {}).items())
        lines.append(f"data {progress['data'][:12]}: {counts}{'; dropped: ' + dropped if dropped else ''}")
        if progress.get("origins"):
            lines.append(f"learned from: {', '.join(progress['origins'][:16])}")
    for name, counts in progress.get("slices", {}).items():
        tasks = max(1, sum(counts.values()))
        before, after = (counts["both"] + counts["lost"]) / tasks, (counts["both"] + counts["gained"]) / tasks
        lines.append(f"{name}: {before:.0%} to {after:.0%} of {tasks} tasks ({counts['gained']} gained, {counts['lost']} lost)")
    if row.get("shadow"):
        lines.append(shadow_of(row["shadow"]))
    if verdict:
        lines.append(f"{word}: {'; '.join(verdict['reasons'])}")
    if row.get("losses"):
        curve = row["losses"]
        lines.append(f"loss: {curve[0]:.3f} at first, {min(curve):.3f} at best, {curve[-1]:.3f} after {len(curve)} steps")
    if progress.get("distance") is not None:
        stopped = f"; {progress['detail']}" if progress.get("detail") else ""
        lines.append(f"distance to the parent: {progress['distance']:.3f} nats a token{stopped}")
    return lines


def shadow_of(seen: list[dict[str, Any]]) -> str:
    """What a candidate would have done beside live messages, in a line."""
    installed = [each.get("candidate") for each in seen if each.get("current") == "installed"]
    counts = ", ".join(f"{installed.count(word)} {word}" for word in ("same", "other", "declined", "erred") if word in installed)
    beside = f"beside {len(installed)} that the adapter in service had installed: {counts}" if installed else "none of them installed"
    return f"shadow: {len(seen)} live messages, {beside}"


def chart(rows: list[list[Any]], title: str) -> str:
    """The parts and the whole over time, as SVG."""
    left, right, top, bottom = 40, 110, 30, 30
    first, last = (rows[0][0], rows[-1][0]) if rows else (0, 1)

    def place(at: float, value: float) -> str:
        across = left + (at - first) / max(1, last - first) * (_WIDTH - left - right)
        return f"{across:.1f} {top + (1 - value) * (_HEIGHT - top - bottom):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2}" y="18" text-anchor="middle">Composite Entropy Metric, {escape(title)}</text>',
    ]
    for tick in (0, 0.5, 1):
        start, end = place(first, tick), place(last, tick)
        lines.append(f'<path d="M{start}L{end}" stroke="#ddd" fill="none"/>')
        lines.append(f'<text x="{left - 6}" y="{float(start.split()[1]) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for number, (name, colour) in enumerate(zip(PARTS, _COLOURS, strict=True)):
        points = [place(row[0], row[3 + number]) for row in rows if row[3 + number] is not None]
        width = 2.5 if name == "cem" else 1.2
        if points:
            lines.append(f'<path d="M{"L".join(points)}" stroke="{colour}" stroke-width="{width}" fill="none"/>')
        lines.append(f'<text x="{_WIDTH - right + 10}" y="{top + 18 * number + 10}" fill="{colour}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _report(order: str) -> OrderReport | None:
    return Spool(settings.load().home).report(order)
