"""`batos export` and `batos import`: objects as files, out of an image and into one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from deploy import settings
from deploy.settings import Configuration
from ui_client import child, export_files, imports, report, values
from ui_client.client.client import Client
from ui_client.client.errors import RemoteError
from ui_client.client.transport import ExportedObjects
from ui_client.commands import models
from ui_client.connection import connect
from ui_client.export_files import Contents, ExportWriter, WeightsEntry, blobs_of
from ui_client.report import Json, answering
from ui_client.steps import RunningStep, Steps

_SHOWN = 12


def register(app: typer.Typer) -> None:
    app.command(name="export")(export_objects)
    app.command(name="import")(import_objects)


def export_objects(
    directory: Annotated[Path, typer.Argument(help="A new directory, or that of an earlier export, which is brought up to date.")],
    targets: Annotated[list[str] | None, typer.Argument(help="Names or references; without one, all objects that have names.")] = None,
    no_blobs: Annotated[bool, typer.Option("--no-blobs", help="Leave files out; the image that imports must have them.")] = False,
    with_models: Annotated[
        bool, typer.Option("--models", help="Take the models along as well, that objects and adapters refer to.")
    ] = False,
    without_weights: Annotated[
        bool, typer.Option("--without-weights", help="Leave adapters out as well; the image that imports must have them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write objects, with all that they reach, as files that can be read, compared and kept in git. docs/export.md is the format.

    Adapters that they refer to come along, each once, by digest; models are left out unless asked for.
    """
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
            kinds = () if without_weights else ("adapter", "model") if with_models else ("adapter",)
            weights = _write_weights(client, exported, writer, kinds, lambda text: steps.tick(step, text))
            writer.end(exported.image, exported.tid, exported.roots, digests if no_blobs else [], weights)
            step.outcome = str(directory)
        for entry in weights if not as_json else []:
            if not entry.along:
                report.note(f"{entry} is not along: the image that imports needs it")
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
                    "weights": msgspec.to_builtins(weights),
                }
            )


def _write_weights(
    client: Client, exported: ExportedObjects, writer: ExportWriter, kinds: Sequence[str], tick: Callable[[str], None]
) -> list[WeightsEntry]:
    """Write the files of models and adapters of these kinds; an entry for each that is referred to."""
    entries = []
    for weights in exported.weights:
        entry = WeightsEntry("model" if weights.kind == "model" else "adapter", weights.digest, weights.name, weights.base)
        if weights.kind in kinds and weights.files:
            entry = msgspec.structs.replace(entry, along=True)
            for number, (path, digest) in enumerate(sorted(weights.files.items()), 1):
                tick(f"{entry}: file {number} of {len(weights.files)}")
                with writer.weights(entry, path, digest) as file:
                    if file is not None:
                        client.export_blob(exported, digest, file)
        entries.append(entry)
    return entries


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

    Adapters and models that the export has and the image has not come in first, on the service's host, each checked as the worker does.
    Methods are audited, and those that have examples are held against them first: if one does not hold, nothing comes in, and it is named.
    What is said of their past stays a claim.
    """
    with answering(as_json):
        rename = _renames(renames or [])
        steps = Steps(report.err)
        with steps.step("checked") as step:
            contents = export_files.read(directory, edited=edited)
            step.outcome = f"{len(contents.bundle.objects)} objects, {contents.methods} methods, {len(contents.blobs)} files"
        configuration = settings.load()
        with connect(configuration) as client:
            lacking = _lacking(client, steps, contents, rename, replace)
            weights = msgspec.to_builtins([entry for entry, _ in lacking])
            if preview and lacking:
                report.note(f"would come in first: {', '.join(str(entry) for entry, _ in lacking)}; nothing else is missing")
                if as_json:
                    report.result({"preview": True, "weights": weights})
                return
            _bring_in(configuration, steps, lacking)
            with steps.step("previewed" if preview else "imported") as step:
                answer = _take_in(client, steps, step, contents, rename, replace, preview)
                step.outcome = (
                    f"{answer['new']} new objects, {len(answer['replaced'])} that were here, {answer['methods']} methods: "
                    f"{answer['held']} held to their examples, {answer['untested']} without any"
                )
        answer["weights"] = weights
        if as_json:
            report.result(answer)
        else:
            _print(answer)


def _take_in(
    client: Client, steps: Steps, step: RunningStep, contents: Contents, rename: dict[str, str], replace: bool, preview: bool
) -> dict[str, Any]:
    """What the image says of the import. Raises RemoteError; where models or adapters are missing, with the names that the export has."""
    at = "audited, and held against their examples"
    doing = {"now": at}

    def tell(done: int, whole: int) -> None:
        doing["now"] = f"{done / 1e6:.1f} of {whole / 1e6:.1f} MB sent" if done < whole else at

    try:
        return child.in_background(
            lambda: client.import_objects(contents.bundle, contents.blobs, rename=rename, replace=replace, preview=preview, tell=tell),
            lambda: steps.tick(step, doing["now"]),
        )
    except RemoteError as error:
        lacking = [entry for entry, _ in contents.weights if entry.reference in _missing(error)]
        if lacking:
            raise RemoteError(
                error.type,
                f"{error.message}; by name: {', '.join(map(str, lacking))}",
                "export with the weights (not --without-weights; models with --models), or batos model import, batos adapters import",
                error.details | {"weights": msgspec.to_builtins(lacking)},
            ) from error
        raise


def _lacking(client: Client, steps: Steps, contents: Contents, rename: dict[str, str], replace: bool) -> list[tuple[WeightsEntry, Path]]:
    """The models and adapters that the export has and the image needs. Raises RemoteError where anything else keeps the import out."""
    here = {row["digest"] for row in [*models.models(client), *models.adapters(client)]}
    lacking = [(entry, place) for entry, place in contents.weights if place is not None and entry.digest not in here]
    if not lacking:
        return []
    with steps.step("looked at") as step:
        try:
            _take_in(client, steps, step, contents, rename, replace, preview=True)
            return []
        except RemoteError as error:
            if not _missing(error) or _missing(error) - {entry.reference for entry, _ in lacking}:
                raise
        step.outcome = f"{len(lacking)} models and adapters are not here, and nothing else is missing"
    return sorted(lacking, key=lambda row: row[0].kind == "adapter")  # a model before the adapters that belong to it


def _bring_in(configuration: Configuration, steps: Steps, lacking: Sequence[tuple[WeightsEntry, Path]]) -> None:
    """Have the image take in models and adapters, each as its own command would: with a commit of its own, and used by nobody yet."""
    for entry, place in lacking:
        imports.bring_in(configuration, steps, entry.kind, place, entry.name, [entry.base] if entry.base else [])


def _missing(error: RemoteError) -> set[str]:
    """What an import lacks, as the image names it."""
    missing = error.details.get("missing", []) if error.type == "MissingReference" else []
    return {str(row["reference"]) for row in missing if isinstance(row, dict) and "reference" in row}


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
