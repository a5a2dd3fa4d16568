"""`batos model`: which language models the image keeps, and which one it thinks with."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy import settings
from deploy.settings import Configuration
from ui_client import child, imports, report, values
from ui_client.client.client import Client
from ui_client.client.errors import ClientError
from ui_client.connection import connect
from ui_client.report import Failure, Json, answering
from ui_client.steps import Steps

MIND = "pLLM_obj"
"""The persona from which all others inherit their model."""

NameOrDigest = Annotated[str, typer.Argument(help="A name, a digest, or the beginning of a digest.")]
CalledAs = Annotated[str, typer.Option(help="What it is called; default: the directory's or the file's name.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Bring language models into the image, and choose the one that it thinks with.", no_args_is_help=True)
    group.command("import")(import_model)
    group.command("list")(list_models)
    group.command()(use)
    group.command()(remove)
    app.add_typer(group, name="model")


def import_model(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A directory in Hugging Face's layout, or a GGUF file.")],
    name: CalledAs = "",
    as_json: Json = False,
) -> None:
    """Check a model and keep its files in the image, in one commit; nothing uses it yet.

    Run it on the service's host. It is whole before it is taken in: every file of weights, the tokenizer, the configuration. When it
    is cut off, nothing has happened.
    """
    with answering(as_json):
        configuration = settings.load()
        connect(configuration).close()
        began = time.monotonic()
        result = imports.bring_in(configuration, Steps(report.err), "model", source, name)
        if as_json:
            report.result(result | {"seconds": round(time.monotonic() - began, 3)})
            return
        if not result["chat"]:
            report.note("it has no chat template: a plan with `chat` cannot be asked of it", style="yellow")
        report.note(f"{result['name']} is in the image; `batos model use {result['name']}` has it think", style="green")


def list_models(as_json: Json = False) -> None:
    """List the image's models, and who thinks with each."""
    with answering(as_json), connect() as client:
        rows = models(client)
        if as_json:
            report.result(rows)
            return
        table = Table("name", "digest", "MB", "imported", "used by", box=None, pad_edge=False, header_style="bold")
        for row in rows:
            size = f"{row.get('bytes', 0) / 1e6:.1f}"
            cells = (row["name"], row["digest"][:12], size, row.get("imported", ""), row.get("damaged") or ", ".join(row["used_by"]))
            table.add_row(*(Text(values.showable(str(cell))) for cell in cells))
        report.out.print(table)


def use(
    name: NameOrDigest,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, whatever does not fit any more.")] = False,
    wait: Annotated[bool, typer.Option(help="Start the engine, and wait for its first word.")] = True,
    as_json: Json = False,
) -> None:
    """Have the image think with another of its models, in one commit, in every process from then on.

    Says first which adapters do not fit it; who has one of those then speaks with the model as it is, until another adapter is
    assigned, or the model is changed back. Requests under way end with the model that they were begun with.
    """
    with answering(as_json):
        configuration = settings.load()
        with connect(configuration) as client:
            unfit = _unfit(client, name)
            for adapter in unfit if not as_json else []:
                report.note(f"{adapter['name']} of {', '.join(adapter['used_by'])} does not fit: the model as it is serves instead")
            if unfit and not yes and (as_json or not typer.confirm("Use it?", err=True)):
                raise Failure("NotConfirmed", "nothing was changed", "`--yes` does it without asking", details={"unfit": unfit})
            result = client.send(MIND, "useModel_", name)
            if wait:
                result["first_word_s"] = _first_word(configuration, client, result)
        if as_json:
            report.result(result)
        else:
            before = result["before"]["name"] if result["before"] else "none"
            report.note(f"{result['model']['name']} thinks in place of {before}", style="green")


def remove(name: NameOrDigest, as_json: Json = False) -> None:
    """Take a model that nobody uses out of the image; `batos image pack` frees its space."""
    with answering(as_json), connect() as client:
        removed = client.send(MIND, "removeModel_", name)
        if as_json:
            report.result(removed)
        else:
            report.note(f"{removed['name']} is no model of the image any more; `batos image pack` frees its space", style="green")


def models(client: Client) -> list[dict[str, Any]]:
    """The image's models, by name; the one that most think with is used by `pLLM_obj`."""
    rows: list[dict[str, Any]] = client.send(MIND, "models")
    return rows


def adapters(client: Client) -> list[dict[str, Any]]:
    """The image's adapters, all pages, by digest."""
    rows: list[dict[str, Any]] = []
    while page := client.send(MIND, "adapters", *([rows[-1]["digest"]] if rows else [])):
        rows += page
    return rows


def _unfit(client: Client, name: str) -> list[dict[str, Any]]:
    """Adapters in use that fit the model in force, and not the one of that name; none where that name is nothing's."""
    rows = models(client)
    chosen = [row["digest"] for row in rows if name == row["name"] or row["digest"].startswith(name)]
    thinking = [row["digest"] for row in rows if MIND in row["used_by"]]
    fields = ("name", "digest", "used_by")
    fitting = [row for row in adapters(client) if row["used_by"] and row.get("base") in thinking]
    return [{key: row[key] for key in fields} for row in fitting if chosen and row["base"] not in chosen]


def _first_word(configuration: Configuration, client: Client, result: dict[str, Any]) -> float:
    """Have the engine start, and the model say something: seconds that it took. Raises Failure where it does not."""
    steps, began = Steps(report.err), time.monotonic()
    deadline = configuration.settings.uvm.generation_deadline_s
    with steps.step("the engine starts") as step:
        try:
            child.in_background(
                lambda: client.send(MIND, "infer_", "Hello", deadline=deadline, keywords={"max_tokens": 1}), lambda: steps.tick(step)
            )
        except ClientError as error:
            back = f"`batos model use {result['before']['digest'][:12]}` goes back" if result["before"] else "import another model"
            raise Failure(
                "ModelDoesNotAnswer",
                f"{result['model']['name']} is in force, but does not answer: {error}",
                f"`batos logs inference` says why; {back}",
                details=result,
            ) from error
        step.outcome = "it has said its first word"
    return round(time.monotonic() - began, 3)
