"""`batos export` and `batos import`: objects as files, out of an image and into one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui_client import child, export_files, report, values
from ui_client.connection import connect
from ui_client.export_files import ExportWriter, blobs_of
from ui_client.report import Json, answering
from ui_client.steps import Steps

_SHOWN = 12


def register(app: typer.Typer) -> None:
    app.command(name="export")(export_objects)
    app.command(name="import")(import_objects)


def export_objects(
    directory: Annotated[Path, typer.Argument(help="A new directory, or that of an earlier export, which is brought up to date.")],
    targets: Annotated[list[str] | None, typer.Argument(help="Names or references; without one, all objects that have names.")] = None,
    no_blobs: Annotated[bool, typer.Option("--no-blobs", help="Leave files out; the image that imports must have them.")] = False,
    as_json: Json = False,
) -> None:
    """Write objects, with all that they reach, as files that can be read, compared and kept in git. docs/export.md is the format."""
    with answering(as_json), connect() as client:
        steps = Steps(report.err)
        aims = [values.target(target) for target in targets or []]
        writer = ExportWriter(directory)
        with steps.step("read") as step:
            exported = client.export(*aims, tell=lambda done, whole: steps.tick(step, f"{done} of {whole} objects"))
            step.outcome = f"{len(exported.documents)} objects as of transaction {exported.tid.hex()}"
        digests = blobs_of(exported.documents)
        with steps.step("written") as step:
            for document in exported.documents:
                writer.add(document)
            for number, digest in enumerate([] if no_blobs else digests, 1):
                steps.tick(step, f"file {number} of {len(digests)}")
                with writer.blob(digest) as file:
                    if file is not None:
                        client.export_blob(exported, digest, file)
            writer.end(exported.image, exported.tid, exported.roots, digests if no_blobs else [])
            step.outcome = str(directory)
        if as_json:
            report.result(
                {
                    "directory": str(directory),
                    "image": exported.image,
                    "transaction": exported.tid.hex(),
                    "objects": len(exported.documents),
                    "methods": sum(len(document.methods) for document in exported.documents),
                    "blobs": digests,
                    "without": digests if no_blobs else [],
                }
            )


def import_objects(
    directory: Annotated[Path, typer.Argument(help="A directory that `batos export` wrote.")],
    preview: Annotated[bool, typer.Option("--preview", help="Say what would be done, and do nothing.")] = False,
    renames: Annotated[list[str] | None, typer.Option("--as", metavar="OLD=NEW", help="Give an imported object another name.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="An object here that has an exported name becomes what was exported.")] = False,
    edited: Annotated[
        bool, typer.Option("--edited", help="The files were changed since they were exported: take them as they are.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take in exported objects: all of them in one transaction, or none.

    Methods are audited, and those that have examples are held against them first: if one does not hold, nothing comes in, and it is named.
    What is said of their past stays a claim.
    """
    with answering(as_json):
        rename = _renames(renames or [])
        steps = Steps(report.err)
        with steps.step("checked") as step:
            contents = export_files.read(directory, edited=edited)
            step.outcome = f"{len(contents.bundle.objects)} objects, {contents.methods} methods, {len(contents.blobs)} files"
        with connect() as client, steps.step("previewed" if preview else "imported") as step:
            doing = {"now": "audited, and held against their examples"}
            answer = child.in_background(
                lambda: client.import_objects(
                    contents.bundle,
                    contents.blobs,
                    rename=rename,
                    replace=replace,
                    preview=preview,
                    tell=lambda done, whole: doing.update(
                        now=f"{done / 1e6:.1f} of {whole / 1e6:.1f} MB sent" if done < whole else "audited, and held against their examples"
                    ),
                ),
                lambda: steps.tick(step, doing["now"]),
            )
            step.outcome = (
                f"{answer['new']} new objects, {len(answer['replaced'])} that were here, {answer['methods']} methods: "
                f"{answer['held']} held to their examples, {answer['untested']} without any"
            )
        if as_json:
            report.result(answer)
        else:
            _print(answer)


def _print(answer: dict[str, Any]) -> None:
    would = "would be " if answer["preview"] else ""
    if answer["names"]:
        report.note(f"{would}known as: {', '.join(answer['names'][:_SHOWN])}{' …' if len(answer['names']) > _SHOWN else ''}")
    for key, slots in answer["replaced"].items():
        report.note(f"{key}: {would}changed: {', '.join(slots[:_SHOWN]) or 'nothing'}{' …' if len(slots) > _SHOWN else ''}")
    for claim in answer["claims"]:
        if claim["kept"]:
            continue
        marks = [
            f"said to be by {claim['author'] or 'nobody'}",
            f"held {claim['examples']} examples" if claim["examples"] else "not tried here",
            *(["may change primordial objects"] if claim["policy"] else []),
        ]
        report.note(f"{claim['on']} {claim['selector']}: {', '.join([*marks, *claim['findings']])}")
    if answer["left_out"]:
        report.note(f"left out, since nothing refers to them: {', '.join(answer['left_out'][:_SHOWN])}", style="yellow")
    for root in answer["roots"]:
        report.out.print(values.show(root))


def _renames(texts: list[str]) -> dict[str, str]:
    renames: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not old or not equals or not new or old in renames:
            raise values.BadArgument(f"--as {text!r}: it is OLD=NEW, once for each name")
        renames[old] = new
    return renames
