"""`batos revoke`, `restore`, `revoked`, and `batos adapters revoke` and `restore`: whose methods are trusted. Messages to pLLM_obj."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from ui_client import report, values
from ui_client.client.client import Client
from ui_client.connection import connect
from ui_client.report import Json, answering

_SHOWN_DATA: Final = 4
_STYLES: Final = {"quarantined": "red", "restored": "green", "replaced": "yellow"}
_WHY: Final = {
    "quarantined": "does not run any more",
    "restored": "runs again",
    "replaced": "stays in quarantine: another method has come in its place",
    "of another revocation": "stays in quarantine: another of its authors is revoked",
}

Adapter = Annotated[
    str, typer.Option("--adapter", metavar="DIGEST", help="What an adapter wrote: its digest, its first digits, or its name.")
]
Persona = Annotated[str, typer.Option("--persona", metavar="NAME", help="What a persona wrote, with whatever adapter.")]
Session = Annotated[str, typer.Option("--session", metavar="SESSION", help="What was offered in a tool's session.")]
Principal = Annotated[str, typer.Option("--principal", metavar="NAME", help="What a principal offered, in all of its sessions.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept, and shown with each method.")]
Preview = Annotated[bool, typer.Option("--preview", help="Show what would be done, and change nothing.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="The adapter's digest, the beginning of it, or its name.")]


class Answer(msgspec.Struct):
    """What a revocation or a restoration did, or would do. `left`: there is more to do than one message does; `of`: so many methods."""

    author: str
    methods: list[dict[str, Any]]
    counts: dict[str, int]
    reason: str = ""
    by: str = ""
    at: str = ""
    more: int = 0
    left: bool = False
    of: int = 0
    data_cut: bool = False
    preview: bool = False


def register(app: typer.Typer) -> None:
    app.command()(revoke)
    app.command()(restore)
    app.command()(revoked)


def register_adapters(group: typer.Typer) -> None:
    """The commands of `batos adapters`."""
    group.command("revoke")(revoke_adapter)
    group.command("restore")(restore_adapter)


def revoke(
    adapter: Adapter = "",
    persona: Persona = "",
    session: Session = "",
    principal: Principal = "",
    reason: Reason = "",
    preview: Preview = False,
    as_json: Json = False,
) -> None:
    """Trust an author no longer: its methods stay to be read, but do not run; their messages are written anew by what is in force.

    Says of each method which data it wrote. `batos restore` takes it back.
    """
    _carry_out("revokeAuthor_", *_author(adapter, persona, session, principal), {"reason": reason, "preview": preview}, as_json)


def restore(
    adapter: Adapter = "",
    persona: Persona = "",
    session: Session = "",
    principal: Principal = "",
    preview: Preview = False,
    as_json: Json = False,
) -> None:
    """Trust an author again: its methods run, where no other one has come in their place; says so method by method."""
    _carry_out("restoreAuthor_", *_author(adapter, persona, session, principal), {"preview": preview}, as_json)


def revoke_adapter(digest: Digest, reason: Reason = "", preview: Preview = False, as_json: Json = False) -> None:
    """Trust an adapter no longer: nobody drafts with it, and its methods stay to be read, but do not run."""
    _carry_out("revokeAuthor_", "adapter", digest, {"reason": reason, "preview": preview}, as_json)


def restore_adapter(digest: Digest, preview: Preview = False, as_json: Json = False) -> None:
    """Trust an adapter again: its methods run, where no other one has come in their place."""
    _carry_out("restoreAuthor_", "adapter", digest, {"preview": preview}, as_json)


def revoked(as_json: Json = False) -> None:
    """List who is revoked: since when, by whom, why, and how many methods of theirs there are."""
    with answering(as_json), connect() as client:
        listed = msgspec.convert(client.send("pLLM_obj", "revokedAuthors"), list[dict[str, Any]])
        if as_json:
            report.result(listed)
            return
        table = Table("author", "since", "by", "methods", "reason", box=None, pad_edge=False, header_style="bold")
        for author in listed:
            methods = f"{author['methods']}{', unfinished ' + author['unfinished'] if 'unfinished' in author else ''}"
            cells = (f"{author['kind']} {author['name']}", author["at"], author["by"], methods, author["reason"])
            table.add_row(*(Text(values.showable(cell)) for cell in cells))
        report.out.print(table if listed else "nobody is revoked")


def _author(adapter: str, persona: str, session: str, principal: str) -> tuple[str, str]:
    named = {"adapter": adapter, "persona": persona, "session": session, "principal": principal}
    chosen = [(kind, name) for kind, name in named.items() if name]
    if len(chosen) != 1:
        raise typer.BadParameter("name one author: --adapter, --persona, --session or --principal")
    return chosen[0]


def _carry_out(selector: str, kind: str, name: str, options: Mapping[str, Any], as_json: bool) -> None:
    with answering(as_json), connect() as client:
        answer = _send(client, selector, kind, name, options)
        while answer.left and not answer.preview:
            done = f"{sum(answer.counts.values()):,} of about {answer.of:,} methods so far"
            report.note(f"{done}; if this is cut off, the heartbeat goes on with them")
            answer = _joined(answer, _send(client, selector, kind, name, options))
        if as_json:
            report.result(_plain(answer))
        else:
            _show(answer)


def _send(client: Client, selector: str, kind: str, name: str, options: Mapping[str, Any]) -> Answer:
    return msgspec.convert(client.send("pLLM_obj", selector, kind, name, keywords=options), Answer)


def _joined(first: Answer, second: Answer) -> Answer:
    """The answers of two messages as that of one; only the first methods are listed."""
    counts = {fate: first.counts.get(fate, 0) + second.counts.get(fate, 0) for fate in {**first.counts, **second.counts}}
    unlisted = first.more + second.more + len(second.methods)
    left = {"left": second.left, "of": second.of if second.left else 0}
    return msgspec.structs.replace(first, counts=counts, more=unlisted, data_cut=first.data_cut or second.data_cut, **left)


def _plain(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(answer).items() if value not in (0, False, "") or name == "reason"}


def _show(answer: Answer) -> None:
    for method in answer.methods:
        fate = str(method["fate"])
        line = Text(values.showable(f"{method['selector']} of {values.show(method.get('object', 'an object that is gone'))}: "))
        line.append(f"{'would be ' if answer.preview else ''}{fate}", style=_STYLES.get(fate, ""))
        line.append(f" ({_WHY.get(fate, fate)})")
        if "successor" in method:
            line.append(f", {values.show(method['successor'])}")
        report.out.print(line, soft_wrap=True)
        if method["writes"]:
            slots = [f"{write['slot']} of {values.show(write['object'])}" for write in method["data"][:_SHOWN_DATA]]
            further = f", and {len(method['data']) - _SHOWN_DATA} more" if len(method["data"]) > _SHOWN_DATA else ""
            report.out.print(Text(values.showable(f"    wrote {method['writes']} times: {', '.join(slots)}{further}")), soft_wrap=True)
    if answer.more:
        report.note(f"and {answer.more:,} more methods")
    if answer.data_cut:
        report.note("what was written earlier than the journals show is not listed")
    if answer.left:
        report.note("there are more: the command goes on with them")
    total = ", ".join(f"{count:,} {fate}" for fate, count in sorted(answer.counts.items())) or "no methods"
    report.note(f"{answer.author}: {total}{'; nothing was changed' if answer.preview else ''}")
