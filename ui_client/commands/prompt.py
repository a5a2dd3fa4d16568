"""`batos prompt`: the text that the image's model is asked with. Each is a message to the image (docs/protocol.md)."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ui_client import report, values
from ui_client.commands.models import MIND
from ui_client.connection import connect
from ui_client.report import Failure, Json, answering

CHARACTERS: Final = 8192
"""Characters of the longest text; the image has the same bound, and the last word."""
_BYTES_A_CHARACTER: Final = 4
_FULL: Final = "fullCovenant"

Persona = Annotated[
    str, typer.Option("--persona", metavar="NAME", help="One persona, such as robin; without it, all that have no text of their own.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="The text that the model is asked with, before the object and the message: what is in force, another one, and the way back. "
        "It is data of the image (the slot `covenant` of pLLM_obj, or of a persona), in force in every process with the next miss.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command()(show)
    group.command("set")(set_prompt)
    group.command()(reset)
    app.add_typer(group, name="prompt")


def show(persona: Persona = MIND, as_json: Json = False) -> None:
    """Print the text in force, and what is known of it.

    That is, on stderr: whose it is, its digest and size, whether the adapter in force was trained on it, and the texts before it, the
    newest first, each with the entry that `batos undo` takes back. stdout is the text alone, so that `batos prompt show > FILE` gives what
    `batos prompt set FILE` takes. With --json the earlier texts are there as a whole.
    """
    with answering(as_json), connect() as client:
        prompt = client.send(values.target(persona), "showPrompt")
        if as_json:
            report.result(prompt)
            return
        typer.echo(values.showable(prompt["text"]))  # exactly: a console would make spaces of tabs
        _note_facts(prompt)
        for earlier in prompt["earlier"]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(earlier["at"]))
            text = f"{earlier['digest'][:12]}, {_size(earlier)}" if earlier["text"] is not None else "none of its own"
            report.note(f"until {at} of {earlier['of']}: {text}; replaced by {earlier['by']}, entry {earlier['entry']}")


def set_prompt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text, in UTF-8; `-` reads it from stdin.")],
    persona: Persona = MIND,
    as_json: Json = False,
) -> None:
    """Have the model be asked with the text of FILE.

    In one commit, in every process from the next miss on. Needs the right `policy`. At most 8,192 characters, none of them a control
    character but newline and tab; newlines at the end are left out. A persona's own text comes before the one that it inherits, and
    either before the fuller one with which a larger model without an adapter is asked.

    An adapter that was trained on another text writes worse with this one: the command says so where that is known. `batos undo` takes
    it back, and `batos prompt reset` brings back the text of the adapter.
    """
    with answering(as_json):
        text = _read(file)
        with connect() as client:
            changed = client.send(values.target(persona), "usePrompt_", text)
        _print_changed(changed, as_json)


def reset(persona: Persona = MIND, as_json: Json = False) -> None:
    """Bring back the text that the adapter was trained on.

    Needs the right `policy`. A persona that inherits that text has none of its own then; so has one whose adapter does not say. Of
    pLLM_obj, where no adapter says, it is the text that images are born with, or the fuller one in its place where a larger model is asked
    without an adapter. `batos undo` takes it back.
    """
    with answering(as_json), connect() as client:
        _print_changed(client.send(values.target(persona), "resetPrompt"), as_json)


def _read(file: Path) -> str:
    """The text of a file, no more of it than can be one. Raises Failure."""
    most = CHARACTERS * _BYTES_A_CHARACTER + 2
    try:
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as reader:
            octets = reader.read(most)
    except OSError as error:
        raise Failure(
            type(error).__name__, f"{file} cannot be read: {error.strerror}", "name a file with the text, or - for stdin"
        ) from error
    if len(octets) == most:
        raise Failure("BadPrompt", f"{file} has more than {CHARACTERS:,} characters", "the text stands before every message: keep it short")
    try:
        return octets.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise Failure("BadPrompt", f"{file} is not UTF-8: byte {error.start} begins no character", "save it as UTF-8 text") from error


def _print_changed(changed: dict[str, Any], as_json: bool) -> None:
    if as_json:
        report.result(changed)
        return
    if changed["digest"] == changed["before"]["digest"]:
        report.note(f"{changed['persona']} was asked with this text already")
    else:
        report.note(
            f"{changed['persona']} is asked with {changed['digest'][:12]} in place of {changed['before']['digest'][:12]}", style="green"
        )
    _note_facts(changed)
    if changed["unfit"]:
        concerned = changed["persona"] if changed["persona"] in changed["unfit"] else changed["unfit"][0]
        ours = "" if concerned == MIND else f" --persona {concerned}"
        report.note(
            f"the adapter of {', '.join(changed['unfit'])} was trained on another text: after this one it writes worse or otherwise. "
            f"`batos prompt reset{ours}` brings its own back; `batos eval` measures what this one does",
            style="yellow",
        )


def _note_facts(prompt: dict[str, Any]) -> None:
    full = ", the full one for larger models without an adapter" if prompt["slot"] == _FULL else ""
    holder = f"of {prompt['from']}{full}" if prompt["from"] else "the kernel's own: no slot holds one"
    report.note(f"{holder}; {prompt['digest'][:12]}, {_size(prompt)}")
    if prompt["adapter"] is None:
        report.note("no adapter is in force: the model reads it as it is")
        _note_judgement(prompt["judgement"])
        return
    name = f"{prompt['adapter']['name']}@{prompt['adapter']['digest'][:12]}"
    match prompt["as_trained"]:
        case True:
            report.note(f"{name} was trained on it")
        case False:
            report.note(f"{name} was trained on another text, {prompt['trained_on'][:12]}", style="yellow")
        case _:
            report.note(f"{name} does not say on which text it was trained")
    _note_judgement(prompt["judgement"])


def _note_judgement(judgement: dict[str, Any]) -> None:
    sentence = weighing(judgement)
    report.note(sentence, **({} if judgement["fitted"] else {"style": "yellow"}))


def weighing(judgement: dict[str, Any]) -> str:
    """Whose numbers weigh drafts, in a sentence; `judgement`: as `showPrompt` and `assignAdapter_` tell of it."""
    if judgement["fitted"]:
        return "drafts are weighed by the judgement that was fitted to it"
    match judgement["of"]:
        case "message":
            return "drafts are weighed by a judgement that a message put there"
        case "none":
            return "no judgement weighs drafts: `batos up` brings the shipped one"
        case of:
            whose = {"adapter": "the one of pLLM_obj's adapter", "shipped": "the shipped one"}.get(of, "that of another adapter")
            return (
                f"drafts are weighed by {whose}, which was not fitted to what writes here: its confidence may be untrue. "
                "`batos eval` and `python -m inference_worker.forge.calibrate` fit one (docs/operations.md)"
            )


def _size(text: dict[str, Any]) -> str:
    return f"{text['characters']:,} characters, about {text['tokens']:,} tokens"
